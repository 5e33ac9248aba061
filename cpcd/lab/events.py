"""Run what the lab has planned for later, at exact times of an injected clock.

One heap for the whole lab, so that Proxmox, guests and Kubernetes happen in one order. It never sleeps and never
reads a clock of its own: whoever answers a request calls `settle()` first. Next: `pve/tasks.py`, its main user.
"""

import heapq
import itertools
from collections.abc import Callable

__all__ = ["Events", "Handle"]

Effect = Callable[[], None]


class Handle:
    """One planned effect; `cancel()` may be called at any time and any number of times."""

    __slots__ = ("_effect", "due")

    def __init__(self, due: float, effect: Effect) -> None:
        self.due = due
        self._effect: Effect | None = effect

    @property
    def pending(self) -> bool:
        """Tell whether the effect has neither run nor been cancelled."""
        return self._effect is not None

    def cancel(self) -> None:
        """Forget the effect; no-op after it ran."""
        self._effect = None

    def run(self) -> None:
        """Run the effect once."""
        effect, self._effect = self._effect, None
        if effect is not None:
            effect()


class Events:
    """A heap of effects on an injected clock (seconds of lab time), deterministic: time order, then insertion order."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._clock = now
        self._heap: list[tuple[float, int, Handle]] = []
        self._order = itertools.count()
        self._during: float | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called when the world may have changed: by the requests since the last look, or by one effect."""

    @property
    def now(self) -> float:
        """Lab time in seconds; inside an effect its due time, so that chains happen at exact times."""
        return self._clock() if self._during is None else self._during

    def at(self, delay: float, effect: Effect) -> Handle:
        """Plan `effect` in `delay` seconds from `now`; a negative delay is an error of the caller."""
        assert delay >= 0, delay
        handle = Handle(self.now + delay, effect)
        heapq.heappush(self._heap, (handle.due, next(self._order), handle))
        return handle

    def settle(self) -> None:
        """Run every effect due at or before `now`, also those that effects add; no-op inside an effect."""
        if self._during is not None:
            return
        limit = self._clock()
        # Also without a due effect: requests since the last look may have changed the world by themselves.
        self.changed()
        try:
            while (due := self.next_due()) is not None and due <= limit:
                # `now` is this moment and not the clock's, or each effect of a chain would come late by what the last
                # look missed.
                self._during = due
                heapq.heappop(self._heap)[2].run()
                self.changed()
        finally:
            self._during = None

    def next_due(self) -> float | None:
        """Return when the next effect is due, None when nothing is planned."""
        while self._heap and not self._heap[0][2].pending:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
