"""Consent in virtual time: what is given is for one machine and one cause, and ends with what asked for it."""

import asyncio
from pathlib import Path

import pytest

from cpcd.model.errors import Failure
from cpcd.model.ledger import DropFact, PutFact
from tests.sim.house import House, spec
from tests.sim.test_commands import commands, requests
from tests.sim.test_stories import built, by_object, destroyed, tell

HOUR = 3600


async def consent(house: House) -> list[str]:
    """Consent to all that the plan asks for, and return it."""
    asked = list(dict.fromkeys(requests(await commands(house).plan())))
    for request in asked:
        await commands(house).approve(request)
    return asked


def consents(house: House) -> tuple[str, ...]:
    """Return what was consented to and is not spent."""
    assert house.daemon is not None
    return house.daemon.state.view.ledger.consents


def workers(house: House) -> list[str]:
    """Return the names of the workers that there are."""
    return sorted(name for name in house.vms().values() if "general" in name)


def test_consent_that_nothing_spent_ends_when_the_edit_is_taken_back(tmp_path: Path) -> None:
    """Two went, the third waited for its hour, and then was wanted again: a later edit asks anew."""
    left: list[list[str]] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(workers=2))
        for _ in range(40):
            await asyncio.sleep(30)
            await consent(house)
        left.append(workers(house))
        assert len(consents(house)) == 1
        house.file.commit(spec(workers=3))
        await asyncio.sleep(60)
        assert consents(house) == ()
        await asyncio.sleep(2 * HOUR)
        house.file.commit(spec(workers=2))
        await asyncio.sleep(600)
        left.append(workers(house))

    tell(tmp_path, tale, text=spec(workers=5))

    three = ["demo-general-1", "demo-general-2", "demo-general-3"]
    assert [three, three] == left


def test_consent_given_in_a_pause_ends_with_the_edit(tmp_path: Path) -> None:
    """Taken back before the pause is over: no machine goes, then or when the edit is made again."""

    async def tale(house: House) -> None:
        await built(house)
        assert house.daemon is not None
        house.file.commit(spec(workers=1))
        await asyncio.sleep(60)
        await house.daemon.state.commit((PutFact("paused/demo", 1.0),))
        assert len(await consent(house)) == 1
        await asyncio.sleep(HOUR)
        assert len(consents(house)) == 1
        house.file.commit(spec(workers=2))
        await asyncio.sleep(5)
        assert consents(house) == ()
        house.file.commit(spec(workers=1))
        await asyncio.sleep(5)
        await house.daemon.state.commit((DropFact("paused/demo"),))
        await asyncio.sleep(900)

    house = tell(tmp_path, tale)

    assert [] == destroyed(house)


def test_all_that_is_to_go_is_printed_and_consented_to_at_once(tmp_path: Path) -> None:
    """Workers 5 → 2: three go, the third an hour later, by no other steps than were printed first."""
    printed: list[dict[str, str]] = []
    since: list[int] = []
    names: dict[str, str] = {}

    async def tale(house: House) -> None:
        await built(house)
        assert house.daemon is not None
        names.update({row.uid: row.name for row in house.daemon.state.view.machines.values()})
        house.file.commit(spec(workers=2))
        await asyncio.sleep(60)
        since.append(len(house.passes))
        plan = await commands(house).plan()
        printed.extend(plan["steps"])
        assert len(await consent(house)) == 3
        await asyncio.sleep(HOUR + 600)
        assert consents(house) == ()

    house = tell(tmp_path, tale, text=spec(workers=5))
    applied = by_object(((done.key, said) for done in house.passes[since[0] :] for _, said in done.steps), names)
    foreseen: dict[str, list[str]] = {}
    for step in printed:
        foreseen.setdefault(step["key"], []).append(step["sentence"])

    assert ["demo-general-1", "demo-general-2"] == workers(house)
    assert all(step["wait"] for step in printed)
    assert foreseen == applied


def rolled(template: int, policy: str) -> str:
    """Return a spec whose machines are replaced under this policy."""
    return spec(template=template).replace("{Destroy: Approve}", f"{{Replace: {policy}}}")


def test_a_rollout_that_is_never_to_be_adds_no_machine(tmp_path: Path) -> None:
    """A template that replaces every machine, and a policy against it: nothing is made, and it is told."""

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(rolled(9010, "Never"))
        await asyncio.sleep(HOUR)
        assert {step["wait"].rpartition(": ")[2] for step in (await commands(house).plan())["steps"]} == {
            "changePolicy.Replace is Never"
        }

    house = tell(tmp_path, tale, text=rolled(9000, "Never"))

    assert len(house.vms()) == 5
    assert [] == destroyed(house)


def test_a_rollout_asks_before_it_adds_a_machine(tmp_path: Path) -> None:
    """No fourth voter while a person thinks; with consent to one, that one is replaced and the next asked for."""
    counts: list[int] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(rolled(9010, "Approve"))
        await asyncio.sleep(HOUR)
        counts.append(len(house.vms()))
        plan = await commands(house).plan()
        asked = requests(plan)
        assert len(asked) == 5
        assert [f"waits for the consent to {one['sentence']}" for one in plan["steps"] if one["verb"] == "retire"] == [
            one["wait"] for one in plan["steps"] if one["verb"] == "add-machine"
        ]
        await commands(house).approve(asked[0])
        await asyncio.sleep(HOUR)
        counts.append(len(house.vms()))
        assert consents(house) == ()
        assert len(requests(await commands(house).plan())) == 4

    house = tell(tmp_path, tale, text=rolled(9000, "Approve"))

    assert [5, 5] == counts
    assert 1 == len(destroyed(house))


