"""The page of failures is what the table says now, and the table is whole and true."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from cpcd.lab.faults import FAULTS
from tests.sim.failure_rows import ROWS, Kind, Row
from tests.sim.failure_table import page
from tests.sim.fault_scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
COUNTS = {"T": 18, "P": 41, "G": 16, "S": 11, "R": 17, "K": 23, "C": 15, "F": 13, "N": 14, "D": 15}


@cache
def functions(path: str) -> frozenset[str]:
    """Return the names of the functions of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_page_is_current() -> None:
    """`python -m tests.sim.failure_table > docs/reference/failures.md` writes it."""
    assert page() == (ROOT / "docs" / "reference" / "failures.md").read_text(encoding="utf-8")


def test_every_row_of_the_corpus_is_there_once() -> None:
    """All 183, numbered without a gap in each layer."""
    wanted = [f"{letter}{number:02}" for letter, count in COUNTS.items() for number in range(1, count + 1)]

    assert wanted == [row.id for row in ROWS]
    assert len(wanted) == 183


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_what_a_row_points_at_is_there(row: Row) -> None:
    """A fault, a test, a reason or what is open, outside a fault or why there is none; every named test exists."""
    faults = [fault.name for fault in FAULTS if fault.row == row.id]
    missing = [test for test in row.tests if test.partition("::")[2] not in functions(test.partition("::")[0])]

    assert missing == []
    assert faults or row.tests or row.why or row.open
    assert row.kind is not Kind.OUTSIDE or faults or row.open


def test_what_is_open_is_said_in_both_places() -> None:
    """A scenario or demand that fails as expected belongs to a row that is open."""
    rows = {fault.name: fault.row for fault in FAULTS}
    demands = (ROOT / "tests" / "sim" / "test_fault_demands.py").read_text(encoding="utf-8")
    failing = {rows[one.fault] for one in SCENARIOS if one.open} | set(
        re.findall(r'strict=True, reason="(\w\d\d)', demands)
    )

    assert failing <= {row.id for row in ROWS if row.open}
