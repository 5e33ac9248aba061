"""A town: `cpcd lab` and `cpcd run` as processes of their own, ways between them, a git work tree, a state directory.

It starts, kills, stops and ends only what it started, each process in a group of its own; everything is on loopback, in
127.<net>.0.0/16. Whether the world is as it should be is `verify.py`'s question.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cpcd.lab.demo.look import Look
from cpcd.lab.pve import Settings
from tests.chaos.spec import HELLO, Wanted, text
from tests.chaos.ways import Ways

__all__ = ["FOREIGN", "StuckError", "Town"]

SSH, REAL_SSH, REAL_API = 2222, 2322, 16_443  # a proxy stands at the first, the lab listens at the second
POOL: Final = range(10, 61)
FOREIGN: Final = 10_001  # a VMID of our own range that somebody else has
ADMIN = next(token for token in Settings().tokens if token.id.startswith("admin"))


class StuckError(AssertionError):
    """The world did not come to where the story ends, or the daemon ended by itself."""


class Town:
    """One lab and, while one lives, a daemon. `Look` asks both; `state` may be given another place."""

    def __init__(self, directory: Path, *, net: int, rate: float, seed: str, wanted: Wanted) -> None:
        self.directory, self.net, self.rate, self.seed, self.wanted = directory, net, rate, seed, wanted
        self.tree, self.state = directory / "tree", directory / "state"
        self.socket, self.log = directory / "control.sock", directory / "cpcd.log"
        self.about: dict[str, Any] = {}
        self.metrics = f"127.0.0.1:{free_port()}"
        self.ways = Ways(seed)
        self.lab: asyncio.subprocess.Process | None = None
        self.daemon: asyncio.subprocess.Process | None = None
        self.lives = 0
        self.foreign: dict[str, Any] = {}
        self._port = 0
        self._look: Look | None = None

    @property
    def look(self) -> Look:
        """Who asks the daemon and the lab."""
        if self._look is None:
            self._look = Look(self)  # it needs about, socket and metrics, which a stage of the demo has too
        return self._look

    async def open(self) -> None:
        """Start the lab, lay the ways, plant a VM that is somebody else's, commit the first spec."""
        command = ["lab", "--rate", str(self.rate), "--port", "0", "--ssh-port", str(REAL_SSH)]
        with (self.directory / "lab.log").open("ab") as log:
            self.lab = await _process(
                *command, "--api-port", str(REAL_API), "-o", "json", out=subprocess.PIPE, err=log
            )  # fmt: skip
        self.about = await asyncio.wait_for(self._told(), 30)
        await self._lay_ways()
        token = self.directory / "token"
        token.touch(0o600)
        token.write_text(self.about["token"], encoding="utf-8")
        self.tree.mkdir()
        (self.tree / "hello.yaml").write_text(HELLO, encoding="utf-8")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit(self.wanted)
        await self._plant()

    async def _told(self) -> Any:
        assert self.lab is not None
        assert self.lab.stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            line = await self.lab.stdout.readline()
            if not line:
                raise StuckError(f"the lab did not start: {(self.directory / 'lab.log').read_text()[-500:]}")
            text += line.decode()
        return json.loads(text)

    async def _lay_ways(self) -> None:
        real = int(self.about["proxmox"].rpartition(":")[2])
        self._port = await self.ways.lay("proxmox", ("127.0.0.1", 0), ("127.0.0.1", real))
        host = f"127.{self.net}.0.4"
        await self.ways.lay("kubernetes", (host, 6443), (host, REAL_API))
        for last in POOL:
            host = f"127.{self.net}.0.{last}"
            await self.ways.lay("ssh", (host, SSH), (host, REAL_SSH))

    async def _plant(self) -> None:
        """Let somebody else run a VM in the middle of our range, with our tag."""
        asked = {"vmid": FOREIGN, "name": "theirs", "tags": "cpcd", "memory": 512, "scsi0": "local-lvm:1", "start": 1}
        import aiohttp

        url = f"{self.about['proxmox']}/api2/json/nodes/pve1/qemu"
        headers = {"Authorization": f"PVEAPIToken={ADMIN.id}={ADMIN.secret}"}
        pin = aiohttp.Fingerprint(bytes.fromhex(self.about["fingerprint"].replace(":", "")))
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, data=asked, ssl=pin) as answer,
        ):
            assert answer.status == 200, await answer.text()
        await self.until("the foreign VM runs", lambda world: (their(world) or {}).get("status") == "running", limit=30)
        self.foreign = their(await self.look.world()) or {}

    async def until(self, what: str, holds: Any, *, limit: float) -> None:
        """Wait until the lab's state satisfies `holds`; StuckError after `limit` real seconds."""
        end = asyncio.get_running_loop().time() + limit
        while not holds(await self.look.world()):
            if asyncio.get_running_loop().time() > end:
                raise StuckError(f"not within {limit:.0f} s: {what}")
            await asyncio.sleep(0.05)

    def commit(self, wanted: Wanted) -> None:
        """Want something else, and commit it."""
        self.wanted = wanted
        place = {"net": self.net, "ssh": SSH, "port": self._port, "fingerprint": self.about["fingerprint"]}
        written = text(wanted, token=str(self.directory / "token"), **place)
        (self.tree / "cluster.yaml").write_text(written, encoding="utf-8")
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "--message", "an edit")

    def edit(self, **changes: Any) -> None:
        """Commit a change of what is wanted."""
        self.commit(replace(self.wanted, **changes))

    def git(self, *words: str) -> str:
        """Run git in the work tree."""
        own = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", "-C", str(self.tree), *own, *words], check=True, capture_output=True, text=True, timeout=20
        )
        return done.stdout.strip()

    def command(self) -> list[str]:
        """Return the daemon's command line after `cpcd`."""
        return [
            "--socket", str(self.socket), "run", "--spec", str(self.tree / "cluster.yaml"), "--state-dir",
            str(self.state), "--listen", self.metrics, "--log-format", "json", "-v", "--lab", self.about["control"],
        ]  # fmt: skip

    async def start(self) -> None:
        """Start the daemon; returns at once."""
        assert self.daemon is None
        self.lives += 1
        with self.log.open("ab") as log:
            self.daemon = await _process(*self.command(), out=log, err=log)

    def signal(self, number: int) -> None:
        """Send the daemon's process a signal, if it is still there."""
        if self.daemon is not None and self.daemon.returncode is None:
            self.daemon.send_signal(number)

    async def kill(self) -> None:
        """Kill the daemon with SIGKILL and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self.daemon is not None:
            await self.daemon.wait()
            self.daemon = None

    def check_alive(self) -> None:
        """Raise StuckError when the daemon has ended by itself."""
        if self.daemon is not None and self.daemon.returncode is not None:
            code, self.daemon = self.daemon.returncode, None
            said = self.log.read_text(encoding="utf-8", errors="replace").strip()[-300:]
            raise StuckError(f"the daemon ended by itself with {code}: {said}")

    async def settled(self) -> bool:
        """Whether the daemon says that all is done: the newest commit in force, all Ready, nothing open or planned."""
        status = await self.look.status()
        objects = status.get("objects", [])
        if not any(one["kind"] == "machine" for one in objects) or any(one["ready"] != "True" for one in objects):
            return False
        spec = status["spec"]
        current = spec["valid"] and spec["generation"] == self.git("rev-parse", "HEAD")
        if not current or status["operations"] or status["troubles"]:
            return False
        plan = await self.look.daemon("/plan")
        return plan is not None and not plan["steps"]

    async def close(self) -> None:
        """End both processes, the ways and the sessions."""
        for process in (self.daemon, self.lab):
            await _end(process)
        await self.ways.close()
        if self._look is not None:
            await self._look.close()


def their(world: dict[str, Any]) -> dict[str, Any] | None:
    """Return the VM that somebody else has, as the lab tells it."""
    return next((vm for vm in world["vms"] if vm["vmid"] == FOREIGN), None)


def free_port() -> int:
    """Return a port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _process(*words: str, out: Any, err: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cpcd", *words, stdout=out, stderr=err, start_new_session=True
    )


async def _end(process: asyncio.subprocess.Process | None) -> None:
    """End a process and its group, with SIGKILL if it does not go."""
    if process is None or process.returncode is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
