"""What SSH carries between this side and the machines, counted on the bridge."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Carried", "carried"]

_EVERY_PROTOCOL: Final = 0x0003  # ETH_P_ALL
_IPV4_TCP: Final = (b"\x08\x00", 6)
_SSH: Final = (22).to_bytes(2, "big")


@dataclass(slots=True)
class Carried:
    """Frames of SSH and all their bytes, of both directions, and how often a machine answered, which is a round trip."""

    frames: int = 0
    octets: int = 0
    trips: int = 0
    _asked: set[bytes] = field(default_factory=set)

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.trips} round trips by SSH, {self.octets / 1000:,.0f} kB in {self.frames} frames"

    def count(self, frame: bytes) -> None:
        """Count a frame where it is one of SSH."""
        segment = frame[14 + (frame[14] & 15) * 4 : 14 + int.from_bytes(frame[16:18])]
        source, target = segment[:2], segment[2:4]
        if (frame[12:14], frame[23]) != _IPV4_TCP or _SSH not in (source, target):
            return
        self.frames += 1
        self.octets += len(frame)
        if len(segment) == (segment[12] >> 4) * 4:
            return  # nothing but an acknowledgement
        if target == _SSH:
            self._asked.add(source + frame[30:34])
        elif target + frame[26:30] in self._asked:
            self._asked.remove(target + frame[26:30])
            self.trips += 1


@asynccontextmanager
async def carried(bridge: str = "vmbr0") -> AsyncIterator[Carried]:
    """Count until the end of the block; what machines send each other is not seen here. Needs root."""
    seen, loop = Carried(), asyncio.get_running_loop()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL)) as tap:
        tap.bind((bridge, 0))
        tap.setblocking(False)
        loop.add_reader(tap, lambda: seen.count(tap.recv(1 << 16)))
        try:
            yield seen
        finally:
            loop.remove_reader(tap)
