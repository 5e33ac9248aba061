"""From other people's JSON to `model.seen` values: one function a value, no judgement.

Proxmox mixes types (recorded: encoding and types), so numbers and flags are converted here and nowhere else.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from cpcd.model.seen import Csr, Facts, Member, Members, Node, Pod, Quorum, Resource, Task, Vm

__all__ = [
    "csr", "facts", "made", "members", "node", "pending", "pod", "quorum", "reference", "resources", "shared_storages", "task", "vm", "with_disks",
    "with_made",
]  # fmt: skip

JSON = Mapping[str, Any]
# The only place that names the new VMID (`failures.md` P22, recorded: clone).
MADE = re.compile(r"creating a clone of VM \d+ with ID (\d+)")
DISK = re.compile(r"(scsi|virtio|sata|ide)\d+")
MIRROR = "kubernetes.io/config.mirror"


def resources(rows: Sequence[JSON]) -> dict[int, Resource]:
    """Decode the VMs of `/cluster/resources`; absent fields of a fresh or offline VM are empty."""
    return {
        int(row["vmid"]): Resource(
            vmid=int(row["vmid"]), node=str(row.get("node", "")), name=str(row.get("name", "")),
            status=str(row.get("status", "unknown")), template=bool(row.get("template", 0)),
            tags=tuple(t for t in str(row.get("tags") or "").split(";") if t), lock=str(row.get("lock") or ""),
        )
        for row in rows
        if row.get("type") == "qemu"
    }  # fmt: skip


def quorum(rows: Sequence[JSON]) -> Quorum:
    """Decode `/cluster/status`; a single node has no cluster entry and is always quorate."""
    nodes = [row for row in rows if row.get("type") == "node"]
    cluster = next((row for row in rows if row.get("type") == "cluster"), None)
    online = frozenset(str(n["name"]) for n in nodes if n.get("online", 0))
    offline = frozenset(str(n["name"]) for n in nodes) - online
    return Quorum(quorate=cluster is None or bool(cluster.get("quorate", 0)), online=online, offline=offline)


def vm(node: str, config: JSON, status: JSON, late: tuple[str, ...], host_key: str) -> Vm:
    """Put one VM together; uptime, load and the like are left out."""
    lock = str(status.get("lock") or config.get("lock") or "")
    return Vm(True, node, str(status.get("status", "")), lock, dict(config), late, host_key)


def pending(rows: Sequence[JSON]) -> tuple[str, ...]:
    """Return the options that wait for a cold restart."""
    waiting = (str(row["key"]) for row in rows if "delete" in row or _late(row))
    return tuple(sorted(waiting))


def _late(row: JSON) -> bool:
    return "pending" in row and str(row["pending"]) != str(row.get("value", ""))


def task(row: JSON) -> Task:
    """Decode one entry of a task list, where the exit text is called `status` (recorded: sync or task)."""
    ended = "endtime" in row and row["endtime"]
    vmid = str(row.get("id") or "")
    exit_text = str(row.get("status") or "unexpected status") if ended else ""
    return Task(str(row["upid"]), str(row.get("type", "")), int(vmid) if vmid.isdigit() else 0, exit_text)


def made(log: Sequence[str]) -> int:
    """Return the VMID that a clone's log names, 0 when it does not say yet."""
    found = (MADE.search(line) for line in log)
    return next((int(match.group(1)) for match in found if match), 0)


def with_made(given: Task, vmid: int) -> Task:
    """Return the task with what its log names."""
    return replace(given, made=vmid)


def shared_storages(rows: Sequence[JSON]) -> frozenset[str]:
    """Return the storages of `/cluster/resources` that all nodes share."""
    return frozenset(str(row["storage"]) for row in rows if row.get("type") == "storage" and row.get("shared"))


def with_disks(given: Resource, config: JSON, shared: frozenset[str]) -> Resource:
    """Return a template with its disks, so that a plan knows what its clones begin with and where they can be."""
    disks = {slot: str(value) for slot, value in config.items() if DISK.fullmatch(slot) and "size=" in str(value)}
    everywhere = bool(disks) and all(value.partition(":")[0] in shared for value in disks.values())
    return replace(given, disks=tuple(sorted(disks.items())), shared=everywhere)


