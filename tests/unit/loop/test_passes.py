"""One pass: its order, what is durable when, how ops are resolved, and what guards and holds do."""

import asyncio
from itertools import accumulate
from typing import Any

import pytest

from cpcd.lab.simloop import SimLoop, simulate
from cpcd.loop.health import LONGEST
from cpcd.loop.runner import ENDS
from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Key, OpId, Wall
from cpcd.model.ledger import DropFact, Op, OpenOp, PutFact
from cpcd.model.plan import Absent, Action, Done, Failed, Plan, Refusal, Running, Unknown, Wait
from cpcd.model.report import Outcome
from cpcd.model.view import View
from tests.unit.loop.engine import EPOCH, FSYNC, Dim, Disk, Engine, Note, Polish, Switch, lamp, light, ready


def test_a_lamp_is_lit_once_and_then_settled() -> None:
    """The loop on one screen, from nothing to as wanted."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        await engine.run(60)
        return engine

    engine = simulate(main, seed=1)

    assert [("a", "switch")] == [(name, verb) for name, verb, _ in engine.applied]
    assert ([Outcome.ACTED, Outcome.SETTLED], "a is lit") == (
        [engine.passes[0].outcome, engine.passes[-1].outcome],
        engine.passes[-1].sentence,
    )
    assert {} == engine.journal.holds.ops


def test_a_pass_reads_plans_asks_guards_commits_and_only_then_acts() -> None:
    """The order of one pass without open ops."""

    async def main(loop: SimLoop) -> list[str]:
        engine = Engine(loop, "a")
        await engine.run(0.5)
        return engine.trace

    trace = simulate(main, seed=1)

    begun = [word for word in trace if word != "read"]
    assert ["plan", "guard", "commit OpenOp", "apply switch", "commit SetHandle"] == begun
    assert ("read", "read") == (trace[0], trace[trace.index("plan") - 1])


def test_open_ops_are_resolved_on_fresh_evidence_before_anything_is_planned() -> None:
    """Read, resolve, close, read again, plan."""

    async def main(loop: SimLoop) -> list[str]:
        engine = Engine(loop, "a")
        engine.takes = 0.0
        await engine.run(30)
        return engine.trace[engine.trace.index("commit SetHandle") + 1 :]

    trace = simulate(main, seed=1)

    assert ["read", "resolve", "commit CloseOp", "read", "plan"] == trace


def test_what_closed_is_read_again_although_another_key_opened_an_op_meanwhile() -> None:
    """Otherwise the plan would rest on what was seen before the op ended, and repeat what it did."""
    other = Op(OpId("op-b"), lamp("b"), "switch", light("b"), Wall(0.0))

    async def main(loop: SimLoop) -> list[str]:
        engine = Engine(loop, "a")
        engine.takes = 0.0

        def done(_op: Op, _view: View) -> Done:
            loop.call_later(FSYNC / 2, lambda: asyncio.ensure_future(engine.state.commit((OpenOp(other),))))
            return Done()

        engine.verdicts["switch"] = done
        await engine.run(30)
        return engine.trace[engine.trace.index("resolve") + 1 :]

    trace = simulate(main, seed=1)

    assert "commit OpenOp" in trace
    assert "read" in trace[: trace.index("plan")]


@pytest.mark.parametrize("seed", range(5))
def test_an_op_is_durable_before_its_effect_begins(seed: int) -> None:
    """What the journal does not hold has not begun, whatever the order of things."""

    async def main(loop: SimLoop) -> list[bool]:
        engine = Engine(loop, *"abcdefgh")
        await engine.run(60)
        return engine.durable

    assert [True] * 8 == simulate(main, seed=seed)


def test_a_kill_in_the_middle_of_an_effect_leaves_its_op_open() -> None:
    """The op outlives the process that opened it."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        await engine.run(0.15)  # the effect takes until 0.21
        return engine

    engine = simulate(main, seed=1)

    assert ["switch"] == [op.verb for op in engine.journal.holds.ops.values()]
    assert [None] == [op.handle for op in engine.journal.holds.ops.values()]


def test_the_next_process_resolves_what_the_killed_one_had_begun() -> None:
    """The start-up is a pass like any other: the lamp came on in between, so nothing is switched again."""

    async def main(loop: SimLoop) -> Engine:
        killed = Engine(loop, "a")
        await killed.run(0.15)
        heir = Engine(loop, "a", journal=killed.journal)
        heir.lit["a"] = True
        await heir.run(30)
        return heir

    heir = simulate(main, seed=1)

    assert ([], {}) == (heir.applied, heir.journal.holds.ops)


