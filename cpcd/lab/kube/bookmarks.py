"""When an API server says how far a watch is: so that the next one begins close to now."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

from cpcd.lab.provenance import source
from cpcd.ports.kube import GVK

__all__ = ["bookmark", "moments"]

_EACH: Final = 60.0  # seconds
_BEFORE_END: Final = 2.0  # seconds


@source("cacheWatcher: nextBookmarkTime; make bench-kube and make test-kube, v1.35.4")
def moments(timeout: float) -> Iterator[float]:
    """Yield after how many seconds of a watch: each minute, and shortly before its end."""
    last = timeout - _BEFORE_END
    yield from itertools.takewhile(lambda moment: moment < last, itertools.count(_EACH, _EACH))
    if last > 0:
        yield last


@source("Kubernetes API concepts: watch bookmarks; cacheWatcher: process; make test-kube, v1.35.4")
def bookmark(gvk: GVK, since: str, revision: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the event, unless its revision is the one that the watch began with: of an object it has no name."""
    if revision != since:
        yield "BOOKMARK", {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": {"resourceVersion": revision}}
