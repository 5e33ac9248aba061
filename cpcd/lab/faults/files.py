"""Faults between whoever writes the spec and whoever reads it: one directory on a disk, and what inotify tells of it.

`save` writes as editors, kubelets and git do; `awatch` stands in for watchfiles', in the world's time. The words that a
fault meets are `save NAME`, `watch` when one begins, and `event` when it would be told of something.
"""

import asyncio
import errno
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cpcd.lab.faults import mechanisms as does
from cpcd.lab.faults.injector import Armed
from cpcd.lab.provenance import source

__all__ = ["Desk"]


class Desk:
    """A directory whose files people save; a fault decides how, and what is told of it."""

    def __init__(self, faults: Armed, directory: Path) -> None:
        self._faults, self.directory = faults, directory
        self._away = directory.with_name("away")
        self._told: list[tuple[frozenset[Path], asyncio.Event]] = []
        self._versions = 0
        directory.mkdir()
        faults.hands.append(self)

    async def save(self, name: str, content: bytes) -> None:
        """Save a file: in place and at once, unless a fault says otherwise."""
        path = self.directory / name
        match self._faults.due("files", f"save {name}"):
            case does.Hand() as hand:
                self._faults.befall(hand, about={"name": name, "content": content})
                return
            case does.Slow(seconds=seconds):
                with self._event(path):
                    path.write_bytes(content[: len(content) // 2])
                await self._faults.sleep(seconds)
            case does.Delay(seconds):
                await self._faults.sleep(seconds)
        with self._event(path):
            path.write_bytes(content)

    @source("F01")
    def rename_over(self, name: str, content: bytes) -> None:
        """Save as editors and `sed -i` do: another file takes the name, and who watched the old one hears no more."""
        beside = self.directory / f".{name}.tmp"
        beside.write_bytes(content)
        with self._event(self.directory / name):
            beside.replace(self.directory / name)
        self._told = [one for one in self._told if self.directory / name not in one[0]]

    @source("F02")
    def swap_link(self, name: str, content: bytes) -> None:
        """Save as a kubelet does with a ConfigMap: all files lie behind one link, and the link is swapped."""
        self._versions += 1
        version = self.directory / f"..{self._versions}"
        version.mkdir()
        for path in [path for path in self.directory.iterdir() if path.is_file()]:
            (version / path.name).write_bytes(path.read_bytes())
            if not path.is_symlink():
                path.unlink()
                path.symlink_to(f"..data/{path.name}")
        (version / name).write_bytes(content)
        (self.directory / "..swap").symlink_to(version.name)
        with self._event(self.directory / "..data"):
            (self.directory / "..swap").replace(self.directory / "..data")

    @source("F04")
    def unmount(self) -> None:
        """Take the whole directory away."""
        self.directory.rename(self._away)

    def mount(self) -> None:
        """Give it back."""
        self._away.rename(self.directory)

    @source("F04")
    def leave_empty(self, name: str) -> None:
        """Leave a file without content, as a bad checkout does."""
        with self._event(self.directory / name):
            (self.directory / name).write_bytes(b"")

    @contextmanager
    def _event(self, path: Path) -> Iterator[None]:
        """Tell those who watch the file's directory, and those who watch the very file that was there."""
        yield
        for places, news in self._told:
            if places & {path, path.parent} and not isinstance(self._faults.due("files", "event"), does.Partial):
                news.set()

    async def awatch(self, *places: str, rust_timeout: int, **_options: Any) -> AsyncGenerator[set[Any]]:
        """Yield when something was told of, and every `rust_timeout` milliseconds; raises as watchfiles does.

        A DropBefore is a watcher that cannot begin, a DropAfter one that dies of its first event, a Partial a deaf one.
        """
        mechanism = self._faults.due("files", "watch")
        if isinstance(mechanism, does.DropBefore):
            raise OSError(errno.ENOSPC, "OS file watch limit reached.")
        entry = (frozenset(map(Path, places)), asyncio.Event())
        self._told += [entry] if not isinstance(mechanism, does.Partial) else []
        try:
            while True:
                told = await _within(entry[1], rust_timeout / 1000)
                if told and isinstance(mechanism, does.DropAfter):
                    raise RuntimeError("error in underlying watcher: IO error for operation on inotify")
                entry[1].clear()
                yield set()
        finally:
            self._told = [one for one in self._told if one is not entry]


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