def test_a_kill_before_the_commit_is_durable_begins_nothing() -> None:
    """An effect never precedes its op on disk."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        await engine.run(0.055)  # reads end at 0.05, the commit at 0.06
        return engine

    engine = simulate(main, seed=1)

    assert ([], {}) == (engine.applied, engine.journal.holds.ops)


def test_waiting_for_an_op_is_no_failure_and_starts_nothing_else() -> None:
    """Running is polled, with pauses of a thirtieth of its age and at most ten seconds (`failures.md` rule 9)."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.takes = 1e9
        engine.verdicts["switch"] = lambda _op, _view: Running(2, "a warms up")
        await engine.run(600)
        return engine

    engine = simulate(main, seed=1)

    waits = engine.passes[1:]
    assert ({Outcome.WAITING}, {0}, {"a warms up"}) == (
        {one.outcome for one in waits},
        {one.failures for one in waits},
        {one.sentence for one in waits},
    )
    pauses = [one.next_in or 0.0 for one in waits]
    ages = accumulate(later.duration + sooner for sooner, later in zip(pauses, waits[1:], strict=False))
    assert pauses == pytest.approx([2, *(min(10, max(2, age / 30)) for age in ages)])
    assert 10 == pauses[-1]
    assert 1 == len(engine.applied)


def test_an_unknown_verdict_keeps_everybody_off_the_target() -> None:
    """What cannot be told yet is waited for."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.verdicts["switch"] = lambda _op, _view: Unknown("nobody knows", after=7)
        await engine.run(120)
        return engine

    engine = simulate(main, seed=1)

    assert (1, Outcome.WAITING, "nobody knows", 7, None) == (
        len(engine.applied), engine.passes[-1].outcome, engine.passes[-1].sentence, engine.passes[-1].next_in,
        engine.passes[-1].failure,
    )  # fmt: skip


def test_what_is_unknown_past_its_time_may_be_ended_by_its_own_key() -> None:
    """Its key plans again while it stays open."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.verdicts["switch"] = lambda _op, _view: Unknown("nobody knows", after=7, late=True)
        await engine.run(120)
        return engine

    engine = simulate(main, seed=1)

    assert (1, "a is lit") == (len(engine.applied), engine.passes[-1].sentence)


def test_an_effect_that_never_began_is_begun_again_under_another_op() -> None:
    """Absent closes the op in silence and the plan is made anew."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.verdicts["switch"] = lambda op, view: (
            Done() if view.known(light(op.key.name)) else Absent() if len(engine.applied) == 1 else Running()
        )

        async def lost(_action: Action) -> None:
            return None

        engine.effects["a"] = lost
        await engine.run(60)
        return engine

    engine = simulate(main, seed=1)

    ids = [op for _, _, op in engine.applied]
    assert (2, 2) == (len(ids), len(set(ids)))
    assert {None} == {one.failure for one in engine.passes}


def test_a_failed_verdict_closes_the_op_with_its_changes_and_is_reported() -> None:
    """The words of the verdict reach the report; its changes are committed with the closing."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.verdicts["switch"] = lambda _op, _view: Failed(Code.EXECUTION, "the bulb broke", (PutFact("spare", 1),))
        await engine.run(2)
        return engine

    engine = simulate(main, seed=1)

    failed = next(one for one in engine.passes if one.outcome is Outcome.FAILED)
    assert (1, "the bulb broke", "ExecutionFailed") == (failed.failures, failed.sentence, failed.reason)
    assert 1 == engine.journal.holds.facts["spare"]
    assert failed.failure is not None
    assert "key:lab/machine/a" == failed.failure.target


def test_an_effect_whose_reply_was_an_error_is_resolved_not_repeated() -> None:
    """A reply proves nothing: the lamp came on although the request failed."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")

        async def torn(_action: Action) -> None:
            engine.lit["a"] = True
            raise Failure(Code.EXECUTION, "connection reset after the request")

        engine.effects["a"] = torn
        await engine.run(60)
        return engine

    engine = simulate(main, seed=1)

    assert (1, {}) == (len(engine.applied), engine.journal.holds.ops)
    assert [Outcome.FAILED, Outcome.SETTLED] == [one.outcome for one in engine.passes]


def test_a_hold_does_not_block_the_plans_of_its_key() -> None:
    """A disruption is open while other steps of its machine come and go."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")

        def plan(key: Key, view: View) -> Plan:
            held = any(op.verb == "dim" for op in view.ops.values())
            if not held and "noted/a" not in view.facts:
                return Plan(steps=(Dim(key=key),))
            return Plan(steps=(Switch(key=key),)) if not view.known(light(key.name)) else ready(key)

        engine.plans["a"] = plan
        engine.verdicts["dim"] = lambda op, view: Done() if view.known(light(op.key.name)) else Running()
        await engine.run(60)
        return engine

    engine = simulate(main, seed=1)

    assert [("a", "switch")] == [(name, verb) for name, verb, _ in engine.applied]
    assert (Outcome.SETTLED, {}) == (engine.passes[-1].outcome, engine.journal.holds.ops)


