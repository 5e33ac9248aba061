"""The same seed is the same story, in whatever process: what makes a failing seed worth something."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = {"control-plane-replacement": 3, "repair": 4}  # with crashes, lost replies and silences


def traces(hash_seed: str) -> list[str]:
    """Return the hash over everything that went through the gate, a seed and story, from a process of its own."""
    found = []
    for story, seed in RUNS.items():
        argv = [
            sys.executable,
            "-m",
            "tests.sim.seeds",
            "--story",
            story,
            "--first",
            str(seed),
            "--seeds",
            "1",
            "--trace",
        ]
        told = subprocess.run(
            argv, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        )
        found.append(told.stdout.splitlines()[0])
    return found


def test_the_same_seed_is_the_same_story_in_another_process() -> None:
    """Every call, commit and pass, with its time and in its order, whatever the order of sets and addresses."""
    first = traces("1")

    assert first == traces("2")
    assert [line.split()[:2] for line in first] == [[story, str(seed)] for story, seed in RUNS.items()]
    assert len({line.split()[2] for line in first}) == len(RUNS)
