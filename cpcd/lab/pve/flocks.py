"""The lock files of a node: who holds `/var/lock/qemu-server/lock-N.conf`, who waits, who gave up.

They are flocks: held by a worker process, gone with it, shared or exclusive. The `lock:` line of a configuration is
another thing (`vm.py`). Next: `tasks.py`, whose workers take them.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from cpcd.lab.events import Events, Handle
from cpcd.lab.provenance import recorded, source

__all__ = ["Flocks", "config_path", "storage_path"]

Key = tuple[str, str]


@recorded(754, 827)
def config_path(vmid: int) -> str:
    """Return the lock file of a VM's configuration."""
    return f"/var/lock/qemu-server/lock-{vmid}.conf"


@recorded(835)
def storage_path(storage: str) -> str:
    """Return the lock file of a local storage."""
    return f"/var/lock/pve-manager/pve-storage-{storage}"


@dataclass(frozen=True, slots=True)
class _Hold:
    owner: Hashable
    shared: bool
    until: float


@dataclass(slots=True)
class _Wait:
    owner: Hashable
    key: Key
    shared: bool
    until: float
    granted: Callable[[], None]
    deadline: Handle


@dataclass(slots=True)
class Flocks:
    """All lock files, keyed by (node, path)."""

    events: Events
    holds: dict[Key, list[_Hold]] = field(default_factory=dict)
    waits: list[_Wait] = field(default_factory=list)

    def take(self, key: Key, owner: Hashable, *, shared: bool = False, seconds: float = math.inf) -> bool:
        """Take the lock at once or not at all; `seconds` is how long the owner means to keep it, if it knows."""
        held = self.holds.setdefault(key, [])
        if held and not (shared and all(hold.shared for hold in held)):
            return False
        held.append(_Hold(owner, shared, self.events.now + seconds))
        return True

    @recorded(754, 755, 759, 764)
    def wait(
        self,
        key: Key,
        owner: Hashable,
        *,
        shared: bool,
        seconds: float,
        timeout: float,
        granted: Callable[[], None],
        gave_up: Callable[[], None],
    ) -> None:
        """Queue for a lock; shared takers pass a waiting exclusive one, as linked clones do."""

        def late() -> None:
            self.waits.remove(waiting)
            gave_up()

        waiting = _Wait(owner, key, shared, seconds, granted, self.events.at(timeout, late))
        self.waits.append(waiting)

    def free(self, owner: Hashable, key: Key | None = None) -> None:
        """Let go of one lock or of all, and of every wait when all go; then serve who waits."""
        keys = [key] if key else [k for k, held in self.holds.items() if any(h.owner == owner for h in held)]
        for each in keys:
            self.holds[each] = [hold for hold in self.holds[each] if hold.owner != owner]
        if key is None:
            for waiting in [w for w in self.waits if w.owner == owner]:
                waiting.deadline.cancel()
                self.waits.remove(waiting)
        self._serve(set(keys))

    def _serve(self, keys: set[Key]) -> None:
        # A copy: who is served leaves the list, and may ask for another lock at once.
        for waiting in [w for w in self.waits if w.key in keys]:
            if self.take(waiting.key, waiting.owner, shared=waiting.shared, seconds=waiting.until):
                waiting.deadline.cancel()
                self.waits.remove(waiting)
                waiting.granted()

    @source("P01")
    def busy(self, key: Key) -> float:
        """Return the seconds until an exclusive lock could be had: 0 if free, infinite if nobody can tell."""
        return max((hold.until - self.events.now for hold in self.holds.get(key, ())), default=0.0)
