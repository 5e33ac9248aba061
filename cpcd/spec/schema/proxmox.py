"""`spec.infrastructure.proxmox`: where machines are made and what of it may be used. Words of the Proxmox provider."""

from ipaddress import IPv4Network
from typing import Annotated

from pydantic import Field

from cpcd.spec.quantities import Bool, Endpoints, Fingerprint, Int, IPv4, Label, Range, Worded
from cpcd.spec.schema.common import Model, Reference

__all__ = [
    "TLS",
    "VMID",
    "AvailabilityZone",
    "IPv4Config",
    "IPv6Config",
    "Infrastructure",
    "NodeName",
    "Proxmox",
    "Storage",
    "StorageName",
    "VMIDRange",
]  # fmt: skip

NodeName = Annotated[str, Worded(r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?", "a Proxmox node's name", 63)]
StorageName = Annotated[str, Worded(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]", "a Proxmox storage's name", 100)]
VMID = Annotated[Int, Field(ge=100, le=999_999_999)]


class TLS(Model):
    """How Proxmox proves who it is; verification is always on."""

    ca_file: Annotated[str, Worded(r"/.+", "an absolute path", 4096)] | None = None
    """CA certificates (PEM) to trust instead of the system's, such as `/etc/pve/pve-root-ca.pem` copied here."""
    fingerprint: Fingerprint | None = None
    """SHA-256 of the server's certificate, as the Proxmox page shows it; trusted whatever signed it."""


class AvailabilityZone(Model):
    """A failure domain: nodes that fail together."""

    name: Label
    """Name, which becomes the nodes' topology.kubernetes.io/zone."""
    nodes: tuple[NodeName, ...] = Field(min_length=1)
    """Proxmox nodes in it."""


class Storage(Model):
    """Storages by purpose."""

    disks: StorageName | None = None
    """Where full clones put their disks; the template's own storage when there is none. Linked clones are always on that one, and an edit moves no disk: it counts for new machines."""
    images: StorageName | None = None
    """Where cloud images are downloaded to."""


class VMIDRange(Model):
    """The VMIDs that cpcd may use, both included."""

    start: VMID
    """First VMID."""
    end: VMID
    """Last VMID."""


class IPv4Config(Model):
    """The pool of static addresses and the network that they are in."""

    addresses: tuple[Range, ...] = Field(min_length=1)
    """Ranges for machines, such as `10.10.10.110-10.10.10.139`; one more is reserved for the endpoint. A machine keeps its address when it leaves the ranges."""
    prefix: Annotated[Int, Field(ge=8, le=30)]
    """Length of the network's prefix."""
    gateway: IPv4
    """Default gateway, inside the network and outside the pool."""
    metric: Int | None = None
    """Metric of the default route."""

    @property
    def network(self) -> IPv4Network:
        """The network of the machines."""
        return IPv4Network(f"{self.gateway}/{self.prefix}", strict=False)


class IPv6Config(Model):
    """The pool of static IPv6 addresses."""

    addresses: tuple[str, ...]
    """Ranges for machines."""
    prefix: Annotated[Int, Field(ge=8, le=128)]
    """Length of the network's prefix."""
    gateway: str
    """Default gateway."""
    metric: Int | None = None
    """Metric of the default route."""


class Proxmox(Model):
    """One Proxmox VE cluster, and what of it this Kubernetes cluster may use."""

    url: Endpoints
    """One or several endpoints of the same Proxmox cluster; the next is tried when one does not answer. Their order says nothing, and all but the one that machines know it by may change: at first the first by alphabet."""
    credentials_ref: Reference
    """The API token: `user@realm!id=secret`."""
    tls: TLS = TLS.model_construct()
    """CA file or pinned fingerprint; without them the system's CAs are trusted."""
    allowed_nodes: tuple[NodeName, ...] = ()
    """Proxmox nodes that may carry machines; all when empty. An edit moves no machine: it counts for new ones."""
    availability_zones: tuple[AvailabilityZone, ...] = ()
    """Failure domains over which machines are spread; each node is one of its own when there are none. An edit moves no machine: it counts for new ones, and for the Nodes' zone labels."""
    pool: Annotated[str, Worded(r"[A-Za-z0-9_./-]+", "a Proxmox pool's name", 100)] | None = None
    """Proxmox pool that the machines are put into; it must exist."""
    storage: Storage = Storage.model_construct()
    """Storages by purpose."""
    vm_id_range: VMIDRange = VMIDRange.model_construct(start=10_000, end=19_999)
    """VMIDs for new machines. On one Proxmox a range that is written overlaps no other; clusters that write none share the default."""
    dns_servers: tuple[IPv4, ...] = Field(default=(), max_length=3)
    """Name servers of the machines; the Proxmox node's own when empty."""
    ipv4_config: IPv4Config
    """Addresses of the machines."""
    ipv6_config: IPv6Config | None = None
    """IPv6 addresses of the machines."""
    dhcp4: Bool = False
    """Take IPv4 addresses from DHCP."""


class Infrastructure(Model):
    """Where the machines are."""

    proxmox: Proxmox
    """One Proxmox VE cluster."""
