"""The statements of the demo on what the daemon says: each true for the right word and false for a wrong one."""

from collections import Counter
from typing import Any

import pytest

from cpcd.lab.demo import said

KEY = "machine/demo-general-3"


def step(sentence: str, key: str = KEY) -> dict[str, Any]:
    """Return a step as a plan prints it."""
    return {"key": key, "verb": sentence.split(maxsplit=1)[0], "sentence": sentence}


def event(sentence: str, key: str = KEY, *, run: str = "") -> dict[str, Any]:
    """Return an event as history has it."""
    reason = sentence.split(maxsplit=1)[0].capitalize()
    return {"key": f"demo/{key}", "run": run or sentence, "severity": "Normal", "reason": reason, "message": sentence}


PLAN = [step("clone a"), step("join a"), step("drain b", "machine/b"), step("label c", "nodes/c")]
DONE = [event("clone a"), event("drain b", "machine/b"), event("join a"), event("label c", "nodes/c")]


@pytest.mark.parametrize(
    ("events", "holds"),
    [
        (DONE, True),
        ([], False),
        (DONE[:3], False),
        ([*DONE, event("label d", "nodes/d")], False),
        ([DONE[2], DONE[0], *DONE[1::2]], False),
        ([event("clone z"), *DONE[1:]], False),
        ([*DONE, event("join a", run="again")], False),
        ([*DONE, event("label c", "nodes/c", run="again")], False),
        ([*DONE, event("drain b", "machine/b", run="again")], True),
        ([*DONE, event("drain b2", "machine/b"), event("drain b", "machine/b", run="again")], False),
    ],
)
def test_applied_steps_are_compared_with_the_plan_with_their_repetitions(
    events: list[dict[str, Any]], holds: bool
) -> None:
    """A step too many, too few, elsewhere or in another order; only sweeps of a drain may repeat."""
    assert holds == said.followed(PLAN, events, ()).holds


def test_an_attempt_that_failed_and_was_made_again_is_told_and_no_step() -> None:
    """What its pass did before it failed counts."""
    failed = [event("clone a", run="x"), event("join a", run="x")]

    proof = said.followed(PLAN, [*failed, *DONE[1:]], {"x"})

    assert (True, "4 steps, 1 failed attempt made again") == (proof.holds, proof.detail)


def test_an_attempt_whose_answer_was_lost_counts_where_it_was_not_made_again() -> None:
    """It had its effect."""
    assert said.followed(PLAN, DONE, {"join a"}).holds


def test_a_repeated_step_that_had_not_failed_is_one_too_many() -> None:
    """Only the failed one of the two is an attempt."""
    thrice = [*DONE[:2], event("join a", run="x"), event("join a", run="y"), *DONE[2:]]

    assert not said.followed(PLAN, thrice, {"x"}).holds


def test_sweeps_of_one_drain_are_told() -> None:
    """They are one step, and not hidden."""
    again = event("drain b", "machine/b", run="again")

    assert "4 steps, 1 more sweep of a drain" == said.followed(PLAN, [*DONE, again], ()).detail


def test_a_plan_of_nothing_proves_nothing() -> None:
    """Nothing printed and nothing applied is no story."""
    assert not said.followed([], [], ()).holds


def test_a_plan_is_printed_whole_by_object() -> None:
    """Objects with the same steps share a line; repeated steps are counted."""
    steps = [
        step("add a", "cluster/demo"), step("add b", "cluster/demo"), step("clone a", "machine/a"),
        step("clone b", "machine/b"), step("join a", "machine/a"), step("join b", "machine/b"),
    ]  # fmt: skip

    lines = said.printed(steps)

    assert ["the plan, 6 steps:", "  cluster/demo: add x2", "  machine/a, machine/b: clone → join"] == lines


@pytest.mark.parametrize(
    ("mistakes", "holds"),
    [
        (["CPCD-102 cluster.yaml:25:5: unknown key"], True),
        (["CPCD-102 cluster.yaml: unknown key"], False),
        (["CPCD-103 cluster.yaml:25:5: unknown key"], False),
        ([], False),
    ],
)
def test_a_mistake_without_line_and_column_is_seen(mistakes: list[str], holds: bool) -> None:
    """The code is the spec's."""
    assert holds == said.told(mistakes).holds


@pytest.mark.parametrize(
    ("degraded", "available", "seconds", "holds"),
    [("True", "False", 30.0, True), ("True", "False", 30.5, False), ("False", "False", 1.0, False),
     ("True", "True", 1.0, False), ("True", "Unknown", 1.0, False)],
)  # fmt: skip
def test_a_silence_that_is_noticed_late_or_not_said_is_seen(
    degraded: str, available: str, seconds: float, holds: bool
) -> None:
    """Both conditions, within 30 s."""
    assert holds == said.noticed({"Degraded": degraded, "ProxmoxAvailable": available}, seconds).holds


@pytest.mark.parametrize(
    ("degraded", "available", "false"),
    [("False", "True", 0), ("True", "True", 1), ("False", "False", 1), ("Unknown", "Unknown", 2)],
)
def test_a_cluster_that_stays_degraded_is_seen(degraded: str, available: str, false: int) -> None:
    """Coming back is two statements."""
    found = list(said.recovered({"Degraded": degraded, "ProxmoxAvailable": available}, 5.0))

    assert false == sum(not proof.holds for proof in found)


@pytest.mark.parametrize(
    ("calls", "holds"),
    [
        ({"GET /cluster/resources": 20, "GET /cluster/status": 20}, True),
        ({"GET /cluster/resources": 20, "GET /nodes/pve1/qemu/10001/config": 1}, False),
        ({"POST /nodes/pve1/qemu/9000/clone": 1}, False),
        ({}, False),
    ],
)
def test_a_key_that_does_not_park_is_seen_by_its_calls(calls: dict[str, int], holds: bool) -> None:
    """Nobody but the observer asks a silent Proxmox, and the observer does."""
    assert holds == said.parked(Counter(calls)).holds


@pytest.mark.parametrize(
    ("code", "output", "holds"),
    [
        (0, "21 of 21 objects ready\n\n✓ demo", True),
        (0, "20 of 21 objects ready\n", False),
        (0, "21 of 21 objects ready; machine/a: waits\n", False),
        (0, "0 of 0 objects ready\n", False),
        (1, "21 of 21 objects ready\n", False),
        (1, "CPCD-103 the daemon does not answer\n", False),
        (0, "", False),
    ],
)
def test_a_status_that_is_not_all_ready_is_seen(code: int, output: str, holds: bool) -> None:
    """By its first line and its exit code."""
    assert holds == said.shown(code, output).holds
