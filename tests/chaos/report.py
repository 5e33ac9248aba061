"""The figures of a run, for people as lines and for `docs/chaos.json` as one document that explains itself."""

import functools
import json
import platform
import resource
import sqlite3
import ssl
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cpcd
from tests.chaos.phases import PHASES, Run
from tests.chaos.verify import CHECKS

__all__ = ["figures", "summary", "write"]

SUMMED = (
    "kills", "with_operations_open", "by_moment", "operations_open", "connections", "faults", "lab_seconds_stopped",
    "told_after_lab_seconds",
)  # fmt: skip
LIBRARIES = ("aiohttp", "asyncssh", "kubernetes", "proxmoxer", "cryptography")


def write(run: Run, path: Path) -> None:
    """Write the document."""
    path.write_text(json.dumps(figures(run), indent=1) + "\n", encoding="utf-8")


def figures(run: Run) -> dict[str, Any]:
    """Return the document: how to run it again, with what, what was done in each phase, what was checked."""
    return {
        "about": "The real daemon (`cpcd run`) against the lab (`cpcd lab`), processes of their own over real sockets on "
        "loopback, killed, cut off, without disk and stopped; after every story the checks below. Dice choose moments and "
        "faults by the seed, real time does the rest: a seed repeats the choices, not the schedule.",
        "command": f"make chaos KILLS={run.kills} SEED={run.seed}",
        "ok": not run.wrong,
        "violations": run.wrong,
        "again": _again(run),
        "skipped": run.skipped,
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(run.elapsed),
        "cpu_seconds": round(_processor()),
        "lab_seconds_in_a_second": run.rate,
        "versions": _versions(),
        "phases": {name: _phase(run, name, phase.__doc__ or "") for name, phase in PHASES.items()},
        "checks": {"after_each_story": list(CHECKS), "stories": len(run.told), "done": len(run.told) * len(CHECKS)},
        "stories": run.told,
    }


def summary(run: Run, *, whole: bool) -> str:
    """Return the closing lines: what was done, what was wrong, how to play it again."""
    lines = [f"skipped: {name}: {why}" for name, why in run.skipped.items()]
    lines += [f"WRONG {said}" for said in run.wrong]
    lines += [f"again: {command}" for command in _again(run)]
    lines += [] if whole else ["interrupted; everything that was started is ended"]
    faults = sum(sum(counts.values()) for one in run.told for counts in one.get("faults", {}).values())
    disks, stops = (
        sum("disk" in one for one in run.told),
        sum(len(one.get("lab_seconds_stopped", ())) for one in run.told),
    )
    done = f"{run.killed} kills, {faults} faults on connections, {disks} disks taken, {stops} stops"
    lines.append(
        f"chaos: {len(run.told)} stories, {done}, {len(run.wrong)} violations, {run.elapsed:.0f} s, seed {run.seed}"
    )
    return "\n".join(lines)


def _again(run: Run) -> list[str]:
    """Return the commands that play again what went wrong."""
    places = dict.fromkeys(said.partition(":")[0].rpartition("/")[0] for said in run.wrong)
    return [f"python -m tests.chaos --kills {run.kills} --seed {run.seed} --only {place}" for place in places]


def _phase(run: Run, name: str, what: str) -> dict[str, Any]:
    told = [one for one in run.told if one["place"].partition("/")[0] == name]
    figures: list[Any] = [{key: one[key] for key in SUMMED if key in one} for one in told]
    return {
        "what": what,
        "stories": len(told),
        "seconds": round(sum(one.get("seconds", 0) for one in told)),
        **functools.reduce(_added, figures, {}),
        "violations": sum(len(one["wrong"]) for one in told),
    }


def _added(one: Any, other: Any) -> Any:
    """Add figures: numbers, lists, and mappings of them by their keys."""
    if not isinstance(other, Mapping):
        return one + other
    zeros = {key: type(value)() for key, value in other.items()}
    return {**one, **{key: _added(one.get(key, zeros[key]), value) for key, value in other.items()}}


def _processor() -> float:
    """Return the processor seconds of this process and of all that it started and ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _versions() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "cpcd": cpcd.__version__,
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        **{name: version(name) for name in LIBRARIES},
    }
