"""The stage: a temporary directory and two processes, the lab and `cpcd run`, on loopback.

Only processes started here are ended here, and they are ended whatever happens. Next: `tree.py` for the work tree,
`story.py` for what is played.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from cpcd.lab.demo.tree import Tree, environment
from cpcd.model.errors import Code, Failure

__all__ = ["Stage"]

CLAIM: Final = ("127.77.0.1", 2222)  # held from start to end; the gateway of `specs/demo.yaml`, where nobody listens
USED: Final = (("127.77.0.10", 2222), ("127.77.0.4", 6443))  # its first machine and its endpoint
SPEED: Final = 30.0  # lab seconds in a real one: as fast as two cores keep up with
PATIENCE: Final = 10.0  # seconds for a process to end by itself


class Stage:
    """Starts, kills and ends the processes, and commits edits of `cluster.yaml`.

    `kept` leaves the directory, with its logs, where it is at the end.
    """

    def __init__(self) -> None:
        self.kept = False
        self.directory = Path()
        self.about: dict[str, Any] = {}
        self.lab: asyncio.subprocess.Process | None = None
        self.daemon: asyncio.subprocess.Process | None = None

    @property
    def tree(self) -> Tree:
        """The git work tree with the spec."""
        return Tree(self.directory / "clusters")

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

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Start the lab and commit the first spec; at the end of the block both processes end, and the directory goes.

        Raises Failure(DEPENDENCY) when another demo or lab is on the addresses, without git, or without room.
        """
        with _alone():
            try:
                await self._open()
                yield
            finally:
                await self._close()

    def slay(self) -> None:
        """Kill what still runs, at once."""
        for process in self._running():
            process.kill()

    async def start(self) -> None:
        """Start the daemon."""
        # In a session of its own, so that a Ctrl-C at the terminal reaches the demo alone, which ends both in order.
        with (self.directory / "cpcd.log").open("ab") as log:
            self.daemon = await asyncio.create_subprocess_exec(
                *self.program, "run", "--spec", str(self.tree.spec), "--state-dir", str(self.state),
                "--listen", self.metrics, "--log-format", "json", "-v", "--lab", self.about["control"],
                stdout=log, stderr=log, start_new_session=True, env={**environment(), "PYTHONWARNINGS": "ignore"},
            )  # fmt: skip

    @property
    def program(self) -> tuple[str, ...]:
        """The command that speaks to the daemon, for this process' children and for people alike."""
        return (sys.executable, "-m", "cpcd", "--socket", str(self.socket))

    async def kill(self) -> None:
        """Kill the daemon with SIGKILL."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        await self.daemon.wait()

    async def run(self, *arguments: str, columns: int) -> tuple[int, str]:
        """Run a command of cpcd; return its exit code and all that it printed."""
        told = await asyncio.create_subprocess_exec(
            *self.program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**environment(), "COLUMNS": str(columns)},
        )  # fmt: skip
        output, _ = await told.communicate()
        assert told.returncode is not None, "communicate waits for the end"
        return told.returncode, output.decode()

    async def _open(self) -> None:
        if shutil.which("git") is None:
            hint = "Install git (Debian: apt install git); the demo commits its edits."
            raise Failure(Code.DEPENDENCY, "there is no git on the PATH", hint=hint)
        with _room():
            self.directory = Path(tempfile.mkdtemp(prefix="cpcd-demo-"))
            with (self.directory / "lab.log").open("wb") as log:
                self.lab = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "cpcd", "lab", "--rate", str(SPEED), "--port", "0", "-o", "json",
                    stdout=subprocess.PIPE, stderr=log, start_new_session=True, env=environment(),
                )  # fmt: skip
            self.about = {**await self._told(), "metricsPort": _free_port()}
            token = self.directory / "pve-token"
            # Before there is anything in it to read.
            token.touch(0o600)
            token.write_text(self.about["token"], encoding="utf-8")
            self.tree.lay_out(self.about["proxmox"], self.about["fingerprint"], token)

    async def _told(self) -> dict[str, Any]:
        """Read what the lab says of itself: one JSON document on its standard output."""
        assert self.lab is not None
        assert self.lab.stdout is not None
        text = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                while not text.endswith(b"\n}\n") and (line := await self.lab.stdout.readline()):
                    text += line
        if not text.endswith(b"\n}\n"):
            self.kept = True
            raise Failure(Code.EXECUTION, "the lab did not start", hint=f"See {self.directory / 'lab.log'}.")
        found: dict[str, Any] = json.loads(text)
        return found

    async def _close(self) -> None:
        """End the processes: asked first, then killed; a signal meanwhile may do that sooner by `slay`."""
        running = self._running()
        for process in running:
            process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(process.wait() for process in running)), PATIENCE)
        finally:
            self.slay()
            if self.directory.name and not self.kept:
                shutil.rmtree(self.directory, ignore_errors=True)
        await asyncio.gather(*(process.wait() for process in running))

    def _running(self) -> list[asyncio.subprocess.Process]:
        return [each for each in (self.daemon, self.lab) if each is not None and each.returncode is None]


@contextmanager
def _room() -> Iterator[None]:
    """Say in a sentence that the temporary directory is full or cannot be written."""
    try:
        yield
    except OSError as error:
        what = f"the demo cannot be laid out: {error.strerror or error}"
        hint = "Set TMPDIR to a directory that can be written and has 50 MB of room."
        raise Failure(Code.DEPENDENCY, what, target=str(error.filename or ""), hint=hint) from error


@contextmanager
def _alone() -> Iterator[None]:
    """Hold an address that no second demo can have, and refuse the company of a lab that is there already."""
    with socket.socket() as claim:
        _bind(claim, CLAIM)
        for place in USED:
            with socket.socket() as probe:
                # What the last demo left in TIME_WAIT is nobody's.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                _bind(probe, place)
        yield


def _bind(probe: socket.socket, place: tuple[str, int]) -> None:
    try:
        probe.bind(place)
    except OSError as error:
        what = f"{place[0]}:{place[1]} is taken: another lab or demo runs on these addresses"
        hint = "End it first; its machines would answer for ours."
        raise Failure(Code.DEPENDENCY, what, hint=hint) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
