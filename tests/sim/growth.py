"""How much a daemon keeps, by place: every container that its objects hold, whatever it is called and whoever added it.

It follows attributes, elements and bound methods through cpcd's own classes and the metrics' client, and nothing else:
what is seen of the world has the world's size, and the house and the lab are no part of the daemon. What closures hold
is not found, nor what a port's adapter holds that the house has put another in the place of.
"""

import sqlite3
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from types import MethodType
from typing import Any, Final

from cpcd.daemon import Daemon
from cpcd.model.desired import Desired
from cpcd.model.seen import Seen

__all__ = ["kept"]

OWN: Final = ("cpcd.", "prometheus_client.")
LAB: Final = "cpcd.lab"
WORLD: Final = (Desired, Seen)  # as large as the file, or as what was observed
CONTAINERS: Final = (Mapping, AbstractSet, list, tuple, deque)
LEAVES: Final = (str, bytes, int, float, type(None))


def kept(daemon: Daemon, ledger: sqlite3.Connection | None = None) -> Counter[str]:
    """Return place -> entries: of the daemon's containers, of cpcd's modules, and of the tables of its ledger.

    What two attributes share is counted once, at the place that is nearest to the daemon.
    """
    found = Counter({f"table {name}": count for name, count in _tables(ledger)})
    met: dict[int, Any] = {}  # with the things themselves, so that no id goes to another one meanwhile
    todo: deque[tuple[str, Any]] = deque([("daemon", daemon), *_modules()])
    while todo:
        place, thing = todo.popleft()
        if id(thing) in met or isinstance(thing, LEAVES):
            continue
        met[id(thing)] = thing
        if isinstance(thing, CONTAINERS):
            found[place] += len(thing)
            todo.extend((f"{place}[]", one) for one in (thing.values() if isinstance(thing, Mapping) else thing))
        elif isinstance(thing, MethodType):
            todo.append((place, thing.__self__))
        else:
            todo.extend(_attributes(place, thing))
    return found


def _attributes(place: str, thing: Any) -> Iterator[tuple[str, Any]]:
    slots = _followed(type(thing))
    if slots is not None:
        yield from ((f"{place}.{name}", one) for name, one in getattr(thing, "__dict__", {}).items())
        yield from ((f"{place}.{name}", getattr(thing, name, None)) for name in slots)


@cache
def _followed(kind: type) -> tuple[str, ...] | None:
    """Return the slots of a class whose objects are looked into, None for any other."""
    if issubclass(kind, (type, *WORLD)) or not any(_own(one.__module__) for one in kind.__mro__):
        return None
    named = (one.__dict__.get("__slots__", ()) for one in kind.__mro__)
    return tuple(name for names in named for name in ((names,) if isinstance(names, str) else names))


def _own(module: str) -> bool:
    return module.startswith(OWN) and not module.startswith(LAB)


def _modules() -> Iterator[tuple[str, Any]]:
    """Yield what cpcd's modules hold themselves: what changes, and what a cache without bound remembers."""
    for module in [one for name, one in sys.modules.items() if _own(name)]:
        for name, thing in vars(module).items():
            if name.startswith("__"):
                continue
            about = getattr(thing, "cache_info", None)
            if about is not None and about().maxsize is None:
                yield f"{module.__name__}.{name}", [None] * about().currsize
            elif isinstance(thing, dict | list | set | deque):
                yield f"{module.__name__}.{name}", thing


def _tables(ledger: sqlite3.Connection | None) -> Iterator[tuple[str, int]]:
    if ledger is None:
        return
    for (name,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        yield name, ledger.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - the ledger's own
