"""The lab's Proxmox against what a real one answered, and the replayer against its own leniency."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.contract import replay as command
from tests.contract.replaying import Report, load, replay
from tests.contract.replaying.matching import HOST, TIMES, TREES, WORDS, Bindings, compare
from tests.contract.replaying.recording import Entry, Exchange, Intervention
from tests.contract.replaying.scope import load_rules

TASKS = 725  # a list of tasks that is shorter than its page
OWN = Path(__file__).parents[1] / "recordings" / "pve.jsonl"


@cache
def recording() -> tuple[Entry, ...]:
    """The committed recording."""
    return tuple(load([OWN]))


@cache
def played() -> Report:
    """What became of it."""
    return replay(recording())


def outcomes(report: Report) -> dict[int, str]:
    """Number -> what became of it."""
    return {outcome.exchange.seq: outcome.kind for outcome in report.outcomes}


def changed(seq: int, **changes: Any) -> dict[int, str]:
    """Replay the recording up to a little after one exchange that was changed; return what is not as it was."""
    near = [each for each in recording() if each.seq <= seq + 5]
    told = [replace(each, **changes) if each.seq == seq else each for each in near]
    was = outcomes(played())
    return {number: kind for number, kind in outcomes(replay(told)).items() if was[number] != kind}


def body(seq: int) -> Any:
    """A copy of a recorded body."""
    return copy.deepcopy(next(each for each in recording() if each.seq == seq).body)


def test_recording_is_answered_as_it_was() -> None:
    """At least 98 % of what is in scope match, and at least half of the recording is in scope."""
    report = played()

    assert report.passed, "\n".join(report.lines())
    assert report.in_scope >= len(recording()) / 2


def test_interventions_are_all_performed() -> None:
    """Nothing that was done to the recorded node by hand is left out."""
    assert [] == played().unknown


def test_repairs_are_few_and_cost_their_reads() -> None:
    """A hole is lit by reads that then count for nothing; more than a few would hide a wrong model."""
    report = played()

    assert 0 < report.repairs <= 10
    assert report.count("setup") <= 10


def test_every_rule_takes_something_out_for_a_reason() -> None:
    """A rule that fits nothing recorded only prepares for the exchanges that were not given."""
    reasons = {outcome.reason for outcome in played().outcomes if outcome.kind == "out"}
    idle = [rule.reason for rule in load_rules() if rule.reason not in reasons]

    assert len(idle) <= 3
    assert all(rule.reason for rule in load_rules())


def test_no_rule_names_an_exchange_by_its_number() -> None:
    """Rules are about kinds of calls; a number would fit one recording alone."""
    patterns = [pattern for rule in load_rules() for pattern in (rule.call, rule.group, rule.note, rule.raw)]
    numbers = re.compile(r"seq|(?<![\\{])\b\d{2,}")  # \d{6} is a length

    assert numbers.search("^.*seq 17$")
    assert numbers.search("/qemu/301/")
    assert [] == [pattern for pattern in patterns if numbers.search(pattern)]


@pytest.mark.parametrize("seq", [207, 366, 561, 904])
def test_another_status_is_a_mismatch(seq: int) -> None:
    """A refusal, an update, a task's refusal, a 403: each with a status that was not recorded."""
    assert changed(seq, status=418) == {seq: "mismatch"}


@pytest.mark.parametrize("seq", [207, 330, 561])
def test_another_text_is_a_mismatch(seq: int) -> None:
    """The reason phrase is where Proxmox says what is wrong."""
    assert changed(seq, reason="something else") == {seq: "mismatch"}


@pytest.mark.parametrize("name", ["Content-Type", "Cache-Control", "Pragma", "Server", "Content-Length"])
def test_another_header_is_a_mismatch(name: str) -> None:
    """What an answer says of itself; a 401 without a body has no Content-Type."""
    headers = next(dict(each.headers or {}) for each in recording() if each.seq == 207)

    assert changed(207, headers={key: value for key, value in headers.items() if key != name}) == {207: "mismatch"}
    assert name == "Content-Length" or changed(207, headers={**headers, name: "x"}) == {207: "mismatch"}


def test_a_connection_that_stays_after_an_error_is_a_mismatch() -> None:
    """Proxmox closes after each error; that it closes now and then after a success is its own count."""
    headers = next(dict(each.headers or {}) for each in recording() if each.seq == 207)
    fine = next(dict(each.headers or {}) for each in recording() if each.seq == 199)

    assert changed(207, headers={**headers, "Connection": "Keep-Alive"}) == {207: "mismatch"}
    assert changed(199, headers={**fine, "Connection": "close"}) == {}


@pytest.mark.parametrize(("seq", "seconds"), [(44, 0.01), (652, 0.01), (827, 1.0), (207, 3.0), (1186, 3.0)])
def test_an_answer_that_takes_another_time_is_a_mismatch(seq: int, seconds: float) -> None:
    """A 401 waits 3 s, a silent agent 3 s, a held lock 10 s, a silent node 30 s; a plain refusal does not wait."""
    assert seq in changed(seq, seconds=seconds)


def test_a_missing_key_is_a_mismatch() -> None:
    """A configuration without its boot order is another configuration."""
    shown = body(199)
    del shown["data"]["boot"]

    assert changed(199, body=shown) == {199: "mismatch"}


def test_another_type_is_a_mismatch() -> None:
    """`memory` is text in Proxmox, `cores` is not."""
    shown = body(199)
    shown["data"]["memory"] = int(shown["data"]["memory"])

    assert changed(199, body=shown) == {199: "mismatch"}


