"""The moments of `make chaos`: a seed deals them again, and each kind counts what it is called."""

import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from tests.chaos import moments
from tests.chaos.moments import DEALT, Kind, Moment, _Counting, deal, strike
from tests.chaos.town import Town
from tests.chaos.ways import Towards, Ways

LAB, DAEMON = Towards.LAB, Towards.DAEMON


def test_a_seed_deals_the_same_moments() -> None:
    """The same seed, the same moments, of every kind; another seed, others."""
    one, again, other = ([deal(dice) for _ in range(60)] for dice in map(random.Random, (1, 1, 2)))

    assert one == again
    assert one != other
    assert {moment.kind for moment in one} == set(DEALT)


@pytest.mark.parametrize(
    ("kind", "passes"),
    [
        (Kind.REQUEST, [(LAB, True, 0), (DAEMON, True, 0), (LAB, True, 1)]),
        (Kind.ANSWER, [(DAEMON, True, 0), (LAB, True, 0), (DAEMON, True, 1)]),
    ],
)
def test_pieces_are_counted_by_direction(tmp_path: Path, kind: Kind, passes: list[tuple[Towards, bool, int]]) -> None:
    """At the second piece of its direction the daemon is killed, once; every piece goes on."""
    killed: list[int] = []
    counting = _Counting(Moment(kind, 2), tmp_path / "wal", lambda: killed.append(1))

    assert [(towards, counting(towards), len(killed)) for towards, _, _ in passes] == passes


@pytest.mark.parametrize(("kind", "arrives"), [(Kind.INTENT, False), (Kind.EFFECT, True)])
def test_the_first_request_after_a_commit_is_counted(tmp_path: Path, kind: Kind, arrives: bool) -> None:
    """Neither answers nor requests without a commit count; an intent's piece is held back, an effect's arrives."""
    log, killed = tmp_path / "wal", list[int]()
    log.touch()
    counting = _Counting(Moment(kind, 1), log, lambda: killed.append(1))
    before = [counting(LAB), counting(DAEMON)]
    os.utime(log, ns=(1, 1))
    after = [counting(DAEMON), counting(LAB)]

    assert before == [True, True]
    assert after == [True, arrives]
    assert killed == [1]


@dataclass
class Still:
    """What `strike` sees of a town in which nothing happens."""

    state: Path
    ways: Ways = field(default_factory=lambda: Ways("1"))
    signals: list[int] = field(default_factory=list)

    def signal(self, number: int) -> None:
        """Note it."""
        self.signals.append(number)

    def check_alive(self) -> None:
        """It is."""


@pytest.mark.parametrize(
    ("moment", "over", "struck"),
    [
        (Moment(Kind.INTENT, 3), False, Kind.NEVER),
        (Moment(Kind.REQUEST, 1), False, Kind.NEVER),
        (Moment(Kind.SECONDS, 0.001), False, Kind.SECONDS),
        (Moment(Kind.ANSWER, 1), True, None),
    ],
)
async def test_a_kill_is_counted_as_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: Moment, over: bool, struck: Kind | None
) -> None:
    """A moment that does not come is none of its kind, and nobody is killed in a story that is over."""
    monkeypatch.setattr(moments, "PATIENCE", 0.01)
    monkeypatch.setattr(moments, "LOOK", 0.02)
    town = Still(tmp_path)

    async def told() -> bool:
        return over

    assert await strike(cast("Town", town), moment, told) is struck
    assert town.signals == ([] if struck is None else [signal.SIGKILL])
