"""What may not change once an object is there: the fields that an addon's next release runs into.

One table, in the words that a real server said. `store.py` asks before it writes, in a dry run too.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from cpcd.lab.kube.selectors import look_up
from cpcd.lab.provenance import source

__all__ = ["changed"]

Words = Callable[[Any], str]


def _go(value: Any) -> str:
    """Return a value as the server prints it: Go's field names where it has no others."""
    return json.dumps(value, separators=(",", ":"))


def _field(value: Any) -> str:
    return f"Invalid value: {_go(value)}: field is immutable"


def _role(value: Mapping[str, Any]) -> str:
    names = {"APIGroup": "apiGroup", "Kind": "kind", "Name": "name"}
    return f"Invalid value: {_go({name: value.get(key) for name, key in names.items()})}: cannot change roleRef"


def _update(name: str) -> Words:
    return lambda _: f"Forbidden: updates to {name} are forbidden."


_CLASS: Final = {name: _update(name) for name in ("provisioner", "parameters", "reclaimPolicy")}
_FIELDS: Final[Mapping[str, Mapping[str, Words]]] = {
    "Deployment": {"spec.selector": _field},
    "DaemonSet": {"spec.selector": _field},
    "ReplicaSet": {"spec.selector": _field},
    "RoleBinding": {"roleRef": _role},
    "ClusterRoleBinding": {"roleRef": _role},
    "Secret": {"type": _field},
    "StorageClass": _CLASS,
    "PriorityClass": {"value": lambda _: "Forbidden: may not be changed in an update."},
    "CustomResourceDefinition": {"spec.scope": _field, "spec.names.kind": _field},
}


@source("make test-kube, v1.35.4", "KEP-1412: immutable ConfigMaps and Secrets")
def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what a change is refused for, `path: reason` each; empty when it may be."""
    rows = _FIELDS.get(before["kind"], {}).items()
    pairs = [(path, say, look_up(before, path), look_up(after, path)) for path, say in rows]
    refused = [f"{path}: {say(new)}" for path, say, old, new in pairs if old != new]
    frozen = ("immutable", "data", "binaryData") if before.get("immutable") else ()
    sealed = [part for part in frozen if before.get(part) != after.get(part)]
    return refused + [f"{part}: Forbidden: field is immutable when `immutable` is set" for part in sealed]
