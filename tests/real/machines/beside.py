"""The daemon beside bare commands: each makes the same cluster twice, and replaces its worker once, in turns."""

import time
from pathlib import Path

import pytest

from tests.real.cache import say
from tests.real.machines import bare, build, image, replace
from tests.real.machines.pace import Pace
from tests.real.machines.report import Figures, Report
from tests.real.machines.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_daemon_takes_as_long_as_bare_commands(place: Path, report: Report) -> None:
    """One control plane and one worker until both Nodes are Ready; then the worker is replaced, and two pods move.

    The two that are replaced follow each other; each of the builds has one of the other kind beside it.
    """
    pace = Pace()
    pace.watch()
    ours: Figures = {}
    hand: Figures = {}
    turns = ((by_hand, False), (by_cpcd, True), (by_hand, True), (by_cpcd, False))
    for number, (side, replaced) in enumerate(turns):
        turn = place / f"{number}-{side.__name__}"
        turn.mkdir()
        await side(turn, ours if side is by_cpcd else hand, replaced=replaced)
    report.beside(ours, hand, pace)


async def by_cpcd(place: Path, figures: Figures, *, replaced: bool) -> None:
    """Let the daemon do it."""
    async with Stage.playing(place, image.made(kubernetes=True), failed=always) as stage:
        await stage.ready(build.PLANE, build.WORKER)
        ended = time.time()
        tell(figures, build.figures(stage, await stage.history(), ended), place)
        if replaced:
            await replace.occupied(stage)
            _, told = await replace.change(stage)
            tell(figures, told, place)


async def by_hand(place: Path, figures: Figures, *, replaced: bool) -> None:
    """Do it with bare commands."""
    async with bare.standing(place, failed=always) as cluster:
        tell(figures, await cluster.build(), place)
        if replaced:
            await cluster.occupy()
            tell(figures, await cluster.replace(), place)


def always() -> bool:
    """Have what machines tell kept: whether something took too long, so that it is wanted, is known in the end."""
    return True


def tell(figures: Figures, done: Figures, place: Path) -> None:
    """Remember when things were done, and say so."""
    for what, spans in done.items():
        figures.setdefault(what, []).extend(spans)
        say(f"{place.name}: {what}: {', '.join(f'{span.seconds:.0f}' for span in spans)} s")
