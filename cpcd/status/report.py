"""The board: what the last pass over each object means, as conditions that remember since when they hold.

It must never invent an observation: a pass that failed says nothing about the object, so Ready keeps its word until
the failures are Degraded. The cluster's own conditions are computed from this in `cluster.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cpcd.model.errors import Unreachable
from cpcd.model.keys import Key, Wall
from cpcd.model.plan import Condition, Status
from cpcd.model.report import Endpoint, Outcome, Pass
from cpcd.status.words import stalled

__all__ = ["Board", "ObjectReport", "SpecState", "Standing", "conditions_of"]

_TRUE: Final = Status.TRUE
_FALSE: Final = Status.FALSE


@dataclass(frozen=True, slots=True)
class Standing:
    """A condition with its history: `since` is lastTransitionTime, `generation` is observedGeneration."""

    type: str
    status: Status
    reason: str
    message: str
    since: Wall
    generation: str

    def after(self, new: Condition, at: Wall, generation: str) -> "Standing":
        """Return the condition as it stands now; the transition time moves only when the status does."""
        since = self.since if new.status is self.status else at
        return Standing(new.type, new.status, new.reason, new.message, since, generation)


@dataclass(frozen=True, slots=True)
class SpecState:
    """What is in force: `mistakes` are sentences with code, line and column, empty when the file is valid.

    `generation` is empty while no spec was ever in force; `uncommitted` tells that the work tree differs from the commit that is in force.
    """

    generation: str = ""
    mistakes: tuple[str, ...] = ()
    uncommitted: bool = False

    @property
    def valid(self) -> bool:
        """Whether the file as it stands is the one in force."""
        return not self.mistakes

    @property
    def mistake(self) -> str:
        """The first mistake, and how many more there are."""
        more = f" (and {len(self.mistakes) - 1} more)" if len(self.mistakes) > 1 else ""
        return f"{self.mistakes[0]}{more}" if self.mistakes else ""

    @property
    def kept(self) -> str:
        """What is in force beside a file with mistakes."""
        return "the last good spec stays in force" if self.generation else "no spec is in force yet"


@dataclass(frozen=True, slots=True)
class ObjectReport:
    """One object: its last pass, when that was, and its conditions by type."""

    key: Key
    last: Pass
    at: Wall
    conditions: Mapping[str, Standing] = field(default_factory=dict)

    def holds(self, name: str) -> bool:
        """Whether a condition is True; one that was never reported is not."""
        found = self.conditions.get(name)
        return found is not None and found.status is Status.TRUE

    @property
    def ready(self) -> bool:
        """Whether the object is as wanted."""
        return self.holds("Ready")


class Board:
    """The last word on every object, with what else the report needs: the spec's state and the endpoints'."""

    def __init__(self) -> None:
        self.objects: dict[Key, ObjectReport] = {}
        self.spec = SpecState()
        self.endpoints: dict[str, Endpoint] = {}
        self._clusters: dict[tuple[str, str], Standing] = {}

    def note(self, done: Pass, at: Wall) -> ObjectReport:
        """Take in one pass and return the object's new report."""
        before = self.objects.get(done.key)
        known = before.conditions if before else {}
        now = {new.type: self._stand(known.get(new.type), new, at) for new in conditions_of(done, known)}
        report = ObjectReport(done.key, done, at, now)
        self.objects[done.key] = report
        return report

    def forget(self, key: Key) -> None:
        """Forget one object: it is no more."""
        self.objects.pop(key, None)

    def stamp(self, cluster: str, conditions: Iterable[Condition], at: Wall) -> list[Standing]:
        """Give a cluster's computed conditions their transition times."""
        stamped = []
        for new in conditions:
            standing = self._stand(self._clusters.get((cluster, new.type)), new, at)
            self._clusters[cluster, new.type] = standing
            stamped.append(standing)
        return stamped

    def _stand(self, before: Standing | None, new: Condition, at: Wall) -> Standing:
        generation = self.spec.generation
        if before is None:
            return Standing(new.type, new.status, new.reason, new.message, at, generation)
        return before.after(new, at, generation)


def conditions_of(done: Pass, before: Mapping[str, Standing]) -> tuple[Condition, ...]:
    """Return Ready, Progressing, Stalled and Degraded of an object after a pass, and what the pass itself carries.

    A condition that the pass carries wins over the one derived here.
    """
    derived = {condition.type: condition for condition in _derived(done, before)}
    return tuple((derived | {condition.type: condition for condition in done.conditions}).values())


def _derived(done: Pass, before: Mapping[str, Standing]) -> Iterable[Condition]:
    reason, stuck = _reason(done), stalled(done)
    moving = done.outcome in {Outcome.ACTED, Outcome.WAITING, Outcome.FAILED} and not stuck
    yield _ready(done, reason, before.get("Ready"))
    yield Condition("Progressing", _status(moving), reason, done.sentence)
    yield Condition("Stalled", _status(stuck), reason, done.sentence if stuck else "")
    yield Condition("Degraded", _status(done.degraded), reason, done.sentence if done.degraded else "")


def _ready(done: Pass, reason: str, before: Standing | None) -> Condition:
    match done.outcome:
        case Outcome.SETTLED:
            return Condition("Ready", _TRUE, reason, done.sentence)
        case Outcome.FAILED if not done.degraded and not stalled(done):
            status = before.status if before else Status.UNKNOWN
            return Condition("Ready", status, reason, done.sentence)
        # Nobody has seen the object: unknown is not the same as not as wanted.
        case Outcome.FAILED if isinstance(done.failure, Unreachable):
            return Condition("Ready", Status.UNKNOWN, reason, done.sentence)
        case _:
            return Condition("Ready", _FALSE, reason, done.sentence)


def _reason(done: Pass) -> str:
    plain = {
        Outcome.SETTLED: "Settled",
        Outcome.ACTED: "Acting",
        Outcome.WAITING: "Waiting",
        Outcome.REFUSED: "Refused",
        Outcome.FAILED: "Failed",
    }
    told = done.reason if done.reason[:1].isupper() else ""  # an acting pass tells its verb there
    return told or (done.failure.reason if done.failure else plain[done.outcome])


def _status(value: bool) -> Status:
    return _TRUE if value else _FALSE
