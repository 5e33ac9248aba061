"""etcd membership: members, learners, quorum, leader.

Whether a member is up is asked of its host at each look; nothing here has a clock. Refusals carry etcd's own words,
from which the guest model makes reasons. Members are added by a kubeadm join alone.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from cpcd.lab.kube.kubelet import Kubelet
from cpcd.lab.provenance import guess, recorded, source

__all__ = ["Etcd", "EtcdRefused", "Member"]


class EtcdRefused(Exception):  # noqa: N818 - an answer of etcd
    """Etcd said no; the text is its own."""


@dataclass(slots=True, eq=False)
class Member:
    """One member; `name` is empty until it has started once."""

    id: int
    peer_url: str
    host: Kubelet
    learner: bool
    name: str = ""


class Etcd:
    """One etcd cluster; `up(kubelet)` tells whether etcd runs there."""

    def __init__(self, up: Callable[[Kubelet], bool], rng: random.Random) -> None:
        self.members: list[Member] = []
        self.removed: set[int] = set()
        self._up = up
        self._random = rng
        self._leader: int | None = None

    @recorded(253, 267)
    def up(self, member: Member) -> bool:
        """Tell whether a member answers: its host runs etcd on this member's data."""
        running = member.host.member == member.id and self._up(member.host)
        if running and not member.name:
            member.name = member.host.node
        return running

    @recorded(253, 283, 348)
    def quorum(self) -> bool:
        """Tell whether a majority of the voters is up; learners do not count."""
        voters = [member for member in self.members if not member.learner]
        return sum(map(self.up, voters)) > len(voters) // 2

    @guess("the first voter follows a leader that is lost; the real one is who wins an election")
    def leader(self) -> Member | None:
        """Return the leader: the one there was while it is up, else the first voter that is."""
        if not self.quorum():
            return None
        voters = [member for member in self.members if not member.learner and self.up(member)]
        chosen = next((member for member in voters if member.id == self._leader), voters[0])
        self._leader = chosen.id
        return chosen

    @recorded(343, 364, 369)
    def listed(self) -> list[Member]:
        """Return the members of a linearizable list; refused without quorum."""
        self._linearizable()
        for member in self.members:
            self.up(member)  # one that has started meanwhile has a name by now
        return list(self.members)

    @recorded(343, 344)
    def _linearizable(self) -> None:
        if not self.quorum():
            raise EtcdRefused("context deadline exceeded")

    @recorded(170, 216)
    def found(self, host: Kubelet) -> Member:
        """Begin a new cluster with one voter."""
        member = Member(self._id(), f"https://{host.address}:2380", host, learner=False)
        self.members = [member]
        return member

    @recorded(253, 262, 263)
    def add(self, host: Kubelet) -> Member:
        """Add a learner; one at a time, and no peer URL twice."""
        self._linearizable()
        url = f"https://{host.address}:2380"
        if any(member.peer_url == url for member in self.members):
            raise EtcdRefused("etcdserver: Peer URLs already exists")
        if any(member.learner for member in self.members):
            raise EtcdRefused("etcdserver: too many learner members in cluster")
        member = Member(self._id(), url, host, learner=True)
        self.members.append(member)
        return member

    @recorded(261)
    def promote(self, member: Member) -> None:
        """Make a learner a voter; it must have started and be in sync."""
        self._linearizable()
        if not self.up(member):
            raise EtcdRefused("etcdserver: can only promote a learner member which is in sync with leader")
        member.learner = False

    @recorded(272)
    def remove(self, member_id: int) -> None:
        """Remove a member by id; its etcd ends and does not come back."""
        self._linearizable()
        if all(member.id != member_id for member in self.members):
            raise EtcdRefused("etcdserver: member not found")
        self._may_go(next(member for member in self.members if member.id == member_id))
        self.members = [member for member in self.members if member.id != member_id]
        self.removed.add(member_id)

    @source("tests/real/etcd_port.py", "etcd 3.6, server/etcdserver/server.go: mayRemoveMember")
    def _may_go(self, leaving: Member) -> None:
        """Refuse to take away a voter that lives where too few would."""
        voters = [member for member in self.members if not member.learner]
        if leaving.learner or not self.up(leaving):
            return
        if sum(map(self.up, voters)) - 1 < 1 + (len(voters) - 1) // 2:
            raise EtcdRefused("etcdserver: unhealthy cluster")

    @recorded(337)
    def move_leader(self, member_id: int) -> None:
        """Hand leadership to a voter that is up."""
        self._linearizable()
        if not any(m.id == member_id and not m.learner and self.up(m) for m in self.members):
            raise EtcdRefused("etcdserver: bad leader transferee")
        self._leader = member_id

    @source("K04")
    def unhealthy(self) -> list[Member]:
        """Return the voters that do not answer: kubeadm's check-etcd stops at one of them."""
        return [member for member in self.members if not member.learner and not self.up(member)]

    def _id(self) -> int:
        return self._random.getrandbits(63) | (1 << 62)
