"""The ledger's condition: loaded at the start, proved writable now and then, and frozen while it is not.

Nothing may be begun that could not be remembered, so a disk that is full or read-only is found out before something
is, and not by it. What is on the disk after a thaw is the truth. The ledger's content is `state.py`'s business.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

from cpcd.loop.state import State
from cpcd.model.errors import Failure
from cpcd.model.ledger import Change
from cpcd.model.view import View
from cpcd.ports.clock import Clock
from cpcd.ports.journal import Journal

__all__ = ["Memory"]

PROBE = 60.0  # seconds between two proofs that the ledger can be written
THAW = 10.0  # seconds until one that cannot be written is tried again

_log = logging.getLogger("cpcd")


class Memory:
    """Keeps the ledger usable; `first(view)` gives what has to be in it before anything is made."""

    def __init__(
        self,
        *,
        state: State,
        journal: Journal,
        clock: Clock,
        first: Callable[[View], Iterable[Change]],
        thawed: Callable[[], Awaitable[None]],
    ) -> None:
        self._state, self._journal, self._clock = state, journal, clock
        self._first, self._thawed = first, thawed

    async def load(self) -> None:
        """Take up the ledger; one that cannot be used freezes all mutation and is reported, nothing is raised."""
        try:
            await self._state.load()
        except Failure as failure:
            self._freeze(failure)
            return
        await self.put(*self._first(self._state.view))

    async def put(self, *changes: Change) -> None:
        """Commit what no pass decided; a failure freezes and is reported, nothing is raised."""
        try:
            await self._state.commit(changes)
        except Failure as failure:
            _log.error("%s", failure.told)

    async def watch(self) -> None:
        """Find out for ever that the disk is full or read-only, and that it no longer is."""
        proved = self._clock.now()
        while True:
            await self._clock.sleep(THAW)
            if self._state.frozen is None and self._clock.now() - proved < PROBE:
                continue
            proved, told = self._clock.now(), self._state.frozen
            try:
                await (self._journal.commit(()) if self._state.frozen is None else self._thaw())
            except Failure as failure:
                # A full disk lasts for hours and is tried every few seconds: said once, and again only in other words.
                if str(failure) != str(told or ""):
                    self._freeze(failure)

    async def _thaw(self) -> None:
        await self._state.thaw()
        # What has to be there before anything is made may be what could not be written: the very first commit fails on
        # a disk that is full from the start. If it fails again, nothing has thawed.
        await self._state.commit(tuple(self._first(self._state.view)))
        _log.warning("the ledger can be written again")
        await self._thawed()

    def _freeze(self, failure: Failure) -> None:
        self._state.frozen = failure
        _log.error("%s", failure.told)
