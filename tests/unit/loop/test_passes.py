"""Passes: their order, what is durable when, what waits, what fails, and what a failure leaves alone."""

import asyncio
from dataclasses import replace

import pytest

from cpcd.lab.simloop import SimLoop, simulate
from cpcd.loop.dispatcher import AT_ONCE, RESYNC, SLOW
from cpcd.model.desired import Retry
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Key
from cpcd.model.ledger import DropFact, PutFact
from cpcd.model.plan import Absent, Action, Done, Failed, Plan, Refusal, Running, Unknown, Wait
from cpcd.model.report import Outcome
from cpcd.model.view import View
from tests.unit.loop.engine import Dim, Disk, Engine, Note, Polish, Switch, lamp, light, ready


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
        await engine.run(0.105)  # reads end at 0.10, the commit at 0.11
        return engine

    engine = simulate(main, seed=1)

    assert ([], {}) == (engine.applied, engine.journal.holds.ops)


def test_waiting_for_an_op_is_no_failure_and_starts_nothing_else() -> None:
    """Running is polled, with growing pauses of at most ten seconds."""

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
    pauses = [one.next_in for one in waits]
    assert pauses == sorted(pauses)
    assert (2, 10) == (pauses[0], pauses[-1])
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


def test_failures_in_a_row_are_counted_backed_off_and_degrade() -> None:
    """The third in a row is Degraded, and none comes sooner than a second."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.silent["a"] = Failure(Code.EXECUTION, "no current")
        await engine.run(300)
        return engine

    engine = simulate(main, seed=1)

    assert list(range(1, len(engine.passes) + 1)) == [one.failures for one in engine.passes]
    assert [False, False, True, True] == [one.degraded for one in engine.passes[:4]]
    pauses = [one.next_in for one in engine.passes if one.next_in is not None]
    assert len(engine.passes) == len(pauses)
    assert (True, True) == (min(pauses) >= 1, max(pauses) <= 60)


def test_an_effect_that_fails_again_and_again_degrades_though_it_is_begun_each_time() -> None:
    """To begin is no success: only what was proved forgives."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.takes = 1e9
        engine.verdicts["switch"] = lambda _op, _view: Failed(Code.EXECUTION, "the bulb broke")
        await engine.run(300)
        return engine

    failed = [one for one in simulate(main, seed=1).passes if one.outcome is Outcome.FAILED]

    assert [(1, False), (2, False), (3, True), (4, True)] == [(one.failures, one.degraded) for one in failed[:4]]


def test_what_a_pass_sees_itself_does_not_break_its_backoff() -> None:
    """Each try leaves another failed task in the list that the next pass reads."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.plans["a"] = lambda key, _view: Plan(steps=(Switch(key=key),))
        engine.verdicts["switch"] = lambda _op, _view: Failed(
            Code.EXECUTION, "x", (PutFact("tries", engine.clock.now()),)
        )

        async def leave_a_trace(_action: Action) -> str:
            engine.traces["a"] = len(engine.applied)
            return "handle"

        engine.effects["a"] = leave_a_trace
        await engine.run(300)
        return engine

    passes = simulate(main, seed=1).passes

    failed = [at for at, one in enumerate(passes) if one.outcome is Outcome.FAILED]
    assert ({2}, True) == (
        {later - sooner for sooner, later in zip(failed, failed[1:], strict=False)},
        len(failed) < 20,
    )


def test_a_proved_effect_forgives_the_failures_before_it() -> None:
    """The next failure is the first in a row."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.takes = 1e9
        verdicts = [Failed(Code.EXECUTION, "x"), Failed(Code.EXECUTION, "x"), Done()]
        engine.verdicts["switch"] = lambda _op, _view: verdicts.pop(0) if verdicts else Failed(Code.EXECUTION, "x")
        await engine.run(200)
        return engine

    failed = [one.failures for one in simulate(main, seed=1).passes if one.outcome is Outcome.FAILED]

    assert [1, 2, 1, 2, 3] == failed[:5]


def test_a_key_that_works_again_forgets_its_failures() -> None:
    """The count is of failures in a row."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.silent["a"] = Failure(Code.EXECUTION, "no current")
        loop.call_later(20, engine.silent.clear)
        await engine.run(200)
        return engine

    engine = simulate(main, seed=1)

    assert (Outcome.SETTLED, 0, False) == (
        engine.passes[-1].outcome, engine.passes[-1].failures, engine.passes[-1].degraded,
    )  # fmt: skip
    assert 0 == engine.dispatcher.backing_off()


def test_the_other_sides_own_delay_is_honoured() -> None:
    """`Retry-After` beats our dice."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.silent["a"] = Failure(Code.EXECUTION, "too many requests", retry=42)
        await engine.run(50)
        return engine

    assert [42, 42] == [one.next_in for one in simulate(main, seed=1).passes]


def test_what_only_the_world_can_change_is_looked_at_every_five_minutes() -> None:
    """A slow disposition is no reason to hammer."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.silent["a"] = Failure(Code.AUTH, "the token expired")
        await engine.run(SLOW * 2 + 10)
        return engine

    assert [SLOW] * 3 == [one.next_in for one in simulate(main, seed=1).passes]


def test_an_operator_breaks_a_backoff() -> None:
    """`reset` looks at once and counts from the beginning."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.silent["a"] = Failure(Code.AUTH, "the token expired")
        loop.call_later(10, engine.dispatcher.reset, lamp("a"))
        await engine.run(20)
        return engine

    assert [1, 1] == [one.failures for one in simulate(main, seed=1).passes]


