"""Seeds: a story played many times, each with another order of what is ready, other latencies and other bad luck.

    make sim SEEDS=50 FIRST=0
    python -m tests.sim.seeds --story repair --first 17 --seeds 1

What is given is built once and forked; a seed is repeatable, in one process or another. It must come to the end of the
run without luck by the same destructive deeds, and be quiet then.
"""

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cpcd.lab.simloop import SimLoop, simulate
from cpcd.model.ledger import DropFact, PutFact
from tests.sim.branches import Branches, Outcome, difference
from tests.sim.gate import Call, Fate
from tests.sim.known import known
from tests.sim.play import Play, quieted, say, workshop
from tests.sim.stories import STORIES, Story

__all__ = ["SITS", "Luck", "Seeded", "rate", "seeds", "sits"]


NAMES: Final = [story.name for story in STORIES]
SITS: Final = 25  # each so-manieth seed sits through three resyncs, the others have everything looked at


def sits(seed: int) -> bool:
    """Whether a seed sits through three resyncs in their own time."""
    return seed % SITS == 0


@dataclass(frozen=True, slots=True)
class Seeded:
    """How the story went with a seed; `words` is empty when it ended as it does without luck."""

    story: str
    seed: int
    words: str
    outcome: Outcome

    @property
    def command(self) -> str:
        """How to see it again."""
        return f"python -m tests.sim.seeds --story {self.story} --first {self.seed} --seeds 1"


class Luck:
    """What a seed throws: latencies, lost replies, a Proxmox that answers 595 for a while, deaths, and a pause."""

    def __init__(self, play: Play, seed: int, *, calls: int, lasts: float) -> None:
        self._play, self._dice = play, random.Random(seed)
        gate, dice, now = play.house.gate, self._dice, play.loop.time()
        self._loss = dice.choice((0.0, 0.0, 0.002, 0.01, 0.03))
        self._slow = dice.choice((1.0, 1.0, 3.0, 10.0))
        self._silences = [self._window(now, lasts, dice.uniform(3, 40)) for _ in range(dice.choice((0, 0, 1, 2)))]
        self._deaths = {
            gate.calls + dice.randint(1, max(2, calls)): dice.choice((Fate.BEFORE, Fate.AFTER))
            for _ in range(dice.choice((0, 1, 1, 2, 4)))
        }
        self._pause = self._window(now, lasts, dice.uniform(20, 200)) if dice.random() < 0.2 else None
        self._end = max((end for _, end in (*self._silences, *filter(None, [self._pause]))), default=now)
        self._lasts = now + 3 * lasts  # then the luck changes for the better
        gate.decide = self.decide
        play.house.sleep = self.sleep
        self._operator = play.house.operate(self._operate()) if self._pause else None

    def _window(self, now: float, lasts: float, length: float) -> tuple[float, float]:
        begin = now + self._dice.uniform(0, lasts)
        return (begin, begin + length)

    def decide(self, call: Call) -> Fate:
        """Return what becomes of a call."""
        if call.number in self._deaths:
            return self._deaths.pop(call.number)
        if call.port == "proxmox" and any(begin <= call.at < end for begin, end in self._silences):
            return Fate.REFUSED
        exchange = call.port not in {"journal", "kubeconfig"}
        if exchange and call.at < self._lasts and self._dice.random() < self._loss:
            return self._dice.choice((Fate.LOST, Fate.REFUSED))
        return Fate.NONE

    async def sleep(self, seconds: float) -> None:
        """Take some other time than usual."""
        stretch = self._dice.uniform(0.5, self._slow) if seconds < 1 else self._dice.uniform(1, 1.1)
        await asyncio.sleep(seconds * stretch)

    def over(self) -> bool:
        """Whether nothing is still to come at a set time."""
        return self._play.loop.time() >= self._end and (self._operator is None or self._operator.done())

    def end(self) -> None:
        """Be over, come what may."""
        self._play.house.gate.decide = lambda _: Fate.NONE
        self._play.house.sleep = asyncio.sleep

    async def _operate(self) -> None:
        """Pause and resume as the commands do."""
        assert self._pause is not None
        begin, end = self._pause
        await asyncio.sleep(begin - self._play.loop.time())
        await self._insist(PutFact("paused/demo", 1.0))
        await asyncio.sleep(max(0.0, end - self._play.loop.time()))
        await self._insist(DropFact("paused/demo"))

    async def _insist(self, change: PutFact | DropFact) -> None:
        house = self._play.house
        while (change.name in house.gate.ledger.facts) != isinstance(change, PutFact):
            await house.command(change)
            for key in house.daemon.keys() if house.daemon else ():
                house.daemon.dispatcher.reset(key)
            await asyncio.sleep(1)


