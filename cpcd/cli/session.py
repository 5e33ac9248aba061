"""What the options before a command say; commands get it as click's context object."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cpcd.cli.client import Client

__all__ = ["Session"]

_SOCKET: Final = "/run/cpcd/control.sock"
_CONFIG: Final = "/etc/cpcd/cpcd.toml"  # of cpcd.settings, which is only imported when there is something to read


@dataclass(frozen=True, slots=True)
class Session:
    """One call of `cpcd`; `socket` is empty when no option and no variable names it."""

    socket: str

    @property
    def path(self) -> str:
        """Where the daemon of this machine listens."""
        if self.socket or not (os.environ.get("CPCD_CONFIG") or _there(Path(_CONFIG))):
            return self.socket or _SOCKET
        from cpcd.settings import load_settings

        return str(load_settings({}, os.environ).socket)

    def client(self, *, timeout: float = 60.0) -> "Client":
        """Return a client of the daemon; nothing is sent yet."""
        from cpcd.cli.client import Client

        return Client(self.path, timeout=timeout)


def _there(path: Path) -> bool:
    """Whether there is something to read; what may not be looked at is, and its reader says so."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True
