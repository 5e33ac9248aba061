"""Clone: the call, its worker, and everything that a crash in between leaves behind.

The order is Qemu.pm's: checks, fork, source lock (shared when stopped), target lock, checks again, log line, empty
configuration with `lock: clone`, disk after disk, lock removed, pool (`failures.md` P22). Next: `tasks.py`.
"""

from collections.abc import Generator
from dataclasses import dataclass

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import check
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.copying import convert, log_allocation, log_link, transfer
from cpcd.lab.pve.errors import Refused, denied, failed, invalid
from cpcd.lab.pve.flocks import config_path, storage_path
from cpcd.lab.pve.options import check_bridges
from cpcd.lab.pve.properties import (
    is_cdrom,
    is_cloudinit,
    is_drive,
    mac,
    new_uuid,
    parse,
    parse_net,
    print_drive,
    print_net,
    print_size,
    volume,
)  # fmt: skip
from cpcd.lab.pve.tasks import Flock, Interrupted, Release, Sleep, Step, Task, Worker
from cpcd.lab.pve.vm import Vm
from cpcd.lab.pve.volumes import Volume

__all__ = ["clone"]

LOCK_WAIT = 1.0  # Qemu.pm clone: both locks
NOT_COPIED = frozenset((
    "template", "parent", "snaptime", "snapstate", "vmstate", "runningcpu", "runningmachine", "running-nets-host-mtu", "lock",
))  # fmt: skip
GIB = 1024**3
WRITTEN = 0.8  # share of an image that is not zeroes, which a limit does not slow (recorded 745, 772)


@dataclass(frozen=True, slots=True)
class _Order:
    """What a clone call wants, with the defaults filled in."""

    call: Call
    node: str
    source: int
    target: int
    full: bool
    running: bool

    @property
    def target_node(self) -> str:
        """The node that the clone goes to."""
        named = str(self.call.params.get("target", "localhost"))
        return self.node if named == "localhost" else named

    @property
    def storage(self) -> str:
        return str(self.call.params.get("storage", ""))


@recorded(314, 319, 339)
@schema("/nodes/{node}/qemu/{vmid}/clone")
def clone(cluster: Cluster, call: Call) -> str:
    """Clone a VM in a task; what can be known at once is refused at once."""
    vm = cluster.located(call.node, call.vmid)
    full = bool(call.params.get("full", not vm.template))
    order = _Order(call, call.node, vm.vmid, call.params["newid"], full, vm.running)
    _load_and_check(cluster, order)

    def worker(task: Task) -> Worker:
        return _work(cluster, task, order)

    return cluster.tasks.start("qmclone", call.node, str(vm.vmid), user=call.token.id, worker=worker)


@recorded(329, 331, 332, 333, 336, 338, 456, 920, 922, 1305)
@source("Qemu.pm clone_vm")
def _load_and_check(cluster: Cluster, order: _Order) -> Vm:
    """Return the source; run before the fork and again by the worker, which holds the locks then."""
    params = order.call.params
    if (pool := params.get("pool")) and pool not in cluster.pools:
        raise denied(f"pool '{pool}' does not exist")
    if order.target_node not in cluster.hosts:
        raise failed(f"no such cluster node '{order.target_node}'")
    _check_storage(cluster, order)
    cluster.check_quorum()
    vm = cluster.vm(order.node, order.source)
    cluster.check_lock(vm)
    if vm.running != order.running:
        raise failed("unexpected state change")
    _check_kind(order)
    shared = _check_access(cluster, vm, order)
    check_bridges(cluster, order.call.token, {name: str(value) for name, value in vm.config.items()})
    if order.target_node != order.node and not shared:
        raise failed(f"can't clone VM to node '{order.target_node}' (VM uses local storage)")
    found = cluster.vms.get(order.target)
    if found and found.node == order.node:
        raise failed(f"unable to create VM {order.target}: config file already exists")
    _check_drives(vm, order)
    return vm


@source("P12", "Storage.pm storage_check_enabled")
def _check_storage(cluster: Cluster, order: _Order) -> None:
    if not order.storage:
        return
    storage = cluster.volumes.storage(order.storage)
    for node in dict.fromkeys((order.node, order.target_node)):
        if not storage.on(node):
            raise failed(f"storage '{storage.name}' is not available on node '{node}'")
        if "images" not in storage.content:
            raise invalid({"storage": f"storage '{order.storage}' does not support vm images"})
    if order.target_node != order.node and not storage.shared:
        raise failed(f"can't clone to non-shared storage '{order.storage}'")


