"""The eight stories as data: what is there, what is done to it, and what must be there in the end.

How a story is played stands in `play.py`; with which luck in `seeds.py` and `sweep.py`.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cpcd.model.ledger import PutFact
from cpcd.ports.kube import GVK
from tests.sim.house import House
from tests.sim.workload import App

__all__ = ["PATHS", "STORIES", "Act", "Approve", "Edit", "Meddle", "Story", "end_state", "text"]

SPEC: Final = """
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {{name: demo}}
spec:
  version: v1.34.2
  controlPlaneEndpoint: {{host: 127.77.0.4}}
  infrastructure:
    proxmox:
      url: https://127.0.0.1:8006
      credentialsRef: {{env: TOKEN}}
      availabilityZones: [{{name: a, nodes: [pve1]}}, {{name: b, nodes: [pve2]}}, {{name: c, nodes: [pve3]}}]
      ipv4Config: {{addresses: [127.77.0.10-127.77.0.60], prefix: 16, gateway: 127.77.0.1}}
  templates: [{{name: ubuntu, templateID: {template}}}]
  machineDefaults:
    numCores: 2
    memoryMiB: 2048
    full: false
    disks: {{bootVolume: {{sizeGb: 20}}}}
  changePolicy: {{Destroy: {destroy}}}
  controlPlane: {{replicas: 3, machine: {{memoryMiB: {control}}}}}
  workers:
    machineDeployments:
      - name: general
        replicas: {workers}
        metadata: {{labels: {labels}}}
        machine:
          memoryMiB: {memory}
          disks: {{bootVolume: {{sizeGb: {disk}}}}}
          network: {{networkDevices: [{{bridge: vmbr0, mtu: {mtu}}}]}}
  addons: [{{name: hello, manifests: [{{file: hello.yaml}}]}}]
