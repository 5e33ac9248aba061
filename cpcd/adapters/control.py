"""The control socket: `ports.control` as JSON over HTTP on a unix socket that root and one group may use.

It must never be reachable before its mode and group are set, and never answer on a network. The client is
`cpcd/cli/client.py`; who may do what is the file system's word alone.
"""

import errno
import grp
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from cpcd.model.errors import Code, Failure
from cpcd.ports.control import Control

__all__ = ["ControlServer"]

MODE: Final = 0o660
BACKLOG: Final = 128  # who may wait to be answered while the daemon starts; asyncio's own number is 100
BODY_LIMIT: Final = 64 * 1024  # bytes; a request holds one name
EVENT_LIMIT: Final = 10_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlServer:
    """Serve a `Control` on `path`; `group` names who may use it besides root, "" keeps the process's own group."""

    def __init__(self, control: Control, path: Path, *, group: str = "") -> None:
        self._control = control
        self._path = path
        self._group = group
        self._runner: web.AppRunner | None = None
        self._socket: socket.socket | None = None
        self._bound: tuple[int, int] | None = None

    def claim(self) -> None:
        """Listen: nobody else can from now on, and whoever connects waits for `start`.

        A socket that a killed daemon left is replaced; nothing else that lies there is. Raises
        Failure(DependencyMissing) when another daemon answers there, when it is no socket, when the directory or group
        is missing or the path cannot be bound.
        """
        try:
            self._socket = self._bind()
        except (OSError, KeyError) as error:
            raise Failure(
                Code.DEPENDENCY,
                f"the control socket cannot be opened: {error}",
                target=str(self._path),
                hint="Check that its directory and the group exist (`systemd-sysusers`, `systemd-tmpfiles --create`).",
            ) from error

    async def start(self) -> None:
        """Answer; claims the socket first where that was not done, and raises what `claim` raises."""
        if self._socket is None:
            self.claim()
        assert self._socket is not None
        # Signals are the daemon's own business.
        self._runner = web.AppRunner(self._application(), access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def close(self) -> None:
        """Stop serving and remove the socket, if it is still ours; a second call does nothing."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._unlink()

    def _bind(self) -> socket.socket:
        """Bind, set mode and group, and only then listen: nobody connects in between."""
        _make_room(self._path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(str(self._path))
            self._bound = _inode(self._path)
            self._path.chmod(MODE)
            if self._group:
                os.chown(self._path, -1, grp.getgrnam(self._group).gr_gid)
            bound.listen(BACKLOG)
        except BaseException:
            bound.close()
            self._unlink()
            raise
        return bound

    def _unlink(self) -> None:
        if self._bound is not None and self._bound == _inode(self._path):
            self._path.unlink(missing_ok=True)
        self._bound = None

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_as_failures], client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.get("/status", self._status),
                web.get("/plan", self._plan),
                web.get("/events", self._events),
                web.get("/kubeconfig", self._kubeconfig),
                web.get("/check", self._check),
                web.get("/doctor", self._doctor),
                web.post("/approve", self._posted("id", self._control.approve)),
                web.post("/pause", self._posted("cluster", self._control.pause)),
                web.post("/resume", self._posted("cluster", self._control.resume)),
                web.post("/reconcile", self._posted("key", self._control.reconcile)),
            ]
        )
        return app

    async def _status(self, _request: web.Request) -> web.Response:
        return web.Response(body=_piecemeal(await self._control.status()), content_type="application/json")

    async def _plan(self, _request: web.Request) -> web.Response:
        return web.json_response(await self._control.plan())

    async def _events(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", "100")
        # More than `isdecimal`, which takes the digits of every script, as `int` does.
        if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit) <= EVENT_LIMIT:
            raise Failure(Code.INPUT, f"limit must be 1 to {EVENT_LIMIT}, not {limit[:20]!r}")
        return web.json_response(await self._control.events(request.query.get("key", ""), int(limit)))

    async def _kubeconfig(self, request: web.Request) -> web.Response:
        return web.json_response({"kubeconfig": await self._control.kubeconfig(request.query.get("cluster", ""))})

    async def _check(self, request: web.Request) -> web.Response:
        return web.json_response(await self._control.check(request.query.get("place", "")))

    async def _doctor(self, _request: web.Request) -> web.Response:
        return web.json_response(await self._control.doctor())

    @staticmethod
    def _posted(name: str, verb: Callable[[str], Awaitable[dict[str, Any]]]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            return web.json_response(await verb(await _argument(request, name)))

        return handler


def _piecemeal(document: Mapping[str, Any]) -> bytes:
    """Encode a document, of its lists one entry after the other.

    An encoder keeps each word until all are written: with a thousand machines several times the text.
    """

    def text(value: Any) -> str:
        return f"[{', '.join(map(json.dumps, value))}]" if isinstance(value, list) else json.dumps(value)

    return f"{{{', '.join(f'{json.dumps(name)}: {text(value)}' for name, value in document.items())}}}".encode()


def _make_room(path: Path) -> None:
    """Remove the socket of a daemon that is no more: one at which a connection is refused.

    The lock of the state directory does not say that: a daemon with another one may live and listen here.
    """
    try:
        kind = path.lstat().st_mode  # not where a link leads: the link itself would have to go
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        hint = "Name another path with `socket` in cpcd.toml or --socket, or move away what lies there."
        raise Failure(Code.DEPENDENCY, "that is no socket, and is left as it is", target=str(path), hint=hint)
    match _knock(path):
        case errno.ECONNREFUSED:
            path.unlink(missing_ok=True)
        case 0 | errno.EAGAIN:  # EAGAIN: so many wait there that no more are let in
            hint = "Stop it, or give this one a socket of its own with `socket` in cpcd.toml or --socket."
            raise Failure(Code.DEPENDENCY, "another daemon answers there", target=str(path), hint=hint)
        case other:
            raise OSError(other, os.strerror(other))


def _knock(path: Path) -> int:
    """Return the error number of a connection that is tried without waiting, 0 for one that is made."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.setblocking(False)
        return door.connect_ex(str(path))


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def _argument(request: web.Request, name: str) -> str:
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Failure(Code.INPUT, f"the request's body is not JSON: {error}") from error
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise Failure(Code.INPUT, f"the request needs a text named {name!r}")
    return value


@web.middleware
async def _as_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure as `{code, what, target, hint}`; 400 is the caller's mistake, 500 ours."""
    try:
        return await handler(request)
    except Failure as failure:
        return _refused(failure, 400 if failure.code is Code.INPUT else 500)
    except web.HTTPException as error:
        return _refused(Failure(Code.INPUT, f"{request.method} {request.path}: {error.reason}"), error.status)
    except Exception as error:  # noqa: BLE001 - the commands' door must answer whatever is broken behind it
        return _refused(Failure(Code.UNKNOWN, f"{type(error).__name__} while answering {request.path}"), 500)


def _refused(failure: Failure, status: int) -> web.Response:
    told = {"code": int(failure.code), "what": failure.what, "target": failure.target, "hint": failure.hint}
    return web.json_response(told, status=status)
