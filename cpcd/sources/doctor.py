"""The doctor: is everything there that cpcd needs; each missing privilege by name.

The list of privileges is what the calls in `ports/proxmox.py` need (recorded: least-privilege).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cpcd.model.desired import Cluster
from cpcd.model.errors import Failure
from cpcd.model.view import View
from cpcd.ports.bundle import Ports

__all__ = ["NEEDED", "Check", "Doctor", "missing"]

VM: Final = (
    "VM.Allocate", "VM.Audit", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit", "VM.Config.Disk",
    "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead", "VM.PowerMgmt",
)  # fmt: skip
# path -> privileges; a privilege on a parent path counts.
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "/vms": VM,
    "/storage": ("Datastore.AllocateSpace", "Datastore.Audit"),
    "/sdn/zones/localnetwork": ("SDN.Use",),
    "/": ("Sys.Audit",),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `ok` is None when it could not be told."""

    name: str
    ok: bool | None
    message: str
    hint: str = ""


def missing(granted: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """Return `PRIVILEGE on PATH` for each privilege that a token has neither on a path, above it, nor below it.

    A grant on one storage, VM or pool counts: that is how least privilege is given, and whether it is on the right
    one is said by the call that meets it.
    """
    return tuple(
        f"{privilege} on {path}"
        for path, privileges in NEEDED.items()
        for privilege in privileges
        if not any(privilege in granted[place] for place in granted if _counts(place, path))
    )


class Doctor:
    """Asks every site and cluster of a view."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def checks(self, view: View) -> list[Check]:
        """Return all findings, sites first; never raises."""
        found = [check for site in view.desired.sites for check in await self._site(site)]
        return found + [await self._cluster(cluster) for cluster in view.desired.clusters.values()]

    async def _site(self, site: str) -> list[Check]:
        try:
            granted = await self._ports.proxmox(site).permissions()
        except Failure as failure:
            return [Check(f"Proxmox {site}", ok=False, message=str(failure), hint=failure.hint)]
        lacking = missing(granted)
        reached = Check(f"Proxmox {site}", ok=True, message="answers, and takes the token")
        message = f"missing: {', '.join(lacking)}" if lacking else "all that cpcd needs"
        hint = "Grant them to the token's role in Datacenter > Permissions." if lacking else ""
        return [reached, Check(f"privileges on {site}", ok=not lacking, message=message, hint=hint)]

    async def _cluster(self, cluster: Cluster) -> Check:
        name = f"API of {cluster.name}"
        try:
            ready = await self._ports.kube(cluster.name).readyz()
        except Failure as failure:
            return Check(name, ok=None, message=str(failure), hint=failure.hint)
        return Check(name, ok=ready, message="is ready" if ready else "answers, but is not ready")


def _counts(place: str, path: str) -> bool:
    """Whether a grant at `place` reaches `path` or something below it; pools hold VMs and storages."""
    pooled = place.startswith("/pool/") and path in {"/vms", "/storage"}
    return place in {"/", path} or pooled or path.startswith(f"{place}/") or place.startswith(f"{path}/")
