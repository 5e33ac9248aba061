"""The simulated event loop: nothing real is reached, time jumps, and one seed is one order."""

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cpcd.lab.simloop import RealWorldError, SimLoop, simulate

REACHES: dict[str, Callable[[SimLoop], Any]] = {
    "a connection": lambda _: asyncio.open_connection("127.0.0.1", 1),
    "a Unix connection": lambda _: asyncio.open_unix_connection("/nowhere"),
    "a server": lambda _: asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0),
    "a datagram endpoint": lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0)),
    "sock_connect": lambda loop: loop.sock_connect(socket.socket.__new__(socket.socket), ("127.0.0.1", 1)),
    "sock_accept": lambda loop: loop.sock_accept(socket.socket.__new__(socket.socket)),
    "a watched descriptor": lambda loop: loop.add_reader(0, print),
    "a name": lambda loop: loop.getaddrinfo("localhost", 1),
    "a thread": lambda _: asyncio.to_thread(print),
    "an executor": lambda loop: loop.run_in_executor(None, print),
    "another thread's call": lambda loop: loop.call_soon_threadsafe(print),
    "a program": lambda _: asyncio.create_subprocess_exec("true"),
    "a shell": lambda _: asyncio.create_subprocess_shell("true"),
    "a pipe": lambda loop: loop.connect_read_pipe(asyncio.Protocol, None),
    "a signal": lambda loop: loop.add_signal_handler(2, print),
    "a socket past the loop": lambda _: socket.socket(),
    "a connection past the loop": lambda _: socket.create_connection(("127.0.0.1", 1)),
    "a name past the loop": lambda _: socket.gethostbyname("localhost"),
    "a thread past the loop": lambda _: threading.Thread(target=print).start(),
    "a pool of threads": lambda _: ThreadPoolExecutor().submit(print),
    "a timer": lambda _: threading.Timer(0, print).start(),
    "a program past the loop": lambda _: subprocess.run(["true"], check=True),
    "a shell past the loop": lambda _: os.system("true"),  # noqa: S605
    "a spawned program": lambda _: os.posix_spawn("/bin/true", ["true"], {}),
    "a fork": lambda _: os.fork() or os._exit(0),
}


@pytest.mark.parametrize("what", REACHES)
def test_the_real_world_is_refused(what: str) -> None:
    """Whatever reaches out of the process is refused by name before it is begun."""

    async def main(loop: SimLoop) -> None:
        reached = REACHES[what](loop)
        if asyncio.iscoroutine(reached):
            await reached

    with pytest.raises(RealWorldError, match=r"no (sockets|threads|subprocesses|signals) in a simulation"):
        simulate(main, seed=1)


def test_outside_of_a_simulation_nothing_is_refused() -> None:
    """What is listened to for the whole process is refused only while a simulated loop runs, and in its thread."""

    async def main(_: SimLoop) -> None:
        return

    simulate(main, seed=1)
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    socket.socket().close()
    subprocess.run(["true"], check=True)

    assert done == [1]


def test_a_simulation_that_waits_for_nothing_says_so() -> None:
    """A future that nobody sets and no timer: in reality a hang, here an error."""

    async def main(_: SimLoop) -> None:
        await asyncio.Future()

    with pytest.raises(RealWorldError, match="waits for ever"):
        simulate(main, seed=1)


def order(seed: int) -> list[int]:
    """Return in which order ten tasks run that are ready at once, time and again."""
    ran: list[int] = []

    async def one(number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            ran.append(number)

    async def main(_: SimLoop) -> None:
        await asyncio.wait({asyncio.create_task(one(number)) for number in range(10)})

    simulate(main, seed=seed)
    return ran


def test_a_seed_is_an_order() -> None:
    """The same seed gives the same order, another one another, and all of them the same work."""
    orders = [order(seed) for seed in (1, 1, 2)]

    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_time_jumps() -> None:
    """A day passes at once and exactly."""

    async def main(loop: SimLoop) -> float:
        await asyncio.sleep(86_400)
        return loop.time()

    assert simulate(main, seed=1) == pytest.approx(86_400)


def test_a_judge_has_the_last_word() -> None:
    """What somebody who watched has found fails the simulation, whatever its coroutine returned."""

    async def main(loop: SimLoop) -> str:
        def judge() -> None:
            raise AssertionError(f"broken at {loop.time():.0f} s")

        loop.judges.append(judge)
        await asyncio.sleep(7)
        return "well"

    with pytest.raises(AssertionError, match="broken at 7 s"):
        simulate(main, seed=1)


def test_sets_of_tasks_have_one_order() -> None:
    """A task's hash is its number, so that a set of tasks is walked in the order of their birth."""

    async def main(_: SimLoop) -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(0), name=str(number)) for number in range(7)}
        await asyncio.wait(tasks)
        return [task.get_name() for task in tasks]

    assert simulate(main, seed=1) == [str(number) for number in range(7)]


def test_a_forgotten_generator_is_closed_on_the_spot() -> None:
    """The collector comes at no set time; what it closes is scheduled nowhere."""
    closed: list[float] = []

    async def main(loop: SimLoop) -> None:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                closed.append(loop.time())

        async for _ in numbers():
            break
        await asyncio.sleep(5)

    simulate(main, seed=1)

    assert closed == [0.0]
