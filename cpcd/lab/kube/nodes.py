"""Nodes: kubelets register and report, and the node controller notices who no longer does.

A Node's labels, annotations and foreign taints are never touched. Signs of life are leases, which nobody here reads; a
Node is written when a condition changes, and every five minutes with new times alone, which moves its revision.
"""

import ipaddress
from typing import Any, Final

from cpcd.lab.kube import csr
from cpcd.lab.kube.fields import copy
from cpcd.lab.kube.kubelet import NETWORKS, File, Kubelet
from cpcd.lab.kube.objects import Object
from cpcd.lab.kube.turn import Turn
from cpcd.lab.provenance import recorded, source

__all__ = ["conditions", "lifecycle", "networks", "register", "tainted"]

KUBELET_CONF: Final = "/etc/kubernetes/kubelet.conf"
_UNREACHABLE: Final = "node.kubernetes.io/unreachable"
_NOT_READY: Final = "node.kubernetes.io/not-ready"
_UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
_PRESSURES: Final = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
_READY: Final = ("True", "KubeletReady", "kubelet is posting ready status")
_NO_CNI: Final = (
    "False", "KubeletNotReady",
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
)  # fmt: skip
_SILENT: Final = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")


@recorded(414, 421, 424, 427)
def register(turn: Turn) -> None:
    """Let each kubelet make or take over its Node, once for each of its starts."""
    for kubelet in turn.kubelets:
        started = kubelet.started
        if not kubelet.alive or started is None or kubelet.registered == started:
            continue
        if turn.reached(max(started, kubelet.back) + turn.lags.register):
            _register(turn, kubelet, started)


def _register(turn: Turn, kubelet: Kubelet, started: float) -> None:
    node = turn.objects.find("Node", kubelet.node)
    fresh = node is None
    if node is None:
        node = _fresh(turn, kubelet)
    status = {**node.get("status", {}), **_report(kubelet)}
    turn.changed(node, status=status)
    kubelet.registered = started
    kubelet.ready_from = turn.now + (turn.lags.ready if fresh else 0)
    kubelet.files.setdefault(KUBELET_CONF, File("", turn.now))
    # One that it has got outlives a restart: it is on the disk, and lasts a year.
    if kubelet.serving_csr and not kubelet.certificate:
        csr.ask(turn, kubelet)


def _fresh(turn: Turn, kubelet: Kubelet) -> Object:
    system = {"kubernetes.io/hostname": kubelet.node, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    beta = {"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64"}
    network = _network(turn)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": kubelet.node, "labels": {**beta, **system, **kubelet.labels}},
        "spec": {"podCIDR": network, "podCIDRs": [network], **({"taints": kubelet.taints} if kubelet.taints else {})},
    }


@recorded(427, 440)
def _network(turn: Turn) -> str:
    """Return the next /24 of the pod network: a Node made again gets another one."""
    number, turn.memory.networks = turn.memory.networks, turn.memory.networks + 1
    base = ipaddress.ip_network(turn.pods).network_address
    return f"{base + number * 256}/24"


