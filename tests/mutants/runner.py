"""Runs, for each mutant in a child of its own, the tests that reach it, quickest first, until one fails.

pytest collects once; one run of all tests tells which functions each of them calls and how long it takes. A child
that does not end in its time counts as killed: a hang is seen by people, too. One that cannot be made never does.
"""

import contextlib
import functools
import os
import signal
import sys
import time
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.mutants.live import Mutant, load

__all__ = ["KILLED", "SURVIVED", "TIMEOUT", "UNMADE", "UNREACHED", "Runner"]

KILLED, SURVIVED, TIMEOUT, UNMADE, UNREACHED = "killed", "survived", "timeout", "unmade", "unreached"
OUTCOMES: Final = {0: SURVIVED, 1: KILLED, 2: UNMADE, -signal.SIGALRM: TIMEOUT}  # by a child's exit code
PATIENCE: Final = 30.0  # seconds beyond ten times what its tests take unmutated

Place = tuple[str, int]


@dataclass
class Runner:
    """A pytest plugin that takes the place of the run: `choose` gives the mutants once everything is imported."""

    root: Path
    choose: Callable[[], list[Mutant]]
    told: Callable[[Mutant, str], None]
    jobs: int = 1
    results: dict[Mutant, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    _failed: bool = False
    _reached: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _seconds: dict[str, float] = field(default_factory=dict)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run everything once, then every mutant."""
        items = {item.nodeid: item for item in session.items}
        for item in items.values():
            self._measure(item)
        if not self.broken:
            self._all(self.choose(), items)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure, whatever phase it is in."""
        self._failed = self._failed or report.failed

    def _measure(self, item: pytest.Item) -> None:
        """Run one test as it is and note the functions of the code under test that it calls."""
        prefix, seen = (str(self.root / "cpcd/plan"), str(self.root / "cpcd/loop")), set[types.CodeType]()

        def profile(frame: types.FrameType, event: str, _: object) -> None:
            if event == "call":
                seen.add(frame.f_code)

        began, self._failed = time.monotonic(), False
        sys.setprofile(profile)
        try:
            _protocol(item)
        finally:
            sys.setprofile(None)
        self._seconds[item.nodeid] = time.monotonic() - began
        if self._failed:
            self.broken.append(item.nodeid)
        for code in seen:
            if code.co_filename.startswith(prefix):
                self._reached[f"{code.co_filename}:{code.co_qualname.partition('.<locals>')[0]}"].add(item.nodeid)

    def _tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that call a mutant's function, quickest first.

        A value is used by name anywhere, and read without any call: those that enter its module come first, then all.
        """
        path = str(self.root / mutant.path)
        names = (
            [f"{path}:{mutant.scope}"] if not mutant.value else [n for n in self._reached if n.startswith(f"{path}:")]
        )
        found = {test for name in names for test in self._reached[name]}
        rest = self._seconds.keys() - found if mutant.value else set[str]()
        return [test for tests in (found, rest) for test in sorted(tests, key=self._seconds.__getitem__)]

    def _all(self, chosen: list[Mutant], items: dict[str, pytest.Item]) -> None:
        running: dict[int, Mutant] = {}
        for mutant in chosen:
            tests = self._tests_of(mutant)
            if not tests:
                self._note(mutant, UNREACHED)
                continue
            while len(running) >= self.jobs:
                self._reap(running)
            running[self._start(mutant, [items[test] for test in tests])] = mutant
        while running:
            self._reap(running)

    def _reap(self, running: dict[int, Mutant]) -> None:
        pid, status = os.wait()
        if pid in running:
            code = os.waitstatus_to_exitcode(status)
            self._note(running.pop(pid), OUTCOMES.get(code, KILLED))

    def _note(self, mutant: Mutant, outcome: str) -> None:
        self.results[mutant] = outcome
        self.told(mutant, outcome)

    def _start(self, mutant: Mutant, tests: list[pytest.Item]) -> int:
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 2
        try:
            with _silence():
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                limit = 10 * sum(self._seconds[item.nodeid] for item in tests) + PATIENCE
                signal.alarm(int(limit))
                load(mutant)
                _forget()
                code = 1
                code = 0 if all(self._holds(item) for item in tests) else 1
        finally:
            os._exit(code)

    def _holds(self, item: pytest.Item) -> bool:
        self._failed = False
        _protocol(item)
        return not self._failed


def _protocol(item: pytest.Item) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


def _forget() -> None:
    """Empty the caches of functions, which hold what the code said before it was mutated."""
    for module in [module for name, module in sys.modules.items() if name.startswith("cpcd")]:
        for value in vars(module).values():
            if isinstance(value, functools._lru_cache_wrapper):
                value.cache_clear()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """A child's failures are results, not output."""
    nowhere: Any = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    yield
