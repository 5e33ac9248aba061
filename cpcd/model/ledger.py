"""What cannot be observed and is therefore remembered: machine rows, open operations, facts; and changes of them.

The journal stores exactly these (`adapters/journal.py`); a `Change` is applied to the view and committed in one step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cpcd.model.keys import Key, Map, OpId, Role, Scope, Uid, Wall

__all__ = [
    "Change",
    "CloseOp",
    "DropFact",
    "DropMachine",
    "Event",
    "Evidence",
    "Ledger",
    "Machine",
    "Op",
    "OpenOp",
    "PutFact",
    "PutMachine",
    "SetHandle",
]

Evidence = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine row: allocated once, kept until its VM is proved absent.

    `revision` is the hash of what can only change by replacement; `retire` is empty or why it is to go;
    `started` and `joined` say that it ever was, so that a missing VM or Node is a loss and not a beginning.
    """

    uid: Uid
    cluster: str
    role: Role
    group: str
    index: int
    name: str
    site: str
    node: str
    vmid: int
    address: str
    template: int
    template_node: str
    revision: str
    created: Wall
    retire: str = ""
    started: bool = False
    joined: bool = False
    strikes: int = 0

    @property
    def wanted(self) -> bool:
        """Whether the machine is to exist."""
        return not self.retire


@dataclass(frozen=True, slots=True)
class Op:
    """A non-idempotent effect on its way, committed before its first byte leaves.

    `target` is what nobody else touches meanwhile; `before` is evidence stored to recognise the own effect later;
    `handle` is a UPID or an op id on a guest; `disrupts` the role whose availability it spends: such an op is a
    hold, open while other ops of its key come and go. `slots` are the permits that it occupies.
    """

    id: OpId
    key: Key
    verb: str
    target: Scope
    opened: Wall
    before: Evidence = field(default_factory=dict)
    disrupts: Role | None = None
    slots: tuple[str, ...] = ()
    handle: str | None = None


@dataclass(frozen=True, slots=True)
class PutMachine:
    """Insert or replace a row."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class DropMachine:
    """Forget a row whose VM is proved absent."""

    uid: Uid


@dataclass(frozen=True, slots=True)
class OpenOp:
    """Open an operation."""

    op: Op


@dataclass(frozen=True, slots=True)
class SetHandle:
    """Remember what the other side called it."""

    id: OpId
    handle: str


@dataclass(frozen=True, slots=True)
class CloseOp:
    """Close an operation by a verdict of `resolve`."""

    id: OpId


@dataclass(frozen=True, slots=True)
class PutFact:
    """Remember a fact under a path such as `identity/home`."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class DropFact:
    """Forget a fact."""

    name: str


Change = PutMachine | DropMachine | OpenOp | SetHandle | CloseOp | PutFact | DropFact


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history: what a pass said about an object.

    `name` is what people call the object, also when it is no more; `code` is empty unless something went wrong.
    """

    at: Wall
    key: str
    run: str
    severity: str
    reason: str
    message: str
    code: str = ""
    name: str = ""


@dataclass(frozen=True)
class Ledger:
    """The whole memory as a value, with what follows from it, made when first asked for (so it has no slots)."""

    machines: Map[Uid, Machine] = field(default_factory=dict)
    ops: Map[OpId, Op] = field(default_factory=dict)
    facts: Map[str, Any] = field(default_factory=dict)

    @cached_property
    def rows(self) -> Map[str, list[Machine]]:
        """Machine rows by cluster, each in a stable order."""
        found: dict[str, list[Machine]] = {}
        for machine in sorted(self.machines.values(), key=lambda m: (m.role.value, m.group, m.index, m.uid)):
            found.setdefault(machine.cluster, []).append(machine)
        return found

    @cached_property
    def named(self) -> Map[tuple[str, str], Machine]:
        """The wanted row of each name, by cluster and name."""
        return {(machine.cluster, machine.name): machine for machine in self.machines.values() if machine.wanted}

    @cached_property
    def owned(self) -> Map[Key, list[Op]]:
        """Open operations by the key that resolves them, oldest first."""
        found: dict[Key, list[Op]] = {}
        for op in sorted(self.ops.values(), key=lambda op: (op.opened, op.id)):
            found.setdefault(op.key, []).append(op)
        return found

    @cached_property
    def begun(self) -> frozenset[str]:
        """Clusters that have machines or an identity, whether their documents are still there or not."""
        known = (name.removeprefix("identity/") for name in self.facts if name.startswith("identity/"))
        return frozenset((*self.rows, *known))

    @cached_property
    def endpoints(self) -> Map[str, str]:
        """Cluster that has begun -> the host of its endpoint, which it has been made with for good."""
        made = {name: self.facts.get(f"fixed/{name}", {}).get("controlPlaneEndpoint", "") for name in self.begun}
        return {name: shown.rpartition(":")[0] for name, shown in made.items() if shown}

    @cached_property
    def consents(self) -> tuple[str, ...]:
        """Ids that were consented to and not spent yet."""
        return tuple(name.removeprefix("approval/") for name in self.facts if name.startswith("approval/"))

    def after(self, changes: tuple[Change, ...]) -> "Ledger":
        """Return the memory with the changes applied in order."""
        machines, ops, facts = dict(self.machines), dict(self.ops), dict(self.facts)
        for change in changes:
            match change:
                case PutMachine(machine):
                    machines[machine.uid] = machine
                case DropMachine(uid):
                    machines.pop(uid, None)
                case OpenOp(op):
                    ops[op.id] = op
                case SetHandle(op_id, handle):
                    ops[op_id] = replace(ops[op_id], handle=handle)
                case CloseOp(op_id):
                    ops.pop(op_id, None)
                case PutFact(name, value):
                    facts[name] = value
                case DropFact(name):
                    facts.pop(name, None)
        return Ledger(machines, ops, facts)
