"""The verbs of the modelled API server on one object store.

What the Kube port needs and what HTTP in front of it needs, and no more. It answers at once and knows no machine;
whether anybody reaches it is `cluster.py`'s. Every refusal is an `ApiError`.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from cpcd.lab.kube.budgets import refusal
from cpcd.lab.kube.errors import ApiError, conflict, immortal, invalid, missing, terminating
from cpcd.lab.kube.fields import Path, copy, dotted, merge, owned, remove
from cpcd.lab.kube.immutable import changed
from cpcd.lab.kube.kinds import Resource, group
from cpcd.lab.kube.managed import conflicts, note_apply, note_update
from cpcd.lab.kube.objects import Change, Object, Objects, converted
from cpcd.lab.kube.selectors import by_fields, by_labels
from cpcd.lab.provenance import guess, recorded, source
from cpcd.ports.kube import GVK

__all__ = ["MANAGER", "Store"]

MANAGER: Final = "cpcd"
_IMMORTAL: Final = ("default", "kube-system", "kube-public")


class Store:
    """One cluster's API: get, list, create, apply, patch, delete, evict, approve, and the changes that watches read."""

    def __init__(self, *, seed: str, stamp: Callable[[], str]) -> None:
        self.objects = Objects(seed=seed, stamp=stamp)
        self._stamp = stamp

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each write, synchronously; returns what ends that."""
        self.objects.listeners.append(listener)
        return lambda: self.objects.listeners.remove(listener)

    def get(self, gvk: GVK, name: str, namespace: str = "") -> Object:
        """Return one object; ApiError 404. A namespaced one without a namespace is in `default`."""
        return copy(converted(self._find(gvk, name, namespace), gvk.api_version))

    def served(self, api_group: str, kind: str) -> Resource | None:
        """Return a kind in the version in which it is preferably served, None where it is not."""
        rows = (row for row in self.objects.resources() if (group(row.api_version), row.kind) == (api_group, kind))
        return next(rows, None)

    def changes(self, gvk: GVK, since: str) -> list[Change]:
        """Return what happened to a kind after the resourceVersion `since`; ApiError 410 when that is too old."""
        self.objects.resource(gvk.api_version, gvk.kind)
        return self.objects.changes(gvk.api_version, gvk.kind, int(since or 0))

    @source("registry/generic/registry/store.go: NamespaceKeyFunc")
    def list(self, gvk: GVK, *, namespace: str = "", labels: str = "", fields: str = "") -> tuple[list[Object], str]:
        """Return the matching objects, sorted by namespace and name, and the store's revision."""
        self.objects.resource(gvk.api_version, gvk.kind)
        found = self.objects.all(gvk.kind, namespace, api_version=gvk.api_version)
        found = [obj for obj in found if by_labels(obj, labels) and by_fields(obj, fields)]
        found.sort(key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        return [copy(converted(obj, gvk.api_version)) for obj in found], str(self.objects.revision)

    @source("apimachinery: api/errors, NewAlreadyExists")
    def create(self, obj: Object, *, manager: str = MANAGER) -> Object:
        """Create an object; ApiError 409 AlreadyExists."""
        row, fresh = self._prepared(obj)
        if self._stored(row, fresh["metadata"]) is not None:
            raise ApiError(409, "AlreadyExists", f'{row.qualified} "{fresh["metadata"]["name"]}" already exists')
        self._admitted(row, fresh)
        return copy(self.objects.put(_defaulted(note_update(fresh, {}, manager, self._stamp()))))

    @source("KEP-555")
    def apply(self, obj: Object, *, manager: str = MANAGER, force: bool = True, dry_run: bool = False) -> Object:
        """Apply server-side: what this manager applied before and leaves out now is removed, unless another owns it.

        ApiError 409 with the conflicting fields when another manager holds them with another value, unless `force`. A dry
        run is refused for whatever the apply would be refused for.
        """
        row, applied = self._prepared(obj)
        live = self._stored(row, applied["metadata"])
        if live is None:
            self._admitted(row, applied)
        _meant(row, live, applied["metadata"])
        before = _shell(applied) if live is None else copy(converted(live, row.api_version))
        paths = owned(applied)
        if (disputed := conflicts(before, applied, paths, manager)) and not force:
            raise _disputed(disputed)
        entries, gone = note_apply(before, paths, {path for path, _ in disputed}, manager, self._stamp())
        # Deeper ones first: a field goes before the one that it stands in.
        for path in sorted(gone, reverse=True):
            remove(before, path)
        after = _defaulted(merge(before, {key: value for key, value in applied.items() if key != "status"}))
        after.setdefault("metadata", {})["managedFields"] = entries
        after["metadata"]["name"] = applied["metadata"]["name"]
        if live is not None:
            _refuse(row, after, changed(live, after))
        return copy(converted(after if dry_run else self.objects.put(after), row.api_version))

    @recorded(440)
    def patch(
        self, gvk: GVK, name: str, change: Mapping[str, Any], *, namespace: str = "", manager: str = MANAGER
    ) -> Object:
        """Merge-patch an object; ApiError 409 when the patch names another resourceVersion, 422 for another uid."""
        row, before = self._found(gvk, name, namespace)
        _meant(row, before, {"name": name, **(change.get("metadata") or {})})
        after = _merge_patch(before, change)
        _refuse(row, after, changed(before, after))
        stored = self.objects.put(note_update(after, before, manager, self._stamp()))
        return copy(converted(stored, gvk.api_version))

    @source("apiserver: storage/interfaces.go, Preconditions.Check", "admission: namespace/lifecycle")
    def delete(self, gvk: GVK, name: str, *, namespace: str = "", uid: str = "") -> Object:
        """Delete an object, gracefully where its kind is so; ApiError 404, or 409 when `uid` is another's."""
        row, found = self._found(gvk, name, namespace)
        if uid and found["metadata"]["uid"] != uid:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found['metadata']['uid']}"
            raise conflict(row.qualified, name, why)
        if row.kind == "Namespace" and name in _IMMORTAL:
            raise immortal(name)
        self.expel(found)
        return copy(found)

    @source(
        "registry/generic/registry/store.go: deletion and finalizers",
        "registry/core/pod/strategy.go: CheckGracefulDelete",
    )
    def expel(self, obj: Object) -> None:
        """Begin to delete: bound pods and namespaces end later, finalizers hold, everything else is gone at once."""
        # Its objects first: without their kind nobody could name them.
        if obj["kind"] == "CustomResourceDefinition":
            self.objects.purge(obj)
        bound = obj["kind"] == "Pod" and obj["spec"].get("nodeName")
        if not (bound or obj["kind"] == "Namespace" or obj["metadata"].get("finalizers")):
            self.objects.drop(obj)
        elif "deletionTimestamp" not in obj["metadata"]:
            self.objects.put(_merge_patch(obj, {"metadata": {"deletionTimestamp": self._stamp()}}))

    @recorded(443)
    def evict(self, namespace: str, name: str, uid: str = "") -> None:
        """Evict a pod; ApiError 429 when a disruption budget refuses, 404 when it is gone, 409 with another uid.

        403 in a namespace that is being terminated, where an Eviction is new content too; 500 with two budgets for it.
        """
        self._admitted(self.objects.resource("v1", "Pod"), {"metadata": {"name": name, "namespace": namespace}})
        pod = self._find(GVK("v1", "Pod"), name, namespace)
        if no := refusal(pod, self.objects):
            raise no
        self.delete(GVK("v1", "Pod"), name, namespace=namespace, uid=uid)

    @source("certificates.k8s.io/v1 CertificateSigningRequestCondition")
    def approve(self, name: str) -> None:
        """Approve a CertificateSigningRequest; its certificate follows. No-op when it is approved."""
        request = self._find(GVK("certificates.k8s.io/v1", "CertificateSigningRequest"), name, "")
        conditions = request.get("status", {}).get("conditions") or []
        if any(condition["type"] == "Approved" for condition in conditions):
            return
        approved = {"type": "Approved", "status": "True", "reason": "cpcd", "lastUpdateTime": self._stamp()}
        self.objects.put(_merge_patch(request, {"status": {"conditions": [*conditions, approved]}}))

    def _find(self, gvk: GVK, name: str, namespace: str) -> Object:
        return self._found(gvk, name, namespace)[1]

    def _found(self, gvk: GVK, name: str, namespace: str) -> tuple[Resource, Object]:
        row = self.objects.resource(gvk.api_version, gvk.kind)
        found = self._stored(row, {"name": name, "namespace": namespace})
        if found is None:
            raise missing(row.qualified, name)
        return row, found

    def _stored(self, row: Resource, metadata: Mapping[str, str]) -> Object | None:
        space = (metadata.get("namespace") or "default") if row.namespaced else ""
        return self.objects.find(row.kind, metadata["name"], space, api_version=row.api_version)

    @source("apimachinery: api/validation, ValidateObjectMeta")
    @guess("its words are shortened")
    def _prepared(self, obj: Object) -> tuple[Resource, Object]:
        """Return the kind and the object with its namespace; ApiError 404 or 422 where it cannot be."""
        row = self.objects.resource(obj.get("apiVersion", ""), obj.get("kind", ""))
        fresh = copy(obj)
        metadata = fresh.setdefault("metadata", {})
        if not metadata.get("name"):
            raise ApiError(422, "Invalid", f"{row.kind} is invalid: metadata.name: Required value")
        if not row.namespaced:
            metadata.pop("namespace", None)
            return row, fresh
        metadata.setdefault("namespace", "default")
        return row, fresh

    @source("admission: namespace/lifecycle")
    def _admitted(self, row: Resource, fresh: Object) -> None:
        """Refuse new content in a namespace that is not there (404) or on its way out (403)."""
        if not row.namespaced:
            return
        metadata = fresh["metadata"]
        space = self.objects.find("Namespace", metadata["namespace"])
        if space is None:
            raise missing("namespaces", metadata["namespace"])
        if "deletionTimestamp" in space["metadata"]:
            raise terminating(row.qualified, metadata["name"], metadata["namespace"])


