"""The modelled Kubernetes API behind HTTPS: what `adapters/kube` and `kubectl get` use, and 501 for everything else.

It decides nothing: objects, refusals and watches come from `lab/kube/store.py`. A client certificate of the cluster's
authority is needed, RBAC is not modelled. Documents: `discovery.py`, `pages.py`, `tables.py`,
`watches.py`.
"""

import json
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import yaml
from aiohttp import web

from cpcd.lab.kube import ApiError, Cluster, Kubelet, Resource, Store
from cpcd.lab.kube.store import MANAGER
from cpcd.lab.provenance import source
from cpcd.lab.servers.discovery import Target, document, target
from cpcd.lab.servers.pages import page
from cpcd.lab.servers.tables import table
from cpcd.lab.servers.watches import lines
from cpcd.ports.kube import GVK

__all__ = ["Api", "application"]

Sleep = Callable[[float], Coroutine[Any, Any, None]]
Object = dict[str, Any]

_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_WATCH: Final = 300.0  # seconds, where the client asks for none
_HANGS: Final = 60.0  # kube-apiserver's --request-timeout


@dataclass(frozen=True, slots=True)
class Api:
    """One address of a cluster's API: a control plane's own, or the virtual one and whoever holds it now.

    `sleep` takes lab seconds; `calls` counts `kube METHOD plural`.
    """

    cluster: Cluster
    address: str
    port: int
    sleep: Sleep
    calls: Counter[str]

    @property
    def store(self) -> Store:
        """The cluster's objects."""
        return self.cluster.store

    @property
    def version(self) -> str:
        """The gitVersion of the API server behind this address."""
        host = self._host()
        return f"v{(host.version if host else '') or self.cluster.plan.version}".replace("vv", "v")

    def resources(self) -> list[Resource]:
        """Return all served kinds."""
        return self.store.objects.resources()

    def readyz(self) -> int:
        """Return the status of /readyz."""
        host = self._host()
        return (self.cluster.readyz(host) if host else 0) or 500

    def _host(self) -> Kubelet | None:
        place = (self.address, self.port)
        own = (each for each in self.cluster.kubelets if (each.address, each.port) == place)
        return next(own, None) or self.cluster.virtual()


def application(api: Api) -> web.Application:
    """Return the application of one API server; run it with handler cancellation on, so that watches end."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await _answer(api, request)
        except ApiError as error:
            return web.json_response(_with_details(api, request, error), status=error.code)
        except (ValueError, yaml.YAMLError) as error:
            refused = ApiError(400, "BadRequest", str(error))
            return web.json_response(refused.body, status=refused.code)

    served = web.Application(client_max_size=3 * 1024 * 1024)
    served.router.add_route("*", "/{path:.*}", handle)
    return served


async def _answer(api: Api, request: web.Request) -> web.StreamResponse:
    _authenticate(request)
    api.cluster.settle()
    path = request.path
    if path in {"/readyz", "/livez", "/healthz"}:
        return _health(api, path)
    if path == "/version":
        return web.json_response(_version(api.version))
    # Whether it lives, and which version it is, an API server tells without etcd; nothing else.
    await _quorum(api)
    if (found := document(path, api.resources())) is not None:
        return web.json_response(found)
    named = target(path, api.resources())
    if named is None:
        return web.Response(status=404, text="404 page not found\n")
    api.calls[f"kube {request.method} {named.resource.plural}"] += 1
    if not api.cluster.authorized():
        raise ApiError(
            403, "Forbidden", f'{named.resource.plural} is forbidden: User "kubernetes-admin" cannot do this'
        )
    return await _verb(api, request, named)


async def _quorum(api: Api) -> None:
    """Hang without etcd's quorum, as the real server does until its own limit (`failures.md` K05, C15)."""
    if not api.cluster.healthy():
        await api.sleep(_HANGS)
        raise ApiError(
            504, "Timeout", "Timeout: request did not complete within requested timeout - context deadline exceeded"
        )


def _authenticate(request: web.Request) -> None:
    """Ask for a client certificate; that it is the authority's was checked by TLS."""
    assert request.transport is not None
    tls: ssl.SSLObject | None = request.transport.get_extra_info("ssl_object")
    if tls is None or not tls.getpeercert():
        raise ApiError(401, "Unauthorized", "Unauthorized")


def _health(api: Api, path: str) -> web.Response:
    """Live while it answers, ready while it can serve."""
    if path == "/livez" or api.readyz() == 200:
        return web.Response(text="ok")
    return web.Response(status=500, text="[-]etcd failed: reason withheld\nreadyz check failed\n")


def _version(git: str) -> Object:
    major, minor, *_ = git.removeprefix("v").split(".")
    return {"major": major, "minor": minor, "gitVersion": git, "platform": "linux/amd64"}


