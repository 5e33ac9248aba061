"""Which passes become history, and how."""

from dataclasses import replace

import pytest

from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Wall
from cpcd.model.ledger import Event
from cpcd.model.report import Endpoint, Outcome, Pass
from cpcd.status import event_of
from cpcd.status.events import outage_of, steps_of
from cpcd.status.words import told
from tests.unit.status.scene import CP, NOW, done, down, key

KEY = key(CP)
WAITING = done(KEY, Outcome.WAITING, "booting", reason="Booting")
FOREIGN = Failure(Code.CONFIG, "foreign")
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
    assert kept == (event_of(before, now, NOW, "w") is not None)


@pytest.mark.parametrize(
    ("now", "severity", "reason"),
    [
        (done(KEY, Outcome.WAITING, "booting", reason="Booting"), "Normal", "Booting"),
        (FAILED, "Warning", "NetworkError"),
        (done(KEY, Outcome.REFUSED, "foreign", reason="ForeignVm", failure=FOREIGN), "Warning", "ForeignVm"),
    ],
)
def test_an_event_says_what_kind_it_is(now: Pass, severity: str, reason: str) -> None:
    """Severity and reason are Kubernetes' words; the message is the sentence."""
    code = str(now.failure.code) if now.failure else ""
    expected = Event(NOW, str(KEY), "r-0001", severity, reason, told(now, "w", NOW), code, "w")

    assert expected == event_of(None, now, NOW, "w")


def test_every_step_is_history_whatever_its_pass_came_to() -> None:
    """A pass that began two steps and then failed leaves both, under their verbs, beside its failure."""
    failed = done(KEY, Outcome.FAILED, "reset", steps=(("delete-node", "delete Node w"), ("stop", "stop w")))

    assert [("DeleteNode", "delete Node w"), ("Stop", "stop w")] == [
        (e.reason, e.message) for e in steps_of(failed, NOW, "w")
    ]


def test_a_pass_that_acted_is_told_by_its_steps_alone() -> None:
    """The sentence of such a pass is its last step's; it is not kept a second time."""
    assert None is event_of(None, done(KEY, Outcome.ACTED, "clone it", steps=(("clone", "clone it"),)), NOW, "w")


SILENT = down("pve:home", "Proxmox home does not answer")["pve:home"]
TOKEN = replace(SILENT, failure=Failure(Code.AUTH, "Proxmox refused the token", target="pve:home"))
BACK = Endpoint("pve:home", Wall(SILENT.since + 300))


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (None, BACK, None),
        (None, SILENT, ("EndpointDown", "CPCD-100")),
        (BACK, SILENT, ("EndpointDown", "CPCD-100")),
        (SILENT, replace(SILENT, failure=Unreachable("pve:home", "timed out")), None),
        (SILENT, TOKEN, ("EndpointDown", "CPCD-101")),
        (TOKEN, BACK, ("EndpointUp", "")),
    ],
)
def test_an_outage_is_one_event_of_the_cluster(
    before: Endpoint | None, now: Endpoint, said: tuple[str, str] | None
) -> None:
    """Its beginning, another reason for it, and its end; who needs the endpoint says nothing about it."""
    event = outage_of(before, now, "home", "r-1")

    assert said == (event and (event.reason, event.code))
    assert event is None or "home/cluster/home" == event.key


def test_the_end_of_an_outage_says_how_long_it_was() -> None:
    """A person who comes later sees both ends."""
    event = outage_of(SILENT, BACK, "home", "r-1")

    assert event is not None
    assert "pve:home answers again, after 300 s" == event.message
