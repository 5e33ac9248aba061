"""What a pass is concluded to: vain steps, the other side's haste, which wait is told, and no task left behind."""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.loop.dispatcher import VAIN, Pulse
from cpcd.loop.health import LONGEST, unhealthy
from cpcd.loop.queue import Queue
from cpcd.model.errors import Bug, Code, Failure, Unreachable
from cpcd.model.plan import Done, Plan, Wait
from cpcd.model.report import Outcome
from tests.unit.loop.engine import Engine, Note, Polish, Switch, lamp


def run(engine_of: Any, seconds: float = 30) -> Any:
    """Run an engine that was made ready for so long and return it."""

    async def main(loop: SimLoop) -> Engine:
        engine = Engine(loop, "a")
        engine_of(engine)
        await engine.run(seconds)
        return engine

    return simulate(main, seed=0)


def test_a_step_that_is_needed_again_and_again_does_not_do_what_it_says() -> None:
    """Three times in a row may be; the fourth is a failure that backs off, and says so."""

    def ready(engine: Engine) -> None:
        engine.plans["a"] = lambda key, _view: Plan(steps=(Polish(key=key),))

    passes = run(ready).of("a")[: VAIN + 1]

    assert [*[Outcome.ACTED] * VAIN, Outcome.FAILED] == [one.outcome for one in passes]
    assert f"polish a: done {VAIN + 1} times, and it is needed again" == passes[-1].sentence


@pytest.mark.parametrize("other", [Note, Switch])
def test_a_decision_of_the_ledger_or_an_operation_is_never_in_vain(other: Any) -> None:
    """The first has no effect outside, the second is judged by its evidence."""
    turns = iter(range(100))

    def ready(engine: Engine) -> None:
        engine.verdicts["switch"] = lambda _op, _view: Done()
        engine.plans["a"] = lambda key, _view: Plan(steps=(other(key=key),)) if next(turns) < 8 else Plan()

    assert {Outcome.FAILED} & {one.outcome for one in run(ready).of("a")} == set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stain(Polish):
    """What polishing undoes, and what undoes it."""

    verb: ClassVar[str] = "stain"

    @property
    def sentence(self) -> str:
        return f"stain {self.key.name}"


def test_steps_that_undo_each_other_are_in_vain() -> None:
    """Each is needed again and again, though never right after itself."""
    turns = iter(range(100))

    def ready(engine: Engine) -> None:
        engine.plans["a"] = lambda key, _view: Plan(steps=((Stain if next(turns) % 2 else Polish)(key=key),))

    passes = run(ready).of("a")[: 2 * VAIN + 1]

    assert [*[Outcome.ACTED] * 2 * VAIN, Outcome.FAILED] == [one.outcome for one in passes]
    assert f"polish a: done {VAIN + 1} times, and it is needed again" == passes[-1].sentence


def test_steps_in_turns_are_not_in_vain() -> None:
    """What is needed again after a pass that needed nothing has worked in between."""
    turns = iter(range(100))

    def ready(engine: Engine) -> None:
        def plan(key: Any, _view: Any) -> Plan:
            turn = next(turns)
            return Plan(steps=(Polish(key=key),) if turn % 2 else ()) if turn < 12 else Plan()

        engine.plans["a"] = plan

    assert {Outcome.FAILED} & {one.outcome for one in run(ready, 6_000).of("a")} == set()


@pytest.mark.parametrize(
    ("failure", "reached"),
    [
        (Failure(Code.EXECUTION, "422 Invalid"), ["polish", "stain", "note"]),
        (Unreachable("kube:lab", "no answer"), ["polish"]),
        (Bug("an invariant"), ["polish"]),
    ],
)
def test_a_refused_step_that_may_be_repeated_holds_up_nothing_else(failure: Failure, reached: list[str]) -> None:
    """The others are taken, the first refusal is the pass's; where nobody answers nobody else is asked."""

    def ready(engine: Engine) -> None:
        async def fail(action: Any) -> str | None:
            raise failure if action.verb == "polish" else Failure(Code.EXECUTION, "another")

        engine.plans["a"] = lambda key, _view: Plan(steps=(Polish(key=key), Stain(key=key), Note(key=key)))
        engine.effects["a"] = fail

    engine = run(ready, 0.9)

    assert (Outcome.FAILED, failure) == (engine.of("a")[0].outcome, engine.of("a")[0].failure)
    assert reached == [verb for verb, _ in engine.of("a")[0].steps]


