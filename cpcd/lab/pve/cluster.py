"""The state of one modelled Proxmox VE cluster, shared by every handler and every worker.

Nodes, VMs, pools, volumes, locks, tasks, and the rules that hold for all of them: who has quorum, which node has a
VM, what a power-on is. It speaks no HTTP and checks no privileges. Next: `routes.py` for who uses it.
"""

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cpcd.lab.events import Events, Handle
from cpcd.lab.provenance import guess, recorded, source
from cpcd.lab.pve.errors import Refused, failed, missing, nowhere
from cpcd.lab.pve.flocks import Flocks
from cpcd.lab.pve.settings import Node, Settings, Storage, Token
from cpcd.lab.pve.statistics import Statistics
from cpcd.lab.pve.tasks import Tasks
from cpcd.lab.pve.vm import Backend, Vm
from cpcd.lab.pve.volumes import Volumes

__all__ = ["Cluster", "Destructive", "Host", "Pool", "Reach"]

Reach = Literal["answers", "no route", "refused", "silent", "certificate"]


@dataclass(frozen=True, slots=True)
class Destructive:
    """One accepted call that can hurt: lab time, verb (`destroy`, `stop`, `reboot` …), VMID and token id."""

    time: float
    verb: str
    vmid: int
    token: str


@dataclass(slots=True)
class Host:
    """One node's state: `up` is whether it answers, `member` whether the others have noticed, `reach` how it fails."""

    node: Node
    up: bool = True
    member: bool = True
    booted: float = 0.0
    reach: Reach = "answers"


@dataclass(slots=True)
class Pool:
    """One resource pool."""

    comment: str = ""
    vms: set[int] = field(default_factory=set)
    storages: set[str] = field(default_factory=set)


UNREACHED: dict[str, tuple[int, str, float]] = {
    "no route": (595, "No route to host", 0),
    "refused": (595, "Connection refused", 0.01),
    "silent": (596, "Connection timed out", 30.0),
    "certificate": (596, "error:0A000086:SSL routines::certificate verify failed", 0.01),
}
"""How a node fails that does not answer: status, text, seconds (recorded 1181-1189)."""


def _unresolved(name: str) -> str:
    """Return what the resolver says: it does not even ask for a name that cannot be one."""
    possible = re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?", name)
    return "Temporary failure in name resolution" if possible else "Name or service not known"


