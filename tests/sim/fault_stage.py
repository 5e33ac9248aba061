"""One fault in one story: a house with neighbours, every invariant on it, and an ear for what is said.

What is asserted stands in `test_faults.py` and `test_fault_demands.py`; it lays nothing on the daemon. Next:
`fault_scenarios.py` for the stories.
"""

import asyncio
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpcd.lab.faults import named
from cpcd.lab.simloop import SimLoop, simulate
from cpcd.model.report import Outcome, Pass
from cpcd.ports.kube import GVK
from tests.sim.fault_scenarios import Scenario, Story
from tests.sim.gate import MemoryDisk
from tests.sim.house import EPOCH, House

__all__ = ["Played", "Stage", "names", "perform", "play", "staged"]

FULL, ROOMY = "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"
FOREIGN = {10_001: "somebody", 10_003: "demo-general-1", 200: "demo-general-2"}


class Host:
    """What befalls the host that the daemon runs on, for the faults of the lab to do."""

    def __init__(self, house: House) -> None:
        self._house = house

    def step_clock(self, seconds: float) -> None:
        """Let wall time be off by so many seconds from what it would be; monotonic time goes on as ever."""
        self._house.clock._epoch = EPOCH + seconds

    def fill_disk(self) -> None:
        """Let the ledger's own connection meet a full disk."""
        self._execute(FULL)

    def empty_disk(self) -> None:
        """Make room again."""
        self._execute(ROOMY)

    def _execute(self, words: str) -> None:
        assert isinstance(self._house.disk, MemoryDisk)
        self._house.disk.connection.execute(words)


@dataclass
class Stage:
    """A house with neighbours, and an ear for what is said."""

    house: House
    told: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def hear(self, done: Pass) -> None:
        """Remember a pass's report: a failure with its code, anything else with its reason, and its conditions."""
        self.told.append(f"{done.failure}" if done.outcome is Outcome.FAILED else f"{done.reason}: {done.sentence}")
        self.told += [f"{one.reason}: {one.message}" for one in done.conditions]
        self.failed += [f"{done.failure}"] if done.outcome is Outcome.FAILED else []

    async def listen(self) -> None:
        """Remember the daemon's own sentence, again and again."""
        while True:
            await asyncio.sleep(5)
            if self.house.daemon is not None:
                self.told.append(self.house.daemon.sentence())

    @property
    def writes(self) -> int:
        """How many calls Proxmox took that were no reads."""
        return sum(n for call, n in self.house.world.pve.calls.items() if not call.startswith("GET"))

    def machines(self) -> dict[str, str]:
        """Return name -> uid of every VM of ours."""
        vms = [vm for vmid, vm in self.house.world.pve.vms.items() if vmid not in FOREIGN and not vm.template]
        marks = {vm.name: str(vm.config.get("description", "")).split()[3:4] for vm in vms if not vm.lock}
        return {name: mark[0] if mark else "" for name, mark in marks.items()}

    def waiting(self) -> dict[str, Any]:
        """Return name -> what of its configuration a running machine of ours does not have in force."""
        vms = [vm for vmid, vm in self.house.world.pve.vms.items() if vmid not in FOREIGN and vm.booted is not None]
        old = {vm.name: {**vm.pending, **_differing(vm.booted or {}, vm.config)} for vm in vms}
        return {name: changes for name, changes in old.items() if changes}

    def nodes(self) -> list[str]:
        """Return the names of all Nodes."""
        listed = [cluster.store.list(GVK("v1", "Node"))[0] for cluster in self.house.world.clusters]
        return sorted(node["metadata"]["name"] for node in itertools.chain(*listed))

    def left(self) -> list[int]:
        """Return the VMIDs of what nobody but a person may touch."""
        return [vmid for vmid, vm in self.house.world.pve.vms.items() if vm.lock == "clone"]

    def twice(self) -> list[tuple[str, str]]:
        """Return (kind, VMID) of the tasks that were begun more than once; a clone's VMID is in its log."""
        tasks = self.house.world.pve.cluster.tasks.tasks.values()
        begun = [(one.kind, one.log[0].split()[-1] if one.kind == "qmclone" and one.log else one.id) for one in tasks]
        return sorted({one for one in begun if begun.count(one) > 1})

    def destroyed(self) -> set[int]:
        """Return the VMIDs that were destroyed."""
        return {call.vmid for call in self.house.world.pve.history if call.verb == "destroy"}


def _differing(booted: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ("cores", "memory") if str(booted.get(name)) != str(config.get(name))}


def staged(loop: SimLoop, directory: Path, text: str, *, found: Callable[[House], None] | None = None) -> Stage:
    """Return a stage on which nothing has begun; `found` puts there what cpcd will find."""
    house = House(loop, directory, text, disk=MemoryDisk())
    for vmid, name in FOREIGN.items():
        house.plant(vmid, "pve3", name, running=vmid > 10_000)
    if found is not None:
        found(house)
    house.faults.hands.append(Host(house))
    stage = Stage(house)
    house.listeners = (*house.listeners, stage.hear)
    return stage


@dataclass
class Played:
    """How a scenario went; `told` is what was said while the fault lasted."""

    stage: Stage
    told: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    writes: int = 0
    nodes: list[str] = field(default_factory=list)


async def perform(stage: Stage, scenario: Scenario, played: Played) -> None:
    """Play a story with its fault, which is "" where there is none, and let it end when the fault has."""
    house, (given, wanted) = stage.house, scenario.story.value
    if given:
        await house.start()
        await house.converged(limit=1500)
        played.before = stage.machines()
    stage.told.clear()
    stage.failed.clear()
    began = stage.writes
    if scenario.fault:
        house.faults.arm(named(scenario.fault))
    ear = asyncio.ensure_future(stage.listen())
    house.file.commit(wanted)
    if not given:
        await house.start()
    await asyncio.sleep(scenario.lasts)
    played.told, played.writes, played.nodes = list(stage.told), stage.writes - began, stage.nodes()
    ear.cancel()
    house.faults.clear()
    await house.until(house.settled, limit=800 if scenario.open else 3000, what=f"{scenario.fault}: the end")
    await asyncio.sleep(30)
    await house.converged(limit=1500)


def play(directory: Path, scenario: Scenario) -> Played:
    """Play a scenario from the beginning and return how it went; raises the first breach of an invariant."""
    played: list[Played] = []

    async def main(loop: SimLoop) -> None:
        given, wanted = scenario.story.value
        stage = staged(loop, directory, given or wanted)
        played.append(Played(stage))
        await perform(stage, scenario, played[0])

    simulate(main, seed=1)
    return played[0]


def names(story: Story) -> list[str]:
    """Return the names of the machines that a story ends with."""
    _, wanted = story.value
    replicas = re.findall(r"replicas: (\d+)", wanted)
    return sorted(
        f"demo-{group}-{number + 1}"
        for group, count in zip(("cp", "general"), replicas, strict=True)
        for number in range(int(count))
    )
