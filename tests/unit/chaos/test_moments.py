"""The moments of `make chaos`: a seed deals them again, and each kind counts what it is called."""

import os
import random
from pathlib import Path

import pytest

from tests.chaos.moments import Kind, Moment, _Counting, deal
from tests.chaos.ways import Towards

LAB, DAEMON = Towards.LAB, Towards.DAEMON


def test_a_seed_deals_the_same_moments() -> None:
    """The same seed, the same moments, of every kind; another seed, others."""
    one, again, other = ([deal(dice) for _ in range(60)] for dice in map(random.Random, (1, 1, 2)))

    assert one == again
    assert one != other
    assert {moment.kind for moment in one} == set(Kind)


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
