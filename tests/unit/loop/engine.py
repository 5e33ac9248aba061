"""The engine around a small fake kind: lamps that are to be lit, each by a slow, non-idempotent switch.

Everything of the loop is real; only what it does not know (reads, plans, guards, verdicts, effects) comes from here,
each replaceable by a test. `trace` tells what happened in which order.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cpcd.lab.simloop import SimClock, SimLoop
from cpcd.loop.dispatcher import Dispatcher
from cpcd.loop.endpoints import Endpoints
from cpcd.loop.interest import Interest
from cpcd.loop.queue import Queue
from cpcd.loop.runner import Runner
from cpcd.loop.state import State
from cpcd.model.desired import Retry
from cpcd.model.errors import Failure
from cpcd.model.keys import Instant, Key, Kind, Role, Scope, Wall
from cpcd.model.ledger import Change, CloseOp, DropFact, Ledger, Op, PutFact
from cpcd.model.plan import Absent, Action, Condition, Done, Plan, Running, Status, Verdict
from cpcd.model.report import Pass
from cpcd.model.seen import Seen
from cpcd.model.view import View

EPOCH = 1_000_000.0
FSYNC = 0.01  # virtual seconds that a commit takes


def lamp(name: str) -> Key:
    """Return a lamp's key."""
    return Key("lab", Kind.MACHINE, name)


