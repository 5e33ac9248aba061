"""The modelled Proxmox VE behind HTTP: some lines of aiohttp around `Pve.handle`, with Proxmox's wire manners.

It decides nothing: texts, refusals and seconds come from `lab/pve`. It never waits by the real clock; `sleep` takes
lab seconds. Next: `serve.py`, which runs it beside machines and clusters.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from cpcd.lab.pve import SECONDS, Pve, Silent
from cpcd.ports.proxmox import Request

__all__ = ["IDLE", "application"]

IDLE: Final = 5.0  # pveproxy closes an idle connection so soon, in real seconds (`failures.md` section 0)
_BODY: Final = 512 * 1024  # pveproxy refuses more with 501 (recorded in http)
_SCHEME: Final = "PVEAPIToken"

Sleep = Callable[[float], Coroutine[Any, Any, None]]


def application(pve: Pve, sleep: Sleep) -> web.Application:
    """Return an application that passes every request to `pve`; run it with handler cancellation on."""

    async def handle(request: web.Request) -> web.Response:
        if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
            return _closing(web.Response(status=501, reason="chunked transfer encoding not supported"))
        asked = Request(request.method, request.path, await _params(request), _token(request.headers))
        try:
            answer = pve.handle(asked)
        except Silent:
            await asyncio.Event().wait()  # accepted and never answered, until the client goes
        headers = dict(answer.headers)
        await sleep(float(headers.pop(SECONDS, 0)))
        closes = headers.pop("Connection") == "close"
        reply = web.Response(status=answer.status, reason=answer.reason, body=answer.body, headers=headers)
        return _closing(reply) if closes else reply

    served = web.Application(client_max_size=_BODY)
    served.router.add_route("*", "/{path:.*}", handle)
    return served


async def _params(request: web.Request) -> dict[str, Any]:
    """Return query and body together; Proxmox takes forms and JSON."""
    params = _flat(request.query)
    if request.content_type == "application/json" and request.can_read_body:
        return params | dict(json.loads(await request.text()))
    return params | _flat(await request.post())


def _flat(pairs: MultiMapping[Any]) -> dict[str, Any]:
    """Return a repeated parameter as a list."""
    values = {key: pairs.getall(key) for key in pairs}
    return {key: found[0] if len(found) == 1 else found for key, found in values.items()}


def _token(headers: Mapping[str, str]) -> str:
    """Return `user@realm!id=secret`; `=` and a blank both follow the scheme (recorded in token-auth)."""
    value = headers.get("Authorization", "")
    return value[len(_SCHEME) + 1 :] if value.startswith((f"{_SCHEME}=", f"{_SCHEME} ")) else ""


def _closing(reply: web.Response) -> web.Response:
    """Proxmox closes the connection after every error (`failures.md` section 0)."""
    reply.force_close()
    return reply
