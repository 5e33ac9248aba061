"""Kubernetes, as cpcd uses it: a dozen verbs on plain dicts.

Implemented by `adapters/kube.py` (kubernetes.aio's dynamic client) and by the lab's object store; held together by
`tests/contract`. Objects are the API's own JSON.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cpcd.model.errors import Failure

__all__ = ["GVK", "Kube", "Object", "Served", "evict_all"]

Object = dict[str, Any]

EVICTIONS: Final = 5  # at once: half of the connections of a client, so that what is read meanwhile has the others


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
        """Return all objects (paged inside) and the list's resourceVersion; namespace empty means all.

        Here and in a watch `managedFields` may be left out, and of a Node addresses, capacity, images and volumes.
        """
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


async def evict_all(kube: Kube, pods: Iterable[tuple[str, str, str]]) -> list[Failure]:
    """Evict pods (namespace, name, uid), `EVICTIONS` at a time, and return what failed.

    One after the other the last ones would wait for a webhook's time-out with each before them.
    """
    places = asyncio.Semaphore(EVICTIONS)

    async def evicted(namespace: str, name: str, uid: str) -> Failure | None:
        try:
            async with places:
                await kube.evict(namespace, name, uid)  # by uid: a StatefulSet's next pod has the same name
        except Failure as failure:
            return failure
        return None

    return [one for one in await asyncio.gather(*(evicted(*pod) for pod in pods)) if one is not None]
