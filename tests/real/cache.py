"""Where the real tests keep what takes minutes to make, and how two runs on one machine make it once."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["alone", "cache", "say"]


def cache() -> Path:
    """Return the directory: $CPCD_TEST_CACHE, else one in the user's cache."""
    given = os.environ.get("CPCD_TEST_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cpcd-tests"


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Make a directory and hold it: another run waits."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
