"""How a verb of the lab's machines ended, as a class of `deserved.py`."""

from collections.abc import Mapping
from typing import Any

from cpcd.lab.guests import Guest, VerbFailed
from tests.contract.guest_replay.deserved import INTERRUPTED, OK

__all__ = ["called", "ended"]


def ended(state: Mapping[str, Any]) -> str:
    """Return the class of a long verb's end."""
    if state["state"] == "lost":
        return INTERRUPTED
    return OK if state["state"] == "done" else str(state["error"]["reason"])


def called(guest: Guest, verb: str, **given: Any) -> str:
    """Return the class of a short verb's end."""
    try:
        guest.call(verb, given)
    except VerbFailed as no:
        return no.reason
    return OK
