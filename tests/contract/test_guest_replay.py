"""Replay of recordings: cpcd and the lab reach what each situation deserves, and a wrong class is reported."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.guest_replay import Report, Transcript, Tried, load, replay
from tests.contract.guest_replay.__main__ import main
from tests.contract.guest_replay.deserved import deserved
from tests.contract.guest_replay.evidence import value
from tests.contract.guest_replay.reading import READINGS
from tests.contract.guest_replay.scenarios import SCENARIOS
from tests.contract.guest_replay.scope import rows
from tests.contract.guest_replay.states import named
from tests.contract.guest_replay.transcript import kinds
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
    """Each use is counted once, so that what only a note tells, or nothing but the status, is no secret."""
    uses = sum(judged for _, judged in report.uses.values())

    assert uses == report.grounds.total()
    assert {"by the note", "by the status alone"} <= {ground for _, ground in report.grounds}
    assert sum("by the note" in line for line in report.lines()) == 2


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


def _loaded(tmp_path: Path, *lines: Mapping[str, object]) -> list[Transcript]:
    (tmp_path / "other.jsonl").write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n\n" for line in lines))
    return list(load(tmp_path / "other.jsonl"))


def test_a_transcript_without_command_or_status_is_named_and_not_left_out(tmp_path: Path) -> None:
    """Only a row's reason takes something out; what says nothing at all has none."""
    bare, half = _loaded(tmp_path, {"seq": 7, "group": "new"}, {"argv": ["kubeadm", "init"], "stderr": None})

    report = replay([bare, half])

    assert (report.in_scope, report.matched, report.out) == (2, 1, 0)
    assert {"what no rule says"} == {mismatch.deserves for mismatch in report.mismatches}


def test_a_line_ends_with_a_newline_alone(tmp_path: Path) -> None:
    """JSON may hold the other characters at which Python splits lines."""
    [transcript] = _loaded(tmp_path, {"seq": 1, "note": "one\u2028two\x85three", "stdout": "four"})

    assert ("one\u2028two\x85three", "four") == (transcript.note, transcript.out)


@pytest.mark.parametrize("seq", [232, 235, 236])
def test_an_answer_that_the_recorder_cut_is_left_out(seq: int) -> None:
    """Half a JSON document is not what etcdctl printed."""
    whole = TRANSCRIPTS[seq]

    report = replay([replace(whole, out=f"{whole.out[:50]}\n[... 99 bytes cut ...]\n{whole.out[-20:]}")])

    assert (0, 1) == (report.in_scope, report.out)


@pytest.mark.parametrize(
    "text", ['{"members":[5]}', '{"members":{}}', '{"members":[{"ID":', '[{"Status":[]}]', '"members"']
)
def test_an_answer_of_an_unknown_form_ends_nothing(text: str) -> None:
    """Whatever is read of it or not, the next transcript is replayed."""
    report = replay([replace(TRANSCRIPTS[216], out=text), replace(TRANSCRIPTS[217], out=text), TRANSCRIPTS[216]])

    assert report.matched >= 1
    assert 3 == report.in_scope + report.out


# What was seen and is not in the recording given here; the words are those of its description.
SEEN = {
    246: ("wrong certificate key", "phase control-plane-prepare/download-certs: cipher: message authentication failed"),
    250: ("wrong CA hash", 'phase preflight: none of the public keys "sha256:aa" are pinned'),
    284: ("expired token", "could not find a JWS signature in the cluster-info ConfigMap for token ID"),
    411: (
        "a name that a Ready Node has",
        'phase kubelet-start: a Node with name "cp1" and status "Ready" already exists',
    ),
}


@pytest.mark.parametrize("seq", [241, 242, 248, 249, 265, 278, 280, 340, *SEEN])
def test_a_join_whose_cause_only_the_output_names_is_known(seq: int) -> None:
    """Without a note kubeadm's own words lead to the same class and to the same situation, or to a like one."""
    note, err = SEEN.get(seq, ("", ""))
    found = TRANSCRIPTS[seq] if not err else replace(TRANSCRIPTS[248], note=note, err=f"error: error execution {err}")

    told, bare = deserved("join", found), deserved("join", replace(found, note=""))

    assert told is not None
    assert bare is not None
    assert told.deserves == bare.deserves
    assert [] == replay([found, replace(found, note="")]).mismatches


@pytest.mark.parametrize("seq", [25, 109, 127, 141, 272])
def test_a_cause_that_only_the_output_names_is_known(seq: int) -> None:
    """The same for what is no join: a preflight's key, ssh's last line, etcd's error."""
    assert [] == replay([TRANSCRIPTS[seq], replace(TRANSCRIPTS[seq], note="", seq=0)]).mismatches


