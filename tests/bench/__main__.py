"""`make bench`: measure everything, print each figure beside its budget, write `bench.json`; exit 1 when one is over.

With names of parts only those are measured, and nothing is written.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.builds import builds, idle
from tests.bench.engine import noop, queue
from tests.bench.process import commands, daemon, thousand_machines
from tests.bench.row import Row

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "noop": noop,
    "queue": queue,
    "idle": idle,
    "commands": commands,
    "daemon": daemon,
    "size": thousand_machines,
    "builds": builds,
}


def main(wanted: list[str]) -> int:
    """Measure the named parts, all without a name."""
    rows = []
    for name in wanted or PARTS:
        for row in PARTS[name]():
            print(_line(row), flush=True)  # noqa: T201 - a program's output
            rows.append(row)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    document = {
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "rows": [row.document() for row in rows],
    }
    if not wanted:
        Path("bench.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.ok for row in rows) else 1


def _line(row: Row) -> str:
    sign = "≥" if row.least else "≤"
    budget = "" if row.budget is None else f"{sign} {row.budget:g}"
    return f"{'✔' if row.ok else '✘'} {row.name:<46} {row.value:>12.1f} {budget:>10} {row.unit:<14} {row.note}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
