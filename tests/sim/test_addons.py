"""Addons in virtual time that ask for what the cluster does not have: told, planned around, mended or taken back."""

import asyncio
from pathlib import Path
from typing import Any

from cpcd.ports.kube import GVK
from cpcd.sources.commands import foreseen
from tests.sim.house import HELLO, House, spec
from tests.sim.test_stories import built, tell

WIDGET = b"""
apiVersion: example.org/v1
kind: Widget
metadata: {name: hello, namespace: hello}
"""
WITH = spec(destroy="Auto").replace("addons: [", "addons: [{name: widgets, manifests: [{file: widget.yaml}]}, ")
PARENT = ("kube-system", "cpcd-addon-widgets")


def addon(house: House) -> Any:
    """Return the last pass over the addon, None when there is no such object."""
    assert house.daemon is not None
    found = [one.last for key, one in house.daemon.board.objects.items() if key.name == "widgets"]
    return found[0] if found else None


def config_maps(house: House) -> set[tuple[str, str]]:
    """Return namespace and name of every ConfigMap."""
    listed, _ = house.world.clusters[0].store.list(GVK("v1", "ConfigMap"))
    return {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in listed}


async def asked_for(house: House) -> None:
    """Build the cluster, then add an addon of a kind that it does not serve."""
    await built(house)
    house.file.referred = {"hello.yaml": HELLO, "widget.yaml": WIDGET}
    house.file.commit(WITH)
    await asyncio.sleep(600)


def test_a_kind_that_is_not_served_is_a_failure_with_a_code_and_stays_in_the_plan(tmp_path: Path) -> None:
    """It is tried again and again, which is told; the plan goes on naming what is missing."""
    plans: list[dict[str, Any]] = []

    async def tale(house: House) -> None:
        await asked_for(house)
        assert house.daemon is not None
        plans.append(foreseen(house.daemon.state.view))

    last = addon(tell(tmp_path, tale, text=spec(destroy="Auto")))

    assert ("failed", "CPCD-106", True) == (last.outcome, str(last.failure.code), last.degraded)
    assert "does not serve this kind" in last.sentence
    assert "CustomResourceDefinition" in last.failure.hint
    assert "apply Widget hello/hello of addon widgets" == plans[0]["steps"][0]["sentence"]


def test_a_mended_kind_is_applied_without_a_hand(tmp_path: Path) -> None:
    """Nothing of the mistake is left in the way."""

    async def tale(house: House) -> None:
        await asked_for(house)
        mended = WIDGET.replace(b"example.org/v1", b"v1").replace(b"Widget", b"ConfigMap").replace(b"hello,", b"w,")
        house.file.referred = {"hello.yaml": HELLO, "widget.yaml": mended}
        house.file.commit(WITH)
        await asyncio.sleep(15)
        await house.converged(limit=300)

    house = tell(tmp_path, tale, text=spec(destroy="Auto"))

    assert {("hello", "w"), PARENT} <= config_maps(house)


def test_an_addon_of_a_kind_that_is_not_served_can_be_taken_back(tmp_path: Path) -> None:
    """Its parent goes too, and then there is no such object."""

    async def tale(house: House) -> None:
        await asked_for(house)
        assert PARENT in config_maps(house)
        house.file.commit(spec(destroy="Auto"))
        await asyncio.sleep(15)
        await house.converged(limit=300)

    house = tell(tmp_path, tale, text=spec(destroy="Auto"))

    assert PARENT not in config_maps(house)
    assert addon(house) is None
