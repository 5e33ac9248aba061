"""The one exit for status: every pass of the loop goes through `Publisher` once and comes out in every form.

Board, metrics, history and log line say the same sentence because they get it here and nowhere else.
"""

from collections.abc import Callable, Sequence
from typing import Final

from cpcd.model.errors import Unreachable
from cpcd.model.keys import Key, Wall
from cpcd.model.ledger import Event
from cpcd.model.report import Endpoint, Outcome, Pass
from cpcd.model.view import View
from cpcd.ports.clock import Clock
from cpcd.ports.journal import Journal
from cpcd.status.events import event_of, outage_of, steps_of
from cpcd.status.logs import log_event, log_pass
from cpcd.status.metrics import Metrics
from cpcd.status.report import Board
from cpcd.status.words import called

__all__ = ["Publisher"]

GONE: Final = "Gone"  # what the loop says of a key that no document, row or observation knows any more
_API: Final = frozenset({"ApiUnavailable", "NodeUnknown", "RequestsUnknown"})  # what is said when an API is not read


class Publisher:
    """Callable that the loop is given as its reporter; never raises for what it is told and never waits."""

    def __init__(
        self, *, board: Board, metrics: Metrics, journal: Journal, clock: Clock, view: Callable[[], View]
    ) -> None:
        self._board, self._metrics, self._journal, self._clock, self._view = board, metrics, journal, clock, view
        self._told: dict[Key, Pass] = {}
        self._names: dict[Key, str] = {}

    def __call__(self, done: Pass) -> None:
        """Take in one pass."""
        at, muted, name = Wall(self._clock.wall()), self._muted(done), self._name(done.key)
        event = None if muted else event_of(self._told.get(done.key), done, at, name)
        steps = steps_of(done, at, name)
        self._metrics.note(done, at)
        log_pass(done, name=name, at=at, news=event is not None or bool(steps), muted=muted)
        # Steps first: in history they stand before what the pass came to.
        self._record(*steps, *((event,) if event else ()))
        self._remember(done, at, muted=muted)

    def endpoint(self, before: Endpoint | None, now: Endpoint, clusters: Sequence[str], run: str) -> None:
        """Take in what became of an endpoint: told once for each cluster that needs it, however many objects do."""
        self._board.endpoints[now.name] = now
        for event in (outage_of(before, now, cluster, run) for cluster in clusters):
            if event is not None:
                log_event(event)
                self._record(event)

    def forget(self, key: Key) -> None:
        """Forget an object that is no more; its history stays."""
        self._board.forget(key)
        self._told.pop(key, None)
        self._names.pop(key, None)

    def _muted(self, done: Pass) -> bool:
        """Whether a pass says no more than that an endpoint is down, which `endpoint` tells for all."""
        api = self._board.endpoints.get(f"kube:{done.key.cluster}")
        if done.parked or api is None or api.up:
            return bool(done.parked)
        unreached = isinstance(done.failure, Unreachable) and done.failure.endpoint == api.name
        return unreached or (done.outcome is Outcome.WAITING and done.reason in _API)

    def _name(self, key: Key) -> str:
        """Return what people call an object, also in the pass that finds its row gone."""
        name = called(self._view(), key)
        if name != key.name:
            self._names[key] = name
        return self._names.get(key, name)

    def _record(self, *events: Event) -> None:
        for event in events:
            self._journal.record(event)

    def _remember(self, done: Pass, at: Wall, *, muted: bool) -> None:
        self._board.note(done, at)
        # What was muted nobody has heard, so that the same sentence is news later.
        if not muted:
            self._told[done.key] = done
        if done.reason == GONE:
            self.forget(done.key)
