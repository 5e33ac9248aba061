"""`cpcd events`: the history that the daemon keeps."""

from typing import Any

import click

from cpcd.cli.objects import complete_anything, find, key_of, meant
from cpcd.cli.output import emit, output_option, piped
from cpcd.cli.session import Session

__all__ = ["command"]


@click.command(short_help="Show what happened, the newest last.")
@click.argument("name", metavar="[KIND/NAME|CLUSTER]", default="", shell_complete=complete_anything)
@click.option("-n", "--limit", default=50, type=click.IntRange(1, 10_000), show_default=True, help="How many at most.")
@output_option
@click.pass_obj
def command(session: Session, name: str, limit: int, output: str) -> None:
    """Show what happened, the newest last: of everything, of a cluster, or of one object, also if it is no more.

    The run id of a line finds all log lines of that pass: journalctl -u cpcd -g RUN.
    """
    from cpcd.cli import views

    client = session.client()
    key = _key(client.get("/status"), name) if name else ""
    events = client.get("/events", key=key, limit=limit)
    emit(events, output, lambda: views.lines(events) if piped() else views.history(events, named=True))


def _key(document: dict[str, Any], name: str) -> str:
    if name in {cluster["name"] for cluster in document["clusters"]}:
        return name
    if "/" in name and not meant(document, name):
        return name  # the daemon's history may know it still
    return key_of(find(document, name))
