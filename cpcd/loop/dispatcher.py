"""From queue to passes: bounded concurrency, backoff, parking on silent endpoints, and one report a pass.

Waiting is not failing: it has no error line and no count. Nothing is terminal: what only a person or the world can
change is looked at again every five minutes and at once when an input changes.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from cpcd.loop.backoff import Backoff
from cpcd.loop.endpoints import Endpoints
from cpcd.loop.queue import Queue
from cpcd.loop.runner import Finding, Runner
from cpcd.loop.state import State
from cpcd.model.desired import Retry
from cpcd.model.errors import Bug, Code, Failure, Unreachable
from cpcd.model.keys import Key
from cpcd.model.plan import Refusal
from cpcd.model.report import Outcome, Pass
from cpcd.ports.clock import Clock

__all__ = ["Dispatcher", "Pulse"]

SLOW = 300.0  # seconds between looks at what is stalled
RESYNC = 600.0  # seconds between looks at what is settled
SELDOM = 10.0  # seconds: what lasts is looked at more seldom, a thirtieth of its age (`failures.md` rule 9)
VAIN = 3  # times that a repeatable step may be taken before a pass that needs none; one more counts as a failure
AT_ONCE = 64  # passes at the same time; they mostly wait for answers
PATIENCE = 5.0  # seconds at most between two beats of an idle dispatcher


@dataclass(slots=True)
class Pulse:
    """What liveness is judged by: the dispatcher's last beat and the passes under way, monotonic seconds."""

    beat: float
    running: dict[Key, float]


