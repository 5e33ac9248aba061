"""Consent that was given: for one thing, for one cause, and for as long as that is asked for.

What asks for it stands in `guards`; an id is spent by the step that it allows, and lapses here when nothing is left to
spend it, so that what is wanted later is asked for anew (promise 6).
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import ClassVar

from cpcd.model.desired import Consent, Risk
from cpcd.model.keys import Key
from cpcd.model.ledger import Change, DropFact, Machine
from cpcd.model.plan import Action
from cpcd.model.view import View
from cpcd.plan import effects
from cpcd.plan.recover import Recover

__all__ = ["Lapse", "free", "given", "lapsed", "policy", "unasked"]


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


def policy(action: Action, view: View) -> Consent:
    """Return what `changePolicy` says of a step's class; nobody is asked about what interrupts nothing.

    To take machines into the ledger always asks: another cpcd may keep them.
    """
    cluster = view.cluster(action.key.cluster)
    if isinstance(action, Recover):
        return Consent.APPROVE
    if cluster is None or action.risk is Risk.IN_PLACE:
        return Consent.AUTO
    return cluster.change_policy.get(action.risk, Consent.APPROVE)


def free(action: Action, view: View) -> bool:
    """Return whether a step needs no consent, or has it."""
    how = policy(action.asks, view)
    return how is Consent.AUTO or (how is Consent.APPROVE and action.asks.request in view.ledger.consents)


def given(view: View, *about: str) -> tuple[str, ...]:
    """Return the ids that were consented to and not spent, of those that begin so."""
    return tuple(request for request in view.ledger.consents if request.startswith(about))


def lapsed(key: Key, requests: tuple[str, ...], asked: Container[str] = ()) -> Lapse | None:
    """Return what ends the consent to all but what is `asked` for, None when that is all of it."""
    left = tuple(request for request in requests if request not in asked)
    return Lapse(key=key, requests=left) if left else None


def unasked(key: Key, view: View, row: Machine, asked: Container[str] = ()) -> Lapse | None:
    """Return what ends the consent to what a machine asks for itself, for one that asks for nothing: at rest, or going.

    But to what is `asked` for still, by a cause that nobody can see just now.
    """
    verbs = (effects.Hold.verb, effects.ResetVm.verb)
    return lapsed(key, given(view, *(f"{row.cluster}/{verb}/{row.name}/" for verb in verbs)), asked)
