"""`cpcd reconcile`: breaks a key's backoff and looks at it now."""

import click

from cpcd.cli.objects import complete_anything, find, key_of
from cpcd.cli.output import emit, output_option, wrapped
from cpcd.cli.session import Session

__all__ = ["command"]


@click.command(short_help="Look at an object now, whatever it waits for.")
@click.argument("name", metavar="KIND/NAME|CLUSTER", shell_complete=complete_anything)
@output_option
@click.pass_obj
def command(session: Session, name: str, output: str) -> None:
    """Look at an object now, whatever it waits for; a cluster's name means everything in it.

    Nothing is forced: limits, approvals and quorum hold as ever.
    """
    client = session.client()
    document = client.get("/status")
    clusters = {cluster["name"] for cluster in document["clusters"]}
    answer = client.post("/reconcile", key=name if name in clusters else key_of(find(document, name)))
    emit(answer, output, lambda: wrapped(answer["message"]))
