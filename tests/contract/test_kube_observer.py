"""What the observer makes of a watch: changes of objects, and nothing of what is none."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from cpcd.ports.kube import GVK, Kube, Object
from cpcd.sources.observer import Observer
from tests.contract.kube_site import CONFIG, Site, config

WATCH_S = 10  # of the site's time: two seconds before the end of a watch comes a last one (cacher, bookmark timer)


class Clock:
    """The site's time, for whoever waits by it."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.sleep = sleep

    def now(self) -> float:
        """Nobody has waited yet."""
        return 0.0


class Hasty:
    """An API whose watches are short, and the kinds of events that they gave."""

    def __init__(self, kube: Kube) -> None:
        self.kube, self.given = kube, set[str]()

    async def watch(self, gvk: GVK, *, since: str, timeout: float) -> AsyncIterator[tuple[str, Object]]:
        """Watch for a moment, whatever is asked for."""
        async for kind, obj in self.kube.watch(gvk, since=since, timeout=min(timeout, WATCH_S)):
            self.given.add(kind)
            yield kind, obj


async def test_bookmark_is_no_event(site: Site) -> None:
    """An API server sends one a minute and one before a watch ends, without a name: taken for an object it would end it."""
    none: Any = None
    clock: Any = Clock(site.wait)
    api: Any = Hasty(site.kube)
    observer = Observer(state=none, ports=none, clock=clock, endpoints=none, read=none, wake=none)
    seen = set[tuple[str, str | None]]()
    _, revision = await site.kube.list(CONFIG)
    await site.kube.apply(config("first"))
    async for kind, obj in observer._events(api, CONFIG, revision):
        seen.add((kind, obj["metadata"].get("name")))
        # Now that the watch is open: of what it began with there is no bookmark.
        if (kind, obj["metadata"].get("name")) == ("ADDED", "first"):
            await site.kube.apply(config("second"))

    assert "BOOKMARK" in api.given
    assert {("ADDED", "first"), ("ADDED", "second")} <= seen
    assert "BOOKMARK" not in {kind for kind, _ in seen}
