"""The options of a VM's configuration: which privilege each needs, and what it may name.

What each may hold stands in `api.json`, and what does not stand there is no option. Checks come in the order of Qemu.pm,
and some of them need the value. Next: `config.py`, which applies options.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from cpcd.lab.provenance import recorded, source
from cpcd.lab.pve.auth import ROOT, allowed, check
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import denied, failed, invalid
from cpcd.lab.pve.properties import is_cdrom, is_cloudinit, is_drive, parse, parse_net, volume
from cpcd.lab.pve.schema import options
from cpcd.lab.pve.settings import Token

__all__ = [
    "CLOUDINIT", "check_bridges", "check_device", "check_hookscript", "check_options", "check_storages", "check_volume",
    "exists",
]  # fmt: skip

PRIVILEGES: Final[Mapping[str, tuple[str, ...]]] = {
    "VM.Config.CPU": ("cores", "cpu", "cpulimit", "cpuunits", "numa", "smp", "sockets", "vcpus"),
    "VM.Config.Memory": ("memory", "balloon", "shares", "allow-ksm"),
    "VM.Config.HWType": (
        "acpi", "hotplug", "kvm", "machine", "scsihw", "smbios1", "tablet", "vga", "watchdog", "audio0", "rng0",
    ),
    "VM.Config.Options": (
        "agent", "autostart", "bios", "description", "keyboard", "localtime", "migrate_downtime", "migrate_speed", "name",
        "onboot", "ostype", "protection", "reboot", "startdate", "startup", "tdf", "template",
    ),
    "VM.PowerMgmt": ("freeze",),
    "VM.Config.Disk": ("boot", "bootdisk", "vmstatestorage"),
    "VM.Config.Network": ("net",),
}  # fmt: skip
"""Privilege -> options, numbered ones by their kind, by the tables of Qemu.pm; what is in none of them is root's alone."""
BY_OPTION: Final = {name: privilege for privilege, names in PRIVILEGES.items() for name in names}
CLOUDINIT: Final = frozenset((
    "cicustom", "cipassword", "citype", "ciuser", "ciupgrade", "nameserver", "searchdomain", "sshkeys",
))  # fmt: skip
BY_VALUE: Final = re.compile(r"(?:unused|serial|usb|hostpci|virtiofs)\d+|cdrom|tags")
BY_DEVICE: Final = {
    **dict.fromkeys(("serial", "usb", "rng"), "VM.Config.HWType"),
    "virtiofs": "VM.Config.Disk",
    "tags": "VM.Config.Options",
}
SNIPPET: Final = re.compile(r"[^:]+:snippets/.+")
NEW_DISK: Final = re.compile(r"(?:([^/:\s]+):)?(\d+(?:\.\d+)?)")


@recorded(373)
@source("QemuServer.pm option_exists")
def exists(name: str) -> bool:
    """Tell whether a VM can have this option at all (`net9x` it cannot)."""
    return name in options()


@recorded(62, 252, 443, 1206)
@source("Qemu.pm check_vm_modify_config_perm")
def check_options(cluster: Cluster, token: Token, paths: tuple[str, ...], names: Iterable[str]) -> None:
    """Refuse the options that a token may not touch on any of `paths` (the pool that the VM is made in, and the VM)."""
    for name in names if token.id != ROOT else ():
        if is_drive(name) or BY_VALUE.fullmatch(name):
            continue
        if name in CLOUDINIT or name.startswith("ipconfig"):
            _need(cluster, token, paths, "VM.Config.Cloudinit", "VM.Config.Network")
        elif privilege := BY_OPTION.get(name) or BY_OPTION.get(_kind(name)):
            _need(cluster, token, paths, privilege)
            if name == "startup":
                check(cluster, token, "/", "Sys.Modify")
        else:
            raise failed(f"only root can set '{name}' config")


def _kind(name: str) -> str:
    return name.rstrip("0123456789")


@source("Qemu.pm check_usb_perm", "Qemu.pm check_hostpci_perm")
def _need(cluster: Cluster, token: Token, paths: tuple[str, ...], *any_of: str) -> None:
    """Refuse in the words of the VM's own path, whichever other path was looked at."""
    if not any(allowed(cluster, token, path, *any_of) for path in paths):
        raise denied(f"{paths[-1]}, {'|'.join(any_of)}")


@recorded(230, 931)
@source("Qemu.pm check_usb_perm", "Qemu.pm check_hostpci_perm", "Qemu.pm check_rng_perm", "Qemu.pm check_dir_perm")
def check_device(cluster: Cluster, token: Token, paths: tuple[str, ...], name: str, value: str, *, verb: str) -> None:
    """Refuse an option whose privilege depends on its value: devices of the host, directories, drives, tags."""
    if token.id == ROOT:
        return
    kind = _kind(name)
    if kind == "serial" and value != "socket":
        raise failed(f"only root can {verb} '{name}' config for real devices")
    if privilege := BY_DEVICE.get(kind):
        _need(cluster, token, paths, privilege)
    if kind in {"usb", "hostpci"}:
        _mapped(cluster, token, paths, name, parse(value, "host"))
    elif kind == "rng" and parse(value, "source").get("source") == "/dev/hwrng":
        check(cluster, token, "/mapping/hwrng", "Mapping.Use")
    elif kind == "virtiofs":
        check(cluster, token, f"/mapping/dir/{parse(value, 'dirid').get('dirid', '')}", "Mapping.Use")
    elif is_drive(name):
        _drive(cluster, token, paths, value)


