"""The names of what can be observed, in one place; the observer reads exactly these."""

from cpcd.model.keys import Scope
from cpcd.model.ledger import Machine

__all__ = [
    "addon",
    "api",
    "attachments",
    "claims",
    "csrs",
    "endpoint",
    "etcd",
    "guest",
    "guestop",
    "inside",
    "kubeconfig",
    "lasting",
    "node",
    "nodes",
    "pods",
    "quorum",
    "resources",
    "tasks",
    "template",
    "vm",
]


def resources(site: str) -> Scope:
    """All VMs of a Proxmox as a hint: `{vmid: Resource}`."""
    return Scope("resources", site)


def quorum(site: str) -> Scope:
    """Nodes and quorum of a Proxmox: `Quorum`."""
    return Scope("quorum", site)


def claims(site: str) -> Scope:
    """Machines of cpcd on a Proxmox that have no row here: `tuple[Claim, ...]`."""
    return Scope("claims", site)


def vm(machine: Machine) -> Scope:
    """One VM, fresh: `Vm`."""
    return Scope("vm", machine.site, str(machine.vmid))


def tasks(site: str, node: str, vmid: int) -> Scope:
    """Tasks of one VMID on one node: `tuple[Task, ...]`."""
    return Scope("tasks", site, f"{node}/{vmid}")


def template(site: str, name: str) -> Scope:
    """Where a template is: `tuple[Resource, ...]` of the copies that match its reference."""
    return Scope("template", site, name)


def guest(machine: Machine) -> Scope:
    """One machine from inside: `Facts`."""
    return Scope("guest", machine.cluster, machine.uid)


def api(cluster: str) -> Scope:
    """The cluster's API at its endpoint: `Api`."""
    return Scope("api", cluster)


def endpoint(cluster: str) -> Scope:
    """Whether anything takes connections at the cluster's endpoint: `bool`."""
    return Scope("endpoint", cluster)


def nodes(cluster: str) -> Scope:
    """All Nodes: `{name: Node}`."""
    return Scope("nodes", cluster)


def node(cluster: str, name: str) -> Scope:
    """One Node, fresh: `Node`, or complete and None when it is not there."""
    return Scope("node", cluster, name)


def lasting(scope: Scope, condition: tuple[str, str, float]) -> str:
    """Since when this daemon has seen a Node's condition as it is (`View.since`), whatever clock dated it."""
    kind, status, since = condition
    return f"{scope}/{kind}={status}@{since}"


def etcd(cluster: str) -> Scope:
    """The linearizable member list: `Members`."""
    return Scope("etcd", cluster)


def pods(cluster: str, name: str) -> Scope:
    """Pods bound to a node: `tuple[Pod, ...]`; volumes attached to it: see `Pod`."""
    return Scope("pods", cluster, name)


def attachments(cluster: str, name: str) -> Scope:
    """Names of the VolumeAttachments of a node: `tuple[str, ...]`."""
    return Scope("attachments", cluster, name)


def csrs(cluster: str) -> Scope:
    """Pending kubelet-serving requests: `tuple[Csr, ...]`."""
    return Scope("csrs", cluster)


def addon(cluster: str, name: str) -> Scope:
    """An addon's objects as they are: `AddonSeen`."""
    return Scope("addon", cluster, name)


def kubeconfig(cluster: str) -> Scope:
    """The written kubeconfig and the one the control plane would give now: `KubeconfigSeen`."""
    return Scope("kubeconfig", cluster)


def inside(machine: Machine) -> Scope:
    """Why a member refused to be asked from inside when it was last due, "" when it did not: `str`."""
    return Scope("inside", machine.cluster, machine.uid)


def guestop(machine: Machine, op: str) -> Scope:
    """A long verb on a machine: `{state, boot_id, rc, output, error}` (`ports.guests.Guests.poll`)."""
    return Scope("guestop", machine.cluster, f"{machine.uid}/{op}")
