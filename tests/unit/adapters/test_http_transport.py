"""The HTTPS transport against real sockets: trust, several addresses, and requests exactly as Proxmox wants them."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from cpcd.adapters.http import AiohttpTransport
from cpcd.adapters.proxmox import ProxmoxApi, Slots
from cpcd.lab.servers.https import Authority, Certificate, server_context
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.ports.proxmox import Request

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AUTHORITY = Authority("lab")
GOOD = AUTHORITY.server(["127.0.0.1"])


async def version(_: web.Request) -> web.StreamResponse:
    """Answer like Proxmox."""
    return web.json_response({"data": []})


@asynccontextmanager
async def serving(handler: Handler, certificate: Certificate = GOOD) -> AsyncIterator[str]:
    """Serve HTTPS on a free port; yields the URL."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(certificate)).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def transport(
    *urls: str,
    ca: str = "",
    fingerprint: str = "",
    timeout: float = 5,
) -> AsyncIterator[AiohttpTransport]:
    """Open a transport; closes it."""
    opened = AiohttpTransport(urls, ca_file=ca, fingerprint=fingerprint, timeout=timeout)
    yield opened
    await opened.close()


def dead_url() -> str:
    """Return the URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"https://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    """Write the authority's certificate."""
    path = tmp_path / "ca.pem"
    path.write_text(AUTHORITY.pem)
    return str(path)


async def resources(opened: AiohttpTransport) -> Failure | list[dict[str, object]]:
    """Return what the adapter makes of one call."""
    try:
        return await ProxmoxApi(opened, "home", lambda: "a@pve!t=s").resources()
    except Failure as error:
        return error


async def test_trusts_the_given_authority_and_the_pinned_certificate(ca_file: str) -> None:
    """Either is enough, and the fingerprint may be written with or without colons."""
    async with (
        serving(version) as url,
        transport(url, ca=ca_file) as by_authority,
        transport(url, fingerprint=GOOD.fingerprint) as by_pin,
        transport(url, fingerprint=GOOD.fingerprint.replace(":", "").lower()) as by_bare_pin,
    ):
        results = [await resources(opened) for opened in (by_authority, by_pin, by_bare_pin)]

    assert [[], [], []] == results


async def test_wrong_fingerprint_names_both(ca_file: str) -> None:
    """The sentence has what was found and what was pinned."""
    pinned = AUTHORITY.server(["127.0.0.1"]).fingerprint
    async with serving(version) as url, transport(url, ca=ca_file, fingerprint=pinned) as opened:
        error = await resources(opened)

    assert isinstance(error, Failure)
    assert error.code is Code.AUTH
    assert GOOD.fingerprint in error.what
    assert pinned in error.what


async def test_expired_and_unknown_certificates_are_refused_with_the_reason(ca_file: str) -> None:
    """Verification is never off: without trust there is no request."""
    expired = AUTHORITY.server(["127.0.0.1"], begins=timedelta(days=-3), ends=timedelta(days=-1))
    async with serving(version, expired) as url, transport(url, ca=ca_file) as opened:
        old = await resources(opened)
    async with serving(version) as url, transport(url) as opened:
        unknown = await resources(opened)

    assert isinstance(old, Failure)
    assert isinstance(unknown, Failure)
    assert (Code.AUTH, Code.AUTH) == (old.code, unknown.code)
    assert "certificate has expired" in old.what
    assert "unable to get local issuer certificate" in unknown.what


async def test_a_corrected_authority_is_taken_up_at_the_next_call(ca_file: str) -> None:
    """Nothing is restarted for a file that was the wrong one, or that changed with the server's own authority."""
    Path(ca_file).write_text(Authority("another").pem)
    async with serving(version) as url, transport(url, ca=ca_file) as opened:
        wrong = await resources(opened)
        Path(ca_file).unlink()
        absent = await resources(opened)
        Path(ca_file).write_text(AUTHORITY.pem)
        corrected = await resources(opened)

    assert isinstance(wrong, Failure)
    assert isinstance(absent, Failure)
    assert (Code.AUTH, Code.CONFIG, []) == (wrong.code, absent.code, corrected)


async def test_certificate_of_another_host_is_refused(ca_file: str) -> None:
    """The name counts as well as the authority."""
    async with serving(version, AUTHORITY.server(["127.0.0.9"])) as url, transport(url, ca=ca_file) as opened:
        error = await resources(opened)

    assert isinstance(error, Failure)
    assert "IP address mismatch" in error.what


@pytest.mark.parametrize(("ca", "fingerprint"), [("/nowhere/ca.pem", ""), ("", "12:34")])
def test_unusable_trust_is_an_invalid_spec(ca: str, fingerprint: str) -> None:
    """It never falls back to something weaker."""
    with pytest.raises(Failure) as caught:
        AiohttpTransport(["https://127.0.0.1"], ca_file=ca, fingerprint=fingerprint)
    assert caught.value.code is Code.CONFIG


async def test_takes_the_next_address_when_one_refuses(ca_file: str) -> None:
    """Nothing was sent, so even a write may go to another node."""
    async with serving(version) as url, transport(dead_url(), url, ca=ca_file) as opened:
        answer = await opened.send(Request("POST", "/api2/json/x"))

    assert 200 == answer.status


async def test_all_addresses_refusing_is_unreachable(ca_file: str) -> None:
    """The sentence names an address."""
    url = dead_url()
    async with transport(url, dead_url(), ca=ca_file) as opened:
        error = await resources(opened)

    assert isinstance(error, Unreachable)
    assert "Connect call failed" in error.what or "refused" in error.what


