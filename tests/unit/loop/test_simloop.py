"""The simulated loop: repeatable from its seed, as fast as its work, and out of touch with the real world."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cpcd.lab.simloop import RealWorldError, SimClock, SimLoop, simulate


async def _race(loop: SimLoop) -> list[tuple[str, float]]:
    trace: list[tuple[str, float]] = []

    async def runner(name: str) -> None:
        for lap in range(3):
            await asyncio.sleep(0 if lap % 2 else 1)
            trace.append((f"{name}{lap}", loop.time()))

    await asyncio.gather(*(runner(name) for name in "abcdef"))
    return trace


@pytest.mark.parametrize("seed", range(4))
def test_the_same_seed_gives_the_same_trace(seed: int) -> None:
    """A failure of a simulation can be run again."""
    assert simulate(_race, seed=seed) == simulate(_race, seed=seed)


def test_other_seeds_give_other_orders() -> None:
    """What is ready at once is tried in many orders."""
    assert len({tuple(simulate(_race, seed=seed)) for seed in range(8)}) > 4


def test_time_jumps_to_the_next_timer() -> None:
    """A month takes no time."""

    async def main(loop: SimLoop) -> tuple[float, float]:
        clock = SimClock(loop, 1e9)
        await clock.sleep(30 * 86400)
        return clock.now(), clock.wall()

    assert (30 * 86400, 1e9 + 30 * 86400) == simulate(main, seed=0)


async def _socket(_loop: SimLoop) -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def _name(loop: SimLoop) -> None:
    await loop.getaddrinfo("localhost", 80)


async def _thread(_loop: SimLoop) -> None:
    await asyncio.to_thread(print)


async def _process(_loop: SimLoop) -> None:
    await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")


async def _shell(_loop: SimLoop) -> None:
    await asyncio.create_subprocess_shell("true")


@pytest.mark.parametrize("reach", [_name, _thread, _process, _shell])
def test_the_real_world_is_refused(reach: Callable[[SimLoop], Coroutine[Any, Any, None]]) -> None:
    """Threads and processes are not repeatable."""
    with pytest.raises(RealWorldError):
        simulate(reach, seed=0)


def test_sockets_are_refused() -> None:
    """Nothing leaves the process: by name the loop says so, by address asyncio's own base class does."""
    with pytest.raises((RealWorldError, NotImplementedError)):
        simulate(_socket, seed=0)


def test_waiting_for_what_never_comes_is_an_error_and_no_hang() -> None:
    """A deadlock of a simulation is found at once."""

    async def main(_loop: SimLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(RealWorldError, match="waits for ever"):
        simulate(main, seed=0)


def test_what_is_left_running_is_cancelled_at_the_end() -> None:
    """One simulation leaves nothing to the next."""
    ended: list[str] = []

    async def main(_loop: SimLoop) -> asyncio.Task[None]:
        async def forever() -> None:
            try:
                await asyncio.sleep(1e9)
            finally:
                ended.append("yes")

        task = asyncio.create_task(forever())
        await asyncio.sleep(0.1)
        return task

    task = simulate(main, seed=0)

    assert (["yes"], True) == (ended, task.cancelled())
