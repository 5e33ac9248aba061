"""The stage: a directory with a git work tree, and two processes, the lab and `cpcd run`.

Everything is on loopback and in one temporary directory; only processes started here are ended here.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from cpcd.model.errors import Code, Failure

__all__ = ["Stage"]

USED: Final = (("127.77.0.10", 2222), ("127.77.0.4", 6443))  # first machine and endpoint of `specs/demo.yaml`
SPEED: Final = 30.0  # lab seconds in a real one: as fast as two cores keep up with


@dataclass
class Stage:
    """Starts, kills and ends the processes, and commits edits of `cluster.yaml`."""

    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="cpcd-demo-")))
    about: dict[str, Any] = field(default_factory=dict)
    lab: asyncio.subprocess.Process | None = None
    daemon: asyncio.subprocess.Process | None = None
    lives: int = 0

    @property
    def tree(self) -> Path:
        """The git work tree."""
        return self.directory / "clusters"

    @property
    def spec(self) -> Path:
        """The spec in the work tree."""
        return self.tree / "cluster.yaml"

    @property
    def socket(self) -> Path:
        """The daemon's control socket."""
        return self.directory / "control.sock"

    @property
    def state(self) -> Path:
        """The daemon's state directory."""
        return self.directory / "state"

    @property
    def metrics(self) -> str:
        """Where the daemon serves metrics."""
        return f"127.0.0.1:{self.about['metricsPort']}"

    async def open(self) -> None:
        """Start the lab and lay out the work tree with the first spec committed.

        Raises Failure(DEPENDENCY) when another lab's machines are on the demo's addresses.
        """
        _refuse_company()
        log = (self.directory / "lab.log").open("wb")
        self.lab = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cpcd", "lab", "--rate", str(SPEED), "--port", "0", "-o", "json",
            stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
        self.about = {**await asyncio.wait_for(self._told(), 30), "metricsPort": _free_port()}
        self._lay_out()

    async def _told(self) -> dict[str, Any]:
        """Read what the lab says of itself: one JSON document on its standard output."""
        assert self.lab is not None
        assert self.lab.stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            line = await self.lab.stdout.readline()
            if not line:
                what = "the lab did not start"
                raise Failure(Code.EXECUTION, what, hint=f"See {self.directory / 'lab.log'}.")
            text += line.decode()
        found: dict[str, Any] = json.loads(text)
        return found

    async def start(self) -> None:
        """Start the daemon."""
        self.lives += 1
        log = (self.directory / "cpcd.log").open("ab")
        self.daemon = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cpcd", "--socket", str(self.socket), "run", "--spec", str(self.spec),
            "--state-dir", str(self.state), "--listen", self.metrics, "--log-format", "json", "-v",
            "--lab", self.about["control"],
            stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip

    async def kill(self) -> None:
        """Kill the daemon with SIGKILL."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        await self.daemon.wait()

    async def close(self) -> None:
        """End both processes."""
        for process in (self.daemon, self.lab):
            if process is not None and process.returncode is None:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 10)
                if process.returncode is None:
                    process.kill()

    def edit(self, message: str, *changes: tuple[str, str]) -> None:
        """Replace patterns in the spec, each of which must be there, and commit."""
        text = self.spec.read_text(encoding="utf-8")
        for pattern, new in changes:
            text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
            assert count, f"{pattern} is not in the demo's spec"
        self.commit(message, text)

    def commit(self, message: str, text: str) -> None:
        """Write the spec and commit it."""
        self.spec.write_text(text, encoding="utf-8")
        self._git("add", "-A")
        self._git("commit", "--quiet", "--message", message)

    def head(self) -> str:
        """Return the newest commit's id."""
        return (self.tree / ".git" / "refs" / "heads" / "main").read_text(encoding="utf-8").strip()

    def _lay_out(self) -> None:
        (self.tree / "addons").mkdir(parents=True)
        token = self.directory / "pve-token"
        token.touch(0o600)
        token.write_text(self.about["token"], encoding="utf-8")
        hello = _shipped("addons/hello.yaml")
        (self.tree / "addons" / "hello.yaml").write_text(hello, encoding="utf-8")
        text = _shipped("demo.yaml")
        for pattern, new in (
            (r"url: .*", f"url: {self.about['proxmox']}"),
            (r"credentialsRef: .*", f"credentialsRef: {{file: {token}}}"),
            (r"fingerprint: .*", f'fingerprint: "{self.about["fingerprint"]}"'),
        ):
            text = re.sub(pattern, new, text, count=1, flags=re.MULTILINE)
        self._git("init", "--quiet", "--initial-branch", "main")
        self._git("config", "user.name", "demo")
        self._git("config", "user.email", "demo@example.org")
        self._git("config", "commit.gpgsign", "false")
        self.commit("A cluster", text)

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", str(self.tree), *arguments], check=True, timeout=20, stdout=subprocess.DEVNULL)


def _shipped(name: str) -> str:
    """Return a file of `specs/`: from the installed wheel, or from the repository."""
    packaged = resources.files("cpcd") / "package" / "specs" / name
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[3] / "specs" / name).read_text(encoding="utf-8")


def _refuse_company() -> None:
    import socket

    for host, port in USED:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                what = f"{host}:{port} is taken: another lab or demo runs on these addresses"
                hint = "End it first; its machines would answer for ours."
                raise Failure(Code.DEPENDENCY, what, hint=hint) from error


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
