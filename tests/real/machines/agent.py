"""QEMU's own sockets: the guest agent behind a virtio-serial port, and QMP.

Both speak JSON lines; every question is a connection of its own. An agent that is not there accepts the connection and
never answers, so that a thread asks it and whoever wants to know takes what it heard last. Next: `qemu.py`.
"""

import base64
import json
import socket
import threading
from pathlib import Path
from typing import Any, Final

__all__ = ["Agent", "AgentError", "monitor"]

PING_S: Final = 3.0  # seconds that Proxmox waits for a ping
ANSWER_S: Final = 10.0
_PAUSE_S: Final = 2.0  # each ping is a process's turn in a machine that has none to spare
_SENTINEL: Final = b"\xff"
_FILE_MOST: Final = 16 * 1024**2


class AgentError(Exception):
    """What the agent, or QEMU, refused, in its words."""


def _answer(stream: Any) -> Any:
    """Return the next answer, past events and greetings."""
    while line := stream.readline():
        heard = json.loads(line)
        if "error" in heard:
            raise AgentError(heard["error"].get("desc", ""))
        if "return" in heard:
            return heard["return"]
    raise ConnectionError("QEMU has closed the socket")


def _send(line: socket.socket, command: str, given: dict[str, Any], before: bytes = b"") -> None:
    line.sendall(before + json.dumps({"execute": command, "arguments": given}).encode() + b"\n")


def _synchronize(stream: Any, serial: int) -> None:
    """Pass by what abandoned questions were answered, and the complaint about the sentinel, which is no JSON."""
    while line := stream.readline():
        if line.startswith(_SENTINEL) and json.loads(line.lstrip(_SENTINEL)) == {"return": serial}:
            return
    raise ConnectionError("QEMU has closed the socket")


def monitor(path: Path, command: str, **given: Any) -> Any:
    """Ask QEMU itself (QMP); raises OSError when it is gone."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(ANSWER_S)
        line.connect(str(path))
        with line.makefile("rb") as stream:
            for name, what in (("qmp_capabilities", {}), (command, given)):
                _send(line, name, what)
                heard = _answer(stream)
            return heard


class Agent:
    """One machine's guest agent from QEMU's start to `close()`; its thread ends by itself then."""

    def __init__(self, path: Path) -> None:
        self.up = False
        """Whether it answered the last ping."""
        self._path = path
        self._serial = 0
        self._turn = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._listen, name=f"agent {path}", daemon=True).start()

    def close(self) -> None:
        """Ask no more."""
        self._over.set()
        self.up = False

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                self.ask("guest-ping", within=PING_S)
                up = True
            except (OSError, AgentError, ValueError):
                up = False
            self.up = up and not self._over.is_set()
            self._over.wait(_PAUSE_S)

    def ask(self, command: str, *, within: float = ANSWER_S, **given: Any) -> Any:
        """Return the agent's answer; raises AgentError with its refusal, OSError (TimeoutError) when there is none."""
        with self._turn, socket.socket(socket.AF_UNIX) as line:
            line.settimeout(within)
            line.connect(str(self._path))
            self._serial += 1
            _send(line, "guest-sync-delimited", {"id": self._serial}, _SENTINEL)
            with line.makefile("rb") as stream:
                _synchronize(stream, self._serial)
                _send(line, command, given)
                return _answer(stream)

    def read(self, path: str) -> bytes | None:
        """Return a file, None when there is none."""
        try:
            handle = self.ask("guest-file-open", path=path, mode="r")
        except AgentError:
            return None
        try:
            return base64.b64decode(self.ask("guest-file-read", handle=handle, count=_FILE_MOST)["buf-b64"])
        finally:
            self.ask("guest-file-close", handle=handle)
