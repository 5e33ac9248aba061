"""A sample of `make chaos`: the real daemon is killed three times in one build, each time by the dice of a seed."""

import os
import shutil

import pytest

from tests.chaos.phases import Run, kills
from tests.chaos.spec import Wanted

NET = 100 + (os.getpid() * 2 + 7) % 150  # of loopback, for this run and nobody else's


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
async def test_a_daemon_killed_three_times_builds_the_same_cluster() -> None:
    """Nothing is duplicated, forgotten or destroyed, the ledger is whole, the log has no traceback and no secret."""
    said: list[str] = []
    run = Run(
        seed=1, kills=3, rate=60, net=NET, say=said.append, wanted=Wanted(masters=1, workers=1), stories=("build",)
    )

    await kills(run)

    assert run.wrong == []
    assert sum(one["kills"] for one in run.told) == 3
