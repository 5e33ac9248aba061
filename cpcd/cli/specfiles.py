"""The bytes of a spec as a command finds them: a file, a directory, or stdin, with the files that it refers to."""

import os
import stat
import sys
from pathlib import Path
from typing import Final

from cpcd.model.errors import Code, Failure

__all__ = ["SpecBytes", "read_bytes", "spec_path"]

SpecBytes = tuple[dict[str, bytes], dict[str, bytes] | None]
_LARGEST: Final = 16 << 20  # bytes of one file, as the daemon reads; a spec may be less (`spec/load.py`)
_PLACES: Final = ("cluster.yaml", "/etc/cpcd/cluster.yaml")


def spec_path(given: str) -> str:
    """Return the path to read: the given one, $CPCD_SPEC, ./cluster.yaml, or the daemon's usual one."""
    found = given or os.environ.get("CPCD_SPEC", "") or next((p for p in _PLACES if Path(p).exists()), "")
    if not found:
        hint = "Name it: `cpcd validate PATH`; `-` reads standard input."
        raise Failure(Code.INPUT, f"there is no {' and no '.join(_PLACES)}", hint=hint)
    return found


def read_bytes(path: str) -> SpecBytes:
    """Return the spec's files by name and the files that they refer to (None for stdin, which has no directory)."""
    if path == "-":
        return {"stdin": sys.stdin.buffer.read()}, None
    try:
        return _from_disk(Path(path))
    except OSError as error:
        hint = "Check the path and that you may read it."
        raise Failure(Code.CONFIG, f"cannot be read: {error.strerror}", target=path, hint=hint) from error


def _from_disk(path: Path) -> SpecBytes:
    from cpcd.spec import patterns

    if path.is_dir():
        base, members = path, sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml"})
    else:
        base, members = path.parent, [path]
    files = {str(member): _content(member) for member in members}
    referred = {
        str(found.relative_to(base)): _content(found)
        for pattern in patterns(files)
        for found in base.glob(pattern)
        if found.is_file()
    }
    return files, referred


def _content(path: Path) -> bytes:
    """Read a regular file of a size that the daemon would read: a pipe would be waited for, a device has no end."""
    known = path.stat()
    if not stat.S_ISREG(known.st_mode):
        raise Failure(Code.CONFIG, "is no regular file", target=str(path), hint="Name a file, a directory, or `-`.")
    if known.st_size > _LARGEST:
        what = f"is {known.st_size >> 20} MiB, at most {_LARGEST >> 20} MiB are read"
        raise Failure(Code.CONFIG, what, target=str(path), hint="Split it, or leave out what is no spec.")
    return path.read_bytes()
