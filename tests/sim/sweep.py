"""The crash sweep: a story is played once without luck, and once for each way in which one call can end badly.

At each port call and commit the run is forked: the daemon dies before the effect, or after it and before the reply, or
lives and the reply is lost. The future must come to the same end by the same destructive deeds, and be quiet then.

    python -m tests.sim.sweep --story build --every 50
    python -m tests.sim.sweep --story build --call 123 --fate crash-after
"""

import argparse
import gc
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cpcd.lab.simloop import SimLoop, simulate
from tests.sim.branches import Branches, Outcome, difference
from tests.sim.gate import Call, Fate, Witness
from tests.sim.known import known
from tests.sim.play import Play, quieted, say, workshop
from tests.sim.stories import STORIES, Story

__all__ = ["Point", "Result", "fates", "replay", "sweep"]


MOMENT: Final = 0.05  # seconds
SITS: Final = 32  # each so-manieth call's futures sit through three resyncs, the others have everything looked at


@dataclass(frozen=True, slots=True)
class Point:
    """One way in which one call ends badly."""

    story: str
    number: int
    fate: Fate
    words: str

    @property
    def sits(self) -> bool:
        """Whether this future sits through three resyncs in their own time."""
        return self.number % SITS == 0

    @property
    def command(self) -> str:
        """How to see it again."""
        return f"python -m tests.sim.sweep --story {self.story} --call {self.number} --fate {self.fate.value}"


@dataclass(frozen=True, slots=True)
class Result:
    """A point and how its future ended; `words` is empty when it ended as the run without luck did."""

    point: Point
    words: str
    seconds: float


def fates(call: Call) -> tuple[Fate, ...]:
    """Return how a call can end badly.

    A read has no effect, so that a crash before it and one after it are the same crash. A commit is no exchange: it
    has no reply to lose, and a disk that refuses it is told in `test_bad_luck.py`.
    """
    if call.port in {"journal", "kubeconfig"}:
        return (Fate.BEFORE, Fate.AFTER) if call.writes else (Fate.BEFORE,)
    return (Fate.BEFORE, Fate.AFTER, Fate.LOST) if call.writes else (Fate.BEFORE, Fate.LOST)


class Distinct(Witness):
    """Leaves out a death that is the one before it: reads come in bursts, and a read changes nothing.

    Between two reads of the same moment, with no write or commit that began or had its effect in between, disk and
    world are the same. Every reply can be lost on its own, and every write and commit is a moment of its own.
    """

    def __init__(self) -> None:
        self._last, self._changed = -MOMENT, True
        self.left_out = 0

    def called(self, call: Call, answer: Any) -> None:
        self._changed |= call.writes

    def fates(self, call: Call) -> tuple[Fate, ...]:
        """Return how a call can end badly and none before it has."""
        found = fates(call)
        if call.writes:
            self._changed = True
            return found
        same = not self._changed and call.at - self._last < MOMENT
        if same:
            self.left_out += 1
            return tuple(fate for fate in found if fate is not Fate.BEFORE)
        self._last, self._changed = call.at, False
        return found


def sweep(
    story: Story, *, width: int = 2, every: int = 1, first: int = 0, distinct: Distinct | None = None
) -> Iterator[Result]:
    """Yield the result of every point of a story, or of every so-manieth of each fate from the `first` on.

    `distinct` says which points there are, and in the end how many it has left out.
    """
    branches, points, distinct = Branches(width), {fate: itertools.count() for fate in Fate}, distinct or Distinct()
    with workshop() as directory, quieted():

        def chosen(call: Call, loop: SimLoop, play: Play) -> Point | None:
            for fate in distinct.fates(call):
                if next(points[fate]) % every == first % every:
                    point = Point(story.name, call.number, fate, str(call))
                    if branches.part(point, loop):
                        _alone(play, directory / f"{call.number}-{fate.value}")
                        return point
            return None

        base = _played(story, directory / "base", chosen, distinct)
        if branches.child:
            branches.finish(base)
        if base.words:
            yield Result(Point(story.name, 0, Fate.NONE, "the run without luck"), base.words, base.seconds)
        for point, outcome in branches.join():
            yield Result(point, difference(outcome, base), outcome.seconds)


