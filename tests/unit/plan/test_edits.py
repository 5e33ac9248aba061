"""What an edit of the spec is looked at for: decisions always, machines when it means something to them."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from cpcd.model.desired import Cluster, Consent, Desired, Risk, TemplateRef
from cpcd.model.keys import Key, Kind
from cpcd.plan.edits import concerned, renamed
from cpcd.reconcilers import RECONCILERS
from tests.unit.plan.build import CP, NAME, WORKERS, built, cluster, group, member_row, of, put, spec

BEFORE = cluster(group(CP, 3), group(WORKERS, 2))


def looked_at(after: Cluster, kind: Kind, before: Cluster = BEFORE, **view: Any) -> set[str]:
    """Return the names of a kind's keys that an edit from `before` to `after` is about."""
    old = built(before, **view)
    new = replace(old, desired=Desired({after.name: after}))
    return {key.name for key in concerned(old, new, RECONCILERS) if key.kind is kind}


def test_one_replica_more_is_decided_and_no_machine_is_read() -> None:
    """The cluster's decision comes first, and what is there already is as wanted as before."""
    after = cluster(group(CP, 3), group(WORKERS, 3))

    assert looked_at(after, Kind.CLUSTER) == {NAME}
    assert looked_at(after, Kind.MACHINE) == set()
    assert looked_at(after, Kind.NODES) == set()


def test_a_changed_option_is_for_the_machines_of_its_group() -> None:
    """More memory for workers leaves control planes alone."""
    after = cluster(group(CP, 3), group(WORKERS, 2, machine=spec(memory_mib=8192)))

    assert looked_at(after, Kind.MACHINE) == {"u4", "u5"}


def test_a_label_is_for_the_nodes_of_its_group() -> None:
    """Their machines have nothing to do with it."""
    after = cluster(group(CP, 3), group(WORKERS, 2, labels={"tier": "web"}))

    assert looked_at(after, Kind.NODES) == {f"{NAME}-{WORKERS}-1", f"{NAME}-{WORKERS}-2"}
    assert looked_at(after, Kind.MACHINE) == set()


def test_what_waits_for_a_guard_is_looked_at_again() -> None:
    """The plan is the same when consent is given in the file, but not what becomes of it."""
    larger = {"machine": spec(memory_mib=8192)}
    asking = cluster(group(CP, 3), group(WORKERS, 2, **larger), change_policy=dict.fromkeys(Risk, Consent.APPROVE))
    given = replace(asking, change_policy=dict.fromkeys(Risk, Consent.AUTO))
    old = built(BEFORE, now=asking)

    found = set(concerned(old, replace(old, desired=Desired({NAME: given})), RECONCILERS))
    assert {Key(NAME, Kind.MACHINE, "u4"), Key(NAME, Kind.MACHINE, "u5")} <= found


def test_decisions_come_before_machines() -> None:
    """Templates and clusters are in front: the first call of an edit waits for nothing else."""
    old = built(BEFORE)
    after = cluster(group(CP, 3, machine=spec(memory_mib=8192)), group(WORKERS, 2))

    kinds = [key.kind for key in concerned(old, replace(old, desired=Desired({NAME: after})), RECONCILERS)]
    assert kinds.index(Kind.CLUSTER) < kinds.index(Kind.MACHINE)


def test_what_is_as_it_was_is_left_alone() -> None:
    """One worker more is nothing to the kubeconfig, which is looked at by a daemon that has just begun."""
    larger = cluster(group(CP, 3), group(WORKERS, 3))
    old, none = built(BEFORE), replace(built(BEFORE), desired=Desired())

    assert looked_at(larger, Kind.KUBECONFIG) == set()
    assert Key(NAME, Kind.KUBECONFIG, "admin") in set(concerned(none, old, RECONCILERS))


def test_another_template_under_the_same_name_is_looked_up() -> None:
    """What was found is of the one before: machines would wait for it until somebody looks."""
    machine = spec(template=TemplateRef("ubuntu", vmid=9001))
    after = cluster(group(CP, 3, machine=machine), group(WORKERS, 2, machine=machine))

    assert looked_at(after, Kind.TEMPLATE) == {"ubuntu"}


def test_a_planner_that_falls_hides_nobody() -> None:
    """One failure stays one failure: its own pass tells of it, and all others are found."""
    old = built(BEFORE)
    broken = ModuleType("broken")
    broken.keys = lambda _view: (Key(NAME, Kind.NODES, "a"),)  # type: ignore[attr-defined]

    def falls(*_: Any) -> None:
        raise ValueError("a bug")

    broken.plan = falls  # type: ignore[attr-defined]

    found = list(concerned(old, old, (broken, *RECONCILERS)))
    assert Key(NAME, Kind.NODES, "a") in found
    assert Key(NAME, Kind.CLUSTER, NAME) in found


RENAMED = cluster(group(CP, 3), group("compute", 2))
KEPT = cluster(group(CP, 3), group(WORKERS, 2), group("compute", 2))


@pytest.mark.parametrize(
    ("after", "known", "said"),
    [
        (RENAMED, {}, True),
        (RENAMED, {"u9": {"joined": False}}, True),
        (RENAMED, {"u9": {"joined": True}}, False),
        (RENAMED, {"u4": {"retire": "gone"}, "u5": {"retire": "gone"}}, False),
        (KEPT, {}, False),
        (cluster(group(CP, 3)), {}, False),
        (cluster(group(CP, 3), group("compute", 0)), {}, False),
    ],
    ids=["renamed", "under way", "made", "retired", "one more", "one fewer", "an empty one"],
)
def test_what_looks_like_a_deployment_renamed_is_a_warning(after: Cluster, known: dict[str, Any], said: bool) -> None:
    """From before the commit until the new ones serve or the old ones go; one that only comes or goes is none."""
    before = built(BEFORE)
    rows = [replace(of(before, uid), **changes) for uid, changes in known.items() if uid != "u9"]
    made = [member_row("u9", "compute", 1, **changes) for uid, changes in known.items() if uid == "u9"]
    sentence = (
        f"{NAME}: {WORKERS} (2 machines) is no longer in the file, and compute is new: to rename a deployment is to retire "
        "its machines and make others; with its name it keeps them"
    )

    assert [sentence] * said == [*renamed(Desired({NAME: after}), put(before, *rows, *made).ledger)]
