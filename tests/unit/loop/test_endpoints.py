"""Endpoints: up or down, since when and why, and who hears of it."""

import pytest

from cpcd.lab.simloop import SimClock, SimLoop
from cpcd.loop.endpoints import Endpoints
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.report import Endpoint

REFUSED, SLOW = Unreachable("a", "refused"), Unreachable("a", "timed out")
TOKEN = Failure(Code.AUTH, "the token is refused", target="a")


@pytest.fixture
def told() -> list[str]:
    """Return what was signalled."""
    return []


@pytest.fixture
def loop() -> SimLoop:
    """Return a loop whose time is moved by hand."""
    made = SimLoop(0)
    made.close()
    return made


def test_an_endpoint_nobody_asked_is_not_down(loop: SimLoop, told: list[str]) -> None:
    """Unknown is not silent."""
    endpoints = Endpoints(SimClock(loop, 0), told.append)

    assert (None, ()) == (endpoints.why("pve:home"), endpoints.all())


def test_only_changes_are_heard_and_each_return_wakes(loop: SimLoop, told: list[str]) -> None:
    """The first answer is one, the second is not; another reason for the same silence is one, too."""
    heard: list[tuple[Failure | None, Failure | None]] = []

    def hear(before: Endpoint | None, now: Endpoint) -> None:
        heard.append((before and before.failure, now.failure))

    endpoints = Endpoints(SimClock(loop, 0), told.append, hear)
    for why in (None, None, REFUSED, Unreachable("a", "refused"), TOKEN, None):
        endpoints.up("a") if why is None else endpoints.down("a", why)

    assert [(None, None), (None, REFUSED), (REFUSED, TOKEN), (TOKEN, None)] == heard
    assert ["endpoint:a", "endpoint:a"] == told


def test_silence_keeps_its_beginning_and_has_its_newest_reason(loop: SimLoop, told: list[str]) -> None:
    """`since` is when it fell silent, not when it last answered nor when somebody last noticed; why is what is true now."""
    endpoints = Endpoints(SimClock(loop, 1000), told.append)
    endpoints.up("a")
    loop.advance(60)
    endpoints.down("a", REFUSED)
    loop.advance(60)

    endpoints.down("a", SLOW)

    assert (Endpoint("a", 1060, SLOW),) == endpoints.all()


def test_each_endpoint_is_its_own(loop: SimLoop, told: list[str]) -> None:
    """One that is silent says nothing about another, and one that is forgotten nothing at all."""
    endpoints = Endpoints(SimClock(loop, 0), told.append)
    endpoints.up("b")
    endpoints.down("a", REFUSED)
    endpoints.down("c", REFUSED)
    endpoints.forget("c")

    assert (["a", "b"], REFUSED, None, None) == (
        [one.name for one in endpoints.all()], *(endpoints.why(name) for name in "abc"),
    )  # fmt: skip
