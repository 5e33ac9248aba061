"""The lab over real sockets, in a process of its own: START HERE.

One world on a fast clock; Proxmox over HTTPS, machines over SSH, Kubernetes over HTTPS, a control endpoint; all on
loopback. A ticker settles what became due and lets listeners follow the world. Next: `listeners.py`, `control.py`.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from cpcd.lab.guests import Durations
from cpcd.lab.servers import control, proxmox
from cpcd.lab.servers.clock import FastClock
from cpcd.lab.servers.https import Authority, server_context
from cpcd.lab.servers.listeners import Listeners
from cpcd.lab.servers.settings import LabSettings
from cpcd.lab.world import World

__all__ = ["Lab", "serve"]

_TICK: Final = 0.05  # real seconds: the longest time for a listener to follow its machine
_LEAST: Final = 0.002
_LINGER: Final = 0.05  # seconds for open requests at a close; 0 would mean for ever to aiohttp


class Lab:
    """A lab whose world runs; `running()` opens its sockets."""

    def __init__(self, settings: LabSettings) -> None:
        self.settings = settings
        self.clock = FastClock(settings.rate)
        installation = replace(settings.pve, epoch=self.clock.epoch)
        self.world = World(now=self.clock.now, seed=settings.seed, settings=installation, durations=Durations())
        for each in settings.templates:
            self.world.pve.add_template(
                each.vmid,
                each.node,
                each.name,
                each.tags,
                disk=each.disk,
                storage=each.storage,
                memory=each.memory,
                cores=each.cores,
            )
        self.calls: Counter[str] = Counter()
        self.authority = Authority("cpcd lab")
        self.certificate = self.authority.server([settings.address, "localhost"])
        self.listeners = Listeners(self.world, self.clock, settings.ssh_port, self.calls, api_port=settings.api_port)
        self.proxmox_port = settings.proxmox_port
        self.control_port = settings.control_port
        self._ticker: asyncio.Task[None] | None = None

    def about(self) -> Mapping[str, Any]:
        """Return what a client needs: URLs, trust, a token, and the clock (`epoch + time` is the lab's wall clock)."""
        token = self.settings.pve.tokens[-1]
        return {
            "rate": self.clock.rate,
            "time": self.clock.now(),
            "epoch": self.clock.epoch,
            "proxmox": f"https://{self.settings.address}:{self.proxmox_port}",
            "control": f"http://{self.settings.address}:{self.control_port}",
            "fingerprint": self.certificate.fingerprint,
            "ca": self.authority.pem,
            "token": f"{token.id}={token.secret}",
            "nodes": [node.name for node in self.settings.pve.nodes],
            "sshPort": self.settings.ssh_port,
            "addresses": {str(vmid): guest.address for vmid, guest in sorted(self.world.guests.items())},
            "troubles": dict(self.listeners.troubles),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Lab"]:
        """Serve until the block ends; every socket and task is closed then. Raises OSError for a port in use."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.listeners.close)
            served = proxmox.application(self.world.pve, self.clock.sleep)
            tls = server_context(self.certificate)
            self.proxmox_port = await self._site(stack, served, self.proxmox_port, tls)
            hands = control.application(self.world, self.about, self.calls)
            self.control_port = await self._site(stack, hands, self.control_port, None)
            self._ticker = asyncio.create_task(self._tick(), name="lab ticker")
            stack.push_async_callback(_ended, self._ticker)
            yield self

    async def ended(self) -> None:
        """Wait for what must not happen: the world has stopped; its error is raised."""
        assert self._ticker is not None, "the lab is not running"
        await self._ticker

    async def _site(self, stack: AsyncExitStack, served: web.Application, port: int, tls: ssl.SSLContext | None) -> int:
        runner = web.AppRunner(
            served, access_log=None, handler_cancellation=True, shutdown_timeout=_LINGER, keepalive_timeout=proxmox.IDLE
        )
        # Before it is set up, so that a port in use leaves nothing open.
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, self.settings.address, port, ssl_context=tls).start()
        bound: int = runner.addresses[0][1]
        return bound

    async def _tick(self) -> None:
        while True:
            self.world.events.settle()
            await self.listeners.follow()
            due = self.world.events.next_due()
            # In real seconds; at a high rate what is next may be due already, and then others get a turn all the same.
            wait = _TICK if due is None else (due - self.clock.now()) / self.clock.rate
            await asyncio.sleep(min(_TICK, max(_LEAST, wait)))


async def serve(settings: LabSettings, started: Callable[[Mapping[str, Any]], None] = lambda _: None) -> None:
    """Run a lab until cancelled; `started` gets `Lab.about()` once every port is open."""
    async with Lab(settings).running() as lab:
        started(lab.about())
        await lab.ended()


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel the ticker; an error that ended it before is raised here."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
