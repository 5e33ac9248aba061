"""The play itself: when it goes on, when it gives up, and what it says of each statement."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cpcd.lab.demo.proofs import Proof
from cpcd.lab.demo.story import ACTS, Story, StuckError

WELL: dict[str, Any] = {
    "objects": [{"kind": "machine", "ready": "True"}, {"kind": "addon", "ready": "True"}],
    "spec": {"valid": True, "generation": "abc"},
    "operations": [],
}


class Told:
    """Who asks a daemon that says what it was told to say, in a lab where a look takes a second."""

    def __init__(self, status: dict[str, Any], plan: dict[str, Any] | None) -> None:
        self._status, self._plan, self._time = status, plan, 0.0

    async def status(self) -> dict[str, Any]:
        """Return the status."""
        return self._status

    async def daemon(self, _path: str) -> dict[str, Any] | None:
        """Return the plan."""
        return self._plan

    async def world(self) -> dict[str, Any]:
        """Return the time."""
        self._time += 1.0
        return {"time": self._time}


def story(status: dict[str, Any] = WELL, plan: dict[str, Any] | None = {"steps": []}) -> tuple[Story, list[str]]:  # noqa: B006 - only read
    """Return a play and the lines that it says."""
    lines: list[str] = []
    stage: Any = SimpleNamespace(tree=SimpleNamespace(head=lambda: "abc"), directory=Path())
    look: Any = Told(status, plan)
    return Story(stage, look, lines.append), lines


def but(**changes: Any) -> dict[str, Any]:
    """Return the status of a daemon that has not arrived in one respect."""
    return {**copy.deepcopy(WELL), **changes}


@pytest.mark.parametrize(
    ("status", "plan", "expected"),
    [
        (WELL, {"steps": []}, True),
        (WELL, {"steps": [{"verb": "label"}]}, False),
        (WELL, None, False),
        ({}, {"steps": []}, False),
        (but(objects=[{"kind": "addon", "ready": "True"}]), {"steps": []}, False),
        (but(objects=[*WELL["objects"], {"kind": "nodes", "ready": "Unknown"}]), {"steps": []}, False),
        (but(spec={"valid": False, "generation": "abc"}), {"steps": []}, False),
        (but(spec={"valid": True, "generation": "older"}), {"steps": []}, False),
        (but(operations=[{"verb": "clone"}]), {"steps": []}, False),
    ],
)
async def test_the_play_goes_on_when_all_is_settled_and_not_before(
    status: dict[str, Any], plan: dict[str, Any] | None, expected: bool
) -> None:
    """Every object Ready, the newest commit in force, nothing on its way and nothing left to do."""
    assert expected == await story(status, plan)[0].settled()


async def test_waiting_in_vain_is_a_false_statement() -> None:
    """The act ends there."""
    play, lines = story(but(objects=[]))

    with pytest.raises(StuckError):
        await play.until("the cluster is built", play.settled, limit=3.0, every=0.0)

    assert [Proof("the cluster is built within 3 s", holds=False)] == play.proofs
    assert ["✘ the cluster is built within 3 s"] == lines


async def test_waiting_tells_how_long_it_took() -> None:
    """In lab seconds."""
    play, _ = story()

    assert 1.0 == await play.until("all is well", play.settled)
    assert [] == play.proofs


def test_each_statement_is_said_with_what_was_seen() -> None:
    """True ones and false ones alike."""
    play, lines = story()

    play.prove(Proof("a", holds=True, detail="5 of 5"), Proof("b", holds=False))

    assert ["✔ a (5 of 5)", "✘ b"] == lines
    assert [True, False] == [proof.holds for proof in play.proofs]


def test_the_acts_are_numbered_as_they_are_played() -> None:
    """Their titles are what people read."""
    assert [f"{number}." for number in range(1, 9)] == [act.title[:2] for act in ACTS]
