"""Deployments, ReplicaSets and DaemonSets: how many pods there are and of which template.

Rollouts are immediate: a new ReplicaSet is scaled up and the old one down in one turn. Pods themselves live in
`pods.py`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cpcd.lab.kube.budgets import is_ready
from cpcd.lab.kube.fields import copy
from cpcd.lab.kube.objects import Object
from cpcd.lab.kube.pods import fits
from cpcd.lab.kube.turn import Turn
from cpcd.lab.provenance import guess, source

__all__ = ["daemon_sets", "deployments", "replica_sets"]

_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_EVERYWHERE: Final = (
    ("node.kubernetes.io/not-ready", "NoExecute"), ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"), ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"), ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ("node.kubernetes.io/network-unavailable", "NoSchedule"), ("node.kubernetes.io/not-ready", "NoSchedule"),
    ("node.kubernetes.io/unreachable", "NoSchedule"),
)  # fmt: skip
_LOST: Final = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def _owner(obj: Object) -> list[Object]:
    named = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"]}
    return [{**named, "uid": obj["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}]


def _owned(obj: Object, candidates: Iterable[Object]) -> list[Object]:
    uid = obj["metadata"]["uid"]
    return [c for c in candidates if any(ref["uid"] == uid for ref in c["metadata"].get("ownerReferences", ()))]


def _labelled(metadata: Object, **labels: str) -> Object:
    return {**metadata, "labels": {**metadata.get("labels", {}), **labels}}


@guess("a rollout without steps: no test here looks at its middle")
def deployments(turn: Turn) -> None:
    """Keep one ReplicaSet of each Deployment's current template at its size, and the others at 0."""
    for each in turn.objects.all("Deployment"):
        wanted = _hash(each["spec"]["template"])
        name = f"{each['metadata']['name']}-{wanted}"
        sets = _owned(each, turn.objects.all("ReplicaSet", each["metadata"]["namespace"]))
        if all(rs["metadata"]["name"] != name for rs in sets):
            turn.objects.put(_replica_set(each, name, wanted))
        for rs in sets:
            size = each["spec"].get("replicas", 1) if rs["metadata"]["name"] == name else 0
            if rs["spec"]["replicas"] != size:
                turn.changed(rs, spec={**rs["spec"], "replicas": size})
        _report(turn, each, [pod for rs in sets for pod in _pods_of(turn, rs)], wanted)


def _replica_set(deployment: Object, name: str, wanted: str) -> Object:
    template = deployment["spec"]["template"]
    labels = {"pod-template-hash": wanted}
    selector = {"matchLabels": {**deployment["spec"].get("selector", {}).get("matchLabels", {}), **labels}}
    metadata = {"name": name, "namespace": deployment["metadata"]["namespace"], "ownerReferences": _owner(deployment)}
    spec = {
        "replicas": deployment["spec"].get("replicas", 1),
        "selector": selector,
        "template": {**template, "metadata": _labelled(template.get("metadata", {}), **labels)},
    }
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}


@source("make test-kube, v1.35.4")
def _counted(**counts: int) -> dict[str, int]:
    """Leave out what is 0, as the real status does."""
    return {name: count for name, count in counts.items() if count}


@source("apps/v1 DeploymentStatus")
def _report(turn: Turn, each: Object, pods: list[Object], wanted: str) -> None:
    size = each["spec"].get("replicas", 1)
    current = [pod for pod in pods if pod["metadata"]["labels"].get("pod-template-hash") == wanted]
    ready = sum(map(is_ready, current))
    available = "True" if ready >= size else "False"
    status: dict[str, Any] = _counted(
        replicas=len(pods), updatedReplicas=len(current), readyReplicas=ready, availableReplicas=ready,
        unavailableReplicas=max(0, size - ready),
    )  # fmt: skip
    condition = {"type": "Available", "status": available, "reason": "MinimumReplicasAvailable"}
    generation = each["metadata"]["generation"]
    turn.changed(each, status={**status, "observedGeneration": generation, "conditions": [condition]})


