"""Days of work: machines, deployments and addons come and go, and nothing of them is kept once they are gone."""

import asyncio
from pathlib import Path

from cpcd.lab.simloop import SimLoop, simulate
from tests.sim.gate import MemoryDisk
from tests.sim.growth import kept
from tests.sim.invariants_kept import DATES
from tests.sim.play import Play
from tests.sim.stories import BUILT, Edit, Story, text

ROUNDS = 3
HOURS = 4000.0  # seconds, longer than what was used cools down
# Bounded where they are kept: events and the logs of clones that were read, by number; verdicts beside their keys.
BY_NUMBER = ("table events", "table sqlite_sequence", "daemon.journal._pending", "daemon.read._made")
TO_COME_AND_GO = (
    text(workers=3),
    BUILT.replace("name: general", "name: spare{n}"),
    BUILT.replace("{name: hello,", "{name: hello{n},"),
    BUILT,
)


def test_what_comes_and_goes_leaves_nothing_behind(tmp_path: Path) -> None:
    """After the first rounds, which meet everything once, the daemon keeps after one as much as after the one before."""
    sizes = []

    async def main(loop: SimLoop) -> None:
        play = Play(loop, Story("days", BUILT, (Edit(BUILT),), lambda _: True), tmp_path)
        await play.given()
        house = play.house
        assert house.daemon is not None
        assert isinstance(house.disk, MemoryDisk)
        for number in range(ROUNDS):
            for edit in TO_COME_AND_GO:
                house.file.commit(edit.replace("{n}", str(number)))
                await asyncio.sleep(60)
                await house.converged()
            await asyncio.sleep(HOURS)
            await house.converged()
            sizes.append(kept(house.daemon, house.disk.connection))
        play.outcome()

    simulate(main, seed=1)
    grown = {place: count for place, count in sizes[-1].items() if count > sizes[-2][place]}

    assert {} == {place: count for place, count in grown.items() if not place.startswith((*BY_NUMBER, DATES))}
