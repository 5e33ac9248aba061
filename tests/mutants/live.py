"""Puts a mutant into the running interpreter: code of functions is exchanged, values are set wherever they are known.

Only ever in a forked child: nothing is put back. So no file is touched and nothing is imported twice.
"""

import ast
import functools
import inspect
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.mutants.operators import Site, sites

__all__ = ["Mutant", "everything", "load", "mutants", "put", "target"]

WHAT: Final = ("cpcd/plan", "cpcd/loop")
# Where a property, a class method, a cached property and a wrapper keep their function.
_INNER: Final = ("fget", "__func__", "func", "__wrapped__")


@dataclass(frozen=True, slots=True)
class Mutant:
    """The `number`-th change of a module, as `sites` counts them."""

    module: str
    path: str
    number: int
    line: int
    scope: str
    value: bool
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.scope}: {self.what}"


def everything(root: Path) -> list[Mutant]:
    """Return all mutants of what decides, packages within included."""
    return [one for where in WHAT for path in sorted((root / where).rglob("*.py")) for one in mutants(root, path)]


def mutants(root: Path, path: Path) -> list[Mutant]:
    """Return all mutants of one file."""
    relative = path.relative_to(root)
    module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    found = sites(ast.parse(_source(path)))
    return [
        Mutant(module, str(relative), number, one.line, one.scope, one.value, one.what)
        for number, one in enumerate(found)
    ]


@functools.cache
def _source(path: Path) -> str:
    """Read once: a file that is edited during a run must not change what a number means."""
    return path.read_text(encoding="utf-8")


def load(mutant: Mutant) -> None:
    """Make the change in this process."""
    module = sys.modules[mutant.module]
    assert module.__file__ is not None
    tree = ast.parse(_source(Path(module.__file__)))
    site: Site = next(one for number, one in enumerate(sites(tree)) if number == mutant.number)
    site.make()
    put(module, site, tree)


def put(module: types.ModuleType, site: Site, tree: ast.Module) -> None:
    """Let the module go on with a site's function or value as the tree has it."""
    if site.value:
        _set_value(module, site.scope, tree)
    else:
        function = target(module, site.scope)
        function.__code__ = _code(compile(tree, str(module.__file__), "exec"), site.scope, function.__code__)


def target(module: types.ModuleType, scope: str) -> types.FunctionType:
    """Return the live function of a qualified name, out of its property, cache or context manager."""
    found: Any = functools.reduce(inspect.getattr_static, scope.split("."), module)
    while not isinstance(found, types.FunctionType) or hasattr(found, "__wrapped__"):
        inner = (getattr(found, name, None) for name in _INNER)
        found = next(one for one in inner if one is not None)
    return found


def _code(code: types.CodeType, scope: str, old: types.CodeType) -> types.CodeType:
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    for one in inner:
        if one.co_qualname == scope and one.co_name == old.co_name:
            return one
    return next(_code(one, scope, old) for one in inner if scope.startswith(f"{one.co_qualname}."))


def _set_value(module: types.ModuleType, scope: str, tree: ast.Module) -> None:
    owner, _, name = scope.rpartition(".")
    body = (
        next(one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == owner).body
        if owner
        else tree.body
    )
    node: Any = next(one for one in body if name in _names(one))
    new = eval(compile(ast.Expression(node.value), str(module.__file__), "eval"), vars(module))  # noqa: S307 - our own source
    if owner:
        setattr(getattr(module, owner), name, new)
        return
    old = vars(module)[name]
    for other in list(sys.modules.values()):  # `from … import NAME` has made copies
        own = other is module or getattr(other, "__name__", "").startswith(("cpcd.", "tests."))
        if own and vars(other).get(name) is old:
            setattr(other, name, new)


def _names(node: Any) -> list[str]:
    targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
    return [one.id for one in targets if isinstance(one, ast.Name)]
