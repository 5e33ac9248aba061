"""The limits of a rollout and the quorum, counted in moments: what happened between two looks is never missed."""

import json
from dataclasses import asdict
from itertools import groupby
from typing import Any

import pytest

from cpcd.lab.demo.limits import Limits, answered, kept_quorum, within
from cpcd.lab.history import History
from tests.unit.lab_guests.conftest import NODE, Rack

WORKERS = Limits("workers", "general", 5, surge=2)
Moment = dict[str, Any]


def moment(time: float, *states: str, up: int = 3, voters: int = 3, answers: bool = True) -> Moment:
    """Return a moment with one worker for each state; a number before the state is its VMID."""
    split = [
        (number, *state.split(":")) if ":" in state else (number, str(number), state)
        for number, state in enumerate(states)
    ]
    machines = [
        {
            "vmid": int(vmid),
            "name": f"demo-general-{vmid}",
            "running": state != "off",
            "node": "" if state == "off" else state,
        }
        for _, vmid, state in split
    ]
    return {
        "time": time,
        "machines": machines,
        "etcd": [{"cluster": "demo", "learners": 0, "voters": voters, "up": up, "answers": answers}],
    }


FIVE = moment(0, *["Ready"] * 5)
SURGED = moment(10, *["Ready"] * 5, "", "")
SERVES = moment(100, *["Ready"] * 7)
LEAVES = moment(110, "Cordoned", *["Ready"] * 6)
DELETED = moment(120, "", *["Ready"] * 6)
NEXT = moment(115, "Cordoned", *["Ready"] * 6, "")
GOOD = [FIVE, SURGED, SERVES, LEAVES, NEXT, DELETED, moment(130, *[f"{n}:Ready" for n in range(1, 7)], "7:")]


@pytest.mark.parametrize(
    ("moments", "holds"),
    [
        (GOOD, True),
        ([FIVE], True),
        ([*GOOD[:2], moment(20, *["Ready"] * 5, "", "", ""), *GOOD[2:]], False),
        ([FIVE, moment(10, "Cordoned", *["Ready"] * 4)], False),
        ([FIVE, moment(10, "NotReady", *["Ready"] * 4)], False),
        ([FIVE, moment(10, *["Ready"] * 4)], False),
        ([*GOOD[:3], moment(110, "Cordoned", "Cordoned", *["Ready"] * 5)], False),
        ([*GOOD[:4], moment(120, "", "Cordoned", *["Ready"] * 5)], False),
        ([*GOOD[:4], moment(120, "off", "Cordoned", *["Ready"] * 5)], True),
        ([], False),
        (GOOD[1:], False),
    ],
)
def test_a_rollout_beyond_its_limits_is_seen_in_a_single_moment(moments: list[Moment], holds: bool) -> None:
    """One machine too many, one too few that serves, two that leave at once, or a history with a hole."""
    assert holds == within(moments, 0.0, WORKERS).holds


def test_a_machine_counts_no_more_from_the_decision_that_it_goes() -> None:
    """The lab sees the cordon only; a machine that is added in between is no eighth, one that stays is."""
    eight = moment(105, *["Ready"] * 7, "")

    assert within([*GOOD[:3], eight, NEXT], 0.0, WORKERS).holds
    assert not within([*GOOD[:3], eight, moment(136, "Cordoned", *["Ready"] * 6, "")], 0.0, WORKERS).holds


def test_other_groups_do_not_count() -> None:
    """Each group has limits of its own."""
    masters = [{**each, "name": "demo-cp-1"} for each in SURGED["machines"]]

    assert within([FIVE, {**FIVE, "time": 5.0, "machines": FIVE["machines"] + masters}], 0.0, WORKERS).holds


@pytest.mark.parametrize(
    ("counts", "least", "holds", "worst"),
    [
        ([(3, 3), (4, 4), (3, 4), (3, 3)], 3, True, "3 of 4"),
        ([(3, 3), (2, 3), (3, 3)], 2, True, "2 of 3"),
        ([(3, 3), (2, 3), (3, 3)], 3, False, "2 of 3"),
        ([(3, 3), (1, 3), (3, 3)], 1, False, "1 of 3"),
        ([(4, 4), (2, 4), (4, 4)], 2, False, "2 of 4"),
        ([], 0, False, "0 of 0"),
    ],
)
def test_a_quorum_that_was_spent_for_a_moment_is_seen(
    counts: list[tuple[int, int]], least: int, holds: bool, worst: str
) -> None:
    """Whether the API answered then or not."""
    moments = [moment(float(n), up=up, voters=voters) for n, (up, voters) in enumerate(counts)]

    proof = kept_quorum(moments, 0.0, least=least)

    assert (holds, f"at worst {worst} voters were up") == (proof.holds, proof.detail)


