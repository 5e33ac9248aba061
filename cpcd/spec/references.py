"""Files that the spec refers to: they are part of its generation and come from the same tree.

Patterns are relative to the spec's directory; `*`, `?` and `[…]` stay within one directory, hidden files do not match.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from cpcd.spec.load import load
from cpcd.spec.paths import find, pattern
from cpcd.spec.schema import ClusterDocument

__all__ = ["matching", "patterns", "references"]

_WHERE = pattern("spec.addons.*.manifests.*.file")


def references(document: ClusterDocument) -> tuple[str, ...]:
    """Return the patterns of the files that a document refers to, sorted."""
    return tuple(sorted({source.file for addon in document.spec.addons for source in addon.manifests}))


def patterns(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the patterns in raw files, however wrong the rest of them is; what leaves the directory is left out."""
    found = {
        "/".join(part for part in value.split("/") if part not in ("", "."))
        for file, content in files.items()
        for document in load(file, content)[0]
        for _, value in find(document.value, _WHERE)
        if isinstance(value, str) and not value.startswith("/") and ".." not in value.split("/")
    }
    return tuple(sorted(found - {""}))


def matching(wanted: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a pattern stands for, sorted, so that their order is the same on every machine."""
    parts = wanted.split("/")
    return tuple(sorted(name for name in names if _fits(parts, name.split("/"))))


def _fits(parts: list[str], name: list[str]) -> bool:
    return len(parts) == len(name) and all(
        fnmatchcase(piece, part) and (part.startswith(".") or not piece.startswith("."))
        for part, piece in zip(parts, name, strict=True)
    )
