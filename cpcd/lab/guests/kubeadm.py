"""What kubeadm's init and join have in common: findings, discovery, waiting, the files they write.

Phases follow recorded(156, 319); each helper is one phase or one check. Programs: `init.py`, `join.py`, `reset.py`.
"""

from collections.abc import Callable, Generator
from typing import Final

from cpcd.lab.guests.config import Configuration
from cpcd.lab.guests.failed import VerbFailed, kubeadm_failed, said
from cpcd.lab.guests.jobs import Stage
from cpcd.lab.guests.machine import KUBELET_CONFIG, Machine
from cpcd.lab.kube import Cluster, Kubelet
from cpcd.lab.kube.tokens import token_refused
from cpcd.lab.provenance import recorded, source

__all__ = ["COMPONENTS", "YEAR", "configure", "discover", "findings", "installed", "mark", "place", "refused", "serving", "start_kubelet", "supported", "until", "write_pki"]  # fmt: skip

COMPONENTS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_PKI: Final = (
    "ca", "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-ca", "front-proxy-client",
    "etcd-ca", "etcd-server", "etcd-peer", "etcd-healthcheck-client",
)  # fmt: skip
YEAR: Final = 365 * 86400.0
_PORTS: Final = {
    "6443": "kube-apiserver",
    "10259": "kube-scheduler",
    "10257": "kube-controller-manager",
    "2379": "etcd",
}
Waiting = Generator[Stage, None, bool]


def until(machine: Machine, stage: str, condition: Callable[[], bool], seconds: float) -> Waiting:
    """Wait until a condition holds, looking each second; returns whether it did in time."""
    deadline = machine.now + seconds
    while not condition():
        if machine.now >= deadline:
            return False
        yield stage, 1.0
    return True


def _ports(machine: Machine) -> list[str]:
    kubelet, lag = machine.disk.kubelet, machine.durations.kube.static_pod
    foreign = [port for port in ("10250", *_PORTS) if int(port) in machine.listening]
    if kubelet is None or kubelet.started is None:
        return foreign
    since = {port: kubelet.static_since(pod, lag) for port, pod in _PORTS.items()}
    return [*foreign, "10250", *(port for port, at in since.items() if at is not None and at <= machine.now)]


@recorded(165, 264, 397)
def _own_files(*, joins: bool, control_plane: bool) -> list[str]:
    """Return the files that must not be there; a joining control plane does not mind its CA or its manifests."""
    if not joins:
        return [f"manifests/{name}.yaml" for name in (*COMPONENTS, "etcd")]
    return ["kubelet.conf", "bootstrap-kubelet.conf", *([] if control_plane else ["pki/ca.crt"])]


@recorded(87, 109, 141, 165, 189, 264, 388, 397)
def findings(machine: Machine, *, joins: bool, control_plane: bool) -> list[str]:
    """Return what preflight finds in the way, as kubeadm names it; it depends on the moment."""
    runtime = [] if machine.containerd else ["CRI"]
    present = [*runtime, *_present(machine, joins=joins, control_plane=control_plane)]
    images = ["ImagePull"] if control_plane and not machine.registry else []  # pulled when nothing else is wrong
    return present or images


def _present(machine: Machine, *, joins: bool, control_plane: bool) -> list[str]:
    found = filter(machine.disk.has, _own_files(joins=joins, control_plane=control_plane))
    files = [f"FileAvailable--etc-kubernetes-{name.replace('/', '-')}" for name in found]
    ports = [f"Port-{port}" for port in _ports(machine) if control_plane or port == "10250"]
    kubelet = machine.disk.kubelet
    data = control_plane and kubelet is not None and (kubelet.etcd_data or "Port-2379" in ports)
    return [*files, *ports, *(["DirAvailable--var-lib-etcd"] if data else [])]


def refused(verb: str, found: list[str]) -> VerbFailed:
    """Return preflight's failure."""
    errors = "\n".join(f"\t[ERROR {name}]: in the way" for name in found)
    end = "error: error execution phase preflight: preflight checks failed"
    return said(verb, f"[preflight] Some fatal errors occurred:\n{errors}\n{end}")


@source("guest/machine.py: run_command, rc 127")
def installed(machine: Machine, verb: str) -> None:
    """Refuse to go on without kubeadm."""
    if "kubeadm" not in machine.disk.packages:
        raise said(verb, "kubeadm: No such file or directory", rc=127)


@recorded(73, 77)
def supported(machine: Machine, version: str) -> None:
    """Refuse a control plane more than one minor older than kubeadm; a newer one is only warned about."""
    kubeadm = machine.disk.packages["kubeadm"]
    own, asked = (tuple(map(int, text.split(".")[:2])) for text in (kubeadm, version or kubeadm))
    if asked < (own[0], own[1] - 1):
        least = f"the control plane version >= {own[0]}.{own[1] - 1}.0. Current version: v{version}"
        raise said("init", f"error: this version of kubeadm only supports deploying clusters with {least}")


def place(machine: Machine, manifests: dict[str, str]) -> None:
    """Write the caller's static pods."""
    for path, text in manifests.items():
        machine.disk.write(path, text, machine.now)


