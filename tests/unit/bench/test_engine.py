"""The bench is code like any other: its parts that need no process run here on a few machines."""

import pytest

from tests.bench import engine


def test_the_engine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick in which nothing changed wakes nobody, and a pass over everything decides; the figures are the bench's."""
    monkeypatch.setattr(engine, "MACHINES", 5)
    monkeypatch.setattr(engine, "RUNS", 1)

    assert [row.name for row in engine.noop()] == [
        "no-op tick over 5 machines", "no-op pass over 5 machines", "no-op pass over 5 machines, whole",
    ]  # fmt: skip
