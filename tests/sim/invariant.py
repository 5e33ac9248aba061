"""What an invariant is: one promise of the design, watched in the lab and in what was committed.

It never looks at what the daemon believes. The promises stand in `invariants.py` and `invariants_kept.py`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from cpcd.lab.pve import Vm
from cpcd.model.desired import Cluster
from cpcd.model.keys import Uid
from cpcd.model.ledger import Change, Machine, Op
from tests.sim.gate import Call, Witness

if TYPE_CHECKING:
    from tests.sim.house import House  # which makes its own watch

__all__ = ["MARK", "BreachError", "Invariant", "changes"]

MARK: Final = re.compile(r"cpcd/1 (\S+) (\S+) (\S+) (\S+)")


class BreachError(AssertionError):
    """An invariant did not hold; begins with its name."""


class Invariant(Witness):
    """One promise: `name` is what a breach begins with, `promise` the sentence of the design that it holds."""

    name: ClassVar[str]
    promise: ClassVar[str]

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        self.house = house
        self._breach = breach

    def breach(self, words: str) -> None:
        """Record a breach."""
        self._breach(f"{self.name}: {words}")

    def settled(self) -> None:
        """See the moment at which everything is as wanted."""

    def resynced(self) -> None:
        """See the end of the first resync after it, and of the last one."""

    def over(self) -> None:
        """See the end of the run."""

    # What is true, for all of them.

    @property
    def vms(self) -> Mapping[int, Vm]:
        """The VMs as they are."""
        return self.house.world.pve.vms

    @property
    def rows(self) -> Mapping[Uid, Machine]:
        """The machine rows as committed."""
        return self.house.gate.ledger.machines

    @property
    def ops(self) -> Iterable[Op]:
        """The open operations as committed."""
        return self.house.gate.ledger.ops.values()

    @property
    def formed(self) -> bool:
        """Whether there is a cluster that anybody could have joined."""
        return any(name.startswith("identity/") for name in self.house.gate.ledger.facts)

    def cluster(self, name: str) -> Cluster | None:
        """The cluster as it is in force."""
        # Not by `state.view`, which mints an id at each look: who only watches must not change what happens.
        return self.house.daemon.state._view.cluster(name) if self.house.daemon else None

    def row_of(self, call: Call) -> Machine | None:
        """The row that a call is about: by the uid of a guest, or by VMID."""
        if call.uid:
            return self.rows.get(Uid(call.uid))
        return next((row for row in self.rows.values() if row.vmid == call.vmid), None)

    def foreign(self, vmid: int) -> bool:
        """Whether a VMID is a template's, or of a VM that somebody else put there."""
        return vmid in self.house.strangers or (vmid in self.vms and self.vms[vmid].template)

    def marked(self, vm: Vm) -> tuple[str, str, str] | None:
        """(installation, cluster, uid) in a VM's mark."""
        found = MARK.match(str(vm.config.get("description", "")))
        return (found[1], found[2], found[3]) if found else None

    def own(self, vm: Vm) -> bool:
        """Whether a VM carries the mark of this installation."""
        mark = self.marked(vm)
        return mark is not None and mark[0] == self.house.gate.ledger.facts.get("installation")


def changes(call: Call) -> tuple[Change, ...]:
    """Return what a commit changes, nothing for any other call."""
    found: tuple[Change, ...] = call.given["changes"] if call.verb == "commit" else ()
    return found
