"""Mistakes and failures as people see them: code, what happened to what, what to do, where to read more.

Every way out of a command that is not success ends here; an unexpected exception is written to a private file and
named, never shown. Where there is no room for that file, the place where it was raised is named.
"""

import os
import sys
import tempfile
import traceback

import click

from cpcd.model.errors import Code, Failure

__all__ = ["show", "told"]


def told(error: Exception) -> int:
    """Print what went wrong to stderr and return the exit code: 2 for a misuse, else 1."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return 2
        case click.UsageError():
            show(_misuse(error))
            return 2
        case click.ClickException():
            show(Failure(Code.EXECUTION, error.format_message()))
        case Failure():
            show(error)
            return 2 if error.code is Code.INPUT else 1
        case OSError():
            show(_of_the_system(error))
        case _:
            show(_unexpected(error))
    return 1


def show(failure: Failure) -> None:
    """Print one failure to stderr, in colour on a terminal."""
    color = False if os.environ.get("NO_COLOR") else None
    where = f"{failure.target}: " if failure.target else ""
    code = click.style(str(failure.code), fg="red", bold=True)
    click.echo(f"{code} {where}{failure.what}", err=True, color=color)
    click.echo(f"  {click.style('do:', bold=True)} {failure.hint}", err=True, color=color)
    if failure.code is not Code.INPUT:
        click.echo(f"  {click.style('more:', bold=True)} cpcd explain {failure.code}", err=True, color=color)


def _misuse(error: click.UsageError) -> Failure:
    words = error.format_message().rstrip(".").replace("\n", " ")
    command = error.ctx.command_path if error.ctx else "cpcd"
    return Failure(Code.INPUT, words[:1].lower() + words[1:], hint=f"See `{command} --help`.")


def _of_the_system(error: OSError) -> Failure:
    """Say what the system refused: a file that is named, or the writing of what was printed."""
    why = error.strerror or str(error)
    if error.filename is not None:
        hint = "Look at the file and at its directory: is it there, may you use it, has its disk room?"
        return Failure(Code.EXECUTION, why, target=str(error.filename), hint=hint)
    hint = "Look at where the output goes: has its disk room, does the terminal exist?"
    return Failure(Code.EXECUTION, f"what was to be printed cannot be written: {why}", hint=hint)


def _unexpected(error: Exception) -> Failure:
    what = f"unexpected {type(error).__name__}"
    try:
        path = _kept(error)
    except OSError as full:
        last = traceback.extract_tb(error.__traceback__)[-1]
        hint = f"Its story cannot be kept ({full.strerror}): make room for temporary files, or set TMPDIR."
        return Failure(Code.UNKNOWN, f"{what} in {last.name}, line {last.lineno}", hint=hint)
    return Failure(
        Code.UNKNOWN, what, hint=f"Please report it with {path}, which holds the whole story; read it first."
    )


def _kept(error: Exception) -> str:
    """Keep the traceback in a file that only the caller may read: it can show what the terminal should not."""
    fd, path = tempfile.mkstemp(prefix="cpcd-", suffix=".log")
    with os.fdopen(fd, "w") as log:
        log.write(f"cpcd {' '.join(sys.argv[1:2])}\n")
        traceback.print_exception(error, file=log)
    return path