def facts(given: JSON, wall: float) -> Facts:
    """Decode the output of the verb `facts`."""
    kubeadm, cloud_init = given.get("kubeadm", {}), given.get("cloud_init", {})
    return Facts(
        hostname=str(given.get("hostname", "")), boot_id=str(given.get("boot_id", "")),
        system_uuid=str(given.get("system_uuid", "")), clock_skew=_skew(float(given.get("clock", wall)) - wall),
        cloud_init=str(cloud_init.get("status", "")), prepared=str(given.get("prepared", "")),
        packages=dict(given.get("packages", {})), admin_conf=bool(kubeadm.get("admin_conf")),
        kubelet_conf=bool(kubeadm.get("kubelet_conf") or kubeadm.get("bootstrap_conf")),
        etcd_data=bool(kubeadm.get("etcd_data")), manifests=tuple(kubeadm.get("manifests", ())),
        readyz=int(given.get("readyz", 0)), results=dict(given.get("results", {})),
        certificates=dict(given.get("certificates", {})),
    )  # fmt: skip


def members(given: JSON) -> Members:
    """Decode the output of the verb `etcd_members`."""
    listed = tuple(
        Member(
            id=str(m["id"]), name=str(m.get("name", "")), peer=",".join(m.get("peer_urls", [])),
            learner=bool(m.get("learner")), started=bool(m.get("started", True)), healthy=bool(m.get("healthy")),
        )
        for m in given["members"]
    )  # fmt: skip
    return Members(listed, str(given.get("leader", "")))


def node(obj: JSON) -> Node:
    """Decode a Node; heartbeats are left out, transitions are kept."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    conditions = tuple(
        (c["type"], c["status"], _time(c.get("lastTransitionTime"))) for c in status.get("conditions", [])
    )
    ready = next((c for c in conditions if c[0] == "Ready"), ("Ready", "Unknown", 0.0))
    about = status.get("nodeInfo", {})
    return Node(
        name=meta["name"], uid=meta["uid"], system_uuid=str(about.get("systemUUID", "")).lower(), ready=ready[1],
        since=ready[2], unschedulable=bool(spec.get("unschedulable")), labels=dict(meta.get("labels") or {}),
        annotations=dict(meta.get("annotations") or {}),
        taints=tuple((t["key"], t.get("value", ""), t["effect"]) for t in spec.get("taints") or []),
        version=str(about.get("kubeletVersion", "")), boot_id=str(about.get("bootID", "")),
        pod_cidr=str(spec.get("podCIDR", "")), conditions=tuple(c for c in conditions if c[0] != "Ready"),
        resource_version=str(meta.get("resourceVersion", "")),
    )  # fmt: skip


def pod(obj: JSON) -> Pod:
    """Decode a pod for a drain."""
    meta = obj["metadata"]
    owners = {owner["kind"] for owner in meta.get("ownerReferences") or []}
    return Pod(
        namespace=meta.get("namespace", "default"), name=meta["name"], uid=meta["uid"],
        node=obj.get("spec", {}).get("nodeName", ""), daemon="DaemonSet" in owners,
        mirror=MIRROR in (meta.get("annotations") or {}),
        finished=obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}, deleting="deletionTimestamp" in meta,
    )  # fmt: skip


def csr(obj: JSON, names: tuple[tuple[str, ...], tuple[str, ...]]) -> Csr:
    """Decode a CertificateSigningRequest whose request was parsed already."""
    spec = obj["spec"]
    return Csr(
        obj["metadata"]["name"], str(spec.get("username", "")), names[0], names[1], tuple(spec.get("usages", []))
    )


def reference(obj: JSON) -> tuple[str, str, str, str, str]:
    """Return apiVersion, kind, namespace, name and uid."""
    meta = obj["metadata"]
    return (obj["apiVersion"], obj["kind"], meta.get("namespace", ""), meta["name"], meta["uid"])


def _skew(seconds: float) -> float:
    """Round to tens: what jitters with every round trip is no news."""
    return round(seconds, -1)


def _time(text: str | None) -> float:
    if not text:
        return 0.0
    return datetime.fromisoformat(text).timestamp()
