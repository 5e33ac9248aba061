"""One request in, one response out: the steps that every call takes, in Proxmox's order.

Token, path, privileges, the node's reachability, parameters, handler; so a 401 comes before a 501, and a 403 before a
400. It sleeps never: seconds that a real answer took are in the header `X-Lab-Seconds`. Next: `routes.py`.
"""

import json
from typing import Any

from cpcd.lab.provenance import recorded, source
from cpcd.lab.pve.auth import authenticate, permitted
from cpcd.lab.pve.call import Call, Reply
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import Refused, invalid
from cpcd.lab.pve.routes import Route, match
from cpcd.lab.pve.schema import text_of, validate
from cpcd.lab.pve.settings import Token
from cpcd.ports.proxmox import Request, Response

__all__ = ["PREFIX", "SECONDS", "answer"]

SECONDS = "X-Lab-Seconds"
PREFIX = "/api2/json"
METHODS = frozenset(("GET", "POST", "PUT", "DELETE"))


@recorded(1, 16, 210, 396, 1173)
def answer(cluster: Cluster, request: Request) -> Response:
    """Answer one request against the state as it is now."""
    try:
        reply = _call(cluster, request)
    except Refused as refused:
        return _refusal(refused)
    extra = {name: value for name, value in reply.extra.items() if value}  # a sum of nothing is left out (recorded 910)
    return _response(200, "OK", {"data": reply.data, **extra}, reply.seconds)


@recorded(1, 3, 8, 16, 70, 210)
def _response(status: int, reason: str, body: dict[str, Any] | None, seconds: float) -> Response:
    headers = {"Cache-Control": "max-age=0", "Pragma": "no-cache", "Server": "pve-api-daemon/3.0"}
    headers["Connection"] = "close" if status >= 400 else "Keep-Alive"
    if body is not None:
        headers["Content-Type"] = "application/json;charset=UTF-8"
    if seconds:
        headers[SECONDS] = f"{seconds:.3f}"
    return Response(status, reason, b"" if body is None else json.dumps(body).encode(), headers)


@recorded(16, 44, 70, 210, 396, 1181)
def _refusal(refused: Refused) -> Response:
    """Put the text into the reason phrase (its first line) and into the body, except where Proxmox sends none."""
    if not refused.body:
        return _response(refused.status, refused.text, None, refused.seconds)
    newline = "" if refused.status == 501 else "\n"
    body: dict[str, Any] = {"data": None, "message": refused.text + newline}
    if refused.errors is not None:
        body["errors"] = dict(refused.errors)
    return _response(refused.status, refused.text.partition("\n")[0], body, refused.seconds)


def _call(cluster: Cluster, request: Request) -> Reply:
    """Take a call through Proxmox's steps: users, token, path, privileges, node, daemon, parameters, the handler."""
    _mounted(cluster)
    route, path, token = _found(cluster, request)
    cluster.calls[route.call] += 1
    raw = _with_path({name: text_of(value) for name, value in request.params.items() if value is not None}, path)
    permitted(cluster, token, route.permissions, raw)
    if "node" in path:
        path["node"] = cluster.host(path["node"]).node.name
    if route.protected and "pvedaemon" in cluster.stopped:
        raise Refused(595, "Connection refused", body=False)
    params = validate({**request.params, **path}, route.call)
    data = route.handler(cluster, Call(token, path, raw, params))
    return data if isinstance(data, Reply) else Reply(data)


@recorded(16, 17, 18, 19, 20, 521)
def _found(cluster: Cluster, request: Request) -> tuple[Route, dict[str, str], Token]:
    """Return the route, its path's components and who asks; who has no valid token learns nothing about paths."""
    if request.method not in METHODS:
        raise Refused(501, f"method '{request.method}' not available", body=False)
    path = request.path.removeprefix(PREFIX)
    found = match(request.method, path)
    if found and found[0].open:
        return *found, cluster.settings.tokens[0]
    token = authenticate(cluster, request.token)
    if found is None:
        raise Refused(501, f"Method '{request.method} {path}' not implemented")
    return *found, token


@recorded(1200, 1201, 1202)
def _mounted(cluster: Cluster) -> None:
    """Refuse everything while pmxcfs is stopped: who may what is not known then. At first it is sought for a while."""
    since = cluster.stopped.get("pve-cluster")
    if since is not None:
        text = "RPCEnvironment init request failed: Unable to load access control list: Connection refused"
        seeking = max(0.0, since + cluster.durations.seeking - cluster.events.now)
        raise Refused(500, text, seconds=seeking + cluster.durations.denial, body=False)


@source("pve/README.md Errors and HTTP", "HTTPServer.pm rest_handler")
def _with_path(raw: dict[str, str], path: dict[str, str]) -> dict[str, str]:
    """Join path components and parameters; a parameter may repeat a component, but not contradict it."""
    clash = [name for name in sorted(path) if raw.get(name, path[name]) != path[name]]
    if clash:
        text = "duplicate parameter (already defined in URI) with conflicting values!"
        raise invalid({clash[0]: text})
    return raw | path
