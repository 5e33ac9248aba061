"""What the tables make of the daemon's values."""

import pytest
from rich.console import Console

from cpcd.cli import views


def text(shown: object, width: int = 80) -> str:
    """Return what a terminal of that width shows."""
    console = Console(width=width, no_color=True)
    with console.capture() as kept:
        console.print(shown)
    return kept.get()


@pytest.mark.parametrize(
    ("counters", "said"),
    [
        ((7, 8, 8, 3), "8/8 ready 3/7 up to date"),
        ((7, 5, 5, 5), "5/7 ready 5/7 up to date"),
        ((2, 3, 3, 3), "3/3 ready 3/3 up to date"),
        ((0, 0, 0, 0), "0/0 ready 0/0 up to date"),
    ],
    ids=["rollout", "scale up", "scale down", "none"],
)
def test_a_bar_counts_against_what_there_is(counters: tuple[int, ...], said: str) -> None:
    """A rollout has more machines than are wanted, and never more than all of them are ready."""
    names = ("desiredReplicas", "replicas", "readyReplicas", "upToDateReplicas")
    shown = text(views._bars(dict(zip(names, counters, strict=True))))

    assert said == " ".join(word for word in shown.split() if not set(word) & set("━╸╺"))


EVENTS = [
    {
        "at": "2027-01-15T07:59:00Z", "key": f"home/machine/home-general-{n}", "name": f"home-general-{n}", "run": "r-1",
        "severity": "Normal", "reason": "ApproveCsr", "message": f"a sentence of {n} words " * 4, "code": "",
    }
    for n in (1, 2)
]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
def test_an_event_shows_its_whole_sentence_at_any_width(width: int) -> None:
    """When, what, whose and which run in a line, and the sentence under it."""
    shown = " ".join(text(views.history(EVENTS, named=True), width).split())

    assert all(" ".join(event["message"].split()) in shown for event in EVENTS)
    assert "ApproveCsr machine/home-general-2 r-1" in shown


def test_events_in_a_pipe_are_a_line_each() -> None:
    """Whole, with the cluster, for whoever filters them."""
    first, second = views.lines(EVENTS).splitlines()

    assert ("home/machine/home-general-2", "home/machine/home-general-1") == (first.split()[2], second.split()[2])
    assert EVENTS[0]["message"] in second
