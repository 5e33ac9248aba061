"""`python -m tests.bench.kube`: a daemon whose Kubernetes is a real etcd and kube-apiserver; figures into docs/kube.md.

Machines and Proxmox are the lab's, and their Nodes are put into the real API as their kubelets would. No controller runs
there, since a thousand leases to renew would be the tests' work and nothing that cpcd sees; Nodes report as kubelets do.
"""

import asyncio
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Final
from unittest.mock import patch

from cpcd.adapters.journal import SqliteJournal
from cpcd.adapters.kube import KubeApi
from cpcd.lab.kube import Cluster
from cpcd.lab.kube.nodes import register
from cpcd.model.ledger import PutFact
from cpcd.ports.kube import GVK, Object
from tests.bench.process import REST, told
from tests.bench.row import Row, pressed, pressure
from tests.bench.stand import LISTED, NAME, Stand, stand
from tests.bench.town import settle
from tests.real import binaries
from tests.real.authority import Authority
from tests.real.nodes import report
from tests.real.plane import Plane

__all__ = ["kube"]

MACHINES: Final = 10
NODES: Final = 1000
IDLE: Final = 600.0  # seconds in which requests are counted: as long as a watch lasts, which is logged at its end
DRIFTS: Final = 25
RSS_MB: Final = 125.0  # as with the lab's API: `process.py`
DRIFT_S: Final = 2.0  # seconds in which a label is to be as the file says again
REPORT_S: Final = 300.0  # seconds between two reports of a kubelet in which nothing changed (nodeStatusReportFrequency)
ENDPOINT: Final = "127.79.0.4"
AGENT: Final = "cpcd"
NODE: Final = GVK("v1", "Node")
BINDING: Final = GVK("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")
LABEL: Final = "bench.cpcd.dev/tier"
REPORT: Final = Path("docs/kube.md")


def kube(machines: int = MACHINES, nodes: int = NODES) -> Iterator[Row]:
    """Yield requests at rest, memory, and how soon a label is as it was; Nodes beyond the machines are nobody's."""
    for family in (binaries.ETCD, binaries.CONTROL_PLANE):
        binaries.made(family)
    yield from told(lambda: _measured(machines, nodes))


async def _measured(machines: int, nodes: int) -> AsyncIterator[Row]:
    # Nodes are all that is wanted of the lab's Kubernetes, and its other controllers look at each for each.
    with patch("cpcd.lab.kube.cluster.ORDER", (register,)):
        async with stand() as lab:
            lab.lab.listeners._apis = dict  # type: ignore[method-assign] # the real API answers at its endpoint instead
            await settle(lab, masters=3, workers=machines - 3)
            async for row in _beside(lab, machines, nodes):
                yield row


async def _beside(lab: Stand, machines: int, nodes: int) -> AsyncIterator[Row]:
    """Run a real API in the place of the lab's, and the daemon on it."""
    async with _real(lab, nodes) as plane:
        _label(lab.directory / "tree" / "cluster.yaml")
        lab.commit()
        await asyncio.sleep(LISTED)
        running = await lab.start()
        try:
            await lab.settled(machines)
            await asyncio.sleep(REST)
            who = f"{machines} machines, {nodes} Nodes"
            yield await _requests(plane, who)
            yield Row(f"RSS, {who}", running.rss(), "MB", RSS_MB, "at rest, over sockets")
            yield await _drifts(plane, lab.directory / "drifts", who)
        finally:
            await running.end()


@asynccontextmanager
async def _real(lab: Stand, nodes: int) -> AsyncIterator[Plane]:
    """Run the real API in the place of the lab's, with all that is in that one and cpcd does not make itself."""
    (cluster,) = lab.lab.world.clusters
    place = Path(tempfile.mkdtemp(prefix="cpcd-bench-kube-"))
    plane, over = Plane(place, address=ENDPOINT), threading.Event()
    reports = threading.Thread(target=_report, args=(plane, over), name="kubelets")
    try:
        await asyncio.to_thread(_fill, plane, cluster, nodes)
        await _identify(plane, lab.directory / "state" / "ledger.db")
        reports.start()
        yield plane
    finally:
        over.set()
        if reports.ident:
            reports.join()
        plane.stop()
        shutil.rmtree(place)


def _fill(plane: Plane, cluster: Cluster, count: int) -> None:
    authority = cluster.authority
    plane.start_api(Authority(plane.directory / "pki", (authority.certificate, authority._ca_key)))
    binding = cluster.store.get(BINDING, "kubeadm:cluster-admins")
    nodes = cluster.store.list(NODE)[0]
    nodes += [_foreign(nodes[-1], number) for number in range(count - len(nodes))]
    for path, obj in (
        ("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding),
        *(("/api/v1/nodes", node) for node in nodes),
    ):
        status, answer = plane.ask("POST", path, _new(obj))
        assert status == 201, answer
    for node in nodes:
        report(plane, node["metadata"]["name"], first=True)


def _foreign(node: Object, number: int) -> Object:
    """Return a Node like this one, of a machine that is not cpcd's."""
    report = node["status"]
    told = {
        **report,
        "nodeInfo": {**report["nodeInfo"], "systemUUID": str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number)))},
    }
    return {**node, "metadata": {**node["metadata"], "name": f"foreign-{number}"}, "status": told}


