"""From other people's JSON to `model.seen` values: one function a value, no judgement.

Proxmox mixes types (recorded: encoding and types), so numbers and flags are converted here and nowhere else. What is
not of its shape raises Failure(NetworkError), and is never taken for something else: the scope is then unknown.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from cpcd.model.errors import Code, Failure
from cpcd.model.seen import Asked, Csr, Facts, Member, Members, Node, Pod, Quorum, Resource, Task, Vm

__all__ = [
    "FACTS", "csr", "facts", "made", "members", "node", "pending", "pod", "quorum", "reference", "resources", "shared_storages", "task", "understood", "vm",
    "with_disks", "with_made",
]  # fmt: skip

JSON = Mapping[str, Any]
# The only place that names the new VMID (`failures.md` P22, recorded: clone).
MADE = re.compile(r"creating a clone of VM \d+ with ID (\d+)")
DISK = re.compile(r"(scsi|virtio|sata|ide)\d+")
LONGEST = 1_000  # characters of a task's exit: it is quoted in sentences
MIRROR = "kubernetes.io/config.mirror"


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn what a value of another shape makes of its decoding into a Failure."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        why = f"{type(error).__name__}: {str(error)[:100]!a}"
        raise Failure(Code.NETWORK, f"{what} cannot be understood ({why})") from error


@understood("Proxmox's list of VMs")
def resources(rows: Sequence[JSON]) -> dict[int, Resource]:
    """Decode the VMs of `/cluster/resources`; absent fields of a fresh or offline VM are empty."""
    return {
        _number(row["vmid"]): Resource(
            vmid=_number(row["vmid"]), node=_text(row.get("node")), name=_text(row.get("name")),
            status=_text(row.get("status", "unknown")), template=_flag(row.get("template")),
            tags=tuple(t for t in _text(row.get("tags")).split(";") if t), lock=_text(row.get("lock")),
        )
        for row in rows
        if row.get("type") == "qemu"
    }  # fmt: skip


@understood("Proxmox's list of nodes")
def quorum(rows: Sequence[JSON]) -> Quorum:
    """Decode `/cluster/status`; a single node has no cluster entry and is always quorate."""
    nodes = [row for row in rows if row.get("type") == "node"]
    cluster = next((row for row in rows if row.get("type") == "cluster"), None)
    online = frozenset(_name(n["name"]) for n in nodes if _flag(n.get("online")))
    offline = frozenset(_name(n["name"]) for n in nodes) - online
    if not nodes:
        raise ValueError("no node at all")
    if cluster is None:
        return Quorum(quorate=True, online=online, offline=offline)
    whole = len(nodes) == _number(cluster.get("nodes", 0))
    return Quorum(quorate=_flag(cluster.get("quorate")), online=online, offline=offline, whole=whole)


@understood("a VM's config and status")
def vm(node: str, config: JSON, status: JSON, late: tuple[str, ...], host_key: str) -> Vm:
    """Put one VM together; uptime, load and the like are left out."""
    # Two calls, and a lock that only one of them has seen is there as well.
    lock = _text(status.get("lock")) or _text(config.get("lock"))
    shared = {_once(name): _once(value) if isinstance(value, str) else value for name, value in config.items()}
    return Vm(True, node, _text(status.get("status")), lock, shared, late, host_key)


@understood("a VM's pending changes")
def pending(rows: Sequence[JSON]) -> tuple[str, ...]:
    """Return the options that wait for a cold restart."""
    waiting = (_name(row["key"]) for row in rows if "delete" in row or _late(row))
    return tuple(sorted(waiting))


def _late(row: JSON) -> bool:
    return "pending" in row and str(row["pending"]) != str(row.get("value", ""))


@understood("a task of Proxmox")
def task(row: JSON) -> Task:
    """Decode one entry of a task list, where the exit text is called `status` (recorded: sync or task)."""
    vmid = _text(row.get("id"))
    exit_text = (_text(row.get("status")) or "unexpected status")[:LONGEST] if row.get("endtime") else ""
    return Task(_name(row["upid"]), _text(row.get("type")), int(vmid) if vmid.isdecimal() else 0, exit_text)


@understood("a task's log")
def made(log: Sequence[str]) -> int:
    """Return the VMID that a clone's log names, 0 when it does not say yet."""
    found = (MADE.search(line) for line in log)
    return next((int(match.group(1)) for match in found if match), 0)


