"""Make a VM, turn it into a template, destroy it.

Destroy has the most guards of all calls: protection, running, lock, linked clones, quorum; each is recorded or read
in source, none is guessed. What a failed or killed worker leaves behind is part of the model. Next: `clone.py`.
"""

import re
from collections.abc import Mapping

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.attach import check_drives
from cpcd.lab.pve.auth import allowed, check, refuse_skiplock
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.config import apply_options, attach_all, check_keys, settled
from cpcd.lab.pve.errors import Refused, denied, failed
from cpcd.lab.pve.flocks import config_path, storage_path
from cpcd.lab.pve.options import check_bridges, check_device, check_options, check_storages, exists
from cpcd.lab.pve.power import start_task
from cpcd.lab.pve.properties import is_cdrom, is_cloudinit, is_drive, new_uuid, parse, print_drive, volume
from cpcd.lab.pve.tasks import Flock, Interrupted, Release, Sleep, Task, Worker
from cpcd.lab.pve.vm import Vm
from cpcd.lab.pve.volumes import Volume

__all__ = ["complete", "create", "destroy", "make_template", "seal"]

QEMU = "10.0.13"
DISKLESS = 0.2  # share of a create's time that a VM without disks takes
CHECKING = 0.3  # share of a destroy until it begins to write (recorded 357, 1315)


@recorded(195, 207, 251, 912, 915, 948, 1304)
@schema("/nodes/{node}/qemu")
def create(cluster: Cluster, call: Call) -> str:
    """Create a VM in a task; its configuration exists at once with `lock: create` and nothing else (recorded 1214)."""
    vmid, pool = int(call.params["vmid"]), str(call.params.get("pool", ""))
    values = settled({key: value for key, value in call.params.items() if exists(key)})
    _check_create(cluster, call, vmid, pool=pool, values=values)
    made = Vm(vmid, call.node, {"lock": "create"})
    cluster.vms[vmid] = made

    def worker(task: Task) -> Worker:
        yield Flock(config_path(vmid))
        try:
            yield from _fill(cluster, task, made, values)
        except (Refused, Interrupted) as error:
            text = error.text if isinstance(error, Refused) else "received interrupt"
            yield Sleep(cluster.durations.create * DISKLESS)
            _remove(cluster, made, unreferenced=True)
            raise failed(f"unable to create VM {vmid} - {text}") from error
        if pool:
            cluster.pools[pool].vms.add(vmid)
        if call.params.get("start"):
            task.log.append("Execute autostart")
            start_task(cluster, task.node, vmid, call.token.id)

    return cluster.tasks.start("qmcreate", call.node, str(vmid), user=call.token.id, worker=worker)


@recorded(52, 207, 251, 905, 916, 917)
@source("Qemu.pm create_vm")
def _check_create(cluster: Cluster, call: Call, vmid: int, *, pool: str, values: Mapping[str, str | int]) -> None:
    """Refuse what is refused before a worker is forked, in Proxmox's order."""
    check_keys(values)
    cluster.check_quorum()
    paths = _check_allocate(cluster, call, vmid, pool)
    text = {key: str(value) for key, value in values.items()}
    check_storages(cluster, call, text)
    check_options(cluster, call.token, paths, text)
    for name in sorted(name for name in text if not is_drive(name) and name != "tags"):
        check_device(cluster, call.token, paths, name, text[name], verb="set")
    check_bridges(cluster, call.token, text)
    check_drives(cluster, call, text)
    if found := cluster.vms.get(vmid):
        raise failed(f"unable to create VM {vmid} - VM {vmid} already exists on node '{found.node}'")


@source("Qemu.pm create_vm")
def _check_allocate(cluster: Cluster, call: Call, vmid: int, pool: str) -> tuple[str, ...]:
    """Return the paths that what the token may configure is looked up at: a pool's rights hold for what is made in it."""
    if pool and pool not in cluster.pools:
        raise denied(f"pool '{pool}' does not exist")
    if storage := call.params.get("storage"):
        check(cluster, call.token, f"/storage/{storage}", "Datastore.AllocateSpace")
    paths = (f"/pool/{pool}", f"/vms/{vmid}") if pool else (f"/vms/{vmid}",)
    if not any(allowed(cluster, call.token, path, "VM.Allocate") for path in paths):
        raise denied()
    return paths


@recorded(199, 835, 837, 1220)
def _fill(cluster: Cluster, task: Task, made: Vm, values: dict[str, str | int]) -> Worker:
    """Allocate under the storages' locks, then copy and write the configuration."""
    paths = sorted({storage_path(str(value).partition(":")[0]) for key, value in values.items() if is_drive(key)})
    for path in paths:
        yield Flock(path, seconds=cluster.durations.create)
    yield Sleep(cluster.durations.create * _share(values))
    for path in paths:
        yield Release(path)
    drives = yield from attach_all(cluster, made, values, log=task.log)
    stored = apply_options(cluster, made, values | drives)
    made.config.update({key: value for key, value in stored.items() if value is not None})
    complete(cluster, made)
    del made.config["lock"]


@recorded(913, 1165, 1168, 1236)
def _share(values: Mapping[str, str | int]) -> float:
    """Return how much of a create's time goes before anything is copied: all of it to allocate, none to import."""
    drives = [str(value) for key, value in values.items() if is_drive(key)]
    if all("import-from=" in value for value in drives):
        return 0 if drives else DISKLESS
    return 1