def test_local_decisions_go_on_to_the_next_step_and_an_op_ends_the_pass() -> None:
    """A plan's steps are taken in order, up to the first that takes time."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.plans["a"] = lambda key, _view: Plan(
            steps=(Note(key=key), Polish(key=key), Switch(key=key), Polish(key=key))
        )
        await engine.run(0.6)
        return engine

    engine = simulate(main, seed=1)

    assert ["polish", "switch"] == [verb for _, verb, _ in engine.applied]
    assert engine.journal.holds.facts["noted/a"]


def test_what_a_held_step_is_for_is_timed_while_its_guards_wait_is_told() -> None:
    """And once it is taken, that is what is told."""

    async def main(loop: SimLoop) -> tuple[list[str], dict[str, float]]:
        engine, since = Engine(loop, "a"), {}
        engine.plans["a"] = lambda key, _view: Plan(steps=(Polish(key=key),), wait=Wait("Dull", "a is dull"))
        engine.guards.append(lambda _action, view: None if view.wall > EPOCH + 50 else Wait("Queued", "queued", 10))
        loop.call_later(45, lambda: since.update(engine.state.view.since))
        await engine.run(60)
        return [one.reason for one in engine.passes], since

    reasons, since = simulate(main, seed=1)

    assert (["Queued", "polish"], {"Dull", "Queued"}) == (
        list(dict.fromkeys(reasons))[:2], {name.rpartition("/")[2] for name in since},
    )  # fmt: skip


def test_a_guards_wait_is_no_failure_and_ends_with_its_token() -> None:
    """What a guard waits for wakes the key at once."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.guards.append(
            lambda _action, view: None if "go" in view.facts else Wait("AwaitingGo", "waits", 500, ("fact:go",))
        )
        run = asyncio.create_task(engine.run(60))
        await asyncio.sleep(10)
        await engine.state.commit((PutFact("go", True),))
        await run
        return engine

    engine = simulate(main, seed=1)

    first = engine.passes[0]
    assert (Outcome.WAITING, "AwaitingGo", 500, 0) == (first.outcome, first.reason, first.next_in, first.failures)
    assert Outcome.SETTLED == engine.passes[-1].outcome


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (None, Wait("Queued", "queued"), "Queued"),
        (Wait("Busy", "busy"), None, "Busy"),
        (Wait("Busy", "busy"), Refusal(Code.CONFIG, "PolicyNever", "never"), "Busy"),
    ],
)
def test_every_guard_can_hold_a_step_and_the_first_that_does_is_told(first: Any, second: Any, told: str) -> None:
    """One that has nothing against it speaks for itself alone."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.guards += [lambda _action, _view: first, lambda _action, _view: second]
        await engine.run(5)
        return engine

    engine = simulate(main, seed=1)

    assert ([], told) == (engine.applied, engine.passes[-1].reason)


@pytest.mark.parametrize("seed", range(8))
def test_a_permit_is_never_held_twice_and_everybody_has_it_once(seed: int) -> None:
    """Guards and the op that they let open are one synchronous step."""

    async def main(loop: SimLoop) -> tuple[int, Engine]:
        engine = Engine(loop, *"abcdef", seed=seed)
        for name in "abcdef":
            engine.plans[name] = lambda key, view: (
                ready(key) if view.known(light(key.name)) else Plan(steps=(Switch(key=key, slot="one"),))
            )
        engine.guards.append(lambda _action, view: Wait("Queued", "queued", 60, ("slot:one",)) if view.ops else None)
        run, most = asyncio.create_task(engine.run(90)), 0
        while not run.done():
            await asyncio.sleep(0.02)
            most = max(most, len(engine.state.view.ops))
        return most, engine

    most, engine = simulate(main, seed=seed)

    assert 1 == most
    assert sorted("abcdef") == sorted(name for name, _, _ in engine.applied)


def test_an_action_that_is_open_already_is_a_bug_and_not_a_second_op() -> None:
    """The engine's own last line against doing something twice."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.plans["a"] = lambda key, _view: Plan(steps=(Dim(key=key),))
        engine.verdicts["dim"] = lambda _op, _view: Running()
        await engine.run(5)
        return engine

    engine = simulate(main, seed=1)

    assert 1 == len(engine.journal.holds.ops)
    assert "dim of lab/machine/a is open already" == engine.passes[-1].sentence


