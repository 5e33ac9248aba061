"""What an edit of the spec is about: of a thousand objects, those for which it means something; and what may surprise.

A pass reads its object afresh, so that looking at all of them would be thousands of calls in front of the edit's own
first one. Whom nobody looks at now is looked at as always: when its wait ends, or something about it changes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from types import ModuleType

from cpcd.model.desired import Cluster, Desired
from cpcd.model.keys import Key, Kind, Role
from cpcd.model.ledger import Ledger
from cpcd.model.plan import Plan
from cpcd.model.view import View

__all__ = ["concerned", "renamed"]


def concerned(before: View, after: View, reconcilers: Sequence[ModuleType]) -> Iterator[Key]:
    """Yield the objects to look at in the order of the reconcilers, decisions first: clusters, what is new, what it touches.

    What a look at an untouched addon or template costs would stand beside the edit's first write, and before it.
    """
    for module in reconcilers:
        known = {*module.keys(before)}
        for key in module.keys(after):
            # What a cluster decides from may never have been read, and then its plan is to wait, whatever is wanted.
            if key.kind is Kind.CLUSTER or key not in known or _touched(module, key, before, after):
                yield key


def _touched(module: ModuleType, key: Key, before: View, after: View) -> bool:
    """Whether there is something to do, which guards may judge otherwise now, or something else to wait for."""
    try:
        plan: Plan = module.plan(key, after)
        return bool(plan.steps or plan.refusal) or plan != module.plan(key, before)
    except Exception:  # noqa: BLE001 - its own pass says what is wrong with it, and the others are looked at (promise 9)
        return True


def renamed(desired: Desired, ledger: Ledger) -> Iterator[str]:
    """Yield a sentence for each cluster in which deployments go while others come, as they do when one is renamed."""
    for cluster in desired.clusters.values():
        going, coming = _going(cluster, ledger), _coming(cluster, ledger)
        if going and coming:
            counted = ", ".join(f"{name} ({count} machine{'' if count == 1 else 's'})" for name, count in going.items())
            yield (
                f"{cluster.name}: {counted} {'is' if len(going) == 1 else 'are'} no longer in the file, and "
                f"{', '.join(coming)} {'is' if len(coming) == 1 else 'are'} new: to rename a deployment is to retire "
                "its machines and make others; with its name it keeps them"
            )


def _going(cluster: Cluster, ledger: Ledger) -> Counter[str]:
    names = {group.name for group in cluster.groups}
    return Counter(row.group for row in ledger.rows.get(cluster.name, ()) if row.wanted and row.group not in names)


def _coming(cluster: Cluster, ledger: Ledger) -> list[str]:
    """Return the deployments of which no machine has joined yet."""
    there = {row.group for row in ledger.rows.get(cluster.name, ()) if row.joined}
    return [one.name for one in cluster.groups if one.role is Role.WORKER and one.replicas and one.name not in there]
