"""`cpcd demo`: the story of the README, played and checked by `cpcd/lab/demo/`; START THERE at `story.py`."""

import click

from cpcd.cli.output import emit, output_option

__all__ = ["command"]


@click.command(short_help="Play the whole story on the lab; needs no hardware.")
@click.option(
    "--keep",
    is_flag=True,
    help="Leave everything running at the end, also after a false statement, and say how to look around.",
)
@output_option
def command(keep: bool, output: str) -> int:
    """Play the whole story on the lab; needs no hardware.

    Two real processes on loopback addresses: the lab, and the daemon on a git work tree. Each statement is checked;
    the exit code is 1 when one is false. Ctrl-C ends both processes, a second one kills them. With `-o json` or `yaml`
    the play is shown on standard error, and its statements, figures and calls are printed at the end.
    """
    from cpcd.lab.demo import main

    return main(keep=keep, report=None if output == "table" else lambda account: emit(account, output, str))
