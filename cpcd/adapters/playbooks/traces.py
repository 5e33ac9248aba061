"""What a run leaves in the process table and on disk, and how it is taken away.

Ansible's children are in sessions of their own and outlive the daemon; a mark in their environment finds them all.
Must never touch a process without the mark.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["MARK", "end", "marked", "scrub", "start_time"]

MARK: Final = "CPCD_RUN"
_INPUTS: Final = ("env", "inventory", "order.json", "known_hosts", "artifacts", "project", "mux", "home", "facts")


def end(run: Path) -> None:
    """Kill every process that carries the run's mark; Ansible's are in sessions of their own."""
    for pid in list(marked(run)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def scrub(run: Path) -> None:
    """Remove what a run was given, so that only its result, and after a failure its log, stays (R13)."""
    for name in _INPUTS:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def marked(run: Path) -> Iterator[int]:
    """Yield the pids of this user's processes that carry the run's mark, this one left out.

    ssh's connection master writes its title over its environment, so it is known by its control socket.
    """
    mark, master = f"{MARK}={run}".encode(), f"ssh: {run}/mux".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if (mark in environment.split(b"\0") or command.startswith(master)) and int(entry.name) != os.getpid():
            yield int(entry.name)


def start_time(pid: int) -> str:
    """Return a process's start in clock ticks since boot, empty where there is none (pids are used again)."""
    try:
        # After the last parenthesis: the name before it may have any letters in it (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie has ended. `starttime` is field 22, and the first two are cut off.
    return "" if fields[0] == "Z" else fields[19]
