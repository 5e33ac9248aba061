"""The one exit for status: every pass of the loop goes through `Publisher` once and comes out in every form.

Board, metrics, history and log line say the same sentence because they get it here and nowhere else.
"""

from typing import Final

from cpcd.model.keys import Wall
from cpcd.model.report import Pass
from cpcd.ports.clock import Clock
from cpcd.ports.journal import Journal
from cpcd.status.events import event_of, steps_of
from cpcd.status.logs import log_pass
from cpcd.status.metrics import Metrics
from cpcd.status.report import Board

__all__ = ["Publisher"]

GONE: Final = "Gone"  # what the loop says of a key that no document, row or observation knows any more


class Publisher:
    """Callable that the loop is given as its reporter; never raises for what it is told and never waits."""

    def __init__(self, *, board: Board, metrics: Metrics, journal: Journal, clock: Clock) -> None:
        self._board = board
        self._metrics = metrics
        self._journal = journal
        self._clock = clock

    def __call__(self, done: Pass) -> None:
        """Take in one pass."""
        at = Wall(self._clock.wall())
        known = self._board.objects.get(done.key)
        event = event_of(known.last if known else None, done, at)
        self._board.note(done, at)
        if done.reason == GONE:
            self._board.forget(done.key)
        self._metrics.note(done, at)
        steps = steps_of(done, at)
        log_pass(done, news=event is not None or bool(steps))
        for one in (*steps, *((event,) if event else ())):
            self._journal.record(one)
