"""All invariants on one house. A breach is recorded: an exception inside the daemon would be caught there.

`tests/sim/test_planted_bugs.py` breaks each one.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import structlog

from cpcd.model.report import Pass
from tests.sim.invariant import BreachError, Invariant
from tests.sim.invariants import (
    AWorkerIsLeft,
    Limits,
    NothingForeign,
    NothingForgotten,
    OnePassAKey,
    OneVmAMachine,
    OpFirst,
    PausedIsStill,
)
from tests.sim.invariants_drain import DrainedOnly
from tests.sim.invariants_hurt import BlastRadius, ConsentGiven, FreshEvidence, QuorumKept
from tests.sim.invariants_kept import Bounded, ConvergedIsQuiet, NoSecrets
from tests.sim.known import known

if TYPE_CHECKING:
    from tests.sim.house import House  # which makes its own watch

__all__ = ["INVARIANTS", "Watch"]

RESYNCS: Final = 3

INVARIANTS: Final[tuple[type[Invariant], ...]] = (
    OnePassAKey, OneVmAMachine, NothingForgotten, NothingForeign, QuorumKept, FreshEvidence, DrainedOnly, ConsentGiven,
    BlastRadius, OpFirst, Limits, AWorkerIsLeft, PausedIsStill, NoSecrets, Bounded, ConvergedIsQuiet,
)  # fmt: skip


class Watch:
    """All invariants on one house; `breaches` holds what did not hold, in the order of time."""

    def __init__(self, house: "House", kinds: Iterable[type[Invariant]] = INVARIANTS) -> None:
        self.house = house
        self.breaches: list[str] = []
        self.known: set[str] = set()
        self.listeners: list[Callable[[Pass], None]] = []
        self.alarm: Callable[[str], None] = lambda _words: None
        self.invariants = [kind(house, self._note) for kind in kinds]
        house.gate.witnesses.extend(self.invariants)
        house.listeners = (*house.listeners, self._passed)
        self._canary()

    def check(self) -> None:
        """Raise the first breach, if there is one."""
        if self.breaches:
            raise BreachError(self.breaches[0])

    async def quiet(self, resync: Callable[[], Awaitable[None]]) -> None:
        """Let three resyncs pass over a settled house, each as `resync` brings it about."""
        for invariant in self.invariants:
            invariant.settled()
        for number in range(RESYNCS):
            await resync()
            await self.house.until(self._between_passes, what="a moment in which nothing is looked at")
            if number in {0, RESYNCS - 1}:  # what grew in between has grown at the end
                for invariant in self.invariants:
                    invariant.resynced()

    def _between_passes(self) -> bool:
        daemon = self.house.daemon
        return daemon is None or not daemon.dispatcher.pulse.running

    def over(self) -> None:
        """Tell all that the run is over, and raise the first breach."""
        for invariant in self.invariants:
            invariant.over()
        self.check()

    def _note(self, words: str) -> None:
        if known(words):
            self.known.add(words.partition(";")[0])
        elif len(self.breaches) < 20:
            self.breaches.append(f"{words} [{self.house.loop.time():.1f} s]")
            self.alarm(self.breaches[-1])

    def _passed(self, done: Pass) -> None:
        for invariant in self.invariants:
            invariant.passed(done)
        for listen in self.listeners:
            listen(done)

    def _canary(self) -> None:
        """Read every log line before it is redacted, and print none."""
        canaries = [one for one in self.invariants if isinstance(one, NoSecrets)]

        def tap(_logger: Any, _method: str, line: Any) -> Any:
            for canary in canaries:
                canary.look("a log line", repr(line))
            raise structlog.DropEvent

        class Tap(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                for canary in canaries:
                    canary.look("a library's log line", record.getMessage())

        if canaries:
            structlog.configure(processors=[tap], wrapper_class=structlog.make_filtering_bound_logger(0))
            logging.root.handlers = [Tap()]
            logging.getLogger("cpcd").setLevel(logging.DEBUG)