def replay(story: Story, number: int, fate: Fate, *, tell: bool = False) -> Result:
    """Play one point again, in this process, and compare it with a run without luck."""
    with workshop() as directory, quieted():
        base = _played(story, directory / "base", lambda *_: None)
        struck = [Point(story.name, number, fate, "there is no such call")]

        def once(call: Call, _loop: SimLoop, play: Play) -> Point | None:
            if call.number != number:
                return None
            struck.append(Point(story.name, number, fate, str(call)))
            if tell:
                play.tell()
            _alone(play, directory / "struck")
            return struck[-1]

        outcome = _played(story, directory / "again", once)
    return Result(struck[-1], difference(outcome, base), outcome.seconds)


def _alone(play: Play, directory: Path) -> None:
    """From here on a future goes its own way: its own files, and no more bad luck."""
    gc.disable()  # it lives for seconds, and a collection would copy all the pages that it shares
    play.house.gate.decide = lambda _: Fate.NONE
    play.house.move(directory)
    play.restart_clock()


def _played(
    story: Story, directory: Path, choose: Callable[[Call, SimLoop, Play], Point | None], *witnesses: Witness
) -> Outcome:
    """Play a story; `choose` gives the point that this future is about at its call, None at any other."""

    async def main(loop: SimLoop) -> Outcome:
        play, points = Play(loop, story, directory), [Point(story.name, 0, Fate.NONE, "the run without luck")]

        def decide(call: Call) -> Fate:
            point = choose(call, loop, play)
            points.extend([point] if point else [])
            return point.fate if point else Fate.NONE

        try:
            await play.given()
            gc.freeze()
            play.house.gate.witnesses += witnesses
            play.house.gate.decide = decide
            await play.perform()
            play.house.gate.decide = lambda _: Fate.NONE
            await play.rest(hours=points[-1].sits)
            return play.outcome()
        except AssertionError as error:
            return replace(play.result(), words=str(error))

    return simulate(main, seed=1)


def report(results: Iterator[Result], distinct: Distinct | None = None) -> int:
    """Print what went wrong as it does, and the sums; return how many were wrong and not known."""
    began, count, wrong = time.perf_counter(), 0, 0
    for result in results:
        count += 1
        if result.words:
            wrong += not known(result.words)
            say(
                f"{'KNOWN' if known(result.words) else 'WRONG'} {result.point.words}\n  {result.words}\n  {result.point.command}"
            )
    seconds = time.perf_counter() - began
    same = f", {distinct.left_out} deaths left out as the same as one that is played" if distinct else ""
    say(f"{count} futures in {seconds:.0f} s ({count / seconds:.1f} a second), {wrong} wrong{same}")
    return wrong


def main() -> int:
    """Sweep stories, or replay one point."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.sweep", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--story", action="append", choices=[story.name for story in STORIES])
    parser.add_argument("--every", type=int, default=1, help="take only every so-manieth point")
    parser.add_argument("--first", type=int, default=0, help="which of them to begin with")
    parser.add_argument("--width", type=int, default=2, help="processes at once")
    parser.add_argument("--call", type=int, help="replay one point: the call's number")
    parser.add_argument("--fate", type=Fate, default=Fate.BEFORE, choices=[f for f in Fate if f])
    parser.add_argument("--tell", action="store_true", help="print every write, crash and pass of a replay")
    given = parser.parse_args()
    stories = [story for story in STORIES if not given.story or story.name in given.story]
    if given.call is not None:
        return report(replay(story, given.call, given.fate, tell=given.tell) for story in stories[:1])
    wrong = 0
    for story in stories:
        say(f"{story.name}:")
        distinct = Distinct()
        told = sweep(story, width=given.width, every=given.every, first=given.first, distinct=distinct)
        wrong += report(told, distinct)
    return min(wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main())
