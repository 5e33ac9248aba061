"""What a change means to others: whom one of the ledger wakes, what was seen before it, what lasts of an observation."""

from collections.abc import Iterable
from typing import Any

from cpcd.model.keys import HEALTHY, Key, Kind, Scope
from cpcd.model.ledger import Change, CloseOp, DropFact, DropMachine, OpenOp, PutFact, PutMachine, SetHandle
from cpcd.model.seen import Node
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import machine_key, membership

__all__ = ["affected", "lasting", "stale", "tokens"]


def tokens(change: Change, before: View) -> Iterable[str]:
    """Return the tokens that a change signals, given the view before it."""
    match change:
        case CloseOp(op_id) if op_id in before.ops:
            return tuple(f"slot:{slot}" for slot in before.ops[op_id].slots)
        case PutFact(name, _) | DropFact(name):
            return (f"fact:{name}",)
        case PutMachine(row) if row.joined and not (row.uid in before.machines and before.machines[row.uid].joined):
            return (membership(row.cluster),)
        case _:
            return ()


def lasting(scope: Scope, value: Any) -> Iterable[str]:
    """Return what of an observation may last too long: a Node's conditions but for what healthy ones say."""
    if isinstance(value, Node):
        return (scopes.lasting(scope, one) for one in value.said if HEALTHY.get(one[0]) != one[1])
    return ()


def stale(change: Change, before: View) -> Iterable[Scope]:
    """Return the observations that tell of nothing any more once a change is made."""
    match change:
        case CloseOp(op_id) if op_id in before.ops:
            row = before.row(before.ops[op_id].key)
            return (scopes.guestop(row, op_id),) if row else ()
        # What was seen under the old VMID is about somebody else.
        case PutMachine(row) if row.uid in before.machines and before.machines[row.uid].vmid != row.vmid:
            old = before.machines[row.uid]
            return (scopes.vm(old), scopes.tasks(old.site, old.node, old.vmid))
        case DropMachine(uid) if uid in before.machines:
            row = before.machines[uid]
            own = (scopes.vm(row), scopes.guest(row), scopes.inside(row), scopes.tasks(row.site, row.node, row.vmid))
            named = (scope(row.cluster, row.name) for scope in (scopes.node, scopes.pods, scopes.attachments))
            return (*own, *named)
        # That of an addon which is forgotten.
        case DropFact(name) if name.startswith("applied/"):
            _, cluster, addon = name.split("/")
            return (scopes.addon(cluster, addon),)
        case _:
            return ()


def affected(change: Change, view: View) -> Iterable[Key]:
    """Return the keys that a change is about: a row's own key and its cluster's."""
    match change:
        case PutMachine(machine):
            cluster = Key(machine.cluster, Kind.CLUSTER, machine.cluster)
            return (machine_key(machine), cluster, Key(machine.cluster, Kind.NODES, machine.name))
        # Its VMID and address come free for each cluster of its Proxmox.
        case DropMachine():
            return tuple(Key(name, Kind.CLUSTER, name) for name in view.desired.clusters)
        case OpenOp(op) if op.disrupts:
            return (op.key,)
        case CloseOp() | SetHandle() | OpenOp() | PutFact() | DropFact():
            return ()
