"""Time: a lab's fast clock, and a wall clock that was stepped and makes nobody late."""

import asyncio
from dataclasses import dataclass

import pytest

from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.loop.clock import SteadyClock, WallClock


@dataclass
class Moved:
    """A clock that a test moves: `wall` may be stepped away from `now`."""

    time: float = 0.0
    step: float = 0.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1_000_000.0 + self.time + self.step

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    def timeout(self, seconds: float) -> asyncio.Timeout:
        raise AssertionError(seconds)


def after(step: float, *passed: float) -> list[float]:
    """Return how far a steady clock is from the truth after a step, each so many seconds later."""
    moved = Moved()
    clock = SteadyClock(moved)
    moved.step = step
    gaps = []
    for seconds in passed:
        moved.time += seconds
        gaps.append(moved.wall() - clock.wall())
    return gaps


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_an_hour_is_made_up_for_by_a_quarter_of_each_second(step: float) -> None:
    """`failures.md` D12: no deadline is missed, no operation looks older than it is."""
    assert [step - step / 3600 * 25, step - step / 3600 * 100] == after(step, 100.0, 300.0)


@pytest.mark.parametrize("step", [2.5, -2.5, 2.0])
def test_a_small_step_is_made_up_for_as_soon_as_a_quarter_allows(step: float) -> None:
    """Ten seconds make up for two and a half, exactly."""
    assert [0.0] == after(step, 10.0)


def test_without_a_step_time_goes_on_at_its_own_pace() -> None:
    """Whatever the rhythm in which it is asked."""
    assert [0.0, 0.0, 0.0] == after(0.0, 0.5, 60.0, 0.0)


@pytest.mark.parametrize(("step", "wanted"), [(86_401.0, 0.0), (-86_401.0, 0.0), (86_400.0, 86_375.0)])
def test_a_clock_that_was_never_right_is_followed_at_once(step: float, wanted: float) -> None:
    """More than a day is no step but a first setting: a machine without a battery."""
    assert [wanted] == after(step, 100.0)


def test_a_steady_clock_sleeps_and_counts_as_the_one_below_it() -> None:
    """Only the wall is smoothed."""

    async def main(loop: SimLoop) -> tuple[float, float]:
        clock = SteadyClock(SimClock(loop, 0.0))
        began = clock.now()
        await clock.sleep(7)
        return clock.now() - began, loop.time()

    assert (7.0, 7.0) == simulate(main, seed=0)


def test_a_fast_clock_goes_from_its_epoch_at_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's: a real second is sixty of the world's, and sleeping takes a sixtieth."""
    real = [50.0]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("time.monotonic", lambda: real[0])
    monkeypatch.setattr(asyncio, "sleep", sleep)
    clock = WallClock(60.0, epoch=1_000.0)
    real[0] += 2.0
    asyncio.run(clock.sleep(30))

    assert (120.0, 1_120.0, [0.5]) == (clock.now(), clock.wall(), slept)


def test_without_an_epoch_the_wall_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be stepped; that is `SteadyClock`'s business."""
    monkeypatch.setattr("time.time", lambda: 77.0)

    assert 77.0 == WallClock().wall()


@pytest.mark.parametrize(("takes", "expected"), [(4.0, ["came"]), (6.0, ["cancelled", "late"])])
def test_a_wait_has_an_end_by_the_worlds_clock(takes: float, expected: list[str]) -> None:
    """What comes in time is returned; what does not is cancelled, and the waiter is told."""
    ended: list[str] = []

    async def slow(clock: SteadyClock) -> str:
        try:
            await clock.sleep(takes)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return "came"

    async def main(loop: SimLoop) -> float:
        clock = SteadyClock(SimClock(loop, 0.0))
        try:
            async with clock.timeout(5.0):
                ended.append(await slow(clock))
        except TimeoutError:
            ended.append("late")
        return loop.time()

    assert (min(takes, 5.0), expected) == (simulate(main, seed=0), ended)


def test_what_fails_while_it_is_waited_for_is_no_time_out() -> None:
    """Its own failure is raised, at the moment at which it failed."""

    async def broken(clock: SimClock) -> None:
        await clock.sleep(1)
        raise KeyError

    async def main(loop: SimLoop) -> float:
        clock = SimClock(loop, 0.0)
        with pytest.raises(KeyError):
            async with clock.timeout(5.0):
                await broken(clock)
        return loop.time()

    assert 1.0 == simulate(main, seed=0)


def test_a_fast_clock_waits_so_much_shorter() -> None:
    """Thirty seconds of the lab's are half a real one."""

    async def main() -> float:
        async with WallClock(60.0).timeout(30) as waiting:
            return (waiting.when() or 0.0) - asyncio.get_running_loop().time()

    assert 0.0 < asyncio.run(main()) <= 0.5
