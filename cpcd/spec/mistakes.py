"""A mistake in the spec: where it is, what is wrong, what to write instead.

Everything that reads the spec returns these values instead of raising, so that all mistakes are shown at once.
A mistake never repeats a value that could be a secret. `refusals.py` makes them from pydantic's errors.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from cpcd.model.errors import Code

__all__ = ["MOST", "Mistake", "counted", "few", "listing", "readable", "seen", "starred"]

T = TypeVar("T")

MOST: Final = 100
"""Mistakes that are told at a time: who has more looks at the first ones, and to find all of them can take minutes."""
_LONGEST: Final = 1_000
_WORD: Final = re.compile(r"\S+")
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what libyaml counts as the end of a line


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake; `line` and `column` count from 1 (0 when the whole file is meant), `path` is empty for syntax."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """One line: `cluster.yaml:6:13: spec.controlPlane.replicas: must be odd (1, 3 or 5), not 2`.

        Whatever it quotes of the file, it is one line that a terminal can show, of a thousand characters at most.
        """
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        what = f"{self.path}: {self.message}" if self.path else self.message
        said = f"{place}: {what}" + (f"; {self.hint}" if self.hint else "")
        shown = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} …"
        return shown if shown.isprintable() else "".join(c if c.isprintable() else " " for c in shown)


def readable(name: str) -> str:
    """Return a file's name as text; a byte that is not UTF-8, as `os.fsdecode` reads it, is shown by its number."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def starred(text: str) -> str:
    """Return a text of the same length with stars for who logs in by a URL, password and all.

    All before a word's last `@` counts: a password has the slashes and at signs that people forget to escape.
    """
    return _WORD.sub(_without_user, text) if "@" in text else text


def _without_user(word: re.Match[str]) -> str:
    head, at, host = word[0].rpartition("@")
    scheme, slashes, user = head.partition("//") if "//" in head else ("", "", head)
    return f"{scheme}{slashes}{'*' * len(user)}{at}{host}" if slashes or ":" in user else word[0]


def seen(value: Any) -> str:
    """Return a value as a message repeats it: short, in one line; only where no secret can stand (`paths.secret`)."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'"{starred(value)[:40]}{"…" if len(value) > 40 else ""}"'
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return str(value)[:40]


def few(mistakes: Iterable[T]) -> list[T]:
    """Take no more than tells that there are more than `MOST`."""
    return list(islice(mistakes, MOST + 1))


def counted(mistakes: Sequence[Mistake]) -> str:
    """Return how many mistakes there are, as far as they were looked for."""
    if len(mistakes) > MOST:
        return f"more than {MOST} mistakes"
    return f"{len(mistakes)} mistake{'' if len(mistakes) == 1 else 's'}"


def listing(mistakes: Iterable[Mistake], files: Mapping[str, bytes] | None = None) -> str:
    """Return all mistakes for a terminal, each with its line of the file and a caret under the place.

    `files` are the bytes that were read; without them only the sentences are listed. Lines that could show a secret
    (a reference written as a value) are left out.
    """
    found = sorted(mistakes)
    names = {mistake.file for mistake in found}
    lines = {
        name: _BREAK.split(content.decode("utf-8", "replace"))
        for name, content in (files or {}).items()
        if name in names
    }
    blocks = ["\n".join((str(mistake), *_excerpt(mistake, lines.get(mistake.file, ())))) for mistake in found]
    return "\n".join((*blocks, f"{Code.CONFIG} {counted(found)}; nothing of this spec is put in force"))


def _excerpt(mistake: Mistake, lines: Sequence[str]) -> tuple[str, ...]:
    # Where a reference belongs people write the secret itself.
    if not 1 <= mistake.line <= len(lines) or "Ref" in mistake.path:
        return ()
    # A file may be one line of a mebibyte: what is around the place is shown.
    start = max(0, mistake.column - 80)
    cut, caret = starred(lines[mistake.line - 1])[start : start + 100], mistake.column - 1 - start
    shown = "".join(c if c.isprintable() else " " for c in cut)
    return (f"    {shown}", f"    {' ' * caret}^") if shown.strip() else ()
