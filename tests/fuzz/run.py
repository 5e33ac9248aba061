"""The loop: cases by number, findings by where they come out, each with the line that plays it again.

A case is made from seed, target and number alone. It must never stop at a finding, and never hide one.
"""

import importlib
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

__all__ = ["SHARES", "Finding", "Result", "play", "replay", "targets"]

ROOT: Final = Path(__file__).parents[2]
# Which part of a run each target gets: the ledger's cases cost a file, the spec's a whole reading.
PATIENCE: Final = 10.0
SHARES: Final = {"spec": 0.12, "proxmox": 0.32, "kube": 0.18, "guests": 0.26, "ledger": 0.12}


class EndlessError(Exception):
    """A case does not end."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One distinct failure: the exception, where in the project it came out, and the first case that showed it."""

    target: str
    case: int
    error: str
    place: str


@dataclass(slots=True)
class Result:
    """What a run came to; `reached` counts how far the cases of a target got that has several things to say."""

    cases: Counter[str] = field(default_factory=Counter)
    reached: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    times: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0


def targets(names: tuple[str, ...] = tuple(SHARES)) -> dict[str, ModuleType]:
    """Return the targets by name: modules with `make(rng) -> input` and `check(input)`, which may say how far it got."""
    return {name: importlib.import_module(f"tests.fuzz.{name}") for name in names}


def case_of(seed: int, name: str, number: int) -> random.Random:
    """Return the dice of one case."""
    return random.Random(f"{seed}/{name}/{number}")


def play(
    cases: int, seed: int, *, names: tuple[str, ...] = tuple(SHARES), told: Callable[[Result], None] = lambda _: None
) -> Result:
    """Play so many cases over all targets, in turns so that each is seen early; `told` is called now and then."""
    result, began = Result(), time.monotonic()
    before = signal.signal(signal.SIGPROF, _hung)
    modules = targets(names)
    for name, number in _order(cases, names):
        result.cases[name] += 1
        error, reached = _play(modules[name], case_of(seed, name, number))
        result.reached[name, reached] += 1
        if error is not None:
            found = Finding(name, number, f"{type(error).__name__}: {str(error)[:160]!a}", _place(error))
            result.times[name, _kind(error)] += 1
            result.findings.setdefault((name, _kind(error)), found)
        result.seconds = time.monotonic() - began
        told(result)
    signal.signal(signal.SIGPROF, before)
    return result


def replay(seed: int, name: str, number: int) -> tuple[Any, BaseException | None]:
    """Return the input of one case and what it ended in."""
    module = targets((name,))[name]
    return module.make(case_of(seed, name, number)), _play(module, case_of(seed, name, number))[0]


def _order(cases: int, names: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    whole = sum(SHARES[name] for name in names)
    counts = dict.fromkeys(names, 0)
    for turn in range(1, cases + 1):
        name = max(names, key=lambda one: SHARES[one] / whole * turn - counts[one])
        yield name, counts[name]
        counts[name] += 1


def _play(module: ModuleType, rng: random.Random) -> tuple[Exception | None, str]:
    """Return what came out of a case, and how far it got: "" where `check` does not say."""
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        return None, module.check(module.make(rng)) or ""
    except Exception as error:  # noqa: BLE001 - whatever comes out is the finding
        return error, ""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _hung(*_: Any) -> None:
    raise EndlessError(f"no end within {PATIENCE:g} s of CPU")


def _kind(error: BaseException) -> str:
    text = str(error) if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__} {_place(error)} {text[:80]}"


def _place(error: BaseException) -> str:
    """The innermost line of the project that the exception passed: file:line in function."""
    frames = traceback.extract_tb(error.__traceback__)
    last = ([one for one in frames if Path(one.filename).is_relative_to(ROOT / "cpcd")] or frames)[-1]
    return f"{last.filename.removeprefix(f'{ROOT}/')}:{last.lineno} in {last.name}"
