"""GET, PUT and POST of a VM's configuration, and its pending section.

Checks come in Proxmox's order: options, privileges, the VM, digest, config lock, lock file, quorum. What a running
guest does not take becomes pending and is shown as if it were there (`failures.md` P31). Next: `drives.py`.
"""

import base64
import binascii
import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from cpcd.lab.provenance import guess, recorded, schema, source
from cpcd.lab.pve.attach import attach, attaching, check_imports
from cpcd.lab.pve.auth import refuse_skiplock
from cpcd.lab.pve.call import Call, Reply
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import failed, invalid, locked_out
from cpcd.lab.pve.flocks import config_path
from cpcd.lab.pve.options import check_hookscript, check_options, check_resources, hotpluggable, live, look_up
from cpcd.lab.pve.pending import set_option
from cpcd.lab.pve.properties import is_cdrom, is_cloudinit, is_drive, mac, parse, parse_net, print_net, sorted_tags
from cpcd.lab.pve.tasks import Flock, Sleep, Step, Task, Worker
from cpcd.lab.pve.vm import Vm

__all__ = ["apply_options", "attach_all", "get_config", "get_pending", "post_config", "put_config"]

Value = str | int
CONTROL = frozenset(("delete", "revert", "digest", "force", "skiplock", "background_delay", "node", "vmid"))
LOCK_WAIT = 10.0
MISMATCH = "checksum mismatch (file change by other user?)"
MASK = "**********"


@dataclass(frozen=True, slots=True)
class _Change:
    values: dict[str, Value]
    delete: tuple[str, ...] = ()
    revert: tuple[str, ...] = ()
    digest: str = ""
    skiplock: bool = False
    log: str = field(default="")


