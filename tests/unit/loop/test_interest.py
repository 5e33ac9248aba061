"""Interest: what wakes whom; a slot wakes one, in line, and everything else wakes all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.loop.interest import Interest

TOKENS = st.sampled_from(("fact:x", "vm:home/1", "slot:clone"))


@pytest.fixture
def woken() -> list[str]:
    """Return the keys that were woken, in order."""
    return []


def test_news_wakes_everybody_who_has_the_token(woken: list[str]) -> None:
    """In the order in which they came to have it."""
    interest = Interest(woken.append)
    interest.set("a", ["fact:x"])
    interest.set("b", ["fact:x", "fact:y"])
    interest.set("c", ["fact:y"])

    interest.signal("fact:x")

    assert ["a", "b"] == woken


def test_those_whom_others_wait_for_are_woken_first(woken: list[str]) -> None:
    """Two hundred workers that wait for the same news are no reason for a control plane to queue behind them."""
    interest = Interest(woken.append, rank=lambda key: 0 if key == "control-plane" else 1)
    for key in ("b", "a", "control-plane"):
        interest.set(key, ["fact:identity/home"])

    interest.signal("fact:identity/home")

    assert ["control-plane", "b", "a"] == woken


def test_a_slot_wakes_the_first_in_line_only(woken: list[str]) -> None:
    """One permit, one waiter."""
    interest = Interest(woken.append)
    for key in "abc":
        interest.set(key, ["slot:clone"])

    interest.signal("slot:clone")

    assert ["a"] == woken


def test_who_waits_on_keeps_the_place_in_line(woken: list[str]) -> None:
    """Setting the same token again is no new arrival; a waiter that was woken has left the line."""
    interest = Interest(woken.append)
    interest.set("a", ["slot:clone"])
    interest.set("b", ["slot:clone"])
    interest.set("a", ["slot:clone", "fact:x"])
    interest.signal("slot:clone")
    interest.set("a", [])
    interest.signal("slot:clone")
    interest.set("a", ["slot:clone"])
    interest.signal("slot:clone")

    assert ["a", "b", "a"] == woken


def test_ones_own_doing_wakes_the_others_alone(woken: list[str]) -> None:
    """A pass knows what it did; the next in line gets the slot."""
    interest = Interest(woken.append)
    for key in "ab":
        interest.set(key, ["fact:x", "slot:clone"])

    interest.signal("fact:x", by="a")
    interest.signal("slot:clone", by="a")

    assert ["b", "b"] == woken


def test_a_token_of_nobody_wakes_nobody(woken: list[str]) -> None:
    """Signals are cheap and may be for nobody."""
    interest = Interest(woken.append)
    interest.set("a", ["fact:x"])
    interest.set("a", [])

    interest.signal("fact:x")
    interest.signal("fact:never")

    assert [] == woken


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.frozensets(TOKENS))), TOKENS)
def test_only_the_last_tokens_of_a_key_count(history: list[tuple[str, frozenset[str]]], token: str) -> None:
    """Against the plain reading of it: the last set of each key."""
    woken: list[str] = []
    interest = Interest(woken.append)
    for key, tokens in history:
        interest.set(key, tokens)

    interest.signal(token)

    wanted = {key for key, tokens in dict(history).items() if token in tokens}
    if token.startswith("slot:"):
        assert (len(woken), wanted >= set(woken)) == (min(1, len(wanted)), True)
    else:
        assert (wanted, len(wanted)) == (set(woken), len(woken))
