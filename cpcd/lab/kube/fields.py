"""Who owns which field: server-side apply on plain objects.

A path is a tuple of `f:key` and `k:{"name":"x"}` parts, as in managedFields. Lists whose items all have a name are
merged by name, every other list is one value (Node taints are so on the real server). Next: `store.py` applies it.
"""

import json
import marshal
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from cpcd.lab.provenance import guess, source

__all__ = ["Path", "copy", "decode", "dotted", "encode", "merge", "owned", "remove", "value_at"]

Path = tuple[str, ...]
T = TypeVar("T")
ABSENT: Final = object()
_IDENTITY: Final = frozenset((
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
    "deletionTimestamp",
))  # fmt: skip


def copy(value: T) -> T:
    """Return a deep copy of JSON; ValueError for anything else."""
    plain: Any = value
    copied: T = marshal.loads(marshal.dumps(plain))  # noqa: S302 - nobody else's
    return copied


def _keyed(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(i, dict) and i.get("name") for i in value)


def _key(item: dict[str, Any]) -> str:
    return f'k:{{"name":{json.dumps(item["name"])}}}'


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"f:{key}", item) for key, item in value.items()]
    return [(_key(item), item) for item in value] if _keyed(value) else []


@source("KEP-555: fieldsV1")
def _leaves(value: Any, path: Path) -> Iterator[Path]:
    children = _children(value)
    if not children:
        yield path
    for part, item in children:
        yield from _leaves(item, (*path, part))


@source("KEP-555")
def owned(obj: dict[str, Any]) -> set[Path]:
    """Return the paths that whoever sends this object owns: all leaves but identity and status."""
    own = {key: item for key, item in obj.items() if key not in {"apiVersion", "kind", "metadata", "status"}}
    metadata = {key: item for key, item in obj.get("metadata", {}).items() if key not in _IDENTITY}
    if metadata:
        own["metadata"] = metadata
    return set(_leaves(own, ())) - {()}


def _step(value: Any, part: str) -> Any:
    if part.startswith("f:"):
        return value.get(part[2:], ABSENT) if isinstance(value, dict) else ABSENT
    items = value if _keyed(value) else []
    return next((item for item in items if _key(item) == part), ABSENT)


def value_at(obj: Any, path: Path) -> Any:
    """Return the value at a path, `ABSENT` (equal only to itself) where there is none."""
    for part in path:
        obj = _step(obj, part)
    return obj


@source("make test-kube, v1.35.4: an env variable left out of an apply")
def remove(obj: Any, path: Path) -> None:
    """Remove a value, and its parents as far as they become empty; an item of a list goes with its name."""
    if len(path) > 1 and path[-1] == "f:name" and path[-2].startswith("k:"):
        path = path[:-1]  # without its name nobody would find the item any more
    parent = value_at(obj, path[:-1])
    child = _step(parent, path[-1])
    if child is ABSENT:
        return
    if isinstance(parent, dict):
        del parent[path[-1][2:]]
    else:
        parent.remove(child)
    if not parent and len(path) > 1:
        remove(obj, path[:-1])


@source("KEP-555")
@guess("lists merge by name wherever all items have one; the real server goes by each kind's schema")
def merge(live: Any, applied: Any) -> Any:
    """Return `live` with `applied` laid over it."""
    if isinstance(live, dict) and isinstance(applied, dict):
        return {**live, **{key: merge(live.get(key), item) for key, item in applied.items()}}
    if _keyed(live) and _keyed(applied):
        mine = {_key(item): item for item in applied}
        kept = [merge(item, mine.pop(_key(item), {})) for item in live]
        return kept + [copy(item) for item in mine.values()]
    return copy(applied)


@source("KEP-555: fieldsV1")
def encode(paths: set[Path]) -> dict[str, Any]:
    """Return paths as fieldsV1."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for part in path:
            node = node.setdefault(part, {})
    return tree


@source("KEP-555: fieldsV1")
def decode(tree: dict[str, Any], path: Path = ()) -> set[Path]:
    """Return the leaves of fieldsV1."""
    if not tree:
        return {path} if path else set()
    return set().union(*(decode(node, (*path, part)) for part, node in tree.items()))


@source("structured-merge-diff: fieldpath/element.go")
def dotted(path: Path) -> str:
    """Return a path as conflicts print it: `.spec.replicas`, `.spec.containers[name="web"].image`."""
    return "".join(
        f".{part[2:]}" if part.startswith("f:") else f'[name="{json.loads(part[2:])["name"]}"]' for part in path
    )
