"""The one sentence, and the document that the commands lay out."""

import json

from cpcd.model.errors import Code, Failure, Unreachable, entry
from cpcd.model.keys import Wall
from cpcd.model.report import Outcome
from cpcd.model.view import View
from cpcd.status import Board, SpecState, document, note_clusters, sentence
from tests.unit.status.scene import NOW, SITE, W1, W2, done, down, key, settled, view, with_op


def test_the_sentence_of_a_quiet_cluster_is_short() -> None:
    """Nothing to say is said in five words."""
    assert "6 of 6 objects ready" == sentence(view(), settled())


def test_the_sentence_before_the_first_pass() -> None:
    """A daemon that has just started says so instead of `0 of 0`."""
    assert "nothing to keep yet" == sentence(view(), Board())


def test_the_worst_comes_first() -> None:
    """A mistake in the file, then silence, then what is stalled rather than what merely moves."""
    board = settled()
    board.spec = SpecState("g", ("CPCD-102 cluster.yaml:6:13: must be odd",))
    board.endpoints = down(f"pve:{SITE}", "Proxmox home does not answer")
    board.note(done(key(W1), Outcome.ACTED, "clone it"), NOW)
    foreign = Failure(Code.CONFIG, "foreign VM", hint="Look.")
    refused = done(key(W2), Outcome.REFUSED, "foreign VM", reason="ForeignVm", failure=foreign, next_in=300)
    board.note(refused, Wall(NOW - 60))
    expected = (
        "spec invalid, the last good spec stays in force: CPCD-102 cluster.yaml:6:13: must be odd. "
        f"CPCD-100 pve:{SITE}: Proxmox home does not answer, since 07:59:00 UTC; what needs it goes on when it answers. "
        f"{entry(Code.NETWORK).hint} 4 of 6 objects ready. CPCD-102 machine/home-general-2: foreign VM; looked at again at 08:04:00 UTC, and at "
        "once when an input changes (run r-0001). Look"
    )

    assert expected == sentence(view(), board)


def test_an_outage_is_said_once_and_not_by_an_object_that_is_parked_on_it() -> None:
    """The endpoint is named; whoever waits for it is not the worst."""
    board, silent = settled(), Unreachable(f"pve:{SITE}", "Proxmox home does not answer")
    board.endpoints = down(f"pve:{SITE}", silent.what)
    board.note(done(key(W1), Outcome.FAILED, silent.what, failure=silent, failures=9, degraded=True), NOW)

    assert 1 == sentence(view(), board).count("does not answer")


def test_a_file_that_was_never_good_leaves_nothing_in_force() -> None:
    """There is no last good spec to speak of before there was one."""
    board = Board()
    board.spec = SpecState("", ("CPCD-102 cluster.yaml does not exist",))
    expected = "spec invalid, no spec is in force yet: CPCD-102 cluster.yaml does not exist. nothing to keep yet"

    assert expected == sentence(View(), board)


def test_the_document_is_json_and_holds_what_a_person_asks_for() -> None:
    """Code, hint and run id of a failure, names instead of uids, and how long operations are on their way."""
    board, failure = settled(), Failure(Code.TIMEOUT, "start of 302 took too long")
    board.note(done(key(W1), Outcome.FAILED, failure.what, failure=failure, failures=1, next_in=4), NOW)
    told = json.loads(json.dumps(document(with_op(view(), W2, "start"), board, NOW)))
    entry = next(entry for entry in told["objects"] if entry["name"] == W1.name)

    assert ("CPCD-104", failure.hint, "r-0001", 302) == (entry["code"], entry["hint"], entry["run"], entry["vmid"])
    assert [{"id": "op-1", "object": "machine/home-general-2", "cluster": "home", "verb": "start", "seconds": 34}] == (
        told["operations"]
    )


def test_a_clusters_conditions_know_since_when_though_nobody_asked() -> None:
    """Noted every few seconds, they tell when it was; the first to look must not make them young."""
    board = settled()
    note_clusters(view(), board, Wall(NOW - 600))
    (cluster,) = document(view(), board, NOW)["clusters"]

    assert {"2027-01-15T07:50:00Z"} == {found["lastTransitionTime"] for found in cluster["conditions"]}
