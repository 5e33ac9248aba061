"""The first control plane is replaced: a second one joins, etcd has two members, the first one leaves, and all goes on.

With one replica that is the control plane which nobody dares to touch. Two of them at once are much for two cores.
"""

import asyncio
import json
import time

import pytest

from cpcd.ports.kube import GVK
from tests.real.machines.hand import shell, until
from tests.real.machines.report import Report
from tests.real.machines.stage import TEMPLATES, Stage, is_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")
FIRST = "real-cp-1"
POD = GVK("v1", "Pod")
# Of the machine itself: what etcd says of its members, by its own certificate.
MEMBERS = (
    "sudo curl --silent --request POST --data '{}' --cacert /etc/kubernetes/pki/etcd/ca.crt"
    " --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key"
    " https://127.0.0.1:2379/v3/cluster/member/list"
)


async def test_first_control_plane_is_replaced(stage: Stage, report: Report) -> None:
    """Its successor joins and is seen healthy, then the first goes; the worker stays as it is, and what was kept is there."""
    worker = next(
        (name for name in stage.vms() if "-cp-" not in name), "real-general-1"
    )  # `replace` leaves another one
    before = await stage.ready(FIRST, worker)
    report.add("one control plane and one worker are Ready", time.monotonic() - report.began)
    began = time.monotonic()
    with stage.edit() as spec:
        spec["controlPlane"]["machine"]["template"] = TEMPLATES[1]
    successor = await until(lambda: other(stage), "a second control plane is Ready", patience=7200)
    report.add("a second control plane has joined and is Ready", time.monotonic() - began)
    await until(lambda: alone(stage, successor), "the first one is no more", patience=7200)
    report.add("the first one is no more: its etcd member, its Node and its machine", time.monotonic() - began)
    after = await stage.ready(successor, worker)
    await until(lambda: mirrored(stage, successor), "one etcd is left")

    assert {successor, worker} == set(stage.vms())
    assert before[worker]["metadata"]["uid"] == after[worker]["metadata"]["uid"]


async def other(stage: Stage) -> str:
    """Return the successor's name once it is Ready, nothing before."""
    if not any(map(new, await stage.told("Ready"))):
        return ""
    return next((name for name, node in (await stage.nodes()).items() if new(name) and is_ready(node)), "")


def new(name: str) -> bool:
    """Tell whether it is a control plane, and not the first one."""
    return "-cp-" in name and name != FIRST


async def alone(stage: Stage, successor: str) -> bool:
    """Tell whether the first control plane has left: no machine, no Node, and no member of etcd."""
    if FIRST in stage.vms() or FIRST in await stage.nodes():
        return False
    done = await shell(await asyncio.to_thread(stage.host, successor), stage.key, MEMBERS)
    members = [] if done.exit_status else json.loads(str(done.stdout)).get("members", [])  # without a leader: an error
    return [successor] == [member["name"] for member in members]


async def mirrored(stage: Stage, successor: str) -> bool:
    """Tell whether no pod of the first one's etcd is left; Kubernetes collects those of a Node that is gone."""
    async with stage.kube() as api:
        pods, _ = await api.list(POD, namespace="kube-system")
    return {f"etcd-{successor}"} == {
        pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith("etcd-")
    }
