"""The statements on what the daemon says and whom it asks, as pure functions; each comes out false for some word.

Plan and events, the spec's mistakes, conditions, `cpcd status`, calls. Next: `story.py` for when each is asked.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from cpcd.lab.demo.proofs import Proof, listed

__all__ = ["followed", "noticed", "parked", "printed", "recovered", "shown", "told"]

Step = Mapping[str, Any]

PROBES: Final = {"GET /cluster/resources", "GET /cluster/status"}  # of the observer, which owns the connection
SWEPT: Final = {"Drain"}  # one step, repeated until the last pod has left


def printed(plan: Sequence[Step]) -> list[str]:
    """Return a plan whole, compactly: a line for all objects that have the same steps, each with its number."""
    verbs: dict[str, list[str]] = {}
    for step in plan:
        verbs.setdefault(step["key"], []).append(step["verb"])
    keys: dict[tuple[str, ...], list[str]] = {}
    for key, steps in verbs.items():
        runs = [(verb, len(list(same))) for verb, same in groupby(steps)]
        keys.setdefault(tuple(verb if n == 1 else f"{verb} x{n}" for verb, n in runs), []).append(key)
    head = f"the plan, {len(plan)} steps:"
    return [head, *(f"  {', '.join(sorted(same))}: {' → '.join(steps)}" for steps, same in keys.items())]


def followed(plan: Sequence[Step], steps: Sequence[Step], failed: Collection[str]) -> Proof:
    """Judge whether the steps (events) are the plan's: the same set, in the same order for each key.

    Repetition counts, with two exceptions that are told: an attempt that failed and was made again, since others may
    refuse while a control plane restarts, and a drain, which is swept until the last pod has left. `failed` are the
    runs of passes that failed: their last step is what they failed at.
    """
    once = _once(steps, failed)
    applied, swept = _swept(once)
    said, done = _by_key(plan, "sentence"), _by_key(applied, "message")
    odd = sorted(key for key in {*said, *done} if said.get(key) != done.get(key))
    detail = "; ".join(f"{key}: printed {said.get(key)}, applied {done.get(key)}" for key in odd[:2])
    told = [f"{len(plan)} steps", *_counted(len(steps) - len(once), "failed attempt", " made again")]
    counted = ", ".join([*told, *_counted(swept, "more sweep", " of a drain")])
    statement = "the steps applied are the steps printed, in the order of each object"
    return Proof(statement, bool(said) and not odd, detail or counted)


def told(mistakes: Sequence[str]) -> Proof:
    """Judge whether a mistake is named with its place."""
    words = next(iter(mistakes), "")
    place = re.match(r"CPCD-102 cluster\.yaml:\d+:\d+: ", words)
    return Proof("the mistake is named with line and column", bool(place), words)


def noticed(conditions: Mapping[str, str], seconds: float) -> Proof:
    """Judge how soon a cluster said that its Proxmox is silent."""
    said = conditions.get("Degraded") == "True" and conditions.get("ProxmoxAvailable") == "False"
    return Proof(
        "the cluster is Degraded within 30 s, ProxmoxAvailable False", said and seconds <= 30, f"{seconds:.0f} s"
    )


def parked(calls: Mapping[str, int]) -> Proof:
    """Judge the calls that Proxmox left unanswered: those of the observer, which asks whether it is back, and no other."""
    others = sorted(set(calls) - PROBES)
    seen = f"{sum(calls.values())} probes" if not others else f"also {listed(others)}"
    return Proof("every key is parked: nobody calls Proxmox but the observer's probe", bool(calls) and not others, seen)


def recovered(conditions: Mapping[str, str], seconds: float) -> Iterator[Proof]:
    """Judge a cluster's conditions after an outage that nobody mended."""
    yield Proof("ProxmoxAvailable is True again", conditions.get("ProxmoxAvailable") == "True")
    back = f"{seconds:.0f} s after Proxmox answered"
    yield Proof("Degraded is False again, without a hand", conditions.get("Degraded") == "False", back)


def shown(code: int, output: str) -> Proof:
    """Judge what `cpcd status` printed: its first line counts what is ready."""
    count = re.match(r"(\d+) of (\d+) objects ready$", output.partition("\n")[0].strip())
    ready = count is not None and count[1] == count[2] != "0"
    return Proof("`cpcd status` shows every object ready", code == 0 and ready, f"exit code {code}")


def _counted(number: int, noun: str, rest: str) -> list[str]:
    return [f"{number} {noun}{'s' * (number > 1)}{rest}"] if number else []


def _once(steps: Sequence[Step], failed: Collection[str]) -> list[Step]:
    """Return the steps without those at which their pass failed, its last ones, and which were made again."""
    last = {step["run"]: number for number, step in enumerate(steps)}
    made = {(step["key"], step["message"]): number for number, step in enumerate(steps)}
    return [
        step
        for number, step in enumerate(steps)
        if step["run"] not in failed or last[step["run"]] > number or made[step["key"], step["message"]] == number
    ]


def _swept(steps: Sequence[Step]) -> tuple[list[Step], int]:
    """Return the steps without the sweeps that repeat the step before them on the same key, and how many those were."""
    last: dict[str, Step] = {}
    kept = []
    for step in steps:
        before = last.get(step["key"], {})
        if step["reason"] not in SWEPT or before.get("message") != step["message"]:
            kept.append(step)
        last[step["key"]] = step
    return kept, len(steps) - len(kept)


def _by_key(steps: Sequence[Step], words: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for step in steps:
        key = "/".join(str(step["key"]).split("/")[-2:])
        found.setdefault(key, []).append(str(step[words]))
    return found
