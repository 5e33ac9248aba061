"""A sweep of a drain: every pod is asked to go, however slow or refused the others are."""

from types import SimpleNamespace
from typing import Any

import pytest

from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Key, Kind
from cpcd.plan import effects
from cpcd.reconcilers import machine
from tests.unit.plan.build import row

PODS = tuple(("default", f"app-{number}", f"uid-{number}") for number in range(60))


def swept(answers: dict[str, Failure]) -> tuple[float, list[str], Failure | None]:
    """Sweep 60 pods behind a webhook that takes 10 s for each; return how long, who was asked, and what was told."""
    asked: list[str] = []

    async def main(loop: SimLoop) -> tuple[float, Failure | None]:
        clock = SimClock(loop, 0.0)

        async def patch(*_: Any) -> None:
            return

        async def evict(_namespace: str, name: str, _uid: str) -> bool:
            asked.append(name)
            await clock.sleep(10)
            if name in answers:
                raise answers[name]
            return True

        ports: Any = SimpleNamespace(kube=lambda _cluster: SimpleNamespace(patch=patch, evict=evict))
        one = row("u1", "general", 1)
        try:
            await machine.apply(
                effects.Drain(key=Key(one.cluster, Kind.MACHINE, one.uid), row=one, pods=PODS), ports, None
            )
        except Failure as failure:
            return clock.now(), failure
        return clock.now(), None

    seconds, failure = simulate(main, seed=1)
    return seconds, asked, failure


def test_a_slow_webhook_costs_the_sweep_a_fifth_of_its_time() -> None:
    """One after the other, 60 pods would take ten minutes, at which a pass counts as stuck."""
    seconds, asked, failure = swept({})

    assert (120, 60, None) == (seconds, len(set(asked)), failure)


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        ({"app-3": Failure(Code.EXECUTION, "two budgets"), "app-9": Failure(Code.EXECUTION, "webhook")}, "two budgets"),
        ({"app-3": Failure(Code.EXECUTION, "two budgets"), "app-9": Unreachable("kube:demo", "silent")}, "silent"),
    ],
    ids=["first", "nobody-there"],
)
def test_what_fails_keeps_no_other_on_the_machine(answers: dict[str, Failure], wanted: str) -> None:
    """All are asked; the first failure is told, and that nobody is there before any other."""
    _, asked, failure = swept(answers)

    assert (60, wanted) == (len(set(asked)), failure.what if failure else "")
