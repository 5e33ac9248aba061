"""The daemon is killed while kubeadm initialises and while it joins, and another one goes on: by itself, from nothing."""

import time

import pytest

from tests.real.machines.report import Report
from tests.real.machines.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_killed_daemon_goes_on_where_it_was(stage: Stage, report: Report) -> None:
    """Neither is begun again, no machine is made twice: a job is its machine's own, and an op is remembered."""
    assert not stage.vms(), "this wants an empty lab: name this part first"
    for name, step in (("real-cp-1", "Init"), ("real-general-1", "Join")):
        await stage.killed_in(name, step)
        report.add(
            f"the daemon was killed in the {step.lower()} of {name} and started again", time.monotonic() - report.began
        )
    await stage.ready("real-cp-1", "real-general-1")
    report.add("both Nodes are Ready, and no other", time.monotonic() - report.began)

    assert {"real-cp-1", "real-general-1"} == set(stage.vms())
    assert ["init"] == [verb for verb, _ in await stage.jobs("real-cp-1")]
    assert ["join"] == [verb for verb, _ in await stage.jobs("real-general-1")]
