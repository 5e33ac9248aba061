"""What a change of a running VM's options does: at once, by the guest's leave, or at the next cold start.

The rules are those of `vmconfig_hotplug_pending`; the guest is asked through `Backend.hotplug`. Next: `config.py`, which
knows nothing of running guests.
"""

from collections.abc import Callable, Mapping
from typing import Final

from cpcd.lab.provenance import guess, recorded, source
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import invalid
from cpcd.lab.pve.options import CLOUDINIT
from cpcd.lab.pve.pending import set_option
from cpcd.lab.pve.properties import is_cdrom, is_cloudinit, is_drive
from cpcd.lab.pve.schema import members
from cpcd.lab.pve.vm import Vm

__all__ = ["change_running"]

Value = str | int
LIVE: Final = CLOUDINIT | {
    "description", "hookscript", "lock", "migrate_downtime", "migrate_speed", "name", "onboot", "protection", "shares",
    "startup", "tags", "vmstatestorage", "cpulimit", "cpuunits",
}  # fmt: skip
FEATURES: Final = frozenset(("network", "disk", "usb"))  # what `hotplug=1` means
REPLUGGED: Final = frozenset(
    ("model", "macaddr", "queues", "mtu")
)  # of a network device: anything else is set from outside
COLD: Final = frozenset(
    ("aio", "cache", "discard", "iothread", "product", "queues", "ro", "ssd", "vendor")
)  # of a disk
NOW, ASK, LATER = "now", "ask", "later"


@recorded(537, 540, 545, 551, 560)
@source("QemuServer.pm vmconfig_hotplug_pending")
def change_running(cluster: Cluster, vm: Vm, wanted: Mapping[str, Value | None]) -> None:
    """Apply what needs no guest, offer it what Proxmox would plug or unplug, leave the rest pending.

    A device that the guest does not let go is a 400, and its change stays pending (recorded 553, 558).
    """
    offered: dict[str, Value | None] = {}
    for name, value in wanted.items():
        # Set back to what the VM runs with, nothing waits any more.
        if value == vm.config.get(name):
            vm.pending.pop(name, None)
            continue
        when = _when(vm, name, value)
        if when == NOW:
            set_option(cluster, vm, name, value)
        else:
            vm.pending[name] = value
            offered |= {name: value} if when == ASK else {}
    if offered:
        _offer(cluster, vm, offered)


def _features(vm: Vm) -> frozenset[str]:
    text = str(vm.config.get("hotplug", "1"))
    return FEATURES if text == "1" else frozenset(text.replace(";", ",").replace(" ", ",").split(","))


@recorded(545, 546, 547)
def _when(vm: Vm, name: str, value: Value | None) -> str:
    """Return when a change takes effect: `now`, after the guest was asked, or later."""
    features = _features(vm)
    if name in LIVE or name.startswith(("ipconfig", "unused")):
        return NOW
    if name.startswith("net"):
        return _net(vm, name, value, plug="network" in features)
    if is_drive(name):
        return _drive(vm, name, value, plug="disk" in features)
    return _other(vm, name, value, features)


@recorded(541, 544)
@source("QemuServer.pm vmconfig_hotplug_pending")
def _other(vm: Vm, name: str, value: Value | None, features: frozenset[str]) -> str:
    if name == "vcpus" and "cpu" in features:
        return ASK
    if name == "memory" and "memory" in features and value is not None:
        return ASK
    return NOW if name in AT_ONCE and AT_ONCE[name](vm, value) else LATER


def _hotplug(vm: Vm, value: Value | None) -> bool:
    """Whether memory and processors stay as they are: those are set up for it when QEMU starts."""
    words = f"{value or ''} {vm.config.get('hotplug', '')}"
    return "memory" not in words and "cpu" not in words


def _balloon(vm: Vm, value: Value | None) -> bool:
    """Whether the device stays, or stays away: 0 is none, and the default is one."""
    return (value is None or int(value) > 0) == (int(vm.config.get("balloon", 1)) > 0)


def _agent(vm: Vm, value: Value | None) -> bool:
    """Whether QEMU need not know: that clones are trimmed is Proxmox's own."""
    if value is None or "agent" not in vm.config:
        return False
    return {"fstrim_cloned_disks"} >= _differ(members("agent", str(vm.config["agent"])), members("agent", str(value)))


AT_ONCE: Final[Mapping[str, Callable[[Vm, Value | None], bool]]] = {
    "hotplug": _hotplug, "balloon": _balloon, "agent": _agent,
}  # fmt: skip
"""Options that take effect at once if what they say of the running VM's devices is the same."""


def _differ(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


@recorded(551, 558)
@source("QemuServer.pm vmconfig_update_net")
def _net(vm: Vm, name: str, value: Value | None, *, plug: bool) -> str:
    """A bridge, a tag or a link is changed from outside; another device, or none, has to be plugged."""
    if value is not None and name in vm.config:
        before, after = members(name, str(vm.config[name])), members(name, str(value))
        if not _differ(before, after) & REPLUGGED and before.get("bridge") and after.get("bridge"):
            return NOW
    return ASK if plug else LATER


@recorded(553, 559, 560)
@source("QemuServer.pm vmconfig_update_disk")
def _drive(vm: Vm, name: str, value: Value | None, *, plug: bool) -> str:
    """A medium is changed from outside, limits of a disk too; a disk itself has to be plugged."""
    if name.startswith(("efidisk", "tpmstate")):
        return LATER
    if value is not None and name in vm.config:
        return _changed(name, str(vm.config[name]), str(value), plug=plug)
    return ASK if plug and not name.startswith(("ide", "sata")) else LATER


@source("QemuServer.pm vmconfig_update_disk")
def _changed(name: str, old: str, new: str, *, plug: bool) -> str:
    before, after = members(name, old), members(name, new)
    if before.get("media", "disk") != after.get("media", "disk"):
        raise invalid({name: "hotplug problem - unable to change media type\n"})
    if is_cdrom(old) and not is_cloudinit(new):
        return NOW
    if before["file"] != after["file"]:
        return ASK if plug else LATER
    return LATER if _differ(before, after) & COLD else NOW


@recorded(551, 553, 558)
@guess("memory and processors that the guest refuses stay pending without an error")
def _offer(cluster: Cluster, vm: Vm, offered: dict[str, Value | None]) -> None:
    """Apply what the guest takes; a device that it does not let go is told."""
    taken = cluster.backend.hotplug(vm, offered) & offered.keys()
    devices = {name for name in offered if name in vm.config and name not in {"memory", "vcpus"}}
    for name in taken:
        set_option(cluster, vm, name, offered[name])
    if busy := sorted(devices - taken):
        durations = cluster.durations
        seconds = sum(durations.unplug_disk if is_drive(name) else durations.unplug for name in busy)
        raise invalid({name: _still_busy(name) for name in busy}, seconds)


@recorded(553, 558)
def _still_busy(name: str) -> str:
    device = f"virtio{name}" if name.startswith("scsi") else name
    return f"hotplug problem - error on hot-unplugging device '{device}' - still busy in guest?\n"
