"""Kubernetes, as cpcd uses it: a dozen verbs on plain dicts.

Implemented by `adapters/kube.py` (kubernetes.aio's dynamic client) and by the lab's object store; held together by
`tests/contract`. Objects are the API's own JSON.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["GVK", "Kube", "Object", "Served"]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GVK:
    """An API kind: `GVK("apps/v1", "Deployment")`, `GVK("v1", "Node")`."""

    api_version: str
    kind: str


@dataclass(frozen=True, slots=True)
class Served:
    """A kind as the API serves it: in the version that it prefers, in namespaces or not (the same in all versions)."""

    gvk: GVK
    namespaced: bool


class Kube(Protocol):
    """One cluster's API. Every call raises `model.errors.Failure`; 404 is None or a no-op where the verb says so.

    An empty namespace of a namespaced kind means `default`, but in `list`; a kind without namespaces ignores it.
    """

    async def readyz(self) -> bool:
        """Return whether `/readyz` is 200; False for 5xx and 403 (RBAC still loading); raise when unreachable."""
        ...

    async def version(self) -> str:
        """Return the server's gitVersion, such as `v1.34.2`."""
        ...

    async def served(self, group: str, kind: str) -> Served | None:
        """Return how a kind of a group (empty: the core's) is served; None when no version of it is.

        Raises when a version's kinds cannot be listed: unknown is not absent.
        """
        ...

    async def get(self, gvk: GVK, name: str, namespace: str = "") -> Object | None:
        """Return one object or None."""
        ...

    async def list(
        self, gvk: GVK, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[list[Object], str]:
        """Return all objects (paged inside) and the list's resourceVersion; namespace empty means all."""
        ...

    async def apply(self, obj: Object, *, force: bool = True, dry_run: bool = False) -> Object:
        """Server-side apply with field manager `cpcd`; return the object as stored."""
        ...

    async def patch(self, gvk: GVK, name: str, merge: Mapping[str, Any], *, namespace: str = "") -> Object:
        """JSON merge patch; put `metadata.resourceVersion` into it to be refused (409) on a foreign write."""
        ...

    async def delete(self, gvk: GVK, name: str, *, namespace: str = "", uid: str) -> None:
        """Delete with a uid precondition; absent or replaced by another uid is a no-op."""
        ...

    async def evict(self, namespace: str, name: str, uid: str) -> bool:
        """Evict one pod by uid; True when accepted or gone.

        False when a disruption budget refuses (429), or while the pod's namespace is being terminated (403), which will
        delete it itself.
        """
        ...

    async def approve(self, csr: str) -> None:
        """Add the Approved condition to a CertificateSigningRequest."""
        ...

    def watch(self, gvk: GVK, *, since: str, timeout: float = 300) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) from `since` until the server ends it; raises Failure reason `Expired` on 410."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
