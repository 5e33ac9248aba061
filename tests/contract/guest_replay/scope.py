"""What is not replayed, and why: rows of `../guest_out_of_scope.toml`.

A row takes out a use (`reading`, `lab` or `both`) of the transcripts that all of its patterns match. It never names a
transcript by number: other recordings of the same kinds are replayed too.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.contract.guest_replay.deserved import deserved
from tests.contract.guest_replay.evidence import unit
from tests.contract.guest_replay.states import named
from tests.contract.guest_replay.transcript import Transcript

__all__ = ["FILE", "Row", "rows"]

FILE: Final = Path(__file__).parents[1] / "guest_out_of_scope.toml"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: patterns of group, note, argv, output and intervention, and kinds (`none` for no kind at all).

    `unnamed` asks that the note names no state (`states.STATES`, for units `evidence.UNITS`); `deserves` is a pattern too: of classes.
    """

    reason: str
    use: str = "both"
    kind: str = ""
    group: str = ""
    note: str = ""
    argv: str = ""
    said: str = ""
    intervention: str = ""
    unnamed: bool = False
    deserves: str = ""

    def takes_out(self, use: str, kind: str, transcript: Transcript) -> bool:
        """Tell whether a use of one kind of a transcript is out of scope by this row."""
        asked = self.use in {use, "both"} and (not self.kind or kind in self.kind.split(","))
        return asked and self._written(transcript) and self._judged(kind, transcript)

    def _written(self, transcript: Transcript) -> bool:
        read = (
            (self.group, transcript.group),
            (self.note, transcript.note),
            (self.argv, transcript.argv),
            (self.said, transcript.said),
            (self.intervention, transcript.intervention),
        )
        return all(not pattern or re.search(pattern, text, re.IGNORECASE) for pattern, text in read)

    def _judged(self, kind: str, transcript: Transcript) -> bool:
        said = unit(transcript) if kind == "unit" else named(transcript)
        rule = deserved(kind, transcript) if self.deserves else None
        return (not self.unnamed or said is None) and (
            not self.deserves or (rule is not None and re.fullmatch(self.deserves, rule.deserves) is not None)
        )


def rows(file: Path = FILE) -> tuple[Row, ...]:
    """Return the rows; TypeError for a key that is none, ValueError for another use."""
    found = tuple(Row(**row) for row in tomllib.loads(file.read_text(encoding="utf-8"))["row"])
    if wrong := [row.use for row in found if row.use not in {"both", "reading", "lab"}]:
        raise ValueError(f"no such use: {wrong}")
    return found
