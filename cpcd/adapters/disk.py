"""The spec as it lies on the disk: which files of a directory are its own, which it refers to, and their bytes.

The daemon and `cpcd validate` both read here, so that what the one calls valid is what the other reads. Nothing waits
here but for the disk, and nothing heavy is imported: a command's start is short.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cpcd.model.errors import Code, Failure
from cpcd.spec import matching, patterns

__all__ = [
    "KEPT",
    "MAX_BYTES",
    "Snapshot",
    "linked",
    "matches",
    "members",
    "nested",
    "read_disk",
    "too_large",
    "work_tree",
]

MAX_BYTES: Final = 16 * 1024 * 1024  # of one file; the loader's own limit for the spec is lower
KEPT: Final = "Nothing new is put in force until that is mended."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The spec at one moment.

    `files` are the spec's own files and `referred` those that they refer to, both by path relative to the spec's
    directory. `generation` is the commit's id, or `sha256:…` of the content outside git. `uncommitted` says that the
    work tree differs from what was read. `source` is for people: `git HEAD 1a2b3c4 (main)`.
    """

    files: Mapping[str, bytes]
    generation: str
    uncommitted: bool
    source: str
    referred: Mapping[str, bytes] = field(default_factory=dict)


def read_disk(spec: Path) -> Snapshot:
    """Return the file, or the directory's files, as they are now; links are followed, but not in a git work tree.

    Raises Failure with Code.CONFIG when it is absent, empty, too large, such a link or cannot be read.
    """
    try:
        directory, worktree = spec.is_dir(), work_tree(spec) is not None
        files, referred = _lying(spec, directory=directory, follow=not worktree)
    except FileNotFoundError as error:
        raise Failure(Code.CONFIG, f"{error.filename or spec} does not exist", hint=KEPT) from error
    except OSError as error:
        raise Failure(Code.CONFIG, f"{error.filename or spec} cannot be read: {error.strerror}", hint=KEPT) from error
    if not files:
        raise Failure(Code.CONFIG, f"{spec} holds no *.yaml", hint=f"An empty directory deletes nothing. {KEPT}")
    kind = f"{'work tree ' if worktree else ''}{'directory' if directory else 'file'}"
    return Snapshot(files, _hash({**files, **referred}), uncommitted=False, source=f"{kind} {spec}", referred=referred)


def work_tree(spec: Path) -> Path | None:
    """Return the nearest directory at or above the spec that has a `.git` (a file in linked work trees)."""
    places = (spec, *spec.parents)
    return next((place for place in places if os.access(place / ".git", os.F_OK)), None)


def members(names: Iterable[str]) -> list[str]:
    """Return those names of a directory that are the spec's own files, sorted."""
    return sorted(
        name for name in names if name.endswith((".yaml", ".yml")) and not name.startswith(".") and "/" not in name
    )


def too_large(name: str, size: int) -> Failure:
    """Return the failure that a file of `size` bytes is."""
    return Failure(Code.CONFIG, f"{name} is {size >> 20} MiB, at most {MAX_BYTES >> 20} MiB are read", hint=KEPT)


def linked(path: Path) -> Failure:
    """Return the failure that a symbolic link in a git work tree is.

    A commit has where it points to and not what is there, so that whatever it stands for would silently be missing.
    """
    what = f"{path} is a symbolic link, and in a git work tree none is followed"
    return Failure(Code.CONFIG, what, hint=f"Commit what it points to in its place. {KEPT}")


def nested(path: Path) -> Failure:
    """Return the failure that a repository in a git work tree is, a submodule or not: as with a link, a commit has no files of it."""
    what = f"{path} is a git repository of its own, whose files are in no commit of the one around it"
    return Failure(Code.CONFIG, what, hint=f"Commit the files themselves. {KEPT}")


def _lying(spec: Path, *, directory: bool, follow: bool) -> tuple[dict[str, bytes], dict[str, bytes]]:
    base = spec if directory else spec.parent
    own = members(entry.name for entry in spec.iterdir()) if directory else [spec.name]
    _allow(base, () if follow else own)
    files = {name: _content(base / name) for name in own if not directory or (base / name).is_file()}
    wanted = patterns(files)
    _allow(base, () if follow else (name for each in wanted for level in _levels(base, each) for name in level))
    beside = {name for each in wanted for name in matches(base, each)}
    return files, {name: _content(base / name) for name in sorted(beside - files.keys())}


def _allow(base: Path, names: Iterable[str]) -> None:
    for place in (base / name for name in names):
        if place.is_symlink():
            raise linked(place)
        if os.access(place / ".git", os.F_OK):
            raise nested(place)


def matches(base: Path, wanted: str) -> list[str]:
    """Return the files that a pattern stands for, looked for directory by directory: no pattern makes that a long walk."""
    *_, found = _levels(base, wanted)
    return [name for name in found if (base / name).is_file()]


def _levels(base: Path, wanted: str) -> Iterator[list[str]]:
    """Yield what each piece of a pattern stands for."""
    level = [""]
    for piece in wanted.split("/"):
        level = [f"{place}{name}" for place in level for name in matching(piece, _names(base / place))]
        yield level
        level = [f"{name}/" for name in level]


def _names(place: Path) -> list[str]:
    try:
        with os.scandir(place) as found:
            return [entry.name for entry in found]
    except OSError:
        return []


def _content(path: Path) -> bytes:
    """Read a regular file of a size that is read: a pipe would be waited for, a device has no end."""
    known = path.stat()
    if not stat.S_ISREG(known.st_mode):
        raise Failure(Code.CONFIG, f"{path} is no regular file", hint=KEPT)
    if known.st_size > MAX_BYTES:
        raise too_large(str(path), known.st_size)
    return path.read_bytes()


def _hash(files: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(files):
        # With its length, so that no two sets of files give the same text.
        whole.update(os.fsencode(name) + f"\0{len(files[name])}\0".encode())
        whole.update(files[name])
    return f"sha256:{whole.hexdigest()}"
