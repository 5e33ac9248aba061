"""The verbs that cpcd uses on one Kubernetes cluster.

It must never repeat a write, wait without a limit or hold a typed model. Errors: `failures.py`; TLS: `client.py`; which
kinds there are: `discovery.py`; the contract: `ports/kube.py`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import aiohttp

from cpcd.adapters.answers import Lean, parse, part, words
from cpcd.adapters.kube.aio.parts import ApiException, ResourceNotFoundError
from cpcd.adapters.kube.client import connect, credentials
from cpcd.adapters.kube.discovery import Discovery, Resource
from cpcd.adapters.kube.failures import details, mapped, message
from cpcd.model.errors import Code, Failure
from cpcd.ports.kube import GVK, Object, Served

__all__ = ["FIELD_MANAGER", "KubeApi"]

FIELD_MANAGER: Final = "cpcd"
_TIMEOUT: Final = 30.0
_CONNECT: Final = 5.0
_PAGE: Final = 500
_OF_A_NODE: Final = frozenset({
    "addresses", "allocatable", "capacity", "daemonEndpoints", "images", "managedFields", "volumesAttached", "volumesInUse",
})  # fmt: skip
_WATCH_GRACE: Final = 30.0  # `failures.md` C01: the server's limit is no limit for a half-open connection

Page = tuple[list[Object], str]


class KubeApi:
    """`ports.kube.Kube` over HTTPS with the client certificate of `kubeconfig` (text).

    `endpoint` names it in failures (`kube:home`); `server` takes the place of the kubeconfig's address when given.
    `cache_dir` is a private directory that the client key passes through while ssl loads it. `scale` is how many of
    the world's seconds pass in a real one. Raises Failure(AUTH) for a kubeconfig without embedded credentials.
    """

    def __init__(
        self, kubeconfig: str, *, endpoint: str, cache_dir: Path, scale: float = 1.0, server: str = ""
    ) -> None:
        self._endpoint = endpoint
        self._scale = scale
        limits = aiohttp.ClientTimeout(total=_TIMEOUT / scale, sock_connect=max(1.0, _CONNECT / scale))
        self._client = connect(credentials(kubeconfig, server), limits, cache_dir)
        self._discovery = Discovery(lambda path: self._call("get", path))

    async def readyz(self) -> bool:
        """See the port."""
        with self._about("asking /readyz"):
            try:
                await (await self._client.request("get", "/readyz", serialize=False)).read()
            except ApiException as error:
                # A certificate that is not taken; any other answer comes from an API that is not ready.
                if error.status == 401:
                    raise
                return False
        return True

    async def version(self) -> str:
        """See the port; never from a cache, because an upgrade changes it."""
        with self._about("asking /version"):
            return part(str, await self._call("get", "/version"), "gitVersion")

    async def served(self, group: str, kind: str) -> Served | None:
        """See the port; what was served is looked up again only once a call fails for it."""
        with self._about(f"looking for kind {kind}"):
            found = await self._discovery.preferred(group, kind)
            return Served(found.gvk, found.namespaced) if found else None

    async def get(self, gvk: GVK, name: str, namespace: str = "") -> Object | None:
        """See the port; a kind that a fresh discovery does not list has no objects, so that is None too."""
        with self._about(f"reading {gvk.kind} {name}"):
            try:
                return _object(await self._call("get", await self._path(gvk, name, namespace)))
            except ResourceNotFoundError:
                return None
            except ApiException as error:
                if not _no_object(error):
                    raise
        return None

    async def list(self, gvk: GVK, *, namespace: str = "", labels: str = "", fields: str = "") -> Page:
        """See the port; a list that expires between two pages is read again in one piece."""
        selectors = {"label_selector": labels or None, "field_selector": fields or None}
        with self._about(f"listing {gvk.kind}"):
            path = (await self._kind(gvk)).path(namespace=namespace)
            try:
                return await self._pages(gvk, path, selectors | {"limit": _PAGE})
            except ApiException as error:
                if error.status != 410:
                    raise
            return await self._pages(gvk, path, selectors)

    async def apply(self, obj: Object, *, force: bool = True, dry_run: bool = False) -> Object:
        """See the port."""
        gvk = GVK(obj["apiVersion"], obj["kind"])
        name = obj["metadata"]["name"]
        with self._about(f"applying {gvk.kind} {name}"):
            path = await self._path(gvk, name, obj["metadata"].get("namespace", ""))
            options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
            stored = await self._call(
                # JSON is YAML; by this type alone a patch is a server-side apply.
                "patch", path, body=obj, content_type="application/apply-patch+yaml", field_manager=FIELD_MANAGER,
                force_conflicts=force, **options,
            )  # fmt: skip
            return _object(stored)

    async def patch(self, gvk: GVK, name: str, merge: Mapping[str, Any], *, namespace: str = "") -> Object:
        """See the port."""
        with self._about(f"patching {gvk.kind} {name}"):
            path = await self._path(gvk, name, namespace)
            stored = await self._call(
                "patch",
                path,
                body=dict(merge),
                content_type="application/merge-patch+json",
                field_manager=FIELD_MANAGER,
            )
            return _object(stored)

    async def delete(self, gvk: GVK, name: str, *, namespace: str = "", uid: str) -> None:
        """See the port; dependents go in the background."""
        # By now the name may be that of another object: a machine's successor registers under the same.
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        with self._about(f"deleting {gvk.kind} {name}"):
            try:
                await self._call("delete", await self._path(gvk, name, namespace), body=body)
            except ResourceNotFoundError:
                return  # its kind went, and it with it
            except ApiException as error:
                if not _absent(error):
                    raise

    async def evict(self, namespace: str, name: str, uid: str) -> bool:
        """See the port."""
        body = {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }  # fmt: skip
        with self._about(f"evicting pod {namespace}/{name}"):
            try:
                await self._call("post", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body=body)
            except ApiException as error:
                # 429: a disruption budget allows none now (`failures.md` K13).
                if error.status == 429 or _ending(error):
                    return False
                if not _absent(error):
                    raise
        return True

    async def approve(self, csr: str) -> None:
        """See the port; approving an approved request is a no-op, a denied one is refused by the API."""
        path = f"/apis/certificates.k8s.io/v1/certificatesigningrequests/{csr}"
        with self._about(f"approving certificate signing request {csr}"):
            request = _object(await self._call("get", path))
            request.setdefault("status", {}).setdefault("conditions", [])
            conditions = part(list, request, "status", "conditions")
            if any(part(str, condition, "type") == "Approved" for condition in conditions):
                return
            conditions.append({
                "type": "Approved", "status": "True", "reason": "CpcdApproved", "message": "The machine is cpcd's own",
            })  # fmt: skip
            # What was read goes back with its resourceVersion: a decision that somebody made in between is a conflict.
            await self._call("put", f"{path}/approval", body=request)

    async def watch(  # the server's limit; the client's own is in the request
        self,
        gvk: GVK,
        *,
        since: str,
        timeout: float = 300,
    ) -> AsyncIterator[tuple[str, Object]]:
        """See the port; bookmarks are yielded like other events."""
        with self._about(f"watching {gvk.kind}"):
            path = (await self._kind(gvk)).path()
            limit = (timeout + _WATCH_GRACE) / self._scale
            reply = await self._client.request(
                "get", path, serialize=False, watch=True, resource_version=since, timeout_seconds=int(timeout),
                query_params=[("allowWatchBookmarks", "true")],
                _request_timeout=aiohttp.ClientTimeout(total=limit, sock_connect=max(1.0, _CONNECT / self._scale)),
            )  # fmt: skip
            async with reply:
                async for line in reply.content:
                    yield _event(line, _lean(gvk))

    async def close(self) -> None:
        """See the port."""
        await self._client.client.close()

    async def _pages(self, gvk: GVK, path: str, options: Mapping[str, Any]) -> Page:
        page = await self._call("get", path, lean=_lean(gvk), **options)
        items, tokens = part(list, page, "items"), set[str]()
        while token := part(dict, page, "metadata").get("continue"):
            if part(str, page, "metadata", "continue") in tokens:
                raise ValueError("a list that goes round in circles")
            tokens.add(token)
            page = await self._call("get", path, lean=_lean(gvk), _continue=token, **options)
            items += part(list, page, "items")
        for item in map(_object, items):  # the API leaves both out of list items
            item.setdefault("apiVersion", gvk.api_version)
            item.setdefault("kind", gvk.kind)
        return items, part(str, page, "metadata", "resourceVersion")

    async def _path(self, gvk: GVK, name: str, namespace: str) -> str:
        return (await self._kind(gvk)).path(name, namespace or "default")

    async def _kind(self, gvk: GVK) -> Resource:
        found = await self._discovery.resource(gvk)
        if found is None:
            raise ResourceNotFoundError(gvk)
        return found

    async def _call(self, method: str, path: str, *, lean: Lean | None = None, **options: Any) -> Object:
        try:
            reply = await self._client.request(method, path, serialize=False, **options)
        except ApiException as error:
            if error.status == 404 and not _no_object(error):
                # The path itself is not served: the kind has gone, or has moved to another version.
                self._discovery.forget()
            raise
        body = await reply.read()
        answer = part(dict, parse(body, lean))
        if answer.get("kind") == "Status" and answer.get("status") == "Failure":
            raise _refused(answer, body)
        return answer

    def _about(self, what: str) -> AbstractContextManager[None]:
        return mapped(self._endpoint, what)


def _no_object(error: ApiException) -> bool:
    """Tell an object that does not exist from a path that is not served, which is a 404 too but names no object."""
    return error.status == 404 and bool(details(error).get("name"))


def _absent(error: ApiException) -> bool:
    """Tell whether the object is gone: not found, or another uid has its name now (`Precondition failed`)."""
    return _no_object(error) or (error.status == 409 and "precondition" in message(error).lower())


def _ending(error: ApiException) -> bool:
    """Tell whether a pod's namespace is being terminated, as kubectl's drain does: it will be deleted without us."""
    causes = details(error).get("causes")
    return isinstance(causes, list) and any(
        isinstance(cause, dict) and cause.get("reason") == "NamespaceTerminating" for cause in causes
    )


def _refused(answer: Object, body: bytes) -> ApiException:
    """A refusal that comes with a 201: the code is in the body (kubernetes: registry/core/pod/storage/eviction.go)."""
    error = ApiException(status=part(int, answer, "code"), reason=answer.get("reason"))
    error.body = body
    return error


def _object(found: Any) -> Object:
    """Check that an answer is an object of the API: it has metadata."""
    part(dict, found, "metadata")
    return part(dict, found)


def _lean(gvk: GVK) -> Lean:
    """Leave out what is most of a listed object and nobody's business here; a label of that name is text, and stays."""
    return _lean_node if gvk == GVK("v1", "Node") else _lean_object


def _lean_object(obj: Object) -> Object:
    if isinstance(obj.get("managedFields"), list):
        del obj["managedFields"]
    return obj


def _lean_node(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in _OF_A_NODE or isinstance(value, str)}


def _event(line: bytes, lean: Lean) -> tuple[str, Object]:
    event = parse(line, lean)
    kind, obj = part(str, event, "type"), part(dict, event, "object")
    if kind != "ERROR":
        return kind, _object(obj)
    word = "Expired" if obj.get("code") == 410 else obj.get("reason", "error")
    said = words(f"watching failed: {obj.get('code')} {word}: {obj.get('message')}")
    raise Failure(Code.EXECUTION, said, retry=0)
