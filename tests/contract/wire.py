"""A bad line to an API server: it passes bytes on as they are, TLS included, slowly, not at all, or cut off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

PIECE = 2048  # bytes that pass at once


class Wire:
    """Listens beside an API server; what is set holds from the next piece on.

    `slow` is how many seconds each piece of an answer takes; while `open` is cleared none comes. `asks` is awaited with
    the number of each piece that a client sends, before it passes.
    """

    def __init__(self, place: tuple[str, int]) -> None:
        self.place = place
        self.slow = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self.asks: Callable[[int], Awaitable[None]] = self._nothing
        self._asked = 0
        self._clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def server(self) -> str:
        """Its URL, for a client of the API."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"https://{host}:{port}"

    async def start(self) -> None:
        """Listen, at the API server's own address, which its certificate is for."""
        self._server = await asyncio.start_server(self._serve, self.place[0], 0)

    def cut(self) -> None:
        """End every connection in the middle of whatever passes."""
        for client in self._clients:
            client.transport.abort()

    def refuse(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        there, here = await asyncio.open_connection(*self.place)
        with suppress(OSError):
            passing = (self._asking(reader, here), self._answering(there, writer))
            _, rest = await asyncio.wait(map(asyncio.ensure_future, passing), return_when=asyncio.FIRST_COMPLETED)
            for one in rest:
                one.cancel()
        self._clients.discard(writer)
        here.close()
        writer.close()

    async def _asking(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(2**16):
            self._asked += 1
            await self.asks(self._asked)
            writer.write(piece)
            await writer.drain()

    async def _answering(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            await asyncio.sleep(self.slow)
            await self.open.wait()
            writer.write(piece)
            await writer.drain()

    async def _nothing(self, _: int) -> None:
        """Let it pass."""


@asynccontextmanager
async def wire(place: tuple[str, int]) -> AsyncIterator[Wire]:
    """Return a line to what listens at a place, until the end of the block."""
    made = Wire(place)
    await made.start()
    yield made
    made.refuse()