def _pods_of(turn: Turn, owner: Object) -> list[Object]:
    """Return the pods of an owner that are not on their way out."""
    pods = _owned(owner, turn.objects.all("Pod", owner["metadata"]["namespace"]))
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


@source("replicaset controller: ActivePods", "admission: defaulttolerationseconds")
def replica_sets(turn: Turn) -> None:
    """Make missing pods, and delete surplus ones: first those that are not ready, then the newest."""
    for each in turn.objects.all("ReplicaSet"):
        pods = _pods_of(turn, each)
        size = each["spec"].get("replicas", 1)
        for _ in range(size - len(pods)):
            suffix = "".join(turn.random.choices(_LETTERS, k=5))
            turn.objects.put(_pod(each, f"{each['metadata']['name']}-{suffix}", [*_LOST]))
        newest_first = pods[::-1]
        # The order is stable: of those that are equally ready the newest goes first.
        doomed = sorted(newest_first, key=is_ready)[: max(0, len(pods) - size)]
        for pod in doomed:
            turn.store.expel(pod)
        ready = sum(map(is_ready, pods))
        counted = _counted(readyReplicas=ready, availableReplicas=ready)
        turn.changed(each, status={"replicas": len(pods), **counted})


def _pod(owner: Object, name: str, tolerations: list[Object], **spec: Any) -> Object:
    template = copy(owner["spec"]["template"])
    metadata = template.get("metadata", {})
    metadata |= {"name": name, "namespace": owner["metadata"]["namespace"], "ownerReferences": _owner(owner)}
    metadata.setdefault("labels", {})
    own = template["spec"].get("tolerations", [])
    body = {**template["spec"], "tolerations": own + tolerations, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body, "status": {"phase": "Pending"}}


@source("daemon controller: util.AddOrUpdateDaemonPodTolerations")
def daemon_sets(turn: Turn) -> None:
    """Keep one pod of the current template on each Node that a DaemonSet's pods fit on."""
    everywhere = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in _EVERYWHERE]
    for each in turn.objects.all("DaemonSet"):
        wanted = _hash(each["spec"]["template"])
        pods = {pod["spec"]["nodeName"]: pod for pod in _pods_of(turn, each)}
        probe = _pod(each, "probe", everywhere)
        nodes = [node["metadata"]["name"] for node in turn.objects.all("Node") if fits(probe, node)]
        _expel_stale(turn, pods, nodes, wanted)
        for node in [node for node in nodes if node not in pods]:
            _place(turn, each, node, wanted, everywhere)
        _report_daemons(turn, each, [pods[node] for node in nodes if node in pods], len(nodes), wanted)


def _expel_stale(turn: Turn, pods: Mapping[str, Object], nodes: list[str], wanted: str) -> None:
    for node, pod in pods.items():
        if node not in nodes or _revision(pod) != wanted:
            turn.store.expel(pod)


def _revision(pod: Object) -> str:
    return str(pod["metadata"]["labels"].get("controller-revision-hash", ""))


def _place(turn: Turn, each: Object, node: str, wanted: str, everywhere: list[Object]) -> None:
    suffix = "".join(turn.random.choices(_LETTERS, k=5))
    pod = _pod(each, f"{each['metadata']['name']}-{suffix}", everywhere, nodeName=node)
    pod["metadata"] = _labelled(pod["metadata"], **{"controller-revision-hash": wanted})
    turn.objects.put(pod)


@source("apps/v1 DaemonSetStatus")
def _report_daemons(turn: Turn, each: Object, pods: list[Object], desired: int, wanted: str) -> None:
    ready = sum(map(is_ready, pods))
    updated = sum(_revision(pod) == wanted for pod in pods)
    status = {
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": len(pods),
        "numberReady": ready,
        "numberMisscheduled": 0,
        "observedGeneration": each["metadata"]["generation"],
        **_counted(updatedNumberScheduled=updated, numberAvailable=ready, numberUnavailable=desired - ready),
    }
    turn.changed(each, status=status)
