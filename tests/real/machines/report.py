"""The last report of each part of the tier, as it is committed: `docs/machines.md`, a section for each."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Final, TypeAlias

from tests.real.cache import say
from tests.real.machines.pace import Pace, Span

__all__ = ["OVER", "Figures", "Report"]

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
OVER: Final[dict[str, str]] = {}
"""The figures of this run that took longer than is allowed beside what was done by hand, with their words."""

Figures: TypeAlias = dict[str, list[Span]]
"""When what is done by hand too was done, each time, by what it is."""


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

    def figures(self, told: Figures) -> None:
        """Note how long things took that are done by hand too."""
        for what, spans in told.items():
            self.add(f"**{what}**{_each(spans)}", _length(spans))

    def beside(self, ours: Figures, hand: Figures, pace: Pace) -> None:
        """Note how long it all took beside the same by hand, what was done several times together.

        They are compared at the host's pace in either time, and by the clock. A tenth more is allowed at its pace; what
        takes longer fails the run (`OVER`).
        """
        for what, spans in ours.items():
            others = hand[what]
            assert len(spans) == len(others), f"{what}: {len(spans)} beside {len(others)}"
            clock = _length(spans) / _length(others)
            times = fmean(map(pace.work, spans)) / fmean(map(pace.work, others))
            mark = "✔" if times <= _ALLOWED else "✘"
            said = f"{mark} {times:.2f} × by hand, on a host {times / clock:.2f} × as fast; by the clock {clock:.2f} ×"
            line = f"**{what}**{_each(spans)}: {said} {_length(others):,.0f} s{_each(others)}"
            self.add(line, _length(spans))
            if times > _ALLOWED:
                OVER[what] = line

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


def _length(spans: Iterable[Span]) -> float:
    return fmean(span.seconds for span in spans)


def _each(spans: Iterable[Span]) -> str:
    """Return how long each took, where there are several."""
    told = [f"{span.seconds:,.0f}" for span in spans]
    return f" ({', '.join(told)} s)" if len(told) > 1 else ""


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
