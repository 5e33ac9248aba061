"""Machines with nothing on them but an operating system, and `prepare` played there as the daemon does, or by Ansible alone.

Next: `ansible.py` and `rpm.py`, whose stories are told with them; `systems.py` for what they start with.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.http import AiohttpTransport
from cpcd.adapters.playbooks import Playbooks
from cpcd.adapters.playbooks.traces import marked
from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.lab.servers.https import Authority
from cpcd.ports.guests import Host
from tests.real import binaries
from tests.real.cache import say
from tests.real.machines import kept
from tests.real.machines.hand import USER, Hand, new_key, shell, until
from tests.real.machines.lab import NODE, TEMPLATE, Lab
from tests.real.machines.mirror import Mirror
from tests.real.machines.network import REPOSITORY
from tests.real.machines.report import Report
from tests.real.machines.systems import System

__all__ = ["BOUND_S", "FIT", "GIVEN", "PERSON", "WANTED", "Plain", "Played", "each", "note", "played", "standing"]

PERSON: Final = "person"  # who may log in, and not become root
BOUND_S: Final = 600.0  # in which a mirror that cannot be reached must be told
GIVEN: Final = {
    "version": binaries.KUBERNETES, "packages": ["tzdata"], "timezone": "Europe/Berlin", "profile": "p1",
}  # fmt: skip
# What there is in the end, and what kubeadm finds wrong with it: nothing but that the machine is small for a control plane.
FIT: Final = f"""
kubelet --version; kubeadm version -o short; kubectl version --client | head -n 1
cat > /tmp/init.yaml <<'END'
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {{imagePullPolicy: Never}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v{binaries.KUBERNETES}
END
kubeadm init phase preflight --config /tmp/init.yaml --ignore-preflight-errors NumCPU,Mem > /dev/null && echo fit"""
WANTED: Final = (
    f"Kubernetes v{binaries.KUBERNETES}\nv{binaries.KUBERNETES}\nClient Version: v{binaries.KUBERNETES}\nfit"
)
_PLAYBOOK: Final = Path(__file__).parents[3] / "cpcd" / "playbooks" / "prepare.yml"
_PERSON: Final = f"useradd --create-home {PERSON} && cp -r ~{USER}/.ssh ~{PERSON} && chown -R {PERSON}: ~{PERSON}/.ssh"


@dataclass(frozen=True, slots=True)
class Played:
    """How a run ended, in the daemon's words, and how long it took."""

    state: str
    changed: int
    reason: str
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Plain:
    """One machine; `place` is where the private key and all playbooks' runs are kept."""

    name: str
    host: Host
    hand: Hand
    place: Path

    def run(self, op: str) -> Path:
        """Return where a run is kept; its name is no other machine's."""
        return self.place / "playbooks" / f"{op}-{self.name}"

    async def root(self, script: str) -> str:
        """Let root run a script and return what it printed; raises RuntimeError with its words."""
        done = await shell(self.host, self.place / "key", f"sudo sh -c {shlex.quote(script)}")
        if done.exit_status:
            raise RuntimeError(f"{self.name}: {done.stderr}{done.stdout}")
        return str(done.stdout).strip()

    async def facts(self) -> Mapping[str, Any]:
        """Return what cpcd sees of it."""
        return await self.hand.guests.call(self.host, "facts", {})

    async def begin(self, op: str, *, user: str = USER) -> None:
        """Begin `prepare`."""
        await self.hand.guests.submit(replace(self.host, users=(user,)), self.run(op).name, "prepare", GIVEN)

    async def end(self, op: str, began: float) -> Played:
        """Wait for a run's end."""

        async def ended() -> Mapping[str, Any] | None:
            state = await self.poll(op)
            return None if state["state"] == "running" else state

        seen = await until(ended, f"{self.run(op).name} has ended")
        error = seen["error"]
        return Played(
            seen["state"], seen["output"].get("changed", 0), error.get("reason", ""), error.get("message", ""),
            time.monotonic() - began,
        )  # fmt: skip

    async def prepare(self, op: str, *, user: str = USER) -> Played:
        """Let `prepare` run to its end."""
        began = time.monotonic()
        await self.begin(op, user=user)
        return await self.end(op, began)

    async def poll(self, op: str) -> Mapping[str, Any]:
        """Return what the daemon would hear of a run."""
        return await self.hand.guests.poll(self.host, self.run(op).name)

    def tasks(self, op: str) -> list[str]:
        """Return the tasks that a run has begun, in their order."""
        told = self.run(op) / "artifacts" / "run" / "stdout"
        return (
            re.findall(r"^TASK \[(.*?)\] \*", told.read_text(errors="replace"), re.MULTILINE) if told.exists() else []
        )

    async def reaches(self, op: str, task: str) -> None:
        """Wait until a run is at a task."""

        async def there() -> bool:
            return task in self.tasks(op)

        await until(there, f"{self.run(op).name} is at {task!r}")

    def kill(self, op: str) -> None:
        """Kill a run as a power cut on the daemon's side does: its process, and all that it started."""
        for pid in [json.loads((self.run(op) / "pid.json").read_text())["pid"], *marked(self.run(op))]:
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(pid, signal.SIGKILL)

    async def reset(self) -> None:
        """Press the machine's reset button."""
        assert await self.hand.ended(await self.hand.proxmox.power(NODE, int(self.host.uid), "reset")) == "OK"

    async def unreached(self, op: str) -> Played:
        """Let `prepare` run while the mirror's address leads nowhere."""
        await self.root(f"ip route add unreachable {REPOSITORY}")
        played = await self.prepare(op)
        await self.root(f"ip route delete unreachable {REPOSITORY}")
        return played

    async def booted(self, before: str) -> None:
        """Wait until it is up in another boot."""

        async def other() -> bool:
            return bool((await self.facts())["boot_id"] != before)

        await until(other, f"{self.name} is up again")

    def keep(self, op: str, directory: Path) -> None:
        """Copy what a run that is on its way was given, for it removes that at its end."""
        directory.mkdir()
        given = (self.run(op) / "inventory" / "hosts.json").read_text()
        (directory / "hosts.json").write_text(given.replace(str(self.run(op)), str(directory)))
        shutil.copy(self.run(op) / "known_hosts", directory)
        (directory / "given.json").write_text(json.dumps(GIVEN))


async def played(directory: Path) -> tuple[float, str]:
    """Play `prepare` without cpcd, on what stands in a directory; return the seconds it took and what it printed.

    `hosts.json` is the inventory, `given.json` the variables.
    """
    argv = [
        str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(directory / "hosts.json"),
        "-e", f"@{directory / 'given.json'}", str(_PLAYBOOK),
    ]  # fmt: skip
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *argv, env=_environment(directory), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    return time.monotonic() - began, told.decode()


def _environment(directory: Path) -> dict[str, str]:
    """Return cpcd's own settings of Ansible, so that nothing else is compared."""
    (directory / "ansible.cfg").touch()
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}", "LANG": "C.UTF-8",
        "HOME": str(directory), "ANSIBLE_CONFIG": str(directory / "ansible.cfg"), "ANSIBLE_HOME": str(directory / "home"),
        "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"), "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1",
    }  # fmt: skip


