"""The physical critical path: the least lab time in which the lab's machines can be built under the design's limits.

Stages are not summed from the table of durations: a hand that waits for nothing else carries each out on a modelled
machine and times it there (`rack.py`), so that whatever changes in the lab changes the bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cpcd.lab.guests import Guest
from cpcd.lab.rack import VERSION, Rack

__all__ = ["Stages", "critical_path", "stages"]

STEP = 0.02  # seconds of lab time between two looks of the hand
WRITES = 2  # clones at once on a Proxmox node (design.md section 5)
PLAYBOOKS = 12  # machines prepared at once: each takes memory beside the daemon (docs/adr/0020)


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds of lab time that each stage takes, waits of the machines' own included.

    A clone takes `clone` and then `linked`, or `copied` for each GiB of its disk where it is a full one.
    """

    clone: float
    linked: float
    copied: float
    grow: float
    boot: float
    prepare: float
    init: float
    secrets: float
    join: float
    join_control_plane: float
    ready: float


@cache
def stages() -> Stages:
    """Time every stage once, with the lab's own durations."""
    rack = Rack()
    proxmox = rack.world.pve.cluster.settings.durations
    first, boot, prepare = _machine(rack, 301, "cp1")
    init = _timed(rack, first, "init", **rack.init_given(first))
    rack.apply_cni()
    second, _, _ = _machine(rack, 302, "cp2")
    given = rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True)
    control = _timed(rack, second, "join", **given)
    worker, _, _ = _machine(rack, 303, "w1")
    join = _timed(rack, worker, "join", **rack.join_given(worker, rack.secrets(first)))
    ready = _until(rack, lambda: rack.ready("w1") == "True")
    return Stages(
        clone=proxmox.spawn + proxmox.cloudinit,
        linked=proxmox.linked,
        copied=proxmox.full_per_gib,
        grow=proxmox.spawn + proxmox.resize,
        boot=boot,
        prepare=prepare,
        init=init,
        secrets=rack.durations.join_secrets,
        join=join,
        join_control_plane=control,
        ready=ready,
    )


def critical_path(*, masters: int, workers: int, copied_gib: float = 0, playbooks: int = PLAYBOOKS) -> float:
    """Return seconds from the first clone of the one template to the last Ready Node.

    Control planes are cloned first, then the workers, two at a time, so many `playbooks` prepare machines at once, and
    control planes join one after the other; the longest of these chains is the bound. `copied_gib` is the size of the
    template's disk where clones are full ones.
    """
    took = stages()
    clone = took.clone + (copied_gib * took.copied or took.linked)
    made = took.grow + took.boot + took.prepare
    control = clone + made + took.init
    ends = control + (masters - 1) * (took.secrets + took.join_control_plane)
    if not workers:
        return ends
    cloned = -(-(masters + workers) // WRITES) * clone
    prepared = clone + made + (-(-(masters + workers) // playbooks) - 1) * took.prepare
    joins = max(control, cloned + made, prepared) + took.secrets + took.join + took.ready
    return max(ends, joins)


def _machine(rack: Rack, vmid: int, name: str) -> tuple[Guest, float, float]:
    """Make a prepared machine; return it with the seconds from its start to cloud-init's end, and of prepare."""
    rack.clone(vmid, name)
    began = rack.time
    rack.pve("POST", f"{vmid}/status/start")
    _until(rack, lambda: vmid in rack.world.guests and _settled(rack.world.guests[vmid]))
    boot, guest = rack.time - began, rack.world.guests[vmid]
    took = _timed(rack, guest, "prepare", version=VERSION, packages={}, timezone="UTC", profile="p1")
    return guest, boot, took


def _settled(guest: Guest) -> bool:
    return guest.ssh_up and guest.call("facts", {})[0]["cloud_init"]["status"] != "running"


def _timed(rack: Rack, guest: Guest, verb: str, **given: object) -> float:
    op = rack.submit(guest, verb, **given)
    took = _until(rack, lambda: guest.poll(op)["state"] != "running")
    assert guest.poll(op)["state"] == "done", guest.poll(op)
    return took


def _until(rack: Rack, holds: Callable[[], bool]) -> float:
    began = rack.time
    while not holds():
        rack.run(STEP)
    return rack.time - began
