"""Watches of the modelled Kubernetes API, as the lines that go over the wire.

Changes come from the store's log, so that nothing is missed between two reads. Next: `kube.py`, which writes them.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from cpcd.lab.kube.bookmarks import bookmark, moments
from cpcd.lab.kube.errors import ApiError
from cpcd.lab.kube.store import Store
from cpcd.ports.kube import GVK

__all__ = ["lines"]


async def lines(
    store: Store,
    gvk: GVK,
    namespace: str,
    since: str,
    *,
    sleep: Callable[[float], Awaitable[None]],
    timeout: float,
    marked: bool,
) -> AsyncGenerator[bytes]:
    """Yield one JSON line a change after `since` for `timeout` seconds of the lab; a compacted `since` ends it with ERROR.

    With `marked` there are bookmarks, too.
    """
    seen = since if since not in {"", "0"} else str(store.objects.revision)
    due, news = list[float](), asyncio.Event()

    async def limit() -> None:
        passed = 0.0
        for moment in moments(timeout) if marked else ():
            await sleep(moment - passed)
            passed = moment
            due.append(moment)
            news.set()
        await sleep(timeout - passed)

    unsubscribe = store.subscribe(news.set)
    over = asyncio.ensure_future(limit())
    over.add_done_callback(lambda _: news.set())
    try:
        while not over.done():
            # Before the log is read: what comes while it is written out is found in the next turn.
            news.clear()
            changes = store.changes(gvk, seen)
            seen = str(max(store.objects.revision, int(seen)))
            for change in changes:
                if namespace in {"", change.obj["metadata"].get("namespace", "")}:
                    yield _line(change.type, change.obj)
            if due:
                due.clear()
                yield _line(*bookmark(gvk, seen))
            await news.wait()
    except ApiError as error:
        yield _line("ERROR", error.body)
    finally:
        over.cancel()
        unsubscribe()


def _line(kind: str, obj: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"