@pytest.mark.parametrize(
    ("kind", "out", "seen"),
    [
        ("readyz", "ok\n\nhttp=200\n", "200"),
        ("readyz", "[-]etcd failed: reason withheld\nreadyz check failed\n", "500"),
        ("readyz", "ok", "200"),
        ("readyz", "000", "0"),
        ("readyz", "", None),
        ("cloud-init", "\nstatus: error\n", "error"),
        ("cloud-init", '{\n "extended_status": "error - done",\n "status": "error"\n}', "error"),
        ("cloud-init", '{\n "extended_status": "degraded done",\n "status": "done"\n}', "done"),
        ("cloud-init", "status: not started\n", "running"),
        ("snapshot", '{"hash":4154075553,"revision":58,"totalKey":9}\n', "f79a29a1 at 58"),
        ("snapshot", "Snapshot saved at /root/s.db\n", None),
    ],
)
def test_a_value_is_seen_in_each_form_that_its_program_prints(kind: str, out: str, seen: str | None) -> None:
    """What nothing shows is None, and then a rule must say what is deserved."""
    assert seen == value(kind, replace(TRANSCRIPTS[1], out=out))


@pytest.mark.parametrize(
    ("seq", "changes"),
    [
        (273, {"argv": "ectl -w json member list"}),
        (273, {"argv": "etcdctl member list --write-out=json || true"}),
        (66, {"argv": "systemctl show cpcd-op1.service -p ActiveState,SubState"}),
    ],
)
def test_a_command_is_known_however_it_is_spelt(seq: int, changes: Mapping[str, str]) -> None:
    """Another order of its flags, or another unit's name, does not put it out of scope."""
    spelt = replace(TRANSCRIPTS[seq], **changes)

    assert kinds(spelt) == kinds(TRANSCRIPTS[seq])
    assert [] == replay([spelt]).mismatches


@pytest.mark.parametrize(
    ("argv", "out", "kind", "seen"),
    [
        ("systemctl show kubelet -p ActiveState,UnitFileState", "ActiveState=active\nUnitFileState=enabled\n", "service", "active"),
        ("lsmod | grep overlay", "", "modules", "none"),
        ("lsmod", "overlay 1 0\n", "modules", "overlay"),
        ("apt-mark showhold", "kubeadm\nkubectl\nkubelet\n", "holds", "kubeadm kubectl kubelet"),
        ("etcdutl snapshot status /root/s.db -w json", '{"hash":15,"revision":58,"totalKey":9}\n', "snapshot", "0000000f at 58"),
        (
            "ip -j addr",
            '[{"ifname":"eth0","addr_info":[{"local":"10.0.0.4","scope":"global"},{"local":"fd00::4","scope":"global"}]}]',
            "addresses",
            "10.0.0.4 fd00::4",
        ),
    ],
)  # fmt: skip
def test_a_value_is_read_as_it_is_seen_whatever_a_recorder_asks(argv: str, out: str, kind: str, seen: str) -> None:
    """Of cpcd's own commands, and in answers that this recording does not have."""
    found = replace(TRANSCRIPTS[3], argv=argv, out=out, note="something new")

    assert ((kind,), seen) == (kinds(found), value(kind, found))
    assert [] == [each for each in replay([found]).mismatches if each.use == "reading"]


def test_a_certificate_that_has_ended_is_told_whoever_meets_it() -> None:
    """By etcd's client and by a join, whose note speaks of what expired."""
    words = "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2027"
    found = [
        replace(
            TRANSCRIPTS[343], note="certificates expired: members", err=f"Error: context deadline exceeded: {words}"
        ),
        replace(
            TRANSCRIPTS[248], note="API certificate expired", err=f"error: error execution phase preflight: {words}"
        ),
    ]

    assert ["ClockSkew"] * 2 == [rule.deserves for one in found if (rule := deserved(kinds(one)[0], one))]
    assert [] == replay(found).mismatches


def test_a_lock_that_a_unit_holds_is_not_the_unit() -> None:
    """What is refused is the second lock; the unit was begun."""
    line = "systemd-run --unit holder flock /run/lock/x sleep 60; flock -n /run/lock/x true; echo rc=$?"
    held = replace(TRANSCRIPTS[65], argv=line, out="rc=1\n", note="held")
    inside = replace(held, argv="systemd-run --unit holder flock -n /run/lock/x /root/job.sh", out="")

    assert (("lock",), ("unit start",)) == (kinds(held), kinds(inside))
    assert [] == replay([held, inside]).mismatches


def test_a_state_is_another_machines_unless_it_has_the_machine() -> None:
    """A kill in the middle of init says nothing of a worker."""
    killed = replace(TRANSCRIPTS[149], note="after kill during bootstrap: files")

    assert named(killed) is not None
    assert named(replace(killed, machine="w1")) is None


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
