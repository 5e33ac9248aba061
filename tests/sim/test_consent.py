"""Consent in virtual time: what is given is for one machine and one cause, and ends with what asked for it."""

import asyncio
from pathlib import Path

from cpcd.model.ledger import DropFact, PutFact
from tests.sim.house import House, spec
from tests.sim.test_commands import commands, requests
from tests.sim.test_stories import built, by_object, destroyed, tell

HOUR = 3600


async def consent(house: House) -> list[str]:
    """Consent to all that the plan asks for, and return it."""
    asked = requests(await commands(house).plan())
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
        asked = requests(await commands(house).plan())
        assert len(set(asked)) == 5
        await commands(house).approve(asked[0])
        await asyncio.sleep(HOUR)
        counts.append(len(house.vms()))
        assert consents(house) == ()
        assert len(set(requests(await commands(house).plan()))) == 4

    house = tell(tmp_path, tale, text=rolled(9000, "Approve"))

    assert [5, 5] == counts
    assert 1 == len(destroyed(house))
