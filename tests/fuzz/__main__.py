"""`python -m tests.fuzz`: prints progress, cases a second, and each distinct failure with the line that plays it again."""

import argparse
import faulthandler
import sys
import time
import traceback

from tests.fuzz.run import SHARES, Result, play, replay

PAUSE = 2.0  # seconds between two lines of progress


def say(text: str) -> None:
    """Write a line at once: somebody watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Progress:
    """Prints a line every two seconds, and each finding when it is new."""

    def __init__(self, cases: int, seed: int) -> None:
        self._cases, self._seed = cases, seed
        self._next = time.monotonic() + PAUSE
        self._told = 0

    def __call__(self, result: Result) -> None:
        """Tell what is new."""
        for finding in list(result.findings.values())[self._told :]:
            again = f"python -m tests.fuzz --seed {self._seed} --replay {finding.target}:{finding.case}"
            say(f"FOUND {finding.target}: {finding.error}\n      at {finding.place}\n      again: {again}")
        self._told = len(result.findings)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PAUSE
            say(f"{_count(result)} of {self._cases:,} cases, {_speed(result)}, {_found(result)}")


def main() -> int:
    """Run, and return 1 when anything was found."""
    faulthandler.enable()  # libyaml and SQLite can take the whole process with them
    given = _arguments()
    if given.replay:
        name, _, number = given.replay.partition(":")
        return _again(given.seed, name, int(number))
    names = tuple(given.target or SHARES)
    result = play(given.cases, given.seed, names=names, told=Progress(given.cases, given.seed))
    shares = ", ".join(_share(result, name) for name in names)
    say(
        f"{_count(result)} cases ({shares}), seed {given.seed}, {result.seconds:.0f} s, {_speed(result)}: {_found(result)}"
    )
    return 1 if result.findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="how many, over all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=list(SHARES), help="only this one; repeatable")
    parser.add_argument("--replay", metavar="TARGET:CASE", default="", help="play one case again and show its input")
    return parser.parse_args()


def _again(seed: int, name: str, number: int) -> int:
    made, error = replay(seed, name, number)
    say(f"input: {made!r}"[:20_000])
    if error is None:
        say("holds")
        return 0
    traceback.print_exception(error)
    return 1


def _count(result: Result) -> str:
    return f"{sum(result.cases.values()):,}"


def _share(result: Result, name: str) -> str:
    """Return how many cases a target had, and how far they got where it says so."""
    reached = [f"{count:,} {how}" for (of, how), count in sorted(result.reached.items()) if of == name and how]
    return f"{name} {result.cases[name]:,}" + (f" [{', '.join(reached)}]" if reached else "")


def _speed(result: Result) -> str:
    return f"{sum(result.cases.values()) / max(result.seconds, 1e-9):,.0f} cases a second"


def _found(result: Result) -> str:
    return f"{len(result.findings)} distinct failures" if result.findings else "no failure"


sys.exit(main())
