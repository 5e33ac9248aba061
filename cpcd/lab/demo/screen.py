"""The screen: acts, machines with progress bars and the last lines, live on a terminal, plain lines elsewhere."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["Screen", "progress"]

MARKS: Final = {"done": ("✔", "green"), "now": ("▶", "yellow"), "next": ("·", "dim"), "false": ("✘", "red")}
PLAIN: Final = 120
JOBS: Final = {"prepare": 50, "init": 70, "join": 70}


def progress(world: Mapping[str, Any], vmid: int) -> int:
    """Return how far the machine of a VM is, in hundredths, by what is there: its VM, its sshd, its Node."""
    vm, guest = _of(world["vms"], vmid), _of(world["guests"], vmid)
    if not vm:
        return 0
    if vm["status"] != "running":
        return 10 if vm["lock"] else 20
    if node := _node(world, vm):
        return 100 if node["ready"] and not node["unschedulable"] else 85
    if not guest.get("ssh"):
        return 30
    return JOBS.get(guest["job"], 60 if guest["prepared"] else 40)


def _of(things: Iterable[Mapping[str, Any]], vmid: int) -> Mapping[str, Any]:
    return next((each for each in things if each["vmid"] == vmid), {})


def _node(world: Mapping[str, Any], vm: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The Node by the machine's UUID: one of its name may be its predecessor's."""
    nodes = (node for cluster in world["clusters"] for node in cluster["nodes"])
    return next((each for each in nodes if vm["smbios1"] == f"uuid={each['systemUUID']}"), None)


class Screen:
    """Shows the play; `line` adds one line, `show` the newest status. Colours and bars only where they work."""

    def __init__(self, titles: Sequence[str], *, aside: bool = False) -> None:
        """Show acts of these titles; `aside` on standard error, where the account goes to standard output."""
        self.console = Console(highlight=False, markup=False, emoji=False, stderr=aside)
        self._titles = list(titles)
        self._state = ["next"] * len(titles)
        self._status: Mapping[str, Any] = {}
        self._world: Mapping[str, Any] = {}
        # No thread of its own: one that draws while a line is added takes a row too many back when the table shrinks.
        self._live = Live(self._picture(), console=self.console, auto_refresh=False, transient=True)
        self._lively = self.console.is_terminal

    @property
    def width(self) -> int:
        """Columns of the terminal; elsewhere as many as a line of text may have."""
        return self.console.width if self._lively else PLAIN

    def __enter__(self) -> Self:
        if self._lively:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the terminal may have been closed
            self._live.stop()

    def act(self, number: int, state: str) -> None:
        """Mark an act as `now`, `done` or `false`."""
        self._state[number] = state
        if state == "now":
            self.line(self._titles[number], "bold")

    def line(self, text: str, style: str = "", *, whole: bool = False) -> None:
        """Add one line; `whole` never breaks it, so that it can be copied, and elsewhere than on terminals none is."""
        self.console.print(Text(text, style=style), soft_wrap=whole or not self._lively)
        self._refresh()

    def show(self, status: Mapping[str, Any], world: Mapping[str, Any]) -> None:
        """Show the newest status, with bars by what is true in the lab."""
        self._status, self._world = status, world
        self._refresh()

    def _refresh(self) -> None:
        if self._lively:
            self._live.update(self._picture(), refresh=True)

    def _picture(self) -> Group:
        acts = Table.grid(padding=(0, 1))
        for state, title in zip(self._state, self._titles, strict=True):
            acts.add_row(Text(*MARKS[state]), title)
        clock = f"lab {self._world.get('time', 0):6.0f} s"
        head = Text(f"{clock}  {self._status.get('sentence', 'starting')}", style="bold", overflow="ellipsis")
        head.no_wrap = True
        return Group(Text(), head, self._machines(), acts)

    def _machines(self) -> Table:
        rows = [one for one in self._status.get("objects", []) if one["kind"] == "machine"]
        table = Table(box=None, padding=(0, 1), show_header=False, expand=True)
        table.add_column(no_wrap=True, min_width=max((len(one["name"]) for one in rows), default=0))
        table.add_column(min_width=16)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for one in rows:
            done = progress(self._world, one["vmid"])
            bar = ProgressBar(total=100, completed=done, width=16, complete_style="cyan", finished_style="green")
            table.add_row(one["name"], bar, Text(one["sentence"], style="dim"))
        return table
