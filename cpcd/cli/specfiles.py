"""The bytes of a spec as a command finds them: a file, a directory, or stdin, with the files that it refers to."""

import os
import sys
from pathlib import Path
from typing import Final

from cpcd.model.errors import Code, Failure
from cpcd.settings import forbidden, load_settings

__all__ = ["SpecBytes", "read_bytes", "spec_path"]

SpecBytes = tuple[dict[str, bytes], dict[str, bytes] | None]
_HERE: Final = "cluster.yaml"


def spec_path(given: str) -> str:
    """Return the path to read: the given one, $CPCD_SPEC, ./cluster.yaml, or the one of the daemon's settings."""
    named = given or os.environ.get("CPCD_SPEC", "")
    if named or os.access(_HERE, os.F_OK):  # raises nothing where a directory above may not be read
        return named or _HERE
    usual = load_settings({}, os.environ).spec
    try:
        usual.stat()
    except PermissionError as error:
        raise forbidden(usual) from error
    except OSError as error:
        hint = "Name it: `cpcd validate PATH`; `-` reads standard input."
        raise Failure(Code.INPUT, f"there is no {_HERE} here, and no {usual}", hint=hint) from error
    return str(usual)


def read_bytes(path: str) -> SpecBytes:
    """Return the spec's files by name and the files that it refers to (None for stdin, which has no directory).

    They are those that the daemon would read. Raises Failure when that is impossible.
    """
    from cpcd.adapters.disk import read_disk

    if path == "-":
        return {"stdin": _standard_input()}, None
    given, spec = Path(path), _resolved(path)
    try:
        found = read_disk(spec)
    except Failure as failure:
        if isinstance(failure.__cause__, PermissionError):
            raise forbidden(failure.__cause__.filename or path) from failure
        raise
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
