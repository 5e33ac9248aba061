"""What happens to a cluster of real machines: edits, what others do behind the daemon's back, a power cut."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cpcd.ports.kube import GVK
from tests.real.machines.hand import until
from tests.real.machines.payload import PAUSE
from tests.real.machines.report import Report
from tests.real.machines.stage import NODE, Stage, is_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")
CP, FIRST, SECOND = "real-cp-1", "real-general-1", "real-general-2"
POD = GVK("v1", "Pod")
TAINT = {"key": "example.org/pool", "value": "general", "effect": "PreferNoSchedule"}


@contextmanager
def timed(report: Report, what: str) -> Iterator[None]:
    """Report how long the block took."""
    began = time.monotonic()
    yield
    report.add(what, time.monotonic() - began)


async def test_label_and_taint_are_set_and_kept(stage: Stage, report: Report) -> None:
    """What the file says of a Node holds, also when somebody takes it away."""
    await stage.ready(CP, FIRST)
    with timed(report, "a label and a taint that were committed are on the Node"):
        with stage.edit() as spec:
            (workers,) = spec["workers"]["machineDeployments"]
            workers["metadata"] = {"labels": {"tier": "gold"}}
            workers["taints"] = [TAINT]
        await stage.node(
            FIRST, lambda node: node["metadata"]["labels"].get("tier") == "gold" and tainted(node), "both are set"
        )
    with timed(report, "a label and a taint that somebody took off are back"):
        async with stage.kube() as kube:
            await kube.patch(NODE, FIRST, {"metadata": {"labels": {"tier": None}}, "spec": {"taints": None}})
        await stage.node(
            FIRST, lambda node: node["metadata"]["labels"].get("tier") == "gold" and tainted(node), "both are back"
        )


async def test_machine_that_lost_its_power_is_started_again(stage: Stage, report: Report) -> None:
    """QEMU is killed: the same VM boots again, as the same Node."""
    before = (await stage.ready(CP, FIRST))[FIRST]
    vm = stage.vms()[FIRST]
    with timed(report, "a worker whose QEMU was killed is Ready again"):
        stage.lab.machines.running[vm.vmid].process.kill()
        after = await stage.node(
            FIRST, lambda node: is_ready(node) and boot(node) != boot(before), "Ready in another boot"
        )

    assert vm.vmid == stage.vms()[FIRST].vmid
    assert before["metadata"]["uid"] == after["metadata"]["uid"]


async def test_worker_is_added_while_the_daemon_dies_in_its_join(stage: Stage, report: Report) -> None:
    """A new daemon finds the join on its way and waits for it; it is not begun again."""
    await stage.ready(CP, FIRST)
    with timed(report, "a second worker is Ready, though the daemon was killed in its join"):
        with stage.edit() as spec:
            spec["workers"]["machineDeployments"][0]["replicas"] = 2
        await stage.killed_in(SECOND, "Join")
        await stage.ready(CP, FIRST, SECOND)

    assert ["join"] == [verb for verb, _ in await stage.jobs(SECOND)]


async def test_worker_is_removed_once_its_budget_allows_it(stage: Stage, report: Report) -> None:
    """A PodDisruptionBudget holds the drain back; with another one the pod moves, the Node goes and then the machine."""
    await stage.ready(CP, FIRST, SECOND)
    async with stage.kube() as kube:
        for each in workload():
            await kube.apply(each)
        await until(lambda: spread(stage, {FIRST, SECOND}), "a pod runs on each worker")
        with stage.edit() as spec:
            spec["workers"]["machineDeployments"][0]["replicas"] = 1
        await stage.daemon.post("/approve", id=await until(lambda: asked(stage), "consent is asked for"))
        await stage.node(SECOND, lambda node: node["spec"].get("unschedulable"), f"{SECOND} is cordoned")
        await asyncio.sleep(30)
        held = await spread(stage, {FIRST, SECOND}) and SECOND in stage.vms()
        with timed(report, "a worker is gone, counted from when its pods' budget allowed it"):
            await kube.apply(budget(1))
            await until(lambda: spread(stage, {FIRST}), "both pods run on the one that stays")
            await until(lambda: gone(stage, SECOND), f"{SECOND} is no more")

    assert held
    assert {CP, FIRST} == set(await stage.nodes())


async def test_memory_is_changed_by_a_drain_and_a_restart(stage: Stage, report: Report) -> None:
    """The same Node comes back with more memory, is scheduled on again, and its pods were evicted before."""
    before, had = (await stage.ready(CP, FIRST))[FIRST], await memory(stage, FIRST)
    async with stage.kube() as kube:
        await kube.apply(budget(0))  # there is no other worker to wait for
    pods = await uids(stage)
    with timed(report, "a worker has more memory: drained, restarted, Ready and scheduled on again"):
        with stage.edit() as spec:
            spec["machineDefaults"]["memoryMiB"] += 256
        after = await stage.node(
            FIRST,
            lambda node: is_ready(node) and boot(node) != boot(before) and not node["spec"].get("unschedulable"),
            "Ready in another boot, and scheduled on",
        )

    assert had + 200 < await memory(stage, FIRST) < had + 300
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert not pods & await uids(stage)
    assert {CP, FIRST} == set(stage.vms())


async def uids(stage: Stage) -> set[str]:
    """Return which pods of the workload there are."""
    async with stage.kube() as api:
        return {pod["metadata"]["uid"] for pod in (await api.list(POD, labels="app=kept"))[0]}


async def memory(stage: Stage, name: str) -> int:
    """Return a machine's memory as its kubelet tells it, in MiB."""
    async with stage.kube() as api:
        node: Any = await api.get(NODE, name)  # of listed ones the adapter leaves it out
    return int(node["status"]["capacity"]["memory"].removesuffix("Ki")) // 1024


def boot(node: Any) -> str:
    """Return in which boot of the machine a Node is."""
    return str(node["status"]["nodeInfo"]["bootID"])


def tainted(node: Any) -> bool:
    """Tell whether the Node has the committed taint."""
    return any(TAINT.items() <= taint.items() for taint in node["spec"].get("taints", ()))


def workload() -> list[dict[str, Any]]:
    """Return two pods, one on each worker, and the budget that keeps both."""
    labels = {"app": "kept"}
    spread = {
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor", "labelSelector": {"matchLabels": labels},
    }  # fmt: skip
    pod = {
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "pause", "image": PAUSE}],
        "topologySpreadConstraints": [spread],
    }
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "kept", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }  # fmt: skip
    return [budget(2), deployment]


def budget(least: int) -> dict[str, Any]:
    """Return a budget that keeps so many of the pods."""
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "kept", "namespace": "default"},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "kept"}}},
    }  # fmt: skip


async def spread(stage: Stage, machines: set[str]) -> bool:
    """Tell whether two pods of the workload run, on these machines."""
    async with stage.kube() as api:
        pods, _ = await api.list(POD, labels="app=kept")
    where = [
        pod["spec"].get("nodeName")
        for pod in pods
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]
    return len(where) == 2 and set(where) == machines


async def asked(stage: Stage) -> str:
    """Return what consent is asked for, nothing before it is."""
    plan = await stage.daemon.get("/plan")
    return next((step["consent"] for step in plan["steps"] if step["consent"]), "")


async def gone(stage: Stage, name: str) -> bool:
    """Tell whether neither machine nor Node is left."""
    return name not in stage.vms() and name not in await stage.nodes()