def test_a_digest_that_changes_without_a_change_is_a_mismatch() -> None:
    """Recorded 386 and 394 show the same content and the same digest; the lab must agree on both."""
    shown = body(394)
    shown["data"]["digest"] = "0" * 40

    assert changed(394, body=shown) == {394: "mismatch"}


def test_a_task_that_ends_otherwise_is_a_mismatch() -> None:
    """The exit status is the outcome of everything."""
    shown = body(417)
    shown["data"]["exitstatus"] = "OK"

    assert changed(417, body=shown) == {417: "mismatch"}


@pytest.mark.parametrize("row", [0, -1])
def test_a_task_too_many_in_a_list_is_a_mismatch(row: int) -> None:
    """Neither the newest nor the oldest can be left out of what was recorded."""
    shown = body(TASKS)
    del shown["data"][row]

    assert TASKS in changed(TASKS, body=shown)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    match value:
        case dict():
            for key in value:
                yield from _leaves(value[key], (*path, key))
        case list():
            for number, each in enumerate(value):
                yield from _leaves(each, (*path, number))
        case _:
            yield path


def _with(value: Any, path: tuple[Any, ...], leaf: Any) -> Any:
    made = copy.deepcopy(value)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = leaf
    return made


def _other(leaf: Any) -> Any:
    """A value of the same type that is not equal, of a variable one that is none any more."""
    match leaf:
        case bool():
            return not leaf
        case str():
            return f"{leaf}x"
        case int() | float():
            return leaf + 1
        case _:
            return 0


def test_no_leaf_can_change_unseen_but_what_the_host_decides() -> None:
    """Each value of a hundred bodies, changed: the comparison tells, or the key is on the list of measures."""
    free = HOST | TIMES | WORDS | {"pstart", *(tree.strip(".") for tree in TREES)}
    bodies = [outcome.exchange.body for outcome in played().outcomes if outcome.kind == "matched"][::9]
    unseen = [
        (path, leaf)
        for each in bodies
        if isinstance(each, dict)
        for path in list(_leaves(each))[:60]
        for leaf in [_other(_at(each, path))]
        if not free & set(path) and not compare(each, _with(each, path, leaf), Bindings())
    ]

    assert [] == unseen


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_measures_keep_their_type() -> None:
    """The load of a host is any number, but never text."""
    assert [] == compare({"cpu": 0}, {"cpu": 0.25}, Bindings())
    assert 1 == len(compare({"cpu": 0}, {"cpu": "0"}, Bindings()))


def test_a_variable_stands_for_one_value() -> None:
    """Two recorded MACs cannot be the same one in the lab, nor one of them two."""
    bindings = Bindings()
    one, two = "virtio=BC:24:11:00:00:0A,bridge=vmbr0", "virtio=BC:24:11:00:00:0B,bridge=vmbr0"
    lab = "virtio=BC:24:11:FF:00:01,bridge=vmbr0"

    assert [] == compare(one, lab, bindings)
    assert 1 == len(compare(two, lab, bindings))
    assert 1 == len(compare(one, two, bindings))


def test_a_hole_is_lit_by_later_reads_which_then_do_not_count() -> None:
    """Without the exchanges that made VM 100's disks, its next configuration is taken over and not counted."""
    near = [each for each in recording() if each.seq <= 400 and not 365 <= each.seq <= 378]

    report = replay(near)

    assert "setup" == outcomes(report)[380]
    assert report.passed


def test_part_of_a_session_is_played_in_the_context_of_the_rest() -> None:
    """A file of forty lines in the middle needs the state that the others made; only it is counted."""
    part = [each for each in recording() if 314 <= each.seq <= 353]

    report = replay(part, context=recording())

    assert {each.seq for each in part} == outcomes(report).keys()
    assert report.matched == report.in_scope > 30


def test_unknown_intervention_is_told() -> None:
    """What nobody can perform must be seen in the report."""
    strange = Intervention(1, "auth", "the moon is taken away", "umount /moon")

    report = replay([strange])

    assert [strange] == report.unknown
    assert "#1 not performed: the moon is taken away: umount /moon" in report.lines()


def test_files_are_merged_by_number(tmp_path: Path) -> None:
    """Several files are one recording."""
    lines = OWN.read_text().splitlines()
    (tmp_path / "even.jsonl").write_text("\n".join(lines[::2]))
    (tmp_path / "odd.jsonl").write_text("\n".join(lines[1::2]))

    merged = load([tmp_path / "odd.jsonl", tmp_path / "even.jsonl"])

    assert list(recording()) == merged


def test_command_prints_the_sums_and_fails_below_the_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0 iff 98 % match; each mismatch is told with what differs."""
    good = json.loads(OWN.read_text().splitlines()[206 - 1])
    assert good["seq"] == 206
    wrong = json.loads(OWN.read_text().splitlines()[207 - 1])
    wrong["response"]["reason"] = "no"
    (tmp_path / "wrong.jsonl").write_text(json.dumps(wrong))

    failed = command.main([str(tmp_path / "wrong.jsonl"), "--profile", "recorded"])
    told = capsys.readouterr().out
    with pytest.raises(SystemExit) as nothing:
        command.main([])

    assert (failed, nothing.value.code) == (1, 2)
    assert "matched 0 of 1 in scope, 0 out of scope" in told
    assert "reason: recorded 'no'" in told


def test_every_exchange_is_accounted_for() -> None:
    """Matched, mismatched, setup or out of scope with a reason: nothing falls through."""
    exchanges = [each for each in recording() if isinstance(each, Exchange)]

    assert {each.seq for each in exchanges} == outcomes(played()).keys()
    assert all(outcome.reason for outcome in played().outcomes if outcome.kind == "out")