def configure(machine: Machine, config: Configuration, cluster: Cluster) -> Kubelet:
    """Return this machine's kubelet as configured, the one there was if it is the same cluster's."""
    disk = machine.disk
    if disk.kubelet is None or disk.cluster is not cluster:
        disk.kubelet = Kubelet(config.node, config.address or machine.address, disk.files)
    kubelet = disk.kubelet
    kubelet.node, kubelet.port, kubelet.labels = config.node, config.port, dict(config.labels)
    kubelet.serving_csr = cluster.plan.serving_csr
    kubelet.taints = [dict(taint) for taint in config.taints or ()]
    disk.cluster = cluster
    return kubelet


def start_kubelet(machine: Machine) -> None:
    """Write the kubelet's configuration and start it."""
    machine.disk.write(KUBELET_CONFIG, "", machine.now)
    machine.start_kubelet()


def write_pki(machine: Machine, *, config: tuple[str, ...]) -> None:
    """Write all certificates that are not there, and these kubeconfigs; certificates end a year later, authorities ten."""
    wall = machine.world.epoch + machine.now
    for name in _PKI:
        if not machine.disk.has(f"pki/{name}.crt"):
            machine.disk.write(f"pki/{name}.crt", "", machine.now)
        machine.disk.certificates[name] = wall + (10 * YEAR if name.endswith("ca") else YEAR)
    for name in config:
        machine.disk.write(name, "", machine.now)
        machine.disk.certificates[name] = wall + YEAR


def _unreached(machine: Machine, config: Configuration) -> str:
    """Return why cluster-info cannot be had now, empty when it can."""
    host, port = config.endpoint
    url = f"https://{host}:{port}/api/v1/namespaces/kube-public/configmaps/cluster-info?timeout=10s"
    cluster = machine.world.reach(host, port)
    if cluster is None or machine.cut:
        return f'Get "{url}": dial tcp {host}:{port}: connect: no route to host'
    if not cluster.serving():
        return f'Get "{url}": context deadline exceeded'
    known = cluster.store.objects.find("ConfigMap", "cluster-info", "kube-public")
    return "" if known else 'configmaps "cluster-info" is forbidden: User "system:anonymous" cannot get resource'


@recorded(248, 249, 250, 265, 278, 284)
@source("K01")
def discover(machine: Machine, config: Configuration) -> Generator[Stage, None, Cluster]:
    """Find the cluster that is to be joined: unreachable and unknown tokens fail only after the whole time-out."""
    deadline = machine.now + config.timeouts.get("discovery", machine.durations.discovery)
    while True:
        why = _unreached(machine, config)
        cluster = machine.world.reach(*config.endpoint)
        if why or cluster is None:
            why = f"failed to request the cluster-info ConfigMap: {why}"
        elif not (why := token_refused(cluster, config.token)):
            _check_hash(config, cluster)
            return cluster
        # A wrong token is refused at once; one that is unknown may be one that is not there yet, and is waited for.
        if machine.now >= deadline or "failed to verify" in why:
            raise _doubt(why)
        yield "discovery", 5.0


def _doubt(why: str) -> VerbFailed:
    return kubeadm_failed("join", "preflight", f"couldn't validate the identity of the API Server: {why}")


@source("kubeadm app/discovery/token: cluster CA found in cluster-info ConfigMap is invalid")
def _check_hash(config: Configuration, cluster: Cluster) -> None:
    if config.hashes and cluster.ca_hash not in config.hashes:
        keys = f'none of the public keys "{cluster.ca_hash}" are pinned'
        raise _doubt(f"cluster CA found in cluster-info ConfigMap is invalid: {keys}")


@recorded(212, 349)
def serving(machine: Machine, verb: str, phase: str, cluster: Cluster) -> Generator[Stage, None, None]:
    """Wait for the API at the cluster's endpoint as long as kubeadm does; VerbFailed(ApiTimeout) after that."""

    def answers() -> bool:
        return machine.world.reach(cluster.plan.host, cluster.plan.port) is cluster and cluster.serving()

    if not (yield from until(machine, phase, answers, machine.durations.api_call)):
        url = f"https://{cluster.plan.host}:{cluster.plan.port}/api/v1/namespaces/kube-system"
        raise kubeadm_failed(verb, phase, f'Get "{url}": context deadline exceeded')


@recorded(173)
def mark(machine: Machine, config: Configuration, cluster: Cluster) -> None:
    """Label and taint the Node as a control plane's."""
    role = "node-role.kubernetes.io/control-plane"
    node = cluster.store.objects.find("Node", config.node)
    if node is None:
        raise kubeadm_failed("init", "mark-control-plane", f'nodes "{config.node}" not found')
    labels = {
        **node["metadata"].get("labels", {}),
        role: "",
        "node.kubernetes.io/exclude-from-external-load-balancers": "",
    }
    default = [{"key": role, "effect": "NoSchedule"}]
    # A list that is empty means none; one that is not written means the default (kubeadm: NodeRegistrationOptions).
    taints = default if config.taints is None else [dict(taint) for taint in config.taints]
    present = node["spec"].get("taints", [])
    spec = {**node["spec"], "taints": present + [taint for taint in taints if taint not in present]}
    cluster.store.objects.put({**node, "metadata": {**node["metadata"], "labels": labels}, "spec": spec})
    machine.disk.certificates.setdefault("kubelet-client", machine.world.epoch + machine.now + YEAR)
