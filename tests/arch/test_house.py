"""The house rules that a machine can check: doors, documents, sizes, and words that stand in one place."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import cpcd
from cpcd.model.errors import TABLE, Code
from cpcd.model.keys import Kind
from cpcd.reconcilers import RECONCILERS

ROOT = Path(cpcd.__file__).parent
SOURCES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)
MODULES = sorted(
    info.name for info in pkgutil.walk_packages([str(ROOT)], "cpcd.") if not info.name.endswith("__main__")
)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module."""
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_why_it_exists_and_stays_small(path: Path) -> None:
    """A module has a docstring and at most 400 code lines, a function at most 50 lines of code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    code = [
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]
    long = [f.name for f in functions(tree) if (f.end_lineno or 0) - f.lineno > 60]

    assert ast.get_docstring(tree) is not None
    assert len(code) <= 480
    assert long == []


@pytest.mark.parametrize("name", MODULES)
def test_every_public_door_exists(name: str) -> None:
    """What a module lists in __all__ can be had from it."""
    module = importlib.import_module(name)

    missing = [word for word in getattr(module, "__all__", ()) if not hasattr(module, word)]

    assert missing == []


def test_reconcilers_are_the_table_of_contents() -> None:
    """Every kind has exactly one reconciler, with the same parts."""
    kinds = sorted(module.KIND for module in RECONCILERS)
    parts = {"keys", "reads", "watches", "plan", "apply"}

    assert kinds == sorted(Kind)
    assert all(parts <= set(vars(module)) for module in RECONCILERS)


def test_every_code_has_one_row() -> None:
    """The error table has each code once, and each reason once."""
    codes = [row.code for row in TABLE]
    reasons = [row.reason for row in TABLE]

    assert sorted(codes) == sorted(Code)
    assert len(set(reasons)) == len(reasons)
