"""GET, PUT and POST of a VM's configuration, and its pending section.

Checks come in Proxmox's order: options, privileges, the VM, digest, config lock, lock file, quorum. What a running
guest does not take becomes pending and is shown as if it were there (`failures.md` P31). Next: `hotplug.py`.
"""

import base64
import binascii
import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote

from cpcd.lab.provenance import guess, recorded, schema, source
from cpcd.lab.pve.attach import attach, attaching, check_drives
from cpcd.lab.pve.auth import refuse_skiplock
from cpcd.lab.pve.call import Call, Reply
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.drives import check_protection
from cpcd.lab.pve.errors import failed, invalid, locked_out
from cpcd.lab.pve.flocks import config_path
from cpcd.lab.pve.formats import formatted
from cpcd.lab.pve.hotplug import change_running
from cpcd.lab.pve.options import check_bridges, check_device, check_hookscript, check_options, check_storages, exists
from cpcd.lab.pve.pending import set_option
from cpcd.lab.pve.properties import is_cdrom, is_cloudinit, is_drive, mac, new_uuid, parse, print_net, sorted_tags
from cpcd.lab.pve.schema import members
from cpcd.lab.pve.settings import Token
from cpcd.lab.pve.tasks import Flock, Sleep, Step, Task, Worker
from cpcd.lab.pve.vm import Vm

__all__ = [
    "apply_options",
    "attach_all",
    "check_keys",
    "get_config",
    "get_pending",
    "post_config",
    "put_config",
    "settled",
]

Value = str | int
CONTROL: Final = frozenset((
    "delete", "revert", "digest", "force", "skiplock", "background_delay", "import-working-storage", "node", "vmid",
))  # fmt: skip
UNSAID: Final = frozenset(("digest", "background_delay", "import-working-storage", "node", "vmid"))  # in the log's line
LOCK_WAIT: Final = 10.0
CPU_SHARES: Final = 10_000  # the most that cgroups of version 2 take
MISMATCH: Final = "checksum mismatch (file change by other user?)"
MASK: Final = "**********"


@dataclass(frozen=True, slots=True)
class _Change:
    """What is asked of a VM's configuration, by whom; `log` is the line that it leaves in a task."""

    token: Token
    values: dict[str, Value]
    delete: tuple[str, ...] = ()
    revert: tuple[str, ...] = ()
    digest: str = ""
    skiplock: bool = False
    force: bool = False
    log: str = ""


