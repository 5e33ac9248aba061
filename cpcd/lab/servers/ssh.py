"""The modelled machines behind SSH: one listener a machine, open exactly while its sshd would be.

Only the catalogue's command is carried out (`guest/wire.py`), for known users with an authorised key; shells, files,
forwarding and every other command are refused. What a verb does is the guest model's. Next: `serve.py`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import asyncssh

from cpcd.guest.jobs import LOOK
from cpcd.guest.wire import COMMAND, decode_request, encode_reply
from cpcd.lab.guests import Guest, VerbFailed
from cpcd.ports.guests import LONG_VERBS

__all__ = ["Machine", "answer"]

_SOURCE: Final = 1024 * 1024  # bytes; it has some 50 thousand
_SYNTAX: Final = 2
_NOT_FOUND: Final = 127

Sleep = Callable[[float], Coroutine[Any, Any, None]]


class Machine:
    """One machine's sshd; `open` and `close` may be called again and again, in turns.

    Host key, users and authorised keys are the guest's, read at each login.
    """

    def __init__(self, guest: Guest, port: int, sleep: Sleep, calls: Counter[str]) -> None:
        self.guest = guest
        self._port = port
        self._sleep = sleep
        self._calls = calls
        self._listener: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()

    async def open(self) -> None:
        """Listen at the guest's address; raises OSError where that is impossible."""
        self._listener = await asyncssh.listen(
            self.guest.address,
            self._port,
            server_factory=lambda: _Login(self.guest, self._connections),
            server_host_keys=[asyncssh.import_private_key(self.guest.host_private_key)],
            process_factory=self._process,
            encoding=None,
            line_editor=False,
            allow_scp=False,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            # A machine that reboots listens again at the same place while old connections linger.
            reuse_address=True,
        )

    async def close(self) -> None:
        """Stop listening and cut every connection, as a machine that loses its power does."""
        if self._listener is not None:
            self._listener.close()
            for connection in tuple(self._connections):
                connection.abort()
            await self._listener.wait_closed()
            self._listener = None

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if process.command != COMMAND:
            process.stderr.write(b"refused: the lab's machines know the catalogue only\n")
            process.exit(_NOT_FOUND)
            return
        try:
            await _skip_opening(process)
            while line := await process.stdin.readline():
                process.stdout.write(await self._reply(*decode_request(line)))
            process.exit(0)
        except (ValueError, KeyError, asyncio.IncompleteReadError):
            process.stderr.write(b"refused: stdin holds no request\n")
            process.exit(_SYNTAX)
        except (asyncssh.Error, OSError):
            return  # the machine lost its power, or whoever asked hung up

    async def _reply(self, verb: str, given: Mapping[str, Any], op: str) -> bytes:
        self._calls[f"ssh {'submit ' if op and verb != 'poll' else ''}{verb}"] += 1
        patience = given.get("patience", 0) if verb == "poll" else 0
        while patience > 0 and self.guest.poll(op)["state"] == "running":
            await self._sleep(LOOK)
            patience -= LOOK
        reply, seconds = answer(self.guest, verb, given, op)
        await self._sleep(seconds)
        return reply


class _Login(asyncssh.SSHServer):
    """Public keys only; users and keys are the guest's."""

    def __init__(self, guest: Guest, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._guest = guest
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember the connection, so that it ends with the machine."""
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget it."""
        if self._connection is not None:
            self._connections.discard(self._connection)

    def public_key_auth_supported(self) -> bool:
        """Keys, never passwords."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Tell whether cloud-init has put this key under this user."""
        offered = key.export_public_key("openssh").split()[:2]
        lines = [line.encode().split()[:2] for line in self._guest.authorized_keys]
        return username in self._guest.users and offered in lines


def answer(guest: Guest, verb: str, given: Mapping[str, Any], op: str) -> tuple[bytes, float]:
    """Return a request's reply line and the lab seconds it takes: `poll` and submissions have an op, others none."""
    try:
        if verb == "poll":
            return encode_reply(guest.poll(op)), 0.0
        if op and verb in LONG_VERBS:
            guest.submit(op, verb, given)
            return encode_reply({}), 0.0
        output, seconds = guest.call(verb, given)
    except VerbFailed as error:
        return encode_reply(None, reason=error.reason, message=error.message), error.seconds
    return encode_reply(output), seconds


async def _skip_opening(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Read past the source, as far as any can be long: a modelled machine has its own."""
    length = int(await process.stdin.readline())
    if length > _SOURCE:
        raise ValueError("too long")
    await process.stdin.readexactly(length)
