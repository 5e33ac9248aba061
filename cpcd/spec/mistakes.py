"""A mistake in the spec: where it is, what is wrong, what to write instead.

Everything that reads the spec returns these values instead of raising, so that all mistakes are shown at once.
A mistake never repeats a value that could be a secret. `refusals.py` makes them from pydantic's errors.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Mistake", "listing"]


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
        """One line: `cluster.yaml:6:13: spec.controlPlane.replicas: must be odd (1, 3 or 5), not 2`."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{place}: {what}" + (f"; {self.hint}" if self.hint else "")


def listing(mistakes: Iterable[Mistake], files: Mapping[str, bytes] | None = None) -> str:
    """Return all mistakes for a terminal, each with its line of the file and a caret under the place.

    `files` are the bytes that were read; without them only the sentences are listed. Lines that could show a secret
    (a reference written as a value) are left out.
    """
    found = sorted(mistakes)
    blocks = ["\n".join((str(mistake), *_excerpt(mistake, files or {}))) for mistake in found]
    total = f"{len(found)} mistake{'' if len(found) == 1 else 's'}"
    return "\n".join((*blocks, f"{total}; nothing of this spec is put in force"))


def _excerpt(mistake: Mistake, files: Mapping[str, bytes]) -> tuple[str, ...]:
    lines = files.get(mistake.file, b"").decode("utf-8", "replace").split("\n")
    if not 1 <= mistake.line <= len(lines) or "Ref" in mistake.path:
        return ()
    line = "".join(c if c.isprintable() else " " for c in lines[mistake.line - 1])
    start = max(0, mistake.column - 80)
    shown, caret = line[start : start + 100], mistake.column - 1 - start
    return (f"    {shown}", f"    {' ' * caret}^") if shown.strip() else ()
