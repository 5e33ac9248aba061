"""What hurt in a run: what a crash must not change. Next: `branches.py`, which compares it, and `play.py`."""

from collections.abc import Iterator

from cpcd.lab.kube.objects import Object
from tests.sim.gate import Call, Witness
from tests.sim.house import House

__all__ = ["Deeds"]


class Deeds(Witness):
    """What hurt, by name and as often as it did: what a crash must not change.

    The world tells it, not the replies: a call that is on its way when the daemon dies can have its effect all the same.

    An eviction is known by its pod's UID: asked for again after its reply was lost, or of a pod that is on its way out,
    it is no second one. A pod that was there when the story began is told by its own name. A later one has a name by
    chance, and how often it is moved on depends on whose turn came first, so that of those only the Node is told: from
    which Nodes pods are taken is the same for all futures.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._vms: dict[int, str] = {}
        self._known: dict[tuple[str, object], str] = {}
        self._resets: dict[str, str] = {}
        self._first: set[str] = set()
        self._asked: dict[str, Object] = {}
        self._evicted: set[str] = set()

    def begin(self) -> None:
        """See the story begin, with the pods that are there."""
        self._first = {pod["metadata"]["uid"] for pod in self._pods()}

    def calling(self, call: Call) -> None:
        if call.writes and call.port != "journal":
            self._look()
        if call.verb in {"evict", "delete"} and call.target.startswith("Pod "):
            named = (pod for pod in self._pods() if pod["metadata"]["uid"] == call.given["uid"])
            self._asked |= {pod["metadata"]["uid"]: pod for pod in named if _stands(pod)}

    def called(self, call: Call, answer: object) -> None:
        pod = self._asked.pop(call.given.get("uid", ""), None)
        self._take(*([pod] if pod else []))

    def _look(self) -> None:
        """Note who is there before anything can go."""
        world = self._house.world
        self._vms |= {vmid: vm.name for vmid, vm in world.pve.vms.items()}
        self._known |= self._there()
        for guest in world.guests.values():
            self._resets |= {op: guest.disk.hostname for op, job in guest.disk.ops.items() if job.verb == "reset"}

    def _there(self) -> dict[tuple[str, object], str]:
        found: dict[tuple[str, object], str] = {}
        for cluster in self._house.world.clusters:
            found |= {("etcd member", member.id): member.host.node for member in cluster.etcd.members}
            nodes = (node["metadata"] for node in cluster.store.objects.all("Node"))
            found |= {("Node", node["uid"]): node["name"] for node in nodes}
        return found

    def _pods(self) -> Iterator[Object]:
        for cluster in self._house.world.clusters:
            yield from cluster.store.objects.all("Pod")

    def _take(self, *asked: Object) -> None:
        """Note which of the pods that somebody wanted evicted are: a budget may have refused it."""
        left = {pod["metadata"]["uid"] for pod in self._pods() if _stands(pod)} if asked else set()
        for pod in asked:
            about, node = pod["metadata"], pod["spec"].get("nodeName", "nowhere")
            if about["uid"] not in left:
                self._evicted.add(f"pods are evicted from {node}")
                self._evicted |= {f"{about['name']} is evicted from {node}"} if about["uid"] in self._first else set()

    def done(self) -> tuple[str, ...]:
        """Return a line for each power cut, destruction, reset and eviction, and each member and Node that is gone."""
        self._look()
        self._take(*self._asked.values())  # nobody lived to see what became of them
        there = self._there()
        cut = [f"{one.verb} {self._vms.get(one.vmid, 'nobody')}" for one in self._house.world.pve.history]
        gone = [f"{key[0]} {name} is gone" for key, name in self._known.items() if key not in there]
        resets = [f"kubeadm reset {name}" for name in self._resets.values()]
        return tuple(sorted([*cut, *gone, *resets, *self._evicted]))


def _stands(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"]
