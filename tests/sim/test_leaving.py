"""How machines leave when something is dead: their Proxmox node, the cluster's API, their own network."""

import asyncio
from pathlib import Path

import pytest

from cpcd.model.ledger import Machine
from tests.sim.house import House, spec
from tests.sim.test_stories import built, destroyed, members, nodes, tell

HOUR = 3600.0


def rows(house: House) -> dict[str, Machine]:
    """Return the rows by name."""
    assert house.daemon is not None
    return {row.name: row for row in house.daemon.state.view.machines.values()}


def replaced(house: House, node: str) -> bool:
    """Return whether nobody is wanted on a Proxmox node, and six machines serve elsewhere."""
    wanted = [row for row in rows(house).values() if row.wanted]
    return len(wanted) == 6 and all(row.joined and row.node != node for row in wanted)


def joined(house: House) -> int:
    """Return how many of those that are wanted have joined."""
    return sum(row.joined and row.wanted for row in rows(house).values())


def test_a_dead_proxmox_node_holds_up_no_repair(tmp_path: Path) -> None:
    """Both machines on it are replaced while it is dead: a VM that cannot be stopped takes nobody's turn."""
    there: list[list[str]] = []

    async def tale(house: House) -> None:
        await built(house)
        house.world.pve.node_down("pve2")
        await house.until(lambda: replaced(house, "pve2"), limit=2 * HOUR, what="replaced")
        there.append(sorted(row.name for row in rows(house).values() if row.node == "pve2"))
        house.world.pve.node_up("pve2")
        await asyncio.sleep(60)
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale, text=spec(workers=3))

    assert there == [["demo-cp-2", "demo-general-2"]]
    assert len(destroyed(house)) == 2
    assert len(members(house)) == 3
    assert sorted(nodes(house)) == sorted(house.vms().values())
    assert len(house.vms()) == 6


def test_machines_of_a_proxmox_node_that_was_removed_are_replaced_and_forgotten(tmp_path: Path) -> None:
    """One is being retired just then; their rows go with the configurations that Proxmox keeps of their VMs."""
    waiting: list[list[str]] = []

    async def tale(house: House) -> None:
        await built(house)
        pve = house.world.pve
        pve.node_down("pve2")
        await house.until(lambda: not all(row.wanted for row in rows(house).values()), limit=HOUR, what="one retired")
        pve.remove_node("pve2")
        await house.until(lambda: replaced(house, "pve2"), limit=2 * HOUR, what="replaced")
        assert house.daemon is not None
        assert [] == [op for op in house.daemon.state.view.ops.values() if op.disrupts]
        waiting.append(sorted(row.name for row in rows(house).values() if row.node == "pve2"))
        for vmid in [vmid for vmid, vm in pve.vms.items() if vm.node == "pve2" and not vm.template]:
            pve.delete_vm(vmid)
        await asyncio.sleep(120)
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale, text=spec(workers=3))

    assert waiting == [["demo-cp-2", "demo-general-2"]]
    assert destroyed(house) == []
    assert len(members(house)) == 3
    assert sorted(nodes(house)) == sorted(house.vms().values()) == sorted(rows(house))


def test_all_that_were_to_be_made_on_a_proxmox_node_that_was_removed_are_made_elsewhere(tmp_path: Path) -> None:
    """Four of a group and more: none of them is a try that failed, after three of which nobody is replaced."""

    def there(house: House) -> list[Machine]:
        return [row for row in rows(house).values() if row.node == "pve3" and row.role == "worker"]

    async def tale(house: House) -> None:
        await house.until(lambda: len(there(house)) == 4, limit=60, what="allocated")
        house.world.pve.node_down("pve3")
        house.world.pve.remove_node("pve3")
        await house.until(lambda: joined(house) == 13, limit=HOUR, what="made elsewhere")

    house = tell(tmp_path, tale, text=spec(masters=1, workers=12))

    assert [] == [row.name for row in there(house) if row.wanted]
    assert [] == destroyed(house)


