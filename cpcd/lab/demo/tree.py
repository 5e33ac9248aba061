"""The git work tree that holds the demo's spec, and the edits that are committed there.

It never meets a repository or a configuration of the user's: git is given an environment without any of its own
variables, which inside a hook would lead every command into the caller's repository.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cpcd.model.errors import Code, Failure

__all__ = ["Tree", "environment"]


@dataclass(frozen=True, slots=True)
class Tree:
    """A work tree at `path`. Every method raises Failure(EXECUTION) when git fails, OSError without room."""

    path: Path

    @property
    def spec(self) -> Path:
        """The spec."""
        return self.path / "cluster.yaml"

    def lay_out(self, url: str, fingerprint: str, token: Path) -> None:
        """Make the tree with the shipped spec for a Proxmox, committed."""
        (self.path / "addons").mkdir(parents=True)
        (self.path / "addons" / "hello.yaml").write_text(_shipped("addons/hello.yaml"), encoding="utf-8")
        text = _shipped("demo.yaml")
        for pattern, new in (
            (r"url: .*", f"url: {url}"),
            (r"credentialsRef: .*", f"credentialsRef: {{file: {token}}}"),
            (r"fingerprint: .*", f'fingerprint: "{fingerprint}"'),
        ):
            text = re.sub(pattern, new, text, count=1, flags=re.MULTILINE)
        self._git("init", "--quiet", "--initial-branch", "main")
        self._git("config", "user.name", "demo")
        self._git("config", "user.email", "demo@example.org")
        self.commit("A cluster", text)

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
        return (self.path / ".git" / "refs" / "heads" / "main").read_text(encoding="utf-8").strip()

    def _git(self, *arguments: str) -> None:
        command = ["git", "-C", str(self.path), *arguments]
        done = subprocess.run(command, timeout=20, capture_output=True, text=True, check=False, env=environment())
        if done.returncode:
            raise Failure(Code.EXECUTION, f"git {arguments[0]} failed: {done.stderr.strip()}", target=str(self.path))


def environment() -> dict[str, str]:
    """Return our environment without git's variables, and with no configuration but a work tree's own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {**kept, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}


def _shipped(name: str) -> str:
    """Return a file of `specs/`: from the installed wheel, or from the repository."""
    packaged = resources.files("cpcd") / "package" / "specs" / name
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[3] / "specs" / name).read_text(encoding="utf-8")
