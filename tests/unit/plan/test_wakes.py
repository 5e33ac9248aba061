"""What a ledger change wakes: the keys it is about and those who wait for its token."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.keys import Key, Kind, OpId, Uid
from cpcd.model.ledger import Change, CloseOp, DropFact, DropMachine, OpenOp, PutFact, PutMachine, SetHandle
from cpcd.plan import scopes
from cpcd.plan.wakes import affected, lasting, stale, tokens
from tests.unit.plan.build import NAME, hold, member_row, node, op, view

ROW = member_row("u1")
OP = op(ROW, "clone", slots=("clone:home/pve1", "x"))
HELD = hold(ROW)
VIEW = view(rows=[ROW], ops=[OP, HELD])
MACHINE, CLUSTER = Key(NAME, Kind.MACHINE, "u1"), Key(NAME, Kind.CLUSTER, NAME)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (CloseOp(OP.id), ("slot:clone:home/pve1", "slot:x")),
        (CloseOp(HELD.id), (f"slot:control-plane:{NAME}",)),
        (CloseOp(OpId("never")), ()),
        (PutFact("identity/lab", {}), ("fact:identity/lab",)),
        (DropFact("paused/lab"), ("fact:paused/lab",)),
        (OpenOp(OP), ()),
        (PutMachine(ROW), ()),
        (PutMachine(replace(ROW, uid=Uid("u2"))), (f"joined:{NAME}",)),
        (PutMachine(replace(ROW, uid=Uid("u2"), joined=False)), ()),
    ],
)
def test_a_change_signals_its_tokens(change: Change, wanted: tuple[str, ...]) -> None:
    """The slots that a closed op gives back, facts by name, a machine that has joined."""
    assert wanted == tuple(tokens(change, VIEW))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (PutMachine(ROW), {MACHINE, CLUSTER, Key(NAME, Kind.NODES, ROW.name)}),
        (DropMachine(ROW.uid), {CLUSTER}),
        (OpenOp(HELD), {MACHINE}),
        (OpenOp(OP), set()),
        (CloseOp(OP.id), set()),
        (SetHandle(OP.id, "UPID:1"), set()),
        (PutFact("x", 1), set()),
    ],
)
def test_a_change_wakes_the_keys_that_it_is_about(change: Change, wanted: set[Any]) -> None:
    """A row's own key, its cluster's and its Node's."""
    assert wanted == set(affected(change, VIEW))


def test_nothing_is_kept_of_an_addon_that_is_forgotten() -> None:
    """What was seen of its objects goes with the fact that it was applied, and with no other fact."""
    assert (scopes.addon(NAME, "hello"),) == tuple(stale(DropFact(f"applied/{NAME}/hello"), VIEW))
    assert () == tuple(stale(DropFact(f"paused/{NAME}"), VIEW))


def test_what_was_seen_under_a_number_that_the_row_no_longer_has_is_forgotten() -> None:
    """It is about somebody else; a row that keeps its number keeps what is known of it."""
    renumbered, struck = replace(ROW, vmid=399), replace(ROW, strikes=1)

    assert {scopes.vm(ROW), scopes.tasks(ROW.site, ROW.node, ROW.vmid)} == {*stale(PutMachine(renumbered), VIEW)}
    assert () == tuple(stale(PutMachine(struck), VIEW))
    assert () == tuple(stale(PutMachine(member_row("u2", number=2)), VIEW))


def test_of_a_machine_that_is_forgotten_nothing_is_known() -> None:
    """Its number, name and address are given to others, of whom nothing of it must be believed."""
    gone = {*stale(DropMachine(ROW.uid), VIEW)}

    own = {scopes.vm(ROW), scopes.guest(ROW), scopes.inside(ROW), scopes.tasks(ROW.site, ROW.node, ROW.vmid)}
    named = {scopes.node(NAME, ROW.name), scopes.pods(NAME, ROW.name), scopes.attachments(NAME, ROW.name)}
    assert own | named == gone
    assert () == tuple(stale(DropMachine(Uid("never")), VIEW))


def test_what_a_guest_said_of_a_job_is_forgotten_with_its_op() -> None:
    """Each op has a name of its own: what is never asked again would be kept for ever."""
    young = replace(op(ROW, "add"), id=OpId("of-the-cluster"), key=CLUSTER)
    whole = view(rows=[ROW], ops=[OP, young])

    found = [tuple(stale(CloseOp(OpId(name)), whole)) for name in (OP.id, "of-the-cluster", "never")]

    assert [(scopes.guestop(ROW, OP.id),), (), ()] == found


def test_of_a_node_only_what_is_not_healthy_is_timed() -> None:
    """A thousand healthy ones keep nothing; another transition is another sickness."""
    scope, at_rest = scopes.node(NAME, ROW.name), (("MemoryPressure", "False", 1.0), ("DiskPressure", "False", 1.0))
    bad = (*at_rest[:1], ("DiskPressure", "True", 2.0))
    found = [
        tuple(lasting(scope, value))
        for value in (None, node(ROW, conditions=at_rest), node(ROW, ready="Unknown", since=3.0, conditions=bad))
    ]

    assert [(), (), (f"{scope}/DiskPressure=True@2.0", f"{scope}/Ready=Unknown@3.0")] == found
