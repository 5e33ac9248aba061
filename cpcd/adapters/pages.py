"""The read-only pages for machines: `/metrics`, `/healthz` and `/readyz` over plain HTTP, local by default.

A page must never change anything and never be the reason that the daemon stops: a port in use is a failure that the
caller reports and lives with (`failures.md` D15). What is on the pages comes in as functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from cpcd.model.errors import Code, Failure

__all__ = ["Pages", "PagesServer"]

_EXPOSITION: Final = {"Content-Type": "text/plain; version=1.0.0; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Pages:
    """What is shown: the exposition, and why the daemon is not live or not ready ("" when it is)."""

    metrics: Callable[[], bytes]
    unhealthy: Callable[[], str]
    unready: Callable[[], str]


class PagesServer:
    """Serve the pages on one address, an IPv6 one with or without brackets; `port` 0 takes a free one."""

    def __init__(self, pages: Pages, host: str, port: int) -> None:
        self._pages = pages
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen and return the port; raises Failure(DependencyMissing) when the address cannot be had."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host.strip("[]"), self._port).start()
        except OSError as error:
            await self.close()
            raise Failure(
                Code.DEPENDENCY,
                f"metrics and health pages are off: {error.strerror or error}",
                target=f"{self._host}:{self._port}",
                hint="Free the address or set another one in cpcd.toml; everything else goes on.",
            ) from error
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop serving; a second call does nothing."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._pages.metrics(), headers=_EXPOSITION)

    async def _health(self, _request: web.Request) -> web.Response:
        return _verdict(self._pages.unhealthy())

    async def _ready(self, _request: web.Request) -> web.Response:
        return _verdict(self._pages.unready())


def _verdict(problem: str) -> web.Response:
    return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)
