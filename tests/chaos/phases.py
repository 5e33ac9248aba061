"""The phases of `make chaos`: which stories are told under which trouble, each in a town of its own.

A story that goes wrong ends its town, whose directory is kept; the next phase begins in a new one. Next: `report.py`.
"""

import asyncio
import itertools
import random
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from tests.chaos import troubles
from tests.chaos.disk import Disk, NoDiskError
from tests.chaos.spec import Wanted
from tests.chaos.stories import STORIES, Story
from tests.chaos.town import StuckError, Town
from tests.chaos.troubles import Record, Trouble
from tests.chaos.verify import Asked, before, verify

__all__ = ["PHASES", "Run"]

PATIENCE: Final = 180.0  # real seconds from the last trouble to the end of a story


class WrongError(Exception):
    """A story ended wrongly."""


@dataclass
class Run:
    """One run of the whole or of a part; `say` gets a line at a time, `told` has a record of each story."""

    seed: int
    kills: int
    rate: float
    net: int
    say: Callable[[str], None]
    wanted: Wanted = field(default_factory=Wanted)
    stories: Sequence[str] = tuple(STORIES)
    only: str = ""
    """A place, such as `disk` or `kills/3`, the third town of the kills; everything when empty."""
    began: float = field(default_factory=time.monotonic)
    told: list[Record] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def elapsed(self) -> float:
        """Real seconds since the beginning."""
        return time.monotonic() - self.began

    @property
    def wrong(self) -> list[str]:
        """All violations, each with where it was."""
        return [f"{one['place']}: {said}" for one in self.told for said in one["wrong"]]

    @property
    def killed(self) -> int:
        """How many times the daemon was killed so far."""
        return sum(one.get("kills", 0) for one in self.told)

    def seed_of(self, place: str) -> str:
        """Return the seed of everything that dice decide at a place."""
        return f"{self.seed}/{place}"

    async def play(self, town: Town, place: str, story: Story, trouble: Trouble) -> None:
        """Tell one story under a trouble and verify its end; raises StuckError when it has none, WrongError for one."""
        began, wrong = self.elapsed, list[str]()
        record: Record = {"place": f"{place}/{story.name}", "seed": town.seed, "wrong": wrong}
        self.told.append(record)
        try:
            was = await before(town)
            lab = await _time(town)
            asked = await story.ask(town, was)
            if town.daemon is None:
                await town.start()
            await trouble(town, asked, record)
            settled = await converge(town, asked)
            wrong += await verify(town, was, asked)
            record |= {"lab_seconds": round(await _time(town) - lab), "settled_after_lab_seconds": round(settled)}
        except StuckError as error:
            wrong.append(str(error))
            raise
        finally:
            record["seconds"] = round(self.elapsed - began, 1)
            self._tell(record)
        if wrong:
            raise WrongError

    def _tell(self, record: Record) -> None:
        minutes, seconds = divmod(int(self.elapsed), 60)
        self.say(f"[{minutes:2}:{seconds:02}] {record['place']}: {_words(record)}, {record['seconds']:.0f} s")
        for said in record["wrong"]:
            self.say(f"        WRONG {said}")

    @asynccontextmanager
    async def town(self, place: str, *, on: Disk | None = None) -> AsyncIterator[Town]:
        """Open a town for a place; its directory is kept when a story in it went wrong."""
        directory = on.place.parent if on else Path(tempfile.mkdtemp(prefix="cpcd-chaos-"))
        town = Town(directory, net=self.net, rate=self.rate, seed=self.seed_of(place), wanted=self.wanted)
        if on:
            town.state = on.place / "state"
        told = len(self.told)
        try:
            await town.open()
            yield town
        except WrongError:
            pass  # told already; what would follow in this town would only be its consequence
        except (StuckError, aiohttp.ClientError, OSError) as error:
            if not any(one["wrong"] for one in self.told[told:]):
                said = f"{type(error).__name__}: {error}"
                self.told.append({"place": f"{place}/town", "seed": town.seed, "wrong": [said]})
                self.say(f"        WRONG {said}")
        finally:
            await town.close()
            if any(one["wrong"] for one in self.told[told:]):
                self.say(f"        logs are kept in {directory}")
            elif on is None:
                shutil.rmtree(directory, ignore_errors=True)


