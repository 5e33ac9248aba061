"""What took longer is compared at the pace that the host had, and what is over in the end fails the run."""

import time
from collections import defaultdict

import pytest

from tests.real.machines import report as reports
from tests.real.machines.pace import EVERY_S, PACE, Pace, Span
from tests.real.machines.report import Report


def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing have been told yet."""
    for name in ("_BY_HAND", "_OURS"):
        monkeypatch.setattr(reports, name, defaultdict(list))
    monkeypatch.setattr(reports, "OVER", {})


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
    ("pace", "seconds", "line", "over"),
    [
        (20.0, 105, "✔ 1.05 × by hand, on a host 1.00 × as fast; by the clock 1.05 × 100 s", 0),
        (20.0, 111, "✘ 1.11 × by hand, on a host 1.00 × as fast; by the clock 1.11 × 100 s", 1),
        (15.0, 140, "✔ 1.05 × by hand, on a host 0.75 × as fast; by the clock 1.40 × 100 s", 0),
        (40.0, 100, "✘ 2.00 × by hand, on a host 2.00 × as fast; by the clock 1.00 × 100 s", 1),
    ],
)
def test_a_slower_host_excuses_and_a_faster_one_does_not(
    monkeypatch: pytest.MonkeyPatch, pace: float, seconds: int, line: str, over: int
) -> None:
    """A tenth more is allowed."""
    monkeypatch.setattr(PACE, "samples", paced((0, 100, 20.0), (200, 400, pace)))
    fresh(monkeypatch)
    Report("bare").figure("join", Span(0, 100))
    told = Report("build")
    told.figure("join", Span(200, 200 + seconds))

    assert [f"| {seconds} | **join**: {line} |"] == told.lines
    assert over == len(reports.OVER)


def test_what_is_done_twice_is_compared_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last word is that about both."""
    monkeypatch.setattr(PACE, "samples", paced((0, 400, 20.0)))
    fresh(monkeypatch)
    for span in (Span(0, 90), Span(100, 210)):
        Report("bare").figure("join", span)
    Report("build").figure("join", Span(200, 315))
    after_one = [*reports.OVER]
    Report("replace").figure("join", Span(300, 390))

    assert (["join"], []) == (after_one, [*reports.OVER])
