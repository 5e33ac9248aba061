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
        return self.apis().get((host, port))

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
        guest.power_on(vm.booted or {})

    def shutdown(self, vm: Vm) -> None:
        """Press the power button."""
        guest = self.guests[vm.vmid]
        boot = guest.boot_id

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

    @source("P23")
    def agent_interfaces(self, vm: Vm) -> list[dict[str, Any]]:
        """Return loopback and net0 as the agent sees them."""
        guest = self.guests[vm.vmid]
        own = {"name": "eth0", "hardware-address": vm.mac.lower(), "ip-addresses": [_ipv4(guest.address)]}
        return [{"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": [_ipv4("127.0.0.1")]}, own]

    def agent_file(self, vm: Vm, path: str) -> str | None:
        """Return the SSH host key's file; no other file is modelled."""
        guest = self.guests.get(vm.vmid)
        return f"{guest.host_key}\n" if guest is not None and path == HOST_KEY else None

    def hotplug(self, vm: Vm, changes: Mapping[str, Any]) -> set[str]:
        """Let the running guest take processors, memory and disk size."""
        guest = self.guests.get(vm.vmid)
        if guest is None or guest.booted is None:
            return set()
        guest.hotplug({**(vm.booted or {}), **{key: value for key, value in changes.items() if value is not None}})
        return set(changes)


def _ipv4(address: str) -> dict[str, Any]:
    return {"ip-address-type": "ipv4", "ip-address": address, "prefix": 24}
