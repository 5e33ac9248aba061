"""The spec in force: read what is committed, compile it, refuse what cannot change, keep the last good one on disk.

A broken, missing or empty spec changes nothing; its mistakes are published and the last good one stays in force.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cpcd.model.desired import Desired
from cpcd.model.errors import Code, Failure
from cpcd.model.ledger import Change, PutFact
from cpcd.model.view import View
from cpcd.spec import read_spec
from cpcd.spec.compile import compile_spec, fixed

__all__ = ["Files", "Snapshot", "SpecNews", "Specs"]

LAST_GOOD = "spec/last-good"


class Snapshot(Protocol):
    """The spec's bytes at one moment (`adapters.files.Snapshot`)."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """The spec's own files by name."""
        ...

    @property
    def referred(self) -> Mapping[str, bytes]:
        """Files that it refers to."""
        ...

    @property
    def generation(self) -> str:
        """Commit id or hash."""
        ...

    @property
    def uncommitted(self) -> bool:
        """Whether the work tree differs."""
        ...

    @property
    def source(self) -> str:
        """Where it is from, for people."""
        ...


class Files(Protocol):
    """Reads and watches the spec (`adapters.files.SpecFiles`)."""

    async def read(self) -> Snapshot:
        """Return the spec as it is now; raises Failure."""
        ...

    def watch(self) -> AsyncIterator[None]:
        """Yield whenever it may have changed."""
        ...


@dataclass(frozen=True, slots=True)
class SpecNews:
    """What a look at the spec came to.

    `desired` is None when nothing new is in force; `mistakes` are printable lines, `code` says of what kind they are;
    `changes` are stored with it.
    """

    desired: Desired | None
    mistakes: tuple[str, ...]
    generation: str = ""
    source: str = ""
    uncommitted: bool = False
    changes: tuple[Change, ...] = field(default=())
    code: Code = Code.CONFIG


class Specs:
    """Turns snapshots into what is wanted; `operator_key` is cpcd's own public key."""

    def __init__(self, files: Files, *, view: Callable[[], View], operator_key: str) -> None:
        self._files, self._view, self._operator_key = files, view, operator_key

    async def look(self) -> SpecNews:
        """Read the spec as it is now; never raises for what it holds or lacks."""
        try:
            snapshot = await self._files.read()
        except Failure as failure:
            return SpecNews(None, (failure.told,), code=failure.code)
        return self._judge(snapshot)

    def watch(self) -> AsyncIterator[None]:
        """Yield whenever the spec may have changed."""
        return self._files.watch()

    def last_good(self) -> SpecNews | None:
        """Return the last good spec from the ledger, None when there never was one that this cpcd understands."""
        kept = self._view().facts.get(LAST_GOOD)
        if kept is None:
            return None
        files = {name: text.encode() for name, text in kept["files"].items()}
        referred = {name: text.encode() for name, text in kept["referred"].items()}
        reading = read_spec(files, referred=referred)
        if reading.mistakes:
            return None
        desired = compile_spec(reading, operator_key=self._operator_key, sites=self._sites())
        return SpecNews(desired, (), kept["generation"], f"last good spec, {kept['source']}")

    def _sites(self) -> set[str]:
        """The names by which machines know their Proxmox: an endpoint more or less does not make it another."""
        return {row.site for row in self._view().machines.values()}

    def _judge(self, snapshot: Snapshot) -> SpecNews:
        about = (snapshot.generation, snapshot.source, snapshot.uncommitted)
        reading = read_spec(snapshot.files, referred=snapshot.referred)
        if reading.mistakes:
            return SpecNews(None, tuple(str(mistake) for mistake in reading.mistakes), *about)
        desired = compile_spec(reading, operator_key=self._operator_key, sites=self._sites())
        refused = _unchangeable(self._view(), desired)
        if refused:
            return SpecNews(None, refused, *about)
        return SpecNews(desired, (), *about, changes=(_kept(snapshot), *_fixed(self._view(), desired)))


def _unchangeable(view: View, desired: Desired) -> tuple[str, ...]:
    """Refuse what cannot change after creation, naming field, old and new value."""
    refused: list[str] = []
    for name, cluster in desired.clusters.items():
        before: dict[str, str] = view.facts.get(f"fixed/{name}", {})
        for word, value in fixed(cluster).items():
            if before.get(word, value) == value:
                continue
            why = "upgrades are not supported yet" if word == "version" else "it cannot change after creation"
            refused.append(f"{name}: {word} is {before[word] or 'empty'} and cannot become {value or 'empty'}: {why}")
    return tuple(refused)


def _kept(snapshot: Snapshot) -> PutFact:
    value: dict[str, Any] = {
        "files": {name: content.decode() for name, content in snapshot.files.items()},
        "referred": {name: content.decode("utf-8", "replace") for name, content in snapshot.referred.items()},
        "generation": snapshot.generation,
        "source": snapshot.source,
    }
    return PutFact(LAST_GOOD, json.loads(json.dumps(value)))


def _fixed(view: View, desired: Desired) -> tuple[PutFact, ...]:
    """Remember what cannot change, from the first machine on: until then everything can."""
    begun = {row.cluster for row in view.machines.values()}
    return tuple(
        PutFact(f"fixed/{name}", fixed(cluster)) for name, cluster in desired.clusters.items() if name not in begun
    )
