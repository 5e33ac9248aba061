"""`cpcd explain`: a code or a reason, from the tables that the daemon itself uses; no daemon is needed."""

import difflib
from typing import TYPE_CHECKING, Any

import click

from cpcd.cli.output import emit, output_option
from cpcd.model.errors import TABLE, Code, Entry, Failure

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["command", "explained"]


def _complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete a code, else a reason: there are too many of these to offer them unasked."""
    begun = incomplete.lower()
    if codes := [str(row.code) for row in TABLE if str(row.code).lower().startswith(begun)]:
        return codes
    from cpcd.status.reasons import REASONS

    return [reason for reason in REASONS if reason.lower().startswith(begun)]


@click.command(short_help="Explain an error code or a reason, and what to do.")
@click.argument("code", shell_complete=_complete)
@output_option
def command(code: str, output: str) -> None:
    """Explain an error code or a reason, and what to do.

    CODE is such as CPCD-101 or 101, or the reason of a condition such as AuthFailed.
    """
    found = explained(code)
    emit(found, output, lambda: _view(found))


def explained(word: str) -> dict[str, Any]:
    """Return the explanation of a code or reason; raises Failure(InvalidInput) with the nearest known ones."""
    wanted = word.strip().lower()
    for row in TABLE:
        if wanted in {str(row.code).lower(), str(row.code.value), row.reason.lower()}:
            return _of(row)
    from cpcd.status.reasons import REASONS

    for reason, meaning in REASONS.items():
        if wanted == reason.lower():
            return {"reason": reason, "meaning": meaning}
    known = {name.lower(): name for name in (*(str(row.code) for row in TABLE), *REASONS)}
    near = [known[name] for name in difflib.get_close_matches(wanted, known, 3)] or [str(row.code) for row in TABLE]
    raise Failure(
        Code.INPUT, f"there is no code or reason called {word}", hint=f"There are, near to it: {', '.join(near)}."
    )


def _of(row: Entry) -> dict[str, Any]:
    return {
        "code": str(row.code),
        "reason": row.reason,
        "severity": row.severity.name,
        "meaning": row.meaning,
        "next": row.disposition.value,
        "do": row.hint,
    }


def _view(found: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, words in (("what cpcd does", found.get("next")), ("what you can do", found.get("do"))):
        if words:
            grid.add_row(Text(name, style="dim"), words)
    head = Text.assemble((found.get("code", found["reason"]), "bold"), "  ", found["reason"] if "code" in found else "")
    if "code" not in found:
        return Group(head, Text(found["meaning"]))
    return Group(head, Text(found["meaning"]), Text(f"severity {found['severity']}", style="dim"), grid)
