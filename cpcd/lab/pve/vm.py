"""One virtual machine as the API knows it, and what stands behind it.

`Vm` is its configuration file, its pending section and its power state; `Backend` is the guest (the modelled one, or
QEMU) that the API can only ask. Neither knows HTTP. Next: `power.py` and `config.py`, which change a `Vm`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cpcd.lab.pve.properties import digest, is_cdrom, is_drive, parse, parse_net, parse_size

__all__ = ["Backend", "Vm"]

MIB = 1024**2
Value = str | int


@dataclass(slots=True)
class Vm:
    """One VM; `config` is the file without its digest, `pending` holds new values (None: delete at cold restart)."""

    vmid: int
    node: str
    config: dict[str, Value] = field(default_factory=dict)
    pending: dict[str, Value | None] = field(default_factory=dict)
    booted: dict[str, Value] | None = None  # the config as it was at power-on: what the guest sees
    since: float = 0  # lab time of the power-on
    pid: int = 0
    paused: bool = False
    rebooting: bool = False  # a power-off now is half of `status/reboot`

    @property
    def running(self) -> bool:
        """Tell whether a QEMU process is there."""
        return self.booted is not None

    @property
    def status(self) -> str:
        """`running` or `stopped`."""
        return "running" if self.running else "stopped"

    @property
    def template(self) -> bool:
        """Tell whether the VM is a template."""
        return bool(self.config.get("template"))

    @property
    def name(self) -> str:
        """The name, or what status lists show for a VM without one (recorded 1215)."""
        return str(self.config.get("name") or f"VM {self.vmid}")

    @property
    def lock(self) -> str:
        """The config lock (`clone`, `create`, `backup` …), empty without one."""
        return str(self.config.get("lock", ""))

    @property
    def digest(self) -> str:
        """The digest of the configuration file, pending section included."""
        return digest(self.config, self.pending)

    @property
    def drives(self) -> dict[str, str]:
        """Option -> drive string of all drives, sorted by option as a clone takes them."""
        return {key: str(self.config[key]) for key in sorted(self.config) if is_drive(key)}

    @property
    def disks(self) -> dict[str, int]:
        """Option -> bytes of the disks (no CD-ROM)."""
        return {key: _size(drive) for key, drive in self.drives.items() if not is_cdrom(drive)}

    @property
    def boot_disk(self) -> int:
        """Bytes of the first disk in the boot order; 0 while a clone has none yet (recorded 747)."""
        order = parse(str(self.config.get("boot", "")), "legacy").get("order", "").split(";")
        drives = (str(self.config[key]) for key in order if key in self.config and is_drive(key))
        return next((_size(drive) for drive in drives if not is_cdrom(drive)), 0)

    @property
    def mac(self) -> str:
        """The MAC of net0 in capitals, empty without net0."""
        return parse_net(str(self.config["net0"])).get("macaddr", "") if "net0" in self.config else ""

    @property
    def memory(self) -> int:
        """Bytes of memory; 512 MiB without the option (recorded 1215)."""
        return int(parse(str(self.config.get("memory", 512)), "current").get("current", 512)) * MIB

    @property
    def most_cpus(self) -> int:
        """Number of virtual CPUs that the VM could have: cores times sockets."""
        sockets = self.config.get("sockets", self.config.get("smp", 1))
        return int(self.config.get("cores", 1)) * int(sockets)

    def shown_cpus(self, host: int) -> int:
        """Return the number that lists show: no more than the host has, unless `vcpus` says another."""
        return int(self.config.get("vcpus", 0)) or min(self.most_cpus, host)

    @property
    def agent(self) -> bool:
        """Tell whether the guest agent is enabled in the configuration."""
        return parse(str(self.config.get("agent", "0")), "enabled").get("enabled") == "1"

    @property
    def shown(self) -> dict[str, Value]:
        """The configuration with pending values, as a plain GET shows it (recorded 538)."""
        merged: dict[str, Value | None] = {**self.config, **self.pending}
        return {key: value for key, value in merged.items() if value is not None}


def _size(drive: str) -> int:
    return parse_size(parse(drive, "file").get("size", "0"))


class Backend(Protocol):
    """What stands behind a VM; every call returns at once and may plan events of its own."""

    def power_on(self, vm: Vm) -> None:
        """Begin to boot; `vm.booted` is what the guest sees."""
        ...

    def shutdown(self, vm: Vm) -> None:
        """Press the power button; a guest that obeys calls `Pve.powered_off(vmid)` later."""
        ...

    def power_off(self, vm: Vm) -> None:
        """Take the power away."""
        ...

    def reset(self, vm: Vm) -> None:
        """Press the reset button; the configuration stays that of the power-on."""
        ...

    def destroyed(self, vm: Vm) -> None:
        """Forget the disks."""
        ...

    def cloned(self, source: Vm, target: Vm) -> None:
        """Give `target` the disk contents of `source`."""
        ...

    def agent_up(self, vm: Vm) -> bool:
        """Tell whether the guest agent answers."""
        ...

    def agent_interfaces(self, vm: Vm) -> list[dict[str, Any]]:
        """Return what guest-network-get-interfaces says, MACs in lower case, `lo` included."""
        ...

    def agent_file(self, vm: Vm, path: str) -> str | None:
        """Return a file's text, None when there is none."""
        ...

    def hotplug(self, vm: Vm, changes: Mapping[str, Value | None]) -> set[str]:
        """Offer changes to the running guest (None: unplug); return the options that it took."""
        ...
