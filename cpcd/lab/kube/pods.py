"""Pods: where they go, when they run, how they end; and the mirror pods of static ones.

The scheduler knows readiness, cordons, taints and node selectors; affinity and resources it does not look at. A pod
on a machine that is off stays as it is, as nobody there could say otherwise.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from cpcd.lab.kube.budgets import is_ready
from cpcd.lab.kube.objects import Object
from cpcd.lab.kube.turn import Turn
from cpcd.lab.provenance import guess, recorded, source

__all__ = ["evict_lost", "fits", "mirror", "run", "schedule"]

_MIRROR: Final = "kubernetes.io/config.mirror"


def _tolerated(taint: Mapping[str, str], tolerations: list[Mapping[str, Any]]) -> bool:
    return any(
        t.get("key") in {None, taint["key"]}
        and t.get("effect") in {None, "", taint["effect"]}
        and (t.get("operator") == "Exists" or t.get("value", "") == taint.get("value", ""))
        for t in tolerations
    )


@source("scheduler: plugins nodeaffinity and tainttoleration")
def fits(pod: Object, node: Object) -> bool:
    """Tell whether a node's labels and taints let a pod be placed there."""
    labels = node["metadata"].get("labels", {})
    chosen = pod["spec"].get("nodeSelector") or {}
    taints = [taint for taint in node["spec"].get("taints", ()) if taint["effect"] != "PreferNoSchedule"]
    tolerations = pod["spec"].get("tolerations", [])
    return all(labels.get(k) == v for k, v in chosen.items()) and all(_tolerated(t, tolerations) for t in taints)


@guess("spread by number of pods; the real scheduler scores")
def schedule(turn: Turn) -> None:
    """Bind pending pods to the Ready node with the fewest pods, first by name among equals."""
    nodes = [node for node in turn.objects.all("Node") if is_ready(node) and not node["spec"].get("unschedulable")]
    load = Counter(pod["spec"].get("nodeName") for pod in turn.objects.all("Pod"))
    for pod in turn.objects.all("Pod"):
        if not pod["spec"].get("nodeName"):
            names = [node["metadata"]["name"] for node in nodes if fits(pod, node)]
            if names:
                chosen = min(names, key=lambda name: (load[name], name))
                # Pods of one turn count for each other, or all of them would go to one node.
                load[chosen] += 1
                turn.changed(pod, spec={**pod["spec"], "nodeName": chosen})


@recorded(443)
def run(turn: Turn) -> None:
    """Start bound pods, end deleted ones, report those of silent nodes as not ready, collect those without node."""
    nodes = {node["metadata"]["name"]: node for node in turn.objects.all("Node")}
    live = {kubelet.node for kubelet in turn.kubelets if kubelet.alive}
    for pod in turn.objects.all("Pod"):
        name = pod["spec"].get("nodeName")
        if name and _ends(turn, pod, known=name in nodes, heard=name in live):
            turn.objects.drop(pod)
        elif name in nodes and "deletionTimestamp" not in pod["metadata"]:
            _report(turn, pod, nodes[name], heard=name in live)


def _ends(turn: Turn, pod: Object, *, known: bool, heard: bool) -> bool:
    """Tell whether a bound pod is gone now: orphaned for long enough, or stopped by a kubelet that is heard."""
    # Its Node is gone, so no kubelet will say that it has ended: pod garbage collection does.
    if not known:
        return turn.lasted("orphan", pod, turn.lags.orphan)
    return heard and "deletionTimestamp" in pod["metadata"] and turn.lasted("stop", pod, turn.lags.pod_stop)


def _report(turn: Turn, pod: Object, node: Object, *, heard: bool) -> None:
    if heard:
        _start(turn, pod, node)
    elif _unknown(node) and is_ready(pod):
        turn.changed(pod, status={**pod["status"], "conditions": _conditions("False", turn.stamp)})


def _start(turn: Turn, pod: Object, node: Object) -> None:
    # On the network of the host a pod needs no CNI, which is how a CNI itself comes up (K22).
    networked = pod["spec"].get("hostNetwork") or is_ready(node)
    if networked and not is_ready(pod) and turn.lasted("start", pod, turn.lags.pod_start):
        turn.changed(pod, status=_running(turn, pod, node))


def _running(turn: Turn, pod: Object, node: Object) -> Object:
    host = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    network = node["spec"].get("podCIDR", "10.244.0.0/24").rpartition(".")[0]
    address = host if pod["spec"].get("hostNetwork") else f"{network}.{turn.random.randrange(2, 250)}"
    containers = [
        {"name": c["name"], "ready": True, "started": True, "restartCount": 0, "image": c.get("image", ""),
         "state": {"running": {"startedAt": turn.stamp}}}
        for c in pod["spec"].get("containers", ())
    ]  # fmt: skip
    before = pod.get("status", {})
    kept = {"podIP": before.get("podIP", address), "startTime": before.get("startTime", turn.stamp), "hostIP": host}
    state = {"phase": "Running", "conditions": _conditions("True", turn.stamp), "containerStatuses": containers}
    return {**state, **kept}


def _conditions(ready: str, stamp: str) -> list[Object]:
    said = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": ready, "Ready": ready}
    return [{"type": kind, "status": status, "lastTransitionTime": stamp} for kind, status in said.items()]


def _unknown(node: Object) -> bool:
    listed = node.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "Unknown" for c in listed)


@source("taint-eviction-controller")
def evict_lost(turn: Turn) -> None:
    """Delete the pods of nodes that have been unreachable for as long as pods tolerate it."""
    for node in turn.objects.all("Node"):
        if not _unknown(node):
            # It is heard again: the next silence has a time of its own.
            turn.over("lost", node)
        elif turn.lasted("lost", node, turn.lags.evict):
            for pod in turn.objects.all("Pod"):
                if pod["spec"].get("nodeName") == node["metadata"]["name"] and not _stays(pod):
                    turn.store.expel(pod)


def _stays(pod: Object) -> bool:
    lost = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    # Who tolerates it for a time only goes when that is over, which is when this is asked.
    for_ever = [t for t in pod["spec"].get("tolerations", ()) if "tolerationSeconds" not in t]
    return _MIRROR in pod["metadata"].get("annotations", {}) or _tolerated(lost, for_ever)


@recorded(176, 186)
def mirror(turn: Turn) -> None:
    """Keep a mirror pod for each static pod that runs, owned by its Node."""
    for kubelet in turn.kubelets:
        node = turn.objects.find("Node", kubelet.node)
        if node is None or not kubelet.alive or kubelet.registered != kubelet.started:
            continue
        for name in kubelet.static_pods:
            since = kubelet.static_since(name, turn.lags.static_pod)
            missing = turn.objects.find("Pod", f"{name}-{kubelet.node}", "kube-system") is None
            if missing and since is not None and turn.reached(since):
                turn.objects.put(_mirrored(name, node))


def _mirrored(name: str, node: Object) -> Object:
    owner = {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
    metadata = {
        "name": f"{name}-{node['metadata']['name']}",
        "namespace": "kube-system",
        "labels": {"component": name, "tier": "control-plane"},
        "annotations": {_MIRROR: name, "kubernetes.io/config.source": "file"},
        "ownerReferences": [{**owner, "controller": True}],
    }
    forever = [{"operator": "Exists", "effect": "NoExecute"}]
    spec = {"nodeName": node["metadata"]["name"], "hostNetwork": True, "containers": [{"name": name}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "tolerations": forever}}
    return {**pod, "status": {"phase": "Pending"}}
