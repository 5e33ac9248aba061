"""The page of failures, from the one table: `python -m tests.sim.failure_table > docs/reference/failures.md`.

It joins the rows with the lab's faults and the scenarios that play them, and judges nothing.
"""

import sys
from collections import Counter
from typing import Final

from cpcd.lab.faults import FAULTS
from tests.sim.failure_rows import LAYERS, ROWS, Kind, Row
from tests.sim.fault_scenarios import SCENARIOS

__all__ = ["page", "played"]

HEAD: Final = """\
# Failures

What goes wrong outside, by the rows of a corpus of failures that people met with Proxmox, kubeadm and their clients,
and what shows that cpcd stands it. Made by `python -m tests.sim.failure_table`; do not edit.

- **Fault**: a fault of the lab (`cpcd/lab/faults/catalogue.py`). Each is let loose in a story of the whole daemon:
  `pytest tests/sim/test_faults.py -k NAME`. Always shown: nothing lost, made twice, forgotten or foreign touched, said
  in a sentence with its code or reason, and everything as wanted when it is over.
- **Held by**: other tests, by file and name.
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
    tests = [f"`{test.removeprefix('tests/').replace('.py::', '::')}`" for test in row.tests]
    where = row.kind.value if row.kind is not Kind.OUTSIDE else ""
    why = ": ".join(part for part in (where, row.why) if part)
    held = "<br>".join([*([why] if why else []), *tests])
    faults = "<br>".join(f"`{name}`" for name in _faults(row))
    return f"| {row.id} | {row.title} | {faults} | {held} | {row.open} |"


def _faults(row: Row) -> list[str]:
    return [fault.name for fault in FAULTS if fault.row == row.id]


def played() -> dict[str, str]:
    """Return fault -> node id of the test that plays it."""
    rows = {fault.name: fault.row for fault in FAULTS}
    return {
        one.fault: f"tests/sim/test_faults.py::test_a_fault_is_survived[{rows[one.fault]}-{one.fault}]"
        for one in SCENARIOS
    }


if __name__ == "__main__":
    sys.stdout.write(page())
