"""Time, as the daemon uses it: monotonic for durations, wall for people and expiries (`failures.md` D12)."""

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
