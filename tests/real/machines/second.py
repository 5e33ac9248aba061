"""A cluster that has all it should have is left alone: what a second pass over it costs, and that it changes nothing."""

import asyncio
import time
from typing import Any

import pytest

from tests.real.machines.hand import until
from tests.real.machines.report import Report
from tests.real.machines.stage import Stage
from tests.real.machines.traffic import carried

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_built_cluster_is_left_alone(stage: Stage, report: Report) -> None:
    """Nothing is left to do; a look at everything, asked for, begins no task and takes no step, and none for half a minute."""
    await stage.ready("real-cp-1", "real-general-1")
    await until(lambda: settled(stage), "nothing is left to do")
    tasks, steps, looks = set(stage.lab.pve.cluster.tasks.tasks), await stage.steps(), await passes(stage)
    began = time.monotonic()
    async with carried() as ssh:
        await stage.daemon.post("/reconcile", key="real")
        await until(lambda: looked(stage, looks), "everything was looked at")
    report.add(f"a second pass over {len(looks)} objects, asked for: {ssh}; no task, no step", time.monotonic() - began)
    await asyncio.sleep(30)

    assert ssh.trips  # etcd is asked
    assert tasks == set(stage.lab.pve.cluster.tasks.tasks)
    assert steps == await stage.steps()


async def test_daemon_that_was_started_again_changes_nothing(stage: Stage, report: Report) -> None:
    """All it has is its ledger: it looks at everything anew."""
    tasks, steps, looks = set(stage.lab.pve.cluster.tasks.tasks), await stage.steps(), await passes(stage)
    stage.daemon.kill()
    began = time.monotonic()
    async with carried() as ssh:
        stage.daemon.start()
        await until(lambda: looked(stage, looks), "everything was looked at by another daemon")
        await until(lambda: settled(stage), "nothing is left to do")
    report.add(f"the first pass of a daemon that was started again: {ssh}; no task, no step", time.monotonic() - began)

    assert tasks == set(stage.lab.pve.cluster.tasks.tasks)
    assert steps == await stage.steps()


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
