"""The demo's processes over signals: whatever ends it, nothing goes on running and nothing lies about."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LIMIT = 180.0  # seconds: patience on a busy machine


def until(holds: Callable[[], object]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes that a process has started: the lab and the daemon."""
    place = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in place.read_text(encoding="ascii").split()] if place.exists() else []


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the demo with this test's directory for temporary files."""
    started = []

    def start(**how: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cpcd", "demo"]
        process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}, **how)
        started.append(process)
        return process

    yield start
    for process in started:
        left = children(process)
        process.kill()
        process.wait()
        for child in left:
            os.kill(child, signal.SIGKILL)


def played(tmp_path: Path) -> list[Path]:
    """Return the control sockets: there is one once the daemon runs."""
    return list(tmp_path.glob("cpcd-demo-*/control.sock"))


def test_two_signals_leave_nothing_and_a_second_demo_is_refused(
    demo: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Who presses Ctrl-C twice is in a hurry, and wants nothing left."""
    first = demo(stdout=subprocess.DEVNULL)
    until(lambda: played(tmp_path))
    both = children(first)
    second = demo(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = second.communicate(timeout=LIMIT)

    for _ in range(3):
        first.send_signal(signal.SIGINT)
    code = first.wait(LIMIT)

    assert (1, True) == (second.returncode, b"another lab or demo runs on these addresses" in said)
    assert (130, 2, []) == (code, len(both), list(tmp_path.iterdir()))
    assert [] == [child for child in both if Path(f"/proc/{child}").exists()]


def test_a_terminal_that_is_closed_leaves_nothing(demo: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """Its SIGHUP comes with a screen that cannot be written any more."""
    ours, theirs = pty.openpty()
    process = demo(stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=_adopt)
    os.close(theirs)
    until(lambda: played(tmp_path) or not os.read(ours, 65_536))
    both = children(process)

    os.close(ours)
    process.wait(LIMIT)

    assert (2, []) == (len(both), list(tmp_path.iterdir()))
    assert [] == [child for child in both if Path(f"/proc/{child}").exists()]


def _adopt() -> None:
    """Make the terminal the controlling one of the new session."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
