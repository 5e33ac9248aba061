"""Say of each behaviour of the lab where it comes from, so that the model can be held against the real thing.

The decorators attach a mark and change nothing else; `marks` finds them again by walking modules. Never does the lab
read a recording at run time. The shares are printed and bounded by `tests/unit/lab_pve/test_provenance.py`.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

__all__ = ["Mark", "guess", "marks", "recorded", "schema", "source"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Mark:
    """Where one behaviour comes from: `kind` is recorded, schema, source or guess; `of` names what it rests on."""

    kind: str
    of: tuple[str, ...]


def _attach(mark: Mark) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        earlier: tuple[Mark, ...] = getattr(function, "__provenance__", ())
        vars(function)["__provenance__"] = (*earlier, mark)
        return function

    return decorate


def recorded(*seq: int) -> Callable[[F], F]:
    """Mark a behaviour as seen in the recorded exchanges with these sequence numbers."""
    return _attach(Mark("recorded", tuple(map(str, seq))))


def schema(*path: str) -> Callable[[F], F]:
    """Mark a behaviour as written in the API's own schema under these paths."""
    return _attach(Mark("schema", path))


def source(*row: str) -> Callable[[F], F]:
    """Mark a behaviour as read in source: a row of `failures.md`, or a file of the product."""
    return _attach(Mark("source", row))


def guess(why: str) -> Callable[[F], F]:
    """Mark a behaviour that nobody has looked at; `why` says what it was assumed from."""
    return _attach(Mark("guess", (why,)))


def marks(package: ModuleType) -> dict[str, tuple[Mark, ...]]:
    """Return qualified name -> marks of every marked function in `package` and below it (imports all modules)."""
    found: dict[str, tuple[Mark, ...]] = {}
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        for function in _functions(importlib.import_module(info.name)):
            if attached := getattr(function, "__provenance__", ()):
                found[f"{function.__module__}.{function.__qualname__}"] = attached
    return found


def _functions(module: ModuleType) -> Iterator[Any]:
    for value in vars(module).values():
        if inspect.isfunction(value):
            yield value
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            members = (getattr(member, "fget", getattr(member, "__func__", member)) for member in vars(value).values())
            yield from filter(inspect.isfunction, members)