def test_each_consent_of_a_rollout_with_two_more_is_acted_on(tmp_path: Path) -> None:
    """`maxSurge: 2`: what is consented to happens, whatever is still thought about; then the rest does."""
    counts: list[int] = []

    def text(template: int) -> str:
        surge = "rollout: {strategy: {rollingUpdate: {maxSurge: 2}}}"
        asking = spec(masters=1, workers=3, template=template).replace("{Destroy: Approve}", "{Replace: Approve}")
        return asking.replace("replicas: 3,", f"replicas: 3, {surge},")

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        house.file.commit(text(9010))
        await asyncio.sleep(60)
        asked = [request for request in requests(await commands(house).plan()) if "general" in request]
        await commands(house).approve(asked[-1])
        await asyncio.sleep(HOUR)
        assert consents(house) == ()
        counts.append(len(destroyed(house)))
        await consent(house)
        await house.converged(limit=3 * HOUR)
        counts.append(len(destroyed(house)))

    tell(tmp_path, tale, text=text(9000))

    assert [1, 4] == counts


def test_an_edit_that_comes_with_a_replacement_is_told_until_that_is_consented_to(tmp_path: Path) -> None:
    """More memory for a machine that is outdated: it is not disturbed twice, and says what it will have."""
    told: list[str] = []

    def text(template: int, memory: int) -> str:
        asking = spec(masters=1, template=template, memory=memory)
        return asking.replace("{Destroy: Approve}", "{Replace: Approve, Reboot: Auto}")

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        house.file.commit(text(9010, 2048))
        await asyncio.sleep(60)
        house.file.commit(text(9010, 4096))
        await asyncio.sleep(HOUR)
        assert house.daemon is not None
        told.extend(report.last.sentence for report in house.daemon.board.objects.values())
        await consent(house)
        await house.converged(limit=3 * HOUR)

    house = tell(tmp_path, tale, text=text(9000, 2048))

    assert 3 == sum("it is outdated, and memory comes with its replacement" in said for said in told)
    assert {"4096"} == {str(vm.config["memory"]) for vm in house.world.pve.vms.values() if not vm.template}
    assert [] == [verb for done in house.passes for verb, _ in done.steps if verb == "reboot"]


def test_a_reboot_that_is_awaited_for_long_takes_its_snapshot_when_it_begins(tmp_path: Path) -> None:
    """Of the only control plane; and where it is never to be, none is taken at all."""
    asked: list[list[str]] = []
    taken: list[int] = []

    def text(memory: int, reboot: str) -> str:
        one = spec(masters=1, workers=1, memory=memory)
        return one.replace("{Destroy: Approve}", f"{{Destroy: Approve, Reboot: {reboot}}}")

    def snapshots(house: House) -> int:
        files = [path for guest in house.world.guests.values() for path in guest.disk.files]
        return sum(path.startswith("/var/lib/cpcd/snapshots/") for path in files)

    async def tale(house: House) -> None:
        await house.converged(limit=HOUR)
        for reboot in ("Never", "Approve"):
            house.file.commit(text(3072, reboot))
            await asyncio.sleep(3 * HOUR)
            taken.append(snapshots(house))
        asked.append(await consent(house))
        await house.converged(limit=HOUR)
        taken.append(snapshots(house))
        assert () == consents(house)

    house = tell(tmp_path, tale, text=text(2048, "Auto"))

    assert [0, 0, 1] == taken
    assert [True, True] == ["/reboot/demo-" in request for request in asked[0]]
    assert {"3072"} == {str(vm.config["memory"]) for vm in house.world.pve.vms.values() if not vm.template}


def test_consent_to_a_remedy_outlives_a_silence_of_the_api(tmp_path: Path) -> None:
    """Who is sick cannot be seen just now, which does not mean that nobody is."""

    async def tale(house: House) -> None:
        await built(house)
        assert house.daemon is not None
        (vmid,) = (vmid for vmid, name in house.vms().items() if name == "demo-general-1")
        house.world.guests[vmid].unplug()
        await asyncio.sleep(HOUR)
        await house.daemon.state.commit((PutFact("paused/demo", 1.0),))
        assert len(await consent(house)) == 1
        house.world.pve.node_down("pve1")  # with the only control plane
        await asyncio.sleep(HOUR / 6)
        house.world.pve.node_up("pve1")
        await asyncio.sleep(HOUR / 6)
        assert len(consents(house)) == 1
        await house.daemon.state.commit((DropFact("paused/demo"),))
        await house.converged(limit=HOUR)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=3).replace("{Destroy: Approve}", "{Replace: Approve}"))

    assert 1 == len(destroyed(house))


def test_consent_may_be_given_twice_until_it_is_spent(tmp_path: Path) -> None:
    """Whoever is not sure gives it again; what nobody asks for, or asks for no more, is a mistake."""
    said: list[str] = []

    async def tale(house: House) -> None:
        await built(house)
        assert house.daemon is not None
        house.file.commit(spec(workers=1))
        await asyncio.sleep(60)
        await house.daemon.state.commit((PutFact("paused/demo", 1.0),))
        (asked,) = requests(await commands(house).plan())
        said.extend([(await commands(house).approve(asked))["message"] for _ in range(2)])
        await house.daemon.state.commit((DropFact("paused/demo"),))
        await asyncio.sleep(900)
        for request in (asked, "demo/retire/nobody"):
            with pytest.raises(Failure, match=f"nothing awaits approval as {request}"):
                await commands(house).approve(request)

    house = tell(tmp_path, tale)
    request = said[0].split()[0]

    assert [f"{request} is approved", f"{request} was approved already"] == said
    assert 1 == len(destroyed(house))
