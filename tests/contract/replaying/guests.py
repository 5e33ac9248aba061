"""The recorded machines behind the lab's API: one kind with an operating system and an agent, one with empty disks.

Only what the recording shows of them: who obeys the power button, when the agent answers, what a hot-plug takes. They
are told apart as they were made: those from the cloud image have a serial console. Next: `player.py`.
"""

from collections.abc import Mapping
from typing import Any

from cpcd.lab.events import Events
from cpcd.lab.pve import Pve, Vm

__all__ = ["Machines"]

BOOT = 35.0  # seconds until the agent answers (recorded 653, 654)
OBEYS = 3.0  # seconds from the power button to the power-off (recorded 697, 702)
LOOPBACK = {
    "name": "lo",
    "hardware-address": "00:00:00:00:00:00",
    "ip-addresses": [
        {"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8},
        {"ip-address": "::1", "ip-address-type": "ipv6", "prefix": 128},
    ],
}
COUNTERS = (
    "rx-bytes", "rx-dropped", "rx-errs", "rx-packets", "tx-bytes", "tx-dropped", "tx-errs", "tx-packets",
)  # fmt: skip


class Machines:
    """`lab.pve.Backend` as far as it was recorded."""

    def __init__(self) -> None:
        self.pve: Pve | None = None

    @property
    def _events(self) -> Events:
        assert self.pve is not None
        return self.pve.events

    def power_on(self, vm: Vm) -> None:
        """Boot; nothing is to be planned, the agent looks at the clock."""

    def shutdown(self, vm: Vm) -> None:
        """An operating system obeys, an empty disk does not hear."""
        if "serial0" in vm.config:
            pve, since = self.pve, vm.since
            assert pve is not None
            self._events.at(OBEYS, lambda: pve.powered_off(vm.vmid) if vm.since == since else None)

    def power_off(self, vm: Vm) -> None:
        """Lose power."""

    def reset(self, vm: Vm) -> None:
        """Begin again."""

    def destroyed(self, vm: Vm) -> None:
        """Nothing is kept."""

    def cloned(self, source: Vm, target: Vm) -> None:
        """Nothing is kept."""

    def agent_up(self, vm: Vm) -> bool:
        """Tell whether the agent has come up."""
        return vm.running and "serial0" in vm.config and self._events.now - vm.since >= BOOT

    def agent_interfaces(self, vm: Vm) -> list[dict[str, Any]]:
        """Return loopback and the interface that cloud-init set up (recorded 655)."""
        counters = dict.fromkeys(COUNTERS, 0)
        address = str(vm.config.get("ipconfig0", "")).partition("ip=")[2].partition("/")[0]
        own = [
            {"ip-address": address, "ip-address-type": "ipv4", "prefix": 24},
            {"ip-address": _link_local(vm.mac), "ip-address-type": "ipv6", "prefix": 64},
        ]
        eth0 = {"name": "eth0", "hardware-address": vm.mac.lower(), "ip-addresses": own}
        return [LOOPBACK | {"statistics": counters}, eth0 | {"statistics": counters}]

    def agent_file(self, vm: Vm, path: str) -> str | None:
        """Return the files that the recording put there."""
        return {"/etc/hostname": f"{vm.name}\n", "/tmp/x": "hello\nworld"}.get(path)

    def hotplug(self, vm: Vm, changes: Mapping[str, Any]) -> set[str]:
        """Take what is new and what only grows; let go of nothing (recorded 551, 553, 558)."""
        return {
            name
            for name, value in changes.items()
            if value is not None and (name not in vm.config or name.startswith("scsi"))
        }


def _link_local(mac: str) -> str:
    """Return the IPv6 address that follows from a MAC (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets = [octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]
    groups = [f"{octets[n] << 8 | octets[n + 1]:x}" for n in range(0, 8, 2)]
    return f"fe80::{':'.join(groups)}"
