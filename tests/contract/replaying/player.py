"""Play a recording to the lab, exchange by exchange, at the recorded times on a clock of its own.

Calls in scope are compared; calls out of scope and interventions are done to the lab by hand; holes are lit by
`repair.py`. Nothing sleeps. Next: `matching.py` for what equal means.
"""

import json
import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from cpcd.lab.guests import Durations
from cpcd.lab.pve import RECORDED, SECONDS, Settings, handle
from cpcd.lab.world import World
from cpcd.ports.proxmox import Request, Response
from tests.contract.replaying.accounts import SECRET, Accounts
from tests.contract.replaying.hands import follow, followed
from tests.contract.replaying.interventions import perform
from tests.contract.replaying.lists import LateRows, only_replayed, tasks_listed
from tests.contract.replaying.matching import (
    Bindings,
    Mismatch,
    compare,
    headers_differ,
    seconds_differ,
    without_progress,
)
from tests.contract.replaying.recording import Entry, Exchange, Intervention
from tests.contract.replaying.repair import empty, known, light, made
from tests.contract.replaying.scope import Rule, Scope, load_rules

__all__ = ["NEEDED", "Outcome", "Replay", "Report", "replay"]

NEEDED = 0.98
PATIENCE = 4.0  # seconds that a task of the lab may take longer than it was seen to take
STEP = 0.05
HAND = 0.5  # seconds from what was done by hand to the next request
GUESTS = Durations(agent=35.0, shutdown=3.0)  # those of the recorded guest (653, 654, 697, 702)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one exchange: `matched`, `mismatch`, `out` (with the rule's reason) or `setup`."""

    exchange: Exchange
    kind: str
    differences: tuple[Mismatch, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class Report:
    """The outcomes, how often the lab was repaired, which interventions nobody could perform."""

    outcomes: list[Outcome] = field(default_factory=list)
    repairs: int = 0
    unknown: list[Intervention] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """Number of exchanges that ended so."""
        return sum(outcome.kind == kind for outcome in self.outcomes)

    @property
    def matched(self) -> int:
        """Exchanges in scope that were answered as recorded."""
        return self.count("matched")

    @property
    def in_scope(self) -> int:
        """Exchanges that were compared."""
        return self.matched + self.count("mismatch")

    @property
    def passed(self) -> bool:
        """Tell whether enough matched."""
        return self.in_scope > 0 and self.matched >= NEEDED * self.in_scope

    def lines(self) -> list[str]:
        """Return each mismatch and the sums."""
        told = [line for outcome in self.outcomes for line in _told(outcome)]
        told += [f"#{step.seq} not performed: {step.what}: {step.command}" for step in self.unknown]
        told.append(f"setup: {self.repairs} repairs of what holes left dark, taken from {self.count('setup')} reads")
        told.append(f"matched {self.matched} of {self.in_scope} in scope, {self.count('out')} out of scope")
        return told

    def groups(self) -> dict[str, Counter[str]]:
        """Return group -> how its exchanges ended."""
        found: dict[str, Counter[str]] = {}
        for outcome in self.outcomes:
            found.setdefault(outcome.exchange.group, Counter())[outcome.kind] += 1
        return found


def _told(outcome: Outcome) -> list[str]:
    if outcome.kind != "mismatch":
        return []
    asked = outcome.exchange
    head = f"#{asked.seq} {asked.group}: {asked.call} ({asked.note})"
    return [head, *(f"    {difference}" for difference in outcome.differences)]


class Replay:
    """One lab, the clock that it reads, and the values that chance decided on both sides."""

    def __init__(self, rules: Sequence[Rule], counted: Container[int], settings: Settings) -> None:
        self.now = 0.0
        self.settings = settings
        self.scope = Scope(rules)
        self.counted = counted
        self.pve = World(now=lambda: self.now, seed=1, settings=self.settings, durations=GUESTS).pve
        self.accounts = Accounts(self.pve)
        self.bindings = Bindings()
        self.report = Report()
        self._setup: set[int] = set()
        self._rows = LateRows(self.pve)

    def play(self, entries: Sequence[Entry]) -> Report:
        """Play all entries and return what became of them."""
        before, position = 0, 0
        while position < len(entries):
            entry = entries[position]
            if entry.seq != before + 1:
                self._light_all(entries[position:])
            group = _together(entries[position:])
            for each in group:
                self._one(each, entries[position + len(group) :])
            self._ends(group)
            position += len(group)
            before = entries[position - 1].seq
        outcomes = sorted(self.report.outcomes, key=lambda outcome: outcome.exchange.seq)
        self.report.outcomes = [outcome for outcome in outcomes if outcome.exchange.seq in self.counted]
        return self.report

    # --- the dark --------------------------------------------------------------------------------------------------

    def _light_all(self, entries: Sequence[Entry]) -> None:
        """After a hole: every VM that the lab has or that is spoken of until the next hole."""
        spoken = {entry.vmid for entry in entries if isinstance(entry, Exchange)} - {None}
        for vmid in sorted({*spoken, *self.pve.vms}):
            self._light(vmid, entries)
        for name in self.pve.cluster.pools:
            if used := empty(self.pve, name, entries):
                self.report.repairs += 1
                self._setup.add(used)

    def _light(self, vmid: int, entries: Sequence[Entry]) -> None:
        vm = self.pve.vms.get(vmid)
        told = known(entries, vmid, self._unheard, vm.node if vm else "pve1")
        if used := light(self.pve, vmid, told, self.bindings):
            self.report.repairs += 1
            self._setup |= used

    def _unheard(self, exchange: Exchange) -> bool:
        return self.scope.left_out(exchange) is not None and not followed(exchange)

    # --- one entry -------------------------------------------------------------------------------------------------

    def _one(self, entry: Entry, later: Sequence[Entry]) -> None:
        if isinstance(entry, Intervention):
            self._advance(max(self.now, self._next_moment(later) - HAND))
            if not perform(self.pve, entry, self.bindings):
                self.report.unknown.append(entry)
                self._light_all(later)
            return
        self._advance(self._moment(entry))
        if rule := self.scope.left_out(entry):
            self._out(entry, later, rule)
        else:
            self._in_scope(entry)
        if not entry.parallel:
            self._advance(self.now + entry.seconds)

    def _moment(self, exchange: Exchange) -> float:
        """Return when an exchange began: recorded in whole seconds, so that a pause is taken as whole seconds too."""
        recorded = (exchange.time or 0) - self.settings.epoch
        return self.now if recorded <= self.now else max(self.now, recorded + self.now % 1)

    def _next_moment(self, later: Sequence[Entry]) -> float:
        """Interventions carry no time: the recorder waited first and then acted."""
        following = next((entry for entry in later if isinstance(entry, Exchange)), None)
        return self._moment(following) if following else self.now

    def _out(self, exchange: Exchange, later: Sequence[Entry], rule: Rule) -> None:
        kind, differences = "out", []
        if exchange.status == 200:
            self.scope.learn(exchange, rule)
            try:
                follow(self.pve, self.accounts, exchange)
            except Exception as error:  # noqa: BLE001 - what cannot be done to the lab must be seen, as a mismatch
                kind, differences = "mismatch", [Mismatch("followed", exchange.call, repr(error))]
        self.report.outcomes.append(Outcome(exchange, kind, tuple(differences), rule.reason))
        if exchange.write and not followed(exchange):
            for vmid in {exchange.vmid, made(exchange)} - {None}:
                self._light(vmid, later)

    def _in_scope(self, exchange: Exchange) -> None:
        differences = self._differences(exchange)
        kind = "setup" if exchange.seq in self._setup else "mismatch" if differences else "matched"
        self.report.outcomes.append(Outcome(exchange, kind, tuple(differences)))

    def _advance(self, moment: float) -> None:
        """Move the clock, letting the lab do what is due, and remember what its VMs looked like."""
        while self.now < moment:
            self.now = min(moment, self.now + 1.0)
            self.pve.events.settle()
            self._rows.note(self.now)

    # --- asking ----------------------------------------------------------------------------------------------------

    def _send(self, exchange: Exchange) -> Response:
        path = self.bindings.to_lab(exchange.path)
        params = {name: self._translated(value) for name, value in exchange.params.items()}
        try:
            return handle(self.pve, Request(exchange.method, path, params, _token(exchange)))
        except Exception as error:  # noqa: BLE001 - whatever breaks in the lab is a mismatch of this exchange
            return Response(0, f"the lab broke: {error!r}", b"", {})

    def _translated(self, value: Any) -> Any:
        return self.bindings.to_lab(value) if isinstance(value, str) else value

    def _differences(self, exchange: Exchange) -> list[Mismatch]:
        self._wait_for_end(exchange)
        self._rows.note(self.now)
        answer = self._send(exchange)
        if answer.status != exchange.status:
            told = (f"{exchange.status} {exchange.reason}", f"{answer.status} {answer.reason}")
            return [Mismatch("status", *told)]
        recorded, lab = self._prepared(exchange, json.loads(answer.body) if answer.body else "")
        found = compare(exchange.reason, answer.reason, self.bindings, "reason")
        if exchange.headers is not None:
            found += headers_differ(exchange.headers, answer.headers)
        found += seconds_differ(exchange.seconds, float(answer.headers.get(SECONDS, 0)))
        return found + compare(recorded, lab, self.bindings)

    def _prepared(self, exchange: Exchange, body: Any) -> tuple[Any, Any]:
        """Return both bodies as they can be compared: see `lists.py` for the kinds that need more than a look."""
        recorded = exchange.body
        if exchange.call.endswith("/log") and "/tasks/" in exchange.path:
            return without_progress(recorded), without_progress(body)
        if tasks_listed(exchange):
            return only_replayed(exchange, body, self.bindings)
        if exchange.status == 200:
            return recorded, self._rows.chosen(recorded, body)
        return recorded, body

    def _wait_for_end(self, exchange: Exchange) -> None:
        """Where a task was seen ended, let the lab's end too, if it does so in reasonable time."""
        shown = exchange.data
        if not (isinstance(shown, dict) and "upid" in shown and shown.get("status") == "stopped"):
            return
        upid = self.bindings.to_lab(shown["upid"])
        self._until_ended(upid, self.now + PATIENCE + exchange.seconds)

    def _until_ended(self, upid: str, limit: float) -> None:
        tasks = self.pve.cluster.tasks.tasks
        while upid in tasks and tasks[upid].running and self.now < limit:
            self._advance(self.now + STEP)

    # --- requests that were sent at the same time ------------------------------------------------------------------

    def _ends(self, group: Sequence[Entry]) -> None:
        """Look at how the tasks of requests sent together ended; their status and log are part of those lines."""
        parallel = [entry for entry in group if isinstance(entry, Exchange) and entry.parallel]
        started = self.now
        for exchange in parallel:
            task = exchange.parallel["task"] if exchange.parallel else None
            if task:
                upid = self.bindings.to_lab(task["upid"])
                self._until_ended(upid, max(self.now, started + exchange.parallel["task_stopped_at"]) + PATIENCE)
                self._end(exchange, upid)

    def _end(self, exchange: Exchange, upid: str) -> None:
        path = f"/api2/json/nodes/{upid.split(':')[1]}/tasks/{upid}"
        status = handle(self.pve, Request("GET", f"{path}/status", {}, _token(exchange)))
        log = handle(self.pve, Request("GET", f"{path}/log", {"limit": 500}, _token(exchange)))
        recorded = {"task": exchange.parallel["task"], "log": _met(exchange.parallel["log"])}
        lab = {"task": json.loads(status.body)["data"], "log": _met(json.loads(log.body)["data"])}
        differences = compare(recorded, lab, self.bindings, "parallel")
        if differences:
            was = next(outcome for outcome in self.report.outcomes if outcome.exchange is exchange)
            kind = "mismatch" if was.kind == "matched" else was.kind
            self.report.outcomes[self.report.outcomes.index(was)] = Outcome(
                exchange, kind, (*was.differences, *differences)
            )


def _met(log: list[dict[str, Any]]) -> list[str]:
    """Return a log's lines without waits for a lock that was had: who meets whom there is a matter of milliseconds."""
    told = without_progress({"data": log})["data"]
    lines = [each["t"] for each in told]
    return [line for line in lines if line not in {"trying to acquire lock...", " OK"}]


def _together(entries: Sequence[Entry]) -> list[Entry]:
    """Return the first entry, or all that were sent with it, in the order in which the node took them.

    That order is the one of their workers' process ids; those that were refused at once came after what refused them.
    """
    first = entries[0]
    if not (isinstance(first, Exchange) and first.parallel):
        return [first]
    group = takewhile(lambda each: isinstance(each, Exchange) and each.parallel and each.note == first.note, entries)
    return sorted(group, key=_taken)


def _taken(exchange: Entry) -> tuple[bool, int, int]:
    assert isinstance(exchange, Exchange)
    task = (exchange.parallel or {}).get("task")
    return (exchange.status != 200, task["pstart"] if task else 0, task["pid"] if task else exchange.seq)


def _token(exchange: Exchange) -> str:
    """Return the token that goes with a request; a ticket is a token without a name."""
    if not exchange.auth:
        return ""
    kind, _, name = exchange.auth.partition(":")
    wrong = kind == "cookie" or re.search(r"\b(?:wrong|old|former|bad) (?:token )?secret", exchange.note)
    return f"{'PVE:' if kind == 'ticket' else ''}{name}={'wrong' if wrong else SECRET}"


def replay(
    entries: Sequence[Entry],
    rules: Sequence[Rule] | None = None,
    context: Sequence[Entry] = (),
    settings: Settings = RECORDED,
) -> Report:
    """Play a recording to a new lab and report on it.

    `context` are entries of the same session that were played before: they are played again for what they do, in the
    holes that `entries` leave, and are not reported on.
    """
    given = {entry.seq for entry in entries}
    played = sorted([*entries, *(entry for entry in context if entry.seq not in given)], key=lambda entry: entry.seq)
    return Replay(load_rules() if rules is None else rules, given, settings).play(played)
