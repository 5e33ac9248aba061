"""The moments at which the daemon is killed: so long after its start, or as a certain request or answer passes.

Dice choose them; `autopsy` says afterwards what it was doing. The ways' observer kills within the same step of the
event loop, so that an answer has not reached the daemon when it dies. Next: `troubles.py`.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.chaos.town import Town
from tests.chaos.ways import Towards

__all__ = ["Kind", "Moment", "deal", "strike"]

LATEST: Final = 7.0  # real seconds after its start; a daemon needs about one until it acts
PIECES: Final = 1000  # some seconds of traffic: handshakes, reads, and writes among them
COMMITS: Final = 40  # in as many a whole story may pass
PATIENCE: Final = 8.0  # real seconds; a daemon for which a moment does not come is killed waiting
LOOK: Final = 0.25


class Kind(StrEnum):
    """What a moment is counted by."""

    SECONDS = "seconds"  # after its start
    REQUEST = "request"  # a piece towards the lab, which still arrives
    ANSWER = "answer"  # a piece from the lab, which does not arrive any more
    # Whatever was written into the ledger's log, and on whichever connection the piece is: `autopsy` tells what was open.
    INTENT = "intent"  # the first piece after a commit of the ledger, which never leaves: written down, not done
    EFFECT = "effect"  # the same, but it arrives: done, and nobody there to know
    NEVER = "never"  # none of these: the moment that was dealt had not come after 8 s


DEALT: Final = tuple(kind for kind in Kind if kind is not Kind.NEVER)


@dataclass(frozen=True, slots=True)
class Moment:
    """So many seconds, or the n-th of its kind in a daemon's life."""

    kind: Kind
    amount: float


def deal(dice: random.Random) -> Moment:
    """Return one moment; early pieces are as likely as late ones by order of magnitude."""
    kind = dice.choice(DEALT)
    seconds, share = dice.uniform(0.02, LATEST), dice.random()
    if kind is Kind.SECONDS:
        return Moment(kind, seconds)
    most = COMMITS if kind in {Kind.INTENT, Kind.EFFECT} else PIECES
    return Moment(kind, int(most**share))


async def strike(town: Town, moment: Moment, over: Callable[[], Awaitable[bool]]) -> Kind | None:
    """Kill the daemon at the moment; return the kind it was killed at, None when the story was over before."""
    struck: asyncio.Future[Kind] = asyncio.get_running_loop().create_future()

    def kill(kind: Kind = moment.kind) -> None:
        if not struck.done():
            town.signal(signal.SIGKILL)
            struck.set_result(kind)

    timer = None
    if moment.kind is Kind.SECONDS:
        timer = asyncio.get_running_loop().call_later(moment.amount, kill)
    else:
        town.ways.observe = _Counting(moment, town.state / "ledger.db-wal", kill)
    try:
        await _race(town, struck, over, kill)
    finally:
        town.ways.observe = lambda _: True
        if timer is not None:
            timer.cancel()
    return struck.result() if struck.done() else None


class _Counting:
    """Counts what passes and kills at the n-th; tells of each piece whether it goes on."""

    def __init__(self, moment: Moment, log: Path, kill: Callable[[], None]) -> None:
        self._kind, self._left, self._log, self._kill = moment.kind, int(moment.amount), log, kill
        self._commits = self._committed()

    def __call__(self, towards: Towards) -> bool:
        if not self._counts(towards):
            return True
        self._left -= 1
        if self._left != 0:
            return True
        self._kill()
        return self._kind is not Kind.INTENT

    def _counts(self, towards: Towards) -> bool:
        if self._kind in {Kind.REQUEST, Kind.ANSWER}:
            return towards.value == self._kind.value
        before, self._commits = self._commits, self._committed() if towards is Towards.LAB else self._commits
        return self._commits != before

    def _committed(self) -> int:
        """Return when the ledger's log was last written, in nanoseconds."""
        try:
            return self._log.stat().st_mtime_ns
        except FileNotFoundError:
            return 0


async def _race(
    town: Town, struck: asyncio.Future[Kind], over: Callable[[], Awaitable[bool]], kill: Callable[[Kind], None]
) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    while not struck.done():
        town.check_alive()
        if asyncio.get_running_loop().time() > end:
            kill(Kind.NEVER)
        elif await over():
            return
        else:
            await asyncio.wait({struck}, timeout=LOOK)
