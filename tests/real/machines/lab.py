"""A Proxmox VE whose machines are real: the lab's API over HTTPS, QEMU behind it, on the real clock.

Nothing is modelled but Proxmox itself. Whoever uses it runs in the machines' network namespace. Next: `qemu.py`.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiohttp import web

from cpcd.lab.events import Events
from cpcd.lab.pve import Node, Pve, Settings, Storage
from cpcd.lab.servers import proxmox
from cpcd.lab.servers.clock import FastClock
from cpcd.lab.servers.https import Authority, server_context
from tests.real.cache import say
from tests.real.machines.image import GIB, Image
from tests.real.machines.network import NETWORK
from tests.real.machines.qemu import Machines

__all__ = ["NODE", "TEMPLATE", "Lab"]

NODE: Final = "pve1"
TEMPLATE: Final = 9000
_TICK_S: Final = 0.05
_LINGER_S: Final = 0.05  # for open requests at a close; 0 would mean for ever to aiohttp


class Lab:
    """One node with a template of each image, from VMID `TEMPLATE` on; `running()` lets it answer at `url`."""

    def __init__(self, place: Path, *images: Image) -> None:
        self.url = f"https://{NETWORK}.1:8006"
        self.machines = Machines(place, dict(enumerate(images, TEMPLATE)), say)
        self._clock = FastClock(1)
        self._events = Events(self._clock.now)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        node = Node(NODE, f"{NETWORK}.1", cpus=os.cpu_count() or 1, memory=memory)
        storages = (Storage("local", content=("images", "import", "iso")), Storage("local-lvm", plugin="lvmthin"))
        settings = replace(Settings(), nodes=(node,), storages=storages, epoch=self._clock.epoch, name="")
        self.pve = Pve(self._events, self.machines, settings, random.Random())
        for vmid in range(TEMPLATE, TEMPLATE + len(images)):
            self.pve.add_template(vmid, NODE, "debian", disk=str(GIB))
        self.token = "{0.id}={0.secret}".format(settings.tokens[-1])
        self._certificate = Authority("cpcd lab").server([f"{NETWORK}.1"])
        self.fingerprint = self._certificate.fingerprint

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Lab"]:
        """Answer until the end of the block; every machine is ended then."""
        async with AsyncExitStack() as stack:
            stack.callback(self.machines.close)
            served = proxmox.application(self.pve, self._clock.sleep)
            runner = web.AppRunner(served, access_log=None, handler_cancellation=True, shutdown_timeout=_LINGER_S)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.TCPSite(runner, f"{NETWORK}.1", 8006, ssl_context=server_context(self._certificate)).start()
            ticker = asyncio.create_task(self._tick())
            ticker.add_done_callback(_stopped)
            stack.callback(ticker.cancel)
            yield self

    async def _tick(self) -> None:
        while True:
            self._events.settle()
            self.machines.look(self.pve.powered_off)
            await asyncio.sleep(_TICK_S)


def _stopped(ticker: asyncio.Task[None]) -> None:
    """Say why nothing happens any more in the lab, at once: whoever waits for it would only see that it takes long."""
    if not ticker.cancelled():
        say(f"the lab has stopped: {ticker.exception()!r}")
