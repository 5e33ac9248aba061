"""The daemon builds a cluster of real machines from a committed file, out of an empty lab."""

import asyncio
import itertools
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from cpcd.ports.kube import GVK
from tests.real import binaries
from tests.real.machines.hand import until
from tests.real.machines.report import Report
from tests.real.machines.stage import Stage
from tests.real.machines.traffic import carried

pytestmark = pytest.mark.asyncio(loop_scope="session")
PLANE, WORKER = "real-cp-1", "real-general-1"
POD = GVK("v1", "Pod")


async def test_cluster_is_built_from_an_empty_lab(stage: Stage, report: Report) -> None:
    """One control plane and one worker: cloned, booted, trusted, prepared, initialised, joined, Ready, flannel and DNS run."""
    nodes = await stage.ready(PLANE, WORKER)
    ended = datetime.now(UTC)
    pods = await until(lambda: running(stage), "every pod runs")
    history = await stage.history()
    told(report, history, nodes, pods)
    figures(report, history, ended)
    report.figure("prepare", max(played(stage)))
    machines = {name: node["status"]["nodeInfo"]["systemUUID"].lower() for name, node in nodes.items()}

    assert {vm.name: uuid(vm.config) for vm in stage.vms().values()} == machines
    assert {f"v{binaries.KUBERNETES}"} == {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes.values()}
    assert {"kube-flannel-ds": 2, "kube-proxy": 2, "coredns": 1, "etcd": 1} == {
        name: sum(pod.startswith(f"{name}-") for pod in pods)
        for name in ("kube-flannel-ds", "kube-proxy", "coredns", "etcd")
    }


async def test_built_cluster_is_left_alone(stage: Stage, report: Report) -> None:
    """Nothing is left to do; a look at everything, asked for, begins no task and takes no step, and none for a minute."""
    await until(lambda: settled(stage), "nothing is left to do")
    tasks, steps, looks = set(stage.lab.pve.cluster.tasks.tasks), await stage.steps(), await passes(stage)
    began = time.monotonic()
    async with carried() as ssh:
        await stage.daemon.post("/reconcile", key="real")
        await until(lambda: looked(stage, looks), "everything was looked at")
    report.add(f"a second pass over {len(looks)} objects, asked for: {ssh}; no task, no step", time.monotonic() - began)
    await asyncio.sleep(60)

    assert ssh.trips  # etcd is asked
    assert tasks == set(stage.lab.pve.cluster.tasks.tasks)
    assert steps == await stage.steps()


async def test_daemon_that_knows_nothing_changes_nothing(stage: Stage, report: Report) -> None:
    """It has its ledger, and looks at everything anew."""
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


def uuid(config: Any) -> str:
    """Return the UUID that Proxmox gives a machine."""
    return str(config["smbios1"]).partition("uuid=")[2].partition(",")[0].lower()


async def running(stage: Stage) -> dict[str, Any] | None:
    """Return the pods by name once all are Ready, and there are any of CoreDNS."""
    async with stage.kube() as api:
        pods, _ = await api.list(POD)
    ready = {pod["metadata"]["name"]: pod for pod in pods if conditions(pod).get("Ready") == "True"}
    return ready if len(ready) == len(pods) and any(name.startswith("coredns-") for name in ready) else None


def conditions(found: Any) -> dict[str, str]:
    """Return an object's conditions."""
    return {each["type"]: each["status"] for each in found["status"].get("conditions", ())}


async def settled(stage: Stage) -> Any:
    """Return the plan once it has no steps."""
    plan = await stage.daemon.get("/plan")
    return None if plan["steps"] else plan


def told(report: Report, history: list[dict[str, Any]], nodes: dict[str, Any], pods: dict[str, Any]) -> None:
    """Report each step in the daemon's words, from its first one on, and what ran in the end."""
    began = datetime.fromisoformat(history[0]["at"])
    for event in history:
        seconds = (datetime.fromisoformat(event["at"]) - began).total_seconds()
        report.add(f"{event['severity'].replace('Normal', '')} {event['message']}".strip(), seconds)
    info = next(iter(nodes.values()))["status"]["nodeInfo"]
    report.versions |= {
        "Kubernetes": info["kubeletVersion"], "containerd": info["containerRuntimeVersion"].rpartition("/")[2],
        "on": info["osImage"], "Linux": info["kernelVersion"],
    }  # fmt: skip
    images = {container["image"] for pod in pods.values() for container in pod["spec"]["containers"]}
    report.versions["images"] = ", ".join(sorted(image.rpartition("/")[2] for image in images))


def lasted(history: list[dict[str, Any]], name: str, verb: str) -> float:
    """Return how many seconds a long verb took on a machine: until what that began or waited for next."""
    own = [event for event in history if event["name"] == name and "/machine/" in event["key"]]
    later = list(itertools.dropwhile(lambda event: event["reason"] != verb, own))
    ended = next(event["at"] for event in later if event["reason"] not in {verb, "Running"})
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(later[0]["at"])).total_seconds()


def played(stage: Stage) -> list[float]:
    """Return how many seconds each playbook ran, from its order to its result: by hand nobody asks a machine after that."""
    runs = [each.parent for each in stage.daemon.state.glob("playbooks/*/result.json")]
    return [(run / "result.json").stat().st_mtime - (run / "run.json").stat().st_mtime for run in runs]


def figures(report: Report, history: list[dict[str, Any]], ended: datetime) -> None:
    """Report what `bare` does by hand, each step by its own beginning and end.

    As by hand, of two machines at once the slower one counts, and the init ends with the kubeconfig.
    """
    begun: dict[str, list[datetime]] = {}
    for event in history:
        begun.setdefault(event["reason"], []).append(datetime.fromisoformat(event["at"]))
    (init,) = begun["Init"]
    for what, since, until_ in (
        ("clone → SSH", min(begun["Clone"]), max(begun["PinHostKey"])),
        ("init", init, min(begun["WriteKubeconfig"])),
        ("build", min(begun["Clone"]), ended),
    ):
        report.figure(what, (until_ - since).total_seconds())
    report.figure("join", lasted(history, WORKER, "Join"))
