"""What people and strangers do to a world beside cpcd: to a machine of a name, to an address, to a cluster.

Their own doings are never ours: what they make bears no mark of cpcd. Next: `mechanisms.py`, whose `Hand` names them.
"""

from typing import Any, Final

from cpcd.lab.provenance import source
from cpcd.lab.pve import Vm
from cpcd.lab.world import World
from cpcd.ports.kube import GVK

__all__ = ["Hands"]

DEPLOYMENT: Final = ("apps/v1", "Deployment")
BUDGET: Final = ("policy/v1", "PodDisruptionBudget")
LABELS: Final = {"app": "guarded"}
STRANGERS: Final = 20_000  # the first VMID that somebody else takes


class Hands:
    """Interventions behind everybody's back; a name is that of a machine of cpcd's, which has its mark."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._strangers: set[int] = set()

    @source("P05", "K04")
    def lose(self, name: str) -> None:
        """Delete a machine's VM by hand; its Node and its etcd member stay listed."""
        self._world.pve.delete_vm(self._ours(name).vmid)

    @source("P06")
    def give_away(self, name: str) -> None:
        """Delete a machine's VM, and let somebody make another of its name under its VMID."""
        vm = self._ours(name)
        self._world.pve.delete_vm(vm.vmid)
        self._stranger(vm.vmid, vm.node, name)

    @source("P34")
    def namesake(self, name: str) -> None:
        """Let somebody make a VM of a name that is a machine's, or will be."""
        self._stranger(self._free(), next(iter(self._world.pve.cluster.hosts)), name)

    @source("G15")
    def squat(self, address: str) -> None:
        """Let somebody boot a machine that has an address of cpcd's."""
        vm = self._stranger(self._free(), next(iter(self._world.pve.cluster.hosts)), "squatter", running=False)
        vm.config["ipconfig0"] = f"ip={address}/16"
        self._world.pve.start_vm(vm.vmid)

    @source("P06")
    def take_away(self, name: str) -> None:
        """Delete what was made of a name here; no-op when it is gone."""
        for vmid in [vmid for vmid in self._strangers if vmid in self._world.pve.vms]:
            if self._world.pve.vms[vmid].name == name:
                self._world.pve.delete_vm(vmid)
                self._strangers.discard(vmid)

    @source("K12")
    def name_a_node(self, name: str) -> None:
        """Let somebody's machine be a Ready Node of a name."""
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"conditions": [ready], "nodeInfo": {"systemUUID": "ffffffff-0000-0000-0000-000000000000"}}
        self._world.clusters[0].store.objects.put(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": status}
        )

    def unname_the_node(self, name: str) -> None:
        """Take that Node away again."""
        self._world.clusters[0].store.delete(GVK("v1", "Node"), name)

    @source("K13")
    def guard_pods(self, least: int) -> None:
        """Run one pod whose budget wants `least` of it to run."""
        pod = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "guarded", "image": "nginx"}]}}
        selector = {"matchLabels": LABELS}
        self._apply(*DEPLOYMENT, {"replicas": 1, "selector": selector, "template": pod})
        self._apply(*BUDGET, {"selector": selector, "minAvailable": least})

    def _apply(self, version: str, kind: str, spec: dict[str, Any]) -> None:
        metadata = {"name": "guarded", "namespace": "default"}
        self._world.clusters[0].store.apply({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})

    def _ours(self, name: str) -> Vm:
        return next(vm for vm in self._world.pve.vms.values() if vm.name == name and _marked(vm))

    def _free(self) -> int:
        return max([STRANGERS, *self._world.pve.vms]) + 1

    def _stranger(self, vmid: int, node: str, name: str, *, running: bool = True) -> Vm:
        storage = next(one.name for one in self._world.pve.storages.values() if "images" in one.content)
        vm = self._world.pve.add_template(vmid, node, name, "somebody", storage=storage)
        del vm.config["template"]
        self._strangers.add(vmid)
        if running:
            self._world.pve.start_vm(vmid)
        return vm


def _marked(vm: Vm) -> bool:
    return str(vm.config.get("description", "")).startswith("cpcd/")
