"""Who wants to know what: a key's last pass leaves the tokens that are a reason to look at it again.

A token is a scope's or fact's name, an endpoint, or a slot. Everything wakes all that wait, those of the lowest rank
first and then as they came; but a slot wakes one of them, because only one can have the permit.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

__all__ = ["Interest"]

K = TypeVar("K")


class Interest(Generic[K]):
    """Tokens by key and keys by token; `wake` is called for each key that a signal concerns."""

    def __init__(self, wake: Callable[[K], None], rank: Callable[[K], int] = lambda _key: 0) -> None:
        self.wake, self._rank = wake, rank
        self._keys: dict[str, dict[K, None]] = {}
        self._tokens: dict[K, frozenset[str]] = {}

    def set(self, key: K, tokens: Iterable[str]) -> None:
        """Replace a key's tokens; one that it keeps keeps its place in line."""
        old, new = self._tokens.get(key, frozenset()), frozenset(tokens)
        if old == new:
            return  # with the words of the first time, which stand in its lines too
        for token in old - new:
            self._keys[token].pop(key, None)
            # Tokens name machines, facts and slots, which come and go: empty lines would pile up for ever.
            if not self._keys[token]:
                del self._keys[token]
        for token in new - old:
            # At the end of the line; a token that is kept is in neither difference and keeps its place.
            self._keys.setdefault(token, {})[key] = None
        if new:
            self._tokens[key] = new
        else:
            self._tokens.pop(key, None)

    def signal(self, token: str, *, by: K | None = None) -> None:
        """Wake whoever has this token, but for the one whose own doing it is."""
        keys = sorted((key for key in self._keys.get(token, ()) if key != by), key=self._rank)
        if token.startswith("slot:"):
            keys = keys[:1]
            for key in keys:  # out of the line until its pass asks again: a second free slot wakes the next one
                self._leave(key, token)
        for key in keys:
            self.wake(key)

    def _leave(self, key: K, token: str) -> None:
        self.set(key, self._tokens[key] - {token})
