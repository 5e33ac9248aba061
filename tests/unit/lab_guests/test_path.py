"""The lab's own bound: what a build takes at least."""

import pytest

from cpcd.lab.guests import Durations
from cpcd.lab.path import critical_path, stages


def test_one_machine_takes_what_its_stages_take() -> None:
    """Nothing runs beside anything else on the way to the first control plane."""
    took = stages()
    alone = took.clone + took.linked + took.grow + took.boot + took.prepare + took.init

    assert alone == critical_path(masters=1, workers=0)


@pytest.mark.parametrize(
    ("stage", "whole"), [("prepare", "prepare"), ("init", "init"), ("join", "join_worker"), ("boot", "cloud_init")]
)
def test_a_stage_takes_what_the_table_of_durations_gives_it(stage: str, whole: str) -> None:
    """Within the waits that run beside it: the table is what was measured on real machines."""
    assert 0.9 < getattr(stages(), stage) / getattr(Durations(), whole) < 1.1


def test_control_planes_join_one_after_the_other_and_clones_come_in_pairs() -> None:
    """Each further control plane adds a whole join; workers add only where their clones are the longer chain."""
    took = stages()
    third = critical_path(masters=3, workers=0) - critical_path(masters=2, workers=0)
    linked = [critical_path(masters=3, workers=count) for count in (0, 27)]
    copied = [critical_path(masters=3, workers=count, copied_gib=10) for count in (7, 47)]

    assert pytest.approx(took.secrets + took.join_control_plane) == third
    assert linked[0] == linked[1]
    assert pytest.approx(20 * (took.clone + 10 * took.copied)) == copied[1] - copied[0]


def test_each_further_dozen_of_machines_takes_another_playbook() -> None:
    """Linked clones come faster than machines can be prepared: with more than some thirty that is the longest chain."""
    dozens = [critical_path(masters=3, workers=count) for count in (45, 57)]

    assert pytest.approx(stages().prepare) == dozens[1] - dozens[0]