def test_a_bug_in_one_plan_stops_only_its_own_key() -> None:
    """One failure stays one failure (promise 9)."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "bad", "good")

        def broken(_key: Key, _view: View) -> Plan:
            raise KeyError("nobody thought of this")

        engine.plans["bad"] = broken
        await engine.run(60)
        return engine

    engine = simulate(main, seed=1)

    bad, good = engine.of("bad")[-1], engine.of("good")[-1]
    assert bad.failure is not None
    assert (Code.UNKNOWN, "KeyError: 'nobody thought of this'") == (bad.failure.code, bad.sentence)
    assert Outcome.SETTLED == good.outcome


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


def test_keys_park_on_a_silent_endpoint_and_are_woken_by_its_owner() -> None:
    """A parked key is not polled, has no backoff, and runs when the endpoint is up again."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.silent["a"] = Unreachable("pve:home", "Proxmox does not answer")
        loop.call_later(200, engine.silent.clear)
        loop.call_later(200, engine.endpoints.up, "pve:home")
        await engine.run(260)
        return engine

    engine = simulate(main, seed=1)

    parked, *after = engine.passes
    assert (Outcome.FAILED, None, 0) == (parked.outcome, parked.next_in, parked.failures)
    assert [Outcome.ACTED, Outcome.SETTLED] == [after[0].outcome, after[-1].outcome]


def test_a_parked_key_runs_again_within_a_second_of_the_endpoints_return() -> None:
    """The observer's word wakes it, no timer."""

    async def main(loop: SimLoop) -> float:
        engine = Engine(loop, "a")
        engine.silent["a"] = Unreachable("pve:home", "Proxmox does not answer")
        loop.call_later(200, engine.silent.clear)
        loop.call_later(200, engine.endpoints.up, "pve:home")
        run = asyncio.create_task(engine.run(260))
        while not engine.applied:
            await asyncio.sleep(0.1)
        woken = loop.time()
        await run
        return woken

    assert simulate(main, seed=1) < 201


def test_silence_of_an_endpoint_without_an_owner_is_backed_off() -> None:
    """Nobody would wake it, so it is tried again."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.silent["a"] = Unreachable("guest:u1", "no route to host")
        await engine.run(300)
        return engine

    engine = simulate(main, seed=1)

    assert (True, 3) == (len(engine.passes) > 3, engine.passes[2].failures)
    assert () == engine.endpoints.all()


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


def test_a_refusal_stalls_the_key_for_five_minutes() -> None:
    """Only an input can change it."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.guards.append(lambda _action, _view: Refusal(Code.CONFIG, "PolicyNever", "it is never done"))
        await engine.run(20)
        return engine

    engine = simulate(main, seed=1)

    only = engine.passes[-1]
    assert (Outcome.REFUSED, "PolicyNever", SLOW, []) == (only.outcome, only.reason, only.next_in, engine.applied)


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


def test_a_settled_key_is_looked_at_again_about_every_ten_minutes() -> None:
    """The resync is spread so that keys do not march in step."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, *"abcdef")
        engine.lit = dict.fromkeys(engine.lit, True)
        await engine.run(10)
        return engine

    dates = [one.next_in for one in simulate(main, seed=1).passes]

    assert all(one is not None and 0.9 * RESYNC <= one <= 1.1 * RESYNC for one in dates)
    assert 6 == len(set(dates))


def test_news_of_what_a_key_watches_wakes_it() -> None:
    """A settled key whose scope changed is looked at at once."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.lit["a"] = True
        run = asyncio.create_task(engine.run(60))
        await asyncio.sleep(10)
        engine.lit["a"] = False
        scope = light("a")
        engine.state.observe({scope: replace(engine.state.view.bulk[scope], value=False)})
        await run
        return engine

    assert 1 == len(simulate(main, seed=1).applied)


def test_passes_under_way_are_bounded() -> None:
    """A thousand keys do not become a thousand connections."""

    async def main(loop: SimLoop) -> tuple[int, int]:
        engine = Engine(loop, *(f"n{n}" for n in range(200)))
        run, most = asyncio.create_task(engine.run(60)), 0
        while not run.done():
            await asyncio.sleep(0.01)
            most = max(most, len(engine.dispatcher.pulse.running))
        return most, len(engine.applied)

    assert (AT_ONCE, 200) == simulate(main, seed=1)


def test_a_pass_that_is_killed_is_no_longer_counted_as_running() -> None:
    """Liveness would otherwise blame a ghost."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        await engine.run(0.15)
        return engine

    assert {} == simulate(main, seed=1).dispatcher.pulse.running


@pytest.mark.parametrize("seed", range(3))
def test_a_run_is_repeatable_from_its_seed(seed: int) -> None:
    """Same seed, same trace and same passes."""

    def once() -> tuple[list[str], list[str]]:
        async def main(loop: SimLoop) -> Engine:
            engine = Engine(loop, *"abcdefgh", seed=seed)
            engine.silent["b"] = Failure(Code.EXECUTION, "no current")
            loop.call_later(30, engine.silent.clear)
            await engine.run(200)
            return engine

        engine = simulate(main, seed=seed)
        return engine.trace, [f"{one.key} {one.outcome} {one.next_in}" for one in engine.passes]

    assert once() == once()


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