@pytest.mark.parametrize("moment", [0.5, 1.0, 1.5, 2.0])
def test_a_machine_whose_template_was_on_a_removed_proxmox_node_is_made_from_where_it_is_now(
    tmp_path: Path, moment: float
) -> None:
    """On shared storage: the node goes in the middle of the clones, and root moves the template to another one."""

    async def tale(house: House) -> None:
        pve = house.world.pve
        await asyncio.sleep(moment)
        assert not all(row.started for row in rows(house).values())
        pve.node_down("pve1")
        await asyncio.sleep(30)
        pve.remove_node("pve1")
        await asyncio.sleep(30)
        pve.vms[9000].node = "pve2"
        await house.until(lambda: joined(house) == 9, limit=HOUR, what="made from there")

    house = tell(tmp_path, tale, text=spec(masters=1, workers=8).replace("{name: a, nodes: [pve1]}, ", ""))
    assert house.daemon is not None

    assert "pve2" in {row.template_node for row in rows(house).values() if row.wanted}
    assert {} == house.daemon.state.view.ops


def test_a_vm_that_has_left_is_stopped_as_soon_as_its_node_is_back(tmp_path: Path) -> None:
    """Whether the API answers or not: what starts by itself there must not serve beside its successor."""

    async def tale(house: House) -> None:
        await built(house)
        gone, pve = rows(house)["demo-general-2"], house.world.pve
        pve.node_down(gone.node)
        await house.until(lambda: not rows(house)[gone.name].wanted, limit=HOUR, what="retired")
        await asyncio.sleep(HOUR / 2)
        pve.node_down("pve1")  # with the only control plane
        await asyncio.sleep(30)
        pve.node_up(gone.node)
        pve.start_vm(gone.vmid)
        await house.until(lambda: not pve.vms[gone.vmid].running, limit=60, what="stopped")
        pve.node_up("pve1")
        await asyncio.sleep(60)
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=3))

    # Perhaps twice: Proxmox starts it when it has quorum again, just before it is to be destroyed, and refuses that then.
    assert len(set(destroyed(house))) == 1
    assert sorted(nodes(house)) == sorted(house.vms().values())


def test_the_api_hardly_blinks_while_its_control_planes_are_replaced(tmp_path: Path) -> None:
    """Whoever leaves hands the address over first: the end of its lease would be a gap of 16 seconds."""
    silences: list[float] = []

    async def watch(house: House) -> None:
        since = house.loop.time()
        while True:
            if house.world.reach("127.77.0.4", 6443) is not None:
                silences.append(house.loop.time() - since)
                since = house.loop.time()
            await asyncio.sleep(0.5)

    async def tale(house: House) -> None:
        await built(house)
        watcher = asyncio.ensure_future(watch(house))
        house.file.commit(spec(workers=1, template=9010))
        await asyncio.sleep(1)
        await house.converged(limit=3 * HOUR)
        watcher.cancel()

    house = tell(tmp_path, tale, text=spec(workers=1))

    assert {row.template for row in rows(house).values()} == {9010}
    assert max(silences) < 5


def test_a_machine_that_may_still_run_is_stopped_before_its_node_goes(tmp_path: Path) -> None:
    """Without its Node the cluster starts its pods elsewhere: those of a StatefulSet must not run twice."""
    lost: list[Machine] = []

    async def tale(house: House) -> None:
        await built(house)
        lost.append(rows(house)["demo-general-1"])
        house.world.guests[lost[0].vmid].unplug()
        await house.until(lambda: lost[0].name not in rows(house), limit=2 * HOUR, what="replaced")
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=3))
    steps = [verb for done in house.passes if done.key.name == lost[0].uid for verb, _ in done.steps]

    assert steps[-4:] == ["stop", "delete-node", "destroy", "forget"]
    assert len(destroyed(house)) == 1
