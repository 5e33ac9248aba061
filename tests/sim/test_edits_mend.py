"""What an edit mends: a template that does not boot, a rollout's limits, a member of etcd that is ill; and what none can."""

import asyncio
from pathlib import Path

import pytest

from cpcd.model.ledger import Machine
from tests.sim.house import House, spec
from tests.sim.test_stories import built, destroyed, members, nodes, tell

HOUR = 3600.0


def boots_only(house: House, *templates: int) -> None:
    """Machines of other templates never answer."""
    up = house.world.agent_up
    house.world.agent_up = lambda vm: any(f"/{one}" in str(vm.config["description"]) for one in templates) and up(vm)  # type: ignore[method-assign]


def given_up(house: House) -> bool:
    """Whether a machine was told to be beyond remedies."""
    return any(one.reason == "RemediesSpent" for one in house.passes)


@pytest.mark.parametrize(("template", "workers"), [(9000, 2), (9020, 1)], ids=["taken back", "mended and scaled"])
def test_a_template_that_does_not_boot_can_be_taken_back_or_mended(tmp_path: Path, template: int, workers: int) -> None:
    """Replacing was given up with a code and what to do; the next edit is acted on at once."""

    async def tale(house: House) -> None:
        await built(house)
        boots_only(house, 9000, 9020)
        house.world.pve.add_template(9020, "pve1", "tpl-9020", "cpcd-ubuntu", disk="10", storage="shared")
        house.file.commit(spec(template=9010))
        await house.until(lambda: given_up(house), limit=3 * HOUR, what="no more remedies")
        await asyncio.sleep(600)
        (refused,) = {one.failure.hint for one in house.passes if one.reason == "RemediesSpent" and one.failure}
        assert "Another template or configuration in the file is tried at once" in refused
        house.file.commit(spec(template=template, workers=workers, destroy="Auto"))
        await asyncio.sleep(1)
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale)

    assert len(members(house)) == 3
    assert len(house.vms()) == 3 + workers
    assert sorted(nodes(house)) == sorted(house.vms().values())


@pytest.mark.parametrize("most", [1, 2])
def test_a_rollout_takes_as_many_as_may_be_unavailable(tmp_path: Path, most: int) -> None:
    """`maxUnavailable` below replicas, without surge; never more."""
    missing: list[int] = []

    def text(template: int) -> str:
        limits = f"rollout: {{strategy: {{rollingUpdate: {{maxSurge: 0, maxUnavailable: {most}}}}}}}"
        return spec(workers=4, template=template).replace("replicas: 4,", f"replicas: 4, {limits},")

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        house.file.commit(text(9010))

        def done() -> bool:
            assert house.daemon is not None
            rows = [row for row in house.daemon.state.view.rows("demo") if row.group == "general"]
            missing.append(4 - sum(row.joined and row.wanted for row in rows))
            return house.settled()

        await house.until(done, limit=3 * HOUR)

    tell(tmp_path, tale, text=text(9000))

    assert max(missing) == most


def test_a_control_plane_whose_member_is_ill_is_replaced_first(tmp_path: Path) -> None:
    """Nobody can join beside it, so that a surge before it would wait for ever."""

    def first(house: House) -> str:
        retired = (said for one in house.passes for verb, said in one.steps if verb == "retire" and "-cp-" in said)
        return next(retired).split()[1].rstrip(":")

    async def tale(house: House) -> None:
        await built(house)
        etcd = house.world.clusters[0].etcd
        up = etcd.up
        etcd.up = lambda member: member.name != "demo-cp-2" and up(member)  # type: ignore[method-assign]
        house.file.commit(spec(template=9010))
        await asyncio.sleep(1)
        await house.converged(limit=2 * HOUR)

    house = tell(tmp_path, tale)

    assert len(members(house)) == 3
    assert first(house) == "demo-cp-2"


def test_a_lost_quorum_is_told_to_a_person_and_nothing_is_torn_down(tmp_path: Path) -> None:
    """Two of three control planes are gone with their VMs: a code, what is lost, what to do; their rows are kept."""

    async def tale(house: House) -> None:
        await built(house)
        numbers = {name: vmid for vmid, name in house.vms().items()}
        for name in ("demo-cp-1", "demo-cp-2"):
            house.world.pve.delete_vm(numbers[name])
        await asyncio.sleep(2400)  # past every remedy's time
        assert house.daemon is not None
        said = house.daemon.sentence()
        assert said.startswith("CPCD-108 cluster/demo: etcd of demo has lost its quorum"), said
        assert all(row.wanted for row in house.daemon.state.view.rows("demo"))

    house = tell(tmp_path, tale)

    assert sorted(house.vms().values()) == ["demo-cp-3", "demo-general-1", "demo-general-2"]