@recorded(1212)
@source("Qemu.pm check_usb_perm", "Qemu.pm check_hostpci_perm")
def _mapped(cluster: Cluster, token: Token, paths: tuple[str, ...], name: str, device: Mapping[str, str]) -> None:
    """Refuse a host's own device; what the cluster has a mapping of needs the right to that mapping."""
    kind, what = ("usb", "real") if name.startswith("usb") else ("pci", "non-mapped")
    host = device.get("host", "").lower()
    if kind == "usb" and host == "spice":
        return
    if host:
        raise failed(f"only root can set '{name}' config for {what} devices")
    if "mapping" not in device:
        raise failed("either 'host' or 'mapping' must be set.")
    check(cluster, token, f"/mapping/{kind}/{device['mapping']}", "Mapping.Use")
    if kind == "pci":
        _need(cluster, token, paths, "VM.Config.HWType")


def _drive(cluster: Cluster, token: Token, paths: tuple[str, ...], value: str) -> None:
    if is_cloudinit(value):
        _need(cluster, token, paths, "VM.Config.Cloudinit")
    _need(cluster, token, paths, "VM.Config.CDROM" if is_cdrom(value) else "VM.Config.Disk")


@recorded(932, 1211)
@source("GuestHelpers.pm check_hookscript")
def check_hookscript(cluster: Cluster, node: str, changes: Mapping[str, str]) -> None:
    """Refuse a hook script that is not there, before anybody asks who may set one."""
    script = changes.get("hookscript")
    if script and not SNIPPET.fullmatch(script):
        raise invalid({"hookscript": f"'{script}' is not in the snippets directory\n"})
    if script and not cluster.volumes.find(node, script):
        raise invalid({"hookscript": f"script '{script}' does not exist\n"})


@recorded(222, 916, 1088)
@source("Qemu.pm check_storage_access", "Storage.pm check_volume_access")
def check_storages(cluster: Cluster, call: Call, changes: Mapping[str, str]) -> None:
    """Refuse storages and volumes that a token may not use, for each drive of a create or an update."""
    for name in sorted(filter(is_drive, changes)):
        value = changes[name]
        file = volume(value)
        if file == "none" or file.endswith(":cloudinit"):
            continue
        if file == "cdrom":
            check(cluster, call.token, "/", "Sys.Console")
        elif (found := NEW_DISK.fullmatch(file)) and not is_cdrom(value):
            _check_new(cluster, call, found[1] or call.params.get("storage", ""))
        else:
            check_volume(cluster, call, file)


@source("Qemu.pm check_storage_access")
def _check_new(cluster: Cluster, call: Call, storage: str) -> None:
    check(cluster, call.token, f"/storage/{storage}", "Datastore.AllocateSpace")
    if "images" not in cluster.volumes.storage(storage).content:
        raise invalid({"storage": f"storage '{storage}' does not support vm images"})


@recorded(239, 1210)
@source("Storage.pm check_volume_access")
def check_volume(cluster: Cluster, call: Call, file: str) -> None:
    """Refuse a volume of somebody else's; one's own VM's is fine, a file of a storage wants the right to look."""
    storage, _, path = file.partition(":")
    if not path:
        if call.token.id != ROOT:
            raise failed("Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.")
        return
    cluster.volumes.storage(storage)
    if allowed(cluster, call.token, f"/storage/{storage}", "Datastore.Allocate"):
        return
    owner = re.search(r"(?:^|/)(?:vm|base)-(\d+)-", path)
    if owner is None:
        check(cluster, call.token, f"/storage/{storage}", "Datastore.AllocateSpace", "Datastore.Audit")
    elif owner[1] != str(call.raw.get("vmid") or call.path.get("vmid", "")):
        check(cluster, call.token, f"/storage/{storage}", "Datastore.Audit")
        check(cluster, call.token, f"/vms/{owner[1]}", "VM.Config.Disk")


@recorded(917, 922)
@source("QemuServer.pm check_bridge_access")
def check_bridges(cluster: Cluster, token: Token, changes: Mapping[str, str]) -> None:
    """Refuse bridges that a token may not use."""
    for name in sorted(changes):
        bridge = parse_net(changes[name]).get("bridge") if re.fullmatch(r"net\d+", name) else None
        if bridge:
            check(cluster, token, f"/sdn/zones/localnetwork/{bridge}", "SDN.Use")
