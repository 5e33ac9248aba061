"""The short verbs: asked, answered, done. Each returns its output and the seconds it takes.

Keys and values are those of `guest/ops.py`; the contract suite holds both to them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from cpcd.lab.guests.config import seconds
from cpcd.lab.guests.failed import VerbFailed, said
from cpcd.lab.guests.kubeadm import YEAR
from cpcd.lab.guests.machine import Machine
from cpcd.lab.guests.upkeep import PROGRAMS, etcd_running
from cpcd.lab.kube import MANIFESTS, Cluster, EtcdRefused, Member
from cpcd.lab.kube.tokens import mint, upload
from cpcd.lab.provenance import guess, recorded, source

T = TypeVar("T")

__all__ = ["VERBS", "Answer"]

GIB: Final = 2**30
Given = Mapping[str, Any]
Answer = tuple[dict[str, Any], float]


@source("guest/facts.py")
def facts(machine: Machine, given: Given) -> Answer:
    """Return the facts that `names` names, or all there are."""
    disk = machine.disk
    ready = disk.cluster.readyz(disk.kubelet) if disk.cluster and disk.kubelet else 0
    prepared = bool(disk.prepared)
    known = {
        "hostname": disk.hostname,
        "machine_id": disk.machine_id,
        "boot_id": machine.boot_id,
        "system_uuid": machine.system_uuid,
        "clock": machine.world.epoch + machine.now,
        "cloud_init": {"status": machine.cloud_init, "detail": ""},
        "swap": False,
        "modules": ["overlay", "br_netfilter"] if prepared else [],
        "packages": {name: disk.packages.get(name, "") for name in (*PROGRAMS, "containerd")},
        "holds": list(PROGRAMS) if prepared else [],
        "services": _services(machine),
        "kubeadm": _kubeadm(machine),
        "certificates": _certificates(machine),
        "prepared": disk.prepared,
        "addresses": _addresses(machine),
        "readyz": ready,
        "root": {"size": disk.root_gib * GIB, "disk": machine.hardware.disk_gib * GIB},
    }
    return {name: known[name] for name in given.get("names") or known}, machine.durations.facts


@recorded(24, 27)
def _services(machine: Machine) -> dict[str, dict[str, bool]]:
    disk = machine.disk
    running = disk.kubelet is not None and disk.kubelet.started is not None
    has = {name: name in disk.packages for name in ("kubelet", "containerd")}
    active = {"kubelet": running, "containerd": has["containerd"] and machine.containerd}
    return {name: {"active": active[name], "enabled": has[name]} for name in has}


@recorded(173, 402)
def _kubeadm(machine: Machine) -> dict[str, Any]:
    disk = machine.disk
    if disk.kubelet and disk.cluster:
        disk.cluster.etcd_up(disk.kubelet)  # its first start makes the data directory
    names = {"admin_conf": "admin.conf", "kubelet_conf": "kubelet.conf", "bootstrap_conf": "bootstrap-kubelet.conf"}
    found: dict[str, Any] = {key: disk.has(name) for key, name in names.items()}
    manifests = [path.rpartition("/")[2].removesuffix(".yaml") for path in disk.files if "/manifests/" in path]
    data = disk.kubelet is not None and disk.kubelet.etcd_data
    pki = disk.has("pki/ca.crt")
    authority = disk.cluster.ca_hash if pki and disk.cluster else ""
    return {**found, "pki": pki, "ca_hash": authority, "etcd_data": data, "manifests": sorted(manifests)}


def _certificates(machine: Machine) -> dict[str, float]:
    """Return when each ends; the kubelet's serving certificate is seen when it was signed, and lasts a year."""
    kubelet, ends = machine.disk.kubelet, machine.disk.certificates
    if kubelet is not None and kubelet.certificate:
        ends.setdefault("kubelet-server", machine.world.epoch + machine.now + YEAR)
    return dict(ends)


def _addresses(machine: Machine) -> list[str]:
    disk = machine.disk
    own = [machine.address] if machine.address else []
    virtual = disk.cluster is not None and disk.cluster.virtual() is disk.kubelet is not None
    return [*own, disk.cluster.plan.host] if disk.cluster and virtual else own


@guess("kubeadm token create's words without admin.conf, without an API and without its rights")
def _administered(machine: Machine, verb: str) -> Cluster:
    """Return the cluster if admin.conf works here now."""
    cluster = machine.disk.cluster
    if cluster is None or not machine.disk.has("admin.conf"):
        raise said(verb, "error: failed to load admin kubeconfig: open /etc/kubernetes/admin.conf: no such file")
    where = f"{cluster.plan.host}:{cluster.plan.port}"
    if machine.cut or machine.world.reach(cluster.plan.host, cluster.plan.port) is not cluster:
        raise said(verb, f'error: Get "https://{where}": dial tcp {where}: connect: connection refused')
    if not cluster.serving():
        raise said(verb, f'error: Get "https://{where}": context deadline exceeded', seconds=machine.durations.api_call)
    if not cluster.authorized():
        raise said(verb, 'error: secrets is forbidden: User "kubernetes-admin" cannot create resource "secrets"')
    return cluster


