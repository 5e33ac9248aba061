"""One owner of connectivity per endpoint: up or down, since when and why; keys park on a Proxmox that is down.

Only the owner (the observer of that endpoint) says that it is up again; a pass that meets silence says that it is
down. Nobody else probes.
"""

from collections.abc import Callable
from dataclasses import replace

from cpcd.model.errors import Failure
from cpcd.model.keys import Wall
from cpcd.model.report import Endpoint
from cpcd.ports.clock import Clock

__all__ = ["Endpoints"]


class Endpoints:
    """All endpoints; `signal` wakes the keys parked on one, `changed(before, now)` hears what is new about one."""

    def __init__(
        self,
        clock: Clock,
        signal: Callable[[str], None],
        changed: Callable[[Endpoint | None, Endpoint], None] = lambda _before, _now: None,
    ) -> None:
        self._clock, self._signal, self._changed = clock, signal, changed
        self._all: dict[str, Endpoint] = {}

    def down(self, name: str, why: Failure) -> None:
        """Note that it cannot be used; the newest reason counts, and the first moment."""
        known = self._all.get(name)
        if known is None or known.up:
            self._put(known, Endpoint(name, Wall(self._clock.wall()), why))
        # Everybody who meets the silence says so; only other words are news.
        elif str(known.failure) != str(why):
            self._put(known, replace(known, failure=why))

    def up(self, name: str) -> None:
        """Note an answer and wake what is parked."""
        known = self._all.get(name)
        if known is None or not known.up:
            # Before the signal: whoever is woken may ask `why` at once.
            self._put(known, Endpoint(name, Wall(self._clock.wall())))
            self._signal(f"endpoint:{name}")

    def forget(self, name: str) -> None:
        """Forget one that nothing leads to any more."""
        self._all.pop(name, None)

    def why(self, name: str) -> Failure | None:
        """Return why an endpoint cannot be used, None as long as it is not known to be down."""
        known = self._all.get(name)
        return known.failure if known is not None else None

    def all(self) -> tuple[Endpoint, ...]:
        """Return every endpoint that was ever asked, by name."""
        return tuple(sorted(self._all.values(), key=lambda endpoint: endpoint.name))

    def _put(self, before: Endpoint | None, now: Endpoint) -> None:
        self._all[now.name] = now
        self._changed(before, now)
