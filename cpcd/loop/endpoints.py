"""One owner of connectivity per endpoint: up or down, since when and why; keys park on a down one.

Only the owner (the observer of that endpoint) says that it is up again; a pass that meets silence says that it is
down. Nobody else probes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cpcd.ports.clock import Clock

__all__ = ["Endpoint", "Endpoints"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """State of one endpoint; `since` is wall time of the last change."""

    name: str
    up: bool
    since: float
    why: str = ""


class Endpoints:
    """All endpoints; `signal` wakes the keys parked on one."""

    def __init__(self, clock: Clock, signal: Callable[[str], None]) -> None:
        self._clock = clock
        self._signal = signal
        self._all: dict[str, Endpoint] = {}

    def down(self, name: str, why: str) -> bool:
        """Note silence; return whether that is news."""
        known = self._all.get(name)
        if known is not None and not known.up:
            return False
        self._all[name] = Endpoint(name, up=False, since=self._clock.wall(), why=why)
        return True

    def up(self, name: str) -> bool:
        """Note an answer and wake what is parked; return whether that is news."""
        known = self._all.get(name)
        if known is not None and known.up:
            return False
        self._all[name] = Endpoint(name, up=True, since=self._clock.wall())
        self._signal(f"endpoint:{name}")
        return True

    def is_down(self, name: str) -> bool:
        """Whether the endpoint is known to be silent."""
        known = self._all.get(name)
        return known is not None and not known.up

    def all(self) -> tuple[Endpoint, ...]:
        """Return every endpoint that was ever asked, by name."""
        return tuple(sorted(self._all.values(), key=lambda endpoint: endpoint.name))
