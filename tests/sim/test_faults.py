"""Every fault of the lab in a story: nothing lost, double, forgotten or foreign, said in a sentence, and well again."""

import re
from pathlib import Path
from typing import Any

import pytest

from cpcd.lab.faults import FAULTS, named
from tests.sim.failure_table import PLAYED
from tests.sim.fault_scenarios import SCENARIOS, Scenario, Story
from tests.sim.fault_stage import names, play


def _param(scenario: Scenario) -> Any:
    """Return the test's parameter; what is open fails, and says so when it no longer does."""
    marks = [pytest.mark.xfail(strict=True, reason=scenario.open)] if scenario.open else []
    return pytest.param(scenario, id=f"{named(scenario.fault).row}-{scenario.fault}", marks=marks)


def _places(scenario: Scenario, machines: list[str]) -> list[str]:
    """Return the names; without numbers where one takes another's place: its number is free once that one is forgotten."""
    return [name.rpartition("-")[0] for name in machines] if scenario.replaced else machines


@pytest.mark.parametrize("scenario", [_param(one) for one in SCENARIOS])
def test_a_fault_is_survived(tmp_path: Path, scenario: Scenario) -> None:
    """The fault struck and was said; afterwards what is wanted is there, each machine once, and no more is gone."""
    played = play(tmp_path, scenario)
    stage, house = played.stage, played.stage.house
    struck = house.faults.struck[scenario.fault]
    here, shrunk = stage.machines(), scenario.story is Story.SHRINK

    assert _places(scenario, names(scenario.story)) == _places(scenario, sorted(here))
    assert sorted(here) == stage.nodes()
    assert {} == stage.waiting()
    assert sorted(member.name for member in house.world.clusters[0].etcd.members) == [
        name for name in sorted(here) if "-cp-" in name
    ]
    assert scenario.left == len(stage.left())
    assert len(stage.destroyed()) == scenario.replaced + shrunk - scenario.gone
    assert len({*played.before.values()} - {*here.values()}) == scenario.replaced + shrunk
    assert 1 <= struck <= (scenario.most or struck)
    assert scenario.said or scenario.quiet
    assert not scenario.said or any(map(re.compile(scenario.said).search, played.told))
    assert not scenario.quiet or stage.failed == []
    assert not scenario.still or played.writes == 0
    assert not scenario.once or stage.twice() == []
    assert scenario.nodes in {None, len(played.nodes)}


@pytest.mark.parametrize("story", Story, ids=lambda story: story.name)
def test_nothing_of_it_is_said_without_a_fault(tmp_path: Path, story: Story) -> None:
    """Else a scenario's words would be no sign of its fault."""
    played = play(tmp_path, Scenario(fault="", story=story))
    words = [one.said for one in SCENARIOS if one.story is story and one.said]

    assert played.told
    assert [] == [said for said in words if any(map(re.compile(said).search, played.stage.told))]


def test_every_fault_is_played() -> None:
    """No fault of the lab is without a scenario or a test of its own, and none has the name of another."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {fault.name for fault in FAULTS} == set(PLAYED)
