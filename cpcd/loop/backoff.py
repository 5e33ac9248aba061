"""Backoff of one key: base × multiplierⁿ, capped, full jitter with a floor of one second (`failures.md` D13)."""

import random
from dataclasses import dataclass, field

from cpcd.model.desired import Retry

__all__ = ["Backoff"]

FLOOR = 1.0


@dataclass(slots=True)
class Backoff:
    """Count failures in a row and say how long to wait; `reset` when a pass succeeds or an input changes."""

    rng: random.Random = field(repr=False)
    failures: int = 0

    def failed(self, retry: Retry) -> float:
        """Count one failure and return the seconds until the next try."""
        ceiling = min(retry.max, retry.base * retry.multiplier ** min(self.failures, 64))  # a float ends at 2**1024
        self.failures += 1
        return max(FLOOR, self.rng.uniform(0, ceiling))

    def degraded(self, retry: Retry) -> bool:
        """Whether so many failed in a row that people should look."""
        return self.failures >= retry.degraded_after

    def reset(self) -> None:
        """Forget the failures."""
        self.failures = 0
