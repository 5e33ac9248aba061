"""Replay of recordings: cpcd and the lab reach what each situation deserves, and a wrong class is reported."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.guest_replay import Report, Transcript, Tried, load, replay
from tests.contract.guest_replay.__main__ import main
from tests.contract.guest_replay.deserved import deserved
from tests.contract.guest_replay.reading import READINGS
from tests.contract.guest_replay.scenarios import SCENARIOS
from tests.contract.guest_replay.scope import rows
from tests.unit.guest.recorded import RECORDINGS

TRANSCRIPTS = {transcript.seq: transcript for transcript in load(RECORDINGS)}


@pytest.fixture(scope="module")
def report() -> Report:
    """Return the report of the whole recording."""
    return replay(TRANSCRIPTS.values())


def test_at_least_95_percent_of_what_is_in_scope_match(report: Report) -> None:
    """The share that the command asserts, and no transcript is lost on the way."""
    assert report.passed, list(report.lines())
    assert len(TRANSCRIPTS) == report.in_scope + report.out


def test_the_scope_is_more_than_half_of_what_was_recorded(report: Report) -> None:
    """A share of little proves little: rows that take out more are noticed."""
    assert report.in_scope > report.out


def test_cpcd_reads_every_text_as_it_deserves(report: Report) -> None:
    """What the product itself misreads is a defect, however rare."""
    assert [str(mismatch) for mismatch in report.mismatches if mismatch.use == "reading"] == []


@pytest.mark.parametrize(
    ("seq", "lab"),
    [
        (147, "init killed: certs"),
        (154, "init killed: wait-control-plane"),
        (177, "init killed: bootstrap-token"),
        (251, "control plane killed"),
    ],
)
def test_the_moment_of_a_kill_is_told_by_the_command_line(seq: int, lab: str) -> None:
    """Without the recorder's note the lab is put into the same situation."""
    rule = deserved("killed", replace(TRANSCRIPTS[seq], note=""))

    assert rule is not None
    assert (lab, "command line") == (rule.lab, rule.ground)


def test_the_report_says_how_many_situations_rest_on_notes(report: Report) -> None:
    """Each use by the lab is counted once, so that what only a note tells is no secret."""
    uses = sum(judged for (use, _), (_, judged) in report.uses.items() if use == "lab")

    assert uses == report.grounds.total()
    assert any("by the note" in line for line in report.lines())


def _found(transcript: Transcript) -> list[str]:
    return [mismatch.reached for mismatch in replay([transcript]).mismatches if mismatch.use == "reading"]


@pytest.mark.parametrize(
    ("situation", "text", "reached"),
    [
        (248, 249, "TokenWrong"),
        (87, 109, "RuntimeDown"),
        (343, 159, "EtcdDown"),
        (125, 130, "PackageMissing"),
        (272, 343, "NoQuorum"),
        (66, 74, "lost"),
        (241, 242, "CertificateSecretAbsent"),
    ],
)
def test_the_text_of_another_situation_is_reported(situation: int, text: int, reached: str) -> None:
    """The note says what is deserved; what was printed leads cpcd elsewhere."""
    other = TRANSCRIPTS[text]

    assert _found(replace(TRANSCRIPTS[situation], out=other.out, err=other.err)) == [reached]


def test_a_failure_that_nothing_explains_is_not_taken_for_a_known_one() -> None:
    """A text that cpcd does not know is Failed, which is no excuse where the note names the cause."""
    assert _found(replace(TRANSCRIPTS[249], err="error: something new")) == ["Failed"]


@pytest.mark.parametrize("seq", [60, 190, 200, 415])
def test_a_success_that_cpcd_takes_for_a_failure_is_reported(seq: int) -> None:
    """The other direction: a reading that always fails."""
    wrong = {kind: lambda _transcript, _root: "Failed" for kind in READINGS}

    found = replay([TRANSCRIPTS[seq]], Tried(readings=wrong)).mismatches

    assert ["Failed"] == [mismatch.reached for mismatch in found]


def _always(answer: str, names: Sequence[str]) -> dict[str, Callable[[], str]]:
    return dict.fromkeys(names, lambda: answer)


@pytest.mark.parametrize("answer", ["ok", "Failed"])
def test_a_lab_that_gives_one_class_for_everything_is_reported(answer: str) -> None:
    """Every situation that deserves another class is a mismatch, so the share falls."""
    report = replay(TRANSCRIPTS.values(), Tried(scenarios=_always(answer, list(SCENARIOS))))

    assert not report.passed
    assert {mismatch.reached for mismatch in report.mismatches if mismatch.use == "lab"} >= {answer}
    assert all(mismatch.deserves != answer for mismatch in report.mismatches)


def test_a_reading_that_raises_is_reported() -> None:
    """Nothing ends the replay: the grader's other recordings are replayed to the end."""

    def broken(_transcript: Transcript, _root: Path) -> str:
        raise ValueError("no JSON")

    found = replay([TRANSCRIPTS[170]], Tried(readings={**READINGS, "members": broken})).mismatches

    assert ["ValueError: no JSON"] == [mismatch.reached for mismatch in found]


def test_what_is_in_scope_and_has_no_reading_is_a_mismatch() -> None:
    """A kind cannot drop out silently: only a row of the file takes it out."""
    report = replay([TRANSCRIPTS[272]], Tried(readings={}))

    assert (report.in_scope, report.out, report.passed) == (1, 0, False)


def test_a_row_can_name_no_transcript(tmp_path: Path) -> None:
    """Rows are patterns: what is left out here is left out of every recording."""
    (tmp_path / "rows.toml").write_text('[[row]]\nreason = "x"\nseq = 248\n')

    with pytest.raises(TypeError):
        rows(tmp_path / "rows.toml")


def test_the_command_ends_with_the_verdict(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One line for each mismatch, then the counts; status 1 under the share."""
    lines = RECORDINGS.read_text().splitlines()
    [line] = [line for line in lines if json.loads(line)["seq"] == 248]
    (tmp_path / "one.jsonl").write_text(line.replace("could not find a JWS signature", "something new"))

    status = main([str(tmp_path / "one.jsonl")])

    printed = capsys.readouterr().out.splitlines()
    assert (status, printed[-1]) == (1, "matched 0 of 1 in scope, 0 out of scope")
    assert "reading of join: deserves 'TokenUnknown', reached 'Failed'" in printed[0]


def test_without_a_file_the_command_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to replay is not a success."""
    assert main([]) == 2
    assert "FILE" in capsys.readouterr().err
