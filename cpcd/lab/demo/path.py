"""The physical critical path: the least lab time in which the lab's machines can be built under the design's limits.

Two clones a template node at once, control planes joined one after the other, everything else in parallel.
"""

from cpcd.lab.guests import Durations as Guest
from cpcd.lab.pve import Durations as Proxmox

__all__ = ["critical_path"]


def critical_path(*, masters: int, workers: int, disk_gib: int = 10, full: bool = True) -> float:
    """Return seconds from the first clone to the last Node.

    The first control plane is cloned in the first round, prepared and initialised; each further one joins after it;
    the last worker is cloned in the last round. The longer of the two chains is the bound.
    """
    guest, proxmox = Guest(), Proxmox()
    clone = disk_gib * proxmox.full_per_gib if full else proxmox.linked
    rounds = -(-(masters + workers) // 2)
    ready = proxmox.resize + proxmox.start + guest.cloud_init + guest.prepare
    control = clone + ready + guest.init + (masters - 1) * guest.join_control_plane
    worker = rounds * clone + ready + guest.join_worker
    return max(control, worker)
