"""Lists in pages, as clients ask for them with `limit` and go on with `continue`.

A token is the revision of its list and how far that was handed out; nothing is kept between two pages.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cpcd.lab.kube import ApiError, Store
from cpcd.lab.provenance import source
from cpcd.ports.kube import GVK

__all__ = ["page"]

Object = dict[str, Any]


@source("KEP-365", "make test-kube, v1.35.4")
def page(
    store: Store, gvk: GVK, items: list[Object], revision: str, query: Mapping[str, str]
) -> tuple[list[Object], dict[str, Any]]:
    """Return one page of a list and the list's metadata; ApiError 410 for a token whose list is no more.

    The real server's list outlives changes for some minutes; this one's does not, which every client must bear as well.
    """
    start, limit = 0, int(query.get("limit") or 0)
    if token := query.get("continue"):
        revision, start = json.loads(base64.urlsafe_b64decode(token))
        if _changed(store, gvk, revision):
            raise ApiError(
                410, "Expired", "The provided continue parameter is too old to display a consistent list result."
            )
    metadata: dict[str, Any] = {"resourceVersion": revision}
    end = start + limit if limit else len(items)
    if len(items) > end:
        metadata["continue"] = base64.urlsafe_b64encode(json.dumps([revision, end]).encode()).decode()
        metadata["remainingItemCount"] = len(items) - end
    return items[start:end], metadata


def _changed(store: Store, gvk: GVK, revision: str) -> bool:
    try:
        return bool(store.changes(gvk, revision))
    except ApiError:
        return True  # forgotten, so nobody can say that it has not
