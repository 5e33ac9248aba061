"""The lab's fast clock: lab seconds are real seconds times a rate.

Whoever waits in the lab waits by it; only TLS dates and sockets keep real time. Next: `serve.py`.
"""

import asyncio
import time

__all__ = ["FastClock"]


class FastClock:
    """Starts at 0; `rate` is how many lab seconds pass in a real one."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.epoch = time.time()  # the wall clock at lab time 0, which is the lab's own wall clock there
        self._start = time.monotonic()

    def now(self) -> float:
        """Lab time in seconds since the start."""
        return (time.monotonic() - self._start) * self.rate

    async def sleep(self, seconds: float) -> None:
        """Sleep so many lab seconds; 0 returns at once."""
        if seconds > 0:
            await asyncio.sleep(seconds / self.rate)
