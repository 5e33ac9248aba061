"""The daemon builds a cluster of real machines from a committed file, out of an empty lab."""

import itertools
import time
from datetime import datetime
from typing import Any

import pytest

from cpcd.ports.kube import GVK
from tests.real import binaries
from tests.real.machines.hand import until
from tests.real.machines.pace import Span
from tests.real.machines.report import Figures, Report
from tests.real.machines.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")
PLANE, WORKER = "real-cp-1", "real-general-1"
POD = GVK("v1", "Pod")


async def test_cluster_is_built_from_an_empty_lab(stage: Stage, report: Report) -> None:
    """One control plane and one worker: cloned, booted, trusted, prepared, initialised, joined, Ready, flannel and DNS run."""
    nodes = await stage.ready(PLANE, WORKER)
    ended = time.time()
    pods = await until(lambda: running(stage), "every pod runs")
    history = await stage.history()
    told(report, history, nodes, pods)
    report.figures(figures(stage, history, ended))
    machines = {name: node["status"]["nodeInfo"]["systemUUID"].lower() for name, node in nodes.items()}

    assert {vm.name: uuid(vm.config) for vm in stage.vms().values()} == machines
    assert {f"v{binaries.KUBERNETES}"} == {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes.values()}
    assert {"kube-flannel-ds": 2, "kube-proxy": 2, "coredns": 1, "etcd": 1} == {
        name: sum(pod.startswith(f"{name}-") for pod in pods)
        for name in ("kube-flannel-ds", "kube-proxy", "coredns", "etcd")
    }


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


def lasted(history: list[dict[str, Any]], name: str, verb: str) -> Span:
    """Return when a long verb was done on a machine: until what that began or waited for next.

    A join that is over waits for its Node, by the reason that it had before.
    """
    own = [event for event in history if event["name"] == name and "/machine/" in event["key"]]
    later = list(itertools.dropwhile(lambda event: event["reason"] != verb, own))
    ended = next(event["at"] for event in later[1:] if not event["message"].startswith(f"{verb.lower()} runs on "))
    return Span(instant(later[0]["at"]), instant(ended))


def instant(at: str) -> float:
    """Return when an event was, by the clock on the wall."""
    return datetime.fromisoformat(at).timestamp()


def trusted(history: list[dict[str, Any]], name: str) -> Span:
    """Return the time from a machine's clone until it was trusted."""
    at = {each["reason"]: instant(each["at"]) for each in history if each["name"] == name}
    return Span(at["Clone"], at["PinHostKey"])


def played(stage: Stage) -> list[Span]:
    """Return when each playbook ran, from its order to its result: by hand nobody asks a machine after that."""
    runs = [each.parent for each in stage.daemon.state.glob("playbooks/*/result.json")]
    spans = [Span((run / "run.json").stat().st_mtime, (run / "result.json").stat().st_mtime) for run in runs]
    return sorted(spans, key=lambda span: span.since)


def figures(stage: Stage, history: list[dict[str, Any]], ended: float) -> Figures:
    """Return when was done what `bare` does by hand, each step by its own beginning and end; init ends with the kubeconfig."""
    begun: dict[str, list[float]] = {}
    for event in history:
        begun.setdefault(event["reason"], []).append(instant(event["at"]))
    (init,) = begun["Init"]
    return {
        "clone → SSH": [trusted(history, name) for name in (PLANE, WORKER)],
        "prepare": played(stage),
        "init": [Span(init, min(begun["WriteKubeconfig"]))],
        "join": [lasted(history, WORKER, "Join")],
        "build": [Span(min(begun["Clone"]), ended)],
    }
