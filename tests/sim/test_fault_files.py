"""Faults of the file: the real adapter on a real directory, in virtual time; every edit is carried out, none undone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cpcd.adapters import files as adapter
from cpcd.adapters.disk import Snapshot, read_disk
from cpcd.adapters.files import SpecFiles
from cpcd.lab.faults import Desk, named
from cpcd.lab.simloop import SimLoop, simulate
from cpcd.model.errors import Failure
from tests.sim.fault_stage import Stage, staged
from tests.sim.house import HELLO, House, spec

T = TypeVar("T")

LABELLED = spec(masters=1, workers=1, labels="{tier: gold}")
GREETED = HELLO.replace(b"greeting: hello", b"greeting: good day")
NOTICED = 60.0  # seconds within which an edit is in force whatever became of its event (`failures.md` rule 39)


class OnDisk:
    """The spec's real files in the place of the house's; `generation` is what lies there now."""

    def __init__(self, desk: Desk) -> None:
        self._path = desk.directory / "cluster.yaml"
        self._files = SpecFiles(self._path)

    @property
    def generation(self) -> str:
        """The generation of what lies there, "" when nothing does."""
        try:
            return read_disk(self._path.resolve()).generation
        except Failure:
            return ""

    async def read(self) -> Snapshot:
        """Read as the daemon does."""
        return await self._files.read()

    def watch(self) -> AsyncIterator[None]:
        """Watch as the daemon does."""
        return self._files.watch()


Tale = Callable[[Stage, Desk], Coroutine[Any, Any, None]]


async def _inline(call: Callable[..., T], *given: Any, **options: Any) -> T:
    """Do at once what would be done in a thread, which a simulation has not."""
    return call(*given, **options)


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Tale], Stage]:
    """Return what plays a tale with a daemon that reads a directory, and looks at every invariant."""
    monkeypatch.setattr(asyncio, "to_thread", _inline)

    def play(tale: Tale) -> Stage:
        stages: list[Stage] = []

        async def main(loop: SimLoop) -> None:
            stage = staged(loop, tmp_path / "state", spec(masters=1, workers=1))
            stages.append(stage)
            desk = Desk(stage.house.faults, tmp_path / "spec")
            monkeypatch.setattr(adapter, "awatch", desk.awatch)
            _move(stage.house, desk)
            await desk.save("hello.yaml", HELLO)
            await tale(stage, desk)

        simulate(main, seed=1)
        return stages[0]

    return play


def _move(house: House, desk: Desk) -> None:
    house.file = OnDisk(desk)  # type: ignore[assignment]  # it has what the house asks of its file


async def _built(stage: Stage, desk: Desk) -> None:
    await desk.save("cluster.yaml", spec(masters=1, workers=1).encode())
    await stage.house.start()
    await stage.house.converged(limit=1500)


def _labelled(stage: Stage) -> bool:
    objects = stage.house.world.clusters[0].store.objects
    node, greeting = objects.find("Node", "demo-general-1"), objects.find("ConfigMap", "hello", "hello")
    assert node is not None
    assert greeting is not None
    return node["metadata"]["labels"].get("tier") == "gold" and greeting["data"] == {"greeting": "good day"}


@pytest.mark.parametrize(
    "fault",
    [
        named("editor-renames-over"), named("config-map-swapped"), named("no-inotify-watches"), named("events-overflow"),
        named("watcher-dies"), named("no-events-at-all"), named("half-written"), named("files-one-after-another"),
    ],
    ids=lambda fault: f"{fault.row}-{fault.name}",
)  # fmt: skip
def test_an_edit_is_carried_out_whatever_becomes_of_its_event(tell: Callable[[Tale], Stage], fault: Any) -> None:
    """And the next one as well; what is in force meanwhile takes nothing away."""
    struck: list[int] = []

    async def tale(stage: Stage, desk: Desk) -> None:
        faults = stage.house.faults
        if fault.call == "watch":
            faults.arm(fault)  # a watcher begins with the daemon
        await _built(stage, desk)
        faults.arm(fault)
        stage.told.clear()
        ear = asyncio.ensure_future(stage.listen())
        for _ in range(2):
            await asyncio.gather(desk.save("cluster.yaml", LABELLED.encode()), desk.save("hello.yaml", GREETED))
            await stage.house.until(lambda: _labelled(stage), limit=NOTICED, what="the edit is carried out")
            await stage.house.converged(limit=600)
            struck.append(faults.struck[fault.name])
            await asyncio.gather(
                desk.save("cluster.yaml", spec(masters=1, workers=1).encode()), desk.save("hello.yaml", HELLO)
            )
            await stage.house.until(lambda: not _labelled(stage), limit=NOTICED, what="and taken back")
            await stage.house.converged(limit=600)
        ear.cancel()

    stage = tell(tale)

    assert struck[0] > 0
    assert [] == [line for line in stage.told if "CPCD-" in line]
    assert {"demo-cp-1", "demo-general-1"} == set(stage.machines())
    assert [] == stage.house.world.pve.history


@pytest.mark.parametrize("fault", [named("directory-unmounted"), named("file-left-empty")], ids=lambda one: one.name)
def test_a_spec_that_is_gone_takes_nothing_away(tell: Callable[[Tale], Stage], fault: Any) -> None:
    """F04: it is said, nothing is written anywhere, and what comes back is taken up."""
    writes: list[int] = []

    async def tale(stage: Stage, desk: Desk) -> None:
        await _built(stage, desk)
        writes.append(stage.writes)
        stage.house.faults.arm(fault)
        await desk.save("cluster.yaml", LABELLED.encode())
        ear = asyncio.ensure_future(stage.listen())
        await asyncio.sleep(900)
        ear.cancel()
        writes.append(stage.writes)
        stage.house.faults.clear()
        await desk.save("cluster.yaml", LABELLED.encode())
        await desk.save("hello.yaml", GREETED)
        await stage.house.until(lambda: _labelled(stage), limit=NOTICED, what="the edit is carried out")
        await stage.house.converged(limit=600)

    stage = tell(tale)

    assert writes[0] == writes[1]
    assert [line for line in stage.told if "CPCD-102" in line]
    assert [] == stage.house.world.pve.history


def test_a_file_that_comes_late_is_taken_up(tell: Callable[[Tale], Stage]) -> None:
    """F10: the daemon starts without it, says so, and builds when it is there."""
    waited: list[str] = []

    async def tale(stage: Stage, desk: Desk) -> None:
        stage.house.faults.arm(named("file-comes-late"))
        saved = asyncio.ensure_future(desk.save("cluster.yaml", spec(masters=1, workers=1).encode()))
        await stage.house.start()
        await asyncio.sleep(50)
        assert stage.house.daemon is not None
        waited.append(stage.house.daemon.sentence())
        await saved
        await stage.house.converged(limit=1500)

    stage = tell(tale)

    assert "does not exist" in waited[0]
    assert {"demo-cp-1", "demo-general-1"} == set(stage.machines())
