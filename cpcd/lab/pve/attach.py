"""Volumes for new drives: allocated, imported, or one that is there.

An import copies and takes its time, so that `attaching` is a worker's generator; `attach` is the same for calls that
answer when all is done. Sources that may not be imported are refused before a worker is forked. Next: `copying.py`.
"""

import re
from collections.abc import Generator, Mapping

from cpcd.lab.provenance import recorded, source
from cpcd.lab.pve.auth import check
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.copying import convert, formatting, log_allocation, transfer
from cpcd.lab.pve.errors import failed, invalid
from cpcd.lab.pve.options import check_volume
from cpcd.lab.pve.properties import is_cloudinit, is_drive, print_drive, print_size, volume
from cpcd.lab.pve.schema import members
from cpcd.lab.pve.tasks import Interrupted, Step, Worker
from cpcd.lab.pve.vm import Vm
from cpcd.lab.pve.volumes import Volume

__all__ = ["attach", "attaching", "check_drives"]

Making = Generator[Step, bool, str]
CLOUDINIT_SIZE = 4 * 1024**2
EFI_VARS = {"2m": 128 * 1024, "4m": 528 * 1024}  # OVMF_VARS.fd, OVMF_VARS_4M.fd
TPM_STATE = 4 * 1024**2  # Drive.pm TPMSTATE_DISK_SIZE
NEW = re.compile(r"([^:]+):(\d+(?:\.\d+)?|cloudinit)")
GIB = 1024**3


def attach(cluster: Cluster, vm: Vm, name: str, value: str) -> str:
    """Return the drive string to store, all copying done."""
    steps = attaching(cluster, vm, name, value, log=[])
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return str(done.value)


@recorded(195, 198, 226, 286, 387, 1052, 1074, 1079)
def attaching(cluster: Cluster, vm: Vm, name: str, value: str, *, log: list[str]) -> Making:
    """Make what a drive needs and return the drive string to store; a new volume is told in the log."""
    parts = members(name, value)
    given = NEW.fullmatch(parts["file"])
    if given is None:
        return _existing(cluster, vm, parts)
    if given[2] == "cloudinit":
        made = _cloudinit(cluster, vm, name, given[1], log=log)
    elif "import-from" in parts:
        made = yield from _imported(cluster, vm, given[1], parts=parts, log=log)
    else:
        made = yield from _empty(cluster, vm, name, given, parts=parts, log=log)
    if made not in vm.shown.values():
        log.append(f"{name}: successfully created disk '{made}'")
    return made


@source("OVMF.pm create_efidisk")
def _empty(
    cluster: Cluster, vm: Vm, name: str, given: re.Match[str], *, parts: dict[str, str], log: list[str]
) -> Making:
    """Make a volume without contents; the firmware's variables are copied into theirs."""
    size = _size(name, given[2], parts)
    made = cluster.volumes.allocate(given[1], vm.node, vm.vmid, size=size, form=parts.pop("format", ""))
    log.append(formatting(cluster, made))
    if name == "efidisk0":
        yield from transfer(log, size, 0)
    return print_drive(parts | {"file": made.volid, "size": print_size(size)})


@source("Qemu.pm create_disks", "OVMF.pm create_efidisk")
def _size(name: str, asked: str, parts: dict[str, str]) -> int:
    """Return how large a new disk is: as asked in GiB, but for the firmware's, which have their own sizes."""
    if name == "tpmstate0":
        return TPM_STATE
    if name != "efidisk0":
        return int(float(asked) * GIB)
    if parts.get("pre-enrolled-keys") == "1" and parts.get("efitype") == "4m":
        parts["ms-cert"] = "2023k"
    return EFI_VARS[parts.get("efitype", "2m")]


@recorded(229, 234, 244, 559, 600)
def _existing(cluster: Cluster, vm: Vm, parts: dict[str, str]) -> str:
    if parts["file"] in {"none", "cdrom"}:
        return print_drive({"media": "cdrom"} | {key: value for key, value in parts.items() if key != "size"})
    found = cluster.volumes.find(vm.node, parts["file"])
    if found is None:
        raise failed(f"volume '{parts['file']}' does not exist")
    return print_drive(parts if is_cloudinit(found.volid) else parts | {"size": print_size(found.size)})


@recorded(257, 1065)
def _cloudinit(cluster: Cluster, vm: Vm, name: str, storage: str, *, log: list[str]) -> str:
    for other, drive in vm.shown.items():
        if is_drive(other) and is_cloudinit(str(drive)):
            if other != name:
                raise failed(f"{name} - cloud-init drive is already attached at '{other}'")
            return str(drive)
    made = cluster.volumes.allocate(storage, vm.node, vm.vmid, size=CLOUDINIT_SIZE, cloudinit=True)
    log.append(formatting(cluster, made))
    return f"{made.volid},media=cdrom"


