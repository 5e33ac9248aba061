"""Playbooks: convergent work on one machine by ansible-runner, with the submit and poll of the port `Guests`.

Each run is a process of its own in a private directory, so that the daemon's signal handlers stay and a run survives
the daemon: it is recognised by pid and start time, and its children by a mark in their environment (`failures.md`
R03, R04, R08). Must never start a second run on a machine while one is alive. The process itself: `__main__.py`.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cpcd.adapters.playbooks.traces import MARK, end, marked, scrub, start_time
from cpcd.model.errors import Code, Failure
from cpcd.ports.guests import Host

__all__ = ["Playbooks"]

JSON = Any

KEEP: Final = 50  # finished runs that stay readable; each is a result of some 100 bytes, after a failure a log too
FREE_BYTES: Final = 64 << 20  # with less, events are lost silently and rc is still 0 (`failures.md` R06)
_CONTENT: Final = Path(__file__).parents[2] / "playbooks"


class Playbooks:
    """Runs `prepare` (or another playbook) on one machine at a time and machine.

    `state` is the directory that holds a directory a run (0700, named by op); `key` the private key's path; the newest
    `keep` ended runs stay readable.
    """

    def __init__(
        self,
        state: Path,
        *,
        key: Path,
        playbook: Path = _CONTENT / "prepare.yml",
        keep: int = KEEP,
    ) -> None:
        self._state = state
        self._key = key
        self._playbook = playbook
        self._keep = keep
        self._submitting = asyncio.Lock()  # between "is it busy" and the spawn nobody else may ask
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def knows(self, op: str) -> bool:
        """Return whether this op was submitted here, by this daemon or an earlier one."""
        return (self._run(op) / "run.json").exists()

    def busy(self, host: Host) -> bool:
        """Return whether a run for this machine is alive, whoever started it."""
        return any(self._alive(run) for run in self._runs() if _json(run / "run.json").get("uid") == host.uid)

    async def submit(self, host: Host, op: str, given: Mapping[str, JSON]) -> None:
        """Start a run on `host` as its first user; a known op is not started twice. It is ended after `host.play` s.

        Raises Failure EXECUTION `busy` while another run for the machine is alive, AUTH without a pinned host key,
        DEPENDENCY without disk space.
        """
        async with self._submitting:
            if self.knows(op):
                return
            self._admit(host)
            await asyncio.to_thread(self._sweep)
            await asyncio.to_thread(self._write, self._run(op), host, given)
            self._children[op] = self._spawn(self._run(op))

    async def poll(self, op: str) -> Mapping[str, JSON]:
        """Return `{state, boot_id, rc, output, error}`; `lost` when the run's process is gone without a result.

        Before it answers `lost`, the children that such a run left behind are killed.
        """
        return await asyncio.to_thread(self._poll, op)

    async def cancel(self, op: str) -> None:
        """Ask a run to end; it answers `failed` with reason `Canceled` within some 2 s. A dead one is a no-op."""
        child = self._children.get(op)
        pid = child.pid if child is not None else _json(self._run(op) / "pid.json").get("pid")
        if pid is not None and self._alive(self._run(op)):
            os.kill(pid, signal.SIGTERM)

    def _run(self, op: str) -> Path:
        assert op == Path(op).name, op
        return self._state / op

    def _runs(self) -> list[Path]:
        return sorted((path.parent for path in self._state.glob("*/run.json")), key=lambda run: run.stat().st_mtime)

    def _admit(self, host: Host) -> None:
        if self.busy(host):
            raise Failure(Code.EXECUTION, "busy", target=host.name, hint="A playbook runs on it; it is awaited.")
        if not host.host_key:
            raise Failure(Code.AUTH, "no host key is pinned yet, so no playbook is run", target=host.name)
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(self._state).free < FREE_BYTES:
            raise Failure(Code.DEPENDENCY, f"less than 64 MiB are free in {self._state}", target=host.name)

    def _write(self, run: Path, host: Host, given: Mapping[str, JSON]) -> None:
        """Leave everything that the process needs; run.json comes last, for it makes the op known."""
        shutil.rmtree(run, ignore_errors=True)
        (run / "inventory").mkdir(mode=0o700, parents=True)
        run.chmod(0o700)
        name = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
        (run / "known_hosts").write_text(f"{name} {host.host_key}\n")
        (run / "inventory" / "hosts.json").write_text(json.dumps(self._inventory(run, host)))
        order = {
            "playbook": str(self._playbook), "deadline": host.play, "connect": host.connect, "given": dict(given),
        }  # fmt: skip
        (run / "order.json").write_text(json.dumps(order))
        (run / "run.tmp").write_text(json.dumps({"uid": host.uid}))
        (run / "run.tmp").replace(run / "run.json")

    def _inventory(self, run: Path, host: Host) -> JSON:
        # Like `adapters/guests`: the pinned key alone, nothing of the daemon's user, and a dead peer is found.
        ssh = f"-o UserKnownHostsFile={run}/known_hosts -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
        ssh += " -o IdentitiesOnly=yes -o PreferredAuthentications=publickey -F /dev/null -o ServerAliveInterval=15"
        control = run / "mux"
        # A socket's path has at most 107 bytes, and ssh adds 17 while it makes it.
        shared = f"auto -o ControlPersist=60s -o ControlPath={control}" if len(str(control)) < 90 else "no"
        variables = {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.users[0],
            "ansible_become": host.users[0] != "root",
            "ansible_ssh_private_key_file": str(self._key),
            "ansible_ssh_args": f"{ssh} -o ControlMaster={shared}",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        return {"all": {"hosts": {host.name: variables}}}

    def _spawn(self, run: Path) -> subprocess.Popen[bytes]:
        """Start the run's process, in its own session and with a plain environment (`failures.md` R15)."""
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        env = {"PATH": path, "LANG": "C.UTF-8", "HOME": str(run), MARK: str(run)}
        # -P: what lies in the working directory, which is the run's, is no module.
        command = [sys.executable, "-P", "-m", "cpcd.adapters.playbooks", str(run)]
        with (run / "log").open("wb") as log:
            return subprocess.Popen(
                command, env=env, cwd=run, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _alive(self, run: Path) -> bool:
        child = self._children.get(run.name)
        # Asked through `poll`, which also lets go of one that has ended: until then it has a pid.
        if child is not None:
            return child.poll() is None
        started = _json(run / "pid.json")
        if started:
            return bool(start_time(started["pid"]) == started["start"])
        # Between its start and its pid.json only the mark tells of it.
        return not (run / "result.json").exists() and any(marked(run))

    def _poll(self, op: str) -> Mapping[str, JSON]:
        state: dict[str, JSON] = {"state": "absent", "boot_id": "", "rc": None, "output": {}, "error": {}}
        run = self._run(op)
        if not self.knows(op):
            return state
        if self._alive(run):
            return {**state, "state": "running"}
        self._children.pop(op, None)
        # After it was seen dead: a result is the last thing that it writes, so none now is none ever.
        result = _json(run / "result.json")
        if result:
            return {**state, **result, "state": "failed" if result["rc"] else "done"}
        end(run)
        scrub(run)
        return {**state, "state": "lost"}

    def _sweep(self) -> None:
        """End what dead runs left alive and drop the oldest finished ones (`failures.md` R04, R05)."""
        dead = [run for run in self._runs() if not self._alive(run)]
        for run in dead:
            end(run)
            scrub(run)
        for run in dead[: -self._keep]:
            shutil.rmtree(run, ignore_errors=True)


def _json(path: Path) -> dict[str, JSON]:
    """Return a file's JSON, empty where it is absent or was cut off by a full disk."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
