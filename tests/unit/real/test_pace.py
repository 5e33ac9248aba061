"""What took longer is compared at the pace that the host had, and what is over in the end fails the run."""

import time

import pytest

from tests.real.machines import report as reports
from tests.real.machines.pace import EVERY_S, Pace, Span
from tests.real.machines.report import Report


def paced(*parts: tuple[float, float, float]) -> list[tuple[float, float]]:
    """Return samples, with another pace in each part from one second to another."""
    return [
        (since + number * EVERY_S, pace)
        for since, until, pace in parts
        for number in range(round((until - since) / EVERY_S))
    ]


def test_the_pace_is_the_mean_of_what_was_measured_in_that_time() -> None:
    """And none where nobody measured for most of it."""
    pace = Pace(paced((0, 10, 20.0), (10, 20, 40.0)))

    assert [pytest.approx(30, rel=0.05), pytest.approx(40, rel=0.05)] == [
        pace.during(Span(0, 20)), pace.during(Span(11, 20)),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="samples of the host's pace in 100 s"):
        pace.during(Span(0, 100))


def test_it_is_measured_all_along() -> None:
    """By a thread of its own."""
    pace = Pace()
    pace.watch()
    while not pace.samples:
        time.sleep(0.01)

    assert all(each > 0 for _, each in pace.samples)


@pytest.mark.parametrize(
    ("pace", "ours", "line", "over"),
    [
        (20.0, (105,), "105 | **join**: ✔ 1.05 × by hand, on a host 1.00 × as fast; by the clock 1.05 × 100 s", 0),
        (20.0, (111,), "111 | **join**: ✘ 1.11 × by hand, on a host 1.00 × as fast; by the clock 1.11 × 100 s", 1),
        (15.0, (140,), "140 | **join**: ✔ 1.05 × by hand, on a host 0.75 × as fast; by the clock 1.40 × 100 s", 0),
        (40.0, (100,), "100 | **join**: ✘ 2.00 × by hand, on a host 2.00 × as fast; by the clock 1.00 × 100 s", 1),
        (
            20.0,
            (120, 90),
            "105 | **join** (120, 90 s): ✔ 1.05 × by hand, on a host 1.00 × as fast; by the clock 1.05 × 100 s (100, 100 s)",
            0,
        ),
    ],
)
def test_a_slower_host_excuses_and_a_faster_one_does_not(
    monkeypatch: pytest.MonkeyPatch, pace: float, ours: tuple[int, ...], line: str, over: int
) -> None:
    """A tenth more is allowed; what was done several times is compared together."""
    monkeypatch.setattr(reports, "OVER", {})
    report = Report("beside")
    report.beside(
        {"join": [Span(200, 200 + each) for each in ours]},
        {"join": [Span(0, 100)] * len(ours)},
        Pace(paced((0, 100, 20.0), (200, 400, pace))),
    )

    assert [f"| {line} |"] == report.lines
    assert over == len(reports.OVER)


def test_as_many_are_compared_as_were_done_by_hand() -> None:
    """One join is not set beside two."""
    with pytest.raises(AssertionError, match="join: 1 beside 2"):
        Report("beside").beside({"join": [Span(0, 9)]}, {"join": [Span(0, 9)] * 2}, Pace(paced((0, 9, 20.0))))
