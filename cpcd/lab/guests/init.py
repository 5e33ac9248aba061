"""`kubeadm init` as a program: the phases in their order, so that a kill between any two leaves what it really leaves.

Repeated over what an own init left, it keeps CA and data and finishes (recorded 177, 187, 188).
"""

from collections.abc import Generator
from typing import Any

from cpcd.guest.kubeadm import UPLOADED
from cpcd.lab.guests.config import Configuration, parse
from cpcd.lab.guests.failed import kubeadm_failed
from cpcd.lab.guests.jobs import Program, Stage
from cpcd.lab.guests.kubeadm import (
    COMPONENTS,
    configure,
    findings,
    installed,
    mark,
    place,
    refused,
    serving,
    start_kubelet,
    supported,
    until,
    write_pki,
)  # fmt: skip
from cpcd.lab.guests.machine import Machine
from cpcd.lab.kube import Cluster
from cpcd.lab.kube.seed import addons, bound, cluster_info, configured
from cpcd.lab.kube.tokens import mint
from cpcd.lab.provenance import recorded, source

__all__ = ["init"]

_WHOLE = 65.0  # what the stages below add up to on an unloaded host, waits included
_DAY = 86400.0
_KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf")


@recorded(147, 156, 165, 177, 185, 187, 210)
def init(machine: Machine, given: dict[str, Any]) -> Program:
    """Make the first control plane; output `{ca_hash, voters, config_maps}`."""
    installed(machine, "init")
    share = machine.durations.init / _WHOLE
    config, manifests = parse("init", given["config"]), given.get("manifests") or {}
    assert config.plan is not None, "an InitConfiguration has a plan"
    supported(machine, config.plan.version)
    place(machine, manifests)
    yield "preflight", 3 * share
    found = findings(machine, joins=False, control_plane=True)
    if found and not _half_made(machine):
        raise refused("init", found)
    cluster = yield from _files(machine, config, share)
    yield "kubelet-start", 3 * share
    start_kubelet(machine)
    yield from _wait(machine, config, cluster)
    yield from _finish(machine, config, cluster, share)
    # By now the binding of admin.conf is made, and the stronger file is no longer needed (K07, ADR 0007).
    place(machine, {path: text.replace("super-admin.conf", "admin.conf") for path, text in manifests.items()})
    voters = [member for member in cluster.etcd.listed() if not member.learner]
    return {"ca_hash": cluster.ca_hash, "voters": len(voters), "config_maps": _uploaded(cluster)}


@source("guest/kubeadm.py: uploaded")
def _uploaded(cluster: Cluster) -> list[str]:
    find = cluster.store.objects.find
    return [name for space, name in UPLOADED if find("ConfigMap", name, space) is not None]


@source("guest/kubeadm.py: half_made")
def _half_made(machine: Machine) -> bool:
    """Tell whether earlier inits of ours, and nothing else, left the traces: only then findings are ignored."""
    begun = [op.verb for op in machine.disk.ops.values()]
    traces = [*(f"manifests/{name}.yaml" for name in (*COMPONENTS, "etcd")), "admin.conf", "kubelet.conf"]
    kubelet = machine.disk.kubelet
    left = any(map(machine.disk.has, traces)) or (kubelet is not None and kubelet.etcd_data)
    return begun.count("init") > 1 and "join" not in begun and left


@recorded(147, 153, 156)
def _files(machine: Machine, config: Configuration, share: float) -> Generator[Stage, None, Cluster]:
    """Write PKI, kubeconfigs and manifests; a CA that is there is kept, half a PKI is completed."""
    assert config.plan is not None, "an InitConfiguration has a plan"
    cluster = machine.disk.cluster or machine.world.new_cluster(config.plan)
    cluster.plan = config.plan
    kubelet = configure(machine, config, cluster)
    machine.disk.write("pki/ca.crt", "", machine.now)
    yield "certs", 2 * share
    _certified(machine, config)
    write_pki(machine, config=())
    yield "kubeconfig", share
    write_pki(machine, config=_KUBECONFIGS)
    yield "etcd", share
    # A repeated init goes on with the member that the first one made (recorded [187]).
    if kubelet.member is None:
        kubelet.member = cluster.etcd.found(kubelet).id
    _manifests(machine, "etcd")
    yield "control-plane", share
    _manifests(machine, *COMPONENTS)
    return cluster


@source("kubeadm app/phases/certs: validateCertificateWithConfig")
def _certified(machine: Machine, config: Configuration) -> None:
    """Refuse a certificate of an earlier init that lacks a name of this configuration; make one where there is none."""
    path = "/etc/kubernetes/pki/apiserver.crt"
    kept = machine.disk.files.get(path)
    names = kept.text.split() if kept is not None else list(config.sans)
    if lacking := [name for name in config.sans if name not in names]:
        x509 = f"x509: certificate is valid for {', '.join(names)}, not {lacking[0]}"
        text = f'failed to write or validate certificate "apiserver": certificate apiserver is invalid: {x509}'
        raise kubeadm_failed("init", "certs/apiserver", text)
    machine.disk.write(path, " ".join(names), machine.now)


def _manifests(machine: Machine, *names: str) -> None:
    """Write manifests; one that is there is the same, so that its pod goes on."""
    for name in names:
        if not machine.disk.manifest(name):
            machine.disk.write(f"manifests/{name}.yaml", "", machine.now)


@source("K03", "K07", "K15")
def _wait(machine: Machine, config: Configuration, cluster: Cluster) -> Generator[Stage, None, None]:
    """Wait for the local API server, then for the endpoint: kube-vip must be able to take the address before RBAC."""
    kubelet, limit = machine.disk.kubelet, config.timeouts.get("controlPlaneComponentHealthCheck")
    assert kubelet is not None, "kubelet-start comes first"
    seconds = limit or machine.durations.control_plane
    if not (yield from until(machine, "wait-control-plane", lambda: cluster.readyz(kubelet) == 200, seconds)):
        text = (
            "The kubelet is not running or a control plane component is unhealthy: timed out waiting for the condition"
        )
        raise kubeadm_failed("init", "wait-control-plane", text)
    yield from serving(machine, "init", "upload-config/kubeadm", cluster)


@recorded(173, 185, 212)
def _finish(machine: Machine, config: Configuration, cluster: Cluster, share: float) -> Generator[Stage, None, None]:
    """Do what needs the API; a kill in here leaves some of the evidence of a finished init, never all."""
    objects = cluster.store.objects
    yield "upload-config", 4 * share
    yield from serving(machine, "init", "upload-config", cluster)
    bound(objects)
    configured(objects, config.cluster)
    yield "mark-control-plane", 3 * share
    yield from serving(machine, "init", "mark-control-plane", cluster)
    yield from until(machine, "mark-control-plane", lambda: objects.find("Node", config.node) is not None, 60)
    mark(machine, config, cluster)
    yield "bootstrap-token", 4 * share
    yield from serving(machine, "init", "bootstrap-token", cluster)
    mint(cluster, _DAY)
    cluster_info(objects, cluster.plan.host)
    yield "addon", 9 * share
    yield from serving(machine, "init", "addon/coredns", cluster)
    addons(objects, f"v{cluster.plan.version}")
