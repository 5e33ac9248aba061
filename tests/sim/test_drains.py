"""Drains in virtual time: a pod that cannot be evicted keeps itself on the machine, and no other."""

import asyncio
from pathlib import Path

from cpcd.ports.kube import GVK
from tests.sim.house import House, spec
from tests.sim.test_stories import tell
from tests.sim.workload import POD, SPACE, put

BUDGET = GVK("policy/v1", "PodDisruptionBudget")


def deploy(house: House, name: str, node: str) -> None:
    """Run one pod of a name on a node."""
    labels = {"app": name}
    pod = {"containers": [{"name": name, "image": name}], "nodeSelector": {"kubernetes.io/hostname": node}}
    template = {"metadata": {"labels": labels}, "spec": pod}
    put(house, "apps/v1", "Deployment", name, selector={"matchLabels": labels}, replicas=1, template=template)


def placed(house: House, node: str) -> list[str]:
    """Return which apps have a pod on a node."""
    pods, _ = house.world.clusters[0].store.list(POD, fields=f"spec.nodeName={node}", **SPACE)
    return sorted(one["metadata"]["labels"]["app"] for one in pods)


def test_a_pod_with_two_budgets_keeps_no_other_on_the_machine(tmp_path: Path) -> None:
    """Everybody else leaves, what is in the way is said, and once a person has mended it the machine goes."""

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        for name in ("a-stuck", "b-free"):
            deploy(house, name, "demo-general-2")
        for name in ("one", "two"):
            put(
                house,
                "policy/v1",
                "PodDisruptionBudget",
                name,
                selector={"matchLabels": {"app": "a-stuck"}},
                minAvailable=0,
            )
        await asyncio.sleep(120)
        assert ["a-stuck", "b-free"] == placed(house, "demo-general-2")
        house.file.commit(spec(masters=1, workers=1, destroy="Auto"))
        await asyncio.sleep(600)
        assert ["a-stuck"] == placed(house, "demo-general-2")
        assert "more than one PodDisruptionBudget" in house.picture()
        house.world.clusters[0].store.delete(BUDGET, "two", **SPACE)
        await house.converged(limit=1500)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=2, destroy="Auto"))

    assert ["demo-cp-1", "demo-general-1"] == sorted(house.vms().values())
