"""What one pass of the loop tells the rest: one sentence, one outcome, one run id.

The loop makes `Pass` values, `status` turns them into conditions, events, metrics, logs and STATUS=.
"""

from dataclasses import dataclass
from enum import StrEnum

from cpcd.model.errors import Failure
from cpcd.model.keys import Key
from cpcd.model.plan import Condition

__all__ = ["Outcome", "Pass"]


class Outcome(StrEnum):
    """How a pass ended; these are the values of the metric label `result`."""

    SETTLED = "settled"  # nothing to do
    ACTED = "acted"  # one effect was started or a decision committed
    WAITING = "waiting"  # an op runs, or a guard or plan says not now
    REFUSED = "refused"  # only an input can change it
    FAILED = "failed"  # counted, backed off


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over one key.

    `failures` is how many failed in a row, this one included; `degraded` whether that reached the class's limit;
    `next_in` seconds until it is looked at again, None when only news wakes it. `duration` is in seconds. `steps` are
    the (verb, sentence) of every action that the pass began, also when it failed or waits after them.
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
