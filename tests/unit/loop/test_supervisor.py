"""Services: started again with growing pauses, told of when they fall, and never left behind."""

import asyncio
from collections.abc import Awaitable, Callable

from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.loop.supervisor import Supervisor


def test_a_service_that_falls_is_started_again_later_each_time_up_to_a_minute() -> None:
    """Two seconds, four, eight … sixty."""

    async def main(loop: SimLoop) -> tuple[list[float], list[str]]:
        starts, told = [], []

        async def service() -> None:
            starts.append(loop.time())
            raise ConnectionError("gone")

        supervisor = Supervisor(SimClock(loop, 0), lambda name, error: told.append(f"{name}: {error}"))
        supervisor.serve("watch", service)
        await asyncio.sleep(250)
        await supervisor.stop()
        return starts, told

    starts, told = simulate(main, seed=0)

    pauses = [later - sooner for sooner, later in zip(starts, starts[1:], strict=False)]
    assert [2, 4, 8, 16, 32, 60, 60, 60] == pauses
    assert ["watch: gone"] * len(starts) == told


def test_a_service_that_ends_by_itself_is_started_again_in_silence() -> None:
    """A watch that the server closed is no failure."""

    async def main(loop: SimLoop) -> tuple[int, list[str]]:
        starts, told = [], []

        async def service() -> None:
            starts.append(loop.time())

        supervisor = Supervisor(SimClock(loop, 0), lambda name, _error: told.append(name))
        supervisor.serve("watch", service)
        await asyncio.sleep(7)
        await supervisor.stop()
        return len(starts), told

    assert (3, []) == simulate(main, seed=0)


def test_a_long_good_run_forgives_the_pauses() -> None:
    """A fall after an hour is the first one again."""

    async def main(loop: SimLoop) -> list[float]:
        starts: list[float] = []

        async def service() -> None:
            starts.append(loop.time())
            await asyncio.sleep(3600 if len(starts) == 4 else 0)
            raise ConnectionError("gone")

        supervisor = Supervisor(SimClock(loop, 0), lambda _name, _error: None)
        supervisor.serve("watch", service)
        await asyncio.sleep(4000)
        await supervisor.stop()
        return starts

    starts = simulate(main, seed=0)

    assert [2, 4, 8, 3601, 2] == [later - sooner for sooner, later in zip(starts[:6], starts[1:6], strict=False)]


def test_serving_a_name_twice_runs_one() -> None:
    """A spec that is put in force again starts no second watch."""

    async def main(loop: SimLoop) -> tuple[int, tuple[str, ...]]:
        starts: list[float] = []

        async def service() -> None:
            starts.append(loop.time())
            await asyncio.sleep(1e6)

        supervisor = Supervisor(SimClock(loop, 0), lambda _name, _error: None)
        supervisor.serve("watch", service)
        supervisor.serve("watch", service)
        await asyncio.sleep(1)
        names = supervisor.running()
        await supervisor.stop()
        return len(starts), names

    assert (1, ("watch",)) == simulate(main, seed=0)


def test_stop_waits_until_every_service_has_cleaned_up() -> None:
    """Nothing runs behind a stopped supervisor, and cancelling is no failure."""

    async def main(loop: SimLoop) -> tuple[list[str], list[str], tuple[str, ...]]:
        cleaned, told = [], []

        def service(name: str) -> Callable[[], Awaitable[None]]:
            async def serve() -> None:
                try:
                    await asyncio.sleep(1e6)
                finally:
                    await asyncio.sleep(1)
                    cleaned.append(name)

            return serve

        supervisor = Supervisor(SimClock(loop, 0), lambda name, _error: told.append(name))
        for name in "ab":
            supervisor.serve(name, service(name))
        await asyncio.sleep(5)
        await supervisor.stop()
        return sorted(cleaned), told, supervisor.running()

    assert (["a", "b"], [], ()) == simulate(main, seed=0)


def test_ending_one_service_leaves_the_others() -> None:
    """A document that is gone ends its watch alone."""

    async def main(loop: SimLoop) -> tuple[str, ...]:
        async def service() -> None:
            await asyncio.sleep(1e6)

        supervisor = Supervisor(SimClock(loop, 0), lambda _name, _error: None)
        supervisor.serve("a", service)
        supervisor.serve("b", service)
        supervisor.end("a")
        supervisor.end("never")
        left = supervisor.running()
        await supervisor.stop()
        return left

    assert ("b",) == simulate(main, seed=0)
