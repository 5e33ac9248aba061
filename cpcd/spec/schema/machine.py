"""`templates`, `machineDefaults` and `machine`: what a machine is made of. Words of the Proxmox provider.

An override says only what differs: `Machine.overridden_by` merges what was written, so that a default never hides a
value of `machineDefaults`.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from cpcd.spec.quantities import Bool, GiB, Int, MiB, Port, Worded, refuse
from cpcd.spec.schema.common import Finding, Model, Reference, findings, unique
from cpcd.spec.schema.proxmox import VMID, StorageName

__all__ = [
    "SSH",
    "BootVolume",
    "Disks",
    "HighAvailability",
    "Image",
    "Machine",
    "Network",
    "NetworkDevice",
    "PCIDevice",
    "Template",
    "TemplateSelector",
    "TemplateTest",
    "Volume",
]


def _known_zone(name: str) -> str:
    """Refuse a time zone that this host's database lacks; a host without a database cannot tell."""
    import zoneinfo  # most files name no zone: start-up budget

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if zoneinfo.available_timezones():
            raise refuse(f'"{name}" is no time zone', "`timedatectl list-timezones` lists them") from None
    return name


Disk = Annotated[str, Worded(r"(scsi|virtio|sata|ide)\d{1,2}", "a disk such as scsi0")]
Tag = Annotated[str, Worded(r"[a-z0-9_][a-z0-9_+.-]*", "a Proxmox tag in lower case", 124)]
User = Annotated[str, Worded(r"[a-z_][a-z0-9_-]*", "a user's name", 32)]
PublicKey = Annotated[
    str, Worded(r"(ssh-|ecdsa-|sk-)\S+ \S+( .*)?", "a public key line such as ssh-ed25519 AAAA…", 8192)
]
Zone = Annotated[
    str,
    Worded(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", "a time zone such as Europe/Warsaw", 64),
    AfterValidator(_known_zone),
]
TemplateName = Annotated[str, Worded(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", "a name such as ubuntu-24.04", 63)]


class Image(Model):
    """A cloud image from which a template is built."""

    url: str | None = None
    """Where it is downloaded from."""
    checksum: str | None = None
    """Its checksum, such as `sha256:…`."""
    file: str | None = None
    """A file on the storage, instead of a URL."""


class TemplateTest(Model):
    """How a new template proves itself."""

    boot: Bool = True
    """Boot a scratch clone before it is used."""


class Template(Model):
    """A template by name. In this release it exists already: `templateID` says which one."""

    name: TemplateName
    """Name by which machines refer to it."""
    os: Literal["ubuntu", "debian", "rocky", "suse"] = "ubuntu"
    """Family of the operating system in it, which says which tag is looked for; refused beside `templateID`."""
    template_id: VMID | None = None
    """VMID of the existing template; without it, the template tagged `cpcd-<os>` on each node."""
    image: Image | None = None
    """Cloud image to build it from."""
    storage: StorageName | None = None
    """Where it is built."""
    cpu_type: str | None = None
    """CPU type of the template."""
    packages: tuple[str, ...] = ()
    """Packages beyond the baseline of the operating system."""
    test: TemplateTest | None = None
    """How it proves itself before use."""
    keep: Int | None = None
    """How many old ones are kept."""


class TemplateSelector(Model):
    """Choose the template by its tags: the one on each node that has them all."""

    match_tags: tuple[Tag, ...] = Field(min_length=1)
    """Tags that the template must have."""
    match_policy: Literal["subset", "exact"] = "subset"
    """Whether it may have others."""


class BootVolume(Model):
    """The system disk: the template's, grown to this size."""

    disk: Disk = "scsi0"
    """Which disk of the template it is; a slot that the template lacks is refused."""
    size_gb: GiB = 40
    """Size in GiB. Disks cannot shrink: less than the template has, or than a machine has already, is refused."""


class Volume(Model):
    """A data disk."""

    disk: Disk
    """Where it is attached."""
    size_gb: GiB
    """Size in GiB."""
    storage: StorageName | None = None
    """Where it lies."""
    format: Literal["raw", "qcow2", "vmdk"] | None = None
    """Format on file storages."""
    discard: Bool = False
    """Pass discards through."""
    iothread: Bool = False
    """Use an I/O thread."""
    ssd: Bool = False
    """Present it as an SSD."""
    mount: str | None = None
    """Where it is mounted."""


class Disks(Model):
    """Disks of the machine."""

    boot_volume: BootVolume = BootVolume.model_construct()
    """The system disk."""
    additional_volumes: tuple[Volume, ...] = ()
    """Data disks; a machine that has one is never replaced or destroyed without being asked for."""


class NetworkDevice(Model):
    """A network card."""

    name: Annotated[str, Worded(r"net\d{1,2}", "a device such as net0")] = "net0"
    """Name in the VM's config."""
    bridge: Annotated[str, Worded(r"[A-Za-z][A-Za-z0-9._-]*", "a bridge such as vmbr0", 63)] = "vmbr0"
    """Bridge or virtual network that it is attached to."""
    model: Literal["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"] = "virtio"
    """Model of the card."""
    vlan: Annotated[Int, Field(ge=1, le=4094)] | None = None
    """VLAN tag."""
    mtu: Annotated[Int, Field(ge=576, le=65520)] | None = None
    """MTU; 1 in Proxmox's own config means the bridge's, which is what no value gives."""
    firewall: Bool = False
    """Apply Proxmox's firewall to it."""
    default_ipv4: Bool = Field(default=True, alias="defaultIPv4")
    """It carries the machine's address."""


def _distinct(devices: tuple[NetworkDevice, ...]) -> tuple[NetworkDevice, ...]:
    findings(unique((device.name for device in devices), "device", key="name"))
    # The static address is that of net0 (`plan/fields.py`).
    if devices and devices[0].name != "net0":
        findings([Finding((0, "name"), "the first device must be net0")])
    return devices


class Network(Model):
    """Network cards of the machine."""

    network_devices: Annotated[tuple[NetworkDevice, ...], AfterValidator(_distinct)] = Field(
        default=(NetworkDevice.model_construct(),), min_length=1
    )
    """Network cards, net0 first."""


class PCIDevice(Model):
    """A passed-through PCI device."""

    mapping: str
    """Name of the resource mapping."""
    pcie: Bool = False
    """Present it as a PCI Express device."""


class HighAvailability(Model):
    """Proxmox's own high availability."""

    enabled: Bool = False
    """Put the machine under HA."""
    state: Literal["started", "stopped", "ignored"] = "started"
    """Requested state."""


class SSH(Model):
    """How cpcd and its operator reach the machine."""

    users: tuple[User, ...] = Field(default=("ubuntu", "root"), min_length=1)
    """Users, tried in order; the first is the one cloud-init makes."""
    port: Port = 22
    """TCP port of the SSH server."""
    keys: tuple[PublicKey, ...] = ()
    """Public keys that may log in, besides cpcd's own; an edit reaches new machines only."""
    key_ref: Reference | None = None
    """Private key that cpcd uses instead of its own."""


_CHOICES: Final = {"template": "template", "template_id": "templateID", "template_selector": "templateSelector"}


class Machine(Model):
    """What a machine is made of; in an override, only what is written counts."""

    template: TemplateName | None = None
    """Name of one of `templates`; by default the only one, or the template tagged `cpcd-ubuntu`."""
    template_id: VMID | None = None
    """VMID of a template, instead of a name."""
    template_selector: TemplateSelector | None = None
    """Tags of a template, instead of a name."""
    full: Bool = True
    """Make full clones; linked ones depend on their template for ever."""
    num_sockets: Annotated[Int, Field(ge=1, le=4)] = 1
    """CPU sockets."""
    num_cores: Annotated[Int, Field(ge=1, le=512)] = 4
    """Cores a socket."""
    cpu_type: Annotated[str, Worded(r"[A-Za-z0-9_.-]+", "a CPU type such as host", 64)] = "host"
    """CPU type."""
    memory_mib: MiB = 8192
    """Memory in MiB."""
    balloon: Bool = False
    """Let Proxmox take memory back; kubelet does not expect it."""
    disks: Disks = Disks.model_construct()
    """Disks."""
    network: Network = Network.model_construct()
    """Network cards."""
    pci_devices: tuple[PCIDevice, ...] = ()
    """Passed-through PCI devices."""
    numa: Bool = False
    """Show NUMA to the guest."""
    high_availability: HighAvailability = HighAvailability.model_construct()
    """Proxmox's own high availability."""
    on_boot: Bool = True
    """Start the machine when its node starts."""
    tags: tuple[Tag, ...] = ()
    """Tags in Proxmox, for people; cpcd recognises its machines by other marks."""
    ssh: SSH = SSH.model_construct()
    """Access."""
    timezone: Zone = "Etc/UTC"
    """Time zone."""

    def overridden_by(self, other: "Machine") -> "Machine":
        """Return this machine with everything that `other` says in the file; lists are replaced, not joined."""
        base = self
        if any(getattr(other, choice) is not None for choice in other.model_fields_set & _CHOICES.keys()):
            # One way to choose replaces the other, or both would be there, which nobody wrote and which is refused.
            base = self.model_copy(update=dict.fromkeys(_CHOICES))
        merged: Machine = _merged(base, other)
        return merged

    def choices(self) -> list[str]:
        """Return the fields, in the file's words, that choose a template; one is enough."""
        return [word for attribute, word in _CHOICES.items() if getattr(self, attribute) is not None]


def _merged(base: Model, over: Model) -> Any:
    """Return a part with everything that another one says; both were checked, and no field of a part is about another."""
    said = {}
    for field in over.model_fields_set:
        old, new = getattr(base, field), getattr(over, field)
        parts = isinstance(old, Model) and isinstance(new, Model) and not isinstance(new, Reference)
        said[field] = _merged(old, new) if parts else new  # of a reference one kind replaces the other
    return base.model_copy(update=said)
