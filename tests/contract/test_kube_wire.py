"""What the adapter makes of bad lines and of answers in parts: slow, silent, cut, refused, and a list that expires."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cpcd.adapters.kube import KubeApi
from cpcd.model.errors import Code, Unreachable
from tests.contract.kube_site import CONFIG, EVENT, NODE, SPACE, Site, config, event, failure, over_https
from tests.contract.wire import Wire, wire

HASTE = 10.0  # what ends by its limit does so after a tenth of it: 3 s for a call


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Return the lab over HTTPS alone: in process there is no line."""
    async for opened in over_https(tmp_path / "private"):
        await opened.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        yield opened


@dataclass
class Line:
    """The adapter at the end of a line, one call of which has gone well; `hasty` has less patience."""

    wire: Wire
    kube: KubeApi
    hasty: KubeApi


@pytest.fixture
async def line(site: Site, tmp_path: Path) -> AsyncIterator[Line]:
    """Return a line to the site, beside the one of its own."""
    async with wire(site.place) as made:
        patient, hasty = (
            KubeApi(site.kubeconfig, endpoint="kube:bad", cache_dir=tmp_path / "line", scale=scale, server=made.server)
            for scale in (1.0, HASTE)
        )
        for api in (patient, hasty):
            await api.apply(config(a="1"))
        yield Line(made, patient, hasty)
        for api in (patient, hasty):
            await api.close()


async def test_slow_answer_is_an_answer(line: Line) -> None:
    """As long as it is whole within the call's limit."""
    line.wire.slow = 0.1
    found = await line.kube.get(CONFIG, "c", SPACE)

    assert found is not None
    assert {"a": "1"} == found["data"]


async def test_answer_that_never_ends_is_none(line: Line, site: Site) -> None:
    """Each piece is in time, and the whole is not: the limit is for the call."""
    for number in range(20):
        await site.kube.apply(config(f"large-{number}", text=secrets.token_urlsafe(10_000)))
    line.wire.slow = 0.1
    error = await failure(line.hasty.list(CONFIG, namespace=SPACE))

    assert isinstance(error, Unreachable)


async def test_silence_is_unreachable(line: Line) -> None:
    """A connection that stands and says nothing is no answer, and the next call is another's."""
    line.wire.open.clear()
    error = await failure(line.hasty.get(CONFIG, "c", SPACE))
    line.wire.open.set()

    assert isinstance(error, Unreachable)
    assert await line.kube.get(CONFIG, "c", SPACE)


async def test_write_whose_answer_is_lost_is_not_sent_again(line: Line, site: Site) -> None:
    """It had its effect all the same, and whoever asks again finds it (`failures.md` rule 1)."""
    line.wire.open.clear()
    error = await failure(line.hasty.patch(CONFIG, "c", {"data": {"a": "2"}}, namespace=SPACE))
    stored = await site.kube.get(CONFIG, "c", SPACE)
    line.wire.open.set()

    assert isinstance(error, Unreachable)
    assert stored is not None
    assert "2" == stored["data"]["a"]
    assert stored == await line.kube.get(CONFIG, "c", SPACE)


async def test_answer_that_is_cut_off_is_none(line: Line) -> None:
    """The line is cut while the call waits."""
    line.wire.open.clear()
    asked = asyncio.create_task(failure(line.kube.get(CONFIG, "c", SPACE)))
    await asyncio.sleep(0.1)
    line.wire.cut()
    line.wire.open.set()

    assert isinstance(await asked, Unreachable)
    assert await line.kube.get(CONFIG, "c", SPACE)


async def test_refused_connection_is_unreachable(line: Line) -> None:
    """Nobody listens any more."""
    line.wire.refuse()
    error = await failure(line.kube.get(CONFIG, "c", SPACE))

    assert isinstance(error, Unreachable)


async def test_watch_that_is_cut_off_ends_and_nothing_is_missed(line: Line, site: Site) -> None:
    """What happens between two watches is in the list that the next one begins with (`failures.md` C06)."""
    _, revision = await line.kube.list(CONFIG)
    seen, began = list[str](), asyncio.Event()

    async def watch() -> None:
        async for kind, obj in line.kube.watch(CONFIG, since=revision, timeout=1e6):
            if kind != "BOOKMARK":
                seen.append(obj["metadata"]["name"])
                began.set()

    watching = asyncio.create_task(watch())
    await site.kube.apply(config("before", a="1"))
    await began.wait()
    line.wire.cut()
    [ended] = await asyncio.gather(watching, return_exceptions=True)
    await site.kube.apply(config("between", a="1"))
    listed, _ = await line.kube.list(CONFIG, namespace=SPACE)

    assert isinstance(ended, Unreachable)
    assert ["before"] == seen
    assert {"before", "between"} <= {one["metadata"]["name"] for one in listed}


async def test_watch_on_a_silent_line_ends(line: Line) -> None:
    """Nothing comes of a half-open connection, not even its end (`failures.md` C01)."""
    _, revision = await line.kube.list(CONFIG)
    line.wire.open.clear()
    error = await failure(anext(aiter(line.hasty.watch(CONFIG, since=revision, timeout=1))))

    assert Code.NETWORK is error.code


async def test_lists_and_watches_come_without_their_bulk(line: Line, site: Site) -> None:
    """Who wrote what is told of a single object alone; of a Node its images, addresses and sizes are left out too."""
    configs, version = await line.kube.list(CONFIG, namespace=SPACE)
    nodes, _ = await line.kube.list(NODE)
    await site.kube.apply(config(a="2"))
    _, event = await anext(aiter(line.kube.watch(CONFIG, since=version)))
    whole = await line.kube.get(CONFIG, "c", SPACE)

    assert whole is not None
    assert "managedFields" in whole["metadata"]
    assert not [one for one in (*configs, *nodes, event) if "managedFields" in one["metadata"]]
    assert nodes
    assert not [one for one in nodes if {"images", "addresses", "capacity", "allocatable"} & one["status"].keys()]


async def test_list_of_many_pages_is_whole(line: Line) -> None:
    """501 objects are two pages."""
    await many(line.kube)
    asked = list[int]()

    async def ask(number: int) -> None:
        asked.append(number)

    line.wire.asks = ask
    listed, _ = await line.kube.list(EVENT, namespace=SPACE)

    assert 2 == len(asked)
    assert {f"contract.{number}" for number in range(501)} <= {one["metadata"]["name"] for one in listed}
    assert len(listed) == len({one["metadata"]["uid"] for one in listed})


async def test_list_that_expires_between_two_pages_is_read_anew(line: Line, site: Site) -> None:
    """The token to go on with is as old as its list: 410, and then everything in one piece (`failures.md` C02)."""
    await many(line.kube)
    pages = 0

    async def ask(_: int) -> None:
        nonlocal pages
        pages += 1
        if pages == 2:
            await site.kube.apply(event(501))
            await site.compact()

    await line.kube.list(EVENT, fields="metadata.name=none")
    line.wire.asks = ask
    listed, _ = await line.kube.list(EVENT, namespace=SPACE)

    assert 3 == pages
    assert {f"contract.{number}" for number in range(502)} <= {one["metadata"]["name"] for one in listed}
    assert len(listed) == len({one["metadata"]["uid"] for one in listed})


async def many(kube: KubeApi) -> None:
    """Make one Event more than a page has."""
    for start in range(0, 501, 10):
        await asyncio.gather(*(kube.apply(event(number)) for number in range(start, min(start + 10, 501))))
