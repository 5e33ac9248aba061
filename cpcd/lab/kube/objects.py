"""What etcd holds for one cluster: objects, their revisions, and the log that watches read.

No rule of any kind lives here but uid, revision, generation and finalizers. An object is one object in all versions of
its kind, kept in the one that it was made in. Stored objects are never changed in place: `put` a changed copy. Next:
`store.py`, the verbs.
"""

import itertools
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from cpcd.lab.kube.errors import expired, unknown_kind
from cpcd.lab.kube.fields import copy
from cpcd.lab.kube.kinds import BUILTIN, Resource, from_definition, group
from cpcd.lab.provenance import source

__all__ = ["Change", "Object", "Objects", "converted"]

Object = dict[str, Any]
_LOG: Final = 4096  # changes kept for watches
_NAMESPACE: Final = uuid.UUID("5e2b0c1e-7d6f-4a5b-9d61-6c61622d6b38")


class Change(NamedTuple):
    """One line of the log; `type` is ADDED, MODIFIED or DELETED."""

    revision: int
    type: str
    obj: Object


class Objects:
    """All objects; `stamp()` gives the time as RFC 3339, `seed` makes uids reproducible."""

    def __init__(self, *, seed: str, stamp: Callable[[], str]) -> None:
        self.revision = 1
        self.stamp = stamp
        self.listeners: list[Callable[[], None]] = []
        self._seed = seed
        self._made = 0
        self._oldest = 1
        self._log: deque[Change] = deque(maxlen=_LOG)
        self._kinds: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}

    def resources(self) -> list[Resource]:
        """Return all served kinds, those of CustomResourceDefinitions included."""
        custom = [row for each in self.all("CustomResourceDefinition") for row in from_definition(each)]
        return [*BUILTIN.values(), *custom]

    def resource(self, api_version: str, kind: str) -> Resource:
        """Return the resource of a kind; ApiError 404 where it is not served."""
        row = BUILTIN.get(kind)
        rows = [row] if row and row.api_version == api_version else self.resources()
        for row in rows:
            if (row.api_version, row.kind) == (api_version, kind):
                return row
        raise unknown_kind(api_version, kind)

    def all(self, kind: str, namespace: str = "", *, api_version: str = "") -> list[Object]:
        """Return the stored objects of a kind in their order of creation; they must not be changed."""
        shelf = self._kinds.get((group(api_version or BUILTIN[kind].api_version), kind), {})
        return [obj for (space, _), obj in shelf.items() if namespace in {"", space}]

    def find(self, kind: str, name: str, namespace: str = "", *, api_version: str = "") -> Object | None:
        """Return one stored object, which must not be changed, or None."""
        return self._kinds.get((group(api_version or BUILTIN[kind].api_version), kind), {}).get((namespace, name))

    def everything(self) -> list[Object]:
        """Return every stored object."""
        return [obj for shelf in self._kinds.values() for obj in shelf.values()]

    @source("API conventions: metadata", "registry/generic/registry/store.go: finalizers")
    def put(self, obj: Object) -> Object:
        """Store an object (new or changed) and return it as stored; no revision passes if nothing changed."""
        before = self._shelf(obj).get(_name(obj))
        fresh = self._identified({**obj, "metadata": {**obj["metadata"]}}, before)
        if before is not None and _same(before, fresh):
            return before  # most often by far: what does not differ is not worth a deep copy
        if before is not None and _released(before, fresh):
            self.drop(before)
            return copy(fresh)
        return self._write("MODIFIED" if before else "ADDED", copy(fresh))

    def _identified(self, obj: Object, before: Object | None) -> Object:
        metadata = obj["metadata"]
        obj["apiVersion"] = before["apiVersion"] if before else obj["apiVersion"]
        if before is None:
            self._made += 1
            metadata["uid"] = str(uuid.uuid5(_NAMESPACE, f"{self._seed}/{self._made}"))
            metadata["creationTimestamp"] = self.stamp()
        else:
            metadata |= {key: before["metadata"][key] for key in ("uid", "creationTimestamp")}
        if "spec" in obj:
            old = before["metadata"].get("generation", 1) if before else 0
            # Counts what is asked for and not what is said of it, so status and labels do not move it (API
            # conventions).
            metadata["generation"] = old + (before is None or before.get("spec") != obj["spec"])
        return obj

    def drop(self, obj: Object) -> None:
        """Remove an object at once, whatever its finalizers."""
        if self._shelf(obj).get(_name(obj)) is not None:
            self._write("DELETED", copy(obj))

    def _write(self, kind: str, obj: Object) -> Object:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        if kind == "DELETED":
            del self._shelf(obj)[_name(obj)]
        else:
            self._shelf(obj)[_name(obj)] = obj
        # The oldest line is about to fall out: who has seen no more than that can no longer be told all.
        if len(self._log) == _LOG:
            self._oldest = self._log[0].revision
        self._log.append(Change(self.revision, kind, obj))
        # A copy: a watch may end while it is told.
        for listener in tuple(self.listeners):
            listener()
        return obj

    def _shelf(self, obj: Object) -> dict[tuple[str, str], Object]:
        return self._kinds.setdefault((group(obj["apiVersion"]), obj["kind"]), {})

    def compact(self) -> None:
        """Forget the log: watches from before now are Expired, as after a restart of the API server."""
        self._log.clear()
        self._oldest = self.revision

    def changes(self, api_version: str, kind: str, since: int) -> list[Change]:
        """Return what happened to a kind after revision `since`; ApiError 410 where the log is gone."""
        if since < self._oldest:
            raise expired(since, self._oldest)
        # From the end: a watch wants the last few of thousands.
        newer = itertools.takewhile(lambda change: change.revision > since, reversed(self._log))
        found = [c for c in newer if (group(c.obj["apiVersion"]), c.obj["kind"]) == (group(api_version), kind)]
        return [c._replace(obj=converted(c.obj, api_version)) for c in reversed(found)]

    @source("apiextensions: finalizer/crd_finalizer.go")
    def purge(self, definition: Object) -> None:
        """Remove the objects of a CustomResourceDefinition that goes."""
        spec = definition["spec"]
        for obj in tuple(self._kinds.get((spec["group"], spec["names"]["kind"]), {}).values()):
            self.drop(obj)


@source("apiextensions: conversion strategy None")
def converted(obj: Object, api_version: str) -> Object:
    """Return an object as another version of its kind shows it, itself where it is that version's."""
    return obj if obj["apiVersion"] == api_version else {**obj, "apiVersion": api_version}


def _name(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _released(before: Object, after: Object) -> bool:
    """Tell whether the last finalizer of a deleted object went."""
    had, has = (bool(obj["metadata"].get("finalizers")) for obj in (before, after))
    return "deletionTimestamp" in after["metadata"] and had and not has


def _same(before: Object, after: Object) -> bool:
    old = {**before, "metadata": {**before["metadata"], "resourceVersion": ""}}
    return old == {**after, "metadata": {**after["metadata"], "resourceVersion": ""}}
