"""`cpcd resume`: undoes `cpcd pause`; `spec.paused` in the file stays in force."""

import click

from cpcd.cli.objects import complete_clusters
from cpcd.cli.output import emit, output_option
from cpcd.cli.session import Session

__all__ = ["command"]


@click.command(short_help="Go on changing a paused cluster.")
@click.argument("cluster", shell_complete=complete_clusters)
@output_option
@click.pass_obj
def command(session: Session, cluster: str, output: str) -> None:
    """Go on changing a paused cluster."""
    answer = session.client().post("/resume", cluster=cluster)
    emit(answer, output, lambda: answer["message"])
