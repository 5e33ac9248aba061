"""`make bench`: measure everything, print each figure beside its budget, write `bench.json`; exit 1 when one is over.

With names of parts only those are measured, and nothing is written.
"""

import compileall
import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.builds import builds, seeds
from tests.bench.engine import noop, queue
from tests.bench.process import commands, daemon, thousand_machines
from tests.bench.row import Row, pressed, pressure

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "noop": noop,
    "queue": queue,
    "commands": commands,
    "daemon": daemon,
    "thousand": thousand_machines,
    "builds": builds,
    "seeds": seeds,
}


def main(wanted: list[str]) -> int:
    """Measure the named parts, all without a name."""
    compileall.compile_dir("cpcd", quiet=1)  # as it is where cpcd is installed, and not where it is being edited
    rows, since = [], pressure()
    for name in wanted or PARTS:
        for row in PARTS[name]():
            print(row.line(), flush=True)  # noqa: T201 - a program's output
            rows.append(row)
    if not wanted:
        document = {**_machine(pressed(since)), "rows": [row.document() for row in rows]}
        Path("bench.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.ok for row in rows) else 1


def _machine(busy: float) -> dict[str, Any]:
    """Return what was measured, and on what: an interpreter without its own optimisation is half as fast."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    optimised = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return {
        "commit": commit.stdout.strip(), "python": platform.python_version(), "optimised": optimised,
        "processors": os.cpu_count(), "waited": round(busy, 2),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