def with_made(given: Task, vmid: int) -> Task:
    """Return the task with what its log names."""
    return replace(given, made=vmid)


@understood("Proxmox's list of storages")
def shared_storages(rows: Sequence[JSON]) -> frozenset[str]:
    """Return the storages of `/cluster/resources` that all nodes share."""
    return frozenset(_name(row["storage"]) for row in rows if row.get("type") == "storage" and _flag(row.get("shared")))


def with_disks(given: Resource, config: JSON, shared: frozenset[str]) -> Resource:
    """Return a template with its disks, so that a plan knows what its clones begin with and where they can be."""
    disks = {slot: str(value) for slot, value in config.items() if DISK.fullmatch(slot) and "size=" in str(value)}
    everywhere = bool(disks) and all(value.partition(":")[0] in shared for value in disks.values())
    drive = any(DISK.fullmatch(slot) and "cloudinit" in str(value) for slot, value in config.items())
    return replace(given, disks=tuple(sorted(disks.items())), shared=everywhere, cloudinit=drive)


# What `facts` reads below; the guest knows more, and starts programs to tell it.
FACTS: Final = (
    "hostname", "machine_id", "boot_id", "clock", "cloud_init", "kubeadm", "certificates", "prepared", "readyz", "root",
)  # fmt: skip


@understood("what a machine says of itself")
def facts(given: JSON, asked: float, answered: float) -> Facts:
    """Decode the output of the verb `facts`, which was asked for and answered at these wall times."""
    kubeadm, cloud_init = given.get("kubeadm", {}), given.get("cloud_init", {})
    root = given.get("root") or {}
    return Facts(
        hostname=_text(given.get("hostname")), machine_id=_text(given.get("machine_id")), clock_skew=_skew(_seconds(given.get("clock", asked)), asked, answered),
        cloud_init=_text(cloud_init.get("status")), prepared=_text(given.get("prepared")),
        admin_conf=_flag(kubeadm.get("admin_conf")),
        kubelet_conf=_flag(kubeadm.get("kubelet_conf")) or _flag(kubeadm.get("bootstrap_conf")),
        etcd_data=_flag(kubeadm.get("etcd_data")), manifests=_names(kubeadm.get("manifests")),
        readyz=_number(given.get("readyz", 0)), ca_hash=_text(kubeadm.get("ca_hash")),
        certificates={name: _seconds(ends) for name, ends in (given.get("certificates") or {}).items()},
        boot_id=_text(given.get("boot_id")), root=_number(root.get("size") or 0), root_disk=_number(root.get("disk") or 0),
    )  # fmt: skip


@understood("the list of etcd members")
def members(given: JSON) -> Members:
    """Decode the output of the verb `etcd_members`."""
    listed = tuple(
        Member(
            id=_name(m["id"]), name=_text(m.get("name")), peer=",".join(_names(m.get("peer_urls"))),
            learner=_flag(m.get("learner")), started=_flag(m.get("started", True)), healthy=_flag(m.get("healthy")),
        )
        for m in given["members"]
    )  # fmt: skip
    return Members(listed, _text(given.get("leader")))


