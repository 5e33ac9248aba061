"""Each statement of the demo on the world as it should be, and on worlds that are spoiled in one place."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from cpcd.lab.demo import proofs
from cpcd.lab.demo.proofs import FOREIGN, LABEL, MEMORY, Ledger, Proof
from cpcd.lab.servers.control import state
from tests.unit.lab_demo.worlds import World, but, guest, ledger, member, node, task, vm, volume, without, world
from tests.unit.lab_guests.conftest import Rack

GOLD = {LABEL[0]: LABEL[1]}
BIG = {"memory": f"{MEMORY * 1024}Ki"}


def false(proofs: Proof | Iterable[Proof]) -> list[str]:
    """Return the statements that are false."""
    return [proof.statement for proof in ([proofs] if isinstance(proofs, Proof) else proofs) if not proof.holds]


def shape(value: Any) -> Any:
    """Return names all the way down: what a list holds has the shape of its first item."""
    match value:
        case dict():
            return {name: shape(part) for name, part in value.items() if name != "labels"}
        case [first, *_]:
            return [shape(first)]
    return None


def test_the_worlds_of_these_tests_have_the_shape_of_the_labs() -> None:
    """A statement that is proved here reads what the lab really tells."""
    rack = Rack()
    rack.first()
    rack.pve("POST", "301/status/stop")

    told, made = state(rack.world), world(1, 0)

    assert shape(told["destructive"]) == [{"time": None, "verb": None, "vmid": None, "token": None}]
    assert shape({**told, "destructive": []}) == shape(made)


SPOILED: list[tuple[Callable[[World], World], str]] = [
    (lambda w: but(w, "vms", 1, status="stopped"), "5 machines run"),
    (lambda w: {**w, "vms": [*w["vms"], vm(99, "demo-general-9")]}, "5 machines run"),
    (lambda w: but(w, "nodes", 4, ready=False), "5 nodes are Ready"),
    (lambda w: but(w, "nodes", 4, unschedulable=True), "5 nodes are Ready"),
    (lambda w: but(w, "members", 0, up=False), "etcd has 3 members, all healthy voters"),
    (lambda w: but(w, "members", 0, learner=True), "etcd has 3 members, all healthy voters"),
    (lambda w: but(w, "vms", 1, node="pve1"), "control planes are in 3 failure domains"),
]


def test_a_cluster_as_wanted_is_built() -> None:
    """Every statement of the first act is true of it."""
    assert [] == false(proofs.built(world(), masters=3, workers=2))


@pytest.mark.parametrize(("spoil", "statement"), SPOILED)
def test_each_lack_of_a_built_cluster_makes_its_statement_false(
    spoil: Callable[[World], World], statement: str
) -> None:
    """And no other one."""
    assert [statement] == false(proofs.built(spoil(world()), masters=3, workers=2))


@pytest.mark.parametrize(
    ("ready", "kind", "wrong"), [(5, "ConfigMap", 0), (4, "ConfigMap", 1), (5, "Status", 1), (None, "", 2)]
)
def test_what_the_kubeconfig_reads_is_judged(ready: int | None, kind: str, wrong: int) -> None:
    """The CNI on every machine, and the addon's own object."""
    daemonset = {"status": {"numberReady": ready}} if ready else {}

    assert wrong == len(false(proofs.served(daemonset, {"kind": kind}, nodes=5)))


def edited() -> World:
    """Return the world after the edit of act 2."""
    found = world(3, 4)
    for each in found["vms"][1:]:
        each["memory"] = str(MEMORY)
    for each in found["clusters"][0]["nodes"]:
        each.update(BIG, labels=dict(GOLD) if "general" in each["name"] else {})
    return found


def renumbered(part: str, index: int, **changes: Any) -> Callable[[World], World]:
    """Return what gives one part another identity."""
    return lambda w: but(w, part, index, **changes)


@pytest.mark.parametrize(
    ("spoil", "statement"),
    [
        (renumbered("vms", 1, vmid=10_099), "no machine was replaced"),
        (renumbered("vms", 1, description="cpcd/1 here demo other op"), "no machine was replaced"),
        (renumbered("nodes", 0, uid="another"), "no machine was replaced"),
        (renumbered("vms", 1, memory="4096"), "memory is 6144 MiB everywhere"),
        (renumbered("nodes", 0, memory=f"{4096 * 1024}Ki"), "their Nodes see it"),
        (
            renumbered("nodes", 3, labels={}),
            "the label tier=gold is on the Nodes of all workers, and of nobody else",
        ),
        (
            renumbered("nodes", 3, labels={LABEL[0]: "silver"}),
            "the label tier=gold is on the Nodes of all workers, and of nobody else",
        ),
        (renumbered("nodes", 0, labels=GOLD), "the label tier=gold is on the Nodes of all workers, and of nobody else"),
    ],
)
def test_each_lack_of_an_edit_makes_its_statement_false(spoil: Callable[[World], World], statement: str) -> None:
    """Identity, memory and labels are read from VMs and Nodes, never from what the daemon says."""
    assert ([], [statement]) == (
        false(proofs.edited(world(), edited(), workers=4)),
        false(proofs.edited(world(), spoil(edited()), workers=4)),
    )


