"""The one place that reads time and sleeps; `rate` is how many of the world's seconds pass in a real one."""

import asyncio
import time

__all__ = ["WallClock"]


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
