"""A cluster that has all it should have is left alone: what a second pass over it costs, and that it changes nothing."""

import asyncio
import time
from typing import Any

import pytest

from cpcd.adapters.kube.api import FIELD_MANAGER
from cpcd.ports.kube import GVK
from tests.real.machines.hand import until
from tests.real.machines.report import Report
from tests.real.machines.stage import Stage
from tests.real.machines.traffic import carried

pytestmark = pytest.mark.asyncio(loop_scope="session")
MACHINES = ("real-cp-1", "real-general-1")
WRITTEN = (
    *((GVK("v1", "Node"), "", name) for name in MACHINES),
    (GVK("v1", "ConfigMap"), "kube-system", "cpcd-addon-flannel"),
    (GVK("v1", "ConfigMap"), "kube-flannel", "kube-flannel-cfg"),
    (GVK("apps/v1", "DaemonSet"), "kube-flannel", "kube-flannel-ds"),
)


async def test_built_cluster_is_left_alone(stage: Stage, report: Report) -> None:
    """Nothing is left to do; a look at everything, asked for, begins no task and takes no step, and none for half a minute.

    It has just been asked for the plan, so that etcd's members were listed a moment ago and are not listed again.
    """
    await stage.ready(*MACHINES)
    await until(lambda: settled(stage), "nothing is left to do")
    before, looks = await told(stage), await passes(stage)
    began = time.monotonic()
    async with carried() as ssh:
        await stage.daemon.post("/reconcile", key="real")
        await until(lambda: looked(stage, looks), "everything was looked at")
    report.add(f"a second pass over {len(looks)} objects, asked for: {ssh}; no task, no step", time.monotonic() - began)
    await asyncio.sleep(30)

    async with carried() as own:
        after = await told(stage)

    assert own.trips  # who logs in is counted
    assert before["Kubernetes"]["kube-flannel-ds"]  # what it writes is seen
    assert before == after


async def test_daemon_that_was_started_again_changes_nothing(stage: Stage, report: Report) -> None:
    """All it has is its ledger: it looks at everything anew."""
    before, looks = await told(stage), await passes(stage)
    stage.daemon.kill()
    began = time.monotonic()
    async with carried() as ssh:
        stage.daemon.start()
        await until(lambda: looked(stage, looks), "everything was looked at by another daemon")
        await until(lambda: settled(stage), "nothing is left to do")
    report.add(f"the first pass of a daemon that was started again: {ssh}; no task, no step", time.monotonic() - began)

    assert ssh.trips  # etcd's members are listed
    assert before == await told(stage)


async def told(stage: Stage) -> dict[str, Any]:
    """Return what shows that something was changed: Proxmox's tasks, the machines' jobs, what Kubernetes has from cpcd.

    And the steps of the daemon's own history, every verb that there is.
    """
    async with stage.kube() as api:
        found = {name: await api.get(gvk, name, namespace) for gvk, namespace, name in WRITTEN}
    return {
        "Proxmox": set(stage.lab.pve.cluster.tasks.tasks),
        "machines": {name: await stage.jobs(name) for name in MACHINES},
        "Kubernetes": {name: by_cpcd(one or {}) for name, one in found.items()},
        "history": await stage.steps(),
    }


def by_cpcd(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return which fields of an object it set, and when it last changed one."""
    fields = one.get("metadata", {}).get("managedFields", ())
    return [entry for entry in fields if entry["manager"] == FIELD_MANAGER]


async def passes(stage: Stage) -> dict[tuple[str, str], str]:
    """Return the last pass over each object of the cluster, by its run."""
    objects = (await stage.daemon.get("/status"))["objects"]
    return {(each["kind"], each["id"]): each["run"] for each in objects if each.get("cluster") == "real"}


async def looked(stage: Stage, before: dict[tuple[str, str], str]) -> bool:
    """Tell whether each of the objects was looked at since."""
    now = await passes(stage)
    return all(now.get(key, run) != run for key, run in before.items())


async def settled(stage: Stage) -> Any:
    """Return the plan once it has no steps."""
    plan = await stage.daemon.get("/plan")
    return None if plan["steps"] else plan
