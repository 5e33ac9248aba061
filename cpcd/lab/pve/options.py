"""The options of a VM's configuration: what each may hold, which privilege it needs, when it takes effect.

One table, read by create, update and permission checks alike. An option that is not in it is unknown, as in the real
schema. Next: `config.py`, which applies them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve import schema as kinds
from cpcd.lab.pve.auth import ROOT, allowed, check
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import denied, failed, invalid
from cpcd.lab.pve.properties import is_cdrom, is_drive, parse_net
from cpcd.lab.pve.schema import Kind
from cpcd.lab.pve.settings import Token

__all__ = [
    "CONFIG_PRIVILEGES",
    "DISKS",
    "Option",
    "check_hookscript",
    "check_options",
    "check_resources",
    "hotpluggable",
    "live",
    "look_up",
]

CONFIG_PRIVILEGES = (
    "VM.Config.Disk", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.HWType",
    "VM.Config.Options", "VM.Config.Cloudinit",
)  # fmt: skip
DISKS = (
    *(f"ide{n}" for n in range(4)), *(f"scsi{n}" for n in range(31)), *(f"virtio{n}" for n in range(16)),
    *(f"sata{n}" for n in range(6)), "efidisk0", "tpmstate0",
)  # fmt: skip
CPU, MEMORY, HARDWARE, GENERAL = "VM.Config.CPU", "VM.Config.Memory", "VM.Config.HWType", "VM.Config.Options"
DISK, NETWORK = "VM.Config.Disk", "VM.Config.Network"
CLOUDINIT = ("VM.Config.Cloudinit", NETWORK)
SYSTEMS = (
    "other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24", "l26", "solaris",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Option:
    """One option; no privilege means root@pam with a ticket only (recorded 252, 443, 1206)."""

    kind: Kind
    privileges: tuple[str, ...] = ()
    live: bool = False  # takes effect on a running VM without the guest
    unless: str = ""  # what root's privilege is not needed for


def _options(privilege: str | tuple[str, ...], *, live: bool = False, **options: Kind) -> dict[str, Option]:
    needed = (privilege,) if isinstance(privilege, str) else privilege
    return {name: Option(kind, needed, live) for name, kind in options.items()}


text, flag, whole = kinds.string(), kinds.boolean, kinds.integer
OPTIONS: dict[str, Option] = (
    _options(CPU, cores=whole(1), sockets=whole(1), vcpus=whole(1), cpu=kinds.cpu_model, numa=flag, smp=whole(1))
    | _options(CPU, live=True, cpulimit=kinds.number, cpuunits=whole(1, 262_144))
    | _options(MEMORY, memory=kinds.memory, balloon=whole(0))
    | _options(MEMORY, live=True, shares=whole(0, 50_000))
    | _options(HARDWARE, acpi=flag, hotplug=text, kvm=flag, machine=text, smbios1=kinds.string(512), tablet=flag, vga=text)
    | _options(HARDWARE, watchdog=text, audio0=text)
    | _options(HARDWARE, scsihw=kinds.enum("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"))
    | _options(GENERAL, agent=text, bios=kinds.enum("seabios", "ovmf"), localtime=flag, template=flag)
    | _options(GENERAL, ostype=kinds.enum(*SYSTEMS), autostart=flag, reboot=flag, tdf=flag, keyboard=text, startdate=text)
    | _options(GENERAL, live=True, migrate_speed=whole(0), migrate_downtime=kinds.number)
    | _options("VM.PowerMgmt", freeze=flag)
    | _options(GENERAL, live=True, description=kinds.string(8192), name=kinds.dns_name, onboot=flag, protection=flag)
    | _options(GENERAL, live=True, startup=text, tags=kinds.tags)
    | _options(DISK, boot=text, bootdisk=text, vmstatestorage=text)
    | _options(CLOUDINIT, ciuser=text, cipassword=text, cicustom=text, citype=text, ciupgrade=flag)
    | _options(CLOUDINIT, nameserver=text, searchdomain=text, sshkeys=kinds.urlencoded)
    | {name: Option(text) for name in ("args", "hookscript", "affinity", "vmgenid", "rng0", "ivshmem", "amd-sev")}
    | {name: Option(text) for name in ("arch", "hugepages", "intel-tdx", "spice_enhancements")}
    | {name: Option(flag) for name in ("allow-ksm", "keephugepages")}
    | {"lock": Option(kinds.enum(
        "backup", "clone", "create", "migrate", "rollback", "snapshot", "snapshot-delete", "suspending", "suspended"
    ))}
)  # fmt: skip
FAMILIES: dict[str, tuple[int, Option]] = {
    "net": (32, Option(kinds.net, (NETWORK,))),
    "ipconfig": (32, Option(kinds.ipconfig, CLOUDINIT)),
    "unused": (256, Option(text, (DISK,), live=True)),
    "serial": (4, Option(kinds.pattern("/dev/[^,]+|socket"), (HARDWARE,))),
    "usb": (14, Option(text, unless=" for real devices")),
    "hostpci": (16, Option(text, unless=" for non-mapped devices")),
    "numa": (8, Option(text, (CPU,))),
    "parallel": (3, Option(text)),
    "virtiofs": (10, Option(text)),
}
SNIPPET = re.compile(r"[^:]+:snippets/.+")
DRIVE = Option(kinds.drive, (DISK,))


@schema("/nodes/{node}/qemu/{vmid}/config")
@recorded(214)
def look_up(name: str) -> Option | None:
    """Return an option by its name, None for what the schema does not know (`net9x`)."""
    if is_drive(name):
        return DRIVE
    if match := re.fullmatch(r"([a-z]+)(0|[1-9]\d*)", name):
        count, option = FAMILIES.get(match[1], (0, DRIVE))
        if int(match[2]) < count:
            return option
    return OPTIONS.get(name)


@recorded(545, 546)
@source("QemuServer.pm vmconfig_hotplug_pending")
def live(name: str) -> bool:
    """Tell whether a change of this option takes effect at once on a running VM."""
    option = look_up(name)
    return option is not None and option.live


@recorded(537, 547, 551, 558)
@source("QemuServer.pm vmconfig_hotplug_pending")
def hotpluggable(name: str, features: str) -> bool:
    """Tell whether Proxmox tries to hot-plug this option under a VM's `hotplug` option."""
    wanted = set(features.split(",")) if features != "1" else {"network", "disk", "usb"}
    if name.startswith("net"):
        return "network" in wanted
    if is_drive(name):
        return "disk" in wanted and not name.startswith(("ide", "efidisk", "tpmstate"))
    if name in {"vcpus", "cores"}:
        return "cpu" in wanted
    return name == "memory" and "memory" in wanted


