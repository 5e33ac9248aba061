"""The first control plane is replaced: a second one joins, etcd has two members, the first one leaves, and all goes on.

With one replica that is the control plane which nobody dares to touch. Two of them at once are much for two cores.
"""

import time

import pytest

from cpcd.ports.kube import GVK
from tests.real.machines.hand import until
from tests.real.machines.report import Report
from tests.real.machines.stage import TEMPLATES, Stage, is_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")
FIRST, WORKER = "real-cp-1", "real-general-1"
POD = GVK("v1", "Pod")


async def test_first_control_plane_is_replaced(stage: Stage, report: Report) -> None:
    """Its successor joins and is seen healthy, then the first goes; the worker stays as it is, and what was kept is there."""
    before = await stage.ready(FIRST, WORKER)
    report.add("one control plane and one worker are Ready", time.monotonic() - report.began)
    began = time.monotonic()
    with stage.edit() as spec:
        spec["controlPlane"]["machine"]["template"] = TEMPLATES[1]
    successor = await until(lambda: stands(stage, 2), "a second control plane is Ready", patience=7200)
    report.add("a second control plane has joined and is Ready", time.monotonic() - began)
    await until(lambda: stands(stage, 1), "the first one is no more", patience=7200)
    report.add("the first one is no more: its etcd member, its Node and its machine", time.monotonic() - began)
    after = await stage.ready(successor, WORKER)
    async with stage.kube() as api:
        pods, _ = await api.list(POD, namespace="kube-system")
    members = {pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith("etcd-")}

    assert {successor, WORKER} == set(stage.vms())
    assert {f"etcd-{successor}"} == members
    assert before[WORKER]["metadata"]["uid"] == after[WORKER]["metadata"]["uid"]


async def stands(stage: Stage, machines: int) -> str:
    """Return the successor's name once it is Ready beside, or without, the first one; nothing before."""
    nodes = await stage.nodes()
    planes = {name for name, node in nodes.items() if "-cp-" in name and is_ready(node)}
    others, standing = planes - {FIRST}, {name for name in stage.vms() if "-cp-" in name}
    return next(iter(others), "") if len(planes) == machines == len(standing) else ""