def test_an_edit_without_its_new_workers_is_seen() -> None:
    """Their number is one statement of its own."""
    lacking = without(without(edited(), "vms", 7), "nodes", 6)

    assert ["there are 4 workers"] == false(proofs.edited(world(), lacking, workers=4))


@pytest.mark.parametrize(
    ("verb", "whole", "holds"),
    [
        ("clone", {"tasks": [task(exit=None)]}, True),
        ("clone", {"tasks": [task()]}, False),
        ("clone", {"tasks": [task("qmstart", exit=None)]}, False),
        ("join", {"guests": [guest(11, "demo-cp-4", job="join")]}, True),
        ("join", {"guests": [guest(11, "demo-cp-4", job="prepare")]}, False),
        ("join", {"guests": [guest(14, "demo-general-4", job="join")]}, False),
        ("join", {"guests": [], "tasks": [task(exit=None)]}, False),
    ],
)
def test_a_kill_counts_only_while_the_lab_is_at_the_work(verb: str, whole: World, holds: bool) -> None:
    """What the daemon believes to be on its way is no evidence."""
    assert holds == proofs.caught({**world(), **whole}, verb).holds


LEFT: list[tuple[Callable[[World], World], str]] = [
    (
        lambda w: {**w, "volumes": [*w["volumes"], volume(99, used=False)]},
        "volume local-lvm:vm-10099-disk-0 is nobody's",
    ),
    (lambda w: but(w, "vms", 1, lock="clone"), "VM 10011 is locked (clone)"),
    (lambda w: but(w, "nodes", 4, name="demo-general-9"), "Nodes are "),
    (lambda w: without(w, "nodes", 4), "Nodes are "),
    (lambda w: but(w, "members", 2, name=""), "members are "),
    (lambda w: {**w, "clusters": [{**w["clusters"][0], "members": [member("demo-cp-1")] * 4}]}, "members are "),
]


def test_nothing_is_left_over_in_a_whole_world() -> None:
    """Rows, volumes, Nodes and members are those of the VMs."""
    assert [] == proofs.leftovers(world(), ledger(world()))
    assert [] == false(proofs.whole(world(), ledger(world()), masters=3, wanted=5))


@pytest.mark.parametrize(("spoil", "words"), LEFT)
def test_each_leftover_in_the_world_is_named(spoil: Callable[[World], World], words: str) -> None:
    """And makes the statement false."""
    spoiled = spoil(world())

    left = proofs.leftovers(spoiled, ledger(world()))

    assert [True] == [each.startswith(words) for each in left]
    assert "nothing is left over" in false(proofs.whole(spoiled, ledger(world()), masters=3, wanted=5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": {}}, "VM 10011 (uid-11) has no row"),
        ({"rows": {"uid-99": 10_099}}, "the row of uid-99 has no VM 10099"),
        ({"ops": 2}, "2 operations are open"),
        ({"quarantine": ("10_042",)}, "VMID 10_042 is in quarantine"),
    ],
)
def test_each_leftover_in_the_ledger_is_named(changes: dict[str, Any], words: str) -> None:
    """What the daemon remembers is compared with what there is."""
    rows = {**ledger(world()).rows, **changes.get("rows", {})} if changes.get("rows") else {}
    known = replace(ledger(world()), **{**changes, **({"rows": rows} if "rows" in changes else {})})

    assert words in proofs.leftovers(world(), known)


def twice(whole: World) -> World:
    """Return a world with a second VM of one name and mark: a dict by name would hide it."""
    return {**whole, "vms": [*whole["vms"], {**whole["vms"][-1], "vmid": 10_099}]}


@pytest.mark.parametrize(
    "spoil",
    [
        twice,
        lambda w: without(w, "vms", 5),
        lambda w: but(w, "vms", 5, description=""),
        lambda w: twice(without(w, "vms", 4)),
    ],
)
def test_a_machine_that_is_there_twice_or_not_at_all_is_seen(spoil: Callable[[World], World]) -> None:
    """VMs are counted by their marks, as a list."""
    found = false(proofs.whole(spoil(world()), Ledger({}), masters=3, wanted=5))

    assert "no machine twice, none forgotten" in found


def repaired() -> World:
    """Return the world after act 4: worker 1 has a successor."""
    return but(world(), "vms", 4, **vm(42, "demo-general-3"))


