"""The view in force: the only place where ledger and observations change, and where changes wake keys.

`commit` changes the view first and stores second, in one call: guards of other keys see an open op before the
journal has it, and its effect starts only when the journal does. A journal that cannot write freezes all mutation
until it can again; then its content, not ours, is the truth.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cpcd.loop.interest import Interest
from cpcd.model.desired import Desired
from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Key, OpId, Scope, Wall
from cpcd.model.ledger import Change, CloseOp, Op
from cpcd.model.seen import Seen
from cpcd.model.view import View
from cpcd.ports.clock import Clock
from cpcd.ports.journal import Journal

__all__ = ["State"]


class Waits(Mapping[str, float]):
    """When waits began, as wall times of now: kept in monotonic seconds, so that a stepped clock changes no wait."""

    def __init__(self, began: Mapping[str, float], step: float) -> None:
        self._began, self._step = began, step

    def __getitem__(self, name: str) -> float:
        return self._began[name] + self._step

    def __iter__(self) -> Iterator[str]:
        return iter(self._began)

    def __len__(self) -> int:
        return len(self._began)


class State:
    """Owns the view; `tokens(changes, before)` and `affected(changes)` say what a ledger change wakes.

    `lasting(scope, value)` names what of an observation is timed from its first sight (`View.since`).
    """

    def __init__(  # noqa: PLR0913 - everything that the engine does not know is an argument
        self,
        *,
        journal: Journal,
        clock: Clock,
        tokens: Callable[[Change, View], Iterable[str]],
        affected: Callable[[Change, View], Iterable[Key]],
        stale: Callable[[Change, View], Iterable[Scope]],
        lasting: Callable[[Scope, Any], Iterable[str]],
        mint: Callable[[], str],
        interest: Interest[Key],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._tokens = tokens
        self._affected = affected
        self._stale = stale
        self._lasting = lasting
        self._mint = mint
        self.interest = interest
        self._view = View()
        self._since: dict[str, float] = {}
        self._timed: dict[Key | Scope, frozenset[str]] = {}
        self._known: dict[OpId, float] = {}
        self.frozen: Failure | None = None

    @property
    def view(self) -> View:
        """The view now; `wall` is current and `fresh` holds ids to mint from."""
        wall = self._clock.wall()
        return self._view.at(Wall(wall), Waits(self._since, wall - self._clock.now()), (self._mint(),))

    async def load(self) -> None:
        """Take the ledger from the journal; raises Failure(STATE) when it is corrupt."""
        self._view = replace(self._view, ledger=await self._journal.load())

    def desire(self, desired: Desired) -> None:
        """Put another spec in force."""
        self._view = replace(self._view, desired=desired)

    def observe(self, seen: Mapping[Scope, Seen[Any]], *, by: Key | None = None) -> None:
        """Take observations and wake whoever is interested in one whose meaning changed.

        Not `by`, whose pass reads them: it decides on them now, and its backoff is not broken by what it saw itself.
        One whose read began before that of what is known is older news, however late it came: it changes nothing.
        """
        known = self._view.bulk
        seen = {scope: new for scope, new in seen.items() if scope not in known or new.began >= known[scope].began}
        changed = [scope for scope, new in seen.items() if _differs(known.get(scope), new)]
        self._view = self._view.with_seen(seen)
        for scope in changed:
            if seen[scope].complete:  # what cannot be seen has not ended
                self._time(scope, self._lasting(scope, seen[scope].value))
            self.signal(str(scope), by=by)

    async def commit(self, changes: tuple[Change, ...], *, by: Key | None = None) -> None:
        """Change the ledger now and make it durable; raises Failure(STATE) and freezes when that is impossible.

        Wakes whom the changes are about but `by`, whose own pass they are.
        """
        if not changes:
            return
        if self.frozen is not None:
            raise self.frozen
        before = self._view
        # With the change itself: nobody may decide on a VM that was looked up under a VMID which the row no longer has.
        gone = [scope for change in changes for scope in self._stale(change, before)]
        self._view = before.with_ledger(changes).without(gone)
        for scope in gone:
            self._time(scope, ())
        self._forget(changes)
        try:
            await self._journal.commit(changes)
        except Failure as failure:
            # The view is not taken back: whether this was stored is unknown until the journal is read again (`thaw`).
            self.frozen = failure
            raise
        # Only when it is on the disk: whoever is woken acts on it.
        self._tell(changes, before, by)

    def _forget(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, CloseOp):
                self._known.pop(change.id, None)

    def _tell(self, changes: Iterable[Change], before: View, by: Key | None) -> None:
        for change in changes:
            for token in self._tokens(change, before):
                self.signal(token, by=by)
            for key in self._affected(change, self._view):
                if key != by:
                    self.interest.wake(key)

    async def thaw(self) -> None:
        """Try whether the journal can be written again; its content replaces ours."""
        # An empty commit is written and synced all the same; reading alone would find nothing wrong with a full disk.
        await self._journal.commit(())
        self._view = replace(self._view, ledger=await self._journal.load())
        self.frozen = None

    def mark(self, key: Key, *reasons: str) -> None:
        """Remember since when a key has been waiting for these reasons; what is not among them has ended."""
        self._time(key, (f"{key}/{reason}" for reason in reasons))

    def _time(self, whose: Key | Scope, names: Iterable[str]) -> None:
        """Remember since when each of these lasts; of the same key or scope, what is not among them has ended."""
        before, now = self._timed.pop(whose, frozenset()), frozenset(names)
        for name in before - now:
            self._since.pop(name, None)
        for name in now - before:
            self._since[name] = self._clock.now()
        if now:
            self._timed[whose] = now

    def waited(self, key: Key, reason: str) -> float:
        """Return for how many seconds a key has been waiting for this reason."""
        now = self._clock.now()
        return now - self._since.get(f"{key}/{reason}", now)

    def stamp(self, key: Key, verb: str) -> None:
        """Remember when an idempotent effect was last tried."""
        self._since[f"{key}/{verb}"] = self._clock.now()

    def forget(self, key: Key) -> None:
        """Forget the waits and stamps of an object that is no more."""
        self._timed.pop(key, None)
        for name in [name for name in self._since if name.startswith(f"{key}/")]:
            del self._since[name]

    def age(self, op: Op) -> float:
        """Return for how many seconds this daemon has known an op.

        Waits start again after a restart, and a wall clock that jumps is no time (`failures.md` D12).
        """
        # Set by the first look and not when it is opened, so that an op of an earlier life is as old as this one.
        return self._clock.now() - self._known.setdefault(op.id, self._clock.now())

    def signal(self, token: str, *, by: Key | None = None) -> None:
        """Wake whoever waits for a token, but for `by`."""
        self.interest.signal(token, by=by)

    def refuse_when_frozen(self) -> None:
        """Raise when nothing may be changed because the ledger cannot be written."""
        if self.frozen is not None:
            raise Failure(Code.STATE, f"nothing is changed: {self.frozen.what}", hint=self.frozen.hint)


def _differs(old: Seen[Any] | None, new: Seen[Any]) -> bool:
    return old is None or old.complete != new.complete or old.value != new.value
