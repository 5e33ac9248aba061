"""The lab's event heap."""

from cpcd.lab.events import Events


class Clock:
    """A clock that is moved by hand."""

    time = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.time


def test_effects_run_in_time_order_then_insertion_order() -> None:
    """Two effects of one moment run in the order in which they were planned."""
    clock, seen = Clock(), []
    events = Events(clock)
    events.at(2, lambda: seen.append("late"))
    events.at(1, lambda: seen.append("first"))
    events.at(1, lambda: seen.append("second"))

    clock.time = 2
    events.settle()

    assert seen == ["first", "second", "late"]


def test_chains_happen_at_exact_times_however_late_the_clock_is() -> None:
    """An effect that plans another sees its own due time as now."""
    clock, seen = Clock(), []
    events = Events(clock)

    def tick() -> None:
        seen.append(events.now)
        if len(seen) < 3:
            events.at(1.5, tick)

    events.at(1, tick)
    clock.time = 100
    events.settle()

    assert seen == [1, 2.5, 4]
    assert events.now == 100


def test_cancelled_effect_neither_runs_nor_counts_as_next() -> None:
    """A cancelled effect is as if it had never been planned."""
    clock, seen = Clock(), []
    events = Events(clock)
    handle = events.at(1, lambda: seen.append("no"))
    events.at(5, lambda: seen.append("yes"))

    handle.cancel()

    assert events.next_due() == 5
    clock.time = 5
    events.settle()
    assert seen == ["yes"]
    assert events.next_due() is None


def test_what_is_not_due_stays() -> None:
    """Settling runs nothing from the future."""
    clock, seen = Clock(), []
    events = Events(clock)
    events.at(3, lambda: seen.append("x"))

    clock.time = 2.9
    events.settle()

    assert seen == []
