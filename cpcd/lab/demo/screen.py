"""The screen: acts, machines with progress bars and the last lines, live on a terminal, plain lines elsewhere."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["Screen"]

# How far a machine has come, by the reason that its object gives; in hundredths.
PROGRESS: Final[Mapping[str, int]] = {
    "Provisioning": 20, "Booting": 35, "GuestSilent": 40, "CloudInit": 45, "Preparing": 55,
    "ControlPlaneInitializing": 65, "Bootstrapping": 80, "Ready": 100,
}  # fmt: skip
MARKS: Final = {"done": "[green]✔[/]", "now": "[yellow]▶[/]", "next": "[dim]·[/]", "false": "[red]✘[/]"}


class Screen:
    """Shows the play; `line` adds one line, `show` the newest status. Colours and bars only where they work."""

    def __init__(self, titles: Sequence[str]) -> None:
        self.console = Console(highlight=False)
        self._titles = list(titles)
        self._state = ["next"] * len(titles)
        self._lines: deque[str] = deque(maxlen=9)
        self._status: Mapping[str, Any] = {}
        self._clock = ""
        self._reached: dict[str, int] = {}
        self._live = Live(self._picture(), console=self.console, refresh_per_second=6, transient=True)
        self._lively = self.console.is_terminal

    def __enter__(self) -> Self:
        if self._lively:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lively:
            self._live.stop()

    def act(self, number: int, state: str) -> None:
        """Mark an act as `now`, `done` or `false`."""
        self._state[number] = state
        if state == "now":
            self.line(f"[bold]{self._titles[number]}[/]")

    def line(self, text: str) -> None:
        """Add one line."""
        if self._lively:
            self._live.console.print(text)
        else:
            self.console.print(text)
        self._refresh()

    def show(self, status: Mapping[str, Any], clock: str) -> None:
        """Show the newest status."""
        self._status, self._clock = status, clock
        self._refresh()

    def _refresh(self) -> None:
        if self._lively:
            self._live.update(self._picture())

    def _picture(self) -> Group:
        acts = Table.grid(padding=(0, 1))
        for state, title in zip(self._state, self._titles, strict=True):
            acts.add_row(MARKS[state], title)
        head = Text(f"{self._clock}  {self._status.get('sentence', 'starting')}", style="bold", overflow="ellipsis")
        head.no_wrap = True
        return Group(Text(), head, self._machines(), acts)

    def _machines(self) -> Table:
        table = Table(box=None, padding=(0, 1), show_header=False)
        table.add_column(width=22, no_wrap=True)
        table.add_column(width=18)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for one in self._status.get("objects", []):
            if one["kind"] == "machine":
                reason = "Ready" if one["ready"] == "True" else str(one.get("reason", ""))
                done = self._reached[one["name"]] = PROGRESS.get(reason, self._reached.get(one["name"], 10))
                bar = ProgressBar(total=100, completed=done, width=16)
                table.add_row(Text(one["name"]), bar, Text(one["sentence"], style="dim"))
        return table
