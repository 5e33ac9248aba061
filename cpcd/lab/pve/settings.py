"""What one modelled Proxmox VE installation is made of: nodes, storages, tokens, durations.

Values only, chosen once when the lab starts. Each duration names its source; a demo that wants another speed runs its
clock faster and leaves these alone. Next: `cluster.py`, which holds the state that changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ADMINISTRATOR", "AUDITOR", "PROVISIONER", "Durations", "Node", "Settings", "Storage", "Token"]

GIB = 1024**3

PROVISIONER = frozenset((
    "VM.Allocate", "VM.Audit", "VM.Clone", "VM.PowerMgmt", "VM.GuestAgent.Audit", "VM.GuestAgent.FileRead",
    "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit", "VM.Config.Disk", "VM.Config.HWType",
    "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options",
    "Datastore.AllocateSpace", "Datastore.Audit", "SDN.Use", "Pool.Audit", "Sys.Audit",
))  # fmt: skip
"""What a provisioning token needs (recorded 899, 919, 921, 923), with Sys.Audit for nodes and foreign tasks."""

ADMINISTRATOR = PROVISIONER | frozenset((
    "Datastore.Allocate", "Datastore.AllocateTemplate", "Group.Allocate", "Mapping.Audit", "Mapping.Modify",
    "Mapping.Use", "Permissions.Modify", "Pool.Allocate", "Realm.Allocate", "Realm.AllocateUser", "SDN.Allocate",
    "SDN.Audit", "Sys.AccessNetwork", "Sys.Console", "Sys.Incoming", "Sys.Modify", "Sys.PowerMgmt", "Sys.Syslog",
    "User.Modify", "VM.Backup", "VM.Console", "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted", "VM.Migrate", "VM.Replicate", "VM.Snapshot", "VM.Snapshot.Rollback",
))  # fmt: skip
"""Every privilege of Proxmox VE 9.2 (recorded 53)."""

AUDITOR = frozenset(
    (
        "Datastore.Audit",
        "Mapping.Audit",
        "Pool.Audit",
        "SDN.Audit",
        "Sys.Audit",
        "VM.Audit",
        "VM.GuestAgent.Audit",
    )
)
"""The role PVEAuditor (recorded 56)."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node; `memory` and `disk` in bytes, `cpus` is also the most vcpus that one VM may have (recorded 636)."""

    name: str
    address: str = "10.99.0.1"
    cpus: int = 16
    memory: int = 64 * GIB
    bridges: tuple[str, ...] = ("vmbr0",)
    ports: str = "eno1"  # what a bridge is attached to
    disk: int = 270_553_174_016


@dataclass(frozen=True, slots=True)
class Storage:
    """One storage definition; `total` in bytes, for each node unless `shared`. Plugins: dir, nfs, lvmthin.

    `nodes` are those that have it, all when empty; `place` is a directory's path where it is not the usual one.
    """

    name: str
    plugin: str = "dir"
    content: tuple[str, ...] = ("images", "rootdir")
    total: int = 1024 * GIB
    shared: bool = False
    nodes: tuple[str, ...] = ()
    place: str = ""

    @property
    def directory(self) -> bool:
        """Tell whether volumes are image files below the VMID's directory."""
        return self.plugin != "lvmthin"

    @property
    def path(self) -> str:
        """Where a directory storage lies on its nodes."""
        return self.place or ("/var/lib/vz" if self.name == "local" else f"/mnt/pve/{self.name}")

    def on(self, node: str) -> bool:
        """Tell whether a node has it."""
        return not self.nodes or node in self.nodes


@dataclass(frozen=True, slots=True)
class Token:
    """One API token: `id` is `user@realm!name`, `acl` maps paths to the privileges granted there (propagating).

    An id without a name is a user with a ticket (sent as `PVE:user@realm=secret`); root@pam's may do what no token may.
    """

    id: str
    secret: str
    acl: Mapping[str, frozenset[str]] = field(default_factory=lambda: {"/": ADMINISTRATOR})


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things take, in seconds of lab time."""

    spawn: float = 0.02  # a forked worker begins; two requests sent together both get a UPID (recorded 741, 742)
    cloudinit: float = 0.2  # cloud-init drive of a clone (recorded 317)
    linked: float = 0.3  # linked clone of one disk (recorded 314-316)
    imported: float = 1.0  # import of one GiB of an image (recorded 1213-1219)
    full_per_gib: float = 4.0  # 250 MiB/s, an SSD; the recording's 0.45 s (322) came out of the page cache
    template: float = 0.5  # qmtemplate (recorded 303-305)
    create: float = 0.3  # qmcreate with one empty disk (recorded 195-197)
    start: float = 1.5  # qmstart (recorded 523-525, 650)
    stop: float = 0.8  # qmstop (recorded 608-610, 722)
    reset: float = 0.2  # qmreset (recorded 578)
    resize: float = 0.3  # resize (recorded 404-406); above 10 s qemu-img times out (failures.md P04)
    configure: float = 0.1  # qmconfig (recorded 370)
    destroy: float = 0.5  # qmdestroy (recorded 345-347)
    rollback: float = 1.0  # a failed clone waits before it frees volumes (Qemu.pm; recorded 776)
    kill: float = 5.0  # a worker that ignores SIGTERM is killed (recorded 716)
    denial: float = 3.0  # every 401 (recorded 1, 44)
    seeking: float = 7.0  # pmxcfs that has just gone is sought so long (recorded 1200; 1201 later not)
    unroutable: float = 3.0  # connect to a dead node (recorded 70, 1181)
    agent: float = 3.0  # guest-ping that nobody answers (recorded 601, 652)
    unplug: float = 6.0  # hot-unplug of a network device that the guest ignores (recorded 558)
    unplug_disk: float = 17.0  # the same of a disk with a controller of its own (recorded 553)
    quorum: float = 9.9  # cfs-lock without quorum (recorded 1318)
    statistics: float = 10.0  # pvestatd's interval (pve/README.md, resources-lag)
    proxy_cache: float = 2.0  # each pveproxy worker keeps statistics so long (Cluster.pm rrd_dump)
    membership: float = 3.65  # corosync's token timeout with three nodes: 3000 ms + 650 ms (corosync.conf(5))
    boot: float = 60.0  # the node itself: onboot guests start so long after it is back


@dataclass(frozen=True, slots=True)
class Settings:
    """One installation; `epoch` is the wall-clock time (Unix seconds) at lab time 0.

    Without a `name` it is a node that is no member of a cluster. `neighbours` are names that resolve to hosts which are
    no members; `files` are images on the nodes outside of any storage, with their virtual size in bytes.
    """

    nodes: tuple[Node, ...] = (Node("pve1"), Node("pve2", "10.99.0.2"), Node("pve3", "10.99.0.3"))
    storages: tuple[Storage, ...] = (
        Storage("local", content=("images", "import", "iso", "vztmpl", "snippets", "rootdir", "backup")),
        Storage("local-lvm", plugin="lvmthin"),
    )
    tokens: tuple[Token, ...] = (
        Token("admin@pve!full", "00000000-0000-0000-0000-000000000001"),
        Token("cpcd@pve!lab", "00000000-0000-0000-0000-000000000002", {"/": PROVISIONER}),
    )
    durations: Durations = Durations()
    epoch: float = 1_795_458_975.0
    name: str = "lab"
    mac_prefix: str = "BC:24:11"
    neighbours: frozenset[str] = frozenset()
    files: Mapping[str, int] = field(default_factory=dict)
