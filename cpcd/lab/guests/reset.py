"""`kubeadm reset -f` as a program: rc 0 always, local etcd data gone always, the member removed only sometimes.

That last is why cpcd may never use it as a clean-up (recorded 266, 370, 380).
"""

from typing import Any, Final

from cpcd.lab.guests.jobs import Program
from cpcd.lab.guests.machine import Machine
from cpcd.lab.kube import NETWORKS
from cpcd.lab.provenance import recorded, source

__all__ = ["reset"]

_EMPTIED: Final = ("/etc/kubernetes/", "/var/lib/kubelet/", f"{NETWORKS}/")


@source("guest/kubeadm.py: reset")
@recorded(190, 198, 266, 267, 370, 380, 398)
def reset(machine: Machine, _given: dict[str, Any]) -> Program:
    """Undo init or join; the Node and everything else in the cluster stays. Output is empty."""
    yield "remove-etcd-member", _seconds(machine) / 2
    # Else it goes on without a word, and the member stays listed: rc 0 proves nothing (recorded [266, 370]).
    if _knows_cluster(machine):
        _leave(machine)
    yield "cleanup", _seconds(machine) / 2
    # Before its files go: an etcd that ran until now has left its data, which goes too.
    machine.stop_kubelet()
    disk = machine.disk
    if disk.cluster is not None and disk.kubelet is not None:
        disk.cluster.forget(disk.kubelet)
        disk.kubelet.member, disk.kubelet.etcd_data = None, False
    disk.cluster, disk.kubelet = None, None
    disk.files = {path: file for path, file in disk.files.items() if not path.startswith(_EMPTIED)}
    disk.certificates.clear()
    return {}


def _seconds(machine: Machine) -> float:
    cluster = machine.disk.cluster
    if cluster is None or not machine.disk.manifest("kube-apiserver"):
        return machine.durations.reset
    served = cluster.serving()
    return machine.durations.reset_control_plane if served else machine.durations.reset_no_quorum


@recorded(266, 267, 370)
def _knows_cluster(machine: Machine) -> bool:
    """Tell whether reset can learn of its member: etcd's manifest, its own Node, and an API that answers."""
    cluster, kubelet = machine.disk.cluster, machine.disk.kubelet
    if cluster is None or kubelet is None or not machine.disk.manifest("etcd"):
        return False
    reached = machine.world.reach(cluster.plan.host, cluster.plan.port) is cluster
    known = cluster.store.objects.find("Node", kubelet.node) is not None
    return reached and cluster.serving() and known and not machine.cut


@recorded(190, 380)
def _leave(machine: Machine) -> None:
    """Remove the own member; the last one is not removed, only its data is."""
    cluster, kubelet = machine.disk.cluster, machine.disk.kubelet
    assert cluster is not None, "only a member leaves"
    assert kubelet is not None, "only a member leaves"
    others = [member for member in cluster.etcd.members if member.id != kubelet.member]
    if others and len(others) < len(cluster.etcd.members) and kubelet.member is not None:
        cluster.etcd.remove(kubelet.member)
        cluster.poke()
