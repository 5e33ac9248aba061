"""The ledger's condition: a disk that cannot be written is found out before something is begun, and its return, too."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.loop.interest import Interest
from cpcd.loop.memory import PROBE, THAW, Memory
from cpcd.loop.state import State
from cpcd.model.errors import Code, Failure
from cpcd.model.ledger import Change, Ledger, PutFact
from tests.unit.loop.engine import EPOCH, Disk

FULL, READ_ONLY = Failure(Code.STATE, "the disk is full"), Failure(Code.STATE, "the disk is read-only")
NAMED = PutFact("installation", "inst")


@dataclass
class Torn(Disk):
    """A disk whose ledger cannot be read while it is broken; a `cramped` one has room for an empty commit alone."""

    cramped: bool = False

    async def commit(self, changes: tuple[Change, ...]) -> None:
        if self.cramped and changes:
            raise FULL
        await super().commit(changes)

    async def load(self) -> Ledger:
        if self.broken is not None:
            raise self.broken
        return self.holds


@dataclass
class World:
    """A memory on a disk, how often the rest was told of a thaw, and how often the disk was tried."""

    loop: SimLoop
    disk: Torn = field(init=False)
    state: State = field(init=False)
    memory: Memory = field(init=False)
    thaws: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = SimClock(self.loop, EPOCH)
        self.disk = Torn(clock, [])
        self.state = State(
            journal=self.disk, clock=clock, tokens=lambda _change, _before: (), affected=lambda _change, _view: (),
            stale=lambda _change, _view: (), lasting=lambda _scope, _value: (), mint=lambda: "id", interest=Interest(lambda _key: None),
        )  # fmt: skip
        self.memory = Memory(
            state=self.state, journal=self.disk, clock=clock, thawed=self._thawed,
            first=lambda view: () if view.installation else (NAMED,),
        )  # fmt: skip

    async def _thawed(self) -> None:
        self.thaws.append(self.loop.time())

    async def live(self, seconds: float, *events: tuple[float, Callable[[], None]]) -> None:
        """Load, and watch for so long, while at these times something happens."""
        await self.memory.load()
        for at, event in events:
            self.loop.call_at(at, event)
        watch = asyncio.ensure_future(self.memory.watch())
        await asyncio.sleep(seconds)
        watch.cancel()
        await asyncio.wait({watch})

    def breaks(self, why: Failure | None) -> Callable[[], None]:
        """Return what breaks the disk, or mends it."""
        return lambda: setattr(self.disk, "broken", why)


def lived(seconds: float, *events: tuple[float, Failure | None], broken: Failure | None = None) -> World:
    """Return what has become of a memory whose disk broke and was mended at these times."""

    async def main(loop: SimLoop) -> World:
        world = World(loop)
        world.disk.broken = broken
        await world.live(seconds, *((at, world.breaks(why)) for at, why in events))
        return world

    return simulate(main, seed=0)


def test_what_has_to_be_there_before_anything_is_made_is_written_at_the_start() -> None:
    """And is in the view at once; a ledger that has it is left as it is."""

    async def main(loop: SimLoop) -> tuple[str, int, int]:
        world = World(loop)
        await world.memory.load()
        first = len(world.disk.trace)
        await world.memory.load()
        return world.state.view.installation, first, len(world.disk.trace)

    assert ("inst", 1, 1) == simulate(main, seed=0)


def test_a_disk_that_fills_up_is_found_out_though_nobody_writes() -> None:
    """By the second proof of a minute at the latest, and not by the operation that could not be remembered."""
    before, after = lived(PROBE - 1, (1, FULL)), lived(PROBE + THAW + 1, (1, FULL))

    assert (None, FULL) == (before.state.frozen, after.state.frozen)
    assert [] == after.thaws


def test_a_healthy_disk_is_proved_once_a_minute_and_no_oftener() -> None:
    """Each proof is a commit that is synced: an idle daemon is to leave disks asleep."""
    proofs = [line for line in lived(10 * PROBE + 5).disk.trace if line == "commit "]

    assert 8 <= len(proofs) <= 10


@pytest.mark.parametrize("broken", [None, FULL], ids=["filled-up", "full-at-the-start"])
def test_work_goes_on_seconds_after_a_disk_has_room_again(broken: Failure | None) -> None:
    """What could not be written at the start is, and the rest hears of it once."""
    world = lived(200, (1, FULL), (120, None), broken=broken)

    assert (None, "inst", 1) == (world.state.frozen, world.disk.holds.facts.get("installation"), len(world.thaws))
    assert 120 <= world.thaws[0] <= 120 + THAW + 1


def test_a_ledger_that_cannot_be_read_freezes_everything_and_is_never_taken_for_an_empty_one() -> None:
    """Nothing is raised: the daemon goes on to say so, and takes the ledger up when it can be read."""
    kept, mended = (lived(60, *events, broken=FULL) for events in ((), ((30, None),)))

    assert (FULL, {}) == (kept.state.frozen, dict(kept.disk.holds.facts))
    assert (None, "inst") == (mended.state.frozen, mended.state.view.installation)


def test_a_pass_that_meets_a_full_disk_is_not_waited_out() -> None:
    """It has frozen everything: room is looked for at once and not at the next proof."""

    async def main(loop: SimLoop) -> World:
        world = World(loop)
        await world.memory.load()
        watch = asyncio.ensure_future(world.memory.watch())
        world.disk.broken = FULL
        await world.memory.put(PutFact("x", 1))
        world.disk.broken = None
        await asyncio.sleep(THAW + 1)
        watch.cancel()
        await asyncio.wait({watch})
        return world

    world = simulate(main, seed=0)

    assert (None, 1, "x" in world.state.view.facts) == (world.state.frozen, len(world.thaws), False)


def test_a_disk_that_stays_full_is_told_once_and_again_in_other_words(caplog: pytest.LogCaptureFixture) -> None:
    """It lasts for hours and is tried every ten seconds."""
    lived(400, (1, FULL), (200, READ_ONLY), (300, None))

    assert [FULL.told, READ_ONLY.told, "the ledger can be written again"] == caplog.messages
    assert {"cpcd"} == {one.name for one in caplog.records}


def test_a_disk_with_no_room_for_what_comes_first_has_not_thawed(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is told that the ledger can be written again while its first change cannot."""

    async def main(loop: SimLoop) -> World:
        world = World(loop)
        world.disk.cramped = True
        await world.live(100)
        return world

    world = simulate(main, seed=0)

    assert (FULL, []) == (world.state.frozen, world.thaws)
    assert [FULL.told] == caplog.messages
