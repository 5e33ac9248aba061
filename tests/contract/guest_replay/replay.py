"""Judge each transcript by both uses, and count.

A transcript is in scope unless every use of it is taken out by a row of `guest_out_of_scope.toml`; it is matched when
every use that is left reached the class that its situation deserves. What is in scope and cannot be judged is a mismatch.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cpcd.guest.machine import Refused
from cpcd.guest.reasons import REASONS
from cpcd.lab.guests import VerbFailed
from tests.contract.guest_replay.deserved import ANY, Rule, deserved
from tests.contract.guest_replay.evidence import value
from tests.contract.guest_replay.observed import OBSERVED
from tests.contract.guest_replay.reading import READINGS
from tests.contract.guest_replay.scenarios import SCENARIOS
from tests.contract.guest_replay.scope import Row, rows
from tests.contract.guest_replay.states import named
from tests.contract.guest_replay.transcript import Transcript, kinds

__all__ = ["SHARE", "Report", "Tried", "replay"]

SHARE: Final = 0.95
NOTHING: Final = "nothing: it is in scope, and no reading or situation is there for it"
# What a text that nobody foresaw may raise in code under test: the replay goes on.
BROKEN: Final = (AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError, Refused, VerbFailed)
# A lab's machine has ids, versions and addresses of its own: only their form can be compared.
_FORMS: Final = frozenset(
    {"machine-id", "product-uuid", "boot-id", "addresses", "containerd", "kubelet", "kubeadm", "kubectl", "snapshot"}
)


@dataclass(frozen=True, slots=True)
class Tried:
    """What is put to the test: how cpcd reads each kind, and the lab in each situation or state."""

    readings: Mapping[str, Callable[[Transcript, Path], str]] = field(default_factory=lambda: READINGS)
    scenarios: Mapping[str, Callable[[], str]] = field(default_factory=lambda: SCENARIOS)
    observed: Mapping[str, Callable[[Transcript], str | None]] = field(default_factory=lambda: OBSERVED)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One use of one transcript that did not reach what its situation deserves."""

    transcript: Transcript
    use: str
    kind: str
    deserves: str
    reached: str

    def __str__(self) -> str:
        """Return it as one line."""
        where = f"{self.transcript.seq} {self.transcript.group} ({self.transcript.note[:70]})"
        return f"{where}: {self.use} of {self.kind}: deserves {self.deserves!r}, reached {self.reached!r}"


@dataclass(slots=True)
class Report:
    """The counts; `uses` are (matched, in scope) by use and kind, `reasons` what took out how many uses.

    `grounds` says by use how many situations were told by what.
    """

    mismatches: list[Mismatch] = field(default_factory=list)
    matched: int = 0
    mismatched: int = 0
    out: int = 0
    uses: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    grounds: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def in_scope(self) -> int:
        """How many transcripts were judged."""
        return self.matched + self.mismatched

    @property
    def passed(self) -> bool:
        """Whether the share of what was judged is large enough; nothing judged is nothing proved."""
        return self.in_scope > 0 and self.matched >= SHARE * self.in_scope

    def count(self, use: str, kind: str, *, matched: bool) -> None:
        """Count one use."""
        good, all_ = self.uses.get((use, kind), (0, 0))
        self.uses[use, kind] = (good + matched, all_ + 1)

    def lines(self) -> Iterator[str]:
        """Yield what the command prints; the last line is the verdict."""
        yield from map(str, self.mismatches)
        for reason, times in self.reasons.most_common():
            yield f"out of scope, {times} uses: {reason}"
        for use in ("reading", "lab"):
            found = {kind: counts for (of, kind), counts in self.uses.items() if of == use}
            good, judged = (sum(counts[part] for counts in found.values()) for part in (0, 1))
            text = ", ".join(f"{kind} {good}/{judged}" for kind, (good, judged) in found.items())
            yield f"{use}: {good} of {judged}: {text}"
            told = [f"{times} {ground}" for (of, ground), times in sorted(self.grounds.items()) if of == use]
            yield f"{use}: what tells the situation: {', '.join(told) or 'nothing'}"
        yield f"matched {self.matched} of {self.in_scope} in scope, {self.out} out of scope"


