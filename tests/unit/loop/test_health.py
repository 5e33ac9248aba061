"""Liveness: a beat that stops and a pass that never ends are named."""

import pytest

from cpcd.loop.dispatcher import Pulse
from cpcd.loop.health import BEAT, LONGEST, unhealthy
from tests.unit.loop.engine import lamp


@pytest.mark.parametrize(
    ("pulse", "why"),
    [
        (Pulse(1000, {}), ""),
        (Pulse(1000 - BEAT, {lamp("a"): 1000 - LONGEST}), ""),
        (Pulse(1000 - BEAT - 1, {}), "the dispatcher has not beaten for 31 s"),
        (Pulse(1000, {lamp("a"): 1000, lamp("b"): 300}), "a pass over lab/machine/b runs for 700 s"),
    ],
)
def test_what_is_not_live_is_said(pulse: Pulse, why: str) -> None:
    """An empty sentence means live."""
    assert why == unhealthy(pulse, 1000)
