"""Whose the VMs are that bear a name of ours: a lost or old ledger must never be read as an empty Proxmox.

No machine is added before its template was read, so this is asked there (`reading.py`). It changes nothing.
"""

import asyncio
from collections.abc import Mapping

from cpcd.model.errors import Code, Failure
from cpcd.model.seen import Resource, Vm
from cpcd.model.view import View
from cpcd.plan import fields
from cpcd.ports.proxmox import Proxmox

__all__ = ["refuse_strangers"]


async def refuse_strangers(proxmox: Proxmox, view: View, site: str, found: Mapping[int, Resource]) -> None:
    """Raise Failure(STATE) when VMs carry the mark of a wanted cluster and are in no row of this ledger.

    They are another installation's, or ours from a ledger that was lost: a second cluster would be built over them.
    Only configs of VMs that have such a name and no row are read.
    """
    suspects = [vm for vm in found.values() if _suspect(view, site, vm)]
    configs = await asyncio.gather(*(proxmox.config(vm.node, vm.vmid) for vm in suspects))
    pairs = zip(suspects, configs, strict=True)
    strangers = [vm for vm, config in pairs if config is not None and _stranger(view, site, Vm(True, config=config))]
    if strangers:
        names = ", ".join(f"{vm.name} ({vm.vmid})" for vm in strangers)
        what = f"{site} has machines of cpcd that are in no ledger of this one: {names}; none is added beside them"
        hint = "Restore the ledger from a backup; or, if another cpcd keeps them, give this cluster another name."
        raise Failure(Code.STATE, what, target=f"pve:{site}", hint=hint)


def _clusters(view: View, site: str) -> set[str]:
    return {name for name, cluster in view.desired.clusters.items() if cluster.infrastructure.site == site}


def _suspect(view: View, site: str, vm: Resource) -> bool:
    known = any((row.site, row.vmid) == (site, vm.vmid) for row in view.machines.values())
    retired = f"vmid/{site}/{vm.vmid}" in view.facts
    named = any(vm.name.startswith(f"{cluster}-") for cluster in _clusters(view, site))
    return named and not (known or retired or vm.template)


def _stranger(view: View, site: str, vm: Vm) -> bool:
    owner = fields.owner(vm)
    return owner is not None and owner[1] in _clusters(view, site) and owner[2] not in view.machines