@recorded(239, 240, 241, 1210)
@source("Qemu.pm check_drive_param")
def check_drives(cluster: Cluster, call: Call, values: Mapping[str, str]) -> None:
    """Refuse at once what may not be a drive: options that exclude each other, an ISO as a disk, a strange import."""
    for name in sorted(filter(is_drive, values)):
        parts = members(name, values[name])
        if "import-from" in parts:
            _check_import(cluster, call, name, parts)
        if not _fits(name, parts):
            raise invalid({name: "unable to parse drive options"})
        if re.match(r"[^:]+:iso/", parts["file"]) and parts.get("media") != "cdrom":
            raise invalid({name: "explicit 'media=cdrom' is required for iso images"})


@source("Drive.pm parse_drive")
def _fits(name: str, parts: Mapping[str, str]) -> bool:
    """Tell whether a drive's options go together: a limit for both ways or one, a CD-ROM without what a disk has."""
    split = any({kind, f"{kind}_{way}"} <= parts.keys() for kind in ("mbps", "iops") for way in ("rd", "wr"))
    if parts.get("media") != "cdrom":
        return not split
    return not (split or "format" in parts or parts.get("snapshot") == "1" or name.startswith("virtio"))


@recorded(240, 241)
@source("Qemu.pm check_drive_param")
def _check_import(cluster: Cluster, call: Call, name: str, parts: Mapping[str, str]) -> None:
    if not re.fullmatch(r"([^/:\s]+:)?0", parts["file"]):
        raise invalid({name: "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>"})
    needed = {"efidisk0": ("efitype", "pre-enrolled-keys"), "tpmstate0": ("version",)}.get(name, ())
    for each in needed:
        if each not in parts:
            raise invalid({name: f"need to specify '{each}' when using 'import-from'"})
    origin = parts["import-from"]
    found = cluster.volumes.find(call.node, origin)
    if found and found.content not in {"images", "import"}:
        raise invalid({name: f"{origin} has wrong type '{found.content}' - needs to be 'images' or 'import'"})
    if found and found.vmid:
        check(cluster, call.token, f"/vms/{found.vmid}", "VM.Clone")
    else:
        check_volume(cluster, call, origin)


@recorded(237, 286, 1074, 1079)
def _imported(cluster: Cluster, vm: Vm, storage: str, *, parts: dict[str, str], log: list[str]) -> Making:
    """Copy an image: one of a storage's, a disk of another VM, or, for root, a file of the node."""
    origin = parts.pop("import-from")
    base = _source(cluster, vm.node, origin)
    form = parts.pop("format", "") or ("raw" if origin.startswith("/") else base.form)
    if not origin.startswith("/"):
        owner = _drive_of(cluster, base)
        log.append(f"create full clone of drive {owner}({origin})")
    made = cluster.volumes.allocate(storage, vm.node, vm.vmid, size=base.size, form=form, blank=base.blank)
    if origin.startswith("/"):
        log.append(formatting(cluster, made))
    else:
        log_allocation(cluster, log, made)
    yield from _copied(cluster, base, made, log=log)
    return print_drive(parts | {"file": made.volid, "size": print_size(base.size)})


@source("Qemu.pm create_disks")
def _source(cluster: Cluster, node: str, origin: str) -> Volume:
    if origin in cluster.settings.files:
        return Volume(origin, "", node, 0, cluster.settings.files[origin], origin.rpartition(".")[2])
    found = None if origin.startswith("/") else cluster.volumes.find(node, origin)
    if found is None:
        path = origin if origin.startswith("/") else cluster.volumes.path(origin)
        raise failed(f"failed to stat '{path}'")
    return found


@recorded(1074)
def _drive_of(cluster: Cluster, base: Volume) -> str:
    """Return the option of the VM that has a disk, with a blank after it; empty for an image."""
    vm = cluster.vms.get(base.vmid) if base.content == "images" else None
    names = [name for name, value in vm.drives.items() if volume(value) == base.volid] if vm else []
    return f"{names[0]} " if names else ""


@recorded(1234, 1235, 1238)
def _copied(cluster: Cluster, base: Volume, made: Volume, *, log: list[str]) -> Worker:
    try:
        yield from transfer(log, base.size, base.size / GIB * cluster.durations.imported)
    except Interrupted:
        cluster.volumes.free(made)
        command = convert(cluster, base, made)
        text = f"cannot import from '{base.volid}' - copy failed: {command} failed: received interrupt"
        raise failed(text) from None
