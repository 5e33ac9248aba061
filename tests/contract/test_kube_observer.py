"""What the observer makes of a watch: changes of objects, and nothing of what is none."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cpcd.ports.kube import GVK
from cpcd.sources.observer import Observer
from tests.contract.kube_site import Site, in_process

NODE = GVK("v1", "Node")


class Clock:
    """The site's time, for whoever waits by it."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.sleep = sleep

    def now(self) -> float:
        """Nobody has waited yet."""
        return 0.0


async def kinds(site: Site) -> tuple[set[str], set[str]]:
    """Return the types of events that a quiet watch of Nodes gives, and those that the observer lets through."""
    none: Any = None
    clock: Any = Clock(site.wait)
    observer = Observer(state=none, ports=none, clock=clock, endpoints=none, read=none, wake=none)
    await site.wait(60)
    _, revision = await site.kube.list(NODE)
    given = {kind async for kind, _ in site.kube.watch(NODE, since=revision, timeout=130)}
    return given, {kind async for kind, _ in observer._events(site.kube, NODE, revision)}


async def test_bookmark_is_no_event(tmp_path: Path) -> None:
    """A real API server sends one a minute, which has no name: taken for a Node it would end the watch."""
    async for site in in_process(tmp_path):
        given, seen = await kinds(site)

    assert "BOOKMARK" in given
    assert "BOOKMARK" not in seen
