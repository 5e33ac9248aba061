"""Builds of several sizes against the physical critical path, and what an idle installation costs; in lab time."""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from cpcd.lab.path import critical_path
from cpcd.lab.simloop import SimLoop, simulate
from tests.bench.row import Row
from tests.sim.gate import MemoryDisk
from tests.sim.house import House, settings_of, spec
from tests.sim.play import quieted

__all__ = ["builds", "idle"]

SIZES = ((1, 2), (3, 27), (3, 297))
WARM = 20.0  # seconds of lab time until the lab's statistics list the template
MEMORY = 2048 * 1024**3  # bytes a node: room for every machine
TICK, IDLE = 10.0, 600.0

Tale = Callable[[House], Coroutine[Any, Any, None]]


def builds() -> Iterator[Row]:
    """Yield each size's time beside its bound, and the calls to Proxmox for each machine."""
    for masters, workers in SIZES:
        took: list[float] = []

        async def tale(house: House, took: list[float] = took) -> None:
            began = house.loop.time()
            await house.start()
            took.append(await house.converged(limit=7200) - began)

        house = _house(tale, masters, workers)
        count, bound = masters + workers, critical_path(masters=masters, workers=workers)
        note = f"bound {bound:.0f} s, {took[0] / bound:.3f} of it"
        yield Row(f"build of {count} machines", took[0], "s of lab time", round(1.05 * bound + 2, 1), note)
        calls = sum(house.world.pve.calls.values()) / count
        yield Row(f"calls to Proxmox, build of {count} machines", calls, "a machine")


def idle() -> Iterator[Row]:
    """Yield the calls of a tick and the wake-ups a second of ten machines at rest, over ten minutes."""
    calls: list[int] = []
    wakes: list[int] = []

    async def tale(house: House) -> None:
        await house.start()
        await house.converged(limit=7200)
        await asyncio.sleep(60)
        for count in (0, 1):
            calls.append(sum(house.world.pve.calls.values()))
            wakes.append(house.loop.wakes)
            await asyncio.sleep(IDLE * (1 - count))

    _house(tale, 3, 7)
    ticks = IDLE / TICK
    yield Row(
        "calls to Proxmox at rest, 10 machines", (calls[1] - calls[0]) / ticks, "a tick", None, "all but bulk included"
    )
    yield Row("wake-ups at rest, 10 machines", (wakes[1] - wakes[0]) / IDLE, "a second", 2, "the lab's own included")


def _house(tale: Tale, masters: int, workers: int) -> House:
    houses: list[House] = []
    text = spec(masters=masters, workers=workers).replace("127.77.0.60", "127.77.3.250")
    settings = settings_of()
    large = replace(settings, nodes=tuple(replace(node, memory=MEMORY) for node in settings.nodes))

    async def main(loop: SimLoop) -> None:
        with tempfile.TemporaryDirectory() as directory:
            house = House(loop, Path(directory), text, disk=MemoryDisk(), installation=large)
            houses.append(house)
            await asyncio.sleep(WARM)
            await tale(house)

    with quieted():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        simulate(main, seed=1)
    return houses[0]
