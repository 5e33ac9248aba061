"""One figure beside its budget."""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """A measured value; `budget` None where a figure is only reported. `note` says how it came about."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    note: str = ""
    least: bool = False

    @property
    def ok(self) -> bool:
        """Whether the value keeps its budget: at most, or with `least` at least that much."""
        if self.budget is None:
            return True
        return self.value >= self.budget if self.least else self.value <= self.budget

    def document(self) -> dict[str, Any]:
        """Return the row as `bench.json` has it."""
        return {**asdict(self), "value": round(self.value, 4), "ok": self.ok}
