"""The one picture that every decision is made from: wanted, remembered and seen, at one moment.

A view is never changed; `with_ledger` and `with_seen` give the next one. Planners may fold it into the future.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cpcd.model.desired import Cluster, Desired
from cpcd.model.keys import Key, Map, OpId, Scope, Uid, Wall
from cpcd.model.ledger import Change, Ledger, Machine, Op
from cpcd.model.seen import Seen

__all__ = ["View"]

_NEVER = Wall(0)


@dataclass(frozen=True, slots=True)
class View:
    """Desired, ledger, observations by scope, when waits began, wall time, and ids to mint from."""

    desired: Desired = field(default_factory=Desired)
    ledger: Ledger = field(default_factory=Ledger)
    bulk: Map[Scope, Seen[Any]] = field(default_factory=dict)
    since: Map[str, float] = field(default_factory=dict)
    wall: Wall = _NEVER
    fresh: tuple[str, ...] = ()

    @property
    def machines(self) -> Map[Uid, Machine]:
        """Machine rows by uid."""
        return self.ledger.machines

    @property
    def ops(self) -> Map[OpId, Op]:
        """Open operations by id."""
        return self.ledger.ops

    @property
    def installation(self) -> str:
        """The name in the marks of everything that is ours, "" before the ledger is read."""
        return str(self.facts.get("installation", ""))

    @property
    def facts(self) -> Map[str, Any]:
        """Remembered facts by path."""
        return self.ledger.facts

    def cluster(self, name: str) -> Cluster | None:
        """Return the cluster as wanted, None when its document is gone."""
        return self.desired.clusters.get(name)

    def rows(self, cluster: str) -> list[Machine]:
        """Return a cluster's rows in a stable order."""
        return self.ledger.rows.get(cluster, [])

    def row(self, key: Key) -> Machine | None:
        """Return the row of a machine key (its name is the uid)."""
        return self.ledger.machines.get(Uid(key.name))

    def open_ops(self, key: Key) -> list[Op]:
        """Return a key's open operations, oldest first."""
        return self.ledger.owned.get(key, [])

    def known(self, scope: Scope) -> Any:
        """Return what is completely seen of a scope, else None."""
        seen = self.bulk.get(scope)
        return seen.value if seen is not None and seen.complete else None

    def at(self, wall: Wall, since: Map[str, float], fresh: tuple[str, ...]) -> "View":
        """Return the view at another moment."""
        # Not by `replace`, which takes several times as long: it is the most frequent look of all.
        return View(self.desired, self.ledger, self.bulk, since, wall, fresh)

    def with_ledger(self, changes: tuple[Change, ...]) -> "View":
        """Return the view after ledger changes."""
        return replace(self, ledger=self.ledger.after(changes)) if changes else self

    def with_seen(self, seen: Mapping[Scope, Seen[Any]]) -> "View":
        """Return the view after observations."""
        return replace(self, bulk={**self.bulk, **seen}) if seen else self

    def without(self, scopes: Collection[Scope]) -> "View":
        """Return the view without observations of what is no more."""
        gone = set(scopes)
        return replace(self, bulk={s: seen for s, seen in self.bulk.items() if s not in gone}) if gone else self
