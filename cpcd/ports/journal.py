"""The ledger's memory: what must survive `kill -9` is durable before the effect it announces begins."""

from collections.abc import Sequence
from typing import Protocol

from cpcd.model.ledger import Change, Event, Ledger

__all__ = ["Journal"]


class Journal(Protocol):
    """One writer. Raises `model.errors.Failure` with Code.STATE when the disk is full, read-only or corrupt."""

    async def load(self) -> Ledger:
        """Return the whole ledger; corrupt is an error, never an empty ledger (`failures.md` D04)."""
        ...

    async def commit(self, changes: tuple[Change, ...]) -> None:
        """Store all changes in one transaction; durable (synced) on return."""
        ...

    def record(self, event: Event) -> None:
        """Queue one line of history; written in batches, may be lost in a crash."""
        ...

    async def history(self, *, key: str = "", limit: int = 100) -> Sequence[Event]:
        """Return the newest events first."""
        ...

    async def close(self) -> None:
        """Write what is queued and close."""
        ...
