"""One figure beside its budget, and what the machine was doing meanwhile."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Row", "cpu_of", "pressed", "pressure"]


@dataclass(frozen=True, slots=True)
class Row:
    """A measured value; `budget` None where a figure is only reported. `note` says how it came about."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the value keeps its budget, to the digit that is printed."""
        return self.budget is None or round(self.value, 1) <= self.budget

    def line(self) -> str:
        """Return the row as it is printed."""
        budget = "" if self.budget is None else f"≤ {self.budget:g}"
        value = f"{self.value:,.0f}" if self.value >= 1000 else f"{self.value:.1f}"
        return f"{'✔' if self.ok else '✘'} {self.name:<64} {value:>9} {budget:>8} {self.unit:<14} {self.note}"

    def document(self) -> dict[str, Any]:
        """Return the row as `bench.json` has it."""
        return {**asdict(self), "value": round(self.value, 4), "ok": self.ok}


def cpu_of(job: Callable[[], object]) -> float:
    """Return the milliseconds of this process's CPU time that a job takes."""
    began = time.process_time()
    job()
    return (time.process_time() - began) * 1000


def pressure() -> tuple[float, float]:
    """Return for how many seconds so far somebody on this machine waited for a processor, and what time it is."""
    try:
        first = Path("/proc/pressure/cpu").read_text(encoding="ascii").split("\n")[0]
    except OSError:  # a kernel without pressure stall information: no sample is called disturbed
        return 0.0, time.monotonic()
    return int(first.rpartition("total=")[2]) / 1e6, time.monotonic()


def pressed(since: tuple[float, float]) -> float:
    """Return the share of the time since then in which somebody waited for a processor, 0 to 1."""
    waited, now = pressure()
    return (waited - since[0]) / max(now - since[1], 1e-9)
