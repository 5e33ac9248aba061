"""A small disk of its own for a state directory: it can be filled, break under the daemon, and be read-only.

A loop device with ext4 where that is allowed, else a tmpfs, which cannot break under open files; else `NoDiskError` says why
not. `close` leaves nothing mounted.
"""

import contextlib
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["Disk", "NoDiskError"]

SIZE: Final = 32 << 20


class NoDiskError(Exception):
    """No disk can be mounted here; its text is the reason."""


class Disk:
    """One mounted disk; `place` is where."""

    def __init__(self, directory: Path) -> None:
        self.place, self._image = directory / "disk", directory / "disk.img"
        self.place.mkdir()
        self.breaks, self.why = True, ""
        try:
            self._image.touch()
            with self._image.open("r+b") as image:
                image.truncate(SIZE)
            _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(self._image))
            self._mount()
            self._trigger()
        except NoDiskError as error:
            self._unmount()
            self.breaks, self.why = False, str(error)
            _run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "cpcd-chaos", str(self.place))

    @property
    def kind(self) -> str:
        """What it is made of."""
        return "ext4 on a loop device" if self.breaks else "tmpfs"

    def fill(self) -> None:
        """Write until nothing more fits."""
        with contextlib.suppress(OSError), (self.place / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"\0" * 4096) == 4096:
                pass

    def free(self) -> None:
        """Give the space back."""
        (self.place / "filler").unlink()

    def fail(self) -> None:
        """Let the kernel meet an error in the file system: from now on it is read-only under whoever has it open."""
        with contextlib.suppress(OSError), self._trigger().open("w") as trigger:
            trigger.write("1")

    def mend(self) -> None:
        """Unmount, check and mount it again, as an operator does; nobody may have it open."""
        _run("umount", str(self.place))
        _run("e2fsck", "-fy", str(self._image), fine=(0, 1))
        self._mount()

    def read_only(self, on: bool) -> None:
        """Remount it read-only or writable; nobody may have a file open for writing."""
        _run("mount", "-o", "remount,ro" if on else "remount,rw", str(self.place))

    def close(self) -> None:
        """Unmount it, whoever uses it."""
        self._unmount()
        self._image.unlink(missing_ok=True)

    def _mount(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.place))

    def _unmount(self) -> None:
        if self.place.is_mount():
            subprocess.run(["umount", "-l", str(self.place)], check=False, capture_output=True)

    def _trigger(self) -> Path:
        mounts = (line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines())
        device = next((words[0] for words in mounts if words[1] == str(self.place)), "")
        trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
        if not device or not trigger.exists():
            raise NoDiskError("this kernel cannot be told to meet an error in a file system")
        return trigger


def _run(*words: str, fine: tuple[int, ...] = (0,)) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as error:
        raise NoDiskError(f"{words[0]} is not installed") from error
    if done.returncode not in fine:
        raise NoDiskError(f"{' '.join(words[:2])}: {(done.stderr or done.stdout).strip().splitlines()[0]}")
