"""`cpcd doctor`: what this machine can tell by itself, then what the daemon sees of Proxmox and its privileges."""

from typing import TYPE_CHECKING, Any

import click

from cpcd.cli.output import emit, output_option, table
from cpcd.cli.session import Session
from cpcd.model.errors import Failure

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["command"]


@click.command(short_help="Check settings, spec, state, git, Proxmox and privileges.")
@output_option
@click.pass_obj
def command(session: Session, output: str) -> int:
    """Check settings, spec, state, git, Proxmox and privileges.

    The settings are those of the daemon that answers; without one they are those of cpcd.toml and the environment, and
    only what this machine can tell is checked. Exit code 1 when something is wrong.
    """
    from cpcd.cli.checks import offline

    try:
        answer = session.client().get("/doctor")
    except Failure as failure:
        silent = {"name": "daemon", "ok": None, "message": str(failure), "hint": failure.hint}
        answer = {"settings": {}, "checks": [silent]}
    checks = [*offline(answer["settings"]), *answer["checks"]]
    emit({"checks": checks}, output, lambda: _view(checks))
    return int(any(check["ok"] is False for check in checks))


def _view(checks: list[dict[str, Any]]) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    marks = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
    made = table("", "CHECK", "RESULT")
    for check in checks:
        advice = [Text(f"do: {check['hint']}", style="dim")] if check["hint"] else []
        made.add_row(Text(*marks[check["ok"]]), check["name"], Group(Text(check["message"]), *advice))
    return made
