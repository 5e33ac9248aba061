"""`cpcd demo`: the story of the README, played and checked by `cpcd/lab/demo/`; START THERE at `story.py`."""

import click

__all__ = ["command"]


@click.command(short_help="Play the whole story on the lab; needs no hardware.")
@click.option(
    "--keep",
    is_flag=True,
    help="Leave everything running at the end, also after a false statement, and say how to look around.",
)
def command(keep: bool) -> int:
    """Play the whole story on the lab; needs no hardware.

    Two real processes on loopback addresses: the lab, and the daemon on a git work tree. Each statement is checked;
    the exit code is 1 when one is false. Ctrl-C ends both processes, a second one kills them.
    """
    from cpcd.lab.demo import main

    return main(keep=keep)
