"""docs/mutants.json and docs/mutants.md: the score, where it was measured, and every survivor by name."""

import json
import platform
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.mutants.live import Mutant
from tests.mutants.runner import SURVIVED, TIMEOUT, UNMADE, UNREACHED

__all__ = ["ALIVE", "page", "summary", "write"]

ALIVE = {SURVIVED, UNMADE, UNREACHED}


def summary(results: Mapping[Mutant, str], *, root: Path, seed: int, whole: int, seconds: float) -> dict[str, Any]:
    """Return the figures of a run; `whole` is how many mutants there are altogether."""
    modules = sorted({mutant.path for mutant in results})
    alive = [mutant for mutant, outcome in results.items() if outcome in ALIVE]
    return {
        **_figures(results),
        "whole": whole,
        "seed": seed,
        "seconds": round(seconds),
        "head": _git(root, "rev-parse", "HEAD"),
        "dirty": bool(_git(root, "status", "--porcelain", "--", "cpcd", "tests")),
        "date": _git(root, "log", "-1", "--format=%cs"),
        "tool": f"tests/mutants on Python {platform.python_version()}",
        "modules": {
            path: _figures({mutant: outcome for mutant, outcome in results.items() if mutant.path == path})
            for path in modules
        },
        "survivors": sorted(f"{mutant} [{results[mutant]}]" for mutant in alive),
    }


def _figures(results: Mapping[Mutant, str]) -> dict[str, Any]:
    counts = Counter(results.values())
    alive = sum(counts[outcome] for outcome in ALIVE)
    killed = len(results) - alive
    score = round(100 * killed / len(results), 1) if results else 0.0
    return {"score": score, "mutants": len(results), "killed": killed, "survived": alive, **_details(counts)}


def _details(counts: Mapping[str, int]) -> dict[str, int]:
    return {"timeouts": counts[TIMEOUT], "unmade": counts[UNMADE], "unreached": counts[UNREACHED]}


def page(figures: Mapping[str, Any]) -> str:
    """Return the page: the score in a sentence, a table of modules, the survivors."""
    rows = [
        f"| `{path}` | {one['mutants']} | {one['killed']} | {one['survived']} | {one['score']} % |"
        for path, one in figures["modules"].items()
    ]
    survivors = [f"- `{one}`" for one in figures["survivors"]] or ["None."]
    commit = f"commit {figures['head'][:12]} of {figures['date']}" + (
        ", with changes on top" if figures["dirty"] else ""
    )
    told = (
        f"**{figures['score']} %** of {figures['mutants']} mutants are killed by the unit tests: a sample with seed "
        f"{figures['seed']} of the {figures['whole']:,} that there are, at {commit}, by {figures['tool']}, in "
        f"{figures['seconds']} s. A mutant is one decision that is another one: a comparison, a condition, a limit, a "
        "return, a guard left out. It is killed when a test fails, or does not end."
    )
    left = (
        "What no test tells apart: equivalent code (a cheaper way to the same decision), pauses and texts that "
        "nothing rests on, or a decision that a test should be written for."
    )
    head = ("<!-- Made by `make mutants`; do not edit. -->", "# Mutation testing of plan and loop", "", told, "")
    table = ("| module | mutants | killed | survived | score |", "|---|---|---|---|---|", *rows, "")
    return "\n".join((*head, *table, "## Survivors", "", left, "", *survivors, ""))


def write(figures: Mapping[str, Any], docs: Path) -> None:
    """Write both files."""
    (docs / "mutants.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (docs / "mutants.md").write_text(page(figures), encoding="utf-8")


def _git(root: Path, *words: str) -> str:
    """Ask git; a tree without one has no commit to name."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