def test_a_history_that_begins_too_late_proves_no_quorum() -> None:
    """What a lab forgot may have been anything."""
    assert not kept_quorum([moment(10.0)], 5.0, least=0).holds


ASKED = [True] * 30


@pytest.mark.parametrize(
    ("silences", "asked", "holds", "gap"),
    [
        ([(0, True), (10, False), (40, True), (50, False), (70, True)], ASKED, True, 30),
        ([(0, True), (10, False), (41, True)], ASKED, False, 31),
        ([(0, True), (10, False), (25, False), (41, True)], ASKED, False, 31),
        ([(0, True), (10, False), (50, False)], ASKED, False, 40),
        ([(0, True), (10, False)], ASKED, True, 0),
        ([(0, True)], ASKED[:20], False, 0),
        ([(0, True)], [*ASKED, False], True, 0),
        ([(0, True)], [*ASKED, False, True], False, 0),
        ([], ASKED, False, 0),
        ([(5, True)], ASKED, False, 0),
    ],
)
def test_an_api_that_was_silent_for_too_long_or_hardly_asked_is_seen(
    silences: list[tuple[float, bool]], asked: list[bool], holds: bool, gap: int
) -> None:
    """By the lab's own record, whatever the load of this machine; only the last question may still be open."""
    proof = answered([moment(time, answers=answers) for time, answers in silences], 0.0, asked)

    assert (holds, True) == (proof.holds, f"longest gap {gap} s" in proof.detail)


def cluster() -> Rack:
    """Return three control planes."""
    rack = Rack()
    first = rack.first(name="demo-cp-1")
    for number in (2, 3):
        rack.join(first, 300 + number, f"demo-cp-{number}", control_plane=True)
    return rack


def told(history: History, since: float) -> list[Moment]:
    """Return moments as they come over HTTP."""
    found: list[Moment] = json.loads(json.dumps([asdict(each) for each in history.since(since)]))
    return found


def test_the_lab_writes_down_what_nobody_was_looking_at() -> None:
    """Two of three voters lose their power and have it again before anybody asks: the quorum was spent."""
    rack = cluster()
    history = History(rack.world)
    rack.run(10)
    began = rack.time
    assert kept_quorum(told(history, began), began, least=3).holds

    for vmid in (301, 302):
        rack.world.pve.stop_vm(vmid)
    rack.run(1)
    for vmid in (301, 302):
        rack.world.pve.start_vm(vmid)
    rack.until(rack.world.clusters[0].serving)

    proof = kept_quorum(told(history, began), began, least=3)
    assert (False, "at worst 1 of 3 voters were up") == (proof.holds, proof.detail)
    assert [False, True] == [answers for answers, _ in groupby(m["etcd"][0]["answers"] for m in told(history, began))]


def test_the_lab_writes_down_each_cordon() -> None:
    """A Node that is cordoned for a moment served one machine fewer."""
    rack = cluster()
    history = History(rack.world)
    masters, began = Limits("control planes", "cp", 3, surge=1), rack.time
    rack.run(1)
    for unschedulable in (True, None):
        rack.cluster.settle()
        rack.cluster.store.patch(NODE, "demo-cp-2", {"spec": {"unschedulable": unschedulable}})
    rack.run(1)

    found = [{each["name"]: each["node"] for each in moment["machines"]} for moment in told(history, began)]

    assert ["Ready", "Cordoned", "Ready"] == [state for state, _ in groupby(each["demo-cp-2"] for each in found)]
    assert not within(told(history, began), began, masters).holds


def test_a_history_keeps_what_was_true_before_the_time_that_is_asked_for() -> None:
    """One moment is in force at any time; equal ones are one."""
    rack = Rack()
    history = History(rack.world)
    rack.run(100)
    rack.clone(301, "demo-general-1")
    rack.run(100)

    moments = history.since(50.0)

    assert [0.0, True] == [moments[0].time, moments[1].time >= 100.0]
    assert len(moments) == len({(each.machines, each.etcd) for each in moments})
    assert [moments[-1]] == history.since(rack.time)
