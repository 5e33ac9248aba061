"""What operators ask of a daemon at work, in virtual time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cpcd.loop.dispatcher import RESYNC
from cpcd.model.errors import Code, Failure
from cpcd.sources.commands import Commands
from cpcd.sources.doctor import Doctor
from tests.sim.house import House, spec
from tests.sim.test_stories import built, tell

OTHER = spec().replace("name: demo", "name: other").replace("127.77.0.4}", "127.77.0.5}")
TWO = f"{spec()}---\n{OTHER.replace('127.77.0.10-127.77.0.60', '127.77.0.70-127.77.0.99')}"


def commands(house: House) -> Commands:
    """Return the commands on the daemon that lives."""
    daemon = house.daemon
    assert daemon is not None
    return Commands(
        state=daemon.state, board=daemon.board, dispatcher=daemon.dispatcher, journal=daemon.journal, clock=daemon.clock,
        read=daemon.read, kubeconfig=lambda _: "", doctor=Doctor(daemon.ports), specs=daemon.specs, troubles=daemon.troubles,
        settings={"spec": "/etc/cpcd/cluster.yaml"},
    )  # fmt: skip


def test_a_clusters_events_are_those_of_everything_in_it(tmp_path: Path) -> None:
    """And of a machine that is no more, under the name that people knew."""
    events: dict[str, list[dict[str, Any]]] = {}
    refused: list[Failure] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(workers=1, destroy="Auto"))
        await asyncio.sleep(15)
        await house.converged(limit=900)
        asked = commands(house)
        for name in ("demo", "machine/demo-general-2", "demo/machine/demo-general-2", "machine/demo-general-1"):
            events[name] = await asked.events(name, 500)
        with pytest.raises(Failure) as caught:
            await asked.events("machine/nobody", 500)
        refused.append(caught.value)

    tell(tmp_path, tale, text=spec(workers=2, destroy="Auto"))
    kinds = {event["key"].split("/")[1] for event in events["demo"]}
    gone = events["machine/demo-general-2"]

    assert {"cluster", "machine", "nodes", "addon", "kubeconfig"} == kinds
    assert ({"demo-general-2"}, "Gone") == ({event["name"] for event in gone}, gone[0]["reason"])
    assert gone == events["demo/machine/demo-general-2"]
    assert {"demo/machine/demo-general-1"} == {event["key"] for event in events["machine/demo-general-1"]}
    assert [Code.INPUT] == [failure.code for failure in refused]


def test_what_is_to_be_looked_at_while_proxmox_is_silent_is_said_to_wait(tmp_path: Path) -> None:
    """Nothing is claimed that cannot be."""
    told: list[str] = []

    async def tale(house: House) -> None:
        await built(house)
        told.append((await commands(house).reconcile("machine/demo-general-1"))["message"])
        house.world.pve.silence(True)
        await house.until(lambda: house.daemon is not None and house.daemon.endpoints.why("pve:127.0.0.1"), limit=60)
        told.append((await commands(house).reconcile("demo"))["message"])

    tell(tmp_path, tale)

    assert "1 object to be looked at now" == told[0]
    assert "objects to be looked at now. CPCD-100 pve:127.0.0.1: " in told[1]
    assert "goes on when it answers" in told[1]


def test_a_kubeconfig_that_is_not_there_yet_is_a_sentence(tmp_path: Path) -> None:
    """An empty text would be printed, or merged, as if it were one."""
    refused: list[Failure] = []

    async def tale(house: House) -> None:
        with pytest.raises(Failure, match="there is no kubeconfig of demo yet") as caught:
            await commands(house).kubeconfig("")
        refused.append(caught.value)

    tell(tmp_path, tale)

    assert [(Code.DEPENDENCY, True)] == [(one.code, "first control plane" in one.hint) for one in refused]


def test_a_cluster_that_the_file_pauses_is_not_said_to_go_on(tmp_path: Path) -> None:
    """`cpcd resume` takes back what `cpcd pause` said, not what is committed."""
    told: list[str] = []

    async def tale(house: House) -> None:
        for text in (spec(), f"{spec()}  paused: true\n"):
            house.file.commit(text)
            await asyncio.sleep(5)
            await commands(house).pause("demo")
            told.append((await commands(house).resume("demo"))["message"])

    tell(tmp_path, tale)

    assert ["demo is kept equal to the file again", "demo stays paused: the file itself says so (spec.paused)"] == told


def test_events_of_a_name_that_two_clusters_have_are_not_those_of_the_first(tmp_path: Path) -> None:
    """Whoever asks the daemon itself is asked back too, also of what is no more."""
    told: list[str] = []

    async def asked(house: House, name: str) -> None:
        with pytest.raises(Failure) as caught:
            await commands(house).events(name, 10)
        told.append(caught.value.what)

    async def tale(house: House) -> None:
        await asyncio.sleep(5)
        await asked(house, "kubeconfig/admin")
        house.file.commit(TWO.replace("name: hello", "name: bye"))
        await asyncio.sleep(5)
        await asked(house, "addon/hello")

    tell(tmp_path, tale, text=TWO)

    assert [
        "kubeconfig/admin could be any of demo/kubeconfig/admin, other/kubeconfig/admin",
        "addon/hello could be any of demo/addon/hello, other/addon/hello",
    ] == told


def requests(plan: dict[str, Any]) -> list[str]:
    """Return the ids that a plan asks to be approved, in its order."""
    return [step["wait"].split("`")[1].split()[-1] for step in plan["steps"] if "`cpcd approve" in step["wait"]]


def test_a_consent_that_is_missing_stalls_its_object_until_it_is_given(tmp_path: Path) -> None:
    """Only a person can end that wait, so the series that alerts is raised, and falls with the consent."""
    shown: list[str] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(workers=1))
        assert house.daemon is not None
        await asyncio.sleep(60)
        shown.append(house.daemon.scrape().decode())
        (asked,) = requests(await commands(house).plan())
        await commands(house).approve(asked)
        await asyncio.sleep(60)
        shown.append(house.daemon.scrape().decode())

    tell(tmp_path, tale)
    series = 'cpcd_stalled{cluster="demo",kind="cluster",name="demo",site=""} '

    assert [True, True] == [f"{series}{value}" in page for value, page in zip(("1.0", "0.0"), shown, strict=True)]


def test_ready_means_that_a_first_look_was_tried(tmp_path: Path) -> None:
    """Not before; and a Proxmox that is silent, or a mistake in the file, does not keep it unready."""
    said: list[str] = []

    async def tale(house: House) -> None:
        assert house.daemon is not None
        said.append(house.daemon.unready())
        await house.crash()
        house.world.pve.silence(True)
        house.file.commit("nonsense")
        starting = asyncio.ensure_future(house.start())
        await asyncio.sleep(0.01)
        assert house.daemon is not None
        said.append(house.daemon.unready())
        await starting
        said.append(house.daemon.unready())

    tell(tmp_path, tale)

    assert ["", "the first look at Proxmox is not over", ""] == said


def test_what_is_not_looked_at_any_more_does_not_age(tmp_path: Path) -> None:
    """A clone's tasks are looked at while it is on its way; an age that only grows would tell of a daemon that hangs."""
    ages: dict[str, float] = {}

    async def tale(house: House) -> None:
        await built(house)
        await asyncio.sleep(1800)
        assert house.daemon is not None
        ages.update(house.daemon.vitals().observation_ages)

    tell(tmp_path, tale)

    assert {"api", "etcd", "guest", "node", "nodes", "quorum", "resources", "template", "vm"} <= ages.keys()
    assert {} == {kind: age for kind, age in ages.items() if age > 1.1 * RESYNC}
