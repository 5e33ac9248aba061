"""proxmoxer's path API made asynchronous, over the transport port: one call, one exchange, typed errors.

Only GET is repeated here, for a lost connection alone; it must never repeat a write (`failures.md` rule 1).
What an error means is decided in `failures.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from proxmoxer.core import ProxmoxResource, ResourceException

from cpcd.adapters.answers import Lean, parse, words
from cpcd.ports.proxmox import Request, Response, Transport

__all__ = ["ROOT", "TRIES", "NotTheApiError", "Path", "Session"]

ROOT: Final = "/api2/json"
TRIES: Final = 3  # `failures.md` T01-T03, T08: only GET, three times
# What a VM uses at this moment: two thirds of each row of the list that is asked for every ten seconds.
_GAUGES: Final = frozenset({
    "cpu", "disk", "diskread", "diskwrite", "maxcpu", "maxdisk", "maxmem", "mem", "memhost", "netin", "netout", "uptime",
})  # fmt: skip
_LOST_ON_THE_WAY: Final = frozenset({595, 596, 599})  # between pveproxy and pvedaemon or another node


class NotTheApiError(Exception):
    """What answered does not speak the Proxmox API: HTML of a proxy in between, or truncated JSON (T10)."""


@dataclass(frozen=True, slots=True)
class Session:
    """What every path shares: the transport and where the token comes from."""

    transport: Transport
    token: Callable[[], str]

    async def exchange(self, method: str, path: str, params: Mapping[str, Any]) -> Response:
        """Send; repeat a GET at most twice when its connection or its inner hop was lost."""
        request = Request(method, path, {key: _plain(value) for key, value in params.items()}, self.token())
        for _ in range(TRIES - 1 if method == "GET" else 0):
            try:
                response = await self.transport.send(request)
            # Not a time-out, which has taken 40 s already, and not a refusal, which the transport has taken to every
            # address.
            except (ConnectionResetError, ConnectionAbortedError):
                continue
            if response.status not in _LOST_ON_THE_WAY:
                return response
        return await self.transport.send(request)


class Path(ProxmoxResource):  # type: ignore[misc]  # proxmoxer has no types
    """`await path.nodes("pve1").qemu(100).config.get()` returns what is under `data`.

    proxmoxer's own `__getattr__` and `__call__` build its class again, so both are here; `get`, `post`, `put` and
    `delete` are proxmoxer's.
    """

    def __getattr__(self, item: str) -> Any:
        if item.startswith("_"):
            raise AttributeError(item)
        return self(item)

    def __call__(self, resource_id: object = None) -> "Path":
        """Return the path extended by one segment, or by each of a tuple."""
        parts = resource_id if isinstance(resource_id, tuple) else (str(resource_id),)
        url = "/".join((self._store["base_url"], *map(str, parts)))
        return Path(base_url=url, session=self._store["session"])

    async def _request(
        self, method: str, data: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None
    ) -> Any:
        session: Session = self._store["session"]
        path = self._store["base_url"]
        response = await session.exchange(method, path, data or params or {})
        return decode(response, _quiet if path.endswith("/cluster/resources") else None)


def decode(response: Response, lean: Lean | None = None) -> Any:
    """Return `data` of an answer; raise ResourceException for the API's own errors, NotTheApiError for others'.

    Bodies of 401, 595 and 596 are empty: there the reason phrase is all there is (recorded(1), recorded(70)).
    """
    reply = _json(response.body, lean)
    if response.status >= 400 and not _foreign(response):
        errors = reply.get("errors")
        raise ResourceException(response.status, "", _said(response.reason, reply), errors=errors or None)
    if not 200 <= response.status <= 299 or "data" not in reply:
        kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
        raise NotTheApiError(f"{response.status} {words(response.reason)}, {words(kind)}, {len(response.body)} bytes")
    return reply["data"]


def _quiet(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _GAUGES}


def _plain(value: Any) -> Any:
    """Booleans are `1` and `0` on the wire, nothing else (`failures.md` section 1, recorded in pve-create)."""
    return int(value) if isinstance(value, bool) else value


def _json(body: bytes, lean: Lean | None) -> dict[str, Any]:
    try:
        reply = parse(body, lean)
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}


def _foreign(response: Response) -> bool:
    """Proxmox itself answers no HTML and knows no 502 to 504: a proxy in between does."""
    return response.status in {502, 503, 504} or response.body.lstrip()[:1] == b"<"


def _said(reason: str, reply: Mapping[str, Any]) -> str:
    """The error text: `message` is whole, the reason phrase its first line; either may be missing (T07)."""
    message = str(reply.get("message") or "").strip()
    # A phrase of the standard says no more than the number (HTTP/2 and some proxies drop what Proxmox said).
    standard = {status.phrase for status in HTTPStatus}
    return message or ("" if reason in standard else reason) or reason
