"""What one pass means for the conditions of its object."""

import pytest

from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Wall
from cpcd.model.plan import Condition, Status
from cpcd.model.report import Outcome, Pass
from cpcd.status import Board, SpecState
from tests.unit.status.scene import CP, done, key

KEY = key(CP)
NETWORK = Failure(Code.NETWORK, "connection reset")
AUTH = Failure(Code.AUTH, "no VM.Clone on /vms/9000")


def conditions(*passes: Pass) -> dict[str, str]:
    """Statuses after these passes, one a second."""
    board = Board()
    for second, one in enumerate(passes):
        board.note(one, Wall(second))
    return {name: found.status.value for name, found in board.objects[KEY].conditions.items()}


SETTLED = done(KEY)
ONCE = done(KEY, Outcome.FAILED, "reset", failure=NETWORK, failures=1)
OFTEN = done(KEY, Outcome.FAILED, "reset", failure=NETWORK, failures=3, degraded=True)


@pytest.mark.parametrize(
    ("passes", "ready", "progressing", "stalled", "degraded"),
    [
        ([SETTLED], "True", "False", "False", "False"),
        ([done(KEY, Outcome.ACTED, "clone", reason="clone")], "False", "True", "False", "False"),
        ([done(KEY, Outcome.WAITING, "booting", reason="Booting")], "False", "True", "False", "False"),
        ([done(KEY, Outcome.WAITING, "waits for you", reason="AwaitingApproval")], "False", "False", "True", "False"),
        ([done(KEY, Outcome.WAITING, "no budget", reason="DrainStalled")], "False", "False", "True", "False"),
        ([done(KEY, Outcome.REFUSED, "foreign", reason="ForeignVm")], "False", "False", "True", "False"),
        ([ONCE], "Unknown", "True", "False", "False"),
        ([SETTLED, ONCE], "True", "True", "False", "False"),
        ([SETTLED, ONCE, OFTEN], "False", "True", "False", "True"),
        ([SETTLED, done(KEY, Outcome.FAILED, "no", failure=AUTH)], "False", "False", "True", "False"),
        (
            [SETTLED, done(KEY, Outcome.FAILED, "silent", failure=Unreachable("pve:x", "silent"), degraded=True)],
            "Unknown",
            "True",
            "False",
            "True",
        ),
        ([OFTEN, SETTLED], "True", "False", "False", "False"),
    ],
)
def test_a_pass_means(passes: list[Pass], ready: str, progressing: str, stalled: str, degraded: str) -> None:
    """One failure does not take Ready away; Degraded does, and what was only unreachable is Unknown, not False."""
    found = conditions(*passes)

    assert {"Ready": ready, "Progressing": progressing, "Stalled": stalled, "Degraded": degraded} == found


def test_what_a_pass_carries_wins() -> None:
    """A reconciler knows its object better than the outcome of a pass does."""
    carried = (Condition("Ready", Status.FALSE, "VmGone", "the VM is gone"), Condition("Extra", Status.TRUE, "X", ""))

    found = conditions(done(KEY, conditions=carried))

    assert ("False", "True") == (found["Ready"], found["Extra"])


def test_transition_time_moves_with_the_status_only() -> None:
    """A new message does not make an old condition young."""
    board = Board()
    board.note(done(KEY, Outcome.WAITING, "booting", reason="Booting"), Wall(10))
    board.note(done(KEY, Outcome.WAITING, "cloud-init", reason="CloudInit"), Wall(20))
    before = board.objects[KEY].conditions["Ready"]
    board.note(done(KEY), Wall(30))
    after = board.objects[KEY].conditions["Ready"]

    assert [(10, "CloudInit"), (30, "Settled")] == [(before.since, before.reason), (after.since, after.reason)]


def test_conditions_name_the_generation_they_were_made_under() -> None:
    """The observedGeneration is the spec that was in force at that pass."""
    board = Board()
    board.spec = SpecState("g2")
    report = board.note(done(KEY), Wall(1))

    assert {"g2"} == {condition.generation for condition in report.conditions.values()}


def test_an_object_that_is_gone_is_forgotten() -> None:
    """What does not exist any more is not reported for ever."""
    board = Board()
    board.note(done(KEY), Wall(1))
    board.forget(KEY)

    assert {} == board.objects
