"""The invariant of drains: who may be evicted, and from where. Next: `invariants_hurt.py`, `watch.py` for all together."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cpcd.lab.kube.objects import Object
from tests.sim.gate import Call
from tests.sim.invariant import Invariant

if TYPE_CHECKING:
    from tests.sim.house import House  # which makes its own watch

__all__ = ["DrainedOnly"]

MIRROR = "kubernetes.io/config.mirror"


class DrainedOnly(Invariant):
    """A pod goes from a Node that cpcd itself has closed, so that it cannot come back, and only one that has elsewhere to go."""

    name = "drained-only"
    promise = "a drain is cordon, then evictions; what belongs to its Node stays there (section 5; failures.md K13)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._cordoned: set[str] = set()

    def calling(self, call: Call) -> None:
        if call.port == "kube" and call.verb in {"evict", "delete"} and call.target.startswith("Pod "):
            name, space = call.target.removeprefix("Pod "), call.given["namespace"]
            for cluster in self.house.world.clusters:
                pod = cluster.store.objects.find("Pod", name, space)
                if pod is not None and pod["metadata"]["uid"] == call.given["uid"]:
                    node = cluster.store.objects.find("Node", pod["spec"].get("nodeName", ""))
                    self._judge(call, pod, node)

    def _judge(self, call: Call, pod: Object, node: Object | None) -> None:
        about = pod["metadata"]
        kinds = {owner["kind"] for owner in about.get("ownerReferences", ())}
        if MIRROR in about.get("annotations", {}) or "DaemonSet" in kinds:
            self.breach(f"{about['name']} belongs to its Node; {call}")
        elif node is not None and node["metadata"]["uid"] not in self._cordoned:
            self.breach(f"{node['metadata']['name']} was not cordoned by cpcd; {call}")

    def called(self, call: Call, answer: Any) -> None:
        """Take note of each Node that cpcd has closed and of each that it has opened again, whatever was there before."""
        if call.verb == "patch" and call.target.startswith("Node ") and isinstance(answer, dict):
            wanted = call.given["merge"].get("spec", {})
            if "unschedulable" in wanted:
                change = self._cordoned.add if wanted["unschedulable"] else self._cordoned.discard
                change(answer["metadata"]["uid"])
