"""managedFields: which manager holds which field, and what an apply or an update does to that.

Entries are kept in the object, as the real server keeps them. Writes of the lab's own controllers leave no entry.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cpcd.lab.kube.fields import Path, decode, encode, owned, value_at
from cpcd.lab.provenance import source

__all__ = ["conflicts", "note_apply", "note_update"]

Object = dict[str, Any]
Entry = dict[str, Any]


def _entries(obj: Object) -> list[Entry]:
    return obj["metadata"].get("managedFields") or []


def _is(entry: Entry, manager: str, operation: str) -> bool:
    return bool(entry["manager"] == manager and entry["operation"] == operation)


def _entry(manager: str, operation: str, api_version: str, paths: set[Path], stamp: str) -> Entry:
    named = {"manager": manager, "operation": operation, "apiVersion": api_version}
    return {**named, "time": stamp, "fieldsType": "FieldsV1", "fieldsV1": encode(paths)}


@source("real.md 2: FieldManagerConflict")
def _others(obj: Object, manager: str) -> Iterator[tuple[str, set[Path]]]:
    for entry in _entries(obj):
        if not _is(entry, manager, "Apply"):
            yield f'"{entry["manager"]}" using {entry["apiVersion"]}', decode(entry["fieldsV1"])


def _overlap(path: Path, held: set[Path]) -> bool:
    return path in held or any(path == other[: len(path)] or other == path[: len(other)] for other in held)


@source("real.md 2: FieldManagerConflict")
def conflicts(live: Object, applied: Object, paths: set[Path], manager: str) -> list[tuple[Path, str]]:
    """Return (path, holder) of fields that another manager holds and that would get another value.

    A holder is said as a conflict says it: `"kubectl" using apps/v1`.

    An applied empty map claims the map and none of its keys.
    """
    changed = [path for path in sorted(paths) if not _agree(value_at(live, path), value_at(applied, path))]
    claims = [(other, {path for path in held if not _is_map(live, path)}) for other, held in _others(live, manager)]
    return [(path, other) for other, held in claims for path in changed if _overlap(path, held)]


def _agree(live: Any, applied: Any) -> bool:
    return bool(live == applied) or (applied == {} and isinstance(live, dict))


def _is_map(live: Object, path: Path) -> bool:
    """Tell whether a path that was held as an empty map has keys by now: those are held on their own."""
    found = value_at(live, path)
    return isinstance(found, dict) and bool(found)


@source("KEP-555")
def note_apply(
    live: Object, paths: set[Path], taken: set[Path], manager: str, stamp: str
) -> tuple[list[Entry], set[Path]]:
    """Return the entries after an apply, and the paths that nobody holds any more and that hold nothing of others."""
    old = next((entry for entry in _entries(live) if _is(entry, manager, "Apply")), None)
    had = decode(old["fieldsV1"]) if old else set()
    mine = old
    if mine is None or had != paths or mine["apiVersion"] != live["apiVersion"]:
        mine = _entry(manager, "Apply", live["apiVersion"], paths, stamp)
    rest = [_without(entry, taken) for entry in _entries(live) if entry is not old]
    held: set[Path] = set().union(*(decode(entry["fieldsV1"]) for entry in rest))
    gone = {path for path in had - paths - held if not _is_map(live, path)}
    return [mine, *(entry for entry in rest if entry["fieldsV1"])], gone


def _without(entry: Entry, taken: set[Path]) -> Entry:
    held = decode(entry["fieldsV1"])
    kept = {path for path in held if not _overlap(path, taken)}
    return entry if kept == held else {**entry, "fieldsV1": encode(kept)}


@source("KEP-555")
def note_update(after: Object, before: Mapping[str, Any], manager: str, stamp: str) -> Object:
    """Return an updated object with its changed fields held by `manager` and by nobody else."""
    had, have = owned(dict(before)), owned(after)
    changed = {path for path in have if value_at(before, path) != value_at(after, path)}
    entries = [_without(entry, changed | (had - have)) for entry in _entries(after)]
    old = next((entry for entry in entries if _is(entry, manager, "Update")), None)
    mine = changed | (decode(old["fieldsV1"]) if old else set())
    if changed:
        entries = [entry for entry in entries if entry is not old]
        entries.append(_entry(manager, "Update", after["apiVersion"], mine, stamp))
    kept = [entry for entry in entries if entry["fieldsV1"]]
    return {**after, "metadata": {**after["metadata"], **({"managedFields": kept} if kept else {})}}
