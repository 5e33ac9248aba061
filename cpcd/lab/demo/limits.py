"""What is counted from moment to moment of `GET /lab/history`: the limits of a rollout, and etcd's quorum.

The lab writes a moment at every change, so that nothing hides between two looks. Pure. Next: `story.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cpcd.lab.demo.proofs import Proof

__all__ = ["Limits", "Moments", "kept_quorum", "within"]

Moments = Sequence[Mapping[str, Any]]

DECIDED: Final = 30.0  # lab seconds at most from the decision that a machine goes to its cordon, which shows it


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rollout may do to one group: `who` is for people, `name` is `cp` or the deployment's."""

    who: str
    name: str
    replicas: int
    surge: int
    unavailable: int = 0


def within(moments: Moments, since: float, limits: Limits) -> Proof:
    """Judge a rollout of one group: how many there were at most, how many served at least, how many left at once.

    One that leaves is not counted, as in Cluster API. One serves while its VM runs and its Node is Ready, not cordoned.
    """
    mine = [[each for each in moment["machines"] if f"-{limits.name}-" in each["name"]] for moment in moments]
    leaving = _leaving(mine)
    there = [{each["vmid"] for each in machines} for machines in mine]
    most = max((len(vmids - _soon(moments, leaving, at)) for at, vmids in enumerate(there)), default=0)
    serving = (sum(each["running"] and each["node"] == "Ready" for each in machines) for machines in mine)
    least = min(serving, default=0)
    left = max(map(len, leaving), default=0)
    floor = limits.replicas - limits.unavailable
    kept = most <= limits.replicas + limits.surge and least >= floor and left <= 1
    statement = f"{limits.who}: never more than {limits.replicas} + {limits.surge}, never fewer than {floor} in service"
    said = f"{least} to {most}, leaving one by one" if left <= 1 else f"{least} to {most}, {left} leaving at once"
    return Proof(statement, kept and _covers(moments, since), said)


def kept_quorum(moments: Moments, since: float, *, least: int) -> Proof:
    """Judge whether etcd had its majority at every moment, and never fewer voters up than `least`."""
    counts = [(each["up"], each["voters"]) for moment in moments for each in moment["etcd"]]
    up, voters = min(counts, key=lambda count: (count[0] - count[1] // 2, count[0]), default=(0, 0))
    kept = all(up > voters // 2 for up, voters in counts) and min(counts, default=(0,))[0] >= least
    said = f"at worst {up} of {voters} voters were up"
    return Proof("quorum was never spent", kept and _covers(moments, since), said)


def _covers(moments: Moments, since: float) -> bool:
    """Tell whether the moments begin early enough: a lab that forgot the older ones proves nothing."""
    return bool(moments) and moments[0]["time"] <= since


def _leaving(groups: Sequence[Sequence[Mapping[str, Any]]]) -> list[set[int]]:
    """Return who leaves at each moment: cordoned, or still there although its Node was deleted."""
    known: set[int] = set()
    found = []
    for there in groups:
        known = {each["vmid"] for each in there if each["node"] or each["vmid"] in known}
        found.append({each["vmid"] for each in there if each["vmid"] in known and each["node"] in {"", "Cordoned"}})
    return found


def _soon(moments: Moments, leaving: Sequence[set[int]], at: int) -> set[int]:
    """Return who leaves at a moment, or is about to."""
    limit = moments[at]["time"] + DECIDED
    later = (gone for moment, gone in zip(moments[at:], leaving[at:], strict=True) if moment["time"] <= limit)
    return set().union(*later)
