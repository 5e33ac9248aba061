"""What is seen: observations as values, where unknown is a value too.

`sources/observer.py` makes them from what Proxmox, Kubernetes and guests answer; planners compare them with
`desired`. They hold only decision-relevant fields (no uptime, no heartbeat), so that equal means no work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from cpcd.model.errors import Code
from cpcd.model.keys import Instant, Uid, system_uuid

__all__ = [
    "AddonSeen",
    "Api",
    "Asked",
    "Claim",
    "Csr",
    "Facts",
    "Member",
    "Members",
    "Node",
    "Pod",
    "Quorum",
    "Reference",
    "Resource",
    "Seen",
    "Task",
    "Vm",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """An observation of one scope: `complete` False means unknown, and `why` says why.

    `code` is the failure's, where there was one.

    `began` is when the read began: evidence from before a write proves nothing about it. `took` is how many seconds it
    lasted.
    """

    value: T | None
    began: Instant
    complete: bool
    why: str = ""
    code: Code | None = None
    took: float = field(default=0.0, compare=False)

    @property
    def refused(self) -> bool:
        """Whether somebody is there, and one of the two does not trust the other (a login, a host key)."""
        return self.code is Code.AUTH

    @property
    def known(self) -> T | None:
        """The value when complete, else None."""
        return self.value if self.complete else None


@dataclass(frozen=True, slots=True)
class Resource:
    """One row of `/cluster/resources?type=vm`: a hint, up to 10 s old."""

    vmid: int
    node: str
    name: str
    status: str
    template: bool
    tags: tuple[str, ...]
    lock: str
    disks: tuple[tuple[str, str], ...] = ()  # of a template: slot and property string
    shared: bool = False  # of a template: every disk is on storage that all nodes share
    cloudinit: bool = True  # of a template: it has a cloud-init drive


@dataclass(frozen=True, slots=True)
class Quorum:
    """`/cluster/status`: nodes online and whether writes are possible; `whole` when it lists all that it counts."""

    quorate: bool
    online: frozenset[str]
    offline: frozenset[str]
    whole: bool = False

    def removed(self, node: str) -> bool:
        """Return whether a node is proved to be in the Proxmox cluster no more.

        That it is not listed is not enough: who has lost its cluster's configuration lists itself alone.
        """
        return self.quorate and self.whole and node not in self.online | self.offline

    def away(self, node: str) -> str:
        """Return how a node is known to be out of reach: offline, or removed; "" when it is not known to be."""
        if node in self.offline:
            return "offline"
        return "no longer in the Proxmox cluster" if self.removed(node) else ""


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM, read fresh: `exists` False only when proved absent (`failures.md` P05, recorded: wrong-node reads)."""

    exists: bool
    node: str = ""
    status: str = ""
    lock: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    host_key: str = ""

    @property
    def off(self) -> bool:
        """Nothing runs: it is stopped, or is not there at all."""
        return self.status == "stopped" or not self.exists


@dataclass(frozen=True, slots=True)
class Claim:
    """A VM with a machine's mark that no row of this ledger knows: `config` is as it was when first seen."""

    installation: str
    cluster: str
    uid: Uid
    node: str
    vmid: int
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One Proxmox task; `exit` is empty while it runs. `made` is the VMID that a qmclone's log names, 0 unknown."""

    upid: str
    type: str
    vmid: int
    exit: str
    made: int = 0

    @property
    def ok(self) -> bool:
        """`OK` or `WARNINGS: n` (`failures.md` P09)."""
        return self.exit == "OK" or self.exit.startswith("WARNINGS:")


