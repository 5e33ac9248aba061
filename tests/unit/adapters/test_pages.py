"""The pages for machines, over a real port."""

import socket

import aiohttp
import pytest

from cpcd.adapters.pages import Pages, PagesServer
from cpcd.model.errors import Code, Failure


async def fetched(pages: Pages, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """Status and text of one page."""
    server = PagesServer(pages, host, 0)
    port = await server.start()
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}{path}") as response:
            return response.status, await response.text()
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/metrics", (200, "cpcd_build_info 1\n")),
        ("/healthz", (503, "the dispatcher is stuck\n")),
        ("/readyz", (200, "ok\n")),
    ],
)
async def test_a_page_shows_what_it_is_given(path: str, expected: tuple[int, str]) -> None:
    """Health and readiness are a word and a status; why not is on the page."""
    pages = Pages(lambda: b"cpcd_build_info 1\n", lambda: "the dispatcher is stuck", lambda: "")

    assert expected == await fetched(pages, path)


def loopback6() -> bool:
    """Whether this machine has an IPv6 loopback address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not loopback6(), reason="there is no ::1 here")
async def test_an_ipv6_address_is_listened_on() -> None:
    """With the brackets in which `listen` has to be written, and which no resolver takes."""
    assert (200, "ok\n") == await fetched(Pages(bytes, str, str), "/healthz", "[::1]")


async def test_a_port_in_use_is_a_failure_to_live_with() -> None:
    """The second server says which address it could not have (`failures.md` D15)."""
    pages = Pages(bytes, str, str)
    first = PagesServer(pages, "127.0.0.1", 0)
    port = await first.start()
    with pytest.raises(Failure, match="pages are off") as caught:
        await PagesServer(pages, "127.0.0.1", port).start()
    await first.close()

    assert (Code.DEPENDENCY, f"127.0.0.1:{port}") == (caught.value.code, caught.value.target)