@asynccontextmanager
async def standing(
    place: Path, systems: Mapping[str, System], *, failed: Callable[[], bool]
) -> AsyncIterator[list[Plain]]:
    """Boot one machine of each system, which trusts the tests' mirror; of a run that `failed` what they tell is kept."""
    served = {path: made for system in systems.values() for path, made in system.repositories.items()}
    mirror = Mirror(place / "mirror", served, Authority("packages"))
    public, key = new_key(place / "key"), place / "key"
    async with Lab(place, *(system.image for system in systems.values())).running() as lab:
        transport = AiohttpTransport([lab.url], ca_file="", fingerprint=lab.fingerprint)
        guests = GuestsOverSsh(key=key, playbooks=Playbooks(place / "playbooks", key=key))
        hand = Hand(ProxmoxApi(transport, "machines", lambda: lab.token), guests)

        async def plain(number: int, name: str) -> Plain:
            host = await hand.machine(101 + number, name, public, template=TEMPLATE + number, cores=1, memory=1536)
            made = Plain(name, host, hand, place)
            await made.root(mirror.trust() + systems[name].script + _PERSON)
            return made

        with mirror.serving():
            whole = False
            try:
                async with asyncio.TaskGroup() as group:
                    made = [group.create_task(plain(number, name)) for number, name in enumerate(systems)]
                whole = True
                yield [one.result() for one in made]
            finally:
                if failed() or not whole:
                    await kept.collect(lab, key, USER)
                await guests.close()
                await transport.close()


async def each(machines: list[Plain], story: Callable[[Plain], Awaitable[Any]]) -> dict[str, Any]:
    """Tell a story on all machines at once and return what became of it, by name."""

    async def told(machine: Plain) -> Any:
        return await story(machine)

    async with asyncio.TaskGroup() as group:
        tasks = {machine.name: group.create_task(told(machine)) for machine in machines}
    return {name: task.result() for name, task in tasks.items()}


def note(report: Report, what: str, ended: dict[str, Played]) -> None:
    """Report what each machine's run said in the end."""
    for name, one in ended.items():
        words = f"{one.reason}: {one.message}" if one.reason else f"{one.state}, {one.changed} changed"
        report.add(f"{name}: {what}: {words.replace('|', '/')[:300]}", one.seconds)
        say(f"{name}: {what}: {words}")
