"""What `cpcd run` does to be small: a daemon lives for years beside what it keeps."""

import ctypes
import subprocess
import sys

import pytest

MALLOC = """
import ctypes, threading
from cpcd.cli.app import invoke
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
libc.fopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
libc.fclose.argtypes = (ctypes.c_void_p,)
assert 1 == invoke(["run", "--listen", "nowhere"])  # it ends at once, and what it set for its process is set
together = threading.Barrier(4)
def take():
    together.wait()
    for _ in range(16): libc.malloc(80_000)
threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""


def printed(program: str) -> str:
    """Run a program in a Python of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_the_daemon_does_not_load_what_only_screens_need() -> None:
    """Rich and pygments are 3 MB, and structlog takes them in where they are installed."""
    loaded = printed("import cpcd.wiring, cpcd.cli.run, sys; print(*sys.modules)").split()

    assert "structlog" in loaded
    assert set() == {"rich", "pygments"} & {name.partition(".")[0] for name in loaded}


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="malloc_info(3) is glibc's")
def test_freed_memory_goes_back_to_the_system() -> None:
    """Threads share one heap, and what is large is a mapping of its own from 64 KiB on (mallopt(3))."""
    told = printed(MALLOC)
    mapped = int(told.rpartition('<total type="mmap" count="')[2].partition('"')[0])

    assert 1 == told.count("<heap nr=")
    assert mapped >= 32  # of 64: a few find room in what was freed before