async def _verb(api: Api, request: web.Request, named: Target) -> web.StreamResponse:
    gvk = GVK(named.resource.api_version, named.resource.kind)
    match request.method, bool(named.name), named.sub:
        case "GET", False, "" if request.query.get("watch") in {"1", "true", "True"}:
            return await _watch(api, request, gvk, named.namespace)
        case "GET", _, "":
            return _read(api, request, gvk, named)
        case "PATCH", True, "":
            return web.json_response(await _patch(api, request, gvk, named))
        case "DELETE", True, "":
            uid = _uid(await _body(request))
            gone = api.store.delete(gvk, named.name, namespace=named.namespace, uid=uid)
            return web.json_response(gone)
        case "POST", True, "eviction":
            options = (await _body(request)).get("deleteOptions") or {}
            return _evicted(api, named, _uid(options))
        case "PUT", True, "approval":
            return web.json_response(_approve(api, gvk, named.name, await _body(request)))
    raise ApiError(501, "NotImplemented", f"the lab does not implement {request.method} {request.path}")


@source("registry/core/pod/storage/eviction.go", "endpoints/handlers/create.go")
def _evicted(api: Api, named: Target, uid: str) -> web.Response:
    """Evict; that a pod has two budgets comes as a failure in the body of a 201, as from the real server."""
    try:
        api.store.evict(named.namespace, named.name, uid)
    except ApiError as error:
        if error.code != 500:
            raise
        return web.json_response(error.body, status=201)
    return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success"}, status=201)


def _read(api: Api, request: web.Request, gvk: GVK, named: Target) -> web.Response:
    query = request.query
    if named.name:
        found = api.store.get(gvk, named.name, named.namespace)
        items, metadata = [found], {"resourceVersion": found["metadata"]["resourceVersion"]}
    else:
        selectors = {"labels": query.get("labelSelector", ""), "fields": query.get("fieldSelector", "")}
        whole, revision = api.store.list(gvk, namespace=named.namespace, **selectors)
        items, metadata = page(api.store, gvk, whole, revision, query)
    if "as=Table" in request.headers.get("Accept", ""):
        return web.json_response(table(named.resource, items, metadata, api.store.objects.stamp()))
    if named.name:
        return web.json_response(items[0])
    listed = {"kind": f"{gvk.kind}List", "apiVersion": gvk.api_version, "metadata": metadata, "items": items}
    return web.json_response(listed)


async def _patch(api: Api, request: web.Request, gvk: GVK, named: Target) -> Object:
    query = request.query
    manager = query.get("fieldManager", MANAGER)
    match request.content_type:
        case t if t == _APPLY:
            obj = dict(yaml.safe_load(await request.text()))
            metadata = {**obj.get("metadata", {}), "name": named.name}
            obj["metadata"] = metadata | ({"namespace": named.namespace} if named.namespace else {})
            force, dry_run = query.get("force") == "true", query.get("dryRun") == "All"
            return api.store.apply(obj, manager=manager, force=force, dry_run=dry_run)
        case t if t == _MERGE:
            change = await _body(request)
            return api.store.patch(gvk, named.name, change, namespace=named.namespace, manager=manager)
    raise ApiError(501, "NotImplemented", f"the lab does not implement a patch of type {request.content_type}")


def _approve(api: Api, gvk: GVK, name: str, sent: Mapping[str, Any]) -> Object:
    conditions = (sent.get("status") or {}).get("conditions") or ()
    if any(condition.get("type") == "Approved" for condition in conditions):
        api.store.approve(name)
    return api.store.get(gvk, name)


async def _watch(api: Api, request: web.Request, gvk: GVK, namespace: str) -> web.StreamResponse:
    """Stream changes after `resourceVersion` (without one from now) until `timeoutSeconds` of lab time are over."""
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    stream.enable_chunked_encoding()
    await stream.prepare(request)
    timeout = float(request.query.get("timeoutSeconds", _WATCH))
    since, marked = request.query.get("resourceVersion", ""), request.query.get("allowWatchBookmarks") == "true"
    events = lines(api.store, gvk, namespace, since, sleep=api.sleep, timeout=timeout, marked=marked)
    async with aclosing(events) as changes:
        async for line in changes:
            await stream.write(line)
    await stream.write_eof()
    return stream


def _uid(options: Mapping[str, Any]) -> str:
    return str((options.get("preconditions") or {}).get("uid") or "")


async def _body(request: web.Request) -> Object:
    text = await request.text()
    return dict(json.loads(text)) if text else {}


def _with_details(api: Api, request: web.Request, error: ApiError) -> Object:
    """Name the object in `details`, as the real server does: a client tells by it what is missing."""
    named = target(request.path, api.resources())
    if named is None or not named.name:
        return error.body
    details = {"name": named.name, "kind": named.resource.plural, **error.body.get("details", {})}
    return {**error.body, "details": details}
