"""Path independence: ways that lead to one file lead to one end, by name too."""

from cpcd.lab.simloop import SimLoop, simulate
from tests.sim.branches import Branches, Outcome
from tests.sim.play import Play, quieted, workshop
from tests.sim.stories import Story

__all__ = ["NAME", "astray", "walk"]

NAME = "path-independence"


def walk(ways: tuple[Story, ...], *, width: int = 2) -> dict[str, Outcome]:
    """Return how each of the ways ended; what is given, which is one for all, is built once."""
    branches = Branches(width)
    with workshop() as directory, quieted():

        async def main(loop: SimLoop) -> Outcome:
            play = Play(loop, ways[0], directory / "base")
            await play.given()
            for number, way in enumerate(ways):
                if branches.part(way.name, loop):
                    play.house.move(directory / str(number))
                    return await _walked(play, way)
            return play.result()

        outcome = simulate(main, seed=1)
        if branches.child:
            branches.finish(outcome)
        return dict(branches.join())


async def _walked(play: Play, way: Story) -> Outcome:
    play.story = way
    try:
        await play.perform()
        await play.rest(hours=False)
        return play.outcome()
    except AssertionError as error:
        return Outcome(words=str(error))


def astray(ends: dict[str, Outcome]) -> str:
    """Return which way led elsewhere, "" when all ended alike."""
    (first, base), *others = ends.items()
    for name, outcome in ((first, base), *others):
        if outcome.words:
            return f"{NAME}: {name}: {outcome.words}"
        if outcome.end != base.end:
            return f"{NAME}: {name} ends with {sorted({*outcome.end} - {*base.end})}, {first} does not"
    return ""
