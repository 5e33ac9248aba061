"""The control plane's endpoint, as a load balancer before it: a connection goes to the first machine that takes it.

kube-vip's image is not among what can be built, so that this tier has an endpoint of the kind `external`. It takes
connections also while no machine does, as load balancers do, and ends them then.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

__all__ = ["endpoint"]

_CONNECT_S: Final = 3.0
_CHUNK: Final = 64 * 1024


@asynccontextmanager
async def endpoint(address: str, port: int, machines: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Take connections until the end of the block; `machines` says whom to ask, each time anew."""
    open_: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        open_.add(task)
        task.add_done_callback(open_.discard)
        with suppress(asyncio.CancelledError):  # the block is over, which is no failure of a connection
            await _serve(reader, writer, machines(), port)
        writer.close()

    server = await asyncio.start_server(serve, address, port)
    try:
        yield
    finally:
        server.close()
        for task in open_:
            task.cancel()


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, machines: Iterable[str], port: int
) -> None:
    for machine in machines:
        with suppress(OSError):  # a TimeoutError is one
            async with asyncio.timeout(_CONNECT_S):
                theirs, ours = await asyncio.open_connection(machine, port)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass(reader, ours))
                both.create_task(_pass(theirs, writer))
            return


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction until its end, which is then the other side's."""
    try:
        while said := await reader.read(_CHUNK):
            writer.write(said)
            await writer.drain()
    except OSError:
        pass  # either side is gone, and the other is told so
    finally:
        writer.close()