@recorded(287, 295, 538, 539, 746)
@schema("/nodes/{node}/qemu/{vmid}/config")
def get_config(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return the configuration with pending values, or the running one with `current=1`; passwords are masked.

    No VM of the lab has a snapshot.
    """
    if call.params.get("snapshot") and call.params.get("current"):
        text = "cannot use 'snapshot' parameter with 'current'"
        raise invalid({"snapshot": text, "current": text})
    vm = cluster.vm(call.node, call.vmid)
    if snapshot := call.params.get("snapshot"):
        raise failed(f"snapshot '{snapshot}' does not exist")
    shown = dict(vm.config) if call.params.get("current") else vm.shown
    return _masked(shown) | {"digest": vm.digest}


def _masked(config: Mapping[str, Value]) -> dict[str, Any]:
    return {key: MASK if key == "cipassword" else value for key, value in config.items()}


@recorded(205, 540, 544, 552)
@schema("/nodes/{node}/qemu/{vmid}/pending")
def get_pending(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Return every option with its value and, where it waits for a cold restart, `pending` or `delete`."""
    vm = cluster.vm(call.node, call.vmid)
    config: dict[str, Value] = _masked(vm.config)
    entries = [{"key": key, "value": config[key]} | _waiting(vm, key) for key in sorted(config)]
    entries += [{"key": key} | _waiting(vm, key) for key in sorted(vm.pending.keys() - config.keys())]
    return [*entries, {"key": "digest", "value": vm.digest}]


def _waiting(vm: Vm, key: str) -> dict[str, Any]:
    if key not in vm.pending:
        return {}
    value = vm.pending[key]
    return {"delete": 1} if value is None else {"pending": value}


@recorded(290, 293)
def check_keys(values: Mapping[str, Value]) -> None:
    """Refuse SSH keys that are none."""
    for line in filter(None, (line.strip() for line in unquote(str(values.get("sshkeys", ""))).splitlines())):
        try:
            kind, key = line.split()[:2]
            base64.b64decode(key, validate=True)
        except (ValueError, binascii.Error):
            raise failed("SSH public key validation error") from None
        if not kind.startswith(("ssh-", "ecdsa-", "sk-")):
            raise failed("SSH public key validation error")


@source("Qemu.pm resolve_cdrom_alias", "CGroup.pm clamp_cpu_shares")
def settled(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return options under the names and within the bounds that the configuration has: `cdrom` is `ide2`."""
    found = dict(values)
    if "cpuunits" in found:
        found["cpuunits"] = min(int(found["cpuunits"]), CPU_SHARES)
    if cdrom := str(found.pop("cdrom", "")):
        found["ide2"] = cdrom if "media=" in cdrom else f"{cdrom},media=cdrom"
    return found


@recorded(367, 372, 373, 376, 443, 448, 464)
@source("Qemu.pm update_vm_api")
def _prepare(cluster: Cluster, call: Call) -> _Change:
    """Refuse what can be refused before the lock file is taken, in Proxmox's order."""
    refuse_skiplock(call)
    values = settled({key: value for key, value in call.params.items() if key not in CONTROL})
    check_keys(values)
    delete, revert = formatted(call.params.get("delete", "")), formatted(call.params.get("revert", ""))
    if not (values or delete or revert):
        raise failed("no options specified")
    delete = ["ide2" if name == "cdrom" else name for name in delete]
    _check_names(values, delete, revert)
    text = {name: str(value) for name, value in values.items()}
    check_drives(cluster, call, text)
    check_hookscript(cluster, call.node, text)
    check_options(cluster, call.token, (f"/vms/{call.vmid}",), [*delete, *text])
    check_storages(cluster, call, text)
    check_bridges(cluster, call.token, text)
    change = _Change(
        call.token,
        values,
        tuple(dict.fromkeys(delete)),
        tuple(dict.fromkeys(revert)),
        call.params.get("digest", ""),
        bool(call.params.get("skiplock")),
        bool(call.params.get("force")),
        f"update VM {call.vmid}: {_said(call)}",
    )
    _check(cluster, cluster.vm(call.node, call.vmid), change)
    return change


@recorded(371)
def _said(call: Call) -> str:
    said = {key: "<hidden>" if key == "cipassword" else call.raw[key] for key in sorted(call.raw.keys() - UNSAID)}
    return " ".join(f"-{key} {value}" for key, value in said.items())


@recorded(373, 376)
@source("Qemu.pm update_vm_api")
def _check_names(values: Mapping[str, Value], delete: list[str], revert: list[str]) -> None:
    """Refuse names that are no options, and those that are asked for in two ways."""
    for name in revert:
        if not exists(name):
            raise invalid({"revert": f"unknown option '{name}'"})
        if name in values:
            raise invalid({"delete": f"you can't use '-{name}' and -revert {name}' at the same time"})
    for name in delete:
        if name in values:
            raise invalid({"delete": f"you can't use '-{name}' and -delete {name}' at the same time"})
        if name in revert:
            raise invalid({"revert": f"you can't use '-delete {name}' and -revert {name}' at the same time"})
        if not exists(name):
            raise invalid({"delete": f"unknown option '{name}'"})


@recorded(367, 368, 378, 448, 749)
@source("P30", "Qemu.pm update_vm_api")
def _check(cluster: Cluster, vm: Vm, change: _Change) -> None:
    """Refuse what the VM as it is now does not allow; done before the lock file is taken and again under it."""
    if change.digest and change.digest != vm.digest:
        raise failed(MISMATCH)
    cluster.check_lock(vm, skip=change.skiplock)
    if {"memory", "balloon"} & change.values.keys():
        memory = members("memory", str(change.values.get("memory", vm.shown.get("memory", 512))))["current"]
        if int(change.values.get("balloon", vm.shown.get("balloon", 0))) > int(memory):
            raise failed("balloon value too large (must be smaller than assigned memory)")


@recorded(366, 754, 827)
@guess("that a digest never survives a short wait; only waits past 10 s were recorded")
@schema("/nodes/{node}/qemu/{vmid}/config")
def put_config(cluster: Cluster, call: Call) -> Reply:
    """Change options synchronously; waits up to 10 s for the lock file.

    When the lock will be free in time the change is made at that moment; a digest can then no longer match, because
    the holder is changing the VM, so that the answer is the mismatch and nothing is changed.
    """
    change = _prepare(cluster, call)
    wait = cluster.flocks.busy((call.node, config_path(call.vmid)))
    if wait > LOCK_WAIT or math.isinf(wait):
        raise locked_out(config_path(call.vmid), LOCK_WAIT)
    vm = cluster.vm(call.node, call.vmid)
    if wait and change.digest:
        raise failed(MISMATCH, wait)
    if wait:
        cluster.at(wait, lambda: _later(cluster, vm, change))
    else:
        _apply(cluster, vm, change)
    return Reply(seconds=wait)


def attach_all(
    cluster: Cluster, vm: Vm, values: Mapping[str, Value], *, log: list[str]
) -> Generator[Step, bool, dict[str, Value]]:
    """Make what the drives among some options need, in a worker; return them as they are to be stored."""
    drives: dict[str, Value] = {}
    for name in sorted(name for name in values if is_drive(name)):
        drives[name] = yield from attaching(cluster, vm, name, str(values[name]), log=log)
    return drives


@recorded(560, 594)
@source("Qemu.pm update_vm_api", "QemuServer.pm print_bootorder")
def _boot_order(vm: Vm, wanted: Mapping[str, Value | None]) -> dict[str, Value]:
    """Take what is deleted out of the boot order and add a new CD-ROM, if there is one that is not being set."""
    order = formatted(parse(str(vm.shown.get("boot", "")), "legacy").get("order", ""))
    kept = [name for name in order if wanted.get(name, "") is not None]
    new = [name for name, value in wanted.items() if is_drive(name) and _inserted(vm, name, value) and name not in kept]
    if not order or [*kept, *new] == order or "boot" in wanted:
        return {}
    return {"boot": f"order={';'.join([*kept, *new])}" if kept or new else " "}


def _inserted(vm: Vm, name: str, value: Value | None) -> bool:
    return name not in vm.config and is_cdrom(str(value or "")) and not is_cloudinit(str(value))


def _later(cluster: Cluster, vm: Vm, change: _Change) -> None:
    # Whoever held the lock file may have destroyed the VM meanwhile, or left a lock in its configuration.
    if cluster.vms.get(vm.vmid) is vm and not vm.lock:
        _apply(cluster, vm, change)


@recorded(369, 371, 403, 449, 1301, 1303)
@schema("/nodes/{node}/qemu/{vmid}/config")
def post_config(cluster: Cluster, call: Call) -> Reply:
    """Change options in a task; digest and config lock are checked before it is forked.

    With `background_delay` the answer waits so long for the task's end, and names no task if it has ended by then.
    """
    change = _prepare(cluster, call)
    # Told in advance, since a call answers at once here and its reply only says how long it took.
    wait = cluster.flocks.busy((call.node, config_path(call.vmid))) + cluster.durations.configure

    def worker(task: Task) -> Worker:
        yield Flock(config_path(call.vmid), seconds=cluster.durations.configure)
        vm = cluster.vm(task.node, call.vmid)
        _check(cluster, vm, change)
        task.log.append(change.log)
        task.log.extend(
            f"cannot delete '{name}' - not set in current configuration!"
            for name in change.delete
            if name not in vm.config.keys() | vm.pending.keys()
        )
        yield Sleep(cluster.durations.configure)
        drives = yield from attach_all(cluster, vm, change.values, log=task.log)
        _apply(cluster, vm, replace(change, values=change.values | drives))

    upid = cluster.tasks.start("qmconfig", call.node, str(call.vmid), user=call.token.id, worker=worker)
    delay = float(call.params.get("background_delay", 0))
    return Reply(upid if wait > delay else None, seconds=min(wait, delay))


@recorded(231, 931, 1300, 1302)
@source("Qemu.pm update_vm_api")
def _apply(cluster: Cluster, vm: Vm, change: _Change) -> None:
    """Make a change under the lock: what depends on a value is asked here, and what is not there is not deleted."""
    path = (f"/vms/{vm.vmid}",)
    for name in change.delete:
        if (old := vm.shown.get(name)) is not None:
            check_protection(vm, name, str(old))
            check_device(cluster, change.token, path, name, str(old), verb="delete")
    for name, value in change.values.items():
        check_device(cluster, change.token, path, name, str(value), verb="modify")
    _check_boot(vm, change)
    cluster.check_writable(vm)
    for name in change.revert:
        vm.pending.pop(name, None)
    wanted: dict[str, Value | None] = dict.fromkeys(name for name in change.delete if name in vm.shown)
    wanted.update(apply_options(cluster, vm, change.values))
    wanted.update(_boot_order(vm, wanted))
    if vm.running:
        change_running(cluster, vm, wanted)
        return
    for name, stored in wanted.items():
        set_option(cluster, vm, name, stored, force=change.force)


@source("Qemu.pm update_vm_api")
def _check_boot(vm: Vm, change: _Change) -> None:
    """Refuse a boot order with a device that the VM has not, or will not have."""
    order = parse(str(change.values.get("boot", "")), "legacy").get("order", "")
    for device in formatted(order):
        if device in change.delete or device not in vm.shown.keys() | change.values.keys():
            raise failed(f"invalid bootorder: device '{device}' does not exist'")


@recorded(199, 294, 380, 386)
@source("Qemu.pm update_vm_api")
def apply_options(cluster: Cluster, vm: Vm, values: Mapping[str, Value]) -> dict[str, Value | None]:
    """Return values as they are stored: volumes allocated, MACs made, tags sorted, empty ones None (remove)."""
    return {name: _stored(cluster, vm, name, value) for name, value in values.items()}


@source("QemuServer.pm parse_vm_config")
def _stored(cluster: Cluster, vm: Vm, name: str, value: Value) -> Value | None:
    """Return one value as it is read back: without the blanks around it, of a description only those at its end."""
    if isinstance(value, str):
        value = value.rstrip() if name == "description" else value.strip()
    if value == "":
        return None
    if is_drive(name):
        return attach(cluster, vm, name, str(value))
    if name.startswith("net"):
        return print_net({"macaddr": mac(cluster.settings.mac_prefix, cluster.random)} | members(name, str(value)))
    if name == "vmgenid" and value == "1":
        return new_uuid(cluster.random)
    return (sorted_tags(str(value)) or None) if name == "tags" else value
