"""`kubeadm join` as a program, for workers and control planes.

The order is that of 1.35 (recorded 319): manifests, check-etcd, kubelet-start, learner, etcd.yaml, promotion, and only
then the wait for the kubelet's TLS bootstrap; so a join can fail with its member already a voter.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from cpcd.lab.guests.config import Configuration, parse
from cpcd.lab.guests.failed import kubeadm_failed
from cpcd.lab.guests.jobs import Program, Stage
from cpcd.lab.guests.kubeadm import (
    COMPONENTS,
    configure,
    discover,
    findings,
    installed,
    mark,
    place,
    refused,
    serving,
    start_kubelet,
    until,
    write_pki,
)  # fmt: skip
from cpcd.lab.guests.machine import Machine
from cpcd.lab.kube import Cluster, EtcdRefused, Kubelet, Member
from cpcd.lab.kube.budgets import is_ready
from cpcd.lab.kube.tokens import key_refused
from cpcd.lab.provenance import guess, recorded, source

T = TypeVar("T")

__all__ = ["join"]

_WORKER = 17.0  # what the stages below add up to, the kubelet's own start included
_CONTROL_PLANE = 45.0
_BOOTSTRAP = "bootstrap-kubelet.conf"


@recorded(200, 248, 287, 319, 400)
def join(machine: Machine, given: dict[str, Any]) -> Program:
    """Join as the JoinConfiguration says; output is empty."""
    installed(machine, "join")
    config = parse("join", given["config"])
    place(machine, given.get("manifests") or {})
    yield "preflight", 3.0
    if found := findings(machine, joins=True, control_plane=config.control_plane):
        raise refused("join", found)
    cluster = yield from discover(machine, config)
    if config.control_plane:
        share = machine.durations.join_control_plane / _CONTROL_PLANE
        yield from _control_plane(machine, config, cluster, share)
    else:
        share = machine.durations.join_worker / _WORKER
        yield from _start(machine, config, cluster, share)
        yield from _bootstrapped(machine, config)
        yield "kubelet-start", 6 * share
    return {}


@recorded(257, 264, 388, 397, 411, 412)
def _start(machine: Machine, config: Configuration, cluster: Cluster, share: float) -> Generator[Stage, None, Kubelet]:
    """Write the bootstrap files, refuse a name that a Ready Node has, start the kubelet: in this order."""
    yield "bootstrap-files", 2 * share
    machine.disk.write(_BOOTSTRAP, "", machine.now)
    machine.disk.write("pki/ca.crt", "", machine.now)
    taken = cluster.store.objects.find("Node", config.node)
    if taken is not None and is_ready(taken):
        text = f'a Node with name "{config.node}" and status "Ready" already exists in the cluster'
        raise kubeadm_failed("join", "kubelet-start", text)
    yield "kubelet-start", 2 * share
    kubelet = configure(machine, config, cluster)
    if config.control_plane:  # it points at the local API server, which is yet to come
        machine.disk.write("kubelet.conf", "", machine.now)
    start_kubelet(machine)
    return kubelet


@recorded(319, 327, 402)
@source("K21")
def _bootstrapped(machine: Machine, config: Configuration) -> Generator[Stage, None, None]:
    """Wait for the kubelet's own certificate; the bootstrap file is gone afterwards, also when it never came."""
    kubelet = machine.disk.kubelet
    assert kubelet is not None, "the kubelet was started"
    limit = config.timeouts.get("tlsBootstrap", machine.durations.tls_bootstrap)
    registered = yield from until(machine, "kubelet-wait-bootstrap", lambda: kubelet.registered is not None, limit)
    machine.disk.files.pop(f"/etc/kubernetes/{_BOOTSTRAP}", None)
    if not registered:
        text = "failed while waiting for TLS bootstrap: context deadline exceeded"
        raise kubeadm_failed("join", "kubelet-wait-bootstrap", text)


@recorded(279, 280, 281, 282, 283)
def _control_plane(
    machine: Machine, config: Configuration, cluster: Cluster, share: float
) -> Generator[Stage, None, None]:
    yield from _certificates(machine, config, cluster, share)
    yield from _check_etcd(machine, cluster)
    kubelet = yield from _start(machine, config, cluster, share)
    member = yield from _learner(machine, cluster, kubelet, share)
    yield from _promote(machine, cluster, member, share)
    yield from _bootstrapped(machine, config)
    yield "mark-control-plane", 5 * share
    yield from serving(machine, "join", "mark-control-plane", cluster)
    mark(machine, config, cluster)


@recorded(241, 242, 246, 247)
def _certificates(
    machine: Machine, config: Configuration, cluster: Cluster, share: float
) -> Generator[Stage, None, None]:
    """Download the certificates and write the control plane's files; a refusal leaves none of them."""
    if not config.certificate_key:
        text = "One or more conditions for hosting a new control plane instance is not satisfied."
        raise kubeadm_failed("join", "preflight", text)
    yield "download-certs", share
    if why := key_refused(cluster, config.certificate_key):
        raise kubeadm_failed("join", "control-plane-prepare/download-certs", f"error downloading certs: {why}")
    yield "control-plane-prepare", 2 * share
    write_pki(machine, config=("admin.conf", "controller-manager.conf", "scheduler.conf"))
    for name in COMPONENTS:
        machine.disk.write(f"manifests/{name}.yaml", "", machine.now)


@source("K04")
def _check_etcd(machine: Machine, cluster: Cluster) -> Generator[Stage, None, None]:
    if not (yield from until(machine, "check-etcd", lambda: not cluster.etcd.unhealthy(), machine.durations.etcd_call)):
        url = cluster.etcd.unhealthy()[0].peer_url.replace(":2380", ":2379")
        text = f"etcd cluster is not healthy: failed to dial endpoint {url} with maintenance client"
        raise kubeadm_failed("join", "check-etcd", f"{text}: context deadline exceeded")


@recorded(253, 262, 263, 279)
def _learner(machine: Machine, cluster: Cluster, kubelet: Kubelet, share: float) -> Generator[Stage, None, Member]:
    """Add the member as a learner, then write etcd.yaml: between the two it is listed and has not started."""
    yield "etcd-join", share
    member = yield from _insist(machine, "etcd-join", lambda: cluster.etcd.add(kubelet))
    yield "etcd-manifest", share
    kubelet.member = member.id
    machine.disk.write("manifests/etcd.yaml", "", machine.now)
    return member


@recorded(261, 279, 283)
@source("K05")
def _promote(machine: Machine, cluster: Cluster, member: Member, share: float) -> Generator[Stage, None, None]:
    limit = machine.durations.control_plane
    yield from until(machine, "etcd-sync", lambda: cluster.etcd.up(member), limit)
    yield "etcd-promote", 2 * share
    yield from _insist(machine, "etcd-promote", lambda: cluster.etcd.promote(member))


@guess("kubeadm repeats a request to etcd for timeouts.etcdAPICall; its last words are not recorded")
def _insist(machine: Machine, stage: str, attempt: Callable[[], T]) -> Generator[Stage, None, T]:
    """Repeat a request to etcd as long as kubeadm does; what it says last is the failure."""
    deadline = machine.now + machine.durations.etcd_call
    while True:
        try:
            return attempt()
        except EtcdRefused as no:
            # That URL stays listed however often it is asked for.
            if machine.now >= deadline or "already exists" in str(no):
                raise kubeadm_failed("join", "etcd-join", f"error joining etcd: {no}") from no
        yield stage, 2.0
