"""The machine under the bundle: its root, its commands, its files; what tests replace by a recorded one.

Must never raise for what a command does: how it ended is a value. Python 3.9, standard library: of it only what starts
fast, because all imports of the bundle come before the first answer (`dataclasses` and `socket` were a quarter of that).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, Final, NamedTuple, TextIO

from cpcd.guest.reasons import classify, words

JSON = Any

STATE: Final = "/var/lib/cpcd"
VOLATILE: Final = "/run/cpcd"
KUBERNETES: Final = "/etc/kubernetes"


class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """A verb's own no: a CamelCase reason (or `busy`) and the words that explain it."""

    def __init__(self, reason: str, message: str, rc: int = 1) -> None:
        super().__init__(message)
        self.reason, self.message, self.rc = reason, message, rc


class Ran(NamedTuple):
    """How a command ended; rc 127 where it is not installed, 124 where it gave no answer in time."""

    rc: int
    out: str = ""
    err: str = ""

    def refused(self, verb: str) -> Refused:
        """Return this end as the refusal of a verb."""
        return Refused(classify(verb, self.rc, self.out, self.err), words(self.rc, self.out, self.err), self.rc)


def run_command(argv: list[str], *, stdin: str = "", timeout: float | None = 120) -> Ran:
    """Run a command with a plain environment; never raises for what the command does.

    What it prints is held in memory that the kernel shows: of one that hangs, `cat /proc/PID/fd/1` tells what it said.
    """
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    # Words are classified by their text (`reasons.py`), so they come in one language; before 3.4 etcdctl spoke v2
    # unless told.
    env = {"PATH": path, "LC_ALL": "C", "HOME": "/root", "ETCDCTL_API": "3"}
    given = stdin.encode()
    try:
        with memory("out") as out, memory("err") as err:
            done = subprocess.run(argv, input=given, stdout=out, stderr=err, timeout=timeout, env=env, check=False)
            out.seek(0)
            err.seek(0)
            return Ran(done.returncode, out.read(), err.read())
    except OSError as error:
        return Ran(127, err=f"{argv[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Ran(124, err=f"{argv[0]} gave no answer in {timeout:g} s")


def memory(name: str) -> TextIO:
    """Return a file that is nowhere but in memory, and gone when it is closed by all."""
    return os.fdopen(os.memfd_create(name), "r+", encoding="utf-8", errors="replace")


class Machine(NamedTuple):
    """The machine under this file: where its root is, how commands are run, and this file itself, compiled."""

    root: Path = Path("/")
    run: Callable[..., Ran] = run_command
    code: CodeType | None = None

    def path(self, absolute: str) -> Path:
        """Return where an absolute path of the machine is."""
        return self.root / absolute.lstrip("/")

    def read(self, absolute: str) -> str:
        """Return a file's text without surrounding space, empty where it cannot be read."""
        try:
            return self.path(absolute).read_text(errors="replace").strip()
        except OSError:
            return ""

    def write(self, absolute: str, content: str | bytes, mode: int = 0o600) -> None:
        """Write a file so that it is whole or absent after a power cut (`failures.md` D02).

        The temporary name begins with a dot: the kubelet ignores such files in its manifests directory.
        """
        path = self.path(absolute)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode)
        with temporary.open("wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        # Without its directory the new name may be lost with the power.
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def checked(self, verb: str, argv: list[str], *, timeout: float | None = 120) -> str:
        """Return the command's stdout; Refused with its classified words where rc is not 0."""
        ran = self.run(argv, timeout=timeout)
        if ran.rc:
            raise ran.refused(verb)
        return ran.out


def boot_id(machine: Machine) -> str:
    """Return the id of this boot, with dashes."""
    return machine.read("/proc/sys/kernel/random/boot_id")
