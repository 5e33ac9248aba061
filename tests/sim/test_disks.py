"""A disk that grows under a running machine: its file system follows at one reboot, foreseen, and only where cpcd grew it."""

import asyncio
import random
from pathlib import Path

import pytest

from cpcd.lab.faults.mechanisms import DropBefore, Fault
from tests.sim.house import House, spec
from tests.sim.test_consent import consent
from tests.sim.test_stories import built, carried_out, tell, uids


def roots(house: House) -> set[int]:
    """Return the sizes in GiB of all root file systems."""
    return {house.world.guests[vmid].disk.root_gib for vmid in house.vms()}


def shutdowns(house: House) -> list[int]:
    """Return the VMID of each shutdown, in order."""
    tasks = house.world.pve.cluster.tasks.tasks.values()
    return sorted(int(one.id) for one in tasks if one.kind == "qmshutdown")


def test_a_grown_disk_is_followed_at_one_reboot_as_planned(tmp_path: Path) -> None:
    """Each machine is drained and rebooted once for its file system, in the steps that were printed."""
    house, before, foreseen, applied = carried_out(tmp_path, spec(disk=40))

    assert sorted(before) == sorted(uids(house))
    assert {40} == roots(house)
    assert sorted(house.vms()) == shutdowns(house)
    assert foreseen == applied


@pytest.mark.parametrize("seed", range(3))
def test_crashes_during_a_growth_cost_no_second_reboot(tmp_path: Path, seed: int) -> None:
    """Killed again and again meanwhile: the boot that a growth fell into is in the ledger, and each machine goes down once."""
    dice = random.Random(seed)

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(disk=40))
        for _ in range(20):
            await asyncio.sleep(dice.uniform(0.01, 45))
            await house.crash()
            await house.start()
        await house.converged(limit=4000)

    house = tell(tmp_path, tale, seed=seed)

    assert {40} == roots(house)
    assert sorted(house.vms()) == shutdowns(house)


def test_what_somebody_else_grew_is_no_reason_for_a_reboot(tmp_path: Path) -> None:
    """By hand, or by a cpcd that remembered no growths: the file catches up with the disk, and nobody is disturbed."""

    async def tale(house: House) -> None:
        await built(house)
        for vmid in house.vms():
            vm = house.world.pve.vms[vmid]
            vm.config["scsi0"] = str(vm.config["scsi0"]).replace("size=20G", "size=40G")
            house.world.hotplug(vm, {"scsi0": vm.config["scsi0"]})
        house.file.commit(spec(disk=40))
        await asyncio.sleep(1800)
        await house.converged(limit=600)

    house = tell(tmp_path, tale)

    assert {20} == roots(house)
    assert [] == shutdowns(house)


def test_a_disk_grown_twice_is_followed_though_no_config_tells_of_the_first_time(tmp_path: Path) -> None:
    """A growth that timed out (P04): after the second one nobody is told that a file system stayed behind."""
    told: list[str] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(disk=40))
        await asyncio.sleep(60)
        await house.converged(limit=3600)
        for vmid in house.vms():
            vm = house.world.pve.vms[vmid]
            vm.config["scsi0"] = vm.booted["scsi0"] = str(vm.config["scsi0"]).replace("size=40G", "size=20G")
        house.file.commit(spec(disk=50))
        await asyncio.sleep(60)
        await house.converged(limit=3600)
        told.append(house.picture())

    house = tell(tmp_path, tale)

    assert {50} == roots(house)
    assert 2 * len(house.vms()) == len(shutdowns(house))
    assert "file system" not in told[0]


def test_consent_to_a_growth_outlives_a_machine_that_cannot_be_asked(tmp_path: Path) -> None:
    """Given to all at once, spent one by one: who waits for its turn and is silent for a while has not changed its mind."""
    policy = "{Reboot: Approve}"
    asked: list[list[str]] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(disk=40).replace("{Destroy: Approve}", policy))
        await asyncio.sleep(300)
        asked.append(await consent(house))
        silent = Fault(row="S01", name="nobody-tells", port="guests", call=" facts$", does=DropBefore(), times=10)
        house.faults.arm(silent)
        await asyncio.sleep(3600)
        asked.append(await consent(house))
        await house.converged(limit=3600)

    house = tell(tmp_path, tale, text=spec().replace("{Destroy: Approve}", policy))

    assert [5, 0] == [len(one) for one in asked]
    assert sorted(house.vms()) == shutdowns(house)
