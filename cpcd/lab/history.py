"""What was there from moment to moment, written whenever the world may have changed: nothing hides between two polls.

VMs, Nodes, etcd's members and who answers: the limits of a rollout, the quorum and outages are counted in them. It
never changes the world. Next: `servers/control.py`, which tells it at `GET /lab/history`.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from cpcd.lab.kube import Cluster
from cpcd.lab.kube.objects import Object
from cpcd.lab.world import World

__all__ = ["History", "Machine", "Members", "Moment"]

_KEPT: Final = 20_000  # moments; a demo has some hundred


@dataclass(frozen=True, slots=True)
class Machine:
    """One VM that is no template; `node` is its Node's state: Ready, Cordoned, NotReady, or empty without one."""

    vmid: int
    name: str
    running: bool
    node: str


@dataclass(frozen=True, slots=True)
class Members:
    """One cluster's etcd members, how many of the voters answered, and whether its API did at the virtual address."""

    cluster: str
    learners: int
    voters: int
    up: int
    answers: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """What was true from `time` (lab seconds) until the next moment."""

    time: float
    machines: tuple[Machine, ...]
    etcd: tuple[Members, ...]


class History:
    """The moments of one world from now on, oldest first; of a long life the newest are kept."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._trace: tuple[object, ...] = ()
        self._moments: deque[Moment] = deque([self._moment()], maxlen=_KEPT)
        world.events.changed = self._look

    def since(self, time: float) -> list[Moment]:
        """Return what was true at `time` and ever since; a first moment that is later tells that older ones are gone."""
        moments = list(self._moments)
        begun = sum(moment.time <= time for moment in moments)
        return moments[max(0, begun - 1) :]

    def _look(self) -> None:
        """Add a moment if anything is another; most looks see nothing, so they take a short one first."""
        before, self._trace = self._trace, self._short()
        if self._trace == before:
            return
        now, last = self._moment(), self._moments[-1]
        # The short look takes in more than a moment tells, such as an object's revision.
        if replace(now, time=last.time) != last:
            self._moments.append(now)

    def _short(self) -> tuple[object, ...]:
        """Return something that differs whenever a moment does."""
        vms = tuple((vm.vmid, vm.name, vm.running) for vm in self._world.pve.vms.values())
        return (vms, *((each.store.objects.revision, _etcd(each)) for each in self._world.clusters))

    def _moment(self) -> Moment:
        nodes = {uuid: state for cluster in self._world.clusters for uuid, state in _nodes(cluster).items()}
        machines = (
            Machine(vm.vmid, vm.name, vm.running, nodes.get(self._system(vm.vmid), ""))
            for _, vm in sorted(self._world.pve.vms.items())
            if not vm.template
        )
        etcd = (_etcd(cluster) for cluster in self._world.clusters)
        return Moment(self._world.events.now, tuple(machines), tuple(etcd))

    def _system(self, vmid: int) -> str:
        guest = self._world.guests.get(vmid)
        return guest.system_uuid if guest else ""


def _nodes(cluster: Cluster) -> dict[str, str]:
    return {
        node.get("status", {}).get("nodeInfo", {}).get("systemUUID", ""): _state(node)
        for node in cluster.store.objects.all("Node")
    }


def _state(node: Object) -> str:
    if node["spec"].get("unschedulable"):
        return "Cordoned"
    conditions = node.get("status", {}).get("conditions", ())
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return "Ready" if ready else "NotReady"


def _etcd(cluster: Cluster) -> Members:
    voters = [member for member in cluster.etcd.members if not member.learner]
    learners = len(cluster.etcd.members) - len(voters)
    up = sum(map(cluster.etcd.up, voters))
    return Members(cluster.name, learners, len(voters), up, answers=cluster.virtual() is not None)
