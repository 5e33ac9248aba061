"""Time, as the daemon uses it: monotonic for durations, wall for people and expiries (`failures.md` D12)."""

import asyncio
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """All seconds are the world's seconds; against a lab they may pass faster than real ones."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep that many of the world's seconds."""
        ...

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """Return an `async with` that cancels what takes longer than so many of the world's seconds: TimeoutError."""
        ...
