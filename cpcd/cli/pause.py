"""`cpcd pause`: a cluster is observed and reported, but not changed, also after a restart of the daemon."""

import click

from cpcd.cli.objects import complete_clusters
from cpcd.cli.output import emit, output_option
from cpcd.cli.session import Session

__all__ = ["command"]


@click.command(short_help="Stop changing a cluster; it is still observed and reported.")
@click.argument("cluster", shell_complete=complete_clusters)
@output_option
@click.pass_obj
def command(session: Session, cluster: str, output: str) -> None:
    """Stop changing a cluster; it is still observed and reported.

    Operations that are on their way are finished. `cpcd resume` undoes it; so does no restart.
    """
    answer = session.client().post("/pause", cluster=cluster)
    emit(answer, output, lambda: answer["message"])
