"""Machines over SSH: the port `Guests` on asyncssh, one connection a machine.

The remote command answers any number of requests, in turn, so that one that has answered is kept for the next as long
as its connection: to start it anew took an emulated machine three seconds, and to ask an idle one a tenth. Four at once
took a control plane that had just come up half a minute each, so that a call waits for its turn, unless whoever has it
hangs.
Host keys are the pinned ones, always; nothing is retried and nothing is left on a machine (`guest/wire.py`). `prepare`
is Ansible's and goes to `adapters/playbooks`, except for machines that answer it on the wire (the lab's).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol

import asyncssh

from cpcd.adapters.answers import part, reason, words
from cpcd.guest.wire import COMMAND, bundle, decode_reply, encode_request, opening
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.ports.guests import LONG_VERBS, SHORT_VERBS, Guests, Host

__all__ = ["GuestsOverSsh", "Playing"]

JSON = Any

PROBE_S: Final = 3.0  # a first SYN that is lost is sent again after 1 s
TURN_S: Final = 10.0  # for those before it a call waits no longer; it goes beside them then
# asyncssh sends none unless it is told to.
KEEPALIVE_S: Final = 15.0  # times 3: a half-open connection is found in 45 s (S03)
IDLE_S: Final = 60.0
_SAID: Final = 2000  # bytes of what is no reply: banners come first, what went wrong comes last
IDLE_MOST: Final = 64  # connections kept open without use: twenty kilobytes each, and a cluster has a thousand machines

# A refused verb is the machine's answer (EXECUTION) unless its reason says more.
_CODES: Final = {
    "NoQuorum": Code.TIMEOUT,
    "Timeout": Code.TIMEOUT,
    "CommandMissing": Code.DEPENDENCY,
    "InvalidInput": Code.INPUT,
}


_TEXTS: Final = frozenset({"token", "ca_hash", "kubeconfig", "boot_id"})
_STATES: Final = frozenset({"absent", "running", "done", "failed", "lost"})


class Playing(Protocol):
    """What runs `prepare`; `adapters.playbooks.Playbooks` is one."""

    def knows(self, op: str) -> bool:
        """Return whether this op was submitted here."""
        ...

    async def submit(self, host: Host, op: str, given: Mapping[str, JSON]) -> None:
        """Start a run; repeatable."""
        ...

    async def poll(self, op: str) -> Mapping[str, JSON]:
        """Return `{state, boot_id, rc, output, error}`."""
        ...

    def busy(self, host: Host) -> bool:
        """Return whether a run for this machine is alive."""
        ...


@dataclass(slots=True)
class _Line:
    """One machine's connection, the command on it, whose turn it is, how many want it, and when it is closed for idleness."""

    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: asyncssh.SSHClientConnection | None = None
    session: "asyncssh.SSHClientProcess[bytes] | None" = None
    user: str = ""
    uses: int = 0
    idle: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class _Ended:
    """A reply, or how the remote command ended without one; rc None when the connection was cut."""

    rc: int | None
    stdout: bytes
    stderr: bytes


