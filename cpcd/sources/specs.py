"""The spec in force: read what is committed, compile it beside what stands, keep the last good one on disk.

A broken, missing or empty spec changes nothing; its mistakes are published and the last good one stays in force.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from cpcd.model.desired import Desired
from cpcd.model.errors import Bug, Code, Failure
from cpcd.model.ledger import Change, PutFact
from cpcd.model.view import View
from cpcd.plan.edits import renamed
from cpcd.spec import Mistake, Reading, read_spec
from cpcd.spec.standing import compile_beside, remembered

__all__ = ["Files", "Snapshot", "SpecNews", "Specs", "judged"]

LAST_GOOD = "spec/last-good"

_log = logging.getLogger("cpcd")


class Snapshot(Protocol):
    """The spec's bytes at one moment (`adapters.disk.Snapshot`)."""

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

    @property
    def place(self) -> str:
        """Where it is: an absolute path, links resolved."""
        ...

    async def read(self, *, lying: bool = False) -> Snapshot:
        """Return the spec as it is now, with `lying` as it lies there, committed or not; raises Failure."""
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


Contents = Mapping[str, bytes]
Judge = Callable[[Contents, Contents], Awaitable[Reading]]


async def judged(files: Contents, referred: Contents) -> Reading:
    """Read a spec here and now, which can take seconds for a mistaken file of a mebibyte."""
    return read_spec(files, referred=referred)


class Specs:
    """Turns snapshots into what is wanted; `operator_key` is cpcd's own public key.

    `judge` reads files and those that they refer to: the daemon's does it in a thread, so that no spec holds up what else there is to do.
    """

    def __init__(
        self, files: Files, *, view: Callable[[], View], operator_key: str,
        judge: Judge = judged,
    ) -> None:  # fmt: skip
        self._files, self._view, self._operator_key, self._judge = files, view, operator_key, judge

    async def look(self) -> SpecNews:
        """Read the spec as it is now; never raises for what it holds or lacks, nor for what cpcd did not foresee."""
        try:
            return await self._looked_at(await self._files.read())
        except Failure as failure:
            return _unread(failure)
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good spec stays and the reason is published
            _log.exception("the spec cannot be read")
            return _unread(Bug(f"{type(error).__name__}: {error}"))

    async def check(self, place: str) -> dict[str, Any]:
        """Return what stands already against the spec as it lies there, committed or not.

        `{compared, mistakes, warnings}`: nothing is compared when `place` (absolute, links resolved) is not this spec, or when it
        has mistakes of its own. Raises Failure when it cannot be read.
        """
        incomparable = {"compared": False, "mistakes": [], "warnings": []}
        if place != self._files.place:
            return incomparable
        lying = await self._files.read(lying=True)
        reading = await self._judge(lying.files, lying.referred)
        if reading.mistakes:
            return incomparable
        desired, mistakes = self._compiled(reading)
        warnings = [*renamed(desired, self._view().ledger)]
        return {"compared": True, "mistakes": [asdict(mistake) for mistake in mistakes], "warnings": warnings}

    def watch(self) -> AsyncIterator[None]:
        """Yield whenever the spec may have changed."""
        return self._files.watch()

    def last_good(self) -> SpecNews | None:
        """Return the last good spec from the ledger, None when there never was one that this cpcd understands."""
        kept = self._view().facts.get(LAST_GOOD)
        if kept is None:
            return None
        files, referred = ({name: text.encode() for name, text in kept[part].items()} for part in ("files", "referred"))
        # Judged anew: it may have been kept by another version of cpcd.
        reading = read_spec(files, referred=referred)
        if reading.mistakes:
            return None
        return SpecNews(self._compiled(reading)[0], (), kept["generation"], f"last good spec, {kept['source']}")

    async def _looked_at(self, snapshot: Snapshot) -> SpecNews:
        about = (snapshot.generation, snapshot.source, snapshot.uncommitted)
        reading = await self._judge(snapshot.files, snapshot.referred)
        if reading.mistakes:
            return SpecNews(None, tuple(map(str, reading.mistakes)), *about)
        desired, mistakes = self._compiled(reading)
        if mistakes:
            return SpecNews(None, tuple(map(str, mistakes)), *about)
        changes = (_kept(snapshot), *remembered(desired, self._view().ledger))
        return SpecNews(desired, (), *about, changes=changes)

    def _compiled(self, reading: Reading) -> tuple[Desired, tuple[Mistake, ...]]:
        return compile_beside(reading, self._view().ledger, operator_key=self._operator_key)


def _unread(failure: Failure) -> SpecNews:
    return SpecNews(None, (failure.told,), code=failure.code)


def _kept(snapshot: Snapshot) -> PutFact:
    value: dict[str, Any] = {
        "files": {name: content.decode() for name, content in snapshot.files.items()},
        "referred": {name: content.decode() for name, content in snapshot.referred.items()},
        "generation": snapshot.generation,
        "source": snapshot.source,
    }
    return PutFact(LAST_GOOD, json.loads(json.dumps(value)))
