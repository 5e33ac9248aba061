"""Drives of a VM: volumes for new ones, what becomes of replaced ones, growing a disk.

The link between a configuration's drive strings and `volumes.py`. Nothing here checks privileges.
Next: `clone.py`, which copies drives.
"""

import re

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import check
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import failed, invalid
from cpcd.lab.pve.flocks import config_path
from cpcd.lab.pve.power import refuse_skiplock
from cpcd.lab.pve.properties import is_cdrom, is_cloudinit, parse, parse_size, print_drive, print_size, volume
from cpcd.lab.pve.tasks import Flock, Sleep, Task, Worker
from cpcd.lab.pve.vm import Vm
from cpcd.lab.pve.volumes import Volume

__all__ = ["attach", "detach", "resize"]

CLOUDINIT_SIZE = 4 * 1024**2
QEMU_IMG_TIMEOUT = 10.0  # failures.md P04


@recorded(195, 226, 237, 241, 387, 1052, 1065)
def attach(cluster: Cluster, vm: Vm, name: str, value: str) -> str:
    """Return the drive string to store; `storage:GiB` and `storage:cloudinit` allocate a volume."""
    parts = parse(value, "file")
    source_volume = parts.pop("import-from", "")
    match = re.fullmatch(r"([^:]+):(\d+(?:\.\d+)?|cloudinit)", parts["file"])
    if source_volume:
        if not match or match[2] != "0":
            text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>"
            raise invalid({name: text})
        raise failed(f"failed to stat '/var/lib/vz/{source_volume.partition(':')[2]}'")  # the lab has no images
    if match is None:
        return _existing(cluster, vm, parts)
    if match[2] == "cloudinit":
        return _cloudinit(cluster, vm, name, match[1])
    size = int(float(match[2]) * 1024**3)
    made = cluster.volumes.allocate(match[1], vm.node, vm.vmid, size=size, form=parts.pop("format", ""))
    return print_drive(parts | {"file": made.volid, "size": print_size(size)})


def _existing(cluster: Cluster, vm: Vm, parts: dict[str, str]) -> str:
    if parts["file"] in {"none", "cdrom"}:
        return print_drive(parts)
    found = cluster.volumes.find(vm.node, parts["file"])
    if found is None:
        raise failed(f"volume '{parts['file']}' does not exist")
    return print_drive(parts if is_cloudinit(found.volid) else parts | {"size": print_size(found.size)})


def _cloudinit(cluster: Cluster, vm: Vm, name: str, storage: str) -> str:
    for other, drive in vm.drives.items():
        if is_cloudinit(drive):
            if other != name:
                raise failed(f"{name} - cloud-init drive is already attached at '{other}'")
            return drive
    made = cluster.volumes.allocate(storage, vm.node, vm.vmid, size=CLOUDINIT_SIZE, cloudinit=True)
    return f"{made.volid},media=cdrom"


@recorded(389, 391, 394, 1066)
def detach(cluster: Cluster, vm: Vm, name: str, keep: str | int | None) -> None:
    """Put a disk that is replaced or deleted aside as `unusedN`; remove an `unusedN` and a cloud-init image for good."""
    old = str(vm.config.get(name, ""))
    found = cluster.volumes.find(vm.node, volume(old)) if old else None
    if found is None or (keep is not None and volume(str(keep)) == found.volid):
        return
    _check_protection(vm, name, found)
    if name.startswith("unused") or is_cloudinit(old):
        cluster.volumes.free(found)
    elif not is_cdrom(old):
        unused = next(f"unused{n}" for n in range(256) if f"unused{n}" not in vm.config)
        vm.config[unused] = found.volid
    if keep is None:
        _leave_boot_order(vm, name)


@source("P38", "Qemu.pm update_vm_api")
def _check_protection(vm: Vm, name: str, found: Volume) -> None:
    if vm.config.get("protection"):
        what = f"unused disk '{found.volid}'" if name.startswith("unused") else f"drive '{name}'"
        raise failed(f"can't remove {what} - protection mode enabled")


@recorded(1067)
def _leave_boot_order(vm: Vm, name: str) -> None:
    order = parse(str(vm.config.get("boot", "")), "legacy").get("order", "").split(";")
    if name in order:
        rest = ";".join(each for each in order if each != name)
        vm.config["boot"] = f"order={rest}" if rest else " "


@recorded(404, 413, 417, 420, 425, 428, 454)
@schema("/nodes/{node}/qemu/{vmid}/resize")
def resize(cluster: Cluster, call: Call) -> str:
    """Grow a disk in a task: `+1G` or an absolute size; the same size is a no-op, a smaller one fails."""
    refuse_skiplock(call)

    def worker(task: Task) -> Worker:
        yield Flock(config_path(call.vmid), seconds=cluster.durations.resize)
        vm = cluster.vm(task.node, call.vmid)
        if call.params.get("digest") not in {None, "", vm.digest}:
            raise failed("checksum mismatch (file change by other user?)")
        cluster.check_lock(vm)
        found = _resizable(cluster, vm, call)
        size = _new_size(found, call.params["size"])
        if size != found.size:
            yield from _grow(cluster, task, vm, name=call.params["disk"], found=found, size=size)

    return cluster.tasks.start("resize", call.node, str(call.vmid), user=call.token.id, worker=worker)


@recorded(420)
@source("Qemu.pm resize_vm")
def _resizable(cluster: Cluster, vm: Vm, call: Call) -> Volume:
    name = call.params["disk"]
    value = vm.drives.get(name)
    if value is None:
        raise failed(f"disk '{name}' does not exist")
    if is_cdrom(value):
        raise failed("you can't resize a cdrom")
    check(cluster, call.token, f"/storage/{value.partition(':')[0]}", "Datastore.AllocateSpace")
    found = cluster.volumes.find(vm.node, volume(value))
    if found is None:
        raise failed(f"volume '{volume(value)}' does not exist")
    return found


@recorded(417)
@source("P37")
def _new_size(found: Volume, text: str) -> int:
    size = parse_size(text.removeprefix("+")) + (found.size if text.startswith("+") else 0)
    if size < found.size:
        raise failed("shrinking disks is not supported")
    return size


@recorded(351, 407, 557, 1313)
@source("P04")
def _grow(cluster: Cluster, task: Task, vm: Vm, *, name: str, found: Volume, size: int) -> Worker:
    storage = cluster.volumes.storage(found.storage)
    path = f"{storage.path}/images/{found.volid.partition(':')[2]}"
    command = f"command '/usr/bin/qemu-img resize '--preallocation=metadata' -f {found.form} {path} {size}' failed"
    if vm.template and storage.directory:
        task.log.append(f"qemu-img: Could not open '{path}': Could not open '{path}': Operation not permitted")
        raise failed(f"{command}: exit code 1")
    late = cluster.durations.resize > QEMU_IMG_TIMEOUT
    yield Sleep(min(cluster.durations.resize, QEMU_IMG_TIMEOUT))
    if not late or cluster.random.random() < 0.5:
        cluster.volumes.grow(found, size)
    if late:
        raise failed(f"{command}: got timeout")
    if not vm.running:
        task.log.append("Image resized.")
    cluster.check_writable(vm)
    vm.config[name] = print_drive(parse(str(vm.config[name]), "file") | {"size": print_size(size)})
    if vm.running:
        cluster.backend.hotplug(vm, {name: vm.config[name]})
