"""The daemon as its users run it, beside the machines: a process, its state directory, its socket, a git work tree.

Unmodified, without `--lab`: its own SSH, its own Ansible, its own clients of Proxmox and Kubernetes. Next: `stage.py`.
"""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from cpcd.cli.client import Client

__all__ = ["Daemon"]

_CPCD: Final = Path(sys.executable).with_name("cpcd")
_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")
_SOMEBODY: Final = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")


@dataclass(slots=True)
class Daemon:
    """One installation in a directory; `token` is the Proxmox's."""

    directory: Path
    token: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def log(self) -> Path:
        """Where it says what it does, each pass of it, life after life."""
        return self.directory / "cpcd.log"

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.directory / "state"

    def commit(self, document: Any) -> None:
        """Have it want this."""
        tree = self.directory / "tree"
        if not tree.exists():
            tree.mkdir(parents=True)
            self._git("init", "--quiet", "--initial-branch", "main")
        (tree / "cluster.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        self._git("add", "-A")
        self._git("commit", "--quiet", "--message", "an edit")

    def _git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.directory / "tree"), *_SOMEBODY, *words], check=True)

    def start(self) -> None:
        """Start it on what is committed."""
        argv = [
            *_WITH_US, str(_CPCD), "--socket", str(self.directory / "control.sock"), "run",
            "--spec", str(self.directory / "tree" / "cluster.yaml"), "--state-dir", str(self.state),
            "--listen", "127.0.0.1:9470", "--log-format", "pretty", "--verbose",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            environment = {**os.environ, "LAB_TOKEN": self.token}
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)

    def kill(self) -> None:
        """End it as a power cut does; nothing happens where none runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def get(self, path: str, **query: str | int) -> Any:
        """Return what its control socket answers; raises Failure when it does not, or refuses."""
        return await asyncio.to_thread(self._client.get, path, **query)

    async def post(self, path: str, **body: str) -> Any:
        """Have it do what a command would; raises as `get` does."""
        return await asyncio.to_thread(self._client.post, path, **body)

    @property
    def _client(self) -> Client:
        return Client(str(self.directory / "control.sock"))
