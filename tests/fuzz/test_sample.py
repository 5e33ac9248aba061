"""A small sample of `make fuzz` in every run of the tests, and proof that the fuzzer sees what it looks for."""

from types import SimpleNamespace

import pytest

from cpcd.adapters import journal
from cpcd.model.errors import Code, Failure
from cpcd.sources import decode
from tests.fuzz import ledger, run
from tests.fuzz.run import SHARES, play, replay
from tests.fuzz.shapes import PropertyError, judge


@pytest.mark.parametrize("name", SHARES)
def test_nothing_but_failures_and_true_values_come_of_damaged_input(name: str) -> None:
    """Two thousand cases over all targets: the first of the run that `make fuzz SEED=1` makes."""
    result = play(round(2_000 * SHARES[name]), 1, names=(name,))

    assert {} == result.findings


def test_a_third_of_all_specs_get_past_the_loader() -> None:
    """What is promised of a spec that is read would else be asked of hardly any."""
    result = play(240, 1, names=("spec",))

    assert 240 == result.reached["spec", "compiled"] + result.reached["spec", "refused"]
    assert 240 <= 3 * result.reached["spec", "compiled"] <= 480


@pytest.mark.parametrize("name", SHARES)
def test_a_case_is_the_same_whenever_it_is_made(name: str) -> None:
    """Otherwise no failure could be played again."""
    assert repr(replay(7, name, 3)[0]) == repr(replay(7, name, 3)[0])


def test_an_exception_that_leaves_is_found_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: a task without its UPID is an exception again."""
    monkeypatch.setattr(decode, "task", lambda row: row["upid"])

    found = play(250, 1, names=("proxmox",)).findings.values()

    assert "KeyError" in {finding.error.partition(":")[0] for finding in found}


def test_a_ledger_that_is_read_as_another_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: checksums are not looked at."""
    other = ledger.Case("an address", ledger.stored()[0].replace(b"10.0.0.5", b"10.0.0.6"), None, reshaped=False)
    ledger.check(other)
    monkeypatch.setattr(journal, "zlib", SimpleNamespace(crc32=lambda _row: Equal()))

    with pytest.raises(PropertyError):
        ledger.check(other)


def test_an_endless_case_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hang is a failure as well."""

    def never(_rng: object) -> None:
        while True:
            pass

    monkeypatch.setattr(run, "PATIENCE", 0.01)
    monkeypatch.setattr(run, "targets", lambda _names: {"spec": SimpleNamespace(make=never, check=never)})

    assert ["EndlessError"] == [f.error.partition(":")[0] for f in play(1, 1, names=("spec",)).findings.values()]


@pytest.mark.parametrize("what", ["half a character \ud800", "x" * 9000])
def test_a_failure_that_nobody_could_be_shown_is_found(what: str) -> None:
    """It would break the log, the terminal or the ledger's history."""
    with pytest.raises(PropertyError):
        judge(Failure(Code.EXECUTION, what))


class Equal:
    """Equals everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0
