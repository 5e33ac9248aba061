"""The house rules that a machine can check: doors, documents, sizes, and words that stand in one place."""

import ast
import functools
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
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return a module as it stands in its file, read once for all who look at it."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module."""
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def code_lines(path: Path) -> set[int]:
    """Return the numbers of the lines that are code: no blank line, no comment, no docstring."""
    text = path.read_text(encoding="utf-8")
    numbered = enumerate((line.strip() for line in text.splitlines()), 1)
    found = {number for number, line in numbered if line and not line.startswith("#")}
    for node in ast.walk(parsed(path)):
        first = node.body[0] if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None else None
        if first is not None:
            found -= set(range(first.lineno, (first.end_lineno or 0) + 1))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_why_it_exists_and_stays_small(path: Path) -> None:
    """A module has a docstring and at most 400 lines of code, a function at most 50."""
    tree, code = parsed(path), code_lines(path)
    long = [f.name for f in functions(tree) if len(code & set(range(f.lineno, (f.end_lineno or 0) + 1))) > 50]

    assert ast.get_docstring(tree) is not None
    assert len(code) <= 400
    assert long == []


def door(path: Path) -> set[str] | None:
    """Return what a module lists in __all__, None when it has none."""
    for node in parsed(path).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return None


def source(module: str) -> Path | None:
    """Return the file of a module or package by its name."""
    place = ROOT.parent.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def imported(path: Path) -> set[tuple[str, str]]:
    """Return (module, name) of what a file takes from modules of cpcd, modules themselves left out."""
    return {
        (node.module or "", name.name)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cpcd")
        for name in node.names
        if source(f"{node.module}.{name.name}") is None
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_others_take_is_at_the_door(path: Path) -> None:
    """A name that another module imports is in the `__all__` of the one that it comes from.

    Not in `guest`, whose files travel to a machine together: there, what has no underscore is public.
    """
    taken = imported(path)
    offered = {module: door(found) for module, _ in taken if (found := source(module)) is not None}
    past = {(m, name) for m, name in taken if not m.startswith("cpcd.guest.") and name not in (offered[m] or ())}

    assert past == set()
    assert [name for _, name in taken if name.startswith("_") and name != "__version__"] == []


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
