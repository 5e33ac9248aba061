"""Many futures of one past: a run is forked where they part, so that what they share is played once.

A simulation owns no thread, socket or file, which is what makes a fork of it whole. The parent stands still while as
many children run as there are places. A child must end by `finish` and never returns.
"""

import asyncio
import os
import pickle
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

__all__ = ["Branches", "Outcome", "difference"]

PATIENCE = 300  # seconds of a processor that one run may take: a simulation never waits, so one that hangs is busy


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended: `words` is empty when it is good; `seconds` are of a processor, `lab` the lab's.

    `deeds` has a line for each thing that hurt; `known` are the breaches that are known and were met.
    """

    words: str = ""
    end: tuple[str, ...] = ()
    deeds: tuple[str, ...] = ()
    calls: int = 0
    seconds: float = 0.0
    lab: float = 0.0
    trace: str = ""
    known: tuple[str, ...] = ()


def difference(outcome: Outcome, base: Outcome) -> str:
    """Return how a run ended otherwise than the one without luck, "" when it did not: its end, and what hurt how often."""
    if outcome.words:
        return outcome.words
    if outcome.end != base.end:
        return f"another end: {_versus(outcome.end, base.end)}"
    if outcome.deeds != base.deeds:
        return f"other deeds: {_versus(outcome.deeds, base.deeds)}"
    return ""


def _versus(these: tuple[str, ...], those: tuple[str, ...]) -> str:
    more, less = Counter(these) - Counter(those), Counter(those) - Counter(these)
    return f"+{sorted(more.elements())} -{sorted(less.elements())}"


@dataclass
class Branches:
    """Up to `width` children at once; `results` has (tag, outcome) of those that have ended."""

    width: int
    results: list[tuple[Any, Outcome]] = field(default_factory=list)
    _running: dict[int, tuple[Any, int]] = field(default_factory=dict)
    _pipe: int = -1

    def part(self, tag: Any, loop: asyncio.AbstractEventLoop | None = None) -> bool:
        """Fork as soon as there is a place; return True in the child. `loop` is the one that runs, if one does."""
        while len(self._running) >= self.width:
            self._reap()
        read, write = os.pipe()
        asyncio._set_running_loop(None)  # a fork in a simulation is refused: this one is none of its business
        pid = os.fork()
        asyncio._set_running_loop(loop)  # in the child too, where asyncio would have forgotten it
        if pid:
            os.close(write)
            self._running[pid] = (tag, read)
            return False
        os.close(read)
        self._running, self.results, self._pipe = {}, [], write
        os.nice(5)  # whoever waits for sockets meanwhile goes first: here no time passes but the lab's
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)
        return True

    @property
    def child(self) -> bool:
        """Whether this process is one of the futures."""
        return self._pipe >= 0

    def finish(self, outcome: Outcome) -> NoReturn:
        """End a child: nothing is unwound, no exit handler runs."""
        with os.fdopen(self._pipe, "wb") as pipe:
            pickle.dump(outcome, pipe)
        os._exit(0)

    def ended(self) -> Iterator[tuple[Any, Outcome]]:
        """Yield what has ended so far."""
        results, self.results = self.results, []
        yield from results

    def join(self) -> Iterator[tuple[Any, Outcome]]:
        """Wait for all children and yield every outcome that was not yielded yet."""
        while self._running:
            self._reap()
        yield from self.ended()

    def _reap(self) -> None:
        pid, status = os.waitpid(-1, 0) if len(self._running) > 1 else os.waitpid(next(iter(self._running)), 0)
        if pid not in self._running:
            return
        tag, read = self._running.pop(pid)
        with os.fdopen(read, "rb") as pipe:
            sent = pipe.read()
        lost = Outcome(words=f"the run ended with status {status}" + (" (it hung)" if status == signal.SIGPROF else ""))
        self.results.append((tag, pickle.loads(sent) if sent else lost))  # noqa: S301 - our own child's
