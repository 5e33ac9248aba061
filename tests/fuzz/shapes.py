"""Whether a value is what its annotation says, all the way down: an input must not be taken as something it is not."""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from cpcd.model.errors import Bug, Failure

__all__ = ["PropertyError", "conforms", "demand", "hints", "judge", "sayable"]

LONGEST = 2_000  # characters that a person is shown of one failure


class PropertyError(AssertionError):
    """What must hold for every input does not hold for this one."""


def demand(holds: object, what: str) -> None:
    """Raise when a property does not hold."""
    if not holds:
        raise PropertyError(what)


def sayable(text: str) -> bool:
    """Whether a text can be written to a log, a terminal and the ledger: UTF-8, and not without end."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) <= LONGEST


def judge(failure: Failure) -> None:
    """Hold a failure to what people are promised: a sentence of bounded length that can be shown, and no bug of ours."""
    if isinstance(failure, Bug):
        raise failure
    demand(sayable(str(failure)) and sayable(failure.hint), "a failure that cannot be shown")
    demand(failure.retry is None or math.isfinite(failure.retry), "a failure that asks for no finite pause")


@functools.cache
def hints(kind: Any) -> dict[str, Any]:
    """Return the annotations of a class, resolved."""
    return typing.get_type_hints(kind)


def conforms(value: Any, hint: Any) -> bool:
    """Return whether a value is of an annotated type; text must be UTF-8, numbers finite, a bool is no int."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _plain(value)
    if isinstance(hint, typing.NewType):
        return conforms(value, hint.__supertype__)
    if origin in {types.UnionType, typing.Union}:
        return any(conforms(value, part) for part in parts)
    return _conforming_all(value, origin, parts) if origin else _conforming_one(value, hint)


def _conforming_all(value: Any, origin: Any, parts: tuple[Any, ...]) -> bool:
    if origin is tuple:
        return _conforming_tuple(value, parts)
    if origin in {list, frozenset}:
        return isinstance(value, origin) and all(conforms(item, parts[0]) for item in value)
    assert origin in {dict, Mapping}, f"nobody knows how {origin} is compared"
    return isinstance(value, Mapping) and all(_conforming_tuple(pair, parts) for pair in value.items())


def _conforming_tuple(value: Any, parts: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple):
        return False
    if parts[-1:] == (...,):
        return all(conforms(item, parts[0]) for item in value)
    return len(value) == len(parts) and all(conforms(item, part) for item, part in zip(value, parts, strict=True))


def _conforming_one(value: Any, hint: Any) -> bool:
    if dataclasses.is_dataclass(hint):
        return type(value) is hint and all(conforms(getattr(value, name), part) for name, part in hints(hint).items())
    if hint is float:
        return type(value) in {int, float} and math.isfinite(value)
    return type(value) is hint and (hint is not str or _utf8(value))


def _plain(value: Any) -> bool:
    match value:
        case str():
            return _utf8(value)
        case float():
            return math.isfinite(value)
        case Mapping():
            return all(_plain(key) and _plain(child) for key, child in value.items())
        case list() | tuple():
            return all(_plain(item) for item in value)
        case _:
            return value is None or isinstance(value, bool | int)


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
