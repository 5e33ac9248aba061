"""After a pass: what is counted, when a key is looked at again, what parks and wakes, and what a failure leaves alone."""

import asyncio
from dataclasses import replace

import pytest

from cpcd.lab.simloop import SimLoop, simulate
from cpcd.loop.dispatcher import AT_ONCE, PATIENCE, RESYNC, SLOW
from cpcd.loop.health import BEAT, unhealthy
from cpcd.model.desired import Retry
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Key
from cpcd.model.ledger import PutFact
from cpcd.model.plan import Action, Condition, Done, Failed, Plan, Refusal, Status, Verdict, Wait
from cpcd.model.report import Outcome
from cpcd.model.view import View
from tests.unit.loop.engine import Engine, Polish, Switch, lamp, light


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


@pytest.mark.parametrize(("done", "wanted"), [(Done(), [1, 2, 1, 2, 3]), (Done(progress=False), [1, 2, 3, 4, 5])])
def test_a_proved_effect_forgives_the_failures_before_it(done: Done, wanted: list[int]) -> None:
    """The next failure is the first in a row; a clean-up forgives nothing, so that what fails for ever is degraded."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.takes = 1e9
        verdicts: list[Verdict] = [Failed(Code.EXECUTION, "x"), Failed(Code.EXECUTION, "x"), done]
        engine.verdicts["switch"] = lambda _op, _view: verdicts.pop(0) if verdicts else Failed(Code.EXECUTION, "x")
        await engine.run(200)
        return engine

    passes = simulate(main, seed=1).passes
    failed = [one.failures for one in passes if one.outcome is Outcome.FAILED]

    assert wanted == failed[:5]
    assert all(one.degraded for one in passes if one.failures >= Retry().degraded_after)


@pytest.mark.parametrize("degraded_after", [1, 5])
def test_how_many_failures_are_for_people_is_for_the_policy_to_say(degraded_after: int) -> None:
    """It stands in the spec, by class of operation."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.retry = Retry(degraded_after=degraded_after)
        engine.silent["a"] = Failure(Code.EXECUTION, "no current")
        await engine.run(300)
        return engine

    failed = simulate(main, seed=1).passes[:6]

    assert [one.failures >= degraded_after for one in failed] == [one.degraded for one in failed]


@pytest.mark.parametrize("lit", [False, True], ids=["with-work-to-do", "with-none"])
def test_a_key_that_works_again_forgets_its_failures(lit: bool) -> None:
    """The count is of failures in a row; to find everything as wanted is to work, too."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.lit["a"] = lit
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


@pytest.mark.parametrize("code", [Code.AUTH, Code.CONFIG])
def test_what_only_the_world_can_change_is_looked_at_every_five_minutes(code: Code) -> None:
    """What is told as looked at again every five minutes is looked at no sooner."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.silent["a"] = Failure(code, "the token expired")
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
    assert (Outcome.FAILED, None, 0, "pve:home") == (parked.outcome, parked.next_in, parked.failures, parked.parked)
    assert [Outcome.ACTED, Outcome.SETTLED] == [after[0].outcome, after[-1].outcome]


def test_a_parked_key_runs_again_within_a_second_of_the_endpoints_return() -> None:
    """The observer's word wakes it, no timer."""

    async def main(loop: SimLoop) -> float:
        engine = Engine(loop, "a")
        engine.silent["a"] = Unreachable("pve:home", "Proxmox does not answer")
        loop.call_later(200, engine.silent.clear)
        loop.call_later(200, engine.endpoints.up, "pve:home")
        run = asyncio.create_task(engine.run(260))
        began = asyncio.Event()

        async def effect(_action: Action) -> None:
            began.set()

        engine.effects["a"] = effect
        await began.wait()
        woken = loop.time()
        await run
        return woken

    assert simulate(main, seed=1) < 201


def test_a_parked_key_remembers_what_it_has_tried() -> None:
    """It is not gone: what is due some time after the last try is not due at once when the endpoint is back."""

    async def main(loop: SimLoop) -> Engine:
        async def unheard(_action: Action) -> str | None:
            raise Unreachable("pve:home", "Proxmox does not answer")

        engine = Engine(loop, "a")
        engine.plans["a"] = lambda key, _view: Plan(steps=(Polish(key=key),))
        engine.effects["a"] = unheard
        await engine.run(60)
        return engine

    engine = simulate(main, seed=1)

    assert ("pve:home", None) == (engine.passes[-1].parked, engine.passes[-1].next_in)
    assert {f"{lamp('a')}/polish"} == set(engine.state.view.since)


def test_an_object_that_is_no_more_is_told_once_and_leaves_nothing() -> None:
    """Nobody reports on it and nothing is read of it: no date, no wait and no news for it."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine.plans["a"] = lambda _key, _view: Plan(wait=Wait("Dull", "a is dull", 5)) if engine.lit else Plan()
        loop.call_later(20, engine.lit.clear)
        await engine.run(2 * RESYNC)
        return engine

    engine = simulate(main, seed=1)

    gone = [(one.outcome, one.sentence, one.next_in) for one in engine.passes if one.reason == "Gone"]
    assert [(Outcome.SETTLED, "lab/machine/a is no more", None)] == gone
    assert ({}, 0) == (dict(engine.state.view.since), engine.queue.waiting())


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


def test_a_refusal_stalls_the_key_for_five_minutes() -> None:
    """Only an input can change it."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        refusal = Refusal(Code.CONFIG, "PolicyNever", "it is never done", "Change the policy.")
        engine.guards.append(lambda _action, _view: refusal)
        await engine.run(20)
        return engine

    engine = simulate(main, seed=1)

    only = engine.passes[-1]
    assert (Outcome.REFUSED, "PolicyNever", SLOW, []) == (only.outcome, only.reason, only.next_in, engine.applied)
    assert only.failure is not None
    assert (Code.CONFIG, "it is never done", "Change the policy.", "") == (
        only.failure.code, only.failure.what, only.failure.hint, only.parked,
    )  # fmt: skip


def test_a_settled_key_says_what_its_own_condition_says() -> None:
    """An object that is at rest and not Ready gives that reason, not the word of one that is as wanted."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        young = Condition("Degraded", Status.FALSE, "Young", "nothing failed yet")
        leaving = Condition("Ready", Status.FALSE, "Scaling", "1 leaving")
        engine.plans["a"] = lambda _key, _view: Plan(conditions=(young, leaving))
        await engine.run(20)
        return engine

    only = simulate(main, seed=1).passes[-1]

    assert (Outcome.SETTLED, "Scaling", "1 leaving") == (only.outcome, only.reason, only.sentence)


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


def test_an_idle_dispatcher_beats_and_one_that_hangs_does_not() -> None:
    """What feeds the watchdog is the dispatcher's own loop: a task beside it would go on beating."""

    async def hangs(_patience: float) -> None:
        await asyncio.Future()

    async def main(loop: SimLoop) -> list[str]:
        engine = Engine(loop, "a")
        run = asyncio.create_task(engine.run(3600))
        await asyncio.sleep(1800)
        said = [unhealthy(engine.dispatcher.pulse, loop.time())]
        engine.queue.news = hangs  # type: ignore[method-assign] # the bug is planted here
        await asyncio.sleep(BEAT + PATIENCE + 1)
        run.cancel()
        return [*said, unhealthy(engine.dispatcher.pulse, loop.time())]

    live, dead = simulate(main, seed=1)
    assert live == ""
    assert dead.startswith("the dispatcher has not beaten for 3")


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