def test_a_refused_operation_ends_the_pass() -> None:
    """Its op is open: what became of it is found out before anything else."""

    def ready(engine: Engine) -> None:
        async def fail(_action: Any) -> str | None:
            raise Failure(Code.EXECUTION, "no")

        engine.plans["a"] = lambda key, _view: Plan(steps=(Switch(key=key), Note(key=key)))
        engine.effects["a"] = fail

    assert ["switch"] == [verb for verb, _ in run(ready, 0.9).of("a")[0].steps]


@pytest.mark.parametrize(("asked", "wanted"), [(0.0, 0.5), (0.4, 0.5), (7.0, 7.0)])
def test_whoever_asks_to_be_tried_again_at_once_is_given_half_a_second(asked: float, wanted: float) -> None:
    """A server that says 0 is not hammered."""

    def ready(engine: Engine) -> None:
        async def fail(_action: Any) -> str | None:
            raise Failure(Code.EXECUTION, "not yet", retry=asked)

        engine.plans["a"] = lambda key, _view: Plan(steps=(Polish(key=key),))
        engine.effects["a"] = fail

    assert wanted == run(ready, 1).of("a")[0].next_in


def test_of_two_steps_that_wait_the_first_is_told() -> None:
    """It is what stands in the way of the rest."""

    def ready(engine: Engine) -> None:
        engine.plans["a"] = lambda key, _view: Plan(steps=(Polish(key=key), Note(key=key)))
        engine.guards.append(lambda action, _view: Wait(f"For{action.verb.title()}", f"waits for {action.verb}", 60))

    assert ("ForPolish", "waits for polish", 60) == next(
        (one.reason, one.sentence, one.next_in) for one in run(ready, 1).of("a")
    )


@pytest.mark.parametrize(("seconds", "stuck"), [(LONGEST, False), (LONGEST + 1, True)])
def test_a_pass_is_stuck_past_its_limit_and_not_at_it(seconds: float, stuck: bool) -> None:
    """What is stuck is named."""
    told = unhealthy(Pulse(beat=seconds, running={lamp("a"): 0.0}), seconds)

    assert ("lab/machine/a" in told) is stuck


def test_a_wait_for_the_next_key_leaves_no_task_behind() -> None:
    """Neither when news end it, nor when it is cut off."""

    async def main(loop: SimLoop) -> set[Any]:
        queue: Queue[str] = Queue(SimClock(loop, 0))
        queue.add_after("late", 100)
        loop.call_later(1, queue.add, "now")
        await queue.news(10)
        waiting = asyncio.ensure_future(queue.news(10))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert set() == simulate(main, seed=0)


def test_what_an_operator_resets_comes_before_everything_else() -> None:
    """Somebody waits for it."""

    async def main(loop: SimLoop) -> list[str]:
        engine = Engine(loop)
        for name in ("a", "b"):
            engine.queue.add(lamp(name))
        engine.dispatcher.reset(lamp("c"))
        return [str(engine.queue.take()) for _ in range(3)]

    assert [str(lamp(name)) for name in "cab"] == simulate(main, seed=0)


def test_a_pass_that_found_everything_as_wanted_says_so_in_the_conditions_words() -> None:
    """Sentence, reason, and a date in about ten minutes."""
    settled = run(lambda engine: engine.lit.update(a=True), 1).of("a")[0]

    assert (Outcome.SETTLED, "a is lit", "Ready") == (settled.outcome, settled.sentence, settled.reason)
    assert settled.next_in is not None
    assert 540 <= settled.next_in <= 660


def test_a_step_that_may_be_repeated_is_looked_at_again_at_once_and_an_operation_soon() -> None:
    """The first has had its effect, the second is on its way."""

    def ready(kind: Any) -> Any:
        def make(engine: Engine) -> None:
            engine.plans["a"] = lambda key, _view: Plan(steps=(kind(key=key),))

        return make

    repeated, begun = (run(ready(kind), 1).of("a")[0] for kind in (Polish, Switch))

    assert (Outcome.ACTED, "polish", 0.0) == (repeated.outcome, repeated.reason, repeated.next_in)
    assert (Outcome.ACTED, "switch", True) == (begun.outcome, begun.reason, 0 < (begun.next_in or 0) <= 1)


def test_an_effect_that_answers_without_an_operation_leaves_no_handle() -> None:
    """There is nothing that it could be the handle of."""

    def ready(engine: Engine) -> None:
        async def answer(_action: Any) -> str:
            return "done"

        engine.plans["a"] = lambda key, _view: Plan(steps=(Polish(key=key),))
        engine.effects["a"] = answer

    engine = run(ready, 1)

    assert Outcome.ACTED == engine.of("a")[0].outcome
    assert not [line for line in engine.trace if "SetHandle" in line]
