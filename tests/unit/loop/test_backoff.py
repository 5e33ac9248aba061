"""Backoff: between one second and the cap, doubling at most, and telling when people should look."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.loop.backoff import FLOOR, Backoff
from cpcd.model.desired import Retry

RETRIES = st.builds(
    Retry, base=st.floats(0.1, 30), multiplier=st.floats(1, 10), max=st.floats(1, 600), degraded_after=st.integers(1, 9)
)


@settings(max_examples=100, deadline=None)
@given(retry=RETRIES, failures=st.integers(0, 5000), seed=st.integers(0, 9))
def test_every_pause_lies_between_the_floor_and_the_ceiling_of_its_turn(retry: Retry, failures: int, seed: int) -> None:
    """Also after thousands of failures: a power that overflows would end the dispatcher."""
    backoff = Backoff(random.Random(seed), failures)

    pause = backoff.failed(retry)

    ceiling = min(retry.max, retry.base * retry.multiplier ** min(failures, 64))
    assert FLOOR <= pause <= max(FLOOR, ceiling)


def test_pauses_are_spread_over_the_whole_range() -> None:
    """Full jitter: clients that failed together do not come back together."""
    dice = random.Random(1)

    pauses = [Backoff(dice, 5).failed(Retry()) for _ in range(200)]

    assert (True, True) == (min(pauses) < 5, max(pauses) > 55)


def test_degraded_begins_at_the_limit_and_ends_with_a_success() -> None:
    """Three in a row by default."""
    backoff, told = Backoff(random.Random(1)), []

    for _ in range(4):
        backoff.failed(Retry())
        told.append(backoff.degraded(Retry()))
    backoff.reset()

    assert ([False, False, True, True], False) == (told, backoff.degraded(Retry()))
