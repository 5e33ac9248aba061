"""ApplySets: how an addon's objects are labelled and remembered, so that what leaves the file can be pruned.

Label, annotation and id format are those of KEP-3659; the parent is a ConfigMap in kube-system.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = [
    "KINDS",
    "PARENT_NAMESPACE",
    "PART_OF",
    "display",
    "group_kinds",
    "identifier",
    "objects",
    "parent_name",
    "ref",
]

PART_OF: Final = "applyset.kubernetes.io/part-of"
# Beside KEP-3659's group kinds, with versions, so that pruning needs no discovery.
KINDS: Final = "cpcd.dev/contains-kinds"
PARENT_NAMESPACE: Final = "kube-system"
CLUSTER_SCOPED_FIRST: Final = ("Namespace", "CustomResourceDefinition")


def parent_name(addon: str) -> str:
    """Return the name of the parent ConfigMap."""
    return f"cpcd-addon-{addon}"


def identifier(addon: str) -> str:
    """Return the ApplySet id: sha256 of name.namespace.kind.group, base64url without padding."""
    text = f"{parent_name(addon)}.{PARENT_NAMESPACE}.ConfigMap."
    return f"applyset-{base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')}-v1"


def objects(addon: str, given: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return what is applied: the parent, namespaces and definitions, then the rest in file order, all labelled."""
    labelled = [_labelled(addon, obj) for obj in given]
    labelled.sort(key=lambda obj: obj["kind"] not in CLUSTER_SCOPED_FIRST)
    return (_parent(addon, labelled), *labelled)


def group_kinds(given: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return `Kind.group` of the objects, sorted, as in the parent's annotation."""
    return sorted({_group_kind(obj) for obj in given})


def ref(obj: Mapping[str, Any]) -> str:
    """Return an object's reference: `apiVersion/Kind/namespace/name`."""
    meta = obj["metadata"]
    return f"{obj['apiVersion']}/{obj['kind']}/{meta.get('namespace', '')}/{meta['name']}"


def display(obj: Mapping[str, Any]) -> str:
    """Return `namespace/name` or `name`."""
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def _group_kind(obj: Mapping[str, Any]) -> str:
    group = obj["apiVersion"].rpartition("/")[0]
    return f"{obj['kind']}.{group}" if group else str(obj["kind"])


def _labelled(addon: str, obj: Mapping[str, Any]) -> dict[str, Any]:
    meta = dict(obj["metadata"])
    meta["labels"] = {**meta.get("labels", {}), PART_OF: identifier(addon)}
    return {**obj, "metadata": meta}


def _parent(addon: str, members: list[dict[str, Any]]) -> dict[str, Any]:
    annotations = {
        "applyset.kubernetes.io/tooling": "cpcd/v1",
        "applyset.kubernetes.io/contains-group-kinds": ",".join(group_kinds(members)),
        KINDS: json.dumps(sorted({(obj["apiVersion"], obj["kind"]) for obj in members})),
    }
    labels = {"applyset.kubernetes.io/id": identifier(addon)}
    meta = {"name": parent_name(addon), "namespace": PARENT_NAMESPACE, "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