class Dispatcher:
    """Runs passes for ever; `policy(key, failure, verb)` gives the backoff, `report` takes each finished pass.

    `context` is entered for each pass with its key and run id, so that every line that is logged in it carries them.
    """

    def __init__(  # noqa: PLR0913 - the engine's parts
        self,
        *,
        queue: Queue[Key],
        runner: Runner,
        state: State,
        endpoints: Endpoints,
        clock: Clock,
        rng: random.Random,
        policy: Callable[[Key, Failure, str], Retry],
        report: Callable[[Pass], None],
        new_run: Callable[[], str],
        owned: Callable[[str], bool],
        context: Callable[[Key, str], AbstractContextManager[None]] = lambda _key, _run: nullcontext(),
    ) -> None:
        self._queue, self._runner, self._state, self._endpoints = queue, runner, state, endpoints
        self._clock, self._random, self._policy, self._report = clock, rng, policy, report
        self._new_run, self._owned, self._context = new_run, owned, context
        self._backoff: dict[Key, Backoff] = {}
        self._said: dict[Key, Counter[str]] = {}
        self.pulse = Pulse(clock.now(), {})

    async def serve(self) -> None:
        """Take keys and pass over them until cancelled; passes under way are cancelled with it."""
        async with asyncio.TaskGroup() as group:
            while True:
                # Before anything is done: what blocks the loop behind this line is what the watchdog is for.
                self.pulse.beat = now = self._clock.now()
                # Not taken while every place is: a key that waits in the queue keeps its order there, and a front can
                # still pass it.
                key = self._queue.take() if len(self.pulse.running) < AT_ONCE else None
                if key is None:
                    await self._queue.news(PATIENCE)
                    continue
                # Counted before its task has run for the first time, because the next turn asks how many there are.
                self.pulse.running[key] = now
                group.create_task(self._one(key, now), name=f"pass {key}")

    def reset(self, key: Key) -> None:
        """Break a key's backoff: spec, secret, operator or endpoint have changed."""
        self._backoff.pop(key, None)
        self._queue.add(key, front=True)

    def retry(self) -> None:
        """Break every backoff."""
        for key in tuple(self._backoff):
            self.reset(key)

    def backing_off(self) -> int:
        """Return how many keys failed last time."""
        return len(self._backoff)

    async def _one(self, key: Key, began: float) -> None:
        found, run = Finding(), self._new_run()
        try:
            with self._context(key, run):
                found.failure = await self._guarded(key, found) or self._in_vain(key, found)
            self._conclude(key, found, run, self._clock.now() - began)
        finally:
            del self.pulse.running[key]
            self._queue.done(key)

    async def _guarded(self, key: Key, found: Finding) -> Failure | None:
        try:
            await self._runner.run(key, found)
        except Failure as failure:
            return failure
        except Exception as error:  # noqa: BLE001 - one failure stays one failure (promise 9)
            bug = Bug(f"{type(error).__name__}: {error}")
            bug.__cause__ = error
            return bug
        return found.failure

    def _in_vain(self, key: Key, found: Finding) -> Failure | None:
        """A repeatable step that is needed again three times before a pass needs none does not do what it says.

        It is counted across passes with other such steps, so that two that undo each other in turns are found out too.
        """
        said = [action.sentence for action in found.acted if not action.once and not action.local]
        if not said:
            self._said.pop(key, None)
            return None
        done = self._said.setdefault(key, Counter())
        done.update(said)
        vain = next((sentence for sentence in said if done[sentence] > VAIN), None)
        if vain is None:
            return None
        return Failure(Code.VALIDATION, f"{vain}: done {done[vain]} times, and it is needed again", target=str(key))

    def _conclude(self, key: Key, found: Finding, run: str, duration: float) -> None:
        outcome, sentence, reason, next_in = self._verdict(key, found)
        # After the verdict, which counts this failure or forgives the earlier ones.
        backoff, failure = self._backoff.get(key), found.failure
        retry = self._policy(key, failure, found.failed) if failure else Retry()
        self._wake_again(key, found, next_in)
        action = found.acted[-1] if found.acted else None
        self._report(
            Pass(
                key=key,
                run=run,
                outcome=outcome,
                sentence=sentence,
                duration=duration,
                failure=failure or _refused(found.refusal),
                verb=action.verb if action else "",
                target=str(action.target) if action else "",
                reason=reason,
                failures=backoff.failures if backoff else 0,
                next_in=next_in,
                conditions=found.plan.conditions,
                steps=tuple((one.verb, one.sentence) for one in found.acted),
                degraded=backoff is not None and backoff.degraded(retry),
            )
        )

    def _wake_again(self, key: Key, found: Finding, next_in: float | None) -> None:
        """Leave word for what the key is to be looked at again, and when."""
        wait, failure = found.wait, found.failure
        tokens = found.tokens | (set(wait.on) if wait else set())
        if isinstance(failure, Unreachable) and self._owned(failure.endpoint):
            # All that can wake a parked key; a guest or an API has no owner, so it is tried again after its backoff
            # (ADR 0016).
            tokens.add(f"endpoint:{failure.endpoint}")
        self._state.interest.set(key, tokens)
        # Both: a guard that holds a step ends nothing of what the step is for.
        self._state.mark(key, *(one.reason for one in (wait, found.plan.wait) if one))
        if next_in is not None:
            self._queue.add_after(key, next_in) if next_in > 0 else self._queue.add(key)
        # Neither a date nor a failure: the object is gone. A parked key has no date either, and goes on waiting.
        elif failure is None:
            self._state.forget(key)

    def _verdict(self, key: Key, found: Finding) -> tuple[Outcome, str, str, float | None]:
        """Return outcome, sentence, reason and when to look again."""
        failure, refusal, wait = found.failure, found.refusal, found.wait
        if failure is not None:
            return (Outcome.FAILED, str(failure.what), failure.reason, self._next(key, failure, found.failed))
        if found.progressed or not (found.acted or wait or refusal):
            self._backoff.pop(key, None)  # a wait in between forgives nothing: its op may fail again
        if refusal is not None:
            return (Outcome.REFUSED, refusal.sentence, refusal.reason, SLOW)
        if wait is not None:
            after = max(wait.after, min(SELDOM, self._state.waited(key, wait.reason) / 30))
            return (Outcome.WAITING, wait.sentence, wait.reason, after)
        if found.again is not None:
            return (Outcome.ACTED, found.acted[-1].sentence, found.acted[-1].verb, found.again)
        return self._settled(key, found)

    def _settled(self, key: Key, found: Finding) -> tuple[Outcome, str, str, float | None]:
        """Return the words of a plan without steps; a key that nobody reports on any more is gone."""
        if not found.tokens and not found.plan.conditions:
            return (Outcome.SETTLED, f"{key} is no more", "Gone", None)
        ready = next((c for c in found.plan.conditions if c.type == "Ready"), None)
        reason, said = (ready.reason, ready.message) if ready else ("Ready", f"{key} is as wanted")
        # Spread: what settled together after a start would be looked at together for ever.
        return (Outcome.SETTLED, said, reason, RESYNC * self._random.uniform(0.9, 1.1))

    def _next(self, key: Key, failure: Failure, verb: str) -> float | None:
        if isinstance(failure, Unreachable) and self._owned(failure.endpoint):
            # Not counted: an outage is one failure, that of the endpoint, and not one of each key that meets it (ADR
            # 0016).
            self._endpoints.down(failure.endpoint, failure)
            return None  # parked: its owner wakes it
        backoff = self._backoff.setdefault(key, Backoff(self._random))
        after = backoff.failed(self._policy(key, failure, verb))
        # The failure itself says when another try is worth it; it counts all the same, so that it can become degraded.
        if failure.retry is not None:
            return max(0.5, failure.retry)
        return SLOW if failure.stalls else after


def _refused(refusal: Refusal | None) -> Failure | None:
    """A refusal is told like a failure, with its own code and hint; it is not retried like one."""
    return Failure(refusal.code, refusal.sentence, hint=refusal.hint) if refusal is not None else None