@recorded(330, 334, 338)
def _check_kind(order: _Order) -> None:
    """Refuse a snapshot that is not there, and what only a full clone can have."""
    params = order.call.params
    if snapshot := params.get("snapname"):
        raise failed(f"snapshot '{snapshot}' does not exist")
    for name in ("storage", "format"):
        if name in params and not order.full:
            raise failed(f"parameter '{name}' not allowed for linked clones")


@recorded(920)
@source("Qemu.pm check_storage_access_clone")
def _check_access(cluster: Cluster, vm: Vm, order: _Order) -> bool:
    """Refuse storages that the token may not fill; return whether every drive of the source is on shared storage."""
    token, shared = order.call.token, True
    for value in vm.drives.values():
        name = volume(value).partition(":")[0]
        if name == "cdrom":
            check(cluster, token, "/", "Sys.Console")
        elif name != "none":
            shared = shared and cluster.volumes.storage(name).shared
            if not is_cdrom(value):
                check(cluster, token, f"/storage/{order.storage or name}", "Datastore.AllocateSpace")
    return shared


@recorded(338)
@source("Qemu.pm clone_vm")
def _check_drives(vm: Vm, order: _Order) -> None:
    """Refuse a linked clone of what is no template, and a copy of a TPM that is in use."""
    for name, value in vm.drives.items():
        if name == "tpmstate0" and order.full and vm.running:
            raise failed("cannot clone TPM state while VM is running")
        if not (order.full or vm.template or is_cdrom(value) or name == "tpmstate0"):
            raise failed(f"Linked clone feature is not supported for '{volume(value)}' ({name})")


@recorded(317, 341, 754, 755, 759)
@source("Qemu.pm clone_vm")
def _work(cluster: Cluster, task: Task, order: _Order) -> Worker:
    source = cluster.vm(order.node, order.source)
    seconds = _estimate(cluster, source, order)
    yield Flock(config_path(order.source), shared=not source.running, timeout=LOCK_WAIT, seconds=seconds)
    yield Flock(config_path(order.target), timeout=LOCK_WAIT, seconds=seconds)
    # Again, under the locks: the fork and the wait took time in which all of it may have changed.
    vm = _load_and_check(cluster, order)
    task.log.append(f"creating a clone of VM {order.source} with ID {order.target}")
    final = _new_config(cluster, vm, order)
    # On another node: the check has looked at its own alone, and a VMID has one file in the whole cluster.
    if order.target in cluster.vms:
        path = f"/etc/pve/nodes/{order.node}/qemu-server/{order.target}.conf"
        raise failed(f"close (rename) atomic file '{path}' failed: File exists")
    made = Vm(order.target, order.node, {"lock": "clone"})
    cluster.vms[order.target] = made
    volumes: list[Volume] = []
    try:
        yield from _copy_drives(cluster, task, vm, made=made, final=final, volumes=volumes, order=order)
    except Interrupted:
        _clean_up(cluster, made, volumes)
        raise failed("clone failed: interrupted by signal") from None
    except Refused as refused:
        yield Sleep(cluster.durations.rollback)
        _clean_up(cluster, made, volumes)
        raise failed(f"clone failed: {refused.text}") from refused
    made.config = final
    made.node = order.target_node
    cluster.backend.cloned(vm, made)
    if pool := order.call.params.get("pool"):
        cluster.pools[pool].vms.add(order.target)


@recorded(318, 323, 328)
@source("Qemu.pm clone_vm")
def _new_config(cluster: Cluster, vm: Vm, order: _Order) -> dict[str, str | int]:
    """Copy everything but disks: MACs, smbios uuid and vmgenid are new, tags and cloud-init settings are not."""
    config = {key: value for key, value in vm.config.items() if _copied(key, str(value))}
    for name in [name for name in config if name.startswith("net")]:
        parts = parse_net(str(config[name])) | {"macaddr": mac(cluster.settings.mac_prefix, cluster.random)}
        config[name] = print_net(parts)
    smbios = parse(str(config.get("smbios1", "")), "uuid") | {"uuid": new_uuid(cluster.random)}
    config["smbios1"] = ",".join(f"{key}={smbios[key]}" for key in sorted(smbios))
    if "vmgenid" in config:
        config["vmgenid"] = new_uuid(cluster.random)
    params = order.call.params
    config["name"] = params.get("name") or f"Copy-of-VM-{vm.config.get('name', vm.vmid)}"
    if params.get("description"):
        config["description"] = params["description"]
    return config


