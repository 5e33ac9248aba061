"""Edits of the file that meet a machine in the middle of something: it is carried to its end, or named."""

import asyncio
from pathlib import Path

import pytest

from cpcd import status
from cpcd.model.keys import Wall
from cpcd.plan.effects import jobs
from tests.sim.house import House, spec
from tests.sim.test_stories import built, destroyed, nodes, tell

HOUR = 3600.0
BETA = (
    spec(masters=1, workers=1)
    .replace("name: demo}", "name: beta}")
    .replace("127.77.0.4", "127.77.0.5")
    .replace("127.77.0.10-127.77.0.60", "127.77.0.70-127.77.0.99")
)


def renamed(text: str) -> str:
    """Return the file with its pool under another name."""
    return text.replace("name: general", "name: batch")


def going_down(house: House) -> bool:
    """Return whether a worker is being shut down for a reboot."""
    assert house.daemon is not None
    view = house.daemon.state.view
    rows = [view.row(op.key) for op in view.ops.values() if op.verb == "shutdown"]
    return any(row is not None and row.group == "general" for row in rows)


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
        await house.until(lambda: going_down(house), limit=HOUR, what="in mid-reboot")
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


def preparing(house: House) -> int:
    """Return how many machines are being prepared."""
    assert house.daemon is not None
    return sum(op.verb == "prepare" for op in house.daemon.state.view.ops.values())


def joined(house: House, cluster: str) -> int:
    """Return how many members a cluster has."""
    assert house.daemon is not None
    return sum(row.joined for row in house.daemon.state.view.rows(cluster))


def test_a_document_that_goes_while_machines_are_prepared_keeps_nobody_elses_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Playbooks have their places among those of all clusters until they have ended, and no longer."""
    monkeypatch.setattr(jobs, "PLAYBOOKS", 2)

    async def tale(house: House) -> None:
        await house.until(lambda: preparing(house) == 2, limit=HOUR, what="in mid-preparing")
        house.file.commit(BETA)
        await asyncio.sleep(5)
        assert preparing(house) == 2
        await house.until(lambda: joined(house, "beta") == 2, limit=HOUR, what="the other cluster is there")
        assert preparing(house) == 0

    house = tell(tmp_path, tale)

    assert [] == destroyed(house)


def test_a_document_that_goes_in_a_reboot_leaves_word_of_it(tmp_path: Path) -> None:
    """Nothing is done to a machine without a document; that one is off is said, and ends when the document is back."""
    found: list[str] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(masters=1, memory=4096))
        await house.until(lambda: going_down(house), limit=HOUR, what="in mid-reboot")
        house.file.commit(BETA)
        await asyncio.sleep(HOUR / 2)
        assert house.daemon is not None
        found.extend([*off(house), house.daemon.sentence()])
        house.file.commit(f"{BETA}\n---\n{spec(masters=1, memory=4096)}")
        await asyncio.sleep(5)
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1))
    *dark, sentence = found

    assert len(dark) == 1
    assert f"{dark[0]} is kept: the document of demo is gone" in sentence
    assert "its reboot is interrupted until the document is back" in sentence
    assert ([], []) == (off(house), cordoned(house))


def test_a_group_that_never_changes_in_place_still_gets_what_a_running_vm_takes_at_once(tmp_path: Path) -> None:
    """`onBoot` is no reason for a replacement, so it is written whatever `rollout.inPlace` says."""

    def text(on_boot: str) -> str:
        never = spec(masters=1).replace("replicas: 2,", "replicas: 2, rollout: {inPlace: Never},")
        return never.replace("numCores: 2", f"numCores: 2\n    onBoot: {on_boot}")

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(text("false"))
        await asyncio.sleep(5)
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale, text=text("true"))

    assert {"0"} == {str(vm.config["onboot"]) for vm in house.world.pve.vms.values() if not vm.template}
    assert [] == destroyed(house)


def test_a_group_that_is_never_replaced_is_at_rest_with_an_older_template(tmp_path: Path) -> None:
    """`rollout.inPlace: Only`: the status speaks of no rollout that nobody will make."""

    def text(template: int) -> str:
        return spec(template=template, masters=1).replace("replicas: 2,", "replicas: 2, rollout: {inPlace: Only},")

    told: list[dict[str, str]] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(text(9010))
        await asyncio.sleep(5)
        await house.converged(limit=HOUR)
        assert house.daemon is not None
        document = status.document(house.daemon.state.view, house.daemon.board, Wall(house.clock.wall()))
        told.append({one["type"]: one["status"] for one in document["clusters"][0]["conditions"]})

    tell(tmp_path, tale, text=text(9000))

    assert ("True", "True", "False") == tuple(told[0][name] for name in ("Ready", "UpToDate", "RollingOut"))


def test_a_template_and_memory_in_one_edit_disturb_a_machine_once(tmp_path: Path) -> None:
    """The old machines go as they are: what is replaced is not rebooted first."""

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(masters=1, template=9010, memory=4096))
        await asyncio.sleep(5)
        await house.converged(limit=2 * HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1))
    taken = [verb for done in house.passes for verb, _ in done.steps if verb in {"retire", "reboot"}]
    vms = [vm for vm in house.world.pve.vms.values() if not vm.template and vm.booted]

    assert ["retire"] * 3 == taken
    assert {"4096"} == {str(vm.booted["memory"]) for vm in vms if vm.booted}


def serving(house: House) -> int:
    """Return how many workers are Ready and take pods."""
    workers = (node for name, node in nodes(house).items() if "-cp-" not in name)
    free = (node for node in workers if not node["spec"].get("unschedulable"))
    return sum(any((c["type"], c["status"]) == ("Ready", "True") for c in n["status"]["conditions"]) for n in free)


@pytest.mark.parametrize(("last", "fewest"), [(60, 2), (13, 2), (12, 1)], ids=["room", "room for one", "no room"])
def test_a_pool_that_is_renamed_goes_when_its_successor_serves(tmp_path: Path, last: int, fewest: int) -> None:
    """A rename is a new pool and an old one less; where no address is left for both they change places by one."""

    def text(name: str) -> str:
        pool = spec(masters=1, destroy="Auto").replace("127.77.0.60", f"127.77.0.{last}")
        return pool.replace("name: general", f"name: {name}")

    counted: list[int] = []

    def changed(house: House) -> bool:
        counted.append(serving(house))
        return house.settled()

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(text("batch"))
        await house.until(lambda: changed(house), limit=2 * HOUR, what="renamed")

    house = tell(tmp_path, tale, text=text("general"))

    assert ["demo-batch-1", "demo-batch-2", "demo-cp-1"] == sorted(house.vms().values())
    assert min(counted) == fewest


def test_somebody_elses_pending_change_reboots_nobody(tmp_path: Path) -> None:
    """What cpcd does not write waits for whoever wrote it, and is named meanwhile."""
    told: list[str] = []

    async def tale(house: House) -> None:
        await built(house)
        vm = next(vm for vm in house.world.pve.vms.values() if vm.name == "demo-general-1")
        vm.pending["args"] = "-smbios type=11"
        await asyncio.sleep(HOUR / 2)
        assert house.daemon is not None
        told.extend(report.last.sentence for report in house.daemon.board.objects.values())

    house = tell(tmp_path, tale, text=spec(masters=1))

    assert [] == [verb for done in house.passes for verb, _ in done.steps if verb in {"reboot", "drain", "shutdown"}]
    assert 1 == sum("args changed in Proxmox, not by cpcd, and waits for a cold start" in said for said in told)
