"""The one place that reads time and sleeps; `rate` is how many of the world's seconds pass in a real one.

Whoever waits for something and not for ever waits by `within`; a task of its own is the supervisor's business.
"""

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from cpcd.ports.clock import Clock

__all__ = ["SteadyClock", "WallClock", "within"]

T = TypeVar("T")

_CATCH_UP: Final = 0.25  # seconds of a step that are made up for in each second
_NEVER_SET: Final = 86_400.0  # a clock that is off by more than a day was never right: it is followed at once


class WallClock:
    """Real time, or a lab's faster one: `wall` starts from `epoch` when given, else from the system's clock."""

    def __init__(self, rate: float = 1.0, *, epoch: float | None = None) -> None:
        self.rate = rate
        self._began = time.monotonic()
        self._epoch = epoch

    def now(self) -> float:
        """Return monotonic seconds of the world."""
        return (time.monotonic() - self._began) * self.rate

    def wall(self) -> float:
        """Return the world's wall time; the system's own unless the lab gave an epoch."""
        return time.time() if self._epoch is None else self._epoch + self.now()

    async def sleep(self, seconds: float) -> None:
        """Sleep that many of the world's seconds."""
        await asyncio.sleep(seconds / self.rate)


class SteadyClock:
    """A clock without steps: wall time goes on at its own pace, and approaches a system clock that was stepped.

    Whoever decides by wall time (deadlines, cool-downs, the age of an operation) takes this one, so that a step of
    hours (`failures.md` D12) neither makes a machine late nor an operation look as if it had never begun.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now, self._wall = clock.now(), clock.wall()

    def now(self) -> float:
        """Return monotonic seconds of the world."""
        return self._clock.now()

    def wall(self) -> float:
        """Return the world's wall time, at most a quarter faster or slower than `now`."""
        now = self._clock.now()
        passed = now - self._now
        gap = self._clock.wall() - self._wall - passed
        most = passed * _CATCH_UP
        followed = gap if abs(gap) <= most or abs(gap) > _NEVER_SET else math.copysign(most, gap)
        self._now, self._wall = now, self._wall + passed + followed
        return self._wall

    async def sleep(self, seconds: float) -> None:
        """Sleep that many of the world's seconds."""
        await self._clock.sleep(seconds)


async def within(clock: Clock, awaited: Coroutine[Any, Any, T], seconds: float) -> T:
    """Return what is awaited, for which at most so many of the world's seconds are waited.

    `asyncio.wait_for` by the world's clock: raises TimeoutError when it has not come, and what was begun is cancelled
    then, as it is when the waiter is.
    """
    news, nap = asyncio.ensure_future(awaited), asyncio.ensure_future(clock.sleep(seconds))
    try:
        # `wait` cancels neither of them, whether time is over or the waiter is cancelled; that is done below.
        await asyncio.wait({news, nap}, return_when=asyncio.FIRST_COMPLETED)
        if not news.done():
            raise TimeoutError
        return news.result()
    finally:
        news.cancel()
        nap.cancel()
        # Awaited, so that nothing of it is running once the caller goes on, and no exception is left that nobody has
        # seen.
        await asyncio.gather(news, nap, return_exceptions=True)
