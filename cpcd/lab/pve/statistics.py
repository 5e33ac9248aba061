"""Why `/cluster/resources` is late and goes back in time: pvestatd's broadcasts and the caches of three proxies.

Each node tells the others about its VMs every 10 s; each pveproxy worker then keeps what it read for 2 s. Nothing here
is planned as an event: `catch_up` is called before anything changes and takes the snapshots that have become due.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cpcd.lab.provenance import guess, recorded, source
from cpcd.lab.pve.vm import Vm

__all__ = ["Row", "Statistics", "broadcast", "usage"]

Row = dict[str, Any]
KEPT = 300.0  # seconds


@recorded(360, 531)
@guess("the load of a running guest; nothing may decide on it")
def usage(vm: Vm, now: float) -> Row:
    """Return the counters that every list of VMs has; a running guest is shown as using half of its memory."""
    running = vm.running
    return {
        "uptime": int(now - vm.since) if running else 0,
        "cpu": 0.02 if running else 0,
        "mem": vm.memory // 2 if running else 0,
        "memhost": 0,
        "netin": 0,
        "netout": 0,
        "disk": 0,
        "maxdisk": vm.boot_disk,
        "maxmem": vm.memory,
        "status": vm.status,
        "name": vm.name,
    }


@recorded(360, 748)
def broadcast(vm: Vm, now: float, cpus: int) -> Row:
    """Return what a node of so many processors tells the others about a VM."""
    counters = {"diskread": 0, "diskwrite": 0, "maxcpu": vm.shown_cpus(cpus), "template": int(vm.template)}
    return usage(vm, now) | counters


@dataclass(slots=True)
class Statistics:
    """What each node last broadcast, and what each of the three proxy workers still believes."""

    interval: float
    cache: float
    random: random.Random
    phases: dict[str, float] = field(default_factory=dict)
    ticks: dict[str, int] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)  # when each node last said anything
    rows: dict[str, dict[int, Row]] = field(default_factory=dict)
    workers: list[tuple[float, dict[str, dict[int, Row]]]] = field(default_factory=lambda: [(-math.inf, {})] * 3)

    @recorded(1366, 1369, 1374)
    def catch_up(self, node: str, vms: Iterable[Vm], now: float, *, cpus: int) -> None:
        """Take the snapshot that a node has broadcast since the last call, if one was due; nothing changed since."""
        if node not in self.phases:
            self.phases[node] = self.random.uniform(0, self.interval)
        tick = math.floor((now - self.phases[node]) / self.interval)
        if tick <= self.ticks.get(node, -1):
            return
        self.ticks[node] = tick
        due = self.phases[node] + tick * self.interval
        self.rows[node] = {vm.vmid: broadcast(vm, due, cpus) for vm in vms if vm.node == node}
        self.heard[node] = due

    def tell(self, vm: Vm, now: float, *, cpus: int) -> None:
        """Let a VM be in what its node last said, as one that has been there for long is."""
        self.rows.setdefault(vm.node, {})[vm.vmid] = broadcast(vm, now, cpus)
        self.heard.setdefault(vm.node, now)

    @source("pmxcfs/status.c rrd_entry_is_old")
    def known(self, node: str, now: float) -> bool:
        """Tell whether what a node last said is still kept: five minutes long, also when the node has died meanwhile."""
        return now - self.heard.get(node, -math.inf) <= KEPT

    @source("pve/README.md /cluster/resources")
    def read(self, now: float) -> dict[str, dict[int, Row]]:
        """Return node -> VMID -> row as one proxy worker, picked by chance, has them."""
        worker = self.random.randrange(len(self.workers))
        if now - self.workers[worker][0] >= self.cache:
            self.workers[worker] = (now, {node: rows for node, rows in self.rows.items() if self.known(node, now)})
        return self.workers[worker][1]
