"""The bytes of a spec as a command finds them: a file, a directory, or stdin, with the files that it refers to."""

import os
import sys
from pathlib import Path
from typing import Final

from cpcd.model.errors import Code, Failure

__all__ = ["SpecBytes", "read_bytes", "spec_path"]

SpecBytes = tuple[dict[str, bytes], dict[str, bytes] | None]
_PLACES: Final = ("cluster.yaml", "/etc/cpcd/cluster.yaml")


def spec_path(given: str) -> str:
    """Return the path to read: the given one, $CPCD_SPEC, ./cluster.yaml, or the daemon's usual one."""
    found = given or os.environ.get("CPCD_SPEC", "") or next((p for p in _PLACES if Path(p).exists()), "")
    if not found:
        hint = "Name it: `cpcd validate PATH`; `-` reads standard input."
        raise Failure(Code.INPUT, f"there is no {' and no '.join(_PLACES)}", hint=hint)
    return found


def read_bytes(path: str) -> SpecBytes:
    """Return the spec's files by name and the files that it refers to (None for stdin, which has no directory).

    They are those that the daemon would read. Raises Failure when that is impossible.
    """
    from cpcd.adapters.disk import read_disk

    if path == "-":
        return {"stdin": _standard_input()}, None
    given, spec = Path(path), _resolved(path)
    found = read_disk(spec)
    base = given if spec.is_dir() else spec.parent if given.is_symlink() else given.parent
    return {str(base / name): content for name, content in found.files.items()}, dict(found.referred)


def _resolved(path: str) -> Path:
    try:
        return Path(os.path.realpath(path))
    except FileNotFoundError as error:
        hint = "Change to a directory that exists, or name the whole path."
        raise Failure(Code.INPUT, "the working directory is no more", target=path, hint=hint) from error


def _standard_input() -> bytes:
    from cpcd.adapters.disk import MAX_BYTES

    hint = "Give it a file: `cpcd validate - < cluster.yaml`."
    if sys.stdin is None:
        raise Failure(Code.INPUT, "standard input is closed", hint=hint)
    try:
        return sys.stdin.buffer.read(MAX_BYTES + 1)  # what has no end is found too large
    except OSError as error:
        raise Failure(Code.INPUT, f"standard input cannot be read: {error.strerror}", hint=hint) from error
