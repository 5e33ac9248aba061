"""Evictions among what hurts: a repeated one is one, a strange one is told, and in each story that drains a budget holds."""

import re
from functools import partial
from typing import Any

import pytest

from cpcd.reconcilers import machine
from tests.sim import sweep
from tests.sim.gate import Call, Fate
from tests.sim.planted import drains_a_neighbour_after_a_death
from tests.sim.stories import STORIES, Story
from tests.sim.sweep import Distinct, Result

DRAINING = [story for story in STORIES if story.apps]
SCALE_DOWN = next(story for story in STORIES if story.name == "scale-down")


class Struck(Distinct):
    """Only calls of one verb end badly, in these ways; the answers to evictions are kept."""

    def __init__(self, verb: str, *bad: Fate) -> None:
        super().__init__()
        self.answers: list[Any] = []
        self._verb, self._bad = verb, bad

    def called(self, call: Call, answer: Any) -> None:
        self.answers += [answer] if call.verb == "evict" else []

    def fates(self, call: Call) -> tuple[Fate, ...]:
        """Return these ways for the verb, none for all others."""
        return self._bad if call.verb == self._verb else ()


def struck(story: Story, points: Struck) -> list[Result]:
    """Play all points of a story."""
    return list(sweep.sweep(story, distinct=points))


def test_the_stories_that_drain_have_pods() -> None:
    """All but those that only add machines, or lose them before anybody could drain them."""
    assert [story.name for story in DRAINING] == [
        "scale-down", "in-place-change", "rolling-replacement", "template-upgrade"
    ]  # fmt: skip


@pytest.mark.parametrize("story", DRAINING, ids=lambda story: story.name)
def test_a_budget_holds_a_drain_up_in_each_of_them(story: Story) -> None:
    """Pods are evicted, and at least one of them is refused at first."""
    points = Struck("evict")

    assert struck(story, points) == []
    assert set(points.answers) == {True, False}


def test_an_eviction_that_is_repeated_is_the_same_deed() -> None:
    """Whether a death or a lost reply hides it: the pod is evicted once, or refused once more."""
    told = struck(SCALE_DOWN, Struck("evict", Fate.BEFORE, Fate.AFTER, Fate.LOST))

    assert [(one.words, one.point.command) for one in told if one.words] == []
    assert len(told) >= 9


def test_a_pod_that_only_a_death_evicts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No invariant watches here: from a machine that stays no pod goes in the run without luck."""
    monkeypatch.setattr(machine, "_sweep", machine._sweep)
    drains_a_neighbour_after_a_death("demo-cp-1")
    monkeypatch.setattr(sweep, "Play", partial(sweep.Play, kinds=()))

    told = struck(SCALE_DOWN, Struck("patch", Fate.BEFORE))

    assert {bool(re.match(r"other deeds: \+\['coredns-.* from demo-cp-1'.*\] -\[\]$", one.words)) for one in told} == {
        True
    }
