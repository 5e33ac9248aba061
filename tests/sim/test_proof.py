"""The proof in small: some seeds of each story, a sample of the sweep, and ways that must lead to one end.

`make proof` runs all of it; a failure here names the command that plays it again.
"""

from dataclasses import replace

import pytest

from tests.sim import paths
from tests.sim.branches import Outcome, difference
from tests.sim.gate import Fate
from tests.sim.known import known
from tests.sim.proof import report
from tests.sim.seeds import seeds
from tests.sim.stories import PATHS, STORIES, Story
from tests.sim.sweep import replay, sweep

SEEDS = range(25)
SAMPLE = 4  # futures a story, about

by_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)


def wrong(words: str) -> bool:
    """Whether a run went wrong in a way that is not known."""
    return bool(words) and not known(words)


@by_story
def test_every_seed_comes_to_the_same_end(story: Story) -> None:
    """Whatever the order, the latencies, the losses and the deaths: no invariant broken, the end that was wanted."""
    told = list(seeds(story, SEEDS))

    assert [(one.words, one.command) for one in told if wrong(one.words)] == []
    assert len(told) == 25


CALLS = {  # about how many points there are, which decides how far apart those of the sample lie
    "build": 1650, "scale-up": 770, "scale-down": 210, "in-place-change": 420, "rolling-replacement": 1050,
    "control-plane-replacement": 660, "repair": 460, "template-upgrade": 2900,
}  # fmt: skip


@by_story
def test_a_crash_or_a_lost_reply_at_any_call_changes_nothing(story: Story) -> None:
    """A sample of the sweep: the same end by the same destructive deeds as the run without luck."""
    told = list(sweep(story, every=CALLS[story.name] // SAMPLE, first=7))

    assert [(one.words, one.point.command) for one in told if wrong(one.words)] == []
    assert len(told) >= SAMPLE // 2
    assert {one.point.fate for one in told} >= {Fate.BEFORE, Fate.AFTER, Fate.LOST}


@pytest.mark.parametrize("ways", PATHS, ids=lambda ways: ways[0].name)
def test_every_way_leads_to_one_end(ways: tuple[Story, ...]) -> None:
    """2 → 4 → 3 is 2 → 3, in a hurry too."""
    assert not paths.astray(paths.walk(ways))


def test_another_end_and_other_deeds_are_told() -> None:
    """A future is held to the end and to the deeds of the run without luck, and its own words come first."""
    base = Outcome(end=("a", "b"), deeds=("stop x",))
    ends = [
        replace(base, end=("a", "c")),
        replace(base, deeds=("stop x", "stop y")),
        replace(base, deeds=("stop x", "stop x")),
        replace(base, words="broken"),
        base,
    ]

    assert [difference(one, base) for one in ends] == [
        "another end: +['c'] -['b']", "other deeds: +['stop y'] -[]", "other deeds: +['stop x'] -[]", "broken", "",
    ]  # fmt: skip


def test_the_report_counts_what_was_played_and_what_was_not() -> None:
    """Deaths that were left out, points that were, and who sat through resyncs: each with its number.

    Of the invariants only those that watched that run.
    """
    story = {
        "seeds": 3, "calls": 4000, "lab_hours": 1.5, "seconds_seeds": 60, "seconds_sweep": 120, "seeds_sat": 2,
        "futures": {"crash-before": 5, "crash-after": 6, "reply-lost": 7}, "futures_left_out": 1234, "futures_sat": 4,
    }  # fmt: skip
    figures = {
        "command": "it", "when": "now", "seconds": 180, "width": 2, "versions": {"cpcd": "1"}, "first": 10, "every": 3,
        "invariants": ["op-first"],
        "ways": 6, "stories": {"build": story}, "known": {}, "wrong": ["it broke (replay 12)"],
    }  # fmt: skip

    told = "\n".join(report(figures))

    for words in (
        "| build | 3 | 4,000 | 2 | 5 | 6 | 7 | 1,234 |", "seeds 10 to 12 of each story (3 runs, 1 min), 18", "1,234 deaths",
        "all but one in 3 points", "sat through by 2\n", "and 4 of the futures", "- WRONG it broke (replay 12)",
    ):  # fmt: skip
        assert words in told
    assert [line.split(" | ")[0] for line in told.splitlines() if line.startswith(("| op-first", "| limits"))] == [
        "| op-first"
    ]


def test_a_point_can_be_played_again() -> None:
    """What the sweep forked is the same when it is played from the beginning in one process."""
    story = next(story for story in STORIES if story.name == "scale-down")
    point = next(one for one in sweep(story, every=40) if one.point.number)
    again = replay(story, point.point.number, point.point.fate)

    assert (again.point, again.words) == (point.point, point.words)
