"""Everything that can be done to a machine, as values: the table of contents.

Each action says itself, names its permits and its class, and knows what the world looks like afterwards. How it is
carried out stands in `reconcilers/machine.py`; when it is chosen in `fleet`, `provision`, `prepare`, `member`, `upkeep`
and `retire`; what became of one that is an op in `resolve`.
"""

from collections.abc import Mapping
from typing import Final

from cpcd.plan.effects.base import COOL_DOWN, Job, MachineAction, Power, Write, about, fresh_facts, joined_view, see
from cpcd.plan.effects.cluster import DeleteNode, Drain, RemoveMember, Uncordon
from cpcd.plan.effects.fleet import SURGE, AddMachine, ElectInit, RetireMachine, destroyed, healed
from cpcd.plan.effects.jobs import PLAYBOOKS, Init, Join, Prepare, Reset, Snapshot
from cpcd.plan.effects.ledger import Forget, Forgive, Hold, MarkJoined, PinHostKey, Relocate, Renumber
from cpcd.plan.effects.vm import Clone, Configure, Destroy, Grow, ResetVm, Shutdown, Start, Stop

__all__ = [
    "COOL_DOWN",
    "OPS",
    "PLAYBOOKS",
    "SURGE",
    "AddMachine",
    "Clone",
    "Configure",
    "DeleteNode",
    "Destroy",
    "Drain",
    "ElectInit",
    "Forget",
    "Forgive",
    "Grow",
    "Hold",
    "Init",
    "Job",
    "Join",
    "MachineAction",
    "MarkJoined",
    "PinHostKey",
    "Power",
    "Prepare",
    "Relocate",
    "RemoveMember",
    "Renumber",
    "Reset",
    "ResetVm",
    "RetireMachine",
    "Shutdown",
    "Snapshot",
    "Start",
    "Stop",
    "Uncordon",
    "Write",
    "about",
    "destroyed",
    "fresh_facts",
    "healed",
    "joined_view",
    "see",
]

OPS: Final[Mapping[str, type[Write | Job]]] = {
    kind.verb: kind
    for kind in (Clone, Grow, Start, Shutdown, Stop, ResetVm, Destroy, Prepare, Init, Join, Reset, Snapshot)
}
"""By verb, what kind of action an op of a machine carries out; holds are none."""
