"""What is armed on a lab, and what befalls it: each call is shown to the faults, and the first that matches strikes.

It changes the lab only through interventions and the values that the lab reads anyway; it never touches the daemon.
What is armed without an end ends with `clear`, which gives back what was taken. Next: `proxmox.py`, `machines.py` and
`kubernetes.py`, which lay it around the ports.
"""

import inspect
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from cpcd.lab.faults import mechanisms as does
from cpcd.lab.faults.hands import Hands
from cpcd.lab.faults.mechanisms import Fault
from cpcd.lab.provenance import source
from cpcd.lab.world import World
from cpcd.ports.proxmox import Response

__all__ = ["Armed", "Sleep"]

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class _Waiting:
    fault: Fault
    pattern: re.Pattern[str]
    met: int = 0
    struck: int = 0

    def strikes(self, port: str, words: str) -> bool:
        fault = self.fault
        if fault.port != port or not self.pattern.search(words):
            return False
        # Counted also when it does not strike: `skip` counts calls.
        self.met += 1
        if self.met <= fault.skip or (fault.times is not None and self.struck >= fault.times):
            return False
        self.struck += 1
        return True


class Armed:
    """What is armed on one world; `struck` counts by the fault's name how often each has struck.

    `hands` are those whose methods a `Hand` may name; who lays the faults adds what befalls the daemon's own host.
    """

    def __init__(self, world: World, sleep: Sleep) -> None:
        self.world, self.sleep = world, sleep
        self.struck: Counter[str] = Counter()
        self._armed: list[_Waiting] = []
        self._undo: list[Callable[[], None]] = []
        self.told: dict[str, Response] = {}
        self.hands: list[object] = [Hands(world), world.pve]

    def arm(self, *faults: Fault) -> None:
        """Let faults strike from now on."""
        self._armed += [_Waiting(fault, re.compile(fault.call)) for fault in faults]

    def clear(self) -> None:
        """Disarm all, and undo what lasts: slowness, full disks, lost quorum."""
        self._armed.clear()
        self.told.clear()
        # In the opposite order: what was taken twice was first taken from what it was.
        while self._undo:
            self._undo.pop()()

    def due(self, port: str, words: str) -> does.Mechanism | None:
        """Return what strikes this call."""
        found = next((armed.fault for armed in self._armed if armed.strikes(port, words)), None)
        if found is None:
            return None
        self.struck[found.name] += 1
        return found.does

    def befall(
        self,
        mechanism: does.Mechanism,
        *,
        node: str = "",
        vmid: int = 0,
        about: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Let happen what befalls Proxmox, a VM or a disk, whatever becomes of the call; a `Hand` may take `about`."""
        pve = self.world.pve
        match mechanism:
            case does.HoldLock(path, seconds):
                pve.hold_lock(node, path.format(vmid=vmid), seconds)
            case does.Edit(options):
                self._edit(vmid, options)
            case does.Hand():
                self._lend(mechanism, {"node": node, "vmid": vmid, **about})
            case does.Slow(what, seconds, machine):
                self._slow(what, seconds, machine=machine)
            case does.DiskFull(storage):
                self._fill(storage)

    @source("P30", "P35", "P38")
    def _edit(self, vmid: int, options: Mapping[str, Any]) -> None:
        config = self.world.pve.vms[vmid].config
        for name, value in options.items():
            config.pop(name, None)
            if value is not None:
                config[name] = value

    def _lend(self, hand: does.Hand, call: Mapping[str, Any]) -> None:
        if hand.after:
            self.world.events.at(hand.after, lambda: self._hand(hand.do, {**call, **hand.given}))
        else:
            self._hand(hand.do, {**call, **hand.given})
        if hand.undo:
            self._undo.append(lambda: self._hand(hand.undo, {**call, **hand.undone}))

    def _hand(self, do: str, given: Mapping[str, Any]) -> None:
        act = next(getattr(owner, do) for owner in self.hands if hasattr(owner, do))
        act(**{name: value for name, value in given.items() if name in inspect.signature(act).parameters})

    @source("P04", "P19", "P25", "G11")
    def _slow(self, what: str, seconds: float, *, machine: bool) -> None:
        whose: Any = self.world if machine else self.world.pve.cluster
        before = whose.durations
        whose.durations = replace(before, **{what: seconds})
        self._undo.append(lambda: setattr(whose, "durations", before))

    @source("P29")
    def _fill(self, name: str) -> None:
        volumes = self.world.pve.cluster.volumes
        before = volumes.settings
        storages = (replace(one, total=0) if one.name == name else one for one in before.storages)
        volumes.settings = replace(before, storages=tuple(storages))
        self._undo.append(lambda: setattr(volumes, "settings", before))