@recorded(9, 176, 401)
def _report(kubelet: Kubelet) -> dict[str, Any]:
    """Return what a kubelet says of its machine at each start."""
    room = {"cpu": str(kubelet.cores), "memory": f"{kubelet.memory_mib * 1024}Ki", "pods": "110"}
    room["ephemeral-storage"] = f"{kubelet.disk_gib * 1024 * 1024}Ki"
    return {
        "addresses": [
            {"type": "InternalIP", "address": kubelet.address},
            {"type": "Hostname", "address": kubelet.node},
        ],
        "capacity": room,
        "allocatable": dict(room),
        "nodeInfo": {
            "machineID": kubelet.machine_id,
            "systemUUID": kubelet.system_uuid,
            "bootID": kubelet.boot_id,
            "kernelVersion": "6.12.117+deb13-cloud-amd64",
            "osImage": "Debian GNU/Linux 13 (trixie)",
            "containerRuntimeVersion": f"containerd://{kubelet.containerd}",
            "kubeletVersion": f"v{kubelet.version}",
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
    }


@source("kubelet: nodestatus/setters.go")
def conditions(turn: Turn) -> None:
    """Write what each live kubelet says of its Node, and keep its sign of life."""
    for kubelet in turn.kubelets:
        node = turn.objects.find("Node", kubelet.node)
        if kubelet.alive and kubelet.registered == kubelet.started and node is not None:
            turn.memory.heartbeats[kubelet.node] = turn.now
            if turn.reached(kubelet.back + turn.lags.back):
                # capacity follows hot-plugged memory and cores (kubelet: setters.go MachineInfo)
                node = turn.changed(node, status={**node["status"], **_report(kubelet)})
                _say(turn, node, _ready(turn, kubelet), fresh=_reports(turn, kubelet.node))


@source("kubelet: kubelet_node_status.go nodeStatusReportFrequency")
def _reports(turn: Turn, name: str) -> bool:
    """Whether a Node is written now although nothing has changed."""
    due = turn.reached(turn.memory.reports.setdefault(name, turn.now) + turn.lags.report)
    if due:
        turn.memory.reports[name] = turn.now
    return due


@recorded(219, 405, 450)
def _ready(turn: Turn, kubelet: Kubelet) -> tuple[str, str, str]:
    return _READY if kubelet.networked and turn.reached(kubelet.ready_from) else _NO_CNI


@source("K22", "kube-flannel.yml: install-cni")
def networks(turn: Turn) -> None:
    """Let each machine that has no CNI get one from a pod that is bound to it and mounts the directory of CNIs.

    As on real machines that is an init container's work: it is done anew on a machine that took over a Node's name.
    """
    missing = {k.node: k for k in turn.kubelets if k.alive and k.registered == k.started and not k.networked}
    for pod in turn.objects.all("Pod") if missing else ():
        kubelet = missing.get(pod["spec"].get("nodeName", ""))
        if kubelet is None or "deletionTimestamp" in pod["metadata"] or not _brings_cni(pod):
            continue
        if turn.lasted(f"cni/{kubelet.machine_id}", pod, turn.lags.pod_start):
            kubelet.files[f"{NETWORKS}/{pod['metadata']['name']}.conflist"] = File("", turn.now)


def _brings_cni(pod: Object) -> bool:
    volumes = pod["spec"].get("volumes") or ()
    return any((volume.get("hostPath") or {}).get("path", "").rstrip("/") == NETWORKS for volume in volumes)


@recorded(447, 448)
def _say(turn: Turn, node: Object, ready: tuple[str, str, str], *, fresh: bool = False) -> None:
    """Set all conditions: `ready` for Ready, and for the pressures the same Unknown or their usual False.

    With `fresh` those that have not changed get the time of now.
    """
    silent = ready[0] == "Unknown"
    wanted = {kind: ready if silent else ("False", *words) for kind, words in _PRESSURES.items()} | {"Ready": ready}
    before = {entry["type"]: entry for entry in node["status"].get("conditions", ())}
    entries = [_condition(before.pop(kind, None), kind, words, turn.stamp) for kind, words in wanted.items()]
    entries = [{**entry, "lastHeartbeatTime": turn.stamp} if fresh else entry for entry in entries]
    turn.changed(node, status={**node["status"], "conditions": [*before.values(), *entries]})


def _condition(before: Object | None, kind: str, words: tuple[str, str, str], stamp: str) -> Object:
    status, reason, message = words
    if before and (before["status"], before["reason"], before["message"]) == words:
        return before
    since = before["lastTransitionTime"] if before and before["status"] == status else stamp
    said = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**said, "lastHeartbeatTime": stamp, "lastTransitionTime": since}


@recorded(447, 448)
def lifecycle(turn: Turn) -> None:
    """Turn the Nodes Unknown whose last sign of life is older than the grace period."""
    live = {kubelet.node for kubelet in turn.kubelets if kubelet.alive and kubelet.registered == kubelet.started}
    for node in turn.objects.all("Node"):
        name = node["metadata"]["name"]
        # Of whom nobody has heard yet the grace period begins now.
        heard = turn.memory.heartbeats.setdefault(name, turn.now)
        if name not in live and turn.reached(heard + turn.lags.grace):
            _say(turn, {**node, "status": node.get("status", {})}, _SILENT)


@recorded(440, 447, 448)
def tainted(turn: Turn) -> None:
    """Keep the taints that follow from a Node's state, and leave all others alone."""
    for node in turn.objects.all("Node"):
        wanted = _taints(node)
        present = node["spec"].get("taints", [])
        mine = [t for t in present if t["key"] not in {_UNREACHABLE, _NOT_READY, _UNSCHEDULABLE}]
        kept = {(t["key"], t["effect"]): t for t in present}
        fresh = [kept.get(w, {"key": w[0], "effect": w[1], "timeAdded": turn.stamp}) for w in wanted]
        spec = {key: value for key, value in node["spec"].items() if key != "taints"}
        taints = mine + fresh
        if taints != present:
            turn.changed(node, spec={**spec, "taints": copy(taints)} if taints else spec)


def _taints(node: Object) -> list[tuple[str, str]]:
    ready = next((c["status"] for c in node.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), "False")
    key = {"Unknown": _UNREACHABLE, "False": _NOT_READY}.get(ready)
    lost = [(key, "NoSchedule"), (key, "NoExecute")] if key else []
    return [*([(_UNSCHEDULABLE, "NoSchedule")] if node["spec"].get("unschedulable") else []), *lost]
