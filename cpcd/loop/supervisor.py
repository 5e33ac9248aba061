"""Every task is owned: services are restarted with backoff when they end or fail, passes are bounded and awaited.

Nothing is fire and forget; a service's failure is reported, never swallowed, and never ends the daemon.
"""

import asyncio
from collections.abc import Awaitable, Callable

from cpcd.ports.clock import Clock

__all__ = ["Supervisor"]


class Supervisor:
    """A task group with names; `failed(name, error)` is told of every service that fell over."""

    def __init__(self, clock: Clock, failed: Callable[[str, BaseException], None]) -> None:
        self._clock = clock
        self._failed = failed
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def serve(self, name: str, service: Callable[[], Awaitable[None]]) -> None:
        """Run a service for good: it is started again, later each time up to a minute, when it ends or fails."""
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.create_task(self._forever(name, service), name=name)

    def end(self, name: str) -> None:
        """Cancel one service."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    def running(self) -> tuple[str, ...]:
        """Return the names of the services."""
        return tuple(self._tasks)

    async def stop(self) -> None:
        """Cancel everything and wait for it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _forever(self, name: str, service: Callable[[], Awaitable[None]]) -> None:
        pause = 1.0
        while True:
            began = self._clock.now()
            try:
                await service()
            except Exception as error:  # noqa: BLE001 - told and restarted; cancellation passes
                self._failed(name, error)
            # A service has no end of its own, so one that returned is started again like one that fell over.
            pause = 1.0 if self._clock.now() - began > 60 else min(60.0, pause * 2)
            await self._clock.sleep(pause)
