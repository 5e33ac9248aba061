"""The simulated event loop: virtual time, a seeded order of ready handles, and nothing real.

Time jumps to the next timer when nothing is ready, so a build of an hour takes a second. Sockets, threads and
subprocesses are refused: a simulation that touched one would not be repeatable.
"""

import asyncio
import collections
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

__all__ = ["RealWorldError", "SimClock", "SimLoop", "simulate"]

T = TypeVar("T")


class RealWorldError(RuntimeError):
    """Something in a simulation tried to use a socket, a thread or a process."""


class _NoSelector(selectors.BaseSelector):
    """A selector that never has anything and lets virtual time pass instead of waiting."""

    def __init__(self, loop: "SimLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RealWorldError("the simulation waits for ever: nothing is ready and no timer is set")
        self._loop.advance(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> NoReturn:
        raise RealWorldError("no sockets in a simulation")

    def unregister(self, fileobj: Any) -> NoReturn:
        raise RealWorldError("no sockets in a simulation")

    def get_map(self) -> Any:
        return {}

    def close(self) -> None:
        return


class SimLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time; `seed` decides the order of handles that are ready at once."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._virtual = 0.0
        self._dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._selector = _NoSelector(self)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return virtual seconds."""
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._virtual += max(0.0, seconds)

    def _run_once(self) -> None:
        ready: collections.deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined] # BaseEventLoop's own
        if len(ready) > 1:
            shuffled = list(ready)
            self._dice.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # type: ignore[misc] # BaseEventLoop's own

    def _process_events(self, event_list: list[Any]) -> None:
        return

    def _write_to_self(self) -> None:
        return

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> NoReturn:  # type: ignore[override]
        """Refuse: threads are not repeatable."""
        raise RealWorldError(f"no threads in a simulation ({func})")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: processes are not repeatable."""
        raise RealWorldError("no subprocesses in a simulation")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: processes are not repeatable."""
        raise RealWorldError("no subprocesses in a simulation")


class SimClock:
    """The clock of a simulation: the loop's virtual seconds."""

    def __init__(self, loop: SimLoop, epoch: float) -> None:
        self._loop, self._epoch = loop, epoch

    def now(self) -> float:
        """Return virtual seconds."""
        return self._loop.time()

    def wall(self) -> float:
        """Return virtual wall time."""
        return self._epoch + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep virtual seconds."""
        await asyncio.sleep(seconds)


def simulate(main: Callable[[SimLoop], Coroutine[Any, Any, T]], *, seed: int) -> T:
    """Run a coroutine to its end in a loop of its own and return what it returns."""
    loop = SimLoop(seed)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main(loop))
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
