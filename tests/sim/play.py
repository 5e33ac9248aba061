"""One story played once: a house with somebody else's VMs in it, every invariant on it, and a reaper for its daemons.

The luck is somebody else's: `house.gate.decide` says what becomes of each call. Next: `sweep.py`, `seeds.py`.
"""

import asyncio
import hashlib
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from cpcd.lab.simloop import SimLoop
from tests.sim.branches import Outcome
from tests.sim.deeds import Deeds
from tests.sim.gate import Call, MemoryDisk, Witness
from tests.sim.house import House
from tests.sim.invariant import Invariant
from tests.sim.stories import Story, end_state
from tests.sim.watch import INVARIANTS

__all__ = ["Play", "quieted", "say", "workshop"]

SHM = Path("/dev/shm")
BUILD_LIMIT = 1800.0
RESYNC = 660.0  # seconds: cpcd/loop/dispatcher.py, with its jitter
LAG = 5.0  # seconds until Kubernetes' own controllers have taken note of the last write


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Trace(Witness):
    """A hash over everything that went through the gate, with its time: two runs are the same or they are not."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def calling(self, call: Call) -> None:
        run = (call.run.number, str(call.run.key)) if call.run else ()
        self._add(
            f"{call.number} {call.at!r} {call.life} {call.port} {call.verb} {call.target} {run} {self._given(call)}"
        )

    def called(self, call: Call, answer: Any) -> None:
        self._add(f"{call.number} {type(answer).__name__} {getattr(answer, 'status', '')}")

    def passed(self, done: Any) -> None:
        self._add(f"{done.key} {done.run} {done.outcome} {done.sentence} {done.next_in}")

    @staticmethod
    def _given(call: Call) -> str:
        return repr(sorted((name, repr(value)) for name, value in call.given.items()))

    def _add(self, line: str) -> None:
        self._hash.update(line.encode())

    def digest(self) -> str:
        """Return the hash so far."""
        return self._hash.hexdigest()[:16]


class Teller(Witness):
    """Prints what happens, for whoever replays a run."""

    def calling(self, call: Call) -> None:
        if call.writes:
            say(f"{call.at:9.2f}    {call}")

    def called(self, call: Call, answer: Any) -> None:
        if isinstance(answer, Exception):
            say(f"{call.at:9.2f}    {call}: {answer}")

    def crashed(self) -> None:
        say("             the daemon dies")


class Play:
    """A story on its stage; `luck` throws for what the world does between two lives."""

    def __init__(
        self,
        loop: SimLoop,
        story: Story,
        directory: Path,
        *,
        seed: int = 1,
        kinds: Iterable[type[Invariant]] = INVARIANTS,
    ) -> None:
        self.loop, self.story = loop, story
        self.house = House(loop, directory, story.given, seed=seed, disk=MemoryDisk(), kinds=kinds)
        loop.judges.clear()  # `outcome` judges: what it finds is how the run went
        self.luck = random.Random(seed)
        self._neighbours()
        self.watch = self.house.watch
        self.deeds, self.trace = Deeds(self.house), Trace()
        self.house.gate.witnesses.append(self.deeds)
        self._reaper = asyncio.ensure_future(self._reap())
        self._lives: set[asyncio.Future[Any]] = set()
        self.restart_clock()

    def record(self) -> None:
        """Take everything that happens into the trace from now on."""
        self.house.gate.witnesses.append(self.trace)
        self.watch.listeners.append(self.trace.passed)

    def tell(self) -> None:
        """Print every write, crash and pass from now on."""
        self.house.gate.witnesses.append(Teller())
        at = self.loop.time
        told = lambda done: say(f"{at():9.2f} {done.outcome:8} {done.key} {done.sentence}")  # noqa: E731
        self.watch.listeners.append(told)

    def _neighbours(self) -> None:
        """VMs of others beside ours, inside our range of VMIDs too, one of them of another cpcd."""
        self.house.plant(10_003, "pve2", "somebody", running=True)
        self.house.plant(10_005, "pve1", "other-general-1", "cpcd/1 0123456789ab other 0a1b2c3d4e5f 5f4e3d2c1b0a")
        self.house.plant(200, "pve3", "elsewhere")

    def begin(self) -> None:
        """Start the first daemon."""
        self._live()

    async def given(self) -> None:
        """Build what is there before the story begins."""
        if self.story.built:
            self.begin()
            await self.house.until(self.settled, limit=BUILD_LIMIT, what=f"{self.story.name}: what is given")
            await self._deployed()
        self.deeds.begin()

    async def _deployed(self) -> None:
        """Run what people run."""
        for app in self.story.apps:
            app.deploy(self.house)
        running = lambda: all(app.runs(self.house) for app in self.story.apps)  # noqa: E731
        await self.house.until(running, limit=60, what=f"{self.story.name}: what people run")

    async def perform(self, *, over: Callable[[], bool] = lambda: True) -> None:
        """Do what the story does and wait for its end; `over` says that the luck has been spent."""
        if not self.story.built:
            self.begin()
        for act in self.story.acts:
            await asyncio.sleep(act.after)
            act(self.house)
        await self.house.until(
            lambda: over() and self.settled() and self.story.reached(self.house),
            limit=self.story.limit,
            what=f"the end of {self.story.name}",
        )
        await asyncio.sleep(LAG)
        await self.house.until(self.settled, limit=self.story.limit, what=f"the end of {self.story.name}, still")

    async def rest(self, *, hours: bool) -> None:
        """Let three resyncs pass, in which nothing is to happen: asked for at once, or each in its own time."""
        await asyncio.sleep(LAG)
        await self.house.until(self.settled, limit=self.story.limit, what="settled again")
        await self.watch.quiet((lambda: asyncio.sleep(RESYNC)) if hours else self._look_again)
        self.watch.check()

    async def _look_again(self) -> None:
        """Ask for a pass over every object, as `cpcd reconcile` does, and wait until each has had it."""
        daemon = self.house.daemon
        assert daemon is not None, "a settled house has a daemon"
        left = set(daemon.keys())
        done = lambda one: left.discard(one.key)  # noqa: E731
        self.watch.listeners.append(done)
        for key in daemon.keys():
            daemon.dispatcher.reset(key)
        await self.house.until(lambda: not left and self.settled(), limit=60, what="a look at everything")
        self.watch.listeners.remove(done)

    def settled(self) -> bool:
        """Whether the house is settled; raises the first breach of an invariant."""
        self.watch.check()
        return self.house.settled()

    def outcome(self) -> Outcome:
        """Tell all invariants that it is over and return how it went; raises the first breach."""
        self.watch.over()
        return self.result()

    def result(self) -> Outcome:
        """Return how it went."""
        return Outcome(
            end=tuple(end_state(self.house, renames=self.story.renames)), deeds=self.deeds.done(), calls=self.house.gate.calls - self._calls,
            seconds=time.process_time() - self._began, lab=self.loop.time() - self._lab, trace=self.trace.digest(),
            known=tuple(sorted(self.watch.known)),
        )  # fmt: skip

    def restart_clock(self) -> None:
        """Count calls and seconds from now on, as a branch does."""
        self._began, self._calls, self._lab = time.process_time(), self.house.gate.calls, self.loop.time()

    def _live(self) -> None:
        life = asyncio.ensure_future(self.house.start())
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    async def _reap(self) -> None:
        """Bury each daemon that dies and start another after some seconds."""
        while True:
            await self.house.gate.dead.wait()
            if self.house.daemon is not None:
                await self.house.crash()
            await asyncio.sleep(self.luck.uniform(0.2, 8))
            self.house.gate.dead.clear()  # now, not when the new life's first step comes: it would be buried alive
            self._live()


@contextmanager
def quieted() -> Iterator[None]:
    """Give back the logs' configuration, which a watch takes."""
    kept, handlers, level = structlog.get_config(), logging.root.handlers, logging.getLogger("cpcd").level
    try:
        yield
    finally:
        structlog.configure(**kept)
        logging.root.handlers = handlers
        logging.getLogger("cpcd").setLevel(level)


@contextmanager
def workshop() -> Iterator[Path]:
    """A directory for the small files of many houses, in memory where there is such a place."""
    with tempfile.TemporaryDirectory(prefix="cpcd-sim-", dir=SHM if SHM.is_dir() else None) as name:
        yield Path(name)