@understood("a Node")
def node(obj: JSON) -> Node:
    """Decode a Node; heartbeats are left out, transitions are kept."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    conditions = tuple(
        (_name(c["type"]), _name(c["status"]), _time(c.get("lastTransitionTime"))) for c in status.get("conditions", [])
    )
    ready = next((c for c in conditions if c[0] == "Ready"), ("Ready", "Unknown", 0.0))
    about = status.get("nodeInfo", {})
    # in the message alone, and that may name other troubles beside it (recorded [219, 336])
    said = " ".join(str(c.get("message", "")) for c in status.get("conditions", []) if c["type"] == "Ready")
    return Node(
        name=_name(meta["name"]), uid=_name(meta["uid"]), system_uuid=_text(about.get("systemUUID")).lower(),
        ready=ready[1], since=ready[2], unschedulable=_flag(spec.get("unschedulable")), labels=_texts(meta.get("labels")),
        annotations=_texts(meta.get("annotations")),
        taints=tuple((_name(t["key"]), _text(t.get("value")), _name(t["effect"])) for t in spec.get("taints") or []),
        version=_text(about.get("kubeletVersion")), boot_id=_text(about.get("bootID")),
        conditions=tuple(c for c in conditions if c[0] != "Ready"),
        resource_version=_text(meta.get("resourceVersion")), networked="NetworkPluginNotReady" not in said,
    )  # fmt: skip


@understood("a pod")
def pod(obj: JSON) -> Pod:
    """Decode a pod for a drain."""
    meta = obj["metadata"]
    owners = {owner["kind"] for owner in meta.get("ownerReferences") or []}
    return Pod(
        namespace=_name(meta.get("namespace", "default")), name=_name(meta["name"]), uid=_name(meta["uid"]),
        node=_text(obj.get("spec", {}).get("nodeName")), daemon="DaemonSet" in owners,
        mirror=MIRROR in _texts(meta.get("annotations")),
        finished=obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}, deleting="deletionTimestamp" in meta,
    )  # fmt: skip


@understood("a certificate signing request")
def csr(obj: JSON, names_of: Callable[[str], Asked]) -> Csr:
    """Decode a CertificateSigningRequest; what cannot be read of its request is its own trouble, and nobody else's."""
    spec = obj["spec"]
    given = (_name(obj["metadata"]["name"]), _text(spec.get("username")), _names(spec.get("usages")))
    try:
        return Csr(*given, *names_of(_text(spec.get("request"))))
    except Failure as failure:
        return Csr(*given, trouble=failure.what)


@understood("an object's metadata")
def reference(obj: JSON) -> tuple[str, str, str, str, str]:
    """Return apiVersion, kind, namespace, name and uid."""
    meta = obj["metadata"]
    whose = (_name(obj["apiVersion"]), _name(obj["kind"]), _text(meta.get("namespace")))
    return (*whose, _name(meta["name"]), _name(meta["uid"]))


def _skew(clock: float, asked: float, answered: float) -> float:
    """A clock is right if it read any time of the call: a machine that is busy takes minutes to answer.

    Rounded to tens: what jitters with every round trip is no news.
    """
    return round(min(clock - asked, 0.0) + max(clock - answered, 0.0), -1)


def _time(text: Any) -> float:
    return datetime.fromisoformat(_name(text)).timestamp() if text else 0.0


def _flag(value: Any) -> bool:
    """Proxmox writes 1, "1" and true; "0" is no truth, and another word is neither."""
    if value not in (None, "", 0, "0", 1, "1"):  # True is 1 here
        raise ValueError(f"no flag: {value!r}")
    return value in (1, "1")


def _number(value: Any) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not (isinstance(value, str) and value.isascii() and value.isdecimal()):
        raise ValueError(f"no whole number: {value!r}")
    return int(value)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"no time: {value!r}")
    return float(value)


def _text(value: Any) -> str:
    """Text, or what Proxmox makes of text that looks like a number; empty when there is none.

    One object for equal texts: a thousand machines say mostly the same, and each of them at every look.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise TypeError(f"no text: {type(value).__name__}")
    return "" if value is None else _once(str(value))


@lru_cache(maxsize=4096)  # not interned: some Pythons 3.12 never let go of what is
def _once(text: str) -> str:
    return text


def _name(value: Any) -> str:
    """Text that must be there."""
    if not (text := _text(value)):
        raise ValueError("an empty name")
    return text


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple | None):
        raise TypeError(f"no list: {type(value).__name__}")
    return tuple(map(_name, value or ()))


def _texts(value: Any) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in (value or {}).items()}
