"""The page of failures, from the one table: `python -m tests.sim.failure_table > docs/reference/failures.md`.

It joins the rows with the lab's faults and the scenarios that play them, and judges nothing.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cpcd.lab.faults import FAULTS
from tests.sim.failure_rows import LAYERS, ROWS, Kind, Row
from tests.sim.fault_scenarios import SCENARIOS

__all__ = ["PLAYED", "page"]

ROOT: Final = Path(__file__).parents[2]
STORIES: Final = "tests/sim/test_faults.py::test_a_fault_is_survived"
OF_THEIR_OWN: Final = ("tests/sim/test_fault_demands.py", "tests/sim/test_fault_files.py")

HEAD: Final = """\
# Failures

What goes wrong outside, by the rows of a corpus of failures that people met with Proxmox, kubeadm and their clients,
and what shows that cpcd stands it. Made by `python -m tests.sim.failure_table`; do not edit.

- **Fault**: a fault of the lab (`cpcd/lab/faults/catalogue.py`). Each is let loose on the whole daemon, by
  `sim/test_faults::test_a_fault_is_survived` in a story of `tests/sim/fault_scenarios.py` (`pytest
  tests/sim/test_faults.py -k NAME`), or by a test of its own. Always shown: it struck, nothing was lost, made twice,
  forgotten or foreign touched, it was said in a sentence or no pass failed of it, and all is as wanted when it is over.
- **Held by**: those tests and others, by file and name, and what else there is to say.
- **Open**: what is not as it should be. A test of it is there where it says so, and fails as expected until it is mended.
"""


def page() -> str:
    """Return the whole page as Markdown."""
    counted = Counter(row.kind for row in ROWS)
    faulty = sum(bool(_faults(row)) for row in ROWS)
    still = sum(bool(row.open) for row in ROWS)
    kinds = ", ".join(f"{count} {kind.value}" for kind, count in counted.items())
    numbers = (
        f"{len(ROWS)} rows: {kinds}. {faulty} of them are faults of the lab ({len(FAULTS)} faults); {still} are open.\n"
    )
    parts = [_layer(letter, title) for letter, title in LAYERS.items()]
    return "\n".join([HEAD, numbers, *parts])


def _layer(letter: str, title: str) -> str:
    rows = [_line(row) for row in ROWS if row.id.startswith(letter)]
    head = ["| Row | What happens | Fault | Held by | Open |", "|---|---|---|---|---|"]
    return "\n".join([f"## {title}", "", *head, *rows, ""])


def _line(row: Row) -> str:
    faults = _faults(row)
    tests = dict.fromkeys([test for name in faults for test in PLAYED.get(name, ())] + list(row.tests))
    named = [f"`{test.removeprefix('tests/').replace('.py::', '::')}`" for test in tests]
    where = row.kind.value if row.kind is not Kind.OUTSIDE else ""
    why = ": ".join(part for part in (where, row.why) if part)
    held = "<br>".join([*([why] if why else []), *named])
    return f"| {row.id} | {row.title} | {'<br>'.join(f'`{name}`' for name in faults)} | {held} | {row.open} |"


def _faults(row: Row) -> list[str]:
    return [fault.name for fault in FAULTS if fault.row == row.id]


def _played() -> dict[str, list[str]]:
    """Return fault -> tests that let it loose: the stories' one, and those that name it."""
    found = {one.fault: [STORIES] for one in SCENARIOS}
    for file in OF_THEIR_OWN:
        for test, name in _naming(ROOT / file):
            tests = found.setdefault(name, [])
            tests += [f"{file}::{test}"] if f"{file}::{test}" not in tests else []
    return found


def _naming(path: Path) -> Iterator[tuple[str, str]]:
    """Yield test and fault for each `named("fault")` in a test or in its parameters."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for test in (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")):
        for node in ast.walk(test):
            match node:
                case ast.Call(func=ast.Name(id="named"), args=[ast.Constant(value=str(name))]):
                    yield test.name, name


PLAYED: Final = _played()


if __name__ == "__main__":
    sys.stdout.write(page())
