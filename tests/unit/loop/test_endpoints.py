"""Endpoints: up or down, since when, and who is woken by a return."""

import pytest

from cpcd.lab.simloop import SimClock, SimLoop
from cpcd.loop.endpoints import Endpoint, Endpoints


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

    assert (False, ()) == (endpoints.is_down("pve:home"), endpoints.all())


def test_only_changes_are_news(loop: SimLoop, told: list[str]) -> None:
    """The first answer is one; the second is not."""
    endpoints = Endpoints(SimClock(loop, 0), told.append)

    news = [endpoints.up("a"), endpoints.up("a"), endpoints.down("a", "x"), endpoints.down("a", "y"), endpoints.up("a")]

    assert ([True, False, True, False, True], ["endpoint:a", "endpoint:a"]) == (news, told)


def test_silence_keeps_its_beginning_and_its_first_reason(loop: SimLoop, told: list[str]) -> None:
    """`since` is when it fell silent, not when somebody last noticed."""
    endpoints = Endpoints(SimClock(loop, 1000), told.append)
    endpoints.down("a", "refused")
    loop.advance(60)

    endpoints.down("a", "timed out")

    assert (Endpoint("a", up=False, since=1000, why="refused"),) == endpoints.all()


def test_each_endpoint_is_its_own(loop: SimLoop, told: list[str]) -> None:
    """One that is silent says nothing about another."""
    endpoints = Endpoints(SimClock(loop, 0), told.append)
    endpoints.up("b")
    endpoints.down("a", "refused")

    assert (["a", "b"], True, False) == (
        [one.name for one in endpoints.all()], endpoints.is_down("a"), endpoints.is_down("b"),
    )  # fmt: skip
