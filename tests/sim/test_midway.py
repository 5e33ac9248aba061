"""Edits of the file that meet a machine in the middle of something: it is carried to its end, or named."""

import asyncio
from pathlib import Path

import pytest

from tests.sim.house import House, spec
from tests.sim.test_stories import built, nodes, tell

HOUR = 3600.0


def renamed(text: str) -> str:
    """Return the file with its pool under another name."""
    return text.replace("name: general", "name: batch")


def rebooting(house: House, group: str) -> list[str]:
    """Return the machines of a group that are off for a reboot."""
    assert house.daemon is not None
    view = house.daemon.state.view
    held = [view.row(op.key) for op in view.ops.values() if op.verb == "reboot"]
    off = (row for row in held if row is not None and not house.world.pve.vms[row.vmid].running)
    return [row.name for row in off if row.group == group]


def cordoned(house: House) -> list[str]:
    """Return the Nodes that take no pods."""
    return sorted(name for name, node in nodes(house).items() if node["spec"].get("unschedulable"))


def off(house: House) -> list[str]:
    """Return the VMs that do not run."""
    return sorted(vm.name for vm in house.world.pve.vms.values() if not vm.template and not vm.running)


@pytest.mark.parametrize("destroy", ["Auto", "Approve"])
def test_a_pool_that_is_renamed_in_a_reboot_keeps_no_other_machine_from_its_own(tmp_path: Path, destroy: str) -> None:
    """The reboot is carried to its end, so that what shares its slot has its turn: the new pool's, with the next edit."""

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(masters=1, memory=4096, destroy=destroy))
        await house.until(lambda: bool(rebooting(house, "general")), limit=HOUR, what="in mid-reboot")
        house.file.commit(renamed(spec(masters=1, memory=4096, destroy=destroy)))
        await asyncio.sleep(HOUR / 2)
        house.file.commit(renamed(spec(masters=1, memory=3072, destroy=destroy)))
        await asyncio.sleep(HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1, destroy=destroy))
    batch = [vm for vm in house.world.pve.vms.values() if "-batch-" in vm.name]
    booted = {vm.name: str(vm.booted["memory"]) for vm in batch}

    assert {"demo-batch-1": "3072", "demo-batch-2": "3072"} == booted
    assert ([], []) == (off(house), cordoned(house))
    assert (destroy == "Approve") == ("demo-general-1" in house.vms().values())
