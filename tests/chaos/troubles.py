"""What is done to a daemon in the middle of a story: killed, cut off, its disk taken, stopped; figures go to its record.

A trouble ends with the daemon alive and its surroundings whole; that the story then ends well is verified elsewhere.
"""

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from tests.chaos.disk import Disk
from tests.chaos.moments import deal, strike
from tests.chaos.town import StuckError, Town
from tests.chaos.verify import Asked, arrived, autopsy

__all__ = ["Record", "Trouble", "broken", "full", "kills", "over", "read_only", "rough", "stops"]

Record = dict[str, Any]
Trouble = Callable[[Town, Asked, Record], Awaitable[None]]
ROUGH: Final = 30.0  # real seconds that the ways stay rough at most
SHOWN: Final = 15.0  # real seconds within which a disk without room must be known
HELD: Final = 2.0  # real seconds without room, 60 lab seconds and more
STOPPED: Final = (60.0, 360.0)  # lab seconds


async def over(town: Town, asked: Asked) -> bool:
    """Whether the story is over."""
    return arrived(await town.look.world(), asked) and await town.settled()


def kills(dice: random.Random, most: int, *, roughly: bool = False) -> Trouble:
    """Kill the daemon at up to `most` seeded moments, as long as the story lasts, starting it again each time.

    `roughly` lets connections break meanwhile.
    """

    async def trouble(town: Town, asked: Asked, record: Record) -> None:
        moments, caught = Counter[str](), Counter[str]()
        record |= {"kills": 0, "with_operations_open": 0, "by_moment": moments, "operations_open": caught}
        with _rough(town, record) if roughly else contextlib.nullcontext():
            for moment in (deal(dice) for _ in range(most)):
                kind = await strike(town, moment, lambda: over(town, asked))
                if kind is None:
                    break
                await town.kill()
                verbs, damage = autopsy(town.state)
                record["kills"] += 1
                record["with_operations_open"] += bool(verbs)
                moments[kind.value] += 1
                caught.update(verbs)
                record["wrong"] += [f"the ledger of a killed daemon: {damage}"] if damage else []
                await town.start()

    return trouble


async def rough(town: Town, asked: Asked, record: Record) -> None:
    """Let connections break until the story is over, 30 s at most; then they are whole again."""
    end = asyncio.get_running_loop().time() + ROUGH
    with _rough(town, record):
        while asyncio.get_running_loop().time() < end and not await over(town, asked):
            town.check_alive()
            await asyncio.sleep(0.25)


@contextlib.contextmanager
def _rough(town: Town, record: Record) -> Iterator[None]:
    """Let connections break for as long as the block lasts, and record how many did in which way."""
    ways = town.ways
    ways.struck.clear()
    ways.connections.clear()
    ways.rough = True
    try:
        yield
    finally:
        ways.rough = False
        record["connections"] = dict(ways.connections)
        record["faults"] = {name: dict(count) for name, count in ways.struck.items()}


def full(dice: random.Random, disk: Disk) -> Trouble:
    """Fill the state disk at a seeded moment and give the space back."""

    async def trouble(town: Town, asked: Asked, record: Record) -> None:
        await asyncio.sleep(dice.uniform(1.5, 6))
        record["disk"] = "full"
        disk.fill()
        try:
            await _frozen(town, record)
        finally:
            disk.free()

    return trouble


def broken(dice: random.Random, disk: Disk) -> Trouble:
    """Let the state disk fall read-only under the running daemon; it is mended, and the daemon started again."""

    async def trouble(town: Town, asked: Asked, record: Record) -> None:
        await asyncio.sleep(dice.uniform(1.5, 6))
        record["disk"] = "read-only under the daemon"
        disk.fail()
        await _frozen(town, record)
        await town.kill()
        disk.mend()
        await town.start()

    return trouble


def read_only(dice: random.Random, disk: Disk) -> Trouble:
    """Kill the daemon, let it find its state disk read-only, which it must refuse in a sentence, and give it back."""

    async def trouble(town: Town, asked: Asked, record: Record) -> None:
        await asyncio.sleep(dice.uniform(1.5, 6))
        await town.kill()
        record["disk"] = "read-only at the start"
        disk.read_only(True)
        try:
            said = await _refused(town)
        finally:
            disk.read_only(False)
        record["wrong"] += [] if "CPCD-108" in said else [f"a start on a read-only disk said: {said[-300:]}"]
        await town.start()

    return trouble


def stops(dice: random.Random, most: int) -> Trouble:
    """Stop the daemon with SIGSTOP for some lab minutes, up to `most` times, and let it go on."""

    async def trouble(town: Town, asked: Asked, record: Record) -> None:
        record["lab_seconds_stopped"] = stopped = list[int]()
        for _ in range(most):
            await asyncio.sleep(dice.uniform(1.0, 5.0))
            if await over(town, asked):
                break
            town.check_alive()
            seconds = dice.uniform(*STOPPED)
            town.signal(signal.SIGSTOP)
            await town.look.sleep(seconds)
            town.signal(signal.SIGCONT)
            stopped.append(round(seconds))

    return trouble


async def _frozen(town: Town, record: Record) -> None:
    """Wait until the daemon says that its ledger cannot be written, and hold that it writes nothing meanwhile."""
    began = asyncio.get_running_loop().time()
    while not any("CPCD-108" in told for told in (await town.look.status()).get("troubles", [])):
        town.check_alive()
        if asyncio.get_running_loop().time() - began > SHOWN:
            raise StuckError("a ledger that cannot be written is not told")
        await asyncio.sleep(0.1)
    record["told_after_lab_seconds"] = [round((asyncio.get_running_loop().time() - began) * town.rate)]
    await asyncio.sleep(0.5)  # what was sent before is on its way
    writes = await _writes(town)
    await asyncio.sleep(HELD)
    more = await _writes(town) - writes
    record["wrong"] += [f"{more} writes to Proxmox while the ledger could not be written"] if more else []


async def _writes(town: Town) -> int:
    calls = (await town.look.calls())["proxmox"]
    return sum(count for call, count in calls.items() if not call.startswith("GET"))


async def _refused(town: Town) -> str:
    """Start a daemon that must not stay; return what it said."""
    offset = town.log.stat().st_size
    await town.start()
    assert town.daemon is not None
    try:
        await asyncio.wait_for(town.daemon.wait(), 20)
    except TimeoutError:
        await town.kill()
        return "nothing, and stayed"
    code, town.daemon = town.daemon.returncode, None
    text = town.log.read_bytes()[offset:].decode(errors="replace")
    return text if code == 1 else f"exit {code}: {text}"
