"""Nodes without machines: what a kubelet tells the API, told by a thread of the test.

Marked as a stand-in: no container runs. It registers Nodes as kubelets do, keeps their leases, calls pods that are
bound to them running and ready, and lets those go that are to be deleted. Everything else is the real API's doing.
"""

import datetime as dt
import http.client
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.real.plane import Plane

__all__ = ["report", "standing"]

_STRATEGIC: Final = "application/strategic-merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
_BEAT_S: Final = 0.2


@contextmanager
def standing(plane: Plane, names: Iterable[str]) -> Iterator[None]:
    """Let nodes of these names exist, Ready, and run pods, until the end of the block."""
    nodes, over = tuple(names), threading.Event()
    for name in nodes:
        _register(plane, name)
    thread = threading.Thread(target=_live, args=(plane, nodes, over), name="kubelets")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _register(plane: Plane, name: str) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    status, answer = plane.ask("POST", "/api/v1/nodes", node)
    assert status == http.client.CREATED, answer
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    report(plane, name, first=True, capacity=room, allocatable=room)


def report(plane: Plane, name: str, *, first: bool = False, **more: Any) -> None:
    """Say that a Node is Ready, the first time since when, and what else there is to say of it."""
    now = _now()
    since = {"lastTransitionTime": now} if first else {}
    ready = {
        "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "stands in", "lastHeartbeatTime": now,
        **since,
    }  # fmt: skip
    path = f"/api/v1/nodes/{name}/status"
    plane.ask("PATCH", path, {"status": {"conditions": [ready], **more}}, content=_STRATEGIC)


def _live(plane: Plane, nodes: tuple[str, ...], over: threading.Event) -> None:
    while not over.wait(_BEAT_S):
        try:
            for name in nodes:
                _beat(plane, name)
            _, pods = plane.ask("GET", "/api/v1/pods")
            for pod in pods.get("items", []) if isinstance(pods, dict) else []:
                if pod["spec"].get("nodeName") in nodes:
                    _run(plane, pod)
        except (OSError, http.client.HTTPException):
            continue  # the API is away for a moment: a kubelet goes on, too


def _beat(plane: Plane, name: str) -> None:
    """Renew a node's lease, which is how a kubelet says each 10 s that it lives."""
    space = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now()}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
    plane.ask("PATCH", f"{space}/{name}?fieldManager=kubelet&force=true", lease, content=_APPLY)


def _run(plane: Plane, pod: dict[str, Any]) -> None:
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
    if "deletionTimestamp" in pod["metadata"]:
        same = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        plane.ask("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **same})
    elif pod["status"].get("phase") == "Pending":
        ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "Initialized")]
        plane.ask("PATCH", f"{path}/status", {"status": {"phase": "Running", "conditions": ready}}, content=_STRATEGIC)


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
