"""What a machine sees of its Proxmox configuration: processors, memory, DMI, and the cloud-init drive.

Read once at power-on. Nothing here changes; a changed configuration is another `Hardware`.
"""

import base64
import hashlib
import ipaddress
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from cpcd.lab.provenance import recorded, source

__all__ = ["Hardware", "hardware"]

_IDENTITY = ("name", "ciuser", "cipassword", "sshkeys", "nameserver", "searchdomain", "ciupgrade")


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine as configured; `address` is empty without a static one.

    `instance` is cloud-init's instance-id, empty without a cloud-init drive: then nobody tells it name, user or address.
    `upgrade`: cloud-init upgrades every package of a new instance, which is Proxmox's default.
    """

    cores: int
    memory_mib: int
    disk_gib: int
    system_uuid: str
    mac: str
    name: str
    user: str
    keys: tuple[str, ...]
    address: str
    prefix: int
    instance: str
    upgrade: bool


def _parts(value: Any) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in str(value or "").split(",") if "=" in part)


@source("Cloudinit.pm: 114, 252, 606")
def _instance(config: Mapping[str, Any]) -> str:
    """Return the instance-id: any change of what the drive says makes another instance (`failures.md` G10)."""
    network = [f"{key}={config[key]}" for key in sorted(config) if key.startswith("ipconfig")]
    said = [f"{key}={config.get(key, '')}" for key in _IDENTITY] + network
    return hashlib.sha1("\n".join(said).encode(), usedforsecurity=False).hexdigest()


@recorded(9, 176)
def _system_uuid(config: Mapping[str, Any], vmid: int) -> str:
    """Return the DMI UUID in lower case; Proxmox makes one for each VM, so that its absence is a VM made by hand."""
    parts = _parts(config.get("smbios1"))
    found = parts.get("uuid", "")
    if parts.get("base64") == "1" and "-" not in found:
        found = base64.b64decode(found).decode()
    return found.lower() or str(uuid.uuid5(uuid.NAMESPACE_OID, str(vmid)))


def _disk_gib(config: Mapping[str, Any]) -> int:
    order = _parts(config.get("boot")).get("order", "scsi0").split(";")
    size = _parts(config.get(order[0])).get("size", "10G")
    units = {"G": 1.0, "T": 1024.0, "M": 1 / 1024}
    return int(float(size[:-1]) * units.get(size[-1], 1.0))


@source("P35")
def _has_drive(config: Mapping[str, Any]) -> bool:
    return any("cloudinit" in str(value) for name, value in config.items() if name.startswith(("ide", "sata", "scsi")))


def _static(told: Mapping[str, Any]) -> tuple[str, int]:
    """Return the address that cloud-init is told, and the length of its prefix; neither where it is to ask DHCP."""
    said = _parts(told.get("ipconfig0")).get("ip", "")
    if said in {"", "dhcp"}:
        return "", 0
    address = ipaddress.ip_interface(said)
    return str(address.ip), address.network.prefixlen


def hardware(config: Mapping[str, Any], vmid: int) -> Hardware:
    """Return what a machine sees of the configuration it was started with."""
    # What the configuration says reaches the machine by the drive alone (P35).
    told = config if _has_drive(config) else {}
    address, prefix = _static(told)
    # Proxmox gives a VM 512 MiB where nothing is said.
    memory = str(config.get("memory", 512)).removeprefix("current=")
    keys = unquote(str(told.get("sshkeys", ""))).splitlines()
    net = _parts(config.get("net0"))
    return Hardware(
        cores=int(config.get("cores", 1)) * int(config.get("sockets", 1)),
        memory_mib=int(memory),
        disk_gib=_disk_gib(config),
        system_uuid=_system_uuid(config, vmid),
        mac=next((value for value in net.values() if len(value.split(":")) == 6), "").lower(),
        name=str(config.get("name") or f"VM{vmid}"),
        user=str(told.get("ciuser", "")),
        keys=tuple(key.strip() for key in keys if key.strip()),
        address=address,
        prefix=prefix,
        instance=_instance(told) if told else "",
        upgrade=bool(told) and str(told.get("ciupgrade", "1")) == "1",
    )
