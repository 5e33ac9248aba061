"""Which kinds a cluster's API serves, and under which paths: asked for once, and again when a kind is missing.

The library's own discovery takes a group whose server is away (an aggregated API, 503) for one without kinds. Here a
kind is absent only by a list that the API gave: unknown is not absent. Nothing is kept outside this process.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from cpcd.adapters.answers import part
from cpcd.ports.kube import GVK, Object

__all__ = ["Discovery", "Resource"]


@dataclass(frozen=True, slots=True)
class Resource:
    """A served kind and its paths."""

    gvk: GVK
    plural: str
    namespaced: bool

    def path(self, name: str = "", namespace: str = "") -> str:
        """Return the path of an object, or of all objects; in one namespace where it is given and the kind has any."""
        version = self.gvk.api_version
        within = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        of = f"/{quote(name, safe=':')}" if name else ""
        return f"/{'apis' if '/' in version else 'api'}/{version}{within}/{self.plural}{of}"


class Discovery:
    """Looks kinds up by `get`, which returns the document at a path; ValueError for one that cannot be read."""

    def __init__(self, get: Callable[[str], Awaitable[Object]]) -> None:
        self._get = get
        self._groups: dict[str, list[str]] = {}
        self._kinds: dict[str, dict[str, Resource]] = {}
        # Many passes ask in the same moment: the first asks the API, the others find what it learned.
        self._one_at_a_time = asyncio.Lock()

    def forget(self) -> None:
        """Ask again from now on: a path that was known is no longer served."""
        self._groups.clear()
        self._kinds.clear()

    async def resource(self, gvk: GVK) -> Resource | None:
        """Return a kind in exactly this version, None when a fresh list does not have it."""
        group = gvk.api_version.rpartition("/")[0]
        return await self._looked_up(group, gvk.kind, lambda versions: [v for v in versions if v == gvk.api_version])

    async def preferred(self, group: str, kind: str) -> Resource | None:
        """Return a kind in the version that the API prefers of those that have it, None as `resource` does."""
        return await self._looked_up(group, kind, lambda versions: versions)

    async def _looked_up(self, group: str, kind: str, chosen: Callable[[list[str]], list[str]]) -> Resource | None:
        async with self._one_at_a_time:
            found = await self._search(group, kind, chosen)
            if found is None:
                self.forget()
                found = await self._search(group, kind, chosen)
        return found

    async def _search(self, group: str, kind: str, chosen: Callable[[list[str]], list[str]]) -> Resource | None:
        for version in chosen(await self._versions(group)):
            if version not in self._kinds:
                self._kinds[version] = await self._listed(version)
            if kind in self._kinds[version]:
                return self._kinds[version][kind]
        return None

    async def _versions(self, group: str) -> list[str]:
        """Return a group's apiVersions, the preferred one first; the core's group is in no list."""
        if not group:
            return ["v1"]
        if not self._groups:
            listed = part(list, await self._get("/apis"), "groups")
            self._groups = {part(str, one, "name"): _ordered(one) for one in listed}
        return self._groups.get(group, [])

    async def _listed(self, version: str) -> dict[str, Resource]:
        document = await self._get(f"/{'apis' if '/' in version else 'api'}/{version}")
        listed = [] if document.get("resources", "") is None else part(list, document, "resources")  # null: Go's nil
        own = [one for one in listed if "/" not in part(str, one, "name")]  # the others are subresources
        found = [
            Resource(GVK(version, part(str, one, "kind")), part(str, one, "name"), part(bool, one, "namespaced"))
            for one in own
        ]
        return {one.gvk.kind: one for one in found}


def _ordered(group: Object) -> list[str]:
    preferred = part(str, group, "preferredVersion", "groupVersion")
    versions = [part(str, one, "groupVersion") for one in part(list, group, "versions")]
    return sorted(versions, key=lambda version: version != preferred)