@recorded(231, 244, 245)
def join_secrets(machine: Machine, given: Given) -> Answer:
    """Mint a token of `ttl` (Go duration) and, for a control plane, upload the certificates under a new key."""
    cluster = _administered(machine, "join_secrets")
    token = mint(cluster, seconds(str(given["ttl"])))
    key = upload(cluster) if given["control_plane"] else ""
    output = {"token": token, "ca_hash": cluster.ca_hash, "certificate_key": key}
    return output, machine.durations.join_secrets


@recorded(173)
def kubeconfig(machine: Machine, _given: Given) -> Answer:
    """Return admin.conf, which may exist long before it may do anything."""
    cluster = machine.disk.cluster
    if cluster is None or not machine.disk.has("admin.conf"):
        raise VerbFailed("Failed", "there is no /etc/kubernetes/admin.conf")
    return {"kubeconfig": cluster.admin_kubeconfig(), "ca_hash": cluster.ca_hash}, machine.durations.short


@recorded(159, 343)
def _in_etcd(machine: Machine, verb: str, ask: Callable[[Cluster], T]) -> T:
    """Ask the local etcd; without quorum it answers nothing for its whole time-out."""
    etcd_running(machine, verb)
    assert machine.disk.cluster is not None, "etcd runs for a cluster"
    try:
        return ask(machine.disk.cluster)
    except EtcdRefused as no:
        waited = machine.durations.etcd_timeout if "deadline" in str(no) else machine.durations.short
        raise said(verb, f"Error: {no}", seconds=waited) from no


@recorded(253, 343)
def etcd_members(machine: Machine, _given: Given) -> Answer:
    """Return members with decimal ids as text, and the leader's id."""

    def ask(cluster: Cluster) -> dict[str, Any]:
        members = [_member(cluster, member) for member in cluster.etcd.listed()]
        leader = cluster.etcd.leader()
        return {"members": members, "leader": str(leader.id) if leader else ""}

    return _in_etcd(machine, "etcd_members", ask), machine.durations.short


@recorded(253, 307)
def _member(cluster: Cluster, member: Member) -> dict[str, Any]:
    """Return one member; an unstarted one has neither name nor client URLs."""
    healthy = cluster.etcd.up(member) and not member.learner
    return {
        "id": str(member.id),
        "name": member.name,
        "peer_urls": [member.peer_url],
        "client_urls": [member.peer_url.replace(":2380", ":2379")] if member.name else [],
        "learner": member.learner,
        "started": bool(member.name),
        "healthy": healthy,
    }


@recorded(272)
def etcd_remove(machine: Machine, given: Given) -> Answer:
    """Remove a member by id; one that is not listed is removed already."""
    number = _number(given["id"])

    def ask(cluster: Cluster) -> None:
        if any(member.id == number for member in cluster.etcd.listed()):
            cluster.etcd.remove(number)
            cluster.poke()

    _in_etcd(machine, "etcd_remove", ask)
    return {"removed": True}, machine.durations.short


@recorded(337)
def etcd_move_leader(machine: Machine, given: Given) -> Answer:
    """Make a member the leader; that only the leader itself can be asked is the verb's own business."""
    number = _number(given["to"])
    _in_etcd(machine, "etcd_move_leader", lambda cluster: cluster.etcd.move_leader(number))
    return {"leader": str(number)}, machine.durations.short


@recorded(350)
def _number(text: Any) -> int:
    try:
        return int(str(text), 10 if str(text).isdigit() else 16)
    except ValueError:
        raise VerbFailed("InvalidInput", f"{text!r} is no etcd member id") from None


@source("guest/ops.py: release_endpoint", "kube-vip 0.9.2, pkg/cluster: ReleaseOnCancel, DeleteIP")
def release_endpoint(machine: Machine, _given: Given) -> Answer:
    """Take kube-vip's manifest away; it has given up its address when this answers."""
    cluster = machine.disk.cluster
    if machine.disk.files.pop(f"{MANIFESTS}/kube-vip.yaml", None) is not None and cluster is not None:
        cluster.virtual()
        cluster.poke()
    return {"released": True}, machine.durations.release


VERBS: Final[Mapping[str, Callable[[Machine, Given], Answer]]] = {
    "facts": facts,
    "join_secrets": join_secrets,
    "kubeconfig": kubeconfig,
    "etcd_members": etcd_members,
    "etcd_remove": etcd_remove,
    "etcd_move_leader": etcd_move_leader,
    "release_endpoint": release_endpoint,
}
