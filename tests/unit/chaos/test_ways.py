"""The proxies of `make chaos`: what is not troubled arrives whole, and each fault does what it is called."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos import ways
from tests.chaos.ways import Fault, Towards, Ways, _Hand

HERE = ("127.0.0.1", 0)
LONG = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for long."""
    monkeypatch.setattr(ways, "SILENCE", 0.05)
    monkeypatch.setattr(ways, "SWALLOW", 0.05)


@asynccontextmanager
async def echo(heard: bytearray) -> AsyncIterator[tuple[str, int]]:
    """Answer with what was heard, after the end of a stream with `bye`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                heard.extend(data)
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, *HERE)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def say(port: int, words: bytes) -> tuple[bytes, bool]:
    """Say something and hang up; return the answer as far as it came, and whether it ended in a reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    try:
        writer.write(words)
        writer.write_eof()
        while data := await reader.read(65_536):
            heard += data
    except ConnectionError:
        return heard, True
    finally:
        writer.transport.abort()
    return heard, False


async def told(hand: _Hand, words: bytes, observe: Callable[[Towards], bool]) -> tuple[bytes, bytes, bool, Ways]:
    """Say words through a way with one hand; return what arrived, what came back, whether reset, and the ways."""
    heard = bytearray()
    laid = Ways("seed")
    laid.rough, laid.observe = True, observe
    laid._deal = lambda: hand  # type: ignore[method-assign]
    try:
        async with echo(heard) as far:
            answer, reset = await say(await laid.lay("it", HERE, far), words)
    finally:
        await laid.close()
    return bytes(heard), answer, reset, laid


async def test_an_untroubled_connection_is_whole() -> None:
    """A megabyte goes there and comes back, and the end of the stream is passed on."""
    seen: list[Towards] = []
    heard, answer, reset, laid = await told(_Hand(), LONG, lambda towards: seen.append(towards) or True)

    assert (heard, answer, reset) == (LONG, LONG + b"bye", False)
    assert set(seen) == set(Towards)
    assert laid.struck == {}


async def test_a_piece_that_may_not_go_on_never_arrives() -> None:
    """The observer's refusal cuts the connection before the piece."""
    heard, answer, _, _ = await told(_Hand(), b"hello", lambda towards: towards is Towards.DAEMON)

    assert (heard, answer) == (b"", b"")


@pytest.mark.parametrize(
    ("fault", "at", "arrives", "answered"),
    [
        (Fault.REFUSED, 0, b"", b""),
        (Fault.CUT_REQUEST, 3, b"hel", b""),
        (Fault.CUT_ANSWER, 3, b"hello", b"hel"),
        (Fault.LOST_ANSWER, 0, b"hello", b""),
        (Fault.DELAYED, 0, b"hello", b"hellobye"),
        (Fault.FLIPPED_REQUEST, 1, b"hullo", b"hullobye"),
        (Fault.FLIPPED_ANSWER, 1, b"hello", b"hullobye"),
        (Fault.HALF_CLOSED, 0, b"", b"bye"),
        (Fault.SILENT, 0, b"", b""),
    ],
)
async def test_each_fault_does_what_it_is_called(fault: Fault, at: int, arrives: bytes, answered: bytes) -> None:
    """What arrives at the lab, what comes back; it is counted once."""
    heard, answer, _, laid = await told(_Hand(fault, at, 0.01), b"hello", lambda _: True)

    assert heard == arrives
    assert answered.startswith(answer) if fault in {Fault.CUT_REQUEST, Fault.CUT_ANSWER} else answer == answered
    assert laid.struck == {"it": {fault.value: 1}}


def _hands(seed: str, *, rough: bool) -> Iterator[_Hand]:
    laid = Ways(seed)
    laid.rough = rough
    return (laid._deal() for _ in range(200))


def test_a_seed_deals_the_same_hands() -> None:
    """The same seed, the same faults, all of them; another seed, others; none while the ways are smooth."""
    one, again, other = (list(_hands(seed, rough=True)) for seed in ("a", "a", "b"))

    assert one == again
    assert one != other
    assert {hand.fault for hand in one} == {None, *Fault}
    assert {hand.fault for hand in _hands("a", rough=False)} == {None}
