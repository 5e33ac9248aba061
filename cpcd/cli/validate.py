"""`cpcd validate`: the spec as the daemon will read it, before it is committed; no daemon is needed."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cpcd.cli.output import emit, output_option
from cpcd.cli.specfiles import read_bytes, spec_path

if TYPE_CHECKING:
    from cpcd.spec import Reading

__all__ = ["command"]


@click.command(short_help="Check cluster.yaml; all mistakes at once, with line and column.")
@click.argument("path", metavar="[PATH]", default="", type=click.Path())
@click.option("--show-defaults", is_flag=True, help="Print the whole effective file, every default filled in.")
@output_option
def command(path: str, show_defaults: bool, output: str) -> int:
    """Check cluster.yaml; all mistakes at once, with line and column.

    PATH is a file, a directory of files, or - for standard input  [default: $CPCD_SPEC, ./cluster.yaml,
    /etc/cpcd/cluster.yaml]. The file as it stands is checked, committed or not. Exit code 1 when there are mistakes.
    """
    from cpcd import spec

    where = spec_path(path)
    files, referred = read_bytes(where)
    reading = spec.read_spec(files, referred=referred)
    if show_defaults and output == "table" and not reading.mistakes:
        click.echo("---\n".join(spec.show_defaults(document) for document in reading.documents), nl=False)
        return 0
    emit(_told(reading, show_defaults=show_defaults), output, lambda: _words(where, reading, files))
    return 1 if reading.mistakes else 0


def _told(reading: "Reading", *, show_defaults: bool) -> dict[str, Any]:
    from cpcd.spec import effective

    told: dict[str, Any] = {
        "valid": not reading.mistakes,
        "generation": reading.digest,
        "clusters": [document.name for document in reading.documents],
        "mistakes": [asdict(mistake) for mistake in reading.mistakes],
    }
    return told | ({"effective": [effective(document) for document in reading.documents]} if show_defaults else {})


def _words(path: str, reading: "Reading", files: dict[str, bytes]) -> str:
    from cpcd.spec import listing

    if reading.mistakes:
        return listing(reading.mistakes, files)
    names = ", ".join(document.name for document in reading.documents)
    return f"{path}: valid ({names}), generation {reading.digest[:12]}"