def test_a_machine_that_never_came_up_is_scaled_away_where_nothing_is_replaced(tmp_path: Path) -> None:
    """`Replace: Never` keeps cpcd from mending it, and the edit that takes it back from nothing."""

    def text(template: int, workers: int) -> str:
        never = spec(masters=1, template=template, workers=workers)
        return never.replace("{Destroy: Approve}", "{Replace: Never, Destroy: Auto}")

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        boots_only(house, 9000)
        house.file.commit(text(9010, 3))
        await asyncio.sleep(HOUR)
        assert len(house.vms()) == 4
        house.file.commit(text(9000, 2))
        await asyncio.sleep(1)
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale, text=text(9000, 2))

    assert sorted(nodes(house)) == sorted(house.vms().values()) == ["demo-cp-1", "demo-general-1", "demo-general-2"]


@pytest.mark.parametrize("kept", [("general", "batch"), ("batch",)], ids=["one serves", "nobody serves"])
def test_a_pool_that_left_the_file_does_not_wait_for_what_never_comes(tmp_path: Path, kept: tuple[str, ...]) -> None:
    """Another pool's template does not boot, and its replacing was given up: if others serve, it goes all the same."""

    def text(*names: str) -> str:
        bad = {"batch": ", machine: {template: bad}"}
        pools = ", ".join(f"{{name: {name}, replicas: 1{bad.get(name, '')}}}" for name in names)
        head, _, tail = spec(masters=1, workers=1, destroy="Auto").partition("machineDeployments: [")
        whole = head + f"machineDeployments: [{pools}]}}\n" + tail.partition("\n")[2]
        whole = whole.replace("templates: [", "templates: [{name: bad, templateID: 9010}, ")
        return whole.replace("machineDefaults:\n", "machineDefaults:\n    template: ubuntu\n")

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        boots_only(house, 9000)
        house.file.commit(text(*kept))
        await house.until(lambda: given_up(house), limit=6 * HOUR, what="no more remedies")
        await asyncio.sleep(HOUR)

    house = tell(tmp_path, tale, text=text("general", "extra"))

    assert ("demo-extra-1" in nodes(house)) == ("general" not in kept)


def general(house: House) -> list[Machine]:
    """Return the rows of the workers."""
    assert house.daemon is not None
    return [row for row in house.daemon.state.view.rows("demo") if row.group == "general" and row.wanted]


def test_a_second_template_in_the_middle_of_a_rollout_asks_for_nothing(tmp_path: Path) -> None:
    """The machine that the first one added is replaced in its turn: nothing was scaled."""

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        house.world.pve.add_template(9020, "pve1", "tpl-9020", "cpcd-ubuntu", disk="10", storage="shared")
        house.file.commit(spec(masters=1, workers=3, template=9010))
        await house.until(lambda: sum(row.joined for row in general(house)) == 4, limit=HOUR, what="a fourth")
        house.file.commit(spec(masters=1, workers=3, template=9020))
        await asyncio.sleep(1)
        await house.converged(limit=3 * HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=3))

    assert [9020, 9020, 9020] == [row.template for row in general(house)]
    assert not [said for one in house.passes for _, said in one.steps if "is scaled to" in said]


def test_who_is_sick_is_replaced_while_a_scale_down_asks(tmp_path: Path) -> None:
    """Workers 3 → 2, nobody has consented, and one falls silent: another takes its place, and as many are left."""

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        (vmid,) = (vmid for vmid, name in house.vms().items() if name == "demo-general-1")
        house.file.commit(spec(masters=1, workers=2))
        await asyncio.sleep(120)
        house.world.guests[vmid].unplug()
        await asyncio.sleep(1.5 * HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=3))

    assert 1 == len(destroyed(house))
    assert {"demo-general-2", "demo-general-3", "demo-general-4"} == {row.name for row in general(house)}
    assert {"demo-general-4"} == {said.split()[1].rstrip(":") for said in waiting(house) if said.startswith("retire")}


def test_a_scale_down_does_not_wait_for_a_rollout_that_asks(tmp_path: Path) -> None:
    """Workers 3 → 4 → 3 while a new template waits for consent: the fourth goes, which nobody is asked about."""

    def text(template: int, workers: int) -> str:
        asking = spec(masters=1, workers=workers, template=template)
        return asking.replace("{Destroy: Approve}", "{Replace: Approve, Destroy: Auto}")

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        for workers in (3, 4, 3):
            house.file.commit(text(9010, workers))
            await asyncio.sleep(HOUR / 2)

    house = tell(tmp_path, tale, text=text(9000, 3))

    assert 1 == len(destroyed(house))
    assert 3 == len(general(house))


def test_a_template_mends_what_is_too_sick_for_remedies(tmp_path: Path) -> None:
    """Half of the machines fall silent one after another: no remedy, but the edit is carried out."""

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        numbers = {name: vmid for vmid, name in house.vms().items()}
        for name in ("demo-general-1", "demo-general-2"):
            house.world.guests[numbers[name]].unplug()
            await asyncio.sleep(450)
        house.file.commit(spec(masters=1, workers=3, template=9010))
        await asyncio.sleep(1)
        await house.converged(limit=3 * HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=3))

    assert [9010, 9010, 9010] == [row.template for row in general(house)]


def waiting(house: House) -> list[str]:
    """Return what the objects wait for."""
    assert house.daemon is not None
    return [report.last.sentence for report in house.daemon.board.objects.values()]
