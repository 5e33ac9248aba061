"""The admin's kubeconfig: written when there is none, or when CA, server, context or dates are wrong."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.keys import Key, Kind
from cpcd.model.seen import Seen
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.ports.bundle import WrittenKubeconfig
from cpcd.reconcilers import kubeconfig
from tests.unit.plan.build import (
    CP,
    NAME,
    NOW,
    WORKERS,
    built,
    cluster,
    facts,
    group,
    of,
    put,
    row,
    said,
    seen,
    unknown,
    view,
)  # fmt: skip

KEY = Key(NAME, Kind.KUBECONFIG, "admin")
SCOPE = scopes.kubeconfig(NAME)
GOOD = WrittenKubeconfig("https://10.0.0.5:6443", NAME, "sha256:aa", NOW + 365 * 86400)
ONE = cluster(group(CP, 3), group(WORKERS, 1))
REST = built(ONE)


def decided(given: View) -> Any:
    """Return what is decided."""
    return kubeconfig.plan(KEY, given)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (None, "there is none"),
        (replace(GOOD, ca_hash="sha256:bb"), "it is of another cluster"),
        (replace(GOOD, server="https://10.0.0.6:6443"), "server or context changed"),
        (replace(GOOD, context="other"), "server or context changed"),
        (GOOD, ""),
    ],
)
def test_it_is_rewritten_for_a_reason_and_only_then(written: WrittenKubeconfig | None, why: str) -> None:
    """CA, server, context."""
    plan = decided(put(REST, bulk={SCOPE: seen(written)}))

    assert [why] * bool(why) == [step.why for step in plan.steps]


def test_one_that_cannot_be_read_is_written_anew_and_said_to_be() -> None:
    """It is made of what a control plane has, and the daemon needs one that it can read."""
    silent = Seen(None, seen(None).began, complete=False, why="the kubeconfig cannot be read: Permission denied")
    plan = decided(put(REST, bulk={SCOPE: silent}))

    assert ["the kubeconfig cannot be read: Permission denied"] == [step.why for step in plan.steps]


@pytest.mark.parametrize(
    ("days", "renewed", "why"),
    [
        (29, True, "its certificate ends soon"),
        (-1, True, "its certificate ends soon"),
        (31, True, ""),
        (29, False, ""),
        (-1, False, ""),
    ],
)
def test_it_is_fetched_again_when_there_is_a_newer_one(days: int, renewed: bool, why: str) -> None:
    """`failures.md` K14; an admin.conf that is as old is not fetched at every pass."""
    ends = NOW + days * 86400
    inside = facts(of(REST, "u1"), certificates={"admin.conf": ends + 1 if renewed else ends})
    bulk = {SCOPE: seen(replace(GOOD, expires=ends)), scopes.guest(of(REST, "u1")): seen(inside)}

    plan = decided(put(REST, bulk=bulk))

    assert [why] * bool(why) == [step.why for step in plan.steps]
    assert ("CertificatesExpired" == said(plan)) is (not renewed and days < 0)


def test_the_context_is_the_files_or_the_clusters_name() -> None:
    """`kubeconfig.context`."""
    named = built(ONE, now=replace(ONE, kubeconfig_context="prod"))

    (step,) = decided(named).steps

    assert ("prod", "https://10.0.0.5:6443", "u1") == (step.context, step.server, step.source.uid)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"u1": {"retire": "old"}}, "u2"),
        ({"u1": {"joined": False}, "u2": {"joined": False}}, "u3"),
        ({uid: {"joined": False} for uid in ("u1", "u2", "u3")}, None),
    ],
)
def test_a_joined_control_plane_that_stays_gives_the_text(
    changes: dict[str, dict[str, Any]], wanted: str | None
) -> None:
    """Never a worker, never one on its way out."""
    rows = [replace(of(REST, uid), **one) for uid, one in changes.items()]

    plan = decided(put(REST, *rows, bulk={SCOPE: seen(None)}))

    assert [wanted] * bool(wanted) == [step.source.uid for step in plan.steps]


def test_before_the_cluster_is_known_the_one_with_admin_conf_gives_it() -> None:
    """Without it nobody could ask the API whether the init is done."""
    rows = [row("u1", CP, 1), row("u2", CP, 2)]
    bulk = {SCOPE: seen(None), scopes.guest(rows[0]): seen(facts(rows[0]))}
    young = view(ONE, rows=rows, bulk=bulk)
    begun = put(young, bulk={scopes.guest(rows[1]): seen(facts(rows[1], admin_conf=True))})

    assert ("ControlPlaneInitializing", "write-kubeconfig") == (said(decided(young)), said(decided(begun)))
    assert "u2" == decided(begun).steps[0].source.uid


def test_until_the_cluster_is_known_it_follows_the_machine_that_is_being_initialised() -> None:
    """A first init may be lost with its machine: over TLS the CA of the lost one would wait for ever."""
    lost, other = row("u1", CP, 1), row("u2", CP, 2)
    inside = {
        scopes.guest(lost): seen(facts(lost, admin_conf=True, ca_hash="sha256:aa")),
        scopes.guest(other): seen(facts(other)),
    }
    young = view(ONE, rows=[lost, other], known={f"elected/{NAME}": "u2"}, bulk={SCOPE: seen(GOOD), **inside})
    made = put(young, bulk={scopes.guest(other): seen(facts(other, admin_conf=True, ca_hash="sha256:bb"))})

    assert "Ready" == said(decided(young))
    (step,) = decided(made).steps
    assert ("u2", "sha256:bb", "it is of another cluster") == (step.source.uid, step.ca_hash, step.why)
    assert "Ready" == said(decided(step.expect(made)))


def test_what_was_written_is_as_wanted() -> None:
    """The step's expectation ends the plan."""
    whole = put(REST, bulk={SCOPE: seen(None)})
    (step,) = decided(whole).steps

    assert "Ready" == said(decided(step.expect(whole)))


def test_nothing_is_decided_before_it_was_looked_at() -> None:
    """No document, no observation: no step."""
    gone = replace(REST, desired=replace(REST.desired, clusters={}))

    assert ["nothing", "nothing"] == [said(decided(gone)), said(decided(view(ONE)))]


def test_control_planes_from_inside_are_watched() -> None:
    """The moment that one has the text wakes the key."""
    watched = kubeconfig.watches(KEY, REST)

    assert {SCOPE, *(scopes.guest(of(REST, uid)) for uid in ("u1", "u2", "u3"))} == set(watched)
    assert ((SCOPE,), (KEY,)) == (kubeconfig.reads(KEY, REST), kubeconfig.keys(REST))


def test_an_unreadable_file_is_written_anew() -> None:
    """What cannot be read as a kubeconfig is none."""
    assert "write-kubeconfig" == said(decided(put(REST, bulk={SCOPE: unknown()})))
