"""What a reconciler decides: actions, waits, refusals and conditions, as values.

An action knows how to say itself and what the world looks like after it (`expect`), so that a plan can be folded
to its end; how it is carried out is `apply` in its reconciler.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from cpcd.model.desired import Risk
from cpcd.model.errors import Code
from cpcd.model.keys import Key, Role, Scope, Wall
from cpcd.model.ledger import Change, DropFact, Evidence, Op
from cpcd.model.view import View

__all__ = [
    "Absent",
    "Action",
    "Condition",
    "Done",
    "Failed",
    "Guard",
    "Plan",
    "Refusal",
    "Resolve",
    "Running",
    "Status",
    "Unknown",
    "Verdict",
    "Wait",
]


class Status(StrEnum):
    """Status of a condition, as in Kubernetes."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of an object; `message` is the sentence."""

    type: str
    status: Status
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: waiting is no failure.

    The key is looked at again after `after` seconds and at once when one of the tokens in `on` is signalled
    (a scope's or fact's name, a slot such as `clone:pve1`, a cluster's `joined:lab`).
    """

    reason: str
    sentence: str
    after: float = 60.0
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Not at all until an input changes: the object is Stalled with this code and sentence."""

    code: Code
    reason: str
    sentence: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One effect through one port, or a ledger transaction.

    `once` marks a non-idempotent effect (it becomes an op); `risk` is its class in `changePolicy`; `slots` are named
    permits, `name -> how many may be open at once`, counted in open ops; `local` marks a pure ledger decision, which
    has no `apply`.
    """

    verb: ClassVar[str]
    risk: ClassVar[Risk] = Risk.IN_PLACE
    once: ClassVar[bool] = False
    local: ClassVar[bool] = False

    key: Key

    @property
    def target(self) -> Scope:
        """What nobody else may touch while this is on its way."""
        return Scope("key", self.key.cluster, f"{self.key.kind}/{self.key.name}")

    @property
    def owner(self) -> Key:
        """The key that the op belongs to: its runs resolve it."""
        return self.key

    @property
    def subject(self) -> str:
        """What it is about, as the id of consent names it: exactly what is consented to."""
        return self.key.name

    @property
    def asks(self) -> "Action":
        """Whose consent it needs: its own, but for a step that is taken for the sake of a graver one."""
        return self

    @property
    def request(self) -> str:
        """The id under which `cpcd approve` consents to it."""
        return f"{self.key.cluster}/{self.verb}/{self.subject}"

    @property
    def spent(self) -> DropFact:
        """The end of the consent to it: what is allowed uses it up."""
        return DropFact(f"approval/{self.request}")

    @property
    def disrupts(self) -> Role | None:
        """Whose availability this spends."""
        return None

    @property
    def sentence(self) -> str:
        """What it does, for people: plan, event, log and STATUS= say the same."""
        raise NotImplementedError

    def slots(self, _view: View) -> Mapping[str, int]:
        """Return the permits this needs."""
        return {}

    def before(self, _view: View) -> Evidence:
        """Return evidence to store with the op."""
        return {}

    def changes(self, _view: View) -> tuple[Change, ...]:
        """Return ledger changes that are committed with it."""
        return ()

    def expect(self, view: View) -> View:
        """Return the view as it is when this has succeeded."""
        return view


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pass decided: the next steps in order, or what is waited for, and what to report.

    A wait beside steps is what they are to end: nobody is told of it, and it is timed on while a guard holds them.
    """

    steps: tuple[Action, ...] = ()
    wait: Wait | None = None
    refusal: Refusal | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Running:
    """The effect is on its way; look again after `after` seconds. `late` past its limit, which is only said aloud."""

    after: float = 2.0
    sentence: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """Proved to have happened; `changes` are committed with the closing.

    A clean-up is no `progress`: what failed before it may fail again, and is forgiven when that has succeeded.
    """

    changes: tuple[Change, ...] = ()
    progress: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """Proved to have failed; the code and words go to the report, `changes` are committed with the closing."""

    code: Code
    sentence: str
    changes: tuple[Change, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Absent:
    """Proved never to have begun: the op closes and the plan is made anew."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Cannot be told yet: nothing else touches the target; past its time (`late`) its own key may plan how to end it."""

    sentence: str
    after: float = 5.0
    late: bool = False


Verdict = Running | Done | Failed | Absent | Unknown
Resolve = Callable[[Op, View, Wall], Verdict]
Guard = Callable[[Action, View], "Refusal | Wait | None"]
