"""The one place that reads time and sleeps; `rate` is how many of the world's seconds pass in a real one.

Whoever waits for something and not for ever does so under `timeout`; a task of its own is the supervisor's business.
"""

import asyncio
import math
import time
from typing import Final

from cpcd.ports.clock import Clock

__all__ = ["SteadyClock", "WallClock"]

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

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """Return an `async with` that cancels what takes longer than so many of the world's seconds: TimeoutError."""
        return asyncio.timeout(seconds / self.rate)


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

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """Return an `async with` that cancels what takes longer than so many of the world's seconds: TimeoutError."""
        return self._clock.timeout(seconds)