def replay(transcripts: Iterable[Transcript], tried: Tried | None = None) -> Report:
    """Return what became of each transcript; the self-test gives wrong code to be `tried`."""
    report, table = Report(), rows()
    for transcript in transcripts:
        cases = [
            (use, kind)
            for kind in kinds(transcript) or ("none",)
            for use in ("reading", "lab")
            if not _taken_out(report, table, use, kind, transcript)
        ]
        wrong = [found for use, kind in cases if (found := _judge(tried or Tried(), use, kind, transcript)) is not None]
        for use, kind in cases:
            report.count(use, kind, matched=not any((use, kind) == (found.use, found.kind) for found in wrong))
        report.grounds.update((use, _ground(use, kind, transcript)) for use, kind in cases)
        report.mismatches += wrong
        report.matched += bool(cases) and not wrong
        report.mismatched += bool(wrong)
        report.out += not cases
    return report


def _taken_out(report: Report, table: Iterable[Row], use: str, kind: str, transcript: Transcript) -> bool:
    row = next((row for row in table if row.takes_out(use, kind, transcript)), None)
    if row is not None:
        report.reasons[row.reason] += 1
    return row is not None


def _judge(tried: Tried, use: str, kind: str, transcript: Transcript) -> Mismatch | None:
    """Return the mismatch of one use, None where it reached what the situation deserves."""
    wanted, rule = _deserved(kind, transcript)
    try:
        reached = _reading(tried, kind, transcript) if use == "reading" else _lab(tried, kind, transcript, rule)
    except BROKEN as error:
        reached = f"{type(error).__name__}: {error}"
    return None if _same(use, kind, wanted, reached) else Mismatch(transcript, use, kind, wanted, reached)


def _deserved(kind: str, transcript: Transcript) -> tuple[str, Rule | None]:
    """Return the class and, where one holds, its rule; a value that is there to be seen comes first."""
    if seen := value(kind, transcript):
        return seen, None
    rule = deserved(kind, transcript)
    return (rule.deserves, rule) if rule else ("what no rule says", None)


def _ground(use: str, kind: str, transcript: Transcript) -> str:
    """Return what tells the situation: a rule's evidence, the status alone, or what a state that is looked at is told by."""
    wanted, rule = _deserved(kind, transcript)
    if kind == "unit":  # what it is like is in the note's words
        return "by the note"
    if use == "reading" and wanted == ANY:
        return "by the status alone"
    if rule is not None and (use == "reading" or rule.lab):
        return f"by the {rule.ground}"
    if use == "reading":
        return "by the value itself"
    return "by the note" if named(transcript) else "by the command line"


def _reading(tried: Tried, kind: str, transcript: Transcript) -> str:
    if kind not in tried.readings:
        return NOTHING
    with tempfile.TemporaryDirectory() as root:
        return tried.readings[kind](transcript, Path(root))


def _lab(tried: Tried, kind: str, transcript: Transcript, rule: Rule | None) -> str:
    if rule is not None and rule.lab:
        return tried.scenarios[rule.lab]()
    reached = tried.observed[kind](transcript) if kind in tried.observed else None
    return NOTHING if reached is None else reached


def _same(use: str, kind: str, wanted: str, reached: str) -> bool:
    if wanted == ANY:
        return reached in REASONS
    if use == "lab" and kind in _FORMS:
        return _form(wanted) == _form(reached)
    return wanted == reached


def _form(text: str) -> str:
    """Return a value's form: hexadecimal words by their length, numbers as such."""
    return re.sub(r"\b\d{1,7}\b", "0", re.sub(r"\b[0-9a-f]{4,}\b", lambda found: "x" * len(found[0]), text))
