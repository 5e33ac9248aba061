"""Ways between daemon and lab that break: TCP proxies before Proxmox, every machine's sshd and the Kubernetes API.

They see ciphertext only: what they do to it is what a bad network does. Dice deal one fault to some connections while
`rough` is set; an observer sees every piece before it goes on, and may kill the daemon then. Next: `moments.py`.
"""

import asyncio
import contextlib
import math
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Fault", "Towards", "Ways"]

PIECE = 65_536
SHARE = 0.6  # of the connections that get a fault while the ways are rough
SHORTEST, LONGEST = 300, 15_000  # bytes after which a fault strikes: from within a handshake to many requests later
WAIT = (0.05, 3.0)  # seconds that a delay takes: below and above every time-out of a client at the lab's rate
SILENCE = 20.0  # seconds after which a silent connection is closed at last
SWALLOW = 0.3  # seconds to wait for an answer that is then lost
RESET = struct.pack("ii", 1, 0)


class Towards(StrEnum):
    """Which way bytes go."""

    LAB = "request"
    DAEMON = "answer"


class Fault(StrEnum):
    """What happens to a connection; each strikes once, at a byte that dice chose."""

    REFUSED = "refused"  # reset at once, nothing was sent
    CUT_REQUEST = "cut in a request"  # a part of it arrives
    CUT_ANSWER = "cut in an answer"
    LOST_ANSWER = "answer lost"  # the request arrives whole; the connection is reset before its answer
    DELAYED = "delayed"
    FLIPPED_REQUEST = "bit flipped in a request"  # TLS and SSH notice, that is the point
    FLIPPED_ANSWER = "bit flipped in an answer"
    HALF_CLOSED = "half closed"  # the lab reads the end of the stream, the daemon is still answered
    SILENT = "silent"  # nothing arrives any more, nothing is closed


_AT_ANSWER = frozenset({Fault.CUT_ANSWER, Fault.FLIPPED_ANSWER})


@dataclass(slots=True)
class _Hand:
    """What one connection was dealt: a fault, the byte of its direction at which it strikes, seconds if it delays."""

    fault: Fault | None = None
    at: int = 0
    seconds: float = 0.0

    @property
    def towards(self) -> Towards:
        return Towards.DAEMON if self.fault in _AT_ANSWER else Towards.LAB


class Ways:
    """All proxies of one town; `observe` gets the direction of each piece and says whether it may go on."""

    def __init__(self, seed: str) -> None:
        self.rough = False
        self.observe: Callable[[Towards], bool] = lambda _: True
        self.struck: dict[str, Counter[str]] = {}
        self.connections: Counter[str] = Counter()
        self.dice = random.Random(seed)
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()

    async def lay(self, name: str, near: tuple[str, int], far: tuple[str, int]) -> int:
        """Listen at `near` and lead to `far`; return the port. Raises OSError for an address in use."""

        def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._connect(name, far, reader, writer))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

        server = await asyncio.start_server(arrive, *near, limit=PIECE)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and end what is open."""
        for server in self._servers:
            server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def strike(self, name: str, fault: Fault) -> None:
        """Count a fault that really struck."""
        self.struck.setdefault(name, Counter())[fault.value] += 1

    def _deal(self) -> _Hand:
        """Always throw the same dice, so that a seed deals the same hands whatever the ways are."""
        hit, fault = self.dice.random() < SHARE, self.dice.choice(list(Fault))
        at, seconds = math.exp(self.dice.uniform(math.log(SHORTEST), math.log(LONGEST))), self.dice.uniform(*WAIT)
        return _Hand(fault, int(at), seconds) if hit and self.rough else _Hand()

    async def _connect(
        self, name: str, far: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        hand = self._deal()
        self.connections[name] += 1
        writers = [writer]
        try:
            if hand.fault is Fault.REFUSED:
                self.strike(name, hand.fault)
                return
            there, beyond = await asyncio.open_connection(*far, limit=PIECE)
            writers.append(beyond)
            line = _Line(self, name, hand)
            async with asyncio.TaskGroup() as both:
                both.create_task(line.pump(reader, beyond, Towards.LAB))
                both.create_task(line.pump(there, writer, Towards.DAEMON))
            for each in writers:
                each.close()  # all was said: what is still on its way arrives
        except* OSError:
            pass  # either end is gone, by a fault or by itself: the other one learns it below
        finally:
            for each in writers:
                _reset(each)


class _Line:
    """One connection: two pumps and the fault that they share."""

    def __init__(self, ways: Ways, name: str, hand: _Hand) -> None:
        self._ways, self._name, self._hand = ways, name, hand
        self._passed = dict.fromkeys(Towards, 0)
        self._swallow = self._ended = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, towards: Towards) -> None:
        """Carry one direction to its end, which is told to the other side; ConnectionError ends both directions."""
        while data := await reader.read(PIECE):
            if not self._ways.observe(towards):
                raise ConnectionResetError
            if onward := await self._through(data, towards, writer):
                writer.write(onward)
                await writer.drain()
        if not self._ended:
            writer.write_eof()

    async def _through(self, data: bytes, towards: Towards, writer: asyncio.StreamWriter) -> bytes:
        """Return what of a piece goes on, after its fault has struck; raises ConnectionError for a cut."""
        if self._swallow and towards is Towards.DAEMON:
            raise ConnectionResetError
        if self._ended and towards is Towards.LAB:
            return b""
        begun, self._passed[towards] = self._passed[towards], self._passed[towards] + len(data)
        fault, at = self._hand.fault, self._hand.at - begun
        if fault is None or towards is not self._hand.towards or at >= len(data) or not self._ways.rough:
            return data
        self._hand.fault = None
        self._ways.strike(self._name, fault)
        return await self._struck(fault, data, max(at, 0), writer)

    async def _struck(self, fault: Fault, data: bytes, at: int, writer: asyncio.StreamWriter) -> bytes:
        match fault:
            case Fault.CUT_REQUEST | Fault.CUT_ANSWER:
                writer.write(data[:at])
                await writer.drain()
                await asyncio.sleep(0)
                raise ConnectionResetError
            case Fault.LOST_ANSWER:
                self._swallow = True
                asyncio.get_running_loop().call_later(SWALLOW, _reset, writer)
            case Fault.DELAYED:
                await asyncio.sleep(self._hand.seconds)
            case Fault.FLIPPED_REQUEST | Fault.FLIPPED_ANSWER:
                return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
            case Fault.HALF_CLOSED:
                self._ended = True
                writer.write_eof()
                return b""
            case Fault.SILENT:
                await asyncio.sleep(SILENCE)
                raise ConnectionResetError
        return data


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; what was not sent is lost and the other side reads a reset, unless all was said before."""
    transport = writer.transport
    if not transport.is_closing():
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()
