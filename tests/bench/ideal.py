"""The physical critical path: the least lab time in which the lab's machines can be built under the design's limits.

The stages are not summed from a table: each is carried out on a modelled machine by a hand that waits for nothing else,
and timed there. Two writes a Proxmox node at once, one control plane joins at a time (design section 5 and 6).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cpcd.lab.guests.guest import Guest
from tests.unit.lab_guests.conftest import VERSION, Rack

__all__ = ["Stages", "critical_path", "stages"]

STEP = 0.02  # seconds of lab time between two looks of the hand
WRITES = 2  # at once on a Proxmox node
ENVELOPE = 0.02  # seconds: a fork of Proxmox's worker, in each task


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds that each stage takes on the lab, waits of the machines' own included."""

    clone: float
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
    """Time every stage once."""
    rack = Rack()
    proxmox = rack.world.pve.cluster.settings.durations
    clone = ENVELOPE + proxmox.cloudinit + proxmox.linked
    first, boot, prepare = _machine(rack, 301, "cp1")
    init = _timed(rack, first, "init", **rack.init_given(first))
    rack.apply_cni()
    minted = rack.durations.join_secrets
    second, _, _ = _machine(rack, 302, "cp2")
    given = rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True)
    control = _timed(rack, second, "join", **given)
    worker, _, _ = _machine(rack, 303, "w1")
    join = _timed(rack, worker, "join", **rack.join_given(worker, rack.secrets(first)))
    ready = _until(rack, lambda: rack.ready("w1") == "True")
    return Stages(clone, ENVELOPE + proxmox.resize, boot, prepare, init, minted, join, control, ready)


def critical_path(*, masters: int, workers: int) -> float:
    """Return seconds from the first clone of the one template to the last Ready Node.

    Control planes are cloned first, then the workers, two at a time; the longer of both chains is the bound.
    """
    took = stages()
    made = took.grow + took.boot + took.prepare
    control = took.clone + made + took.init
    ends = control + (masters - 1) * (took.secrets + took.join_control_plane)
    if not workers:
        return ends
    cloned = -(-(masters + workers) // WRITES) * took.clone
    joins = max(control, cloned + made) + took.secrets + took.join + took.ready
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
    ended = guest.poll(op)
    if ended["state"] != "done":
        raise RuntimeError(f"{verb} failed: {ended}")
    return took


def _until(rack: Rack, holds: Callable[[], bool]) -> float:
    began = rack.time
    while not holds():
        rack.run(STEP)
    return rack.time - began
