"""Where the suite of the port of machines runs: the model in process, the model behind SSH, and `guest/ops.py` itself.

Each site has one machine that is the only control plane of its cluster. START HERE: `Site`; next `test_guests_port.py`.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.lab.guests import Guest
from cpcd.lab.inprocess import LabGuests
from cpcd.lab.rack import VERSION, Rack
from cpcd.lab.servers.https import Authority
from cpcd.lab.servers.ssh import Machine
from cpcd.ports.guests import Guests, Host
from tests.integration.sshd import ME, running, write_key
from tests.unit.guest.recorded import LINES

__all__ = ["SITES", "Site"]

ADDRESS: Final = "127.66.2.1"
USER: Final = "admin"


@dataclass
class Site:
    """A machine behind the port, and hands on it; `wait` lets its time pass.

    `begun` returns once what was submitted is at work, and nothing submitted ends before the next `wait`. `kill` is a
    SIGKILL to what runs, `reboot` returns when the machine is back, `off` when it is down. `prepares`: the machine
    itself answers `prepare`.
    """

    guests: Guests
    host: Host
    wait: Callable[[float], Awaitable[None]]
    begun: Callable[[], Awaitable[None]]
    kill: Callable[[], Awaitable[None]]
    reboot: Callable[[], Awaitable[None]]
    off: Callable[[], Awaitable[None]]
    there: Callable[[str], bool]
    prepares: bool
    init: dict[str, Any]

    async def ended(self, op: str) -> dict[str, Any]:
        """Wait for an op's end and return its state."""
        for _ in range(600):
            found = await self.guests.poll(self.host, op)
            if found["state"] != "running":
                return dict(found)
            await self.wait(1)
        raise AssertionError(f"{op} never ended")


async def _nothing() -> None:
    """What is submitted to the model is at work at once."""


def _modelled(key: str) -> tuple[Rack, Guest]:
    """Return a rack with a control plane at `ADDRESS` that lets `USER` in with a key."""
    rack = Rack(serial=1000)  # its own ops have other names than the suite's
    rack.clone(301, "cp1")
    network = {"ipconfig0": f"ip={ADDRESS}/16,gw=127.66.0.1", "ciuser": USER, "sshkeys": quote(key, safe="")}
    rack.pve("PUT", "301/config", **network)
    rack.power(301)
    guest = rack.world.guests[301]
    rack.until(lambda: guest.ssh_up)
    for verb, given in (
        ("prepare", {"version": VERSION, "packages": {}, "timezone": "UTC", "profile": "p1"}),
        ("init", rack.init_given(guest)),
    ):
        assert rack.do(guest, verb, **given)["state"] == "done"
    return rack, guest


