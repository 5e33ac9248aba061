"""Builds of several sizes against the physical critical path, in lab time, and how fast time goes in the simulation."""

import asyncio
import logging
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import structlog

from cpcd.lab.path import critical_path
from cpcd.lab.simloop import SimLoop, simulate
from tests.bench.row import Row
from tests.sim.gate import MemoryDisk
from tests.sim.house import House, settings_of, spec
from tests.sim.play import quieted
from tests.sim.stories import STORIES

__all__ = ["builds", "seeds"]

SIZES = ((1, 2, 3), (3, 27, 3), (3, 297, 1))  # control planes, workers, seeds: the largest takes minutes
WARM = 20.0  # seconds of lab time until the lab's statistics list the template
MEMORY = 2048 * 1024**3  # bytes a node: room for every machine
ROUND = 5  # seeds of a story

Tale = Callable[[House], Coroutine[Any, Any, None]]


def builds() -> Iterator[Row]:
    """Yield each size's time beside its bound, and the calls to Proxmox for each machine: medians over seeds."""
    for masters, workers, times in SIZES:
        took, calls = zip(*(_build(masters, workers, seed) for seed in range(1, times + 1)), strict=True)
        count, bound = masters + workers, critical_path(masters=masters, workers=workers)
        of = "one seed" if times == 1 else f"median of {times} seeds"
        note = f"bound {bound:.0f} s, {median(took) / bound:.3f} of it; {of}, {min(took):.0f} to {max(took):.0f}"
        if bound != (alone := critical_path(masters=masters, workers=workers, playbooks=count)):
            note += f"; it counts twelve playbooks at once (ADR 0020), and is {alone:.0f} s without them"
        yield Row(f"build of {count} machines", median(took), "s of lab time", round(1.05 * bound + 2, 1), note)
        yield Row(f"calls to Proxmox, build of {count} machines", median(calls) / count, "a machine", note=of)


def _build(masters: int, workers: int, seed: int) -> tuple[float, int]:
    """Build a cluster; return the seconds of lab time, and the calls to Proxmox."""
    took: list[float] = []

    async def tale(house: House) -> None:
        began = house.loop.time()
        await house.start()
        took.append(await house.converged(limit=7200) - began)

    house = _house(tale, masters, workers, seed)
    return took[0], sum(house.world.pve.calls.values())


def seeds() -> Iterator[Row]:
    """Yield how many seeds of all stories are played a second, a process at a time."""
    spent = [_seeds(first) for first in range(0, 3 * ROUND, ROUND)]
    note = f"{ROUND} of each of {len(STORIES)} stories, their beginnings included; of CPU time, median of 3"
    yield Row("simulated seeds", median(ROUND * len(STORIES) / seconds for seconds in spent), "a second", None, note)


def _seeds(first: int) -> float:
    """Play a range of seeds; return the seconds of CPU time of the process and its children."""
    command = [sys.executable, "-m", "tests.sim.seeds", "--width", "1", "--seeds", str(ROUND), "--first", str(first)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _house(tale: Tale, masters: int, workers: int, seed: int) -> House:
    houses: list[House] = []
    text = spec(masters=masters, workers=workers).replace("127.77.0.60", "127.77.3.250")
    text = text.replace(
        "  infrastructure:", "  clusterNetwork: {pods: {cidrBlocks: [10.128.0.0/12]}}\n  infrastructure:"
    )
    settings = settings_of()
    large = replace(settings, nodes=tuple(replace(node, memory=MEMORY) for node in settings.nodes))

    async def main(loop: SimLoop) -> None:
        with tempfile.TemporaryDirectory() as directory:
            # What is counted is cpcd and the lab: a watch would be part of the time.
            house = House(loop, Path(directory), text, disk=MemoryDisk(), installation=large, kinds=())
            houses.append(house)
            await asyncio.sleep(WARM)
            await tale(house)

    with quieted():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        simulate(main, seed=seed)
    return houses[0]
