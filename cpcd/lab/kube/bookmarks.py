"""When an API server says how far a watch is though nothing happened: so that the next one begins close to now."""

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
def bookmark(gvk: GVK, revision: str) -> tuple[str, dict[str, Any]]:
    """Return the event: of an object it has the kind and a revision, and no name.

    The revision is the store's: kubeadm's etcd tells an API server each 5 s how far it is (recorded [145]), and leases
    are always renewed. Where nothing at all is written, a real one sends none; this one, which renews no leases, does.
    """
    return "BOOKMARK", {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": {"resourceVersion": revision}}
