"""Which passes become history, and how."""

import pytest

from cpcd.model.errors import Code, Failure
from cpcd.model.ledger import Event
from cpcd.model.report import Outcome, Pass
from cpcd.status import event_of
from cpcd.status.events import steps_of
from tests.unit.status.scene import CP, NOW, done, key

KEY = key(CP)
WAITING = done(KEY, Outcome.WAITING, "booting", reason="Booting")
FAILED = done(KEY, Outcome.FAILED, "reset", failure=Failure(Code.NETWORK, "reset"))


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        (None, WAITING, True),
        (WAITING, WAITING, False),
        (WAITING, done(KEY, Outcome.WAITING, "still booting", reason="Booting"), True),
        (WAITING, done(KEY, Outcome.WAITING, "booting", reason="CloudInit"), True),
        (FAILED, FAILED, True),
    ],
    ids=["first", "repeated", "new sentence", "new reason", "failed again"],
)
def test_an_event_is_news_or_a_failure(before: Pass | None, now: Pass, kept: bool) -> None:
    """Looking again at what waits leaves no trace; each failure does."""
    assert kept == (event_of(before, now, NOW) is not None)


@pytest.mark.parametrize(
    ("now", "severity", "reason"),
    [
        (done(KEY, Outcome.WAITING, "booting", reason="Booting"), "Normal", "Booting"),
        (FAILED, "Warning", "NetworkError"),
        (done(KEY, Outcome.REFUSED, "foreign", reason="ForeignVm"), "Warning", "ForeignVm"),
    ],
)
def test_an_event_says_what_kind_it_is(now: Pass, severity: str, reason: str) -> None:
    """Severity and reason are Kubernetes' words; the message is the sentence."""
    assert Event(NOW, str(KEY), "r-0001", severity, reason, now.sentence) == event_of(None, now, NOW)


def test_every_step_is_history_whatever_its_pass_came_to() -> None:
    """A pass that began two steps and then failed leaves both, under their verbs, beside its failure."""
    failed = done(KEY, Outcome.FAILED, "reset", steps=(("delete-node", "delete Node w"), ("stop", "stop w")))

    assert [("DeleteNode", "delete Node w"), ("Stop", "stop w")] == [
        (e.reason, e.message) for e in steps_of(failed, NOW)
    ]


def test_a_pass_that_acted_is_told_by_its_steps_alone() -> None:
    """The sentence of such a pass is its last step's; it is not kept a second time."""
    assert None is event_of(None, done(KEY, Outcome.ACTED, "clone it", steps=(("clone", "clone it"),)), NOW)