def _copied(name: str, value: str) -> bool:
    """Tell whether an option is simply copied: no disk, no unused disk, nothing of the source's own state."""
    if is_drive(name):
        return is_cdrom(value) and not is_cloudinit(value)
    return name not in NOT_COPIED and not name.startswith("unused")


@recorded(317, 322, 746, 747)
def _copy_drives(
    cluster: Cluster,
    task: Task,
    vm: Vm,
    *,
    made: Vm,
    final: dict[str, str | int],
    volumes: list[Volume],
    order: _Order,
) -> Worker:
    """Copy disk after disk; only after the first does the configuration get its name and description (P22)."""
    for name, value in vm.drives.items():
        if is_cdrom(value) and not is_cloudinit(value):
            continue
        base = cluster.volumes.find(order.node, volume(value))
        if base is None:
            raise failed(f"volume '{volume(value)}' does not exist")
        copy = yield from _copy(cluster, task, base, order=order, name=name, volumes=volumes)
        parts = parse(value, "file") | {"file": copy.volid, "size": print_size(copy.size)}
        final[name] = print_drive(parts)
        made.config = {**final, "lock": "clone"}


@recorded(286, 317, 322, 733)
def _copy(
    cluster: Cluster, task: Task, base: Volume, *, order: _Order, name: str, volumes: list[Volume]
) -> Generator[Step, bool, Volume]:
    cloudinit = is_cloudinit(base.volid)
    if not (order.full or cloudinit):
        task.log.append(f"create linked clone of drive {name} ({base.volid})")
        yield Sleep(cluster.durations.linked)
        volumes.append(cluster.volumes.link(base, order.node, order.target))
        log_link(cluster, task.log, volumes[-1])
        return volumes[-1]
    task.log.append(f"create full clone of drive {name} ({base.volid})")
    storage = order.storage or base.storage
    # While a volume is allocated and no longer: the copying, which takes minutes, holds nobody up.
    yield Flock(storage_path(storage), seconds=0)
    form = order.call.params.get("format") or base.form
    copy = cluster.volumes.allocate(
        storage, order.node, order.target, size=base.size, form=form, cloudinit=cloudinit, blank=base.blank
    )
    yield Release(storage_path(storage))
    volumes.append(copy)
    log_allocation(cluster, task.log, copy)
    if cloudinit:
        yield Sleep(cluster.durations.cloudinit)
    else:
        yield from _transfer(cluster, task, base, copy=copy, order=order)
    return copy


@recorded(776, 777)
def _transfer(cluster: Cluster, task: Task, base: Volume, *, copy: Volume, order: _Order) -> Worker:
    try:
        yield from transfer(task.log, base.size, _seconds(cluster, base, order))
    except Interrupted:
        command = convert(cluster, base, copy, int(order.call.params.get("bwlimit") or 0))
        raise failed(f"copy failed: {command} failed: interrupted by signal") from None


@recorded(745, 772)
@schema("/nodes/{node}/qemu/{vmid}/clone bwlimit")
def _seconds(cluster: Cluster, base: Volume, order: _Order) -> float:
    limit = order.call.params.get("bwlimit") or 0
    limited = base.size * WRITTEN / (limit * 1024) if limit else 0
    return max(base.size / GIB * cluster.durations.full_per_gib, limited)


def _estimate(cluster: Cluster, vm: Vm, order: _Order) -> float:
    bases = filter(None, (cluster.volumes.find(order.node, volume(value)) for value in vm.drives.values()))
    disks = [base for base in bases if not is_cloudinit(base.volid)]
    copied = sum(_seconds(cluster, base, order) if order.full else cluster.durations.linked for base in disks)
    return copied + cluster.durations.cloudinit


@recorded(779, 780)
def _clean_up(cluster: Cluster, made: Vm, volumes: list[Volume]) -> None:
    for each in volumes:
        cluster.volumes.free(each)
    cluster.vms.pop(made.vmid, None)
