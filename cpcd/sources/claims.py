"""Whose the VMs are that no row knows: a lost or old ledger must never be read as an empty Proxmox.

What is found here stops additions and is what a lost ledger is made from again (`plan/recover.py`). It changes nothing.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from cpcd.model.keys import Uid
from cpcd.model.seen import Claim, Resource, Vm
from cpcd.model.view import View
from cpcd.plan import fields
from cpcd.ports.proxmox import Proxmox

__all__ = ["Claims"]


class Claims:
    """The claims on one Proxmox; a VM that could be a machine of a wanted cluster is read when its listing changes."""

    def __init__(self) -> None:
        self._read: dict[Resource, Claim | None] = {}

    async def look(self, proxmox: Proxmox, view: View, site: str, found: Mapping[int, Resource]) -> tuple[Claim, ...]:
        """Return the VMs with the mark of a wanted cluster whose machine has no row; raises Failure when unreadable."""
        suspects = _suspects(view, site, found)
        self._read = {vm: claim for vm, claim in self._read.items() if vm in suspects}
        for vm in suspects - self._read.keys():
            self._read[vm] = _claim(vm, await proxmox.config(vm.node, vm.vmid) or {})
        wanted = _clusters(view, site)
        claims = (claim for claim in self._read.values() if claim is not None and claim.cluster in wanted)
        return tuple(sorted(claims, key=lambda claim: claim.vmid))


def _clusters(view: View, site: str) -> set[str]:
    return {name for name, cluster in view.desired.clusters.items() if cluster.infrastructure.site == site}


def _suspects(view: View, site: str, found: Mapping[int, Resource]) -> set[Resource]:
    """Return what bears our tag or a name of ours and is neither a row's, nor of a VMID that cools down, nor a template."""
    rows = {row.vmid for row in view.machines.values() if row.site == site}
    clusters = (view.desired.clusters[name] for name in _clusters(view, site))
    patterns = [cluster.hostname.format(cluster=cluster.name, role="*", index="*") for cluster in clusters]
    strangers = (vm for vmid, vm in found.items() if vmid not in rows and not vm.template)
    named = (vm for vm in strangers if "cpcd" in vm.tags or any(fnmatchcase(vm.name, one) for one in patterns))
    return {vm for vm in named if f"vmid/{site}/{vm.vmid}" not in view.facts}


def _claim(seen: Resource, config: Mapping[str, Any]) -> Claim | None:
    vm = Vm(exists=True, config=config)
    owner = fields.owner(vm)
    if owner is None or not fields.has_uuid(vm, Uid(owner[2])):
        return None
    return Claim(owner[0], owner[1], Uid(owner[2]), seen.node, seen.vmid, config)