"""


def text(
    *, workers: int = 2, memory: int = 2048, disk: int = 20, control: int = 2048, template: int = 9000, mtu: int = 1500,
    labels: str = "{}", destroy: str = "Auto",
) -> str:  # fmt: skip
    """Return a cluster.yaml with three control planes; `memory`, `disk`, `mtu` and `labels` are the workers'."""
    return SPEC.format(
        workers=workers, memory=memory, disk=disk, control=control, template=template, mtu=mtu, labels=labels,
        destroy=destroy,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edit:
    """Commit another cluster.yaml."""

    text: str
    after: float = 1.0

    def __call__(self, house: House) -> None:
        house.file.commit(self.text)


@dataclass(frozen=True, slots=True)
class Meddle:
    """Do something behind cpcd's back to the VM of this name; one that is not there is left alone."""

    what: str  # `delete` or `stop`
    name: str
    after: float = 1.0

    def __call__(self, house: House) -> None:
        for vmid in [vmid for vmid, vm in house.world.pve.vms.items() if vm.name == self.name]:
            act = {"delete": house.world.pve.delete_vm, "stop": house.world.pve.stop_vm}[self.what]
            act(vmid)


@dataclass(frozen=True, slots=True)
class Approve:
    """Consent to what waits for it, as `cpcd approve` does, as often as a daemon dies before it knows."""

    machine: str
    after: float = 1.0

    def __call__(self, house: House) -> None:
        house.operate(self._insist(house))

    async def _insist(self, house: House) -> None:
        asks = re.compile(rf"`cpcd approve (demo/retire/{self.machine}/\w+)`")
        while any(row.name == self.machine and row.wanted for row in house.gate.ledger.machines.values()):
            said = (report.last.sentence for report in house.daemon.board.objects.values()) if house.daemon else ()
            asked = next(iter(asks.findall(" ".join(said))), "")
            if asked and f"approval/{asked}" not in house.gate.ledger.facts:
                await house.command(PutFact(f"approval/{asked}", 1.0))
            await asyncio.sleep(1)


Act = Edit | Meddle | Approve


@dataclass(frozen=True, slots=True)
class Story:
    """`given` is the file before it begins, and has been `built` then; `reached` says when its end is there.

    `apps` run by then: so many that a drain finds two pods of one on some machine, which its budget lets go one by one.

    A story that `renames` replaces machines: a successor takes the lowest index that is free when it is added, which is
    its predecessor's own or another, as the predecessor's row has gone by then or not. Names then count by group only.
    """

    name: str
    given: str
    acts: tuple[Act, ...]
    reached: Callable[[House], bool]
    built: bool = True
    renames: bool = False
    limit: float = 4 * 3600
    apps: tuple[App, ...] = ()


def machines(house: House) -> list[Any]:
    """Return the rows of the ledger that are wanted."""
    return [row for row in house.gate.ledger.machines.values() if row.wanted]


def _has(*, workers: int = 2, template: int = 9000, memory: int = 2048) -> Callable[[House], bool]:
    """Three control planes and so many workers run, of this template, with this memory, and nothing else of ours."""

    def reached(house: House) -> bool:
        rows = list(house.gate.ledger.machines.values())
        vms = house.world.pve.vms
        own = [row for row in rows if row.vmid in vms and vms[row.vmid].running]
        sizes = {str(vms[row.vmid].config.get("memory")) for row in own if row.group == "general"}
        counted = (len(rows), len(own), sum(row.group == "general" for row in own)) == (
            3 + workers,
            3 + workers,
            workers,
        )
        return counted and sizes == {str(memory)} and {row.template for row in rows} == {template}

    return reached


def _rolled(house: House) -> bool:
    configs = [
        str(house.world.pve.vms[row.vmid].config.get("net0", "")) for row in machines(house) if row.group == "general"
    ]
    return _has()(house) and all("mtu=1400" in net0 for net0 in configs)


def end_state(house: House, *, renames: bool) -> list[str]:
    """Return what the end of a story is judged by: what is desired of it, and nothing that may differ.

    Names (groups where the story `renames`), roles, Proxmox nodes, hardware and labels of the machines, voters, Nodes
    and the addon. VMIDs, addresses, uids, MACs and UUIDs may differ: another number is as good, and a fault may have
    used one up.
    """
    lines = _end_state(house)
    return sorted(re.sub(r"(demo-[a-z]+)-\d+", r"\1", line) for line in lines) if renames else lines


def _end_state(house: House) -> list[str]:
    if not house.world.clusters:
        return ["no cluster"]
    cluster, vms = house.world.clusters[0], house.world.pve.vms
    nodes = {node["metadata"]["name"]: node for node in cluster.store.list(GVK("v1", "Node"))[0]}
    lines = [_machine(row, vms.get(row.vmid), nodes.get(row.name)) for row in house.gate.ledger.machines.values()]
    voters = sorted(member.name for member in cluster.etcd.members if not member.learner and cluster.etcd.up(member))
    addon, _ = cluster.store.list(GVK("v1", "ConfigMap"), namespace="hello")
    greeting = [str(obj.get("data")) for obj in addon if obj["metadata"]["name"] == "hello"]
    return [*sorted(lines), f"voters {voters}", f"nodes {sorted(nodes)}", f"addon {greeting}"]


def _machine(row: Any, vm: Any, node: Any) -> str:
    if vm is None or node is None:
        return f"{row.name} without VM or Node"
    options = {name: str(vm.config.get(name, "")) for name in ("cores", "memory", "tags", "onboot")}
    disk = str(vm.config.get("scsi0", "")).rpartition("size=")[2]
    labels = {
        key: value for key, value in node["metadata"].get("labels", {}).items() if key != "kubernetes.io/hostname"
    }
    taints = node["spec"].get("taints", [])
    return f"{row.name} {row.role.value} {row.template} {vm.status} {vm.node} {options} {disk} {labels} {taints}"


BUILT: Final = text()
SMALL: Final = text(workers=1)

STORIES: Final[tuple[Story, ...]] = (
    Story("build", SMALL, (), _has(workers=1), built=False),
    Story("scale-up", BUILT, (Edit(text(workers=4)),), _has(workers=4)),
    Story(
        "scale-down", text(workers=3), (Edit(text(destroy="Approve")), Approve("demo-general-3")), _has(),
        apps=(App("web", 6),),
    ),
    Story(
        "in-place-change", BUILT, (Edit(text(memory=4096, disk=24, labels="{tier: gold}")),), _has(memory=4096),
        apps=(App("web", 2),),
    ),
    Story("rolling-replacement", BUILT, (Edit(text(mtu=1400)),), _rolled, renames=True, apps=(App("web", 3),)),
    Story("control-plane-replacement", SMALL, (Meddle("delete", "demo-cp-1"),), _has(workers=1), renames=True),
    Story(
        "repair", BUILT, (Meddle("delete", "demo-general-1"), Meddle("stop", "demo-general-2")), _has(), renames=True
    ),
    Story(
        "template-upgrade", SMALL, (Edit(text(workers=1, template=9010)),), _has(workers=1, template=9010), renames=True,
        apps=(App("web", 2), App("agent", 2, masters=True)),  # on two masters: the first one has CoreDNS
    ),
)  # fmt: skip

# Ways to one end: whichever was gone, the machines are the same, by name too.
_three, _more, _gold = _has(workers=3), Edit(text(workers=4)), text(memory=3072, labels="{tier: gold}")
PATHS: Final[tuple[tuple[Story, ...], ...]] = (
    (
        Story("2-3", BUILT, (Edit(text(workers=3)),), _three),
        Story("2-4-3", BUILT, (_more, Edit(text(workers=3), after=400)), _three),
        Story("2-4-3 in a hurry", BUILT, (_more, Edit(text(workers=3), after=40)), _three),
    ),
    (
        Story("2-3 GiB", BUILT, (Edit(_gold),), _has(memory=3072)),
        Story(
            "2-4-3 GiB", BUILT, (Edit(text(memory=4096, labels="{tier: iron}")), Edit(_gold, 300)), _has(memory=3072)
        ),
        Story("2-4-3 GiB in a hurry", BUILT, (Edit(text(memory=4096)), Edit(_gold, 9)), _has(memory=3072)),
    ),
)