class GuestsOverSsh(Guests):
    """The catalogue over SSH.

    `key` is the path of the private key; all waits are divided by `scale` (the lab's clock may be fast). Calls may
    overlap; those of one machine have one connection, in turn, closed after `idle` seconds without use.
    """

    def __init__(
        self, *, key: Path, playbooks: Playing | None = None, scale: float = 1.0, idle: float = IDLE_S
    ) -> None:
        self._key = key
        self._playbooks = playbooks
        self._scale = scale
        self._idle = idle
        self._lines: dict[Host, _Line] = {}

    async def listens(self, host: Host) -> bool:
        """Return whether something accepts a connection within `PROBE_S`; it is closed at once."""
        try:
            async with asyncio.timeout(PROBE_S / self._scale):
                _, writer = await asyncio.open_connection(host.address, host.port)
        except OSError:  # a TimeoutError is one
            return False
        writer.close()
        return True

    async def call(self, host: Host, verb: str, given: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Run a short verb and return its output; raises Failure INPUT for a verb that is none."""
        if verb not in SHORT_VERBS:
            raise Failure(Code.INPUT, f"{verb} is no short verb", target=host.name)
        return await self._ask(host, verb, given)

    async def submit(self, host: Host, op: str, verb: str, given: Mapping[str, JSON]) -> None:
        """Start a long verb; repeatable. Raises Failure EXECUTION `busy` while another op holds the machine."""
        if verb not in LONG_VERBS:
            raise Failure(Code.INPUT, f"{verb} is no long verb", target=host.name)
        if self._playbooks is None:
            await self._ask(host, verb, given, op=op)
        elif verb == "prepare":
            await self._playbooks.submit(await self._reached(host), op, given)
        elif self._playbooks.busy(host):
            raise _busy(host)
        else:
            await self._ask(host, verb, given, op=op)

    async def poll(self, host: Host, op: str, *, patience: float = 0) -> Mapping[str, JSON]:
        """Return `{state, boot_id, rc, output, error}`; `boot_id` is empty for playbooks, they run on this side.

        The machine waits for the end of what runs, half of the time at most that an answer may take; playbooks do not.

        Of a host without users, whose document has left, only they are asked: an op that they do not know is absent.
        """
        if self._playbooks is not None and (self._playbooks.knows(op) or not host.users):
            return await self._playbooks.poll(op)
        return await self._ask(host, "poll", {"patience": min(patience, host.answer / 2)}, op=op)

    async def close(self) -> None:
        """Close all connections; a call in flight fails as cut off."""
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            _hang_up(line)

    async def _reached(self, host: Host) -> Host:
        """Return the host with the one user that could log in: Ansible tries no second one."""
        async with self._connected(host) as line:
            return replace(host, users=(line.user,))

    async def _ask(self, host: Host, verb: str, given: Mapping[str, JSON], *, op: str = "") -> Mapping[str, JSON]:
        async with self._connected(host) as line:
            ended = await self._run(host, line, encode_request(verb, given, op=op))
        return _output(host, verb, ended, given.get("names") or ())

    async def _run(self, host: Host, line: _Line, request: bytes) -> _Ended:
        try:
            async with asyncio.timeout(host.answer / self._scale), _turn(line, TURN_S / self._scale) as own:
                return await _exchange(line, request, own=own)
        except TimeoutError:
            what = f"no answer to a command in {host.answer:g} s"
            raise Failure(Code.TIMEOUT, what, target=host.name) from None
        except (OSError, asyncssh.Error) as error:
            raise _silent(host, reason(error)) from error

    @asynccontextmanager
    async def _connected(self, host: Host) -> AsyncIterator[_Line]:
        line = self._lines.setdefault(host, _Line())
        # Counted before the connection is made, so that the end of another call does not let it be closed as idle.
        line.uses += 1
        if line.idle is not None:
            line.idle.cancel()
        try:
            # One handshake a machine: sshd drops some of many that are not through yet (MaxStartups, `failures.md`
            # S10).
            async with line.opening:
                if self._lines.get(host) is not line:
                    raise _silent(host, "its connection was closed")
                if line.connection is None or line.connection.is_closed():
                    line.connection, line.user = await self._open(host)
                    line.session = None
            yield line
        finally:
            line.uses -= 1
            if line.uses == 0:
                line.idle = asyncio.get_running_loop().call_later(self._idle / self._scale, self._forget, host, line)
                self._thin_out()

    def _thin_out(self) -> None:
        """Hang up the line that has been idle longest if they are too many."""
        idle = [
            (line.idle.when(), host)
            for host, line in self._lines.items()
            if line.idle and line.connection and not line.uses
        ]
        if len(idle) > IDLE_MOST:
            _, host = min(idle, key=itemgetter(0))
            self._forget(host, self._lines[host])

    def _forget(self, host: Host, line: _Line) -> None:
        # Not the one that has come in its place since `close` emptied the table.
        if self._lines.get(host) is line:
            del self._lines[host]
        _hang_up(line)

    async def _open(self, host: Host) -> tuple[asyncssh.SSHClientConnection, str]:
        """Return a connection and its user: the first of the host's that is let in (`failures.md` G07, S07)."""
        if not host.users:
            what = "nothing says how to reach it: its document is gone"
            raise Failure(Code.CONFIG, what, target=host.name, hint="Bring the document back to have it kept again.")
        if not host.host_key:
            raise Failure(Code.AUTH, "no host key is pinned yet, so no connection is made", target=host.name)
        for user in host.users:
            try:
                async with asyncio.timeout(host.connect / self._scale):
                    return await self._log_in(host, user), user
            except asyncssh.PermissionDenied:
                continue
            except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
                raise _other_key(host) from error
            except TimeoutError as error:
                raise _silent(host, f"no connection within {host.connect:g} s") from error
            except (OSError, asyncssh.Error) as error:
                raise _silent(host, reason(error)) from error
        tried = ", ".join(host.users)
        raise Failure(Code.AUTH, f"the key is refused for {tried}", target=host.name)

    async def _log_in(self, host: Host, user: str) -> asyncssh.SSHClientConnection:
        try:
            # Read at each login, so that a key that was put in its place needs no restart.
            key, pinned = asyncssh.read_private_key(self._key), asyncssh.import_public_key(host.host_key)
        except (OSError, asyncssh.KeyImportError) as error:
            raise Failure(Code.AUTH, f"the private key or the pinned host key cannot be read: {error}") from error
        return await asyncssh.connect(
            host.address,
            host.port,
            username=user,
            client_keys=[key],
            # Nothing of the user that the daemon runs as has a say: no known_hosts, no ~/.ssh/config, no agent.
            known_hosts=([pinned], [], []),
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            keepalive_interval=KEEPALIVE_S / self._scale,
            keepalive_count_max=3,
        )


@asynccontextmanager
async def _turn(line: _Line, seconds: float) -> AsyncIterator[bool]:
    """Wait for the turn; tell whether it came in time."""
    try:
        async with asyncio.timeout(seconds):
            await line.turn.acquire()
    except TimeoutError:
        yield False
        return
    try:
        yield True
    finally:
        line.turn.release()


async def _exchange(line: _Line, request: bytes, *, own: bool) -> _Ended:
    """Ask the command that waits, or a new one, which waits from then on; out of turn one that ends with its answer.

    When cancelled, its channel is closed without waiting (`failures.md` S05).
    """
    assert line.connection is not None
    session, line.session = (line.session, None) if own else (None, line.session)
    waited = session is not None and not session.is_closing() and not session.stdout.at_eof()
    if session is None or not waited:
        # As bytes: what a login shell prints beside the replies need not be UTF-8.
        session = await line.connection.create_process(COMMAND, encoding=None)
        request = opening(bundle()) + request
    kept = False
    try:
        session.stdin.write(request)
        ended, kept = await _answer(session)
        # One that died while it waited, and was asked before that was known, has not heard of it.
        return _Ended(None, b"", b"") if waited and not kept and not ended.stdout else ended
    finally:
        if kept and own:
            line.session = session
        else:
            session.close()


async def _answer(session: "asyncssh.SSHClientProcess[bytes]") -> tuple[_Ended, bool]:
    """Return what was said until a reply, or until the command's end, and whether that was a reply."""
    said = b""
    while (heard := await session.stdout.readline()).endswith(b"\n"):
        try:
            decode_reply(heard)
        except ValueError:
            said = (said + heard)[-_SAID:]
        else:
            return _Ended(None, heard, b""), True
    rest, complaints = await session.communicate()
    return _Ended(session.exit_status, said + heard + bytes(rest or b""), bytes(complaints or b"")), False


def _hang_up(line: _Line) -> None:
    """Close without waiting: asyncssh's wait can hang on a dead peer (`failures.md` S05)."""
    if line.idle is not None:
        line.idle.cancel()
    if line.connection is not None:
        line.connection.close()


def _busy(host: Host) -> Failure:
    return Failure(Code.EXECUTION, "busy", target=host.name, hint="Another operation holds the machine; it is awaited.")


def _silent(host: Host, why: str) -> Unreachable:
    return Unreachable(f"guest:{host.uid}", f"{host.name} at {host.address}:{host.port} is not reached: {why}")


def _other_key(host: Host) -> Failure:
    what = f"{host.address}:{host.port} does not show the pinned host key"
    hint = "Another machine answers at this address, or the machine was rebuilt outside cpcd; no login was tried."
    return Failure(Code.AUTH, what, target=host.name, hint=hint)


def _output(host: Host, verb: str, ended: _Ended, names: Iterable[str] = ()) -> Mapping[str, JSON]:
    """Return the output of a reply; raise what it refused, or what the shell said instead of a reply.

    `names` are those of its parts that were asked for: none are all.
    """
    try:
        reply = decode_reply(ended.stdout)
    except ValueError:
        raise _no_reply(host, verb, ended) from None
    if reply["ok"]:
        return _checked(host, verb, reply["output"], names)
    if reply["reason"] == "busy":
        raise _busy(host)
    code = _CODES.get(reply["reason"], Code.EXECUTION)
    raise Failure(code, words(f"{verb} was refused: {reply['reason']}: {reply['message']}"), target=host.name)


def _checked(host: Host, verb: str, output: Mapping[str, JSON], names: Iterable[str]) -> Mapping[str, JSON]:
    """Hold an output to the catalogue; what its values mean is judged by whoever reads them (`sources/decode.py`)."""
    try:
        for name in names or (SHORT_VERBS[verb][1] if verb in SHORT_VERBS else ()):
            part(str if name in _TEXTS else object, output, name)
        if verb == "poll":
            _check_job(output)
    except ValueError as error:
        what = f"{verb} was answered with something else: {error}"
        raise Failure(Code.EXECUTION, what, target=host.name) from error
    return output


def _check_job(output: Mapping[str, JSON]) -> None:
    """Raise ValueError unless this is a job's state; output and error are null until it has ended."""
    whole = all(isinstance(output.get(name), dict | None) for name in ("output", "error"))
    if part(str, output, "state") not in _STATES or not whole:
        raise ValueError("no state of a job")


def _no_reply(host: Host, verb: str, ended: _Ended) -> Failure:
    """Return what a missing reply means: cut off, no right to be root, still booting, no python, or unknown."""
    text = words((ended.stderr + ended.stdout)[-_SAID:].decode(errors="replace").strip()[-500:])
    # First, because what was cut off may have said anything until then.
    if ended.rc is None:
        return Unreachable(f"guest:{host.uid}", f"{host.name} was cut off while it ran {verb}")
    # pam_nologin(8), which lets only root in until the boot is through (`failures.md` G08).
    if "System is booting up" in text:
        return Unreachable(f"guest:{host.uid}", f"{host.name} is still booting")
    if "sudo:" in text:
        return Failure(Code.AUTH, f"the user may not become root: {text}", target=host.name)
    if ended.rc == 127:
        return Failure(Code.DEPENDENCY, f"python3 or sudo is not installed: {text}", target=host.name)
    return Failure(Code.EXECUTION, f"{verb} ended without a reply (rc {ended.rc}): {text}", target=host.name)