def test_a_journal_that_cannot_write_stops_all_mutation_before_it_starts() -> None:
    """Nothing is applied, and the reason is said with its code."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a", "b")
        engine.journal.broken = Failure(Code.STATE, "the disk is full")
        await engine.run(60)
        return engine

    engine = simulate(main, seed=1)

    assert [] == engine.applied
    assert {Code.STATE} == {one.failure.code for one in engine.passes if one.failure}
    assert {Outcome.FAILED} == {one.outcome for one in engine.passes}


def test_a_frozen_ledger_stops_effects_that_need_no_op_too() -> None:
    """They write nothing into the ledger, yet what they do could not be told afterwards."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.plans["a"] = lambda key, _view: Plan(steps=(Polish(key=key),))
        engine.state.frozen = Failure(Code.STATE, "the disk is full")
        await engine.run(20)
        return engine

    engine = simulate(main, seed=1)

    assert ([], "nothing is changed: the disk is full") == (engine.applied, engine.passes[-1].sentence)


def test_work_goes_on_after_a_thaw() -> None:
    """The journal's truth replaces ours and the effect that never began is begun."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.journal.broken = Failure(Code.STATE, "the disk is full")
        run = asyncio.create_task(engine.run(60))
        await asyncio.sleep(10)
        engine.journal.broken = None
        await engine.state.thaw()
        engine.dispatcher.reset(lamp("a"))
        await run
        return engine

    engine = simulate(main, seed=1)

    assert ({}, Outcome.SETTLED, 1) == (engine.journal.holds.ops, engine.passes[-1].outcome, len(engine.applied))


def test_facts_that_go_wake_like_facts_that_come() -> None:
    """Dropping a fact is news too."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.guards.append(
            lambda _action, view: Wait("Paused", "paused", 500, ("fact:paused",)) if "paused" in view.facts else None
        )
        engine.journal.holds = Disk(engine.clock, []).holds.after((PutFact("paused", True),))
        run = asyncio.create_task(engine.run(60))
        await asyncio.sleep(10)
        await engine.state.commit((DropFact("paused"),))
        await run
        return engine

    assert Outcome.SETTLED == simulate(main, seed=1).passes[-1].outcome


def test_a_read_that_never_ends_is_unknown_with_its_reason_and_the_pass_goes_on() -> None:
    """The plan is made without it, well before the pass counts as stuck."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.takes_to_read["a"] = 10_000
        engine.plans["a"] = lambda key, view: Plan(wait=Wait("Unknown", view.bulk[light(key.name)].why, 60))
        await engine.run(LONGEST)
        return engine

    engine = simulate(main, seed=1)

    done = engine.passes[0]
    assert (Outcome.WAITING, "no answer within 120 s", 120) == (done.outcome, done.sentence, round(done.duration))


def test_a_step_that_never_ends_is_cut_off_and_its_op_stays_open_for_the_evidence() -> None:
    """Whether it happened is not known; it is not done again before an op has been looked at for its time."""

    async def hang(_action: Action) -> None:
        await asyncio.Event().wait()

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.effects["a"] = hang
        await engine.run(ENDS + 25)
        return engine

    engine = simulate(main, seed=1)

    failure = engine.passes[0].failure
    assert failure is not None
    assert (Code.TIMEOUT, "light a: no answer within 480 s") == (failure.code, failure.what)
    assert LONGEST - 60 > engine.passes[0].duration
    # The engine's verdict is Absent when an op is 30 s old: it is not 480 s old at the first look.
    assert (1, 1) == (len(engine.applied), len(engine.journal.holds.ops))
    assert Outcome.WAITING is engine.passes[-1].outcome


def test_no_step_is_begun_late_in_a_pass_and_the_next_pass_goes_on() -> None:
    """Many slow steps are several passes, none of them long."""

    async def slow(_action: Action) -> None:
        await asyncio.sleep(100)

    def plan(key: Key, _view: View) -> Plan:
        left = 7 - len(engine.applied)
        return Plan(steps=tuple(Polish(key=key) for _ in range(left))) if left > 0 else ready(key)

    async def main(loop: SimLoop) -> None:
        nonlocal engine
        engine = Engine(loop, "a")
        engine.plans["a"], engine.effects["a"] = plan, slow
        await engine.run(1000)

    engine: Engine = None  # type: ignore[assignment] # made in the loop
    simulate(main, seed=1)

    assert [300, 300, 100, 0] == [round(one.duration, -1) for one in engine.passes]
    assert 7 == len(engine.applied)
