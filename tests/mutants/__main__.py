"""`python -m tests.mutants --count 300 --seed 1`: a sample, each survivor as it is found, and docs/mutants.*."""

import argparse
import random
import sys
import time
from pathlib import Path

import pytest

from tests.mutants import report
from tests.mutants.live import Mutant, everything
from tests.mutants.runner import Runner

ROOT = Path(__file__).parents[2]
TESTS = ("tests/unit/plan", "tests/unit/loop", "tests/unit/reconcilers")
QUIET = "addopts=--strict-markers --import-mode=importlib"  # without the terminal plugin there is no -q
SAMPLE = 300  # mutants: what the page stands for


def main() -> int:
    """Run, write the report, and return 0 when the score is reached."""
    given = _arguments()
    whole = everything(ROOT)
    chosen = _sample(whole, given)
    began, told = time.monotonic(), _Told(len(chosen))
    runner = Runner(ROOT, lambda: chosen, told, jobs=given.jobs)
    pytest.main(
        [*(str(ROOT / one) for one in TESTS), "-p", "no:cacheprovider", "-p", "no:terminal", "-o", QUIET],
        plugins=[runner],
    )
    if runner.broken or not runner.results:
        _say(f"the tests fail without any mutant: {', '.join(runner.broken[:5]) or 'none was run'}")
        return 2
    seconds = time.monotonic() - began
    figures = report.summary(runner.results, root=ROOT, seed=given.seed, whole=len(whole), seconds=seconds)
    if given.count >= SAMPLE and not (given.only or given.keep):  # a smaller sample is no figure for the docs
        report.write(figures, ROOT / "docs")
    _say(
        f"{figures['score']} %: {figures['killed']} of {figures['mutants']} killed, seed {given.seed}, {seconds:.0f} s"
    )
    return 0 if figures["score"] >= given.score else 1


def _sample(whole: list[Mutant], given: argparse.Namespace) -> list[Mutant]:
    wanted = [one for one in whole if given.only in str(one)]
    if len(wanted) <= given.count:
        return wanted
    chosen = random.Random(given.seed).sample(range(len(wanted)), given.count)
    return [wanted[at] for at in sorted(chosen)]


class _Told:
    """Prints survivors as they are found, and how far the run is."""

    def __init__(self, whole: int) -> None:
        self._whole, self._done, self._alive = whole, 0, 0

    def __call__(self, mutant: Mutant, outcome: str) -> None:
        self._done += 1
        if outcome in report.ALIVE:
            self._alive += 1
            _say(f"{outcome} {mutant}")
        if self._done % 25 == 0:
            _say(f"{self._done} of {self._whole}, {self._alive} alive")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=SAMPLE, help="how many of all mutants are tried")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="only mutants whose name holds this text; writes no report")
    parser.add_argument("--keep", action="store_true", help="leave the report as it is")
    parser.add_argument("--score", type=float, default=85.0, help="percent below which the exit code is 1")
    return parser.parse_args()


sys.exit(main())
