"""The queue of keys: a key is dirty, or due at a time, or neither; it never runs twice at once.

Adding a key that runs marks it dirty for one more pass. FIFO, with a front for operator and spec. All methods but
`get` are synchronous, so that a decision and its wake-ups are one step.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections import OrderedDict
from typing import Generic, TypeVar

from cpcd.loop.clock import within
from cpcd.ports.clock import Clock

__all__ = ["Queue"]

K = TypeVar("K")


class Queue(Generic[K]):
    """Keys to look at; `due` times are monotonic seconds of the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dirty: OrderedDict[K, float] = OrderedDict()
        self._running: set[K] = set()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
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

    async def get(self) -> K:
        """Wait for the next key that is dirty and not running; it runs until `done`."""
        while True:
            self._ripen()
            for key in self._dirty:
                if key not in self._running:
                    del self._dirty[key]
                    self._running.add(key)
                    return key
            await self._wait()

    def done(self, key: K) -> None:
        """End a key's pass."""
        self._running.discard(key)
        if key in self._dirty:
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
            if self._due.get(key) == at:
                self.add(key)

    async def _wait(self) -> None:
        self._news.clear()
        if not self._heap:
            await self._news.wait()
            return
        with contextlib.suppress(TimeoutError):
            await within(self._clock, self._news.wait(), max(0.0, self._heap[0][0] - self._clock.now()))