def light(name: str) -> Scope:
    """Return what is seen of a lamp: whether it is lit."""
    return Scope("vm", "lab", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch(Action):
    """Light the lamp: it must not be done twice."""

    verb: ClassVar[str] = "switch"
    once: ClassVar[bool] = True
    slot: str = ""

    @property
    def sentence(self) -> str:
        return f"light {self.key.name}"

    def slots(self, _view: View) -> Mapping[str, int]:
        return {self.slot: 1} if self.slot else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Polish(Action):
    """Polish the lamp: it may be repeated."""

    verb: ClassVar[str] = "polish"

    @property
    def sentence(self) -> str:
        return f"polish {self.key.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Action):
    """Write into the ledger that the lamp is known."""

    verb: ClassVar[str] = "note"
    local: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"note {self.key.name}"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (PutFact(f"noted/{self.key.name}", True),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dim(Note):
    """Announce a disruption."""

    verb: ClassVar[str] = "dim"
    once: ClassVar[bool] = True

    @property
    def disrupts(self) -> Role:
        return Role.WORKER


@dataclass
class Disk:
    """A journal whose every commit takes `FSYNC`; what it `holds` survives, `broken` is what it raises."""

    clock: SimClock
    trace: list[str]
    holds: Ledger = field(default_factory=Ledger)
    broken: Failure | None = None

    async def load(self) -> Ledger:
        return self.holds

    async def commit(self, changes: tuple[Change, ...]) -> None:
        await self.clock.sleep(FSYNC)
        if self.broken is not None:
            raise self.broken
        self.holds = self.holds.after(changes)
        self.trace.append("commit " + " ".join(type(change).__name__ for change in changes))

    def record(self, event: Any) -> None:
        raise NotImplementedError

    async def history(self, *, key: str = "", limit: int = 100) -> list[Any]:
        raise NotImplementedError

    async def close(self) -> None:
        return


def ready(key: Key) -> Plan:
    """Return the plan of a lamp that is as wanted."""
    return Plan(conditions=(Condition("Ready", Status.TRUE, "Ready", f"{key.name} is lit"),))


class Lamps:
    """The reconciler: a lamp that is not lit is switched on; `plans` and `effects` override it by name."""

    KIND = Kind.MACHINE

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def keys(self, _view: View) -> tuple[Key, ...]:
        return tuple(lamp(name) for name in self._engine.lit)

    def reads(self, key: Key, _view: View) -> tuple[Scope, ...]:
        return (light(key.name),) if key.name in self._engine.lit else ()

    def watches(self, key: Key, view: View) -> tuple[Scope, ...]:
        return self.reads(key, view)

    def plan(self, key: Key, view: View) -> Plan:
        self._engine.trace.append("plan")
        if key.name in self._engine.plans:
            return self._engine.plans[key.name](key, view)
        return ready(key) if view.known(light(key.name)) else Plan(steps=(Switch(key=key),))

    async def apply(self, action: Action, _ports: Any, op: Op | None) -> str | None:
        engine = self._engine
        engine.trace.append(f"apply {action.verb}")
        engine.applied.append((action.key.name, action.verb, op.id if op else ""))
        engine.durable.append(op is None or op.id in engine.journal.holds.ops)
        effect = engine.effects.get(action.key.name)
        if effect is not None:
            return await effect(action)
        await engine.clock.sleep(0.1)
        engine.loop.call_later(engine.takes, engine.lit.update, {action.key.name: True})
        return f"handle-{op.id}" if op else None


class Engine:
    """The loop over `Lamps`; `takes` is how many seconds a switched lamp needs to be lit."""

    def __init__(self, loop: SimLoop, *names: str, journal: Disk | None = None, seed: int = 0) -> None:
        self.loop, self.clock = loop, SimClock(loop, EPOCH)
        self.trace: list[str] = []
        self.lit: dict[str, bool] = dict.fromkeys(names, False)
        self.plans: dict[str, Callable[[Key, View], Plan]] = {}
        self.effects: dict[str, Callable[[Action], Awaitable[str | None]]] = {}
        self.verdicts: dict[str, Callable[[Op, View], Verdict]] = {}
        self.guards: list[Any] = [self._asked]
        self.traces: dict[str, int] = {}
        self.takes_to_read: dict[str, float] = {}
        self.silent: dict[str, Failure] = {}
        self.applied: list[tuple[str, str, str]] = []
        self.durable: list[bool] = []
        self.passes: list[Pass] = []
        self.takes, self.retry = 1.0, Retry()
        self.journal = journal or Disk(self.clock, self.trace)
        self._ids = 0
        self.queue: Queue[Key] = Queue(self.clock)
        self.state = State(
            journal=self.journal, clock=self.clock, tokens=_tokens, affected=lambda _change, _view: (), stale=lambda _change, _view: (), lasting=lambda _scope, _value: (), mint=self._id,
            interest=Interest(self.queue.add),
        )  # fmt: skip
        self.endpoints = Endpoints(self.clock, self.state.signal)
        runner = Runner(
            reconcilers=[Lamps(self)], guards=self.guards, resolve=self._resolve, read=self._read,  # type: ignore[list-item] # a module's shape is all that counts
            state=self.state, ports=None, clock=self.clock, new_op=self._id,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            queue=self.queue, runner=runner, state=self.state, endpoints=self.endpoints, clock=self.clock,
            rng=random.Random(seed), policy=lambda _key, _failure, _verb: self.retry, report=self.passes.append,
            new_run=self._id, owned=lambda name: name.startswith("pve:"),
        )  # fmt: skip

    async def run(self, seconds: float, *keys: Key) -> None:
        """Load the ledger, add the keys (all lamps when none is given) and dispatch for so long; then be killed."""
        await self.state.load()
        for key in keys or [lamp(name) for name in self.lit]:
            self.queue.add(key)
        task = asyncio.create_task(self.dispatcher.serve())
        await self.clock.sleep(seconds)
        task.cancel()
        await asyncio.wait({task})

    def of(self, name: str) -> list[Pass]:
        """Return the passes over one lamp."""
        return [one for one in self.passes if one.key.name == name]

    def _id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    async def _read(self, scope: Scope) -> Seen[Any]:
        self.trace.append("read")
        if scope.name in self.silent:
            raise self.silent[scope.name]
        began = Instant(self.clock.now())
        await self.clock.sleep(self.takes_to_read.get(scope.name, 0.05))
        return Seen(self.traces.get(scope.name, self.lit.get(scope.name)), began, complete=True)

    def _asked(self, _action: Action, _view: View) -> None:
        """Be the first guard, which has nothing against anything."""
        self.trace.append("guard")

    def _resolve(self, op: Op, view: View, now: Wall) -> Verdict:
        self.trace.append("resolve")
        if op.verb in self.verdicts:
            return self.verdicts[op.verb](op, view)
        if view.known(light(op.key.name)):
            return Done()
        return Running(2) if now - op.opened < 30 else Absent()


def _tokens(change: Change, before: View) -> tuple[str, ...]:
    match change:
        case CloseOp(op_id) if op_id in before.ops:
            return tuple(f"slot:{slot}" for slot in before.ops[op_id].slots)
        case PutFact(name, _) | DropFact(name):
            return (f"fact:{name}",)
    return ()
