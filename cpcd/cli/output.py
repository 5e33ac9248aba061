"""How commands print: `-o json|yaml|table`, and the one console with its few styles.

Colours and widths degrade by themselves: NO_COLOR, a pipe, TERM=dumb and narrow terminals are rich's business.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

__all__ = ["FORMATS", "age", "console", "duration", "emit", "output_option", "piped", "table", "wrapped"]

FORMATS: Final = ("table", "json", "yaml")
WIDE: Final = 10_000  # columns: wider than any sentence
F = TypeVar("F", bound=Callable[..., Any])


def output_option(command: F) -> F:
    """Add `-o/--output` to a command, as its parameter `output`."""
    shapes = click.Choice(FORMATS)
    option = click.option("-o", "--output", type=shapes, default="table", show_default=True, help="How to print it.")
    return option(command)


def emit(value: Any, output: str, view: Callable[[], "RenderableType"]) -> None:
    """Print a JSON value as it is, or as `view` lays it out; what is plain text already needs no rich."""
    match output:
        case "json":
            click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        case "yaml":
            import yaml

            click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
        case _:
            shown = view()
            if isinstance(shown, str):
                click.echo(shown)
            elif piped():
                click.echo(_plain(shown))
            else:
                console().print(shown)


def piped() -> bool:
    """Whether a program reads what is printed, and not a person: then there is no width to keep to."""
    return not sys.stdout.isatty() and not os.environ.get("COLUMNS")


def console(width: int | None = None) -> "Console":
    """Return a console on stdout; nothing is highlighted that a style did not ask for."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False, width=width)


def wrapped(text: str) -> str:
    """Return a sentence in lines of the terminal's width; a program gets it in one."""
    return text if piped() else click.wrap_text(text, shutil.get_terminal_size().columns)


def _plain(shown: "RenderableType") -> str:
    """Return what is shown with nothing wrapped or cut, and without the spaces that fill a column up."""
    screen = console(WIDE)
    with screen.capture() as kept:
        screen.print(shown)
    return "\n".join(line.rstrip() for line in kept.get().splitlines())


def table(*columns: str) -> "Table":
    """Return a borderless table whose last column takes the rest and wraps."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for column in columns[:-1]:
        made.add_column(column, no_wrap=True)
    made.add_column(columns[-1], overflow="fold")
    return made


def age(then: str, now: str) -> str:
    """Return the time between two RFC 3339 stamps in one unit: `40s`, `12m`, `3h`, `9d`."""
    return duration((_moment(now) - _moment(then)).total_seconds()) if then and now else ""


def duration(seconds: float) -> str:
    """Return seconds in the largest unit that leaves at least two of it, as kubectl does."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
