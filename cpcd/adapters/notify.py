"""What systemd is told: READY, STATUS, WATCHDOG, RELOADING, STOPPING, as datagrams (sd_notify(3)).

Without systemd every call does nothing. It must never wait and never fail: a lost datagram is repaired by the next.
"""

import contextlib
import socket
import time
from collections.abc import Mapping

__all__ = ["Notify"]


class Notify:
    """Built from the process's environment: NOTIFY_SOCKET, WATCHDOG_USEC."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        # `@` stands for the null byte of an abstract socket (sd_notify(3)).
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_interval = int(usec) / 2e6 if usec.isdecimal() else None
        """Seconds between two calls of `watchdog`, half of what systemd allows; None without a watchdog."""

    def ready(self, status: str = "") -> None:
        """Tell that start-up is over."""
        self._send(f"READY=1\nSTATUS={_line(status)}" if status else "READY=1")

    def status(self, text: str) -> None:
        """Show one sentence in `systemctl status`."""
        self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> None:
        """Tell that the daemon is alive."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Tell that the configuration is read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that shutdown has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # A manager that does not read would stop the event loop.
                sender.setblocking(False)
                sender.sendto(message.encode(), self._address)


def _line(text: str) -> str:
    return " ".join(text.split())[:400]
