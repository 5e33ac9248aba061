"""`cpcd validate`: the spec as the daemon will read it, before it is committed; no daemon is needed.

One that keeps this spec is asked what stands already against it: its ledger knows what cannot change any more.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpcd.cli.output import emit, output_option
from cpcd.cli.session import Session
from cpcd.cli.specfiles import read_bytes, spec_path
from cpcd.model.errors import Failure

if TYPE_CHECKING:
    from cpcd.spec import Mistake, Reading

__all__ = ["command"]


@click.command(short_help="Check cluster.yaml; all mistakes at once, with line and column.")
@click.argument("path", metavar="[PATH]", default="", type=click.Path())
@click.option("--show-defaults", is_flag=True, help="Print the whole effective file, every default filled in.")
@output_option
@click.pass_obj
def command(session: Session, /, path: str, show_defaults: bool, output: str) -> int:
    """Check cluster.yaml; all mistakes at once, with line and column.

    PATH is a file, a directory of files, or - for standard input  [default: $CPCD_SPEC, ./cluster.yaml, `spec` of
    cpcd.toml]. The file as it lies there is checked, committed or not; beside the daemon that keeps it, what cannot
    change any more is checked too. Exit code 1 when there are mistakes.
    """
    from cpcd import spec

    where = spec_path(path)
    files, referred = read_bytes(where)
    reading = spec.read_spec(files, referred=referred)
    mistakes, compared, warnings = (reading.mistakes, "", []) if reading.mistakes else _standing(session, where, files)
    if show_defaults and output == "table" and not mistakes:
        click.echo("---\n".join(spec.show_defaults(document) for document in reading.documents), nl=False)
        return 0
    told = _told(reading, mistakes, warnings) | ({"effective": _effective(reading)} if show_defaults else {})
    emit(
        told, output, lambda: spec.listing(mistakes, files) if mistakes else _valid(where, reading, compared, warnings)
    )
    return 1 if mistakes else 0


def _standing(session: Session, where: str, files: dict[str, bytes]) -> tuple[tuple["Mistake", ...], str, list[str]]:
    """Return what the daemon that keeps this spec has against it, words about that where there is one, and warnings."""
    from cpcd.spec import Mistake

    try:
        if where == "-" or not Path(session.path).is_socket():
            return (), "", []
        answer = session.client(timeout=10).get("/check", place=os.path.realpath(where))
    except (Failure, OSError) as error:
        why = getattr(error, "what", "") or getattr(error, "strerror", "")
        return (), f"; not compared with what stands: {why}", []
    shown = {Path(name).name: name for name in files}
    found = tuple(Mistake(**{**one, "file": shown[one["file"]]}) for one in answer["mistakes"])
    return found, "; nothing that stands is against it" if answer["compared"] else "", answer["warnings"]


def _told(reading: "Reading", mistakes: tuple["Mistake", ...], warnings: list[str]) -> dict[str, Any]:
    return {
        "valid": not mistakes,
        "generation": reading.digest,
        "clusters": [document.name for document in reading.documents],
        "mistakes": [asdict(mistake) for mistake in mistakes],
        "warnings": warnings,
    }


def _effective(reading: "Reading") -> list[dict[str, Any]]:
    from cpcd.spec import effective

    return [effective(document) for document in reading.documents]


def _valid(path: str, reading: "Reading", compared: str, warnings: list[str]) -> str:
    names = ", ".join(document.name for document in reading.documents)
    told = f"{path}: valid ({names}), generation {reading.digest[:12]}{compared}"
    return "\n".join((told, *(f"warning: {warning}" for warning in warnings)))
