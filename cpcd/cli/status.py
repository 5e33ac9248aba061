"""`cpcd status`: the daemon's document as a table, one object in depth, or the same live."""

import contextlib
from typing import Any

import click

from cpcd.cli.client import Client
from cpcd.cli.objects import complete_objects, find, key_of
from cpcd.cli.output import console, emit, output_option
from cpcd.cli.session import Session
from cpcd.model.errors import Failure

__all__ = ["command"]


@click.command(short_help="Show clusters and objects, or one object with its history.")
@click.argument("name", metavar="[KIND/NAME]", default="", shell_complete=complete_objects)
@click.option("-w", "--watch", is_flag=True, help="Stay and follow; Ctrl-C ends it.")
@click.option("-n", "--interval", metavar="SECONDS", default=1.0, type=click.FloatRange(0.2, 3600), show_default=True,
              help="How often to look with --watch.")  # fmt: skip
@output_option
@click.pass_obj
def command(session: Session, name: str, watch: bool, interval: float, output: str) -> None:
    """Show clusters and objects, or one object with its history.

    KIND/NAME is such as machine/home-wk-1 or addon/cni; a bare name does where it is unique. A cluster is shown with
    all of its own conditions.
    """
    from cpcd.cli import views

    chosen = click.get_current_context().get_parameter_source("interval")
    if not watch and chosen is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--interval is how often --watch looks; add --watch")
    if watch and (name or output != "table"):
        raise click.UsageError("--watch shows the table of everything; leave out KIND/NAME and -o")
    client = session.client()
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(client, interval)
    elif name:
        shown = _one(client, name)
        emit(shown, output, lambda: views.one(shown))
    else:
        document = client.get("/status")
        emit(document, output, lambda: views.everything(document))


def _one(client: Client, name: str) -> dict[str, Any]:
    document = client.get("/status")
    entry = find(document, name)
    events = client.get("/events", key=key_of(entry), limit=10)
    whole = [one for one in document["clusters"] if entry["kind"] == "cluster" and one["name"] == entry["name"]]
    return {"at": document["at"], "object": entry, "cluster": whole[0] if whole else None, "events": events}


def _follow(client: Client, interval: float) -> None:
    """Show the table in place on a terminal, elsewhere each new first sentence as a line.

    A daemon that goes away is said and waited for: it may just be starting again.
    """
    import gc
    import time

    from rich.live import Live

    from cpcd.cli import views

    gc.enable()
    screen, told = console(), ""
    with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            document, sentence = _look(client)
            if screen.is_terminal:
                live.update(views.everything(document) if document else views.silent(sentence), refresh=True)
            elif sentence != told:
                screen.print(sentence, soft_wrap=True)
                told = sentence
            time.sleep(interval)


def _look(client: Client) -> tuple[dict[str, Any], str]:
    try:
        document: dict[str, Any] = client.get("/status")
    except Failure as failure:
        return {}, f"{failure}; waiting for it"
    return document, document["sentence"]
