"""ApplySets: how an addon's objects are labelled and remembered, so that what leaves the file can be pruned.

Labels, annotations, the id and who is a member are those of KEP-3659; the parent is a ConfigMap in kube-system. What is
pruned and when is decided in `reconcilers/addon.py`.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cpcd import __version__
from cpcd.model.seen import Reference

__all__ = [
    "CLUSTER_SCOPED_FIRST",
    "KINDS",
    "PARENT_NAMESPACE",
    "PART_OF",
    "digest",
    "display",
    "group_kind",
    "identifier",
    "objects",
    "parent_name",
    "placed",
    "ref",
]

Manifest = Mapping[str, Any]

PART_OF: Final = "applyset.kubernetes.io/part-of"
KINDS: Final = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES: Final = "applyset.kubernetes.io/additional-namespaces"
PARENT_NAMESPACE: Final = "kube-system"
CLUSTER_SCOPED_FIRST: Final = ("Namespace", "CustomResourceDefinition")


def parent_name(addon: str) -> str:
    """Return the name of the parent ConfigMap."""
    return f"cpcd-addon-{addon}"


def identifier(addon: str) -> str:
    """Return the ApplySet id: sha256 of name.namespace.kind.group, base64url without padding."""
    text = f"{parent_name(addon)}.{PARENT_NAMESPACE}.ConfigMap."
    return f"applyset-{base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')}-v1"


def objects(addon: str, given: Iterable[Manifest], kept: Iterable[Reference] = ()) -> tuple[dict[str, Any], ...]:
    """Return what is applied: the parent, namespaces and definitions, then the rest in file order, all labelled.

    `kept` are members that are not given any more and still there: the parent names their kinds and namespaces until
    they are gone, because by these alone they are found again.
    """
    labelled = [_labelled(addon, obj) for obj in given]
    labelled.sort(key=lambda obj: obj["kind"] not in CLUSTER_SCOPED_FIRST)
    return (_parent(addon, labelled, tuple(kept)), *labelled)


def placed(given: Iterable[Manifest], where: Mapping[str, str]) -> list[Manifest]:
    """Return objects in the namespaces where the API keeps them; `where` names those (empty: none) by reference."""
    return [_in(obj, where[ref(obj)]) if ref(obj) in where else obj for obj in given]


def group_kind(api_version: str, kind: str) -> str:
    """Return `Kind.group`, or `Kind` of the core's group, as in the parent's annotation."""
    group = api_version.rpartition("/")[0]
    return f"{kind}.{group}" if group else kind


def ref(obj: Manifest) -> str:
    """Return an object's reference: `Kind.group/namespace/name`; its version is a matter of form."""
    meta = obj["metadata"]
    return f"{group_kind(obj['apiVersion'], obj['kind'])}/{meta.get('namespace', '')}/{meta['name']}"


def display(obj: Manifest) -> str:
    """Return `namespace/name` or `name`."""
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def digest(members: Iterable[Reference]) -> str:
    """Return 8 digits that stand for exactly these objects, whose uids no others will have."""
    return hashlib.sha256("\n".join(sorted(uid for *_, uid in members)).encode()).hexdigest()[:8]


def _in(obj: Manifest, namespace: str) -> dict[str, Any]:
    meta = {name: value for name, value in obj["metadata"].items() if name != "namespace"}
    return {**obj, "metadata": {**meta, **({"namespace": namespace} if namespace else {})}}


def _labelled(addon: str, obj: Manifest) -> dict[str, Any]:
    meta = dict(obj["metadata"])
    meta["labels"] = {**meta.get("labels", {}), PART_OF: identifier(addon)}
    return {**obj, "metadata": meta}


def _parent(addon: str, members: list[dict[str, Any]], kept: tuple[Reference, ...]) -> dict[str, Any]:
    kinds = {(obj["apiVersion"], obj["kind"]) for obj in members} | {(version, kind) for version, kind, *_ in kept}
    spaces = {obj["metadata"].get("namespace", "") for obj in members} | {space for _, _, space, *_ in kept}
    named = ",".join(sorted(spaces - {"", PARENT_NAMESPACE}))
    annotations = {
        "applyset.kubernetes.io/tooling": f"cpcd/{__version__}",
        KINDS: ",".join(sorted({group_kind(version, kind) for version, kind in kinds})),
        **({NAMESPACES: named} if named else {}),
    }
    labels = {"applyset.kubernetes.io/id": identifier(addon)}
    meta = {"name": parent_name(addon), "namespace": PARENT_NAMESPACE, "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
