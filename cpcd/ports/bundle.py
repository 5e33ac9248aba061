"""All ports in one hand, as `apply` gets them; `wiring.py` fills it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cpcd.model.ledger import Machine
from cpcd.ports.guests import Guests, Host
from cpcd.ports.kube import Kube
from cpcd.ports.proxmox import Proxmox

__all__ = ["Kubeconfigs", "Ports", "WrittenKubeconfig"]


@dataclass(frozen=True, slots=True)
class WrittenKubeconfig:
    """What a written kubeconfig says, without its keys; `expires` is the client certificate's end, wall time."""

    server: str
    context: str
    ca_hash: str
    expires: float


class Kubeconfigs(Protocol):
    """Kubeconfigs under the state directory, 0640, written by rename."""

    def describe(self, cluster: str) -> WrittenKubeconfig | None:
        """Return what is written, None when there is none or it cannot be read as one."""
        ...

    def write(self, cluster: str, admin_conf: str, *, server: str, context: str) -> None:
        """Store the control plane's admin.conf with that server and context name."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """`proxmox(site)`, `kube(cluster)` and `host(row)` find what belongs to a name; `installation()` is our mark."""

    proxmox: Callable[[str], Proxmox]
    kube: Callable[[str], Kube]
    host: Callable[[Machine], Host]
    guests: Guests
    kubeconfigs: Kubeconfigs
    installation: Callable[[], str]
