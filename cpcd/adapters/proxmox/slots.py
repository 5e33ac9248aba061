"""At most so many calls of a Proxmox node at once: three workers serve it, and a blocked one must not take the others.

It wraps any transport, so that the simulated daemon keeps the same limits as the real one (`failures.md` T11).
"""

import asyncio
import re
from typing import Final

from cpcd.ports.proxmox import Request, Response, Transport

__all__ = ["READS", "WRITES", "Slots"]

READS: Final = 3  # three workers serve a node; more readers only queue (measured in `pve`)
WRITES: Final = 2  # protected calls a node, so that a worker is left to read (`failures.md` T11)

_NODE: Final = re.compile(r"/nodes/([^/]+)")


class Slots:
    """`ports.proxmox.Transport` in front of another: a call waits here until its node has a slot for it.

    Calls without a node in their path share slots of their own. Waiters are served in the order in which they came.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._slots: dict[tuple[str, bool], asyncio.Semaphore] = {}

    async def send(self, request: Request) -> Response:
        """See the port: sent once, when there is a slot."""
        node, read = _NODE.search(request.path), request.method == "GET"
        key = (node[1] if node else "", read)
        if key not in self._slots:
            self._slots[key] = asyncio.Semaphore(READS if read else WRITES)
        async with self._slots[key]:
            return await self._inner.send(request)

    async def close(self) -> None:
        """See the port."""
        await self._inner.close()
