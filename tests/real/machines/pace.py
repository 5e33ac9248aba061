"""How fast the host's processors are while something is measured.

They may be shared with other guests, and give from one second to the next half or twice as much: what took longer may
only have been done at a worse time. So a loop of known work is timed all along, by its own processor time, which leaves
out that it waits for its turn beside the machines.

It says little of what waits for a clock and not for a processor, and where the machines have more to do the loop too is
a little slower, for the processors share caches: what is compared at the host's pace is told by the clock as well.
"""

import threading
import time
from dataclasses import dataclass, field
from statistics import fmean

__all__ = ["Pace", "Span"]

EVERY_S = 0.25
LOOPS = 50_000  # some two milliseconds: a percent of one processor


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when something was done, by the clock on the wall."""

    since: float
    until: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.until - self.since


@dataclass(slots=True)
class Pace:
    """What was measured so far: when, and how many millions of turns a second of processor time had."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    def watch(self) -> None:
        """Measure from now on, until the process ends."""
        threading.Thread(target=self._watch, name="pace", daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.samples.append((time.time(), LOOPS / 1e6 / _loop()))
            time.sleep(EVERY_S)

    def work(self, span: Span) -> float:
        """Return how many millions of turns the loop would have made in a time."""
        return span.seconds * self.during(span)

    def during(self, span: Span) -> float:
        """Return the mean pace in a time; ValueError where it was measured for less than half of that."""
        found = [pace for at, pace in self.samples if span.since <= at <= span.until]
        if len(found) < span.seconds / EVERY_S / 2:
            raise ValueError(f"{len(found)} samples of the host's pace in {span.seconds:.0f} s")
        return fmean(found)


def _loop() -> float:
    """Return the processor time of the loop, in seconds."""
    began = time.thread_time()
    turn = 0
    while turn < LOOPS:
        turn += 1
    return time.thread_time() - began
