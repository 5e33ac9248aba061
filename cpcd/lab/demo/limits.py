"""What is counted from moment to moment of `GET /lab/history`: the limits of a rollout, etcd's quorum, outages.

The lab writes a moment at every change, so that nothing hides between two looks. Pure. Next: `story.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cpcd.lab.demo.proofs import Proof

__all__ = ["Limits", "Moments", "answered", "kept_quorum", "within"]

Moments = Sequence[Mapping[str, Any]]

FAILOVER: Final = 30.0  # lab seconds: kube-vip's lease of 15 s and its renewal
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
    gone = _gone(mine)
    there = [{each["vmid"] for each in machines} for machines in mine]
    most = max((len(vmids - _soon(moments, gone, at)) for at, vmids in enumerate(there)), default=0)
    least = min(map(_serving, mine), default=0)
    left = max(map(_leaving, mine, gone), default=0)
    floor = limits.replicas - limits.unavailable
    kept = most <= limits.replicas + limits.surge and least >= floor and left <= 1
    statement = f"{limits.who}: never more than {limits.replicas} + {limits.surge}, never fewer than {floor} in service"
    said = f"{least} to {most}, leaving one by one" if left <= 1 else f"{least} to {most}, {left} leaving at once"
    return Proof(statement, kept and _covers(moments, since), said)


def kept_quorum(moments: Moments, since: float, *, least: int, when: str = "") -> Proof:
    """Judge whether etcd had its majority at every moment, and never fewer voters up than `least`."""
    counts = [(each["up"], each["voters"]) for moment in moments for each in moment["etcd"]]
    up, voters = min(counts, key=lambda count: (count[0] - count[1] // 2, count[0]), default=(0, 0))
    kept = all(up > voters // 2 for up, voters in counts) and min(counts, default=(0,))[0] >= least
    said = f"at worst {up} of {voters} voters were up"
    return Proof(f"quorum was never spent{when}", kept and _covers(moments, since), said)


def answered(moments: Moments, since: float, asked: Sequence[bool]) -> Proof:
    """Judge the API's virtual address: never silent for longer than a failover takes, and asked all the time.

    `asked` are requests through the kubeconfig, True for those that were answered in the end.
    """
    gap = max(_gaps(moments), default=0.0)
    said = f"{len(asked)} requests, longest gap {gap:.0f} s: the address moves with its machine"
    held = gap <= FAILOVER and len(asked) > 20 and all(asked[:-1])
    return Proof("the API answered throughout", held and _covers(moments, since), said)


def _gaps(moments: Moments) -> Iterator[float]:
    """Yield how long each silence lasted, in lab seconds; one that lasts still counts until the last moment."""
    silent: float | None = None
    for moment in moments:
        answers = all(each["answers"] for each in moment["etcd"])
        if silent is not None:
            yield moment["time"] - silent
        silent = (moment["time"] if silent is None else silent) if not answers else None


def _covers(moments: Moments, since: float) -> bool:
    """Tell whether the moments begin early enough: a lab that forgot the older ones proves nothing."""
    return bool(moments) and moments[0]["time"] <= since


def _gone(groups: Sequence[Sequence[Mapping[str, Any]]]) -> list[set[int]]:
    """Return who leaves or has left at each moment: cordoned, or still there although its Node was deleted."""
    known: set[int] = set()
    found = []
    for there in groups:
        known = {each["vmid"] for each in there if each["node"] or each["vmid"] in known}
        found.append({each["vmid"] for each in there if each["vmid"] in known and each["node"] in {"", "Cordoned"}})
    return found


def _serving(machines: Sequence[Mapping[str, Any]]) -> int:
    return sum(each["running"] and each["node"] == "Ready" for each in machines)


def _leaving(machines: Sequence[Mapping[str, Any]], gone: set[int]) -> int:
    """Return how many are on their way out: one that has neither Node nor power has left, and waits for its end."""
    return sum(each["vmid"] in gone and (each["running"] or each["node"] != "") for each in machines)


def _soon(moments: Moments, gone: Sequence[set[int]], at: int) -> set[int]:
    """Return who leaves or has left at a moment, or is about to."""
    limit = moments[at]["time"] + DECIDED
    later = (out for moment, out in zip(moments[at:], gone[at:], strict=True) if moment["time"] <= limit)
    return set().union(*later)
