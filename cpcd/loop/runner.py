"""The loop on one screen: fresh reads → resolve open ops → plan → guards and op opened → apply → report.

It knows no domain word: what is read, how ops are resolved, what is planned and what may not happen come in as
arguments. Never does a pass wait for a long operation, and nothing but `resolve` closes one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from cpcd.loop.state import State
from cpcd.model.errors import Bug, Code, Failure, Unreachable
from cpcd.model.keys import Instant, Key, OpId, Scope, Wall
from cpcd.model.ledger import CloseOp, Op, OpenOp, SetHandle
from cpcd.model.plan import Absent, Action, Done, Failed, Guard, Plan, Refusal, Resolve, Running, Unknown, Wait
from cpcd.model.seen import Seen
from cpcd.ports.clock import Clock

__all__ = ["ENDS", "LOOK", "ROUNDS", "Finding", "Runner"]

LOOK = 240.0  # seconds of a pass: its reads end by then, and later no step of it is begun
ENDS = 480.0  # seconds of a pass: its last step ends by then, well before the pass counts as stuck (`health.py`)
SOON = 0.5  # seconds until an operation that was started is looked at
ROUNDS = 3  # reads may lead to reads (VM runs → ask the guest); more is a mistake in a reconciler


@dataclass(slots=True)
class Finding:
    """What a pass came to; the dispatcher turns it into a report and the next date."""

    plan: Plan = field(default_factory=Plan)
    acted: list[Action] = field(default_factory=list)
    refusal: Refusal | None = None
    wait: Wait | None = None
    failure: Failure | None = None
    tokens: set[str] = field(default_factory=set)
    again: float | None = None
    progressed: bool = False
    failed: str = ""
    began: float = 0.0


class Runner:
    """One pass over one key at a time, any number of keys at once."""

    def __init__(  # noqa: PLR0913 - everything that the engine does not know is an argument
        self,
        *,
        reconcilers: Sequence[ModuleType],
        guards: Sequence[Guard],
        resolve: Resolve,
        read: Callable[[Scope], Coroutine[Any, Any, Seen[Any]]],
        state: State,
        ports: Any,
        clock: Clock,
        new_op: Callable[[], str],
    ) -> None:
        self._by_kind = {module.KIND: module for module in reconcilers}
        self._guards = guards
        self._resolve = resolve
        self._read = read
        self._state = state
        self._ports = ports
        self._clock = clock
        self._new_op = new_op

    async def run(self, key: Key, found: Finding) -> None:
        """Make one pass, filling `found`; raises Failure for what went wrong on the way.

        However slow the other sides are, it is over after `ENDS` seconds and what the journal takes.
        """
        found.began = self._clock.now()
        reconciler = self._by_kind[key.kind]
        await self._observe(reconciler, key, found)
        before = self._state.view.open_ops(key)
        busy = await self._close_ops(key, found)
        if found.failure is not None or busy is not None:
            found.wait = busy
            return
        # What was closed decides what is read: after a clone it is the VM, no longer its task.
        if self._state.view.open_ops(key) != before:
            await self._observe(reconciler, key, found)
        found.plan = reconciler.plan(key, self._state.view)
        found.wait, found.refusal = None if found.plan.steps else found.plan.wait, found.plan.refusal
        for action in found.plan.steps:
            if not self._permitted(action, found):
                continue  # what waits, for consent say, holds up nothing else
            if not await self._attempt(reconciler, action, found) or self._spent(found):
                return

    async def _observe(self, reconciler: ModuleType, key: Key, found: Finding) -> None:
        read: set[Scope] = set()
        for _ in range(ROUNDS):
            wanted = [scope for scope in self._asked(reconciler, key, found) if scope not in read]
            if not wanted:
                return
            # Once a pass each, whatever came back: a scope that could not be read would be asked for in every round.
            read.update(wanted)
            # Half of the time that is left, so that one silent read leaves the other half to what follows from the rest.
            limit = max(0.0, found.began + LOOK - self._clock.now()) / 2
            answers = await asyncio.gather(*(self._read_within(limit, scope) for scope in wanted))
            self._state.observe(dict(zip(wanted, answers, strict=True)), by=key)

    def _asked(self, reconciler: ModuleType, key: Key, found: Finding) -> tuple[Scope, ...]:
        """Return what is to be read; no pass keeps hold of a view while it waits for the answers, views are large."""
        view = self._state.view
        # In every round: with what the last one saw, more may be a reason to look again.
        found.tokens |= {str(scope) for scope in reconciler.watches(key, view)}
        scopes: tuple[Scope, ...] = reconciler.reads(key, view)
        return scopes

    async def _read_within(self, seconds: float, scope: Scope) -> Seen[Any]:
        """Read a scope; what has not been told by then is unknown, as anything that could not be read."""
        began, limit = Instant(self._clock.now()), self._clock.timeout(seconds)
        try:
            async with limit:
                return await self._read(scope)
        except TimeoutError:
            if not limit.expired():
                raise
            return Seen(None, began, complete=False, why=f"no answer within {seconds:.0f} s")

    async def _close_ops(self, key: Key, found: Finding) -> Wait | None:
        """Resolve what is open; return what to wait for, aside from holds and from what is silent past its time."""
        for op in self._state.view.open_ops(key):
            # By the age that this daemon has measured: a wall clock that was stepped would make an op look late, or
            # never sent.
            wall = Wall(op.opened + self._state.age(op))
            match self._resolve(op, self._state.view, wall):
                case Done(changes, progress):
                    found.progressed = found.progressed or progress
                    await self._state.commit((*changes, CloseOp(op.id)), by=key)
                case Absent():
                    await self._state.commit((CloseOp(op.id),), by=key)
                case Failed(code, sentence, changes, hint):
                    await self._state.commit((*changes, CloseOp(op.id)), by=key)
                    # The first that failed ends the pass: one failure, one sentence, one backoff; the rest is still
                    # open in the next.
                    found.failure, found.failed = Failure(code, sentence, target=str(op.target), hint=hint), op.verb
                    return None
                case Running(after, sentence, late) if op.disrupts is None:
                    return Wait("DeadlineExceeded" if late else "Running", sentence, after)
                case Unknown(sentence, after, late) if op.disrupts is None and not late:
                    return Wait("Unresolved", sentence, after)
                case _:
                    pass  # a hold, or what nobody will answer for: its key goes on working under it
        return None

    def _permitted(self, action: Action, found: Finding) -> bool:
        """Ask the guards; with the opening of the op and the view's change this is one synchronous step."""
        # Also for what is no op: nothing is begun of which no trace could be kept.
        self._state.refuse_when_frozen()
        view = self._state.view
        verdicts = (guard(action, view) for guard in self._guards)
        match next((verdict for verdict in verdicts if verdict is not None), None):
            case Refusal() as refusal:
                found.refusal = found.refusal or refusal
                return False
            case Wait() as wait:
                found.wait = found.wait or wait
                return False
        return True

    def _spent(self, found: Finding) -> bool:
        """Whether the pass is too old for another step; what is left of the plan is the next one's."""
        if self._clock.now() - found.began < LOOK:
            return False
        found.again = 0.0
        return True

    async def _attempt(self, reconciler: ModuleType, action: Action, found: Finding) -> bool:
        """Carry a step out; one that may be repeated and is refused holds up nothing else, and is reported."""
        try:
            return await self._carry_out(reconciler, action, found)
        except (Unreachable, Bug):
            raise  # nobody is there for the others either, and a bug goes no further
        except Failure as failure:
            if action.once:
                raise
            found.failure = found.failure or failure
            return True

    async def _carry_out(self, reconciler: ModuleType, action: Action, found: Finding) -> bool:
        """Open the op and commit before anything else can run; the effect starts when the journal has it."""
        view = self._state.view
        op = self._open(action) if action.once else None
        changes = (*action.changes(view), *((OpenOp(op),) if op else ()))
        # Nothing was awaited since the guards agreed, and `commit` changes the view before it waits for the disk: no
        # other key can have been permitted in between.
        await self._state.commit(changes, by=action.key)
        found.acted.append(action)
        if action.local:
            found.again = 0.0
            return True
        # Whatever comes of this call, the op stays open: without a handle `resolve` finds what it began by what is
        # listed.
        handle = await self._applied(reconciler, action, op, found.began + ENDS - self._clock.now())
        if op is not None and handle is not None:
            await self._state.commit((SetHandle(op.id, handle),), by=action.key)
        found.again = SOON if op is not None else 0.0
        return op is None

    async def _applied(self, reconciler: ModuleType, action: Action, op: Op | None, seconds: float) -> str | None:
        """Have a step carried out; one that is cut off may have happened or not, and its op's age begins after it."""
        limit = self._clock.timeout(seconds)
        try:
            async with limit:
                handle: str | None = await reconciler.apply(action, self._ports, op)
                return handle
        except TimeoutError:
            if not limit.expired():
                raise
            what = f"{action.sentence}: no answer within {seconds:.0f} s"
            raise Failure(Code.TIMEOUT, what, target=str(action.target)) from None
        finally:
            # Not before it: a sweep may take long, and the next is due so long after its end.
            self._state.stamp(action.key, action.verb)

    def _open(self, action: Action) -> Op:
        view = self._state.view
        if any(op.key == action.owner and op.verb == action.verb for op in view.ops.values()):
            raise Bug(f"{action.verb} of {action.owner} is open already")
        return Op(
            id=OpId(self._new_op()), key=action.owner, verb=action.verb, target=action.target,
            opened=Wall(self._clock.wall()), before=action.before(view), disrupts=action.disrupts,
            slots=tuple(action.slots(view)),
        )  # fmt: skip
