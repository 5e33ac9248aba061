"""One world: a Proxmox, the machines behind it and the clusters that they make, on one clock and one dice.

It stands behind Proxmox as its `Backend` and around the guests as their `Surroundings`; nothing else knows both.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

from cpcd.lab.events import Events
from cpcd.lab.guests import Durations, Guest
from cpcd.lab.kube import Cluster, Plan
from cpcd.lab.provenance import recorded, source
from cpcd.lab.pve import Pve, Settings, Vm

__all__ = ["World"]

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
HOSTNAME = "/etc/hostname"
COUNTERS = dict.fromkeys(
    (f"{way}-{what}" for way in ("rx", "tx") for what in ("bytes", "dropped", "errs", "packets")), 0
)


class World:
    """Everything that the lab models; deterministic for a seed and a sequence of calls."""

    def __init__(self, *, now: Callable[[], float], seed: int, settings: Settings, durations: Durations) -> None:
        self.events = Events(now)
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.durations = durations
        self.seed = seed
        self.epoch = settings.epoch
        self.guests: dict[int, Guest] = {}
        self.clusters: list[Cluster] = []
        self.pve = Pve(self.events, self, settings, self.random)

    def guest_at(self, address: str) -> Guest | None:
        """Return the machine whose sshd answers at an address; the longest running one where two claim it."""
        up = [guest for guest in self.guests.values() if guest.address == address and guest.ssh_up]
        return min(up, key=lambda guest: (guest.booted or 0.0, guest.vmid), default=None)

    def apis(self) -> dict[tuple[str, int], Cluster]:
        """Return the addresses at which an API server can be connected to now."""
        return {place: cluster for cluster in self.clusters for place in cluster.addresses()}

    def reach(self, host: str, port: int) -> Cluster | None:
        """Return whose API server answers at an address now."""
        found = [cluster for cluster in self.clusters if cluster.answers(host, port)]
        return found[-1] if found else None

    def new_cluster(self, plan: Plan) -> Cluster:
        """Make a cluster that nobody serves yet."""
        cluster = Cluster(
            plan, events=self.events, rng=self.random, lags=self.durations.kube, epoch=self.epoch,
            seed=f"{self.seed}/{len(self.clusters)}",
        )  # fmt: skip
        self.clusters.append(cluster)
        return cluster

    def power_on(self, vm: Vm) -> None:
        """Boot a VM's machine, which exists from its first power-on."""
        guest = self.guests.setdefault(vm.vmid, Guest(vm.vmid, self))
        guest.power_on(vm.booted or {}, system=not self.pve.blank(vm))

    @recorded(580, 582, 697)
    def shutdown(self, vm: Vm) -> None:
        """Press the power button; without an operating system nobody hears it."""
        guest = self.guests[vm.vmid]
        # Of this boot alone: reset or power-cycled meanwhile, the machine has forgotten the button.
        boot = guest.boot_id
        if not guest.system:
            return

        def off() -> None:
            if guest.boot_id == boot and guest.booted is not None:
                guest.power_off()
                self.pve.powered_off(vm.vmid)

        self.events.at(guest.halt(), off)

    def power_off(self, vm: Vm) -> None:
        """Take the power away."""
        if vm.vmid in self.guests:
            self.guests[vm.vmid].power_off()

    def reset(self, vm: Vm) -> None:
        """Press the reset button."""
        self.guests[vm.vmid].reset()

    def destroyed(self, vm: Vm) -> None:
        """Forget the machine; its kubelet is gone for good."""
        guest = self.guests.pop(vm.vmid, None)
        if guest is None:
            return
        # First, so that its kubelet and etcd stop like any that lose their power.
        guest.power_off()
        if guest.disk.kubelet is not None and guest.disk.cluster is not None:
            guest.disk.cluster.forget(guest.disk.kubelet)

    def cloned(self, source: Vm, target: Vm) -> None:
        """A clone of a template begins with a fresh disk: the machine is made at its first power-on."""

    @recorded(1007, 1069)
    def agent_up(self, vm: Vm) -> bool:
        """Tell whether the guest agent answers."""
        guest = self.guests.get(vm.vmid)
        return guest is not None and guest.agent_up

    @recorded(655)
    @source("P23")
    def agent_interfaces(self, vm: Vm) -> list[dict[str, Any]]:
        """Return loopback and net0 as the agent sees them, link-local addresses and counters included."""
        guest = self.guests[vm.vmid]
        lo = {"name": "lo", "hardware-address": "00:00:00:00:00:00"}
        own = {"name": "eth0", "hardware-address": vm.mac.lower()}
        loopback, reached = [_ip("127.0.0.1", 8), _ip("::1", 128)], [_ip(_link_local(vm.mac), 64)]
        if guest.address:
            reached.insert(0, _ip(guest.address, guest.hardware.prefix))
        return [
            lo | {"ip-addresses": loopback, "statistics": COUNTERS},
            own | {"ip-addresses": reached, "statistics": COUNTERS},
        ]

    @recorded(657, 685, 686)
    def agent_file(self, vm: Vm, path: str) -> str | None:
        """Return a file that somebody wrote, the host's name or its public SSH host key; no other file is modelled."""
        guest = self.guests.get(vm.vmid)
        if guest is None:
            return None
        if path in guest.disk.files:
            return guest.disk.files[path].text
        return {HOST_KEY: f"{guest.host_key}\n", HOSTNAME: f"{guest.hostname}\n"}.get(path)

    @recorded(551, 553, 558)
    def hotplug(self, vm: Vm, changes: Mapping[str, Any]) -> set[str]:
        """Let the running guest take processors, memory, disks; what no system drives is taken, and never let go."""
        guest = self.guests.get(vm.vmid)
        if guest is None or guest.booted is None:
            return set()
        taken = {name for name, value in changes.items() if guest.system or _grows(vm, name, value)}
        seen = {name: changes[name] for name in taken if changes[name] is not None}
        guest.hotplug({**(vm.booted or {}), **seen})
        return taken


def _grows(vm: Vm, name: str, value: Any) -> bool:
    """Tell whether a device is new, or a disk larger; then nothing has to be let go first."""
    return value is not None and (name not in vm.config or name.startswith("scsi"))


def _ip(address: str, prefix: int) -> dict[str, Any]:
    return {"ip-address": address, "ip-address-type": "ipv6" if ":" in address else "ipv4", "prefix": prefix}


def _link_local(mac: str) -> str:
    """Return the IPv6 address that follows from a MAC (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")] if mac else [0] * 6
    octets = [octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]
    groups = [f"{octets[n] << 8 | octets[n + 1]:x}" for n in range(0, 8, 2)]
    return f"fe80::{':'.join(groups)}"
