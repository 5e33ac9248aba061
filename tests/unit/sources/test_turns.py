"""One question to several: in turn, and no silent one holds up the others."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.model.errors import Code, Failure
from cpcd.sources.turns import first_answer

HOURS = 10_000.0


def asked(*ways: tuple[float, str]) -> tuple[str, float, list[int], list[int]]:
    """Ask whoever answers after so many seconds, "" being a failure; return answer, duration, who was asked and cut off."""
    begun: list[int] = []
    cut: list[int] = []

    async def main(loop: SimLoop) -> tuple[str, float]:
        clock = SimClock(loop, 0.0)

        def question(number: int, seconds: float, answer: str) -> Callable[[], Coroutine[Any, Any, str]]:
            async def ask() -> str:
                begun.append(number)
                try:
                    await clock.sleep(seconds)
                except asyncio.CancelledError:
                    cut.append(number)
                    raise
                if not answer:
                    raise Failure(Code.NETWORK, f"{number} is away")
                return answer

            return ask

        began = clock.now()
        answer = await first_answer([question(at, *way) for at, way in enumerate(ways)], clock, 10.0)
        return answer, round(clock.now() - began)

    return (*simulate(main, seed=1), begun, sorted(cut))


@pytest.mark.parametrize(
    ("ways", "wanted"),
    [
        (((1, "a"), (1, "b"), (1, "c")), ("a", 1, [0], [])),
        (((1, ""), (1, "b"), (1, "c")), ("b", 2, [0, 1], [])),
        (((HOURS, "a"), (HOURS, "b"), (1, "c")), ("c", 21, [0, 1, 2], [0, 1])),
        (((15, "a"), (30, "b"), (1, "c")), ("a", 15, [0, 1], [1])),
        (((HOURS, "a"), (1, ""), (1, "c")), ("c", 12, [0, 1, 2], [0])),
        (((25, "a"), (1, "")), ("a", 25, [0, 1], [])),
    ],
    ids=["at-once", "failed", "two-silent", "slow", "silent-and-failed", "slow-is-the-last"],
)
def test_the_next_is_asked_when_one_failed_or_its_turn_is_over(ways: Any, wanted: Any) -> None:
    """No more are asked than it takes, and none goes on when there is an answer."""
    assert wanted == asked(*ways)


def test_when_all_fail_the_last_failure_is_told() -> None:
    """As it was when they were asked one after the other."""
    with pytest.raises(Failure, match="1 is away"):
        asked((1, ""), (1, ""))