@source("C14", "make test-kube, v1.35.4")
def _meant(row: Resource, live: Object | None, metadata: Mapping[str, Any]) -> None:
    """Refuse a write that names another object than is there: 409 by its revision, 422 by its uid, 409 by one for none."""
    name, uid = metadata["name"], metadata.get("uid")
    if live is None:
        if uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(row.qualified, name, why)
        return
    if metadata.get("resourceVersion", live["metadata"]["resourceVersion"]) != live["metadata"]["resourceVersion"]:
        why = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(row.qualified, name, why)
    if uid and uid != live["metadata"]["uid"]:
        _refuse(row, live, [f'metadata.uid: Invalid value: "{uid}": field is immutable'])


def _refuse(row: Resource, obj: Object, why: list[str]) -> None:
    if why:
        raise invalid(".".join(filter(None, (row.kind, group(row.api_version)))), obj["metadata"]["name"], why)


def _shell(applied: Object) -> Object:
    kept = {key: value for key, value in applied["metadata"].items() if key in {"name", "namespace"}}
    return {"apiVersion": applied["apiVersion"], "kind": applied["kind"], "metadata": kept}


@source("make test-kube, v1.35.4")
def _defaulted(obj: Object) -> Object:
    """Fill in what the real server would and what somebody here reads.

    What stringData became is nobody's: a key that is left out of the next apply stays in data.
    """
    if obj["kind"] != "Secret":
        return obj
    encoded = {key: _base64(value) for key, value in (obj.pop("stringData", None) or {}).items()}
    return {"type": "Opaque", **obj, **({"data": {**(obj.get("data") or {}), **encoded}} if encoded else {})}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@source("RFC 7386")
def _merge_patch(target: Any, change: Any) -> Any:
    if not isinstance(change, Mapping):
        return copy(change)
    kept = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = _merge_patch(kept.get(key), value)
    return kept


@source("make test-kube, v1.35.4")
def _disputed(disputed: list[tuple[Path, str]]) -> ApiError:
    named = [(dotted(path), holder) for path, holder in disputed]
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {h}", "field": p} for p, h in named]
    if len(named) == 1:
        listed = f"1 conflict: conflict with {named[0][1]}: {named[0][0]}"
    else:
        holders = dict.fromkeys(holder for _, holder in named)
        each = [f"conflicts with {h}:" + "".join(f"\n- {path}" for path, other in named if other == h) for h in holders]
        listed = f"{len(named)} conflicts: " + "\n".join(each)
    return ApiError(409, "Conflict", f"Apply failed with {listed}", causes)
