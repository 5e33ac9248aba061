"""What is wanted: the compiled spec, every default filled in, nothing optional left to guess.

`spec/compile.py` makes these values from the file; planners read them. They hold references to secrets, never
secrets. Field names follow `cluster.yaml` in snake case.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

from cpcd.model.keys import Map, Role

__all__ = [
    "Addon",
    "Blast",
    "Cluster",
    "Consent",
    "Desired",
    "Endpoint",
    "Group",
    "Health",
    "Infrastructure",
    "MachineSpec",
    "ProxmoxSite",
    "Remedy",
    "Retry",
    "Risk",
    "SecretRef",
    "Taint",
    "TemplateRef",
    "Timeouts",
    "Unhealthy",
]


class Risk(StrEnum):
    """Class of a change, as in `changePolicy`; ordered by how much it disturbs."""

    IN_PLACE = "InPlace"
    REBOOT = "Reboot"
    REPLACE = "Replace"
    DESTROY = "Destroy"


class Consent(StrEnum):
    """What `changePolicy` says of a class."""

    AUTO = "Auto"
    APPROVE = "Approve"
    NEVER = "Never"


class Remedy(StrEnum):
    """Rungs of `healthCheck.remediation.ladder`, softest first."""

    START = "Start"
    RESET = "Reset"
    REJOIN = "Rejoin"
    REPLACE = "Replace"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is kept: kind is `file`, `systemdCredential` or `env`."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ProxmoxSite:
    """One Proxmox VE cluster: `name` is the host of its first URL and scopes everything that lives there."""

    name: str
    urls: tuple[str, ...]
    credentials: SecretRef
    ca_file: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """What one cluster may use of its Proxmox site; `addresses` is the expanded pool, `zones` name -> nodes."""

    site: str
    allowed_nodes: tuple[str, ...]
    zones: Map[str, tuple[str, ...]]
    pool: str
    disk_storage: str
    vmid_start: int
    vmid_end: int
    dns_servers: tuple[str, ...]
    addresses: tuple[str, ...]
    prefix: int
    gateway: str


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """An existing template: by `vmid`, or the one template on each node that has all `tags`."""

    name: str
    vmid: int | None = None
    tags: tuple[str, ...] = ()

    def means(self, vmid: int, tags: Collection[str]) -> bool:
        """Whether a template with this VMID and these tags is the one."""
        return vmid == self.vmid or (bool(self.tags) and set(self.tags) <= set(tags))


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """One machine's effective configuration; memory in MiB, disk in GiB."""

    template: TemplateRef
    full: bool
    sockets: int
    cores: int
    cpu_type: str
    memory_mib: int
    balloon: bool
    boot_disk: str
    boot_disk_gb: int
    bridge: str
    nic_model: str
    vlan: int | None
    mtu: int | None
    firewall: bool
    on_boot: bool
    tags: tuple[str, ...]
    ssh_users: tuple[str, ...]
    ssh_port: int
    ssh_keys: tuple[str, ...]
    timezone: str


@dataclass(frozen=True, slots=True)
class Taint:
    """A node taint."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Group:
    """The control plane (name `control-plane`) or one machine deployment; times in seconds."""

    name: str
    role: Role
    replicas: int
    machine: MachineSpec
    labels: Map[str, str] = field(default_factory=dict)
    annotations: Map[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    max_surge: int = 1
    max_unavailable: int = 0
    in_place: str = "Preferred"
    failure_domain: str = ""
    deletion_order: str = "Newest"
    drain_timeout: float = 600
    detach_timeout: float = 300


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the cluster's API is reached; provider is `kube-vip` or `external`."""

    host: str
    port: int
    provider: str


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """A node condition that counts as unhealthy after `timeout` seconds."""

    type: str
    status: str
    timeout: float


@dataclass(frozen=True, slots=True)
class Health:
    """`healthCheck`; `limit` is the share (0..1) of machines unhealthy up to which remediation runs."""

    conditions: tuple[Unhealthy, ...]
    startup_timeout: float
    ladder: tuple[Remedy, ...]
    limit: float
    max_in_flight: int
    max_retry: int

    @property
    def patience(self) -> float:
        """Seconds that a remedy is given: as long as the sickness itself was."""
        return min((rule.timeout for rule in self.conditions), default=300.0)


@dataclass(frozen=True, slots=True)
class Blast:
    """`blastRadius`; only Destroy counts against the two destroy limits."""

    max_unavailable: int
    max_destroys_per_hour: int
    max_destroy_percent: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Backoff of one class of operation, seconds."""

    base: float = 2.0
    multiplier: float = 2.0
    max: float = 60.0
    degraded_after: int = 3


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of long operations in seconds; past one a silent machine may be reset, nothing is destroyed for it."""

    command: float = 300
    network: float = 30
    ansible: float = 1800
    kubernetes: float = 120
    clone: float = 1800
    start: float = 1800
    bootstrap: float = 1800


@dataclass(frozen=True, slots=True)
class Addon:
    """Manifests to be kept applied; `objects` are the parsed documents in file order."""

    name: str
    mode: str
    objects: tuple[Mapping[str, Any], ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster as it is wanted."""

    name: str
    version: str
    paused: bool
    deletion_protection: bool
    deletion_policy: str
    endpoint: Endpoint
    pods: str
    services: str
    service_domain: str
    domain: str
    hostname: str
    infrastructure: Infrastructure
    groups: tuple[Group, ...]
    health: Health
    approve_csr: bool
    extra_sans: tuple[str, ...]
    kubeconfig_context: str
    addons: tuple[Addon, ...]
    change_policy: Map[Risk, Consent]
    blast: Blast
    retry: Map[str, Retry]
    timeouts: Timeouts
    addon_failure: str = "Warn"
    kubeadm: Map[str, Any] = field(default_factory=dict)
    """What is added to kubeadm's ClusterConfiguration."""
    patches: Map[str, Any] = field(default_factory=dict)
    """Strategic merge patches that kubeadm applies on control planes, by target."""

    @property
    def additions(self) -> dict[str, str]:
        """Digests of what kubeadm is told more, by the file's words: the values may hold secrets."""
        parts = {"clusterConfiguration": self.kubeadm, "patches": self.patches}
        return {
            f"controlPlane.kubeadmConfigSpec.{part}.{name}": sha256(
                json.dumps(value, sort_keys=True).encode()
            ).hexdigest()[:12]
            for part, values in parts.items()
            for name, value in values.items()
        }

    def group(self, name: str) -> Group | None:
        """Return the group of that name, None when the file no longer has it."""
        return next((group for group in self.groups if group.name == name), None)


@dataclass(frozen=True, slots=True)
class Desired:
    """The whole spec in force; `generation` is its digest."""

    clusters: Map[str, Cluster] = field(default_factory=dict)
    sites: Map[str, ProxmoxSite] = field(default_factory=dict)
    generation: str = ""
