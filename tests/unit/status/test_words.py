"""The one sentence: every part of it, once, and in one order."""

from dataclasses import replace

import pytest

from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.report import Outcome, Pass
from cpcd.status.words import outage, silence, stalled, told
from tests.unit.status.scene import NOW, W1, done, down, key

KEY = key(W1)
SILENT = Unreachable("pve:home", "Proxmox home does not answer", hint="Look.")


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (done(KEY, Outcome.WAITING, "booting", reason="Booting", next_in=3), "booting"),
        (
            done(KEY, Outcome.FAILED, "it broke!", failure=Failure(Code.EXECUTION, "it broke!", hint="Look."), failures=1, next_in=4),
            "CPCD-106 machine/w: it broke; tried again at 08:00:04 UTC (run r-0001). Look.",
        ),
        (
            done(KEY, Outcome.FAILED, "it broke", failure=Failure(Code.EXECUTION, "it broke", hint="Look."), failures=3, next_in=60),
            "CPCD-106 machine/w: it broke; tried again at 08:01:00 UTC, after 3 failures in a row (run r-0001). Look.",
        ),
        (
            done(KEY, Outcome.FAILED, "no right", failure=Failure(Code.AUTH, "no right", hint="Look."), next_in=300),
            "CPCD-101 machine/w: no right; looked at again at 08:05:00 UTC, and at once when an input changes (run r-0001). Look.",
        ),
        (
            done(KEY, Outcome.REFUSED, "never", failure=Failure(Code.CONFIG, "never", hint="Look."), next_in=300),
            "CPCD-102 machine/w: never; looked at again at 08:05:00 UTC, and at once when an input changes (run r-0001). Look.",
        ),
        (
            done(KEY, Outcome.FAILED, SILENT.what, failure=SILENT, next_in=None),
            "CPCD-100 machine/w: Proxmox home does not answer; goes on when pve:home answers. Look.",
        ),
    ],
    ids=["waiting", "failed", "often", "stalled", "refused", "parked"],
)  # fmt: skip
def test_what_goes_wrong_is_told_whole(one: Pass, said: str) -> None:
    """Code, what to what, what is next and when, the run id, what to do; what goes well is what the pass says."""
    assert said == told(one, "w", NOW)


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [("MachineIdShared", True), ("EndpointTaken", True), ("NameTaken", True), ("AwaitingApproval", True), ("Booting", False), ("VmLocked", False)],
)  # fmt: skip
def test_a_wait_that_only_a_person_ends_is_stalled(reason: str, wanted: bool) -> None:
    """What ends by itself as a rule is not, however long it lasts."""
    assert wanted is stalled(done(KEY, Outcome.WAITING, "waits", reason=reason, next_in=3))


def test_an_endpoint_is_told_with_since_when() -> None:
    """Why it cannot be used is its failure's code and words, a refused token no less than silence."""
    refused = down("pve:home")["pve:home"]
    refused = replace(refused, failure=Failure(Code.AUTH, "the token is refused: Authentication failed!", hint="Look."))
    clause = "CPCD-101 pve:home: the token is refused: Authentication failed, since 07:59:00 UTC"

    assert (clause, f"{clause}; what needs it goes on when it answers. Look.") == (silence(refused), outage(refused))
