"""What others answer, before anybody believes it: JSON as RFC 8259 has it, and words that can be shown and stored.

An answer may be of any length, in any encoding, nested without end. Nothing here raises but ValueError, and nothing
knows who was asked; the errors of each side are in its own `failures.py`.
"""

import codecs
import json
import math
import os
import re
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeVar

__all__ = ["Lean", "parse", "part", "reason", "words"]

T = TypeVar("T")
Lean = Callable[[dict[str, Any]], dict[str, Any]]

LONGEST: Final = 1_000  # characters of somebody else's words that a log line, an event and a screen carry
_LONE: Final = re.compile(
    rb"\\u[dD][89a-fA-F]"
)  # half a surrogate pair, perhaps: Python reads it, nothing can write it


def parse(body: bytes, lean: Lean | None = None) -> Any:
    """Return the value of JSON text in UTF-8; ValueError for all else, also for NaN and what nests too deep.

    `lean` takes out of each object what nobody needs, while it is read: of a list of thousands that is most, and the
    whole of it is never there at once.
    """
    try:
        value = _decoder(lean).decode(body.removeprefix(codecs.BOM_UTF8).decode())
        # Only then, since it writes the whole answer once more: half a pair would be refused by whoever stores or shows
        # it.
        if _LONE.search(body):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("JSON that nests too deep") from None
    return value


def part(kind: type[T], obj: Any, *names: str) -> T:
    """Return what stands at a path of names when it is of that kind; ValueError when it is not or is not there."""
    for name in names:
        obj = obj.get(name) if isinstance(obj, dict) else None
    if not isinstance(obj, kind):
        raise ValueError(f"{type(obj).__name__} in the place of {kind.__name__}")  # noqa: TRY004 - of an answer, not of a caller
    return obj


def words(text: object) -> str:
    """Return somebody else's words as text that any log and terminal takes, cut where they go on for ever."""
    said = text if isinstance(text, str) else str(text)
    shown = said if len(said) <= LONGEST else f"{said[:LONGEST]} …"
    return shown if shown.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else "�" for c in shown)


def reason(error: BaseException) -> str:
    """Return why nobody answered in the system's words: those of a library are not for people, its classes even less."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    system = getattr(error, "os_error", error)  # aiohttp wraps it once
    if isinstance(system, socket.gaierror):
        return str(system.strerror)  # its number is no errno
    number = getattr(system, "errno", None)
    return os.strerror(number) if isinstance(number, int) else words(str(error) or "the connection was lost")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"a number beyond all bounds: {number[:20]}")
    return value


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


@lru_cache(maxsize=8)
def _decoder(lean: Lean | None) -> json.JSONDecoder:
    return json.JSONDecoder(object_hook=lean, parse_float=_finite, parse_constant=_refused)
