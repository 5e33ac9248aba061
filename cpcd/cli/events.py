"""`cpcd events`: the history that the daemon keeps."""

import click

from cpcd.cli.objects import complete_objects, find, key_of
from cpcd.cli.output import emit, output_option
from cpcd.cli.session import Session

__all__ = ["command"]


@click.command(short_help="Show what happened, the newest last.")
@click.argument("name", metavar="[KIND/NAME|CLUSTER]", default="", shell_complete=complete_objects)
@click.option("-n", "--limit", default=50, type=click.IntRange(1, 10_000), show_default=True, help="How many at most.")
@output_option
@click.pass_obj
def command(session: Session, name: str, limit: int, output: str) -> None:
    """Show what happened, the newest last.

    The run id of a line finds all log lines of that pass: journalctl -u cpcd -g RUN.
    """
    from cpcd.cli import views

    client, key = session.client(), ""
    document = client.get("/status")
    if name:
        clusters = {cluster["name"] for cluster in document["clusters"]}
        key = name if name in clusters else key_of(find(document, name))
    events = client.get("/events", key=key, limit=limit)
    names = {key_of(entry): f"{entry['kind']}/{entry['name']}" for entry in document["objects"]}
    emit(events, output, lambda: views.history(events, names=names))
