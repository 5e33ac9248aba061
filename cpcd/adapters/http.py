"""The Proxmox transport over HTTPS: one exchange, several addresses of one Proxmox, TLS always verified.

It must never repeat a request whose first byte may have left, and never turn verification off. What an answer means
is decided in `adapters/proxmox`. The contract: `ports/proxmox.py`.
"""

import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from cpcd.adapters.answers import reason
from cpcd.adapters.once import send_once
from cpcd.model.errors import Code, Failure
from cpcd.ports.proxmox import Request, Response

__all__ = ["AiohttpTransport"]

_IDLE: Final = 4.0  # pveproxy closes idle connections after 5 s (`failures.md` T08); sockets know no lab time
_CONNECT: Final = 10.0


class AiohttpTransport:
    """`ports.proxmox.Transport` for the addresses of one Proxmox VE cluster.

    The certificate is verified by `fingerprint` (SHA-256, with or without colons) when given, else by `ca_file`, else
    by the system's store; what that rests on is read again after a certificate was refused, so that a corrected file
    needs no restart. `timeout` seconds bound one exchange (Proxmox's inner limit is 30 s, `failures.md` T01);
    `scale` is how many of the world's seconds pass in a real one. The next address is taken only when a connection
    could not be made. Raises ConnectionError, TimeoutError or ssl.SSLError, and Failure (InvalidSpec) for a `ca_file`
    that cannot be used.
    """

    def __init__(
        self, urls: Sequence[str], *, ca_file: str, fingerprint: str, scale: float = 1.0, timeout: float = 40
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._current = 0
        self._read_trust = partial(_verification, ca_file, fingerprint)
        self._tls: ssl.SSLContext | aiohttp.Fingerprint | None = self._read_trust()
        # A handshake takes real time, however fast the clock of a lab is: it keeps a second.
        self._limits = aiohttp.ClientTimeout(total=timeout / scale, sock_connect=max(1.0, _CONNECT / scale))
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request) -> Response:
        """See the port: sent once."""
        for attempt in range(len(self._urls)):
            try:
                return await self._send(self._urls[self._current], request)
            # The one error of which it is certain that nothing was sent (`_plain_errors`).
            except ConnectionRefusedError:
                self._current = (self._current + 1) % len(self._urls)
                if attempt == len(self._urls) - 1:
                    raise
        raise ConnectionRefusedError("no address is configured")

    async def close(self) -> None:
        """See the port."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, base: str, request: Request) -> Response:
        options = self._options(request)
        with self._plain_errors(base):
            async with self._open().request(request.method, _target(base, request), **options) as reply:
                body = await reply.read()
                return Response(reply.status, reply.reason or "", body, dict(reply.headers))

    def _trust(self) -> ssl.SSLContext | aiohttp.Fingerprint:
        if self._tls is None:
            self._tls = self._read_trust()
        return self._tls

    def _options(self, request: Request) -> dict[str, Any]:
        headers = {"Authorization": f"PVEAPIToken={request.token}"} if request.token else {}
        # Who redirects is somebody in between; the token is not carried there.
        options: dict[str, Any] = {"headers": headers, "allow_redirects": False, "ssl": self._trust()}
        if not _in_query(request.method):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            options["data"] = _encoded(request.params).encode()  # bytes: Content-Length, chunks are refused (501)
        return options

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Without a limit of its own: `proxmox/slots.py` has one for each node.
                connector=aiohttp.TCPConnector(keepalive_timeout=_IDLE, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),  # a cookie beside a good token is a 401, recorded(1415)
                middlewares=(send_once,),
                timeout=self._limits,
                # Neither a proxy nor a ~/.netrc of the environment: the file says where Proxmox is.
                trust_env=False,
            )
        return self._session

    @contextmanager
    def _plain_errors(self, base: str) -> Iterator[None]:
        """Translate aiohttp's errors to the three that the port names; refused means that nothing was sent."""
        try:
            yield
        # From narrow to wide, since the classes inherit from one another: ConnectionTimeoutError is a TimeoutError too,
        # but one before anything was sent.
        except aiohttp.ServerFingerprintMismatch as error:
            raise ssl.SSLCertVerificationError(
                f"the fingerprint at {base} is {_colons(error.got)}, pinned is {_colons(error.expected)}"
            ) from error
        except aiohttp.ClientConnectorCertificateError as error:
            self._tls = None  # the file, or the system's store, may be another by the next call
            raise _certificate_error(base, error) from error
        except aiohttp.ClientConnectorSSLError as error:
            raise ConnectionResetError(f"TLS with {base} failed: {error.os_error.strerror or error}") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ConnectionRefusedError(f"{base}: {reason(error)}") from error
        except TimeoutError as error:
            raise TimeoutError(f"{base} gave no answer within {self._timeout:g} s") from error
        except aiohttp.ClientError as error:
            raise ConnectionResetError(f"{base} broke the connection: {reason(error)}") from error


def _verification(ca_file: str, fingerprint: str) -> ssl.SSLContext | aiohttp.Fingerprint:
    if fingerprint:
        digest = fingerprint.replace(":", "").strip()
        if not re.fullmatch(r"[0-9A-Fa-f]{64}", digest):
            raise Failure(Code.CONFIG, "fingerprint is not a SHA-256 of 32 bytes (`pvenode cert info` prints it)")
        return aiohttp.Fingerprint(bytes.fromhex(digest))
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise Failure(
            Code.CONFIG, f"caFile {Path(ca_file).name} cannot be used: {error.strerror or error}", target=ca_file
        ) from error


def _target(base: str, request: Request) -> URL:
    query = f"?{_encoded(request.params)}" if request.params and _in_query(request.method) else ""
    # `:`, `@` and `!` stand in UPIDs, as part of who began the task.
    return URL(f"{base}{quote(request.path, safe='/:@!')}{query}", encoded=True)


def _in_query(method: str) -> bool:
    return method in {"GET", "DELETE"}


def _encoded(params: Mapping[str, Any]) -> str:
    """Form encoding with `%20`, booleans as 1 and 0, a list as the repeated parameter, None left out."""
    pairs = [(key, item) for key, value in params.items() if value is not None for item in _items(value)]
    return urlencode(pairs, quote_via=quote, safe="")


def _items(value: Any) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [str(int(item)) if isinstance(item, bool) else str(item) for item in values]


def _certificate_error(base: str, error: aiohttp.ClientConnectorCertificateError) -> ssl.SSLCertVerificationError:
    why = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
    return ssl.SSLCertVerificationError(f"{why} ({base})")


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()
