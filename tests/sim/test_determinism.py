"""The same seed is the same story, in whatever process: what makes a failing seed worth something."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = ("control-plane-replacement", "repair")
SEED = 5  # with deaths, lost replies and a silence


def traces(hash_seed: str) -> list[str]:
    """Return the hash over everything that went through the gate, a story, from a process of its own."""
    stories = [word for story in RUNS for word in ("--story", story)]
    argv = [sys.executable, "-m", "tests.sim.seeds", *stories, "--first", str(SEED), "--seeds", "1", "--trace"]
    told = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
    )
    return [line for line in told.stdout.splitlines() if "seeds so far" not in line]


def test_the_same_seed_is_the_same_story_in_another_process() -> None:
    """Every call, commit and pass, with its time and in its order, whatever the order of sets and addresses."""
    first = traces("1")

    assert first == traces("2")
    assert [line.split()[:2] for line in first] == [[story, str(SEED)] for story in RUNS]
    assert len({line.split()[2] for line in first}) == len(RUNS)
