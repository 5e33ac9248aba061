"""`cpcd plan`: all remaining steps, by cluster, each with what it disturbs; the daemon that will do them is asked."""

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from cpcd.cli.output import emit, output_option, table
from cpcd.cli.session import Session

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["command", "view"]

PENDING: Final = 3  # exit code of `--detailed-exitcode` unless everything is as wanted
_RISKS: Final = {
    "InPlace": ("~", "green"), "Reboot": ("↻", "yellow"), "Replace": ("±", "magenta"), "Destroy": ("-", "red"),
}  # fmt: skip


@click.command(short_help="Show all remaining steps, changing nothing.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 unless everything is as wanted.")
@click.option("--offline", is_flag=True, help="Ask no daemon: read its ledger and look at Proxmox from here.")
@click.option("--spec", metavar="PATH", help="With --offline: cluster.yaml, or a directory of such files.")
@click.option("--state-dir", metavar="DIR", help="With --offline: the daemon's state directory.")
@output_option
@click.pass_obj
def command(session: Session, /, detailed_exitcode: bool, offline: bool, output: str, **flags: str | None) -> int:
    """Show all remaining steps, changing nothing.

    ~ in place, ↻ with a reboot, ± by replacement, - destruction; ? an object whose steps cannot be told now, and why.
    What waits says for what, and what comes behind it says so; before them is what is done by itself. The steps are made
    by the functions that the daemon runs.
    """
    if any(flags.values()) and not offline:
        raise click.UsageError("--spec and --state-dir go with --offline; a daemon has its own")
    plan = _offline(flags) if offline else session.client().get("/plan")
    emit(plan, output, lambda: view(plan))
    return PENDING if detailed_exitcode and (plan["steps"] or plan["held"] or plan["silent"]) else 0


def _offline(flags: dict[str, str | None]) -> dict[str, Any]:
    import os

    from cpcd import wiring
    from cpcd.settings import load_settings

    return wiring.plan(load_settings(flags, os.environ))


def view(plan: dict[str, Any]) -> "RenderableType":
    """Return the plan for a terminal: steps in order, what cannot be told, by cluster, and one line that counts them."""
    from rich.console import Group
    from rich.text import Text

    steps, held = plan["steps"], plan["held"]
    if not steps and not held and not plan["silent"]:
        return Text("Nothing to do: what is observed is what is wanted.", style="green")
    parts: list[RenderableType] = [Text(f"planned from what was seen before: {why}") for why in plan["silent"]]
    parts += [Text(f"warning: {warning}", style="yellow") for warning in plan["warnings"]]
    for cluster in dict.fromkeys(one["cluster"] for one in (*steps, *held)):
        parts += [Text(cluster, style="bold"), _table(*(_of(cluster, each) for each in (steps, held))), Text()]
    return Group(*parts, _total(steps, held))


def _of(cluster: str, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in listed if one["cluster"] == cluster]


def _table(steps: list[dict[str, Any]], held: list[dict[str, Any]]) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    made = table("", "OBJECT", "STEP")
    for step in steps:
        notes = [note for note in (_disruption(step), step["wait"]) if note]
        mark, style = _RISKS.get(step["risk"], ("?", ""))
        told = Group(Text(step["sentence"]), *(Text(note, style="dim") for note in notes))
        made.add_row(Text(f"  {mark}", style=style), step["key"], told)
    for one in held:
        made.add_row(Text("  ?", style="magenta"), one["key"], f"{one['code']} {one['sentence']}".strip())
    return made


def _disruption(step: dict[str, Any]) -> str:
    role, quorum = step["disrupts"], step["quorum"]
    return f"disrupts a {role}" + (f", {quorum}" if quorum else "") if role else ""


def _total(steps: list[dict[str, Any]], held: list[dict[str, Any]]) -> "RenderableType":
    from rich.text import Text

    count = Counter(step["risk"] for step in steps)
    words = {"InPlace": "in place", "Reboot": "reboot", "Replace": "replace", "Destroy": "destroy"}
    told = ", ".join(f"{count[risk]} {word}" for risk, word in words.items() if count[risk])
    counted = f"{count.total()} step{'' if len(steps) == 1 else 's'}" + (f": {told}" if told else "")
    untold = f"; {len(held)} object{'' if len(held) == 1 else 's'} whose steps cannot be told now" if held else ""
    return Text(counted + untold, style="bold")
