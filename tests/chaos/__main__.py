"""`make chaos`, which is `python -m tests.chaos`: the phases one after the other, the figures, exit 1 for a violation."""

import asyncio
import signal
from pathlib import Path
from typing import Final

import click

from tests.chaos.phases import PHASES, Run
from tests.chaos.report import summary, write

RATE: Final = 30.0  # lab seconds in a real one, as in the demo: as fast as two cores keep up with
NET: Final = 88  # 127.88.0.0/16 is nobody else's: the demo has 77
KILLS: Final = 200
FIGURES: Final = Path(__file__).parents[2] / "docs" / "chaos.json"


def _place(_ctx: click.Context, _option: click.Parameter, value: str) -> str:
    phase, _, number = value.partition("/")
    if value and (phase not in PHASES or (number and (phase != "kills" or not number.isdigit()))):
        raise click.BadParameter(f"there are {', '.join(PHASES)}, and kills/1, kills/2, …")
    return value


@click.command()
@click.option(
    "--kills", default=KILLS, show_default=True, type=click.IntRange(0), help="How many times the daemon is killed."
)
@click.option("--seed", default=1, show_default=True, help="Of all moments and faults.")
@click.option(
    "--rate", default=RATE, show_default=True, type=click.FloatRange(1, 200), help="Lab seconds in a real one."
)
@click.option("--only", default="", callback=_place, help="Only this phase, or one town of it; writes no figures.")
@click.option("--out", default=FIGURES, type=click.Path(path_type=Path), help="Where the figures go.")
@click.pass_context
def main(ctx: click.Context, kills: int, seed: int, rate: float, only: str, out: Path) -> None:
    """Trouble the real daemon over real sockets: kills, bad connections, a bad disk, a stopped clock."""
    run = Run(seed=seed, kills=kills, rate=rate, net=NET, say=click.echo, only=only)
    whole = asyncio.run(_phases(run))
    if whole and not only and (kills >= KILLS or out != FIGURES):  # fewer kills are no figures for the docs
        write(run, out)
    click.echo(summary(run, whole=whole))
    ctx.exit(0 if whole and not run.wrong else 1)


async def _phases(run: Run) -> bool:
    """Run the phases; return False when a signal ended it, after everything that was started is ended."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    wanted = run.only.partition("/")[0]
    try:
        for name, phase in PHASES.items():
            if wanted in {"", name}:
                await phase(run)
    except asyncio.CancelledError:
        return False
    return True


if __name__ == "__main__":
    main()
