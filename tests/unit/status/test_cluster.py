"""The cluster's own conditions, as a function of the view and the board."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Instant, Key, Kind, Uid, Wall
from cpcd.model.ledger import Ledger
from cpcd.model.report import Outcome
from cpcd.model.seen import Api, Member, Members, Quorum, Seen
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.status import Board, SpecState, cluster_conditions, counters
from cpcd.status.cluster import Counters
from tests.unit.status.scene import (
    CP,
    NOW,
    SITE,
    W1,
    W2,
    complete,
    desired,
    done,
    down,
    inside,
    key,
    node,
    settled,
    view,
)

Scene = tuple[View, Board]
ADDON = Key("home", Kind.ADDON, "cni")


def told(scene: Scene) -> dict[str, tuple[str, str]]:
    """Status and reason by condition."""
    return {c.type: (c.status.value, c.reason) for c in cluster_conditions(*scene, "home")}


def changed(**cluster: object) -> View:
    """The scene with another wish for the cluster."""
    wish = desired()
    return replace(view(), desired=replace(wish, clusters={"home": replace(wish.clusters["home"], **cluster)}))


def only_in_place() -> View:
    """The scene with a worker of another revision, where `rollout.inPlace` lets none be replaced."""
    groups = tuple(replace(g, in_place="Only") for g in desired().clusters["home"].groups)
    scene = changed(groups=groups)
    old = replace(W2, revision="old")
    return replace(scene, ledger=replace(scene.ledger, machines={**scene.ledger.machines, old.uid: old}))


def resized(replicas: int) -> View:
    """The scene with another number of workers wanted."""
    groups = tuple(
        replace(g, replicas=replicas) if g.name == "general" else g for g in desired().clusters["home"].groups
    )
    return changed(groups=groups)


def remembering(**facts: object) -> View:
    """The scene with other facts."""
    scene = view()
    return replace(scene, ledger=replace(scene.ledger, facts=facts))


def seeing(**scope: object) -> View:
    """The scene in which other things are seen; None means that it is unknown."""
    names = {
        "api": scopes.api("home"),
        "nodes": scopes.nodes("home"),
        "etcd": scopes.etcd("home"),
        "quorum": scopes.quorum(SITE),
    }
    unknown = Seen(None, Instant(2.0), complete=False, why="no answer")
    return view().with_seen({names[n]: complete(v) if v is not None else unknown for n, v in scope.items()})


def noted(*passes: tuple[Key, Outcome, str]) -> Board:
    """The board after some more passes."""
    board = settled()
    for where, outcome, reason in passes:
        failure = Failure(Code.EXECUTION, "it broke") if outcome is Outcome.FAILED else None
        degraded = outcome is Outcome.FAILED
        board.note(done(where, outcome, "so it is", reason=reason, failure=failure, degraded=degraded), NOW)
    return board


def board_with(**attributes: object) -> Board:
    """The board with another state of spec or endpoints."""
    board = settled()
    for name, value in attributes.items():
        setattr(board, name, value)
    return board


def members(*healthy: bool) -> Members:
    """Voters, healthy or not."""
    return Members(tuple(Member(str(n), f"cp-{n}", "", False, True, up) for n, up in enumerate(healthy)), "0")


def ageing(**ends: float) -> View:
    """The cluster as wanted, but for the certificates of one machine, which end in so many days."""
    return view().with_seen(inside(W1, **ends))


def test_a_cluster_as_wanted_is_ready_and_nothing_else_is_news() -> None:
    """Everything that is good is True, everything that would be news is False."""
    found = told((view(), settled()))
    good = {
        "Ready", "Available", "UpToDate", "SpecValid", "ProxmoxAvailable", "ControlPlaneInitialized",
        "ControlPlaneAvailable", "WorkersAvailable", "EtcdClusterHealthy",
        "CertificatesAvailable", "AddonsApplied", "KubeconfigReady",
    }  # fmt: skip

    assert good == {name for name, (status, _) in found.items() if status == "True"}


CASES: list[tuple[str, Callable[[], Scene], str, tuple[str, str]]] = [
    ("fewer rows than wanted", lambda: (view(CP, W1), settled()), "ScalingUp", ("True", "ScalingUp")),
    ("more rows than wanted", lambda: (resized(1), settled()), "ScalingDown", ("True", "ScalingDown")),
    ("a row that is to go", lambda: (view(CP, W1, replace(W2, retire="scale")), settled()), "ScalingDown", ("True", "ScalingDown")),
    ("another revision", lambda: (view(CP, W1, replace(W2, revision="old")), settled()), "RollingOut", ("True", "RollingOut")),
    ("another revision", lambda: (view(CP, W1, replace(W2, revision="old")), settled()), "UpToDate", ("False", "RollingOut")),
    ("another revision, never to be replaced", lambda: (only_in_place(), settled()), "RollingOut", ("False", "NotRollingOut")),
    ("another revision, never to be replaced", lambda: (only_in_place(), settled()), "Ready", ("True", "Settled")),
    ("a machine changes", lambda: (view(), noted((key(W1), Outcome.ACTED, "configure"))), "UpToDate", ("False", "Changing")),
    ("a struck machine", lambda: (view(CP, W1, replace(W2, strikes=1), nodes={CP.name: node(CP)}), settled()), "Remediating", ("True", "Remediating")),
    ("no document", lambda: (replace(view(), desired=replace(desired(), clusters={})), settled()), "Deleting", ("True", "Deleting")),
    ("paused in the file", lambda: (changed(paused=True), settled()), "Paused", ("True", "Paused")),
    ("paused by command", lambda: (view(facts={"paused/home": True}), settled()), "Paused", ("True", "Paused")),
    ("a mistake", lambda: (view(), board_with(spec=SpecState("g", ("cluster.yaml:1:1: no",)))), "SpecValid", ("False", "InvalidSpec")),
    ("an edit", lambda: (view(), board_with(spec=SpecState("g", uncommitted=True))), "SpecValid", ("True", "Uncommitted")),
    ("Proxmox silent", lambda: (view(), board_with(endpoints=down(f"pve:{SITE}"))), "ProxmoxAvailable", ("False", "EndpointDown")),
    ("Proxmox silent", lambda: (view(), board_with(endpoints=down(f"pve:{SITE}"))), "Degraded", ("True", "EndpointDown")),
    ("Proxmox not seen", lambda: (seeing(quorum=None), settled()), "ProxmoxAvailable", ("Unknown", "Unknown")),
    ("no quorum", lambda: (seeing(quorum=Quorum(False, frozenset({"a"}), frozenset({"b"}))), settled()), "ProxmoxAvailable", ("False", "NoQuorum")),
    ("a node off", lambda: (seeing(quorum=Quorum(True, frozenset({"a"}), frozenset({"b"}))), settled()), "ProxmoxAvailable", ("True", "NodesOffline")),
    ("before init", lambda: (remembering(), settled()), "ControlPlaneInitialized", ("False", "NotInitialized")),
    ("before init", lambda: (remembering(), settled()), "Ready", ("False", "NotInitialized")),
    ("API loading", lambda: (seeing(api=Api(False, "")), settled()), "ControlPlaneAvailable", ("False", "NotReady")),
    ("API unknown", lambda: (seeing(api=None), settled()), "ControlPlaneAvailable", ("Unknown", "Unknown")),
    ("API unknown", lambda: (seeing(api=None), settled()), "Ready", ("Unknown", "Unknown")),
    ("API silent", lambda: (view(), board_with(endpoints=down("kube:home"))), "Degraded", ("True", "EndpointDown")),
    ("API address moves", lambda: (view(), board_with(endpoints=down("kube:home", since=29))), "Degraded", ("False", "NotObjectsDegraded")),
    ("nodes unknown", lambda: (seeing(nodes=None), settled()), "WorkersAvailable", ("Unknown", "Unknown")),
    ("a worker off", lambda: (view(nodes={CP.name: node(CP), W1.name: node(W1), W2.name: node(W2, "False")}), settled()), "WorkersAvailable", ("False", "NotReady")),
    ("one voter of three", lambda: (seeing(etcd=members(True, True, False)), settled()), "EtcdClusterHealthy", ("False", "MemberUnhealthy")),
    ("two voters of three", lambda: (seeing(etcd=members(True, False, False)), settled()), "EtcdClusterHealthy", ("False", "QuorumLost")),
    ("etcd unknown", lambda: (seeing(etcd=None), settled()), "EtcdClusterHealthy", ("Unknown", "Unknown")),
    ("one grows old", lambda: (ageing(kubelet=29), settled()), "CertificatesAvailable", ("False", "CertificatesExpiring")),
    ("one has ended", lambda: (ageing(kubelet=-1, apiserver=29), settled()), "CertificatesAvailable", ("False", "CertificatesExpired")),
    ("an authority is not looked at", lambda: (ageing(**{"etcd-ca": -1, "apiserver": 31}), settled()), "CertificatesAvailable", ("True", "CertificatesAvailable")),
    ("one not seen", lambda: (ageing(), settled()), "CertificatesAvailable", ("Unknown", "Unknown")),
    ("an addon late", lambda: (view(), noted((ADDON, Outcome.WAITING, "Waiting"))), "AddonsApplied", ("False", "ObjectsNotReady")),
    ("an addon late", lambda: (view(), noted((ADDON, Outcome.WAITING, "Waiting"))), "Ready", ("True", "Settled")),
    ("an addon that blocks", lambda: (changed(addon_failure="Block"), noted((ADDON, Outcome.WAITING, "Waiting"))), "Ready", ("False", "ObjectsNotReady")),
    ("a machine degraded", lambda: (view(), noted((key(W1), Outcome.FAILED, ""))), "Degraded", ("True", "ObjectsDegraded")),
    ("consent", lambda: (view(), noted((key(W1), Outcome.WAITING, "AwaitingApproval"))), "AwaitingApproval", ("True", "AwaitingApproval")),
    ("no kubeconfig yet", lambda: (view(), Board()), "KubeconfigReady", ("Unknown", "Unknown")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scene", "condition", "expected"), [c[1:] for c in CASES], ids=[f"{c[0]}: {c[2]}" for c in CASES]
)
def test_a_condition_follows_the_scene(scene: Callable[[], Scene], condition: str, expected: tuple[str, str]) -> None:
    """Each condition turns with what it is about, and unknown is Unknown, never False or True."""
    assert expected == told(scene())[condition]


@pytest.mark.parametrize(
    ("generation", "kept"), [("g", "the last good spec stays in force"), ("", "no spec is in force yet")]
)
def test_what_stays_in_force_beside_a_mistake_is_said(generation: str, kept: str) -> None:
    """Nothing is in force where no spec ever was; the first mistake stands for the others."""
    board = board_with(spec=SpecState(generation, ("CPCD-102 a.yaml:1:1: no", "CPCD-102 a.yaml:2:1: nor this")))
    told = {c.type: c.message for c in cluster_conditions(view(), board, "home")}

    assert f"CPCD-102 a.yaml:1:1: no (and 1 more); {kept}" == told["SpecValid"]


def test_counters_count_what_is_known() -> None:
    """A machine counts as ready by its Node, and as up to date when it is ready and of the newest revision."""
    scene = view(CP, W1, replace(W2, revision="old"))

    assert Counters(desired=3, replicas=3, ready=3, up_to_date=2) == counters(scene, settled(), "home")


def test_the_newest_observation_of_a_node_counts() -> None:
    """A fresh look at one Node beats the older list of all."""
    scene = view()
    late = Seen(node(W1, "False"), Instant(9.0), complete=True)
    newer = scene.with_seen({scopes.node("home", W1.name): late})

    assert [3, 2] == [counters(s, settled(), "home").ready for s in (scene, newer)]


def test_a_cluster_without_document_is_still_reported() -> None:
    """Rows whose document is gone have a report, so that a removal can be watched to its end."""
    rows = {Uid(W1.uid): W1}
    gone = View(ledger=Ledger(machines=rows))

    assert ("False", "Deleting") == told((gone, Board()))["Available"]


def test_transition_times_of_the_cluster_are_kept() -> None:
    """The computed conditions have a history as those of objects have."""
    board = settled()
    first = board.stamp("home", cluster_conditions(view(), board, "home"), Wall(1))
    again = board.stamp("home", cluster_conditions(view(CP, W1), board, "home"), Wall(2))
    moved = {b.type for a, b in zip(first, again, strict=True) if a.since != b.since}

    assert {"ScalingUp", "WorkersAvailable", "Available", "Ready"} == moved