def _new(obj: Object) -> Object:
    """Return an object without what the API that it came from made of it."""
    kept = {"name", "labels", "annotations"}
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key in kept}}


async def _identify(plane: Plane, ledger: Path) -> None:
    """Let the ledger know the cluster by the real API's marks."""
    _, system = plane.ask("GET", "/api/v1/namespaces/kube-system")
    journal = SqliteJournal(ledger, threaded=True)
    known = (await journal.load()).facts[f"identity/{NAME}"]
    await journal.commit((PutFact(f"identity/{NAME}", {**known, "uid": system["metadata"]["uid"]}),))
    await journal.close()


def _report(plane: Plane, over: threading.Event) -> None:
    """Report each Node in turn, as often as its kubelet does when nothing changes."""
    names = [node["metadata"]["name"] for node in plane.ask("GET", "/api/v1/nodes")[1]["items"]]
    while not over.is_set():
        for name in names:
            if over.wait(REPORT_S / len(names)):
                return
            report(plane, name)


def _label(spec: Path) -> None:
    """Want a label on each worker's Node."""
    text = spec.read_text(encoding="utf-8")
    wanted = text.replace("{name: general, ", f"{{name: general, metadata: {{labels: {{{LABEL}: general}}}}, ")
    assert wanted != text
    spec.write_text(wanted, encoding="utf-8")


async def _requests(plane: Plane, who: str) -> Row:
    before = plane.asked(AGENT)
    await asyncio.sleep(IDLE)
    asked: Counter[str] = plane.asked(AGENT) - before
    minutes = IDLE / 60
    parts = ", ".join(f"{count / minutes:.1f} {what}" for what, count in asked.most_common(5))
    return Row(f"requests at rest, {who}", asked.total() / minutes, "a minute", None, parts or "none")


async def _drifts(plane: Plane, private: Path, who: str) -> Row:
    """Change the labels of workers' Nodes, as somebody with kubectl would; each once, since a fight is damped."""
    since = pressure()
    api = KubeApi(plane.kubeconfig(), endpoint="kube:bench", cache_dir=private)
    listed, _ = await api.list(NODE, labels=LABEL)
    chosen = random.Random(who).sample(listed, min(DRIFTS, len(listed)))
    taken = [await _drift(api, node["metadata"]["name"]) for node in chosen]
    await api.close()
    note = f"{len(taken)} Nodes, {min(taken):.2f} to {max(taken):.2f} s, median {median(taken):.2f} s; others waited for a processor {pressed(since):.0%} of the time"
    return Row(f"label drift until corrected, slowest, {who}", max(taken), "s", DRIFT_S, note)


async def _drift(api: KubeApi, name: str) -> float:
    """Return the seconds from the change, as stored, until the label is as the file says."""
    await api.patch(NODE, name, {"metadata": {"labels": {LABEL: "other"}}})
    began = monotonic()
    while monotonic() - began < 60:
        found = await api.get(NODE, name)
        if found and found["metadata"]["labels"].get(LABEL) == "general":
            return monotonic() - began
        await asyncio.sleep(0.01)
    raise TimeoutError(f"the label of {name} is not corrected within a minute")


ABOUT: Final = """<!-- Made by `make bench-kube`; do not edit. -->
# Figures on a real kube-apiserver

The daemon at commit {commit}, Python {python}, with kube-apiserver v{version} and etcd on the same {processors} \
processors, for one of which somebody waited {busy:.0%} of the time. Machines and Proxmox are the lab's; their Nodes \
stand in the real API beside others, which are nobody's, and all report every 5 minutes, as kubelets do when nothing \
changes. No controller runs. Requests are what \
the API server wrote down of the daemon in {idle:.0f} s, a watch when it ended.

| figure | measured | budget | how |
|---|---|---|---|
"""


def _text(rows: list[Row], busy: float) -> str:
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)
    about = ABOUT.format(
        commit=told.stdout.strip(), python=platform.python_version(), version=binaries.KUBERNETES,
        processors=os.cpu_count(), busy=busy, idle=IDLE,
    )  # fmt: skip
    return about + "".join(
        f"| {row.name} | {row.value:,.1f} {row.unit} | {_budget(row)} | {row.note} |\n" for row in rows
    )


def _budget(row: Row) -> str:
    return "" if row.budget is None else f"{'✔' if row.ok else '✘'} ≤ {row.budget:g} {row.unit}"


def main(wanted: list[str]) -> int:
    """Measure, print and write the report; with a number of machines only print."""
    rows, since = [], pressure()
    for row in kube(*map(int, wanted)):
        print(row.line(), flush=True)  # noqa: T201 - a program's output
        rows.append(row)
    if not wanted:
        REPORT.write_text(_text(rows, pressed(since)), encoding="utf-8")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
