"""Whether a file system has followed its disk: the disk grows under a running machine, the file system at a boot (G14).

cloud-init's growpart and resizefs run at boot only. So a growth is remembered with the boot that it fell into, and that
boot alone is a reason for a reboot: the next one has had its chance, whatever came of it. What is not remembered (grown
by somebody else or by an older cpcd, or before the ledger was lost) makes nobody's machine reboot. Next: `upkeep.py`.
"""

from collections.abc import Mapping
from typing import Any, Final

from cpcd.model.ledger import Machine
from cpcd.model.seen import Facts, Node
from cpcd.model.view import View
from cpcd.plan import fields, scopes

__all__ = ["due", "followed", "left_behind", "remembered", "size", "unread"]

GIB: Final = 2**30


def size(row: Machine, view: View, config: Mapping[str, Any], disk: str) -> float | None:
    """Return how many GiB a disk has, None where it is not there: of a growth that timed out the config never tells (P04)."""
    told = fields.boot_disk_gb(config, disk)
    return None if told is None else max(told, view.facts.get(f"grown/{row.uid}", 0))


def remembered(row: Machine, view: View, gained: float) -> Mapping[str, Any]:
    """Return what to remember of a growth by so many GiB; nothing of a machine that does not tell its file system.

    `least` is what the file system has to have in bytes to count as grown: half of the gain more than now. It is asked
    for its gain and never for the whole disk, of which EFI, /boot, swap or LVM may have any share; ext4 itself takes
    less than 2 % of what it gains (inodes of 256 bytes for each 16 KiB).
    """
    facts = _facts(row, view)
    if facts is None or not facts.root or not facts.boot_id:
        return {}
    return {"boot": facts.boot_id, "least": facts.root + int(gained * GIB / 2)}


def followed(row: Machine, view: View) -> bool | None:
    """Return whether the file system has grown with the disk; None where nothing was grown, or it is not known."""
    growth, facts = _growth(row, view), _facts(row, view)
    return None if growth is None or facts is None or not facts.root else facts.root >= growth["least"]


def due(row: Machine, view: View) -> bool:
    """Return whether the boot that the growth fell into lasts, and the file system is not known to have grown in it.

    The unknown is no end of what was begun; nor a reason to begin it, which is for `followed` to be.
    """
    growth, node = _growth(row, view), _node(row, view)
    # A Node goes on telling the old boot for a while after that was ended.
    lasts = growth and node and node.boot_id == growth["boot"] != view.facts.get(f"boot/{row.uid}")
    return bool(lasts) and followed(row, view) is not True


def unread(row: Machine, view: View) -> bool:
    """Return whether the machine has to be asked: for what decides, and once after the boot that was to help."""
    node, facts = _node(row, view), _facts(row, view)
    if node is None or _growth(row, view) is None:
        return False
    return facts is None or facts.boot_id != node.boot_id or due(row, view)


def left_behind(row: Machine, view: View) -> str:
    """Return, for people, that a boot has not helped; empty where it has, or is still to come, or is not known."""
    if followed(row, view) is not False:
        return ""
    node, facts = _node(row, view), _facts(row, view)
    if node is None or facts is None or facts.boot_id != node.boot_id or due(row, view):
        return ""
    of = f" of the {facts.root_disk / GIB:g} GiB of its disk" if facts.root_disk else ""
    has = f"its root file system has {facts.root / GIB:.1f} GiB{of}"
    return f"{has} and did not grow at a boot: look at its partitions and at growpart"


def _growth(row: Machine, view: View) -> Mapping[str, Any] | None:
    growth: Mapping[str, Any] | None = view.facts.get(f"growth/{row.uid}")
    return growth


def _facts(row: Machine, view: View) -> Facts | None:
    facts: Facts | None = view.known(scopes.guest(row))
    return facts


def _node(row: Machine, view: View) -> Node | None:
    node: Node | None = view.known(scopes.node(row.cluster, row.name))
    return node
