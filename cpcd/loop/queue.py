"""The queue of keys: a key is dirty, or due at a time, or neither; it never runs twice at once.

Adding a key that runs marks it dirty for one more pass. FIFO, with a front for operator and spec. All methods but
`news` are synchronous, so that a decision and its wake-ups are one step.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections import OrderedDict
from typing import Generic, TypeVar

from cpcd.ports.clock import Clock

__all__ = ["Queue"]

K = TypeVar("K")


class Queue(Generic[K]):
    """Keys to look at; `due` times are monotonic seconds of the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dirty: OrderedDict[K, float] = OrderedDict()
        self._running: set[K] = set()
        # The dates that count. The heap is never searched: an entry whose date is not here any more is dropped when it
        # ripens.
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        # Equal dates come in the order in which they were set, and keys need not be comparable.
        self._order = itertools.count()
        self._news = asyncio.Event()

    def add(self, key: K, *, front: bool = False) -> None:
        """Make a key dirty; at once if it is idle, after its pass if it runs."""
        self._due.pop(key, None)
        if key not in self._dirty:
            self._dirty[key] = self._clock.now()
        if front:
            self._dirty.move_to_end(key, last=False)
        self._news.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Make a key dirty in so many seconds; an earlier date wins, dirty wins over any date."""
        at = self._clock.now() + seconds
        if key in self._dirty or self._due.get(key, float("inf")) <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, next(self._order), key))
        self._news.set()

    def forget(self, key: K) -> None:
        """Drop a key that no longer exists."""
        self._dirty.pop(key, None)
        self._due.pop(key, None)

    def take(self) -> K | None:
        """Return the next key that is dirty and not running, which runs from now until `done`; None when there is none."""
        self._ripen()
        # A key that became dirty during its own pass keeps its place here and is passed over until `done`.
        for key in self._dirty:
            if key not in self._running:
                # Clean before its pass begins: whatever makes it dirty from now on may not have been seen by it.
                del self._dirty[key]
                self._running.add(key)
                return key
        return None

    async def news(self, patience: float) -> None:
        """Wait until there may be something to take, at most so many seconds; after a `take` nothing is missed."""
        self._ripen()  # what is due while every place is taken would make this wait none
        # No await since the `take` that found nothing, so no `add` can have come in between and be cleared away here.
        self._news.clear()
        due = self._heap[0][0] - self._clock.now() if self._heap else patience
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(max(0.0, min(due, patience))):
                await self._news.wait()

    def done(self, key: K) -> None:
        """End a key's pass."""
        self._running.discard(key)
        # It may be this very key, which `take` has passed over, or one that found every place taken: nobody else wakes
        # the dispatcher for them.
        if self._dirty:
            self._news.set()

    def depth(self) -> int:
        """Return how many keys are dirty."""
        return len(self._dirty)

    def waiting(self) -> int:
        """Return how many keys have a date."""
        return len(self._due)

    def oldest(self) -> float:
        """Return for how many seconds the oldest dirty key waits."""
        first = next(iter(self._dirty.values()), None)
        return 0.0 if first is None else self._clock.now() - first

    def _ripen(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            # Another date, or none: it was moved, made dirty or forgotten meanwhile.
            if self._due.get(key) == at:
                self.add(key)
