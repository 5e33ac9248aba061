"""Names of things: keys of work, scopes of observation, roles, ids and conditions of nodes.

A key is what the loop schedules; a scope is what can be known or unknown on its own, so that one dead node or
guest does not freeze the others.
"""

import uuid
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, NewType, TypeVar

__all__ = ["HEALTHY", "Instant", "Key", "Kind", "Map", "OpId", "Role", "Scope", "Uid", "Wall", "system_uuid"]

Uid = NewType("Uid", str)
OpId = NewType("OpId", str)
Instant = NewType("Instant", float)  # seconds of the loop's monotonic clock
Wall = NewType("Wall", float)  # seconds since the epoch; for people and expiries only

K = TypeVar("K")
V = TypeVar("V")
Map = Mapping

# What each healthy Node says (Kubernetes: Node conditions).
HEALTHY: Final[Mapping[str, str]] = {
    "Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False",
    "NetworkUnavailable": "False",
}  # fmt: skip


class Kind(StrEnum):
    """Kinds of objects with a reconciler."""

    CLUSTER = "cluster"
    TEMPLATE = "template"
    MACHINE = "machine"
    NODES = "nodes"
    ADDON = "addon"
    KUBECONFIG = "kubeconfig"


class Role(StrEnum):
    """What a machine is in its cluster; it never changes."""

    CONTROL_PLANE = "control-plane"
    WORKER = "worker"


class Key(NamedTuple):
    """(cluster, kind, name); `cluster` is the Proxmox's name for what belongs to a Proxmox."""

    cluster: str
    kind: Kind
    name: str

    @property
    def owner(self) -> dict[str, str]:
        """Whose it is, for people and labels: `cluster`, or `site` for what belongs to a Proxmox; the other is empty."""
        whose = {"cluster": self.cluster, "site": ""}
        return {"cluster": "", "site": self.cluster} if self.kind is Kind.TEMPLATE else whose

    def __str__(self) -> str:
        return f"{self.cluster}/{self.kind.value}/{self.name}"


class Scope(NamedTuple):
    """One thing that is observed as a whole: it is complete or it is unknown.

    Kinds: `resources` and `quorum` (owner: Proxmox), `vm` (Proxmox, VMID), `tasks` (Proxmox, node),
    `template` (Proxmox, selector), `guest` (cluster, uid), `api`, `endpoint`, `nodes`, `etcd`, `csrs` (cluster),
    `pods` (cluster, node), `addon` (cluster, name), `kubeconfig` (cluster).
    """

    kind: str
    owner: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.owner}/{self.name}" if self.name else f"{self.kind}:{self.owner}"


_NAMESPACE: Final = uuid.UUID("c2d6d2a4-6f0b-5b5e-9a3c-6370636400d1")


@lru_cache(maxsize=4096)  # a pass asks seven times, and the hash is a fifth of what it costs to decide
def system_uuid(uid: Uid) -> str:
    """Return the SMBIOS UUID of a machine: uuid5, so that it can be recomputed from the row alone."""
    return str(uuid.uuid5(_NAMESPACE, uid))
