"""`cpcd explain`: a code, a reason or a condition, from the tables that the daemon itself uses; no daemon is needed."""

import difflib
from typing import TYPE_CHECKING, Any

import click

from cpcd.cli.output import emit, output_option
from cpcd.model.errors import TABLE, Code, Entry, Failure

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["command", "explained"]


def _complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete a code, else a reason or a condition: there are too many of these to offer them unasked."""
    begun = incomplete.lower()
    if codes := [str(row.code) for row in TABLE if str(row.code).lower().startswith(begun)]:
        return codes
    from cpcd.status.reasons import CONDITIONS, REASONS

    return [word for word in sorted({*REASONS, *CONDITIONS}) if word.lower().startswith(begun)]


@click.command(short_help="Explain an error code, a reason or a condition.")
@click.argument("code", shell_complete=_complete)
@output_option
def command(code: str, output: str) -> None:
    """Explain an error code, a reason or a condition, and what to do.

    CODE is such as CPCD-101 or 101, a condition such as Stalled, the reason of one such as AuthFailed, or that of an event
    such as Clone.
    """
    found = explained(code)
    emit(found, output, lambda: _view(found))


def explained(word: str) -> dict[str, Any]:
    """Return what a word means as a code, reason or condition, of which it may be two.

    Raises Failure(InvalidInput) with the nearest known ones.
    """
    wanted = word.strip().lower()
    for row in TABLE:
        if wanted in {str(row.code).lower(), str(row.code.value), row.reason.lower()}:
            return _of(row)
    from cpcd.status.reasons import CONDITIONS, REASONS

    reason = next(({"reason": name, "meaning": words} for name, words in REASONS.items() if wanted == name.lower()), {})
    held = next(
        ({"condition": name, "true": words} for name, words in CONDITIONS.items() if wanted == name.lower()), {}
    )
    if reason or held:
        return reason | held
    raise _unknown(word, [*REASONS, *CONDITIONS])


def _unknown(word: str, names: list[str]) -> Failure:
    codes = [str(row.code) for row in TABLE]
    known = {name.lower(): name for name in (*codes, *names)}
    near = [known[name] for name in difflib.get_close_matches(word.strip().lower(), known, 3)]
    hint = f"There are, near to it: {', '.join(near)}." if near else f"Codes are {', '.join(codes)}."
    return Failure(Code.INPUT, f"there is no code, reason or condition called {word}", hint=hint)


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
    if "code" not in found:
        head = Text(found.get("reason") or found["condition"], style="bold")
        held = [f"As a condition: {found['true']}"] if "condition" in found else []
        return Group(head, *map(Text, [found["meaning"], *held] if "reason" in found else held))
    head = Text.assemble((found["code"], "bold"), "  ", found["reason"])
    return Group(head, Text(found["meaning"]), Text(f"severity {found['severity']}", style="dim"), grid)