@recorded(62, 252, 443, 916, 1206)
def check_options(cluster: Cluster, token: Token, paths: tuple[str, ...], changes: dict[str, str]) -> None:
    """Refuse the options that a token may not set on any of `paths` (the VM, or the pool that it is made in)."""
    for name, value in changes.items():
        option = look_up(name)
        assert option is not None, name
        if not option.privileges and token.id != ROOT:
            raise failed(f"only root can set '{name}' config{option.unless}")
        needed = ("VM.Config.CDROM",) if is_drive(name) and is_cdrom(value) else option.privileges
        if needed and not any(allowed(cluster, token, path, *needed) for path in paths):
            raise denied(f"{paths[0]}, {'|'.join(needed)}")


@recorded(932, 1211)
def check_hookscript(cluster: Cluster, node: str, changes: Mapping[str, str]) -> None:
    """Refuse a hook script that is not there, before anybody asks who may set one."""
    script = changes.get("hookscript")
    if script and not (SNIPPET.fullmatch(script) and cluster.volumes.find(node, script)):
        raise invalid({"hookscript": f"script '{script}' does not exist\n"})


@recorded(916, 917, 920, 922)
def check_resources(cluster: Cluster, call: Call, config: dict[str, str]) -> None:
    """Refuse storages and bridges that a token may not use, in the order that a clone checks them."""
    for name in sorted(config):
        storage = config[name].partition(":")[0]
        if is_drive(name) and storage not in {"none", "cdrom"}:
            cluster.volumes.storage(storage)
            check(cluster, call.token, f"/storage/{storage}", "Datastore.AllocateSpace")
    for name in sorted(config):
        if name.startswith("net"):
            bridge = parse_net(config[name]).get("bridge", "")
            check(cluster, call.token, f"/sdn/zones/localnetwork/{bridge}", "SDN.Use")
