"""Faults on the way to Proxmox, and of the tasks that a call begins. Next: `mechanisms.py` for what each means."""

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cpcd.lab.faults import mechanisms as does
from cpcd.lab.faults.injector import Armed
from cpcd.lab.provenance import source
from cpcd.lab.pve import Pve
from cpcd.lab.pve.errors import failed
from cpcd.lab.pve.tasks import Worker
from cpcd.ports.proxmox import Request, Response, Transport

__all__ = ["FaultyTransport", "altered"]

PREFIX: Final = "/api2/json"
VM: Final = re.compile(r"/nodes/(?P<node>[^/]+)(?:/qemu/(?P<vmid>\d+))?")


class FaultyTransport:
    """`ports.proxmox.Transport` with faults."""

    def __init__(self, faults: Armed, inner: Transport) -> None:
        self._faults, self._inner = faults, inner

    async def send(self, request: Request) -> Response:
        """Send once, if it gets that far."""
        path = request.path.removeprefix(PREFIX)
        mechanism = self._faults.due("proxmox", f"{request.method} {path}")
        match mechanism:
            case does.DropBefore() | does.DropAfter():
                return await self._dropped(mechanism, request)
            case does.Answer():
                return await self._answered(mechanism, request)
            case does.Refuse(words=words):
                raise ssl.SSLCertVerificationError(words)
            case does.Stale() if path in self._faults.told:
                return self._faults.told[path]
            case does.Delay(seconds):
                await self._faults.sleep(seconds)
            case _:
                self._befall(mechanism, path)
        return self._told(mechanism, await self._inner.send(request), request)

    async def close(self) -> None:
        """Close what is inside."""
        await self._inner.close()

    async def _dropped(self, mechanism: does.DropBefore | does.DropAfter, request: Request) -> Response:
        if isinstance(mechanism, does.DropAfter):
            await self._inner.send(request)
        await self._faults.sleep(mechanism.timeout)
        raise TimeoutError("the read timed out") if mechanism.timeout else ConnectionResetError("connection reset")

    def _told(self, mechanism: does.Mechanism | None, response: Response, request: Request) -> Response:
        """Return what the caller hears of what has happened."""
        match mechanism:
            case does.Exit() | does.KillWorker() | does.Lie():
                return self._tasked(mechanism, response, request)
            case does.Partial() | does.Alter():
                return _changed(mechanism, response)
            case does.Stale():
                self._faults.told[request.path.removeprefix(PREFIX)] = response
        return response

    def _befall(self, mechanism: does.Mechanism | None, path: str) -> None:
        found = VM.match(path)
        node, vmid = (found["node"], int(found["vmid"] or 0)) if found else ("", 0)
        if mechanism is not None:
            self._faults.befall(mechanism, node=node, vmid=vmid)

    async def _answered(self, answer: does.Answer, request: Request) -> Response:
        if answer.effect:
            await self._inner.send(request)
        await self._faults.sleep(answer.seconds)
        if answer.html:
            return Response(answer.status, answer.reason, answer.html.encode(), {"Content-Type": "text/html"})
        if answer.status in {595, 596, 599}:
            return Response(answer.status, answer.reason, b"", {})
        message = {"message": answer.reason} if answer.status >= 400 else {}
        body = {"data": answer.data, **message, **({"errors": dict(answer.errors)} if answer.errors else {})}
        return Response(answer.status, answer.reason, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _tasked(self, mechanism: does.Mechanism, response: Response, request: Request) -> Response:
        """Take the task that was begun into hand before its worker's first step; a refused call began none."""
        tasks = self._faults.world.pve.cluster.tasks.tasks
        task = tasks.get(str(json.loads(response.body or b"{}").get("data")))
        if task is None:
            return response
        pve, events = self._faults.world.pve, self._faults.world.events
        match mechanism:
            case does.Exit(text, effect):
                task.worker = _ending(task.worker, text) if effect else _failing(text)
            case does.KillWorker(after):
                events.at(after, lambda: pve.kill_worker(task.upid))
            case does.Lie(later):
                task.worker = _idle()
                if later is not None:
                    events.at(later, lambda: _done(pve, request))
        return response


def _done(pve: Pve, request: Request) -> None:
    pve.handle(request)


@source("P09", "P17", "P28")
def _ending(worker: Worker | None, text: str) -> Worker:
    """Do everything, and end with this text."""
    assert worker is not None, "a task that has just begun has a worker"
    yield from worker
    raise failed(text)


@source("P14", "P16", "P27", "P36")
def _failing(text: str) -> Worker:
    """Do nothing, and end with this text."""
    raise failed(text)
    yield  # a generator


@source("P10")
def _idle() -> Worker:
    """Do nothing, and end with OK."""
    yield from ()


def _changed(mechanism: does.Partial | does.Alter, response: Response) -> Response:
    """Return the answer without some entries, or with other fields."""
    if response.status != 200:
        return response
    reply = json.loads(response.body)
    match mechanism:
        case does.Partial(without):
            reply["data"] = [one for one in reply["data"] if not re.search(without, json.dumps(one))]
        case does.Alter(fields):
            reply["data"] = altered(reply["data"], fields)
    return replace(response, body=json.dumps(reply).encode())


def altered(given: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with other values; None takes a key away."""
    return {name: value for name, value in {**given, **fields}.items() if value is not None}