@pytest.mark.parametrize(
    ("spoil", "statement"),
    [
        (lambda w: but(w, "vms", 5, status="stopped"), "the stopped machine was started, not replaced"),
        (lambda w: but(w, "vms", 5, vmid=10_077), "the stopped machine was started, not replaced"),
        (lambda w: but(w, "vms", 4, status="stopped"), "the deleted machine has one successor"),
        (lambda w: without(w, "vms", 4), "the deleted machine has one successor"),
        (lambda w: {**w, "vms": [*w["vms"], vm(43, "demo-general-4")]}, "the deleted machine has one successor"),
        (lambda w: but(w, "vms", 4, description="cpcd/1 here demo uid-14 op"), "the deleted machine has one successor"),
    ],
)
def test_each_lack_of_a_repair_makes_its_statement_false(spoil: Callable[[World], World], statement: str) -> None:
    """The successor is new, one, and nobody else changed."""
    gone, off = proofs.group(world(), "general")

    assert [] == false(proofs.repaired(world(), repaired(), gone=gone, off=off))
    assert [statement] == false(proofs.repaired(world(), spoil(repaired()), gone=gone, off=off))


def test_a_stopped_machine_that_was_replaced_makes_the_statement_false() -> None:
    """Even when everything runs in the end."""
    gone, off = proofs.group(world(), "general")
    replaced = but(repaired(), "vms", 5, **vm(43, "demo-general-2"))

    assert "the stopped machine was started, not replaced" in false(
        proofs.repaired(world(), replaced, gone=gone, off=off)
    )


def rolled() -> World:
    """Return the world after act 5."""
    return {**world(first=51), "tasks": [task(), *(task(id="9010", start=20.0) for _ in range(5))]}


@pytest.mark.parametrize(
    ("spoil", "statement"),
    [
        (lambda w: but(w, "vms", 1, smbios1=world()["vms"][1]["smbios1"]), "all 5 machines are new"),
        (lambda w: without(w, "vms", 1), "all 5 machines are new"),
        (lambda w: but(w, "tasks", 3, id="9000"), "all were cloned from the new template"),
        (lambda w: without(w, "tasks", 3), "all were cloned from the new template"),
    ],
)
def test_each_lack_of_a_rollout_makes_its_statement_false(spoil: Callable[[World], World], statement: str) -> None:
    """One old machine, or one clone of the old template, is enough."""
    said = {"since": 10.0, "templates": ["9010"]}

    assert [] == false(proofs.replaced(world(), rolled(), **said))  # type: ignore[arg-type] # of mixed values
    (found,) = false(proofs.replaced(world(), spoil(rolled()), **said))  # type: ignore[arg-type] # same
    assert found.startswith(statement)


@pytest.mark.parametrize(
    ("spoil", "spec", "holds"),
    [
        (lambda w: w, {"valid": False, "generation": "a"}, True),
        (lambda w: w, {"valid": True, "generation": "a"}, False),
        (lambda w: w, {"valid": False, "generation": "b"}, False),
        (lambda w: without(w, "vms", 3), {"valid": False, "generation": "a"}, False),
        (lambda w: {**w, "destructive": [{"verb": "stop", "vmid": 1}]}, {"valid": False, "generation": "a"}, False),
    ],
)
def test_a_broken_file_that_changed_anything_is_seen(
    spoil: Callable[[World], World], spec: dict[str, Any], holds: bool
) -> None:
    """In the daemon's word or in the world."""
    assert holds == proofs.kept(world(), spoil(world()), "a", spec).holds


@pytest.mark.parametrize(
    ("spoil", "holds"),
    [
        (lambda w: {**w, "destructive": [{"verb": "destroy", "vmid": 10_011}]}, True),
        (lambda w: {**w, "destructive": [{"verb": "destroy", "vmid": FOREIGN}]}, False),
        (lambda w: but(w, "vms", 0, tags="cpcd"), False),
        (lambda w: without(w, "vms", 0), False),
    ],
)
def test_a_touched_foreign_vm_is_seen(spoil: Callable[[World], World], holds: bool) -> None:
    """Any change of it, and any call on it."""
    theirs = copy.deepcopy(proofs.foreign(world()))

    assert holds == proofs.untouched(theirs, spoil(world())).holds


def test_a_foreign_vm_that_was_never_there_proves_nothing() -> None:
    """Nobody could have touched it."""
    assert not proofs.untouched({}, without(world(), "vms", 0)).holds


def test_a_node_of_another_machine_does_not_count_as_ours() -> None:
    """Node and VM are joined by the UUID, not by the name."""
    other = but(edited(), "nodes", 0, **node(99, "demo-cp-1", **BIG))

    assert ["no machine was replaced"] == false(proofs.edited(world(), other, workers=4))
