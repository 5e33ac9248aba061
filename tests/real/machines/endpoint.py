"""The control plane's endpoint, as a load balancer before it: a connection goes to the first machine that is ready.

kube-vip's image is not among what can be built, so that this tier has an endpoint of the kind `external`. It asks for
`/readyz` as kubeadm's guide to such ones does, and three times before it believes a no. It takes connections also while
no machine does, as load balancers do, and ends them then.
"""

import asyncio
import ssl
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

__all__ = ["endpoint"]

_CONNECT_S: Final = 3.0
_EVERY_S: Final = 5.0
_ANSWER_S: Final = 10.0
_BELIEVED: Final = 3
_CHUNK: Final = 64 * 1024


@asynccontextmanager
async def endpoint(address: str, port: int, machines: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """Take connections until the end of the block; `machines` says whom to ask, each time anew."""
    open_: set[asyncio.Task[None]] = set()
    transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
    refused: Counter[str] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        open_.add(task)
        task.add_done_callback(open_.discard)
        with suppress(asyncio.CancelledError):  # the block is over, which is no failure of a connection
            transports.add(writer.transport)
            first = sorted(machines(), key=lambda each: refused[each] >= _BELIEVED)
            await _serve(reader, writer, first, port, transports)
        writer.close()

    server = await asyncio.start_server(serve, address, port)
    asking = asyncio.create_task(_ask(machines, port, refused))
    try:
        yield
    finally:
        server.close()
        for task in (ended := (asking, *open_)):
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        for transport in transports:
            transport.abort()  # else one whose machine is gone waits for ever to be rid of its last words
        await asyncio.sleep(0)  # in which they are closed


async def _ask(machines: Callable[[], Iterable[str]], port: int, refused: Counter[str]) -> None:
    """Count how often in a row each has not been ready; one alone is not asked, since there is no choice."""
    while True:
        asked = list(machines())
        if len(asked) > 1:
            for machine, ready in zip(
                asked, await asyncio.gather(*(_ready(each, port) for each in asked)), strict=True
            ):
                refused[machine] = 0 if ready else refused[machine] + 1
        await asyncio.sleep(_EVERY_S)


async def _ready(machine: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError, ssl.SSLError):
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(machine, port, ssl=context)
            try:
                writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.transport.abort()  # who does not answer does not say goodbye either
    return False


async def _serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    machines: Iterable[str],
    port: int,
    transports: weakref.WeakSet[asyncio.WriteTransport],
) -> None:
    for machine in machines:
        with suppress(OSError):  # a TimeoutError is one
            async with asyncio.timeout(_CONNECT_S):
                theirs, ours = await asyncio.open_connection(machine, port)
            transports.add(ours.transport)
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
