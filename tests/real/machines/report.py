"""The last report of each part of the tier, as it is committed: `docs/machines.md`, a section for each."""

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Final

from tests.real.cache import say
from tests.real.machines.pace import PACE, Span

__all__ = ["OVER", "Report"]

_ROOT: Final = Path(__file__).parents[3]
_PAGE: Final = _ROOT / "docs" / "machines.md"
_HEAD: Final = """<!-- Made by `make test-machines`; do not edit. -->
# Machines that boot: the last reports

What each part of `make test-machines` ([lab.md](lab.md#machines-that-boot)) told when its stories last passed, each on the commit
that is named: Debian machines in QEMU, whose processor is emulated, with the real kubeadm, kubelet, etcd and
containerd. Seconds depend on what else the host had to do, so that its load stands beside them, and what is compared is
compared at its pace in either time; ✘ marks what took longer than it may.
"""

_ALLOWED: Final = 1.10
_BY_HAND: Final[defaultdict[str, list[Span]]] = defaultdict(list)
"""When the part that does it by hand did it in this run."""
_OURS: Final[defaultdict[str, list[Span]]] = defaultdict(list)
"""When the daemon did."""
OVER: Final[dict[str, str]] = {}
"""The figures of this run that took longer than is allowed beside what was done by hand, with their words."""


@dataclass(slots=True)
class Report:
    """One part's report while it grows; seconds are counted from when it was made."""

    part: str
    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        """Note a thing that was shown, and how long it took."""
        self.lines.append(f"| {seconds:,.0f} | {what} |")
        say(f"{self.part}: {what}: {seconds:,.0f} s")

    def figure(self, what: str, *spans: Span) -> None:
        """Note how long a thing took that is done by hand too, at once to several machines, beside that where it was.

        They are compared at the host's pace in either time (`pace.py`), and by the clock; of what is done several times
        in a run all that were done so far, together, with as many by hand. A tenth more is allowed at the host's pace;
        what takes longer in the end fails the run (`OVER`).
        """
        (_BY_HAND if self.part == "bare" else _OURS)[what].extend(spans)
        compared = _compared(what) if what in _BY_HAND and what in _OURS else ""
        each = f" ({', '.join(f'{span.seconds:,.0f}' for span in spans)} s)" if len(spans) > 1 else ""
        self.add(f"**{what}**{each}{compared}", _length(spans))

    def write(self) -> None:
        """Put the section in the place of the one before."""
        text = _PAGE.read_text(encoding="utf-8") if _PAGE.exists() else _HEAD
        sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
        sections[self.part] = self._body()
        parts = "".join(f"\n## {part}\n\n{body.strip()}\n" for part, body in sorted(sections.items()))
        _PAGE.write_text(_HEAD + parts, encoding="utf-8")

    def _body(self) -> str:
        when = datetime.now(UTC).strftime("%Y-%m-%d")
        about = (
            f"`make test-machines PART={_parts()}`, {when}, commit {_commit()}: {time.monotonic() - self.began:,.0f} s."
        )
        host = f"{os.cpu_count()} processors, niceness {os.nice(0)}, load {', '.join(f'{each:.1f}' for each in os.getloadavg())}"
        told = "; ".join([host, *(f"{name} {version}" for name, version in self.versions.items())])
        return "\n".join([about, "", f"{told}.", "", "| seconds | what |", "|---:|---|", *self.lines])


def _compared(what: str) -> str:
    """Return how what is done by hand too compares with that, by what was told so far."""
    # As many of either; what is done to several machines at once is told together.
    many = min(len(_OURS[what]), len(_BY_HAND[what]))
    hand, ours = _BY_HAND[what][:many], _OURS[what][:many]
    times, clock = fmean(map(PACE.work, ours)) / fmean(map(PACE.work, hand)), _length(ours) / _length(hand)
    said = f"{'✔' if times <= _ALLOWED else '✘'} {times:.2f} × by hand, on a host {times / clock:.2f} × as fast"
    said = f": {said}; by the clock {clock:.2f} × {_length(hand):,.0f} s"
    OVER.pop(what, None)
    if times > _ALLOWED:
        OVER[what] = f"{what}{said}"
    return said


def _length(spans: Iterable[Span]) -> float:
    return fmean(span.seconds for span in spans)


def _parts() -> str:
    """Return what was named in this run, quoted where that is more than one: a part may go on with what others left."""
    parts = [Path(word).stem for word in sys.argv[1:] if word.endswith(".py")]
    return parts[0] if len(parts) == 1 else f'"{" ".join(parts)}"'


def _commit() -> str:
    """Return the commit; reports of parts that went before are no changes."""
    commit = _git("rev-parse", "--short=12", "HEAD").stdout.strip()
    changed = _git("diff", "--quiet", "HEAD", "--", ".", f":(exclude){_PAGE.relative_to(_ROOT)}").returncode
    return (commit or "unknown") + (", with changes on top" if changed == 1 else "")


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(_ROOT), *words], capture_output=True, text=True, check=False)
