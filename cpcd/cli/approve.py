"""`cpcd approve`: consent for one change, kept in the ledger."""

import click

from cpcd.cli.objects import complete_approvals
from cpcd.cli.output import emit, output_option
from cpcd.cli.session import Session

__all__ = ["command"]


@click.command(short_help="Give consent to a change that waits for it.")
@click.argument("request", metavar="ID", shell_complete=complete_approvals)
@output_option
@click.pass_obj
def command(session: Session, request: str, output: str) -> None:
    """Give consent to a change that waits for it.

    `cpcd plan` and `cpcd status` show what waits, and the ID. The consent is for that change alone.
    """
    answer = session.client().post("/approve", id=request)
    emit(answer, output, lambda: answer["message"])