def _hands(rack: Rack, guest: Guest, follow: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    """Return what is done to a modelled machine by hand; `follow` opens or closes its sshd as it should be."""

    async def kill() -> None:
        guest.kill_job()

    async def reboot() -> None:
        guest.reset()
        await follow()
        rack.until(lambda: guest.ssh_up)
        await follow()

    async def off() -> None:
        rack.power(301, "stop")
        await follow()

    return {
        "begun": _nothing, "kill": kill, "reboot": reboot, "off": off,
        "there": lambda path: path in guest.disk.files, "prepares": True, "init": rack.init_given(guest),
    }  # fmt: skip


async def in_process(_: Path) -> AsyncIterator[Site]:
    """The model, called directly; time passes when somebody sleeps."""
    rack, guest = _modelled("ssh-ed25519 AAAA")

    async def sleep(seconds: float) -> None:
        rack.run(seconds)

    host = Host("u1", "cp1", ADDRESS, 22, (USER,), guest.host_key)
    yield Site(LabGuests(rack.world, sleep), host, sleep, **_hands(rack, guest, _nothing))


async def over_ssh(private: Path) -> AsyncIterator[Site]:
    """The adapter over the lab's SSH server; time passes when somebody sleeps."""
    rack, guest = _modelled(write_key(private / "key"))
    with socket.create_server((ADDRESS, 0)) as probe:
        port: int = probe.getsockname()[1]

    async def sleep(seconds: float) -> None:
        rack.run(seconds)
        await asyncio.sleep(0)

    server = Machine(guest, port, sleep, Counter())

    async def follow() -> None:
        await server.close()
        if guest.ssh_up:
            await server.open()
        await asyncio.sleep(0.05)  # asyncssh hears of a cut in its next turns

    await follow()
    guests = GuestsOverSsh(key=private / "key")
    host = Host("u1", "cp1", ADDRESS, port, (USER,), guest.host_key)
    yield Site(guests, host, sleep, **_hands(rack, guest, follow))
    await guests.close()
    await server.close()


INSIDE: Final = """\
export PATH=WORLD/bin:/usr/sbin:/usr/bin:/sbin:/bin
for place in etc run var/lib; do mount --bind WORLD/$place /$place; done
mount --bind WORLD/boot_id /proc/sys/kernel/random/boot_id
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
"""A machine of its own for each session: files that last, and a boot id that can change."""

# kubeadm works until there is WORLD/go; its refusals and etcd's answers are recorded ones.
PROGRAMS: Final = {
    "systemd-run": """\
while [ "$1" != --unit ]; do shift; done; unit=$2; shift 2
setsid "$@" > /dev/null 2>&1 &
echo $! > WORLD/units/$unit""",
    "systemctl": """\
kill -0 "$(cat WORLD/units/$2 2>/dev/null)" 2>/dev/null && echo ActiveState=active || echo ActiveState=inactive""",
    "kubeadm": """\
case "$*" in
version*) echo v1.35.4; exit ;;
"token create"*) echo abcdef.0123456789abcdef; exit ;;
*upload-certs) echo 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef; exit ;;
esac
touch WORLD/begun
while [ ! -e WORLD/go ]; do sleep 0.02; done
case "$1" in
init) mkdir -p /etc/kubernetes/pki; cp WORLD/ca.crt /etc/kubernetes/pki; echo made > /etc/kubernetes/admin.conf ;;
join) cat WORLD/join.err >&2; exit 1 ;;
reset) rm -rf /etc/kubernetes/* ;;
esac
exit 0""",
    "etcdctl": """\
case "$*" in
*"member list"*) cat WORLD/members ;;
*"endpoint status"*) cat WORLD/status ;;
*"endpoint health"*) cat WORLD/health ;;
*"snapshot save"*)
  touch WORLD/begun
  while [ ! -e WORLD/go ]; do sleep 0.02; done
  for path in "$@"; do :; done; echo snapshot > "$path" ;;
*"member remove"*) cat WORLD/remove.err >&2; exit 1 ;;
esac""",
    "etcdutl": "cat WORLD/snapshot",
    "kubectl": """\
echo '{"items": [{"metadata": {"namespace": "kube-system", "name": "kubeadm-config"}},'
echo ' {"metadata": {"namespace": "kube-public", "name": "cluster-info"}}]}'""",
}


def _recorded(seq: int, stream: str = "stdout") -> str:
    return str(LINES[seq][stream])


def _furnished(world: Path) -> None:
    """Put a control plane's files and stand-ins for its programs into a directory."""
    for name in ("bin", "units", "run", "var/lib/etcd/member", "etc/kubernetes/pki", "etc/kubernetes/manifests"):
        (world / name).mkdir(parents=True)
    (world / "boot_id").write_text(f"{uuid.uuid4()}\n")
    (world / "etc/kubernetes/admin.conf").write_text("apiVersion: v1\nkind: Config\n")
    (world / "ca.crt").write_text(Authority("kubernetes").pem)
    shutil.copy(world / "ca.crt", world / "etc/kubernetes/pki")
    told = {
        "members": _recorded(170), "status": _recorded(171), "health": _recorded(236),
        "snapshot": _recorded(415).splitlines()[2],
        "join.err": _recorded(410, "stderr"), "remove.err": _recorded(272, "stderr"),
    }  # fmt: skip
    for name, text in told.items():
        (world / name).write_text(text)
    for name, body in PROGRAMS.items():
        (world / "bin" / name).write_text(f"#!/bin/sh\n{body}\n".replace("WORLD", str(world)))
        (world / "bin" / name).chmod(0o755)
    (world / "inside").write_text(INSIDE.replace("WORLD", str(world)))


def _own_mounts() -> list[str]:
    """Return the command that gives a session its own mounts, in which it is root; skips where that is not allowed."""
    own = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not permit mount namespaces")
    return own


async def real(private: Path) -> AsyncIterator[Site]:
    """The adapter over OpenSSH, and `guest/ops.py` in a mount namespace; systemd, kubeadm and etcd are stand-ins."""
    world = private / "world"
    _furnished(world)

    async def begun() -> None:
        async with asyncio.timeout(30):
            while not (world / "begun").exists():
                await asyncio.sleep(0.02)
        (world / "begun").unlink()

    async def wait(_seconds: float) -> None:
        (world / "go").touch()
        await asyncio.sleep(0.1)
        (world / "go").unlink()

    async def kill() -> None:
        for unit in (world / "units").iterdir():
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(int(unit.read_text()), signal.SIGKILL)

    async def reboot() -> None:
        await kill()
        (world / "boot_id").write_text(f"{uuid.uuid4()}\n")

    with running(private, force=f"{' '.join(_own_mounts())} sh {world}/inside") as sshd:

        async def off() -> None:
            for session in sshd.sessions():  # before their parent ends, which is then asked for them in vain
                os.kill(session, signal.SIGKILL)
            async with asyncio.timeout(30):
                while sshd.sessions():
                    await asyncio.sleep(0.02)
            sshd.process.terminate()
            sshd.process.wait(10)
            await asyncio.sleep(0.1)  # asyncssh hears of it in its next turns

        guests = GuestsOverSsh(key=sshd.key)
        host = Host("u1", "cp1", "127.0.0.1", sshd.port, (ME,), sshd.host_key)
        yield Site(
            guests, host, wait, begun, kill, reboot, off,
            there=lambda path: (world / path.lstrip("/")).exists(), prepares=False,
            init={"config": "kind: InitConfiguration\n", "manifests": {}},
        )  # fmt: skip
        await guests.close()
        await kill()


SITES: Final = {"model in process": in_process, "model over SSH": over_ssh, "ops.py over OpenSSH": real}