@recorded(199, 262, 1224)
def complete(cluster: Cluster, vm: Vm) -> None:
    """Add what Proxmox adds to a new VM: smbios uuid, vmgenid, meta, boot order."""
    bootable = _bootable(vm)
    vm.config.setdefault("smbios1", f"uuid={new_uuid(cluster.random)}")
    vm.config.setdefault("vmgenid", new_uuid(cluster.random))
    vm.config.setdefault("meta", f"creation-qemu={QEMU},ctime={int(cluster.wall)}")
    vm.config.setdefault("boot", f"order={';'.join(bootable)}" if bootable else " ")


@recorded(199, 287, 1075)
@source("QemuServer.pm get_default_bootdevices")
def _bootable(vm: Vm) -> list[str]:
    """Return what a VM boots from by default: its first disk, first CD-ROM and first network device."""
    disks = [name for name, value in vm.drives.items() if not is_cdrom(value) and not name.startswith(("efi", "tpm"))]
    cdroms = [name for name, value in vm.drives.items() if is_cdrom(value) and not is_cloudinit(value)]
    nets = sorted(name for name in vm.config if re.fullmatch(r"net\d+", name))
    return [*disks[:1], *cdroms[:1], *nets[:1]]


@recorded(303, 307, 310, 461, 562)
@schema("/nodes/{node}/qemu/{vmid}/template")
def make_template(cluster: Cluster, call: Call) -> str:
    """Convert a stopped VM to a template; there is no way back."""
    disk = str(call.params.get("disk", ""))
    vm = cluster.vm(call.node, call.vmid)
    _check_template(cluster, vm, disk)

    def worker(task: Task) -> Worker:
        yield Flock(config_path(call.vmid), seconds=cluster.durations.template)
        vm = cluster.vm(task.node, call.vmid)
        _check_template(cluster, vm, disk)
        yield Sleep(cluster.durations.template)
        cluster.check_writable(vm)
        seal(cluster, vm, disk)

    return cluster.tasks.start("qmtemplate", call.node, str(vm.vmid), user=call.token.id, worker=worker)


@recorded(310, 461, 562)
def _check_template(cluster: Cluster, vm: Vm, disk: str) -> None:
    cluster.check_lock(vm)
    if vm.template and not disk:
        raise failed("you can't convert a template to a template")
    if vm.running:
        raise failed("you can't convert a VM to template if VM is running")


@recorded(307, 309)
def seal(cluster: Cluster, vm: Vm, disk: str = "") -> None:
    """Set the template flag and rename the disks to `base-…`, or one of them."""
    vm.config["template"] = 1
    for name in [name for name in vm.disks if disk in {"", name}]:
        found = cluster.volumes.find(vm.node, volume(str(vm.config[name])))
        if found is not None:
            parts = parse(str(vm.config[name]), "file") | {"file": cluster.volumes.seal(found).volid}
            vm.config[name] = print_drive(parts)


@recorded(345, 402, 561, 595, 1114)
@schema("/nodes/{node}/qemu/{vmid}")
def destroy(cluster: Cluster, call: Call) -> str:
    """Destroy a VM in a task; missing, protected and running ones are refused at once, locked ones by the task."""
    refuse_skiplock(call)
    _check_destroy(cluster, call)

    def worker(task: Task) -> Worker:
        return _destroy(cluster, task, call)

    cluster.record("destroy", call.vmid, call.token.id)
    return cluster.tasks.start("qmdestroy", call.node, str(call.vmid), user=call.token.id, worker=worker)


@recorded(402, 561)
@source("P07", "P38")
def _check_destroy(cluster: Cluster, call: Call) -> Vm:
    vm = cluster.vm(call.node, call.vmid)
    if vm.config.get("protection"):
        raise failed(f"can't remove VM {vm.vmid} - protection mode enabled")
    if vm.running:
        raise failed(f"VM {vm.vmid} is running - destroy failed")
    return vm


@recorded(348, 357, 358, 458, 790, 960, 1103, 1315, 1316)
@source("P39")
def _destroy(cluster: Cluster, task: Task, call: Call) -> Worker:
    yield Flock(config_path(call.vmid), seconds=cluster.durations.destroy)
    # Again, under the lock: it may have been started since the call was taken (P07).
    vm = _check_destroy(cluster, call)
    cluster.check_lock(vm, skip=bool(call.params.get("skiplock")) or vm.lock == "suspended")
    yield Sleep(cluster.durations.destroy * CHECKING)
    for found in _referenced(cluster, vm) if vm.template else ():
        if cluster.volumes.in_use(found):
            raise failed(f"base volume '{found.volid}' is still in use by linked cloned")
    cluster.check_writable(vm)
    vm.config["lock"] = "destroyed"
    yield Sleep(cluster.durations.destroy * (1 - CHECKING))
    if call.params.get("purge"):
        task.log.append(f"purging VM {vm.vmid} from related configurations..")
    _remove(cluster, vm, unreferenced=bool(call.params.get("destroy-unreferenced-disks")))


def _referenced(cluster: Cluster, vm: Vm) -> list[Volume]:
    options = [*vm.config.items(), *vm.pending.items()]
    named = [str(value) for key, value in options if is_drive(key) or key.startswith("unused")]
    found = filter(None, (cluster.volumes.find(vm.node, volume(value)) for value in named))
    return [each for each in found if each.vmid == vm.vmid]


@recorded(797, 1104, 1113)
def _remove(cluster: Cluster, vm: Vm, *, unreferenced: bool) -> None:
    """Free the volumes (those that no configuration knows only if asked to), then the configuration and its pool entry."""
    for found in cluster.volumes.of(vm.vmid, vm.node) if unreferenced else _referenced(cluster, vm):
        cluster.volumes.free(found)
    for pool in cluster.pools.values():
        pool.vms.discard(vm.vmid)
    cluster.vms.pop(vm.vmid, None)
    cluster.backend.destroyed(vm)
