"""Paths into a parsed document, such as `spec.workers.machineDeployments[0].name`, and patterns over them.

Aliases, the table of unsupported fields and the mistakes all speak of places in the file in this one way.
"""

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["MACHINES", "Path", "children", "find", "fits", "pattern", "secret", "show", "touch"]

Path = tuple[str | int, ...]

MACHINES = ("spec.machineDefaults", "spec.controlPlane.machine", "spec.workers.machineDeployments.*.machine")
"""Where a machine is described."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def show(path: Path) -> str:
    """Return the path as people write it; keys with dots or slashes are quoted: `labels["a.b/c"]`."""
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts.append(f"[{key}]")
        elif _PLAIN.fullmatch(key):
            parts.append(f".{key}")
        else:
            parts.append(f'["{key[:60]}"]')
    return "".join(parts).removeprefix(".")


def secret(path: Path) -> bool:
    """Return whether a secret could stand at a path, typed where its reference belongs."""
    return any(isinstance(key, str) and key.endswith("Ref") for key in path)


def pattern(text: str) -> tuple[str, ...]:
    """Return the parts of a dotted pattern, in which `*` stands for any one key or index."""
    return tuple(text.split(".")) if text else ()


def fits(parts: tuple[str, ...], path: Path) -> bool:
    """Return whether a path is exactly what a pattern describes."""
    return len(parts) == len(path) and all(part in ("*", str(key)) for part, key in zip(parts, path, strict=True))


def touch(one: Path, other: Path) -> bool:
    """Return whether one path leads to the other or through it; `*` is any one key or index."""
    return all(a == b or "*" in (a, b) for a, b in zip(one, other, strict=False))


def find(value: Any, parts: tuple[str, ...], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every place of a document that the pattern describes, with the value that stands there."""
    if not parts:
        yield path, value
        return
    for key, child in children(value):
        if parts[0] in ("*", str(key)):
            yield from find(child, parts[1:], (*path, key))


def children(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield what a mapping or list holds, by key or index; nothing for a scalar."""
    match value:
        case dict():
            yield from value.items()
        case list():
            yield from enumerate(value)
        case _:
            return
