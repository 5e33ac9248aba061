"""Consent that was given: for one thing, for one cause, and for as long as that is asked for.

What asks for it stands in `guards`; an id is spent by the step that it allows, and lapses here when nothing is left to
spend it, so that what is wanted later is asked for anew (promise 6).
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import ClassVar

from cpcd.model.keys import Key
from cpcd.model.ledger import Change, DropFact
from cpcd.model.plan import Action
from cpcd.model.view import View

__all__ = ["Lapse", "given", "lapsed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapse(Action):
    """Forget consent that nothing asks for any more."""

    verb: ClassVar[str] = "lapse"
    local: ClassVar[bool] = True

    requests: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Name each, since each was given."""
        return f"let the consent to {', '.join(self.requests)} lapse, which nothing asks for any more"

    def changes(self, _view: View) -> tuple[Change, ...]:
        """Return the end of each."""
        return tuple(DropFact(f"approval/{request}") for request in self.requests)


def given(view: View, *about: str) -> tuple[str, ...]:
    """Return the ids that were consented to and not spent, of those that begin so."""
    return tuple(request for request in view.ledger.consents if request.startswith(about))


def lapsed(key: Key, requests: tuple[str, ...], asked: Container[str] = ()) -> Lapse | None:
    """Return what ends the consent to all but what is `asked` for, None when that is all of it."""
    left = tuple(request for request in requests if request not in asked)
    return Lapse(key=key, requests=left) if left else None