async def test_silence_ends_at_the_timeout(ca_file: str) -> None:
    """An accepted connection without an answer is Unreachable."""

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    async with serving(silent) as url, transport(url, ca=ca_file, timeout=0.2) as opened:
        error = await resources(opened)

    assert isinstance(error, Unreachable)
    assert "gave no answer within 0.2 s" in error.what


async def test_write_on_a_connection_that_broke_is_sent_once(ca_file: str) -> None:
    """A kept connection would make aiohttp repeat PUT and DELETE by itself; here it must not."""
    received: list[str] = []

    async def breaking(request: web.Request) -> web.StreamResponse:
        received.append(request.method)
        if request.method == "DELETE":
            assert request.transport is not None
            request.transport.close()
        return web.json_response({"data": []})

    async with serving(breaking) as url, transport(url, ca=ca_file) as opened:
        await opened.send(Request("GET", "/api2/json/x"))
        with pytest.raises(ConnectionResetError):
            await opened.send(Request("DELETE", "/api2/json/x"))

    assert ["GET", "DELETE"] == received


async def test_answer_cut_short_is_a_reset(ca_file: str) -> None:
    """Half a body with a whole Content-Length is no answer."""

    async def short(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b'{"data":')
        assert request.transport is not None
        request.transport.close()
        return answer

    async with serving(short) as url, transport(url, ca=ca_file) as opened:
        with pytest.raises(ConnectionResetError):
            await opened.send(Request("GET", "/api2/json/x"))


async def test_plain_http_on_the_port_is_no_trust_problem(ca_file: str) -> None:
    """Something that speaks no TLS is unreachable, not a wrong certificate."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, transport(f"https://127.0.0.1:{port}", ca=ca_file) as opened:
        error = await resources(opened)

    assert isinstance(error, Unreachable)


async def test_request_is_written_as_proxmox_wants_it(ca_file: str) -> None:
    """Form body with its length and never chunked; booleans are 1 and 0; a UPID survives in the path."""
    seen: list[object] = []

    async def look(request: web.Request) -> web.StreamResponse:
        headers = request.headers
        seen.append((request.raw_path, headers.get("Authorization"), headers.get("Transfer-Encoding")))
        seen.append((headers.get("Content-Length"), (await request.text())))
        return web.json_response({"data": None})

    body = {"full": True, "name": "a b&c", "command": ["sh", "-c"], "sshkeys": "ssh-ed25519%20AA%2B", "none": None}
    async with serving(look) as url, transport(url, ca=ca_file) as opened:
        await opened.send(Request("POST", "/api2/json/nodes/pve1/qemu", body, "u@pve!t=s"))
        await opened.send(Request("GET", "/api2/json/nodes/pve1/tasks/UPID:pve1:0A:u@pve!t:/log", {"limit": 5}))
        await opened.send(Request("POST", "/api2/json/nodes/pve1/qemu/1/status/start"))

    form = "full=1&name=a%20b%26c&command=sh&command=-c&sshkeys=ssh-ed25519%2520AA%252B"
    assert [
        ("/api2/json/nodes/pve1/qemu", "PVEAPIToken=u@pve!t=s", None),
        (str(len(form)), form),
        ("/api2/json/nodes/pve1/tasks/UPID:pve1:0A:u@pve!t:/log?limit=5", None, None),
        (None, ""),
        ("/api2/json/nodes/pve1/qemu/1/status/start", None, None),
        ("0", ""),
    ] == seen


async def test_node_is_asked_by_three_readers_and_two_writers_at_most(ca_file: str) -> None:
    """`failures.md` T11; another node has slots of its own."""
    busy: dict[tuple[str, str], int] = {}
    most: dict[tuple[str, str], int] = {}

    async def count(request: web.Request) -> web.StreamResponse:
        key = (request.path.split("/")[4], request.method)
        busy[key] = busy.get(key, 0) + 1
        most[key] = max(most.get(key, 0), busy[key])
        await asyncio.sleep(0.02)
        busy[key] -= 1
        return web.json_response({"data": None})

    calls = [Request(method, f"/api2/json/nodes/{node}/x") for node in ("a", "b") for method in ("GET", "PUT") * 5]
    async with serving(count) as url, transport(url, ca=ca_file) as opened:
        slots = Slots(opened)
        await asyncio.gather(*(slots.send(call) for call in calls))

    assert {("a", "GET"): 3, ("b", "GET"): 3, ("a", "PUT"): 2, ("b", "PUT"): 2} == most


def test_tls_error_is_what_the_port_promises() -> None:
    """The port names ssl.SSLError; a certificate error is one."""
    assert issubclass(ssl.SSLCertVerificationError, ssl.SSLError)


async def test_whatever_becomes_of_a_call_its_socket_is_closed(ca_file: str) -> None:
    """Cut short, reset, silent, refused: none leaves a file open behind it (`failures.md` D01)."""
    turn = itertools.count()

    async def bad(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        match next(turn) % 3:
            case 0:
                request.transport.abort()
            case 1:
                request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                request.transport.close()
            case _:
                await asyncio.sleep(3600)
        return web.Response()

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with serving(bad) as url:
        before = open_files()
        async with transport(url, ca=ca_file, timeout=0.05) as opened, transport(dead_url(), ca=ca_file) as refused:
            failed = [await resources(each) for each in (opened, refused) * 12]
            during = open_files()
        await asyncio.sleep(0.05)
        after = open_files()

    assert {Unreachable} == {type(one) for one in failed}
    assert during <= before + 4
    assert after <= before
