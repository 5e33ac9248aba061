"""A look at every member from inside now and then: after its join no pass needs to, but certificates grow old.

It only observes. A machine that does not answer keeps what it last told; its silence is the passes' business. One that
refuses cpcd would be found by nobody else before something has to be done on it (`failures.md` G10).
"""

from collections.abc import Callable, Coroutine
from typing import Any

from cpcd.loop.state import State
from cpcd.model.keys import Scope, Uid
from cpcd.model.ledger import Machine
from cpcd.model.seen import Seen
from cpcd.plan import scopes
from cpcd.ports.clock import Clock

__all__ = ["Inside"]

FACTS = 600.0  # seconds between two looks at one machine (spec.md numbers: guest facts)
PAUSE = 30.0  # seconds between two looks for machines that are due


class Inside:
    """Keeps the facts of joined machines at most `FACTS` + `PAUSE` seconds old, asking one machine at a time."""

    def __init__(self, *, state: State, clock: Clock, read: Callable[[Scope], Coroutine[Any, Any, Seen[Any]]]) -> None:
        self._state, self._clock, self._read = state, clock, read
        self._asked: dict[Uid, float] = {}

    async def watch(self, cluster: str) -> None:
        """Look at one cluster's machines for ever."""
        while True:
            for row in self._due(cluster):
                self._asked[row.uid] = self._clock.now()
                seen = await self._read(scopes.guest(row))
                # The row may have gone while its machine was asked.
                if row.uid in self._state.view.machines:
                    self._take(row, seen)
            await self._clock.sleep(PAUSE)

    def _take(self, row: Machine, seen: Seen[Any]) -> None:
        told = {scopes.guest(row): seen} if seen.complete else {}
        why = seen.why if seen.refused else ""
        self._state.observe({scopes.inside(row): Seen(why, seen.began, complete=True), **told})

    def _due(self, cluster: str) -> list[Machine]:
        """Return the members not asked for `FACTS` seconds; what is off or on its way out is left alone."""
        rows = self._state.view.machines
        self._asked = {uid: at for uid, at in self._asked.items() if uid in rows}
        since = self._clock.now() - FACTS
        due = (row for row in self._state.view.rows(cluster) if row.joined and row.wanted)
        return [row for row in due if self._asked.get(row.uid, since) <= since]
