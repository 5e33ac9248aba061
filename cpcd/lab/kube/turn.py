"""One look of the controllers at the store: what they share, and when they want to look again.

Controllers are level-triggered functions `def name(turn) -> None`, run in the order of `controllers.ORDER`. A turn
takes no time; what must wait is asked for with `reached` and done by a later turn.
"""

import math
import random
from dataclasses import dataclass, field

from cpcd.lab.kube.kubelet import Kubelet
from cpcd.lab.kube.lags import Lags
from cpcd.lab.kube.objects import Object, Objects
from cpcd.lab.kube.pki import Authority
from cpcd.lab.kube.store import Store

__all__ = ["Memory", "Turn"]


@dataclass(slots=True)
class Memory:
    """What controllers remember between turns; lost to nobody, for it all could be read again from the objects."""

    first: dict[tuple[str, str], float] = field(default_factory=dict)  # (what, uid) -> when it was first seen
    heartbeats: dict[str, float] = field(default_factory=dict)  # node -> last sign of life
    reports: dict[str, float] = field(default_factory=dict)  # node -> last time that it was written all the same
    networks: int = 0  # pod networks handed out; never one twice
    services: int = 0  # service addresses handed out


@dataclass(slots=True)
class Turn:
    """One pass at lab time `now`; `due` becomes when the next one is needed."""

    now: float
    store: Store
    lags: Lags
    kubelets: list[Kubelet]
    memory: Memory
    random: random.Random
    authority: Authority
    pods: str
    due: float = math.inf

    @property
    def objects(self) -> Objects:
        """The objects, to be read and `put`."""
        return self.store.objects

    @property
    def stamp(self) -> str:
        """The time as objects carry it."""
        return self.objects.stamp()

    def reached(self, at: float) -> bool:
        """Tell whether a time has come; if not, there will be a turn then."""
        # The earliest that any controller has asked for; a turn that is not needed any more does no harm.
        if at > self.now:
            self.due = min(self.due, at)
        return at <= self.now

    def lasted(self, what: str, obj: Object, seconds: float) -> bool:
        """Tell whether `what` has been seen of this object for so long; the first look starts the time."""
        return self.reached(self.memory.first.setdefault((what, obj["metadata"]["uid"]), self.now) + seconds)

    def over(self, what: str, obj: Object) -> None:
        """End what `lasted` measures."""
        self.memory.first.pop((what, obj["metadata"]["uid"]), None)

    def changed(self, obj: Object, **parts: object) -> Object:
        """Store an object with some of its top-level parts replaced."""
        return self.objects.put({**obj, **parts})