class Cluster:
    """Everything that changes; made by `Pve`, read and written by handlers and workers."""

    def __init__(self, events: Events, backend: Backend, settings: Settings, rng: random.Random) -> None:
        self.events = events
        self.backend = backend
        self.settings = settings
        self.random = rng
        self.durations = settings.durations
        self.name = settings.name
        self.accounts: dict[str, Token] = {token.id: token for token in settings.tokens}
        self.hosts = {node.name: Host(node) for node in settings.nodes}
        self.vms: dict[int, Vm] = {}
        self.pools: dict[str, Pool] = {}
        self.volumes = Volumes(settings, lambda: self.wall)
        self.flocks = Flocks(events)
        self.tasks = Tasks(events, self.flocks, settings, rng, self.catch_up)
        self.statistics = Statistics(self.durations.statistics, self.durations.proxy_cache, rng)
        self.quorum = True
        self.expected: int | None = None  # votes that somebody said are expected; the number of nodes without
        self.noticed: tuple[object, bool] | None = None  # who was there, and quorum, when somebody said it
        self.stopped: dict[str, float] = {}  # services of the entry node that somebody stopped, and when
        self.next_id = (100, 1_000_000)  # datacenter option next-id
        self.neighbours: dict[str, Host] = {name: Host(Node(name), up=False) for name in settings.neighbours}
        self.calls: Counter[str] = Counter()
        self.history: list[Destructive] = []

    @property
    def wall(self) -> float:
        """Wall-clock time of the cluster, Unix seconds."""
        return self.settings.epoch + self.events.now

    @property
    def storages(self) -> tuple[Storage, ...]:
        """The storages that are defined now."""
        return self.volumes.settings.storages

    @property
    @recorded(1292, 1304)
    def quorate(self) -> bool:
        """Tell whether a majority of the expected votes is there and nobody took quorum away."""
        votes = sum(host.member for host in self.hosts.values())
        return self.quorum and 2 * votes > (self.expected or len(self.hosts))

    @property
    @source("pve/README.md [1326]", "pmxcfs/status.c cfs_set_quorate")
    def told_quorate(self) -> bool:
        """Tell what the cluster's status says of quorum: news of expected votes alone do not reach it."""
        if self.noticed and self.noticed[0] == self._present():
            return self.noticed[1]
        return self.quorate

    def _present(self) -> object:
        return (self.quorum, {name: host.member for name, host in self.hosts.items()})

    def expect_votes(self, votes: int) -> None:
        """Take another number of votes for all there are."""
        # Before the new number counts: the status goes on saying this until somebody comes or goes.
        self.noticed = (self._present(), self.told_quorate)
        self.expected = votes

    @property
    @guess("clients reach the first node that is up, as behind a list of endpoints")
    def entry(self) -> Host | None:
        """The node that answers the client: the first that is up, as behind a list of endpoints."""
        return next((host for host in self.hosts.values() if host.up), None)

    def catch_up(self) -> None:
        """Let the statistics see the state up to now; called before anything changes."""
        for name, host in self.hosts.items():
            if host.up and not ("pvestatd" in self.stopped and host is self.entry):
                self.statistics.catch_up(name, self.vms.values(), self.events.now, cpus=host.node.cpus)

    def at(self, delay: float, effect: Callable[[], None]) -> Handle:
        """Plan an effect that changes this state."""

        def run() -> None:
            self.catch_up()
            effect()

        return self.events.at(delay, run)

    @recorded(63, 396, 397)
    def vm(self, node: str, vmid: int) -> Vm:
        """Return a VM of this node; one that is elsewhere is as missing as one that never was."""
        vm = self.vms.get(vmid)
        if vm is None or vm.node != node:
            raise missing(node, vmid)
        return vm

    @recorded(337)
    def located(self, node: str, vmid: int) -> Vm:
        """Return a VM of this node as `vm` does; one that is not there is told in the words of who looks for its process."""
        vm = self.vms.get(vmid)
        if vm is None or vm.node != node:
            raise nowhere(node, vmid)
        return vm

    @recorded(67, 68, 69, 70, 343, 1181, 1183, 1186, 1189, 1322)
    @source("T02", "T09")
    def host(self, name: str) -> Host:
        """Return the node that a call is proxied to; refuses a name that does not resolve and a host that fails."""
        host = self.hosts.get(name) or self.neighbours.get(name)
        # Whoever answers the call is its own localhost.
        if name == "localhost" and self.entry:
            host = self.entry
        if host is None:
            raise failed(
                f"hostname lookup '{name}' failed - failed to get address info for: {name}: {_unresolved(name)}"
            )
        # A node that is down is not there to refuse: its address has no host.
        fault = "no route" if not host.up and host.reach == "answers" else host.reach
        if fault != "answers":
            status, text, seconds = UNREACHED[fault]
            raise Refused(status, text, seconds=seconds or self.durations.unroutable, body=False)
        return host

    def pool_of(self, vmid: int) -> str:
        """Return the pool of a VM, empty without one."""
        return next((name for name, pool in self.pools.items() if vmid in pool.vms), "")

    def record(self, verb: str, vmid: int, token: str) -> None:
        """Write an accepted destructive call into the history."""
        self.history.append(Destructive(self.events.now, verb, vmid, token))

    @recorded(1304, 1305, 1306)
    def check_quorum(self) -> None:
        """Refuse what create, clone and start refuse without quorum (`failures.md` P15)."""
        if not self.quorate:
            raise failed("cluster not ready - no quorum?")

    @recorded(1300, 1302, 1312, 1316)
    def check_writable(self, vm: Vm) -> None:
        """Refuse to write a configuration while /etc/pve is read-only for lack of quorum."""
        if not self.quorate:
            name = f"/etc/pve/nodes/{vm.node}/qemu-server/{vm.vmid}.conf.tmp.{self.random.randrange(10_000, 13_000)}"
            raise failed(f"unable to open file '{name}' - Permission denied")

    @staticmethod
    @recorded(448, 449, 452, 459, 465, 793)
    def check_lock(vm: Vm, *, skip: bool = False) -> None:
        """Refuse a VM whose configuration carries a lock (`failures.md` P11); root's `skiplock` skips that."""
        if vm.lock and not skip:
            raise failed(f"VM is locked ({vm.lock})")