def seeds(story: Story, numbers: range, *, width: int = 2, tell: bool = False, trace: bool = False) -> Iterator[Seeded]:
    """Yield how a story went with each seed, in the order in which they end."""
    branches = Branches(width)
    with workshop() as directory, quieted():
        base = simulate(lambda loop: _stem(loop, story, directory, branches, numbers, tell=tell, trace=trace), seed=1)
        if branches.child:
            branches.finish(base)
        if base.words:
            yield Seeded(story.name, -1, base.words, base)
        for seed, outcome in branches.join():
            yield Seeded(story.name, seed, difference(outcome, base), outcome)


async def _stem(
    loop: SimLoop, story: Story, directory: Path, branches: Branches, numbers: range, *, tell: bool, trace: bool
) -> Outcome:
    """Build what is given, learn from a branch how the story goes without luck, and fork once a seed."""
    play = Play(loop, story, directory / "base")
    if trace:
        play.record()
    try:
        await play.given()
        gc.freeze()
        if branches.part("reference", loop):
            return await _told(play, directory / "reference", lambda: True)
        base = next(outcome for _, outcome in branches.join())
        for seed in numbers:
            if not base.words and branches.part(seed, loop):
                _reseed(play, seed)
                if tell:
                    play.tell()
                luck = Luck(play, seed, calls=base.calls, lasts=base.lab)
                return await _told(play, directory / str(seed), luck.over, luck.end, hours=sits(seed))
    except AssertionError as error:
        return replace(play.result(), words=str(error))
    return base


async def _told(
    play: Play, directory: Path, over: Callable[[], bool], end: Callable[[], None] = lambda: None, *, hours: bool = True
) -> Outcome:
    play.house.move(directory)
    play.restart_clock()
    try:
        await play.perform(over=over)
        end()
        reached = play.result()
        await play.rest(hours=hours)
        return replace(play.outcome(), lab=reached.lab, calls=reached.calls)
    except AssertionError as error:
        return replace(play.result(), words=str(error))


def _reseed(play: Play, seed: int) -> None:
    """Everything that is thrown from now on is thrown with other dice."""
    gc.disable()
    house = play.house
    play.loop.reseed(seed)
    play.luck.seed(seed)
    house.seed = seed
    house.world.random.seed(seed)
    if house.daemon is not None:
        house.daemon.dispatcher._random.seed(seed)


def rate(*, count: int = 5, first: int = 0, width: int = 2) -> float:
    """Return simulated seeds a second over all stories, the building of what they begin with among them.

    Raises AssertionError when one goes wrong: a figure of a broken simulation is none.
    """
    began = time.perf_counter()
    told = [one for story in STORIES for one in seeds(story, range(first, first + count), width=width)]
    wrong = [f"{one.words} ({one.command})" for one in told if one.words and not known(one.words)]
    if wrong:
        raise AssertionError(wrong[0])
    return len(told) / (time.perf_counter() - began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.seeds", description="Play seeds of stories.")
    parser.add_argument("--story", action="append", choices=NAMES)
    parser.add_argument("--seeds", type=int, default=25, help="how many a story")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--width", type=int, default=2, help="processes at once")
    parser.add_argument("--trace", action="store_true", help="print the hash of all that happened")
    parser.add_argument("--tell", action="store_true", help="print every write, crash and pass")
    return parser.parse_args()


def _chosen(given: argparse.Namespace) -> list[Story]:
    return [story for story in STORIES if story.name in (given.story or NAMES)]


def main() -> int:
    """Play seeds of stories; exit 1 when one goes wrong, and say how to replay the first."""
    given = _arguments()
    began, played, wrong = time.perf_counter(), 0, []
    for story in _chosen(given):
        numbers = range(given.first, given.first + given.seeds)
        for one in seeds(story, numbers, width=given.width, tell=given.tell, trace=given.trace):
            played += 1
            wrong += [one] if one.words and not known(one.words) else []
            if given.trace or one.words:
                say(f"{story.name} {one.seed} {one.outcome.trace if given.trace else ''} {one.words}")
        seconds = time.perf_counter() - began
        say(f"{story.name}: {played} seeds so far, {played / seconds:.1f} seeds a second")
    if wrong:
        first = min(wrong, key=lambda one: (one.story, one.seed))
        say(f"first failing seed: {first.seed} of {first.story}; replay it with\n  {first.command}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
