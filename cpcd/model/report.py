"""What the loop tells the rest: of each pass one sentence, one outcome, one run id; of each endpoint whether it answers.

The loop makes these values, `status` turns them into conditions, events, metrics, logs and STATUS=.
"""

from dataclasses import dataclass
from enum import StrEnum

from cpcd.model.errors import Failure, Unreachable
from cpcd.model.keys import Key, Wall
from cpcd.model.plan import Condition

__all__ = ["Endpoint", "Outcome", "Pass"]


class Outcome(StrEnum):
    """How a pass ended; these are the values of the metric label `result`."""

    SETTLED = "settled"  # nothing to do
    ACTED = "acted"  # one effect was started or a decision committed
    WAITING = "waiting"  # an op runs, or a guard or plan says not now
    REFUSED = "refused"  # only an input can change it
    FAILED = "failed"  # counted, backed off


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint, `pve:<site>` or `kube:<cluster>`: it answers, or `failure` says why it cannot be used.

    `since` is when that changed last, not when somebody noticed it again.
    """

    name: str
    since: Wall
    failure: Failure | None = None

    @property
    def up(self) -> bool:
        """Whether it answers."""
        return self.failure is None


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over one key.

    `failure` is what went wrong or why it was refused, else None; `failures` how many passes failed in a row, this one
    included; `degraded` whether that reached the class's limit; `next_in` seconds until it is looked at again, None when
    only news wakes it. `duration` is in seconds. `steps` are the (verb, sentence) of every action that the pass began,
    also when it failed or waits after them.
    """

    key: Key
    run: str
    outcome: Outcome
    sentence: str
    duration: float
    verb: str = ""
    target: str = ""
    failure: Failure | None = None
    failures: int = 0
    degraded: bool = False
    reason: str = ""
    next_in: float | None = None
    conditions: tuple[Condition, ...] = ()
    steps: tuple[tuple[str, str], ...] = ()

    @property
    def parked(self) -> str:
        """The endpoint whose return is awaited, "" when the key is not parked."""
        return self.failure.endpoint if isinstance(self.failure, Unreachable) and self.next_in is None else ""
