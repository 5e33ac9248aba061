"""Objects by the names that people type: `machine/home-wk-1`, `home/addon/cni`, or a bare name that is unique."""

import re
from collections import Counter
from typing import Any, Final

import click

from cpcd.cli.session import Session
from cpcd.model.errors import Code, Failure

__all__ = [
    "complete_anything",
    "complete_approvals",
    "complete_clusters",
    "complete_objects",
    "find",
    "key_of",
    "meant",
]

Object = dict[str, Any]
_APPROVAL: Final = re.compile(r"`cpcd approve ([^`]+)`")


def meant(document: dict[str, Any], words: str) -> list[Object]:
    """Return all objects of a status document that a name can mean."""
    return [entry for entry in document["objects"] if words in _names(entry)]


def find(document: dict[str, Any], words: str) -> Object:
    """Return the one object of a status document that is meant; raises Failure(InvalidInput) for none or several."""
    found = meant(document, words)
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(map(_whole, found))
        raise Failure(Code.INPUT, f"{words} could be any of {several}", hint="Write it as CLUSTER/KIND/NAME.")
    raise _unknown(words, _unambiguous(document))


def _unknown(words: str, known: list[str]) -> Failure:
    import difflib

    near = [name for name in known if words in name][:3] or difflib.get_close_matches(words, known, 3) or known[:3]
    hint = f"Known are, among others: {', '.join(near)}." if known else "There is no object yet; see `cpcd status`."
    return Failure(Code.INPUT, f"there is no object called {words}", hint=hint)


def key_of(entry: Object) -> str:
    """Return the key of an object as the daemon writes it."""
    return f"{entry['cluster'] or entry['site']}/{entry['kind']}/{entry['id']}"


def complete_objects(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete KIND/NAME by asking the daemon; silence completes nothing."""
    return _complete(_objects(_status(ctx)), incomplete)


def complete_clusters(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete a cluster's name by asking the daemon."""
    return _complete(_clusters(_status(ctx)), incomplete)


def complete_anything(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete KIND/NAME or a cluster's name by asking the daemon."""
    status = _status(ctx)
    return _complete(_clusters(status) + _objects(status), incomplete)


def complete_approvals(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the id of what waits for consent, from the sentence in which each object says so."""
    told = " ".join(entry["sentence"] for entry in _status(ctx)["objects"])
    return _complete(_APPROVAL.findall(told), incomplete)


def _whole(entry: Object) -> str:
    return f"{entry['cluster'] or entry['site']}/{entry['kind']}/{entry['name']}"


def _unambiguous(status: dict[str, Any]) -> list[str]:
    """Return a name for each object that means it alone: KIND/NAME where no other cluster has the same."""
    times = Counter(_objects(status))
    pairs = zip(_objects(status), status["objects"], strict=True)
    return sorted(name if times[name] == 1 else _whole(entry) for name, entry in pairs)


def _objects(status: dict[str, Any]) -> list[str]:
    return [f"{entry['kind']}/{entry['name']}" for entry in status["objects"]]


def _clusters(status: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in status["clusters"]]


def _complete(names: list[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _status(ctx: click.Context) -> dict[str, Any]:
    session = ctx.find_object(Session)
    root = ctx.find_root()
    try:
        return dict((session or Session(root.params["socket"])).client(timeout=0.5).get("/status"))
    except (Failure, KeyError):
        return {"objects": [], "clusters": []}


def _names(entry: Object) -> set[str]:
    cluster, kind, name, uid = entry["cluster"] or entry["site"], entry["kind"], entry["name"], entry["id"]
    return {name, uid, f"{kind}/{name}", f"{kind}/{uid}", f"{cluster}/{kind}/{name}", f"{cluster}/{kind}/{uid}"}
