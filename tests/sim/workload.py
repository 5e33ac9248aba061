"""What people run on a cluster of the simulation: pods that a drain has to move, and the budget that holds it up.

The lab's own controllers make an evicted pod again and place it. Next: `stories.py`, which says who runs where.
"""

from dataclasses import dataclass
from typing import Any, Final

from cpcd.lab.kube.budgets import is_ready
from cpcd.ports.kube import GVK
from tests.sim.house import House

__all__ = ["POD", "SPACE", "App", "put"]

POD: Final = GVK("v1", "Pod")
SPACE: Final = {"namespace": "default"}
MASTERS: Final = "node-role.kubernetes.io/control-plane"


def put(house: House, version: str, kind: str, name: str, **spec_of: Any) -> None:
    """Make an object in the default namespace."""
    obj = {"apiVersion": version, "kind": kind, "metadata": {"name": name, **SPACE}, "spec": spec_of}
    house.world.clusters[0].store.create(obj, manager="people")


@dataclass(frozen=True, slots=True)
class App:
    """So many pods, on workers or on control planes, of which a budget lets one be away at a time."""

    name: str
    replicas: int
    masters: bool = False

    def deploy(self, house: House) -> None:
        """Run it."""
        labels = {"app": self.name}
        pod: dict[str, Any] = {"containers": [{"name": self.name, "image": self.name}]}
        if self.masters:
            pod |= {"nodeSelector": {MASTERS: ""}, "tolerations": [{"key": MASTERS, "operator": "Exists"}]}
        template = {"metadata": {"labels": labels}, "spec": pod}
        chosen = {"matchLabels": labels}
        put(house, "apps/v1", "Deployment", self.name, selector=chosen, replicas=self.replicas, template=template)
        put(house, "policy/v1", "PodDisruptionBudget", self.name, selector=chosen, maxUnavailable=1)

    def runs(self, house: House) -> bool:
        """Whether all its pods are ready."""
        pods, _ = house.world.clusters[0].store.list(POD, labels=f"app={self.name}", **SPACE)
        return sum(map(is_ready, pods)) == self.replicas