def _words(record: Record) -> str:
    """Return what was done in a story, in a few words."""
    said = []
    if "kills" in record:
        said.append(f"{record['kills']} kills, {record['with_operations_open']} with operations open")
    if "faults" in record:
        struck = sum(sum(counts.values()) for counts in record["faults"].values())
        said.append(f"{struck} faults on {sum(record['connections'].values())} connections")
    if "disk" in record:
        said.append(f"disk {record['disk']}")
    if "lab_seconds_stopped" in record:
        said.append(f"stopped for {record['lab_seconds_stopped']} lab seconds")
    return ", ".join(said) or "no trouble came to it"


async def converge(town: Town, asked: Asked) -> float:
    """Wait until the story is over; return the lab seconds that it took. Raises StuckError with what is not Ready."""
    began, end = await _time(town), asyncio.get_running_loop().time() + PATIENCE
    while not await troubles.over(town, asked):
        town.check_alive()
        if asyncio.get_running_loop().time() > end:
            raise StuckError(f"not over within {PATIENCE:.0f} s: {await _picture(town)}")
        await asyncio.sleep(0.2)
    return await _time(town) - began


async def _time(town: Town) -> float:
    return float((await town.look.world())["time"])


async def _picture(town: Town) -> str:
    status = await town.look.status()
    if not status:
        return "the daemon does not answer"
    unready = [f"{one['name']}: {one['sentence']}" for one in status["objects"] if one["ready"] != "True"]
    open_ = [f"{one['verb']} of {one['object']} for {one['seconds']} s" for one in status["operations"]]
    return "; ".join([status["sentence"], *unready, *open_, *status["troubles"]])


async def kills(run: Run) -> None:
    """Kill the daemon at seeded moments in every story; in every second town connections break meanwhile."""
    if not run.kills:
        return
    _, _, chosen = run.only.partition("/")
    for number in [int(chosen)] if chosen else itertools.count(1):
        place = f"kills/{number}"
        dice, before_it = random.Random(run.seed_of(place)), run.killed
        async with run.town(place) as town:
            for story in (STORIES[name] for name in run.stories):
                most = min(run.kills - run.killed, story.kills)
                await run.play(town, place, story, troubles.kills(dice, most, roughly=number % 2 == 0))
        if run.killed in {run.kills, before_it}:
            return  # all are spent, or nobody could be killed: what went wrong is told, and would again


async def connections(run: Run) -> None:
    """Refuse, cut, delay, corrupt, half-close and silence connections."""
    async with run.town("connections") as town:
        for name in ("build", "scale up", "repair", "memory", "scale down", "roll"):
            await run.play(town, "connections", STORIES[name], troubles.rough)


async def disk(run: Run) -> None:
    """Fill the state disk, let it fall read-only under the daemon, let it be read-only at a start."""
    dice, directory = random.Random(run.seed_of("disk")), Path(tempfile.mkdtemp(prefix="cpcd-chaos-"))
    try:
        own = Disk(directory)
    except NoDiskError as error:
        run.skipped["disk"] = f"no disk can be mounted here: {error}"
        shutil.rmtree(directory)
        return
    if not own.breaks:
        run.skipped["disk that breaks under the daemon"] = own.why
    breaking = troubles.broken if own.breaks else troubles.full
    try:
        async with run.town("disk", on=own) as town:
            await run.play(town, "disk", STORIES["build"], troubles.full(dice, own))
            await run.play(town, "disk", STORIES["scale up"], breaking(dice, own))
            await run.play(town, "disk", STORIES["memory"], troubles.read_only(dice, own))
            await run.play(town, "disk", STORIES["scale down"], breaking(dice, own))
            await run.play(town, "disk", STORIES["roll"], troubles.full(dice, own))
    finally:
        wrong = any(one["wrong"] for one in run.told if one["place"].startswith("disk"))
        if wrong:
            shutil.copytree(own.place, directory / "kept")
        own.close()
        if not wrong:
            shutil.rmtree(directory, ignore_errors=True)


async def clock(run: Run) -> None:
    """Stop the daemon for some lab minutes, again and again, while the world goes on."""
    dice = random.Random(run.seed_of("clock"))
    async with run.town("clock") as town:
        for name, most in (("build", 3), ("scale up", 2), ("repair", 2), ("roll", 3)):
            await run.play(town, "clock", STORIES[name], troubles.stops(dice, most))


PHASES: Final = {"kills": kills, "connections": connections, "disk": disk, "clock": clock}
