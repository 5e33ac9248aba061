"""Drives of a VM: what becomes of replaced ones, growing a disk.

The link between a configuration's drive strings and `volumes.py`. Next: `attach.py`, for volumes of new drives.
"""

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import check, refuse_skiplock
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import failed
from cpcd.lab.pve.flocks import config_path
from cpcd.lab.pve.properties import is_cdrom, is_cloudinit, is_drive, parse, parse_size, print_drive, print_size, volume
from cpcd.lab.pve.tasks import Flock, Sleep, Task, Worker
from cpcd.lab.pve.vm import Vm
from cpcd.lab.pve.volumes import Volume

__all__ = ["check_protection", "detach", "resize"]

QEMU_IMG_TIMEOUT = 10.0  # failures.md P04


@recorded(389, 391, 394, 1066)
def detach(cluster: Cluster, vm: Vm, name: str, keep: str | int | None, *, force: bool = False) -> None:
    """Put a disk that is replaced or deleted aside as `unusedN`; remove an `unusedN` and a cloud-init image for good.

    By `force` a deleted disk is removed too.
    """
    old = str(vm.config.get(name, ""))
    found = cluster.volumes.find(vm.node, volume(old)) if old else None
    if found is None or (keep is not None and volume(str(keep)) == found.volid):
        return
    _put_away(cluster, vm, name, found, force=force and keep is None)


def _put_away(cluster: Cluster, vm: Vm, name: str, found: Volume, *, force: bool) -> None:
    """Free what is nobody's data and what is to go by force; a medium stays where it is, a disk is kept as unused."""
    old = str(vm.config[name])
    if name.startswith("unused") or is_cloudinit(old) or (force and not is_cdrom(old)):
        cluster.volumes.free(found)
    elif not is_cdrom(old):
        unused = next(f"unused{n}" for n in range(256) if f"unused{n}" not in vm.config)
        vm.config[unused] = found.volid


@source("P38", "Qemu.pm update_vm_api")
def check_protection(vm: Vm, name: str, value: str) -> None:
    """Refuse to delete a drive of a protected VM, also one without a medium; it may be replaced all the same."""
    if vm.config.get("protection") and (is_drive(name) or name.startswith("unused")):
        what = f"unused disk '{volume(value)}'" if name.startswith("unused") else f"drive '{name}'"
        raise failed(f"can't remove {what} - protection mode enabled")


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
        cluster.check_lock(vm, skip=bool(call.params.get("skiplock")))
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
    path = cluster.volumes.path(found.volid)
    command = f"command '/usr/bin/qemu-img resize '--preallocation=metadata' -f {found.form} {path} {size}' failed"
    late = cluster.durations.resize > QEMU_IMG_TIMEOUT
    yield Sleep(min(cluster.durations.resize, QEMU_IMG_TIMEOUT))
    if vm.template and storage.directory:
        task.log.append(f"qemu-img: Could not open '{path}': Could not open '{path}': Operation not permitted")
        raise failed(f"{command}: exit code 1")
    # What timed out may have grown or not (P04).
    if not late or cluster.random.random() < 0.5:
        cluster.volumes.grow(found, size)
    if late:
        raise failed(f"{command}: got timeout")
    if not vm.running:
        task.log.append("Image resized.")
    # Only now: without quorum the volume has grown, and no configuration says so.
    cluster.check_writable(vm)
    vm.config[name] = print_drive(parse(str(vm.config[name]), "file") | {"size": print_size(size)})
    if vm.running:
        cluster.backend.hotplug(vm, {name: vm.config[name]})