@recorded(287, 295, 538, 539, 746)
@schema("/nodes/{node}/qemu/{vmid}/config")
def get_config(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return the configuration with pending values, or the running one with `current=1`; passwords are masked."""
    vm = cluster.vm(call.node, call.vmid)
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


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in text.replace(";", ",").replace(" ", ",").split(",") if name))


@recorded(367, 372, 373, 376, 443, 448, 464)
def _prepare(cluster: Cluster, call: Call) -> _Change:
    refuse_skiplock(call)
    delete, revert = _names(call.params.get("delete", "")), _names(call.params.get("revert", ""))
    values = {key: value for key, value in call.params.items() if key not in CONTROL}
    for name in delete:
        if look_up(name) is None:
            raise invalid({"delete": f"unknown option '{name}'"})
        if name in values:
            raise invalid({"delete": f"you can't use '-{name}' and -delete {name}' at the same time"})
    if not (values or delete or revert):
        raise failed("no options specified")
    path = (f"/vms/{call.vmid}",)
    text = {name: str(value) for name, value in values.items()}
    check_hookscript(cluster, call.node, text)
    check_options(cluster, call.token, path, dict.fromkeys((*delete, *revert), ""))
    check_options(cluster, call.token, path, text)
    check_resources(cluster, call, text)
    check_imports(cluster, call, text)
    _check_keys(text.get("sshkeys", ""))
    line = " ".join(f"-{key} {call.raw[key]}" for key in sorted(call.raw.keys() - {"digest", "node", "vmid"}))
    digest, skip = call.params.get("digest", ""), bool(call.params.get("skiplock"))
    change = _Change(values, delete, revert, digest, skip, f"update VM {call.vmid}: {line}")
    _check(cluster, cluster.vm(call.node, call.vmid), change)
    return change


@recorded(367, 368, 448, 749)
@source("P30")
def _check(cluster: Cluster, vm: Vm, change: _Change) -> None:
    if change.digest and change.digest != vm.digest:
        raise failed(MISMATCH)
    cluster.check_lock(vm, skip=change.skiplock)


@recorded(293)
def _check_keys(text: str) -> None:
    for line in filter(None, (line.strip() for line in unquote(text).splitlines())):
        try:
            kind, key = line.split()[:2]
            base64.b64decode(key, validate=True)
        except (ValueError, binascii.Error):
            raise failed("SSH public key validation error") from None
        if not kind.startswith(("ssh-", "ecdsa-", "sk-")):
            raise failed("SSH public key validation error")


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
@source("Qemu.pm update_vm_api")
def _boot_order(vm: Vm, wanted: Mapping[str, Value | None]) -> dict[str, Value]:
    """Add a new CD-ROM to the boot order, if there is one that is not being set."""
    order = parse(str(vm.shown.get("boot", "")), "legacy").get("order", "")
    cdroms = [name for name, value in wanted.items() if is_drive(name) and _inserted(vm, name, value)]
    new = [name for name in cdroms if name not in order.split(";")]
    return {"boot": f"order={';'.join([order, *new])}"} if new and order and "boot" not in wanted else {}


def _inserted(vm: Vm, name: str, value: Value | None) -> bool:
    return name not in vm.config and is_cdrom(str(value or "")) and not is_cloudinit(str(value))


def _later(cluster: Cluster, vm: Vm, change: _Change) -> None:
    if cluster.vms.get(vm.vmid) is vm and not vm.lock:
        _apply(cluster, vm, change)


@recorded(369, 371, 403, 449, 1301, 1303)
@schema("/nodes/{node}/qemu/{vmid}/config")
def post_config(cluster: Cluster, call: Call) -> str:
    """Change options in a task; digest and config lock are checked before it is forked."""
    change = _prepare(cluster, call)

    def worker(task: Task) -> Worker:
        task.log.append(change.log)
        yield Flock(config_path(call.vmid), seconds=cluster.durations.configure)
        vm = cluster.vm(task.node, call.vmid)
        _check(cluster, vm, change)
        yield Sleep(cluster.durations.configure)
        drives = yield from attach_all(cluster, vm, change.values, log=task.log)
        _apply(cluster, vm, replace(change, values=change.values | drives))

    return cluster.tasks.start("qmconfig", call.node, str(call.vmid), user=call.token.id, worker=worker)


def _apply(cluster: Cluster, vm: Vm, change: _Change) -> None:
    cluster.check_writable(vm)
    for name in change.revert:
        vm.pending.pop(name, None)
    wanted: dict[str, Value | None] = dict.fromkeys(change.delete)
    wanted.update(apply_options(cluster, vm, change.values))
    wanted.update(_boot_order(vm, wanted))
    if vm.running:
        _change_running(cluster, vm, wanted)
    else:
        for name, value in wanted.items():
            set_option(cluster, vm, name, value)


@recorded(199, 294, 378, 380, 386)
def apply_options(cluster: Cluster, vm: Vm, values: Mapping[str, Value]) -> dict[str, Value | None]:
    """Return values as they are stored: volumes allocated, MACs made, tags sorted, empty ones None (remove)."""
    balloon, memory = values.get("balloon", 0), values.get("memory")
    if memory is not None and int(balloon) > int(str(memory).removeprefix("current=").partition(",")[0]):
        raise failed("balloon value too large (must be smaller than assigned memory)")
    stored: dict[str, Value | None] = {}
    for name, value in values.items():
        if is_drive(name):
            stored[name] = attach(cluster, vm, name, str(value))
        elif name.startswith("net"):
            parts = {"macaddr": mac(cluster.settings.mac_prefix, cluster.random)} | parse_net(str(value))
            stored[name] = print_net(parts)
        else:
            stored[name] = (sorted_tags(str(value)) if name == "tags" else value) if value != "" else None
    return stored


@recorded(537, 540, 545, 551, 560)
def _change_running(cluster: Cluster, vm: Vm, wanted: dict[str, Value | None]) -> None:
    """Apply what needs no guest, offer it what Proxmox would hot-plug, leave the rest pending."""
    features = str(vm.config.get("hotplug", "1"))
    offered: dict[str, Value | None] = {}
    for name, value in wanted.items():
        if live(name):
            set_option(cluster, vm, name, value)
        elif value == vm.config.get(name):
            vm.pending.pop(name, None)
        else:
            vm.pending[name] = value
            offered |= {name: value} if hotpluggable(name, features) else {}
    if offered:
        _hotplug(cluster, vm, offered)


@recorded(551, 553, 558)
@guess("memory and cores that the guest refuses stay pending without an error")
def _hotplug(cluster: Cluster, vm: Vm, offered: dict[str, Value | None]) -> None:
    """Apply what the guest takes; a device that it does not let go is a 400, and the change stays pending."""
    taken = cluster.backend.hotplug(vm, offered) & offered.keys()
    devices = {name for name in offered if name in vm.config and name not in {"cores", "memory", "vcpus"}}
    for name in taken:
        set_option(cluster, vm, name, offered[name])
    if busy := sorted(devices - taken):
        raise invalid({name: _still_busy(name) for name in busy}, cluster.durations.unplug)


@recorded(553, 558)
def _still_busy(name: str) -> str:
    device = f"virtio{name}" if name.startswith("scsi") else name
    return f"hotplug problem - error on hot-unplugging device '{device}' - still busy in guest?\n"