@dataclass(frozen=True, slots=True)
class Facts:
    """What of one SSH round trip (`guest/facts.py`) decides something.

    `root` is the size of the root file system and `root_disk` that of the disk below it, in bytes; 0 is unknown.
    """

    hostname: str
    clock_skew: float
    cloud_init: str
    prepared: str
    admin_conf: bool
    kubelet_conf: bool
    etcd_data: bool
    manifests: tuple[str, ...]
    readyz: int
    machine_id: str = ""
    boot_id: str = ""
    root: int = 0
    root_disk: int = 0
    ca_hash: str = ""
    certificates: Mapping[str, float] = field(default_factory=dict)

    @property
    def untouched(self) -> bool:
        """No trace of kubeadm: `init` and `join` may begin without a reset."""
        return not (self.admin_conf or self.kubelet_conf or self.etcd_data or self.manifests)


@dataclass(frozen=True, slots=True)
class Node:
    """A Kubernetes Node; `since` is the wall time of the Ready condition's last transition.

    `networked` is False while its kubelet says that no CNI is there yet (recorded [219]).
    """

    name: str
    uid: str
    system_uuid: str
    ready: str
    since: float
    unschedulable: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...]
    version: str
    boot_id: str = ""
    conditions: tuple[tuple[str, str, float], ...] = ()
    resource_version: str = field(default="", compare=False)  # heartbeats move it: never news
    networked: bool = True

    @property
    def said(self) -> tuple[tuple[str, str, float], ...]:
        """All conditions, Ready among them: type, status and last transition."""
        return (*self.conditions, ("Ready", self.ready, self.since))

    def of(self, uid: Uid) -> bool:
        """Return whether it is that machine's, whatever its name: the SMBIOS UUID tells."""
        return self.system_uuid.lower() == system_uuid(uid)


@dataclass(frozen=True, slots=True)
class Member:
    """An etcd member; `id` is decimal text (uint64, over 2^53 in JSON)."""

    id: str
    name: str
    peer: str
    learner: bool
    started: bool
    healthy: bool


@dataclass(frozen=True, slots=True)
class Members:
    """A linearizable member list, from one healthy peer."""

    members: tuple[Member, ...]
    leader: str

    def at(self, address: str) -> Member | None:
        """Return the member of a machine, by peer URL: one that has not started has no name (recorded [253])."""
        return next((m for m in self.members if f"//{address}:" in m.peer), None)

    @property
    def voters(self) -> tuple[Member, ...]:
        """Members that count for quorum."""
        return tuple(m for m in self.members if not m.learner)


@dataclass(frozen=True, slots=True)
class Api:
    """The cluster's API at its endpoint."""

    ready: bool
    version: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that a drain has to think about."""

    namespace: str
    name: str
    uid: str
    node: str
    daemon: bool
    mirror: bool
    finished: bool
    deleting: bool


class Asked(NamedTuple):
    """What a request for a serving certificate asks for: the subject's common name, DNS names and addresses."""

    subject: str
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Csr:
    """A pending kubelet-serving CertificateSigningRequest, its request decoded; `trouble` says why it could not be."""

    name: str
    username: str
    usages: tuple[str, ...]
    subject: str = ""
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def node(self) -> str:
        """The Node that asks, "" when it is somebody else."""
        before, _, name = self.username.partition("system:node:")
        return "" if before else name


Reference = tuple[str, str, str, str, str]
"""An object at the API: apiVersion, kind, namespace (or empty), name, uid."""


@dataclass(frozen=True, slots=True)
class AddonSeen:
    """An addon's objects as they are, by what is to be done with them, and its ApplySet's parent.

    Objects of the file go by `applyset.ref`, in the namespaces where the API keeps them: `placed` names those (empty:
    none) for references in the file that say otherwise. `doubled` are those, as people read them, that stand in an
    addon before it, or in itself, already, with that addon's name. Of the members that are not in the file, `leaving`
    are being deleted, `surplus` are not.
    """

    missing: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    surplus: tuple[Reference, ...] = ()
    leaving: tuple[Reference, ...] = ()
    placed: tuple[tuple[str, str], ...] = ()
    doubled: tuple[tuple[str, str], ...] = ()
    parent: Reference | None = None
