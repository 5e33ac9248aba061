"""The tables that `kubectl get` prints: columns and cells are the server's business, so the lab has a few.

Nodes and pods as on the real server, everything else with name and age. Next: `kube.py`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from cpcd.lab.kube.kinds import Resource

__all__ = ["table"]

Object = dict[str, Any]
Cells = Callable[[Object], list[Any]]
_ROLE: Final = "node-role.kubernetes.io/"


def table(resource: Resource, items: Sequence[Object], metadata: Object, now: str) -> Object:
    """Return a `meta.k8s.io/v1` Table of objects with a list's metadata; `now` is the server's time as RFC 3339."""
    names, cells = _COLUMNS.get(resource.kind, ((), _nothing))
    columns = [{"name": name, "type": "string", "format": "", "description": "", "priority": 0} for name in names]
    named = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
    aged = {"name": "Age", "type": "string", "format": "", "description": "", "priority": 0}
    rows = [
        {
            "cells": [item["metadata"]["name"], *cells(item), _age(item, now)],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]},
        }
        for item in items
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [named, *columns, aged],
        "rows": rows,
    }


def _node(item: Object) -> list[Any]:
    ready = next((c["status"] for c in item.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), "Unknown")
    status = "Ready" if ready == "True" else "NotReady"
    cordoned = ",SchedulingDisabled" if item.get("spec", {}).get("unschedulable") else ""
    roles = sorted(label.removeprefix(_ROLE) for label in item["metadata"].get("labels", {}) if label.startswith(_ROLE))
    version = item.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "")
    return [status + cordoned, ",".join(roles) or "<none>", version]


def _pod(item: Object) -> list[Any]:
    status = item.get("status", {})
    containers = len(item.get("spec", {}).get("containers", ()))
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
    phase = "Terminating" if "deletionTimestamp" in item["metadata"] else status.get("phase", "Pending")
    return [f"{containers if ready else 0}/{containers}", phase, item.get("spec", {}).get("nodeName", "<none>")]


def _nothing(_: Object) -> list[Any]:
    return []


_COLUMNS: Final[dict[str, tuple[tuple[str, ...], Cells]]] = {
    "Node": (("Status", "Roles", "Version"), _node),
    "Pod": (("Ready", "Status", "Node"), _pod),
}


def _age(item: Object, now: str) -> str:
    """Return the age in the largest unit that fits, roughly as kubectl does."""
    seconds = (
        datetime.fromisoformat(now) - datetime.fromisoformat(item["metadata"]["creationTimestamp"])
    ).total_seconds()
    size, unit = next((pair for pair in ((86400, "d"), (3600, "h"), (60, "m")) if seconds >= 2 * pair[0]), (1, "s"))
    return f"{max(0, int(seconds // size))}{unit}"
