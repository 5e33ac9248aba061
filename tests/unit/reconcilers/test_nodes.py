"""Nodes: labels, annotations and taints kept equal, what others set left alone, and CSRs judged by their machine."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.model.desired import Taint
from cpcd.model.keys import Key, Kind
from cpcd.model.ledger import Machine
from cpcd.model.seen import Csr, Node
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.reconcilers import nodes
from tests.unit.plan.build import (
    CP,
    NAME,
    WORKERS,
    built,
    cluster,
    group,
    node,
    of,
    put,
    row,
    said,
    seen,
    unknown,
)  # fmt: skip

ZONE = "topology.kubernetes.io/zone"
REST = built()
ROW: Machine = of(REST, "u4")
KEY = Key(NAME, Kind.NODES, ROW.name)
SCOPE = scopes.node(NAME, ROW.name)


def wished(**changes: Any) -> View:
    """Return a cluster at rest whose file now says more about its workers."""
    return built(now=cluster(group(CP, 3), group(WORKERS, 2, **changes)))


def decided(whole: View, found: Node | None = None) -> Any:
    """Return what is decided for the worker's Node."""
    whole = put(whole, bulk={SCOPE: seen(found)}) if found else whole
    return nodes.plan(KEY, whole)


def correction(whole: View, found: Node | None = None) -> nodes.SetNode:
    """Return the one correction that is decided."""
    (step,) = decided(whole, found).steps
    assert isinstance(step, nodes.SetNode)
    return step


def applied(**kinds: Any) -> dict[str, str]:
    """Return the annotation that remembers what we set."""
    return {nodes.APPLIED: json.dumps({"labels": [], "annotations": [], "taints": [], **kinds})}


def test_a_node_with_its_labels_is_ready() -> None:
    """No drift, no work."""
    assert "Ready" == said(decided(REST))


@pytest.mark.parametrize(
    ("whole", "wanted"),
    [
        (put(REST, row("u9", WORKERS, 9)), "nothing"),
        (put(REST, replace(ROW, joined=False)), "NotJoined"),
        (put(REST, bulk={SCOPE: unknown()}), "NodeUnknown"),
        (put(REST, bulk={SCOPE: seen(None)}), "NodeUnknown"),
        (put(REST, bulk={SCOPE: seen(node(ROW, system_uuid="another"))}), "NameTaken"),
        (put(REST, replace(ROW, retire="scaled")), "nothing"),
        (replace(REST, desired=replace(REST.desired, clusters={})), "nothing"),
    ],
)
def test_what_is_not_ours_or_not_known_is_not_touched(whole: View, wanted: str) -> None:
    """A Node of our name with another machine's UUID is somebody else's."""
    key = KEY if "u9" not in whole.machines else Key(NAME, Kind.NODES, "nobody")

    assert wanted == said(nodes.plan(key, whole))


def test_missing_labels_are_merged_and_remembered() -> None:
    """The zone of its Proxmox node comes with them."""
    step = correction(wished(labels={"tier": "web"}), node(ROW, labels={"theirs": "1"}))

    meta = step.merge["metadata"]
    assert {"tier": "web", ZONE: "a"} == meta["labels"]
    assert ["tier", ZONE] == json.loads(meta["annotations"][nodes.APPLIED])["labels"]
    assert {"tier": "web", ZONE: "a", "theirs": "1"} == step.after.labels


@pytest.mark.parametrize(
    ("present", "ours", "wanted"),
    [
        ({"old": "1"}, ["old"], {"old": None}),
        ({"old": "1"}, [], {}),
        ({}, ["old"], {}),
    ],
)
def test_a_label_that_left_the_file_is_removed_if_it_was_ours(
    present: dict[str, str], ours: list[str], wanted: dict[str, Any]
) -> None:
    """What others set is left alone."""
    found = node(ROW, labels=present, annotations=applied(labels=ours))

    assert {ZONE: "a", **wanted} == correction(REST, found).merge["metadata"]["labels"]


def test_annotations_are_kept_like_labels() -> None:
    """Changed, added, removed."""
    found = node(ROW, annotations={"a": "old", "gone": "1", "theirs": "1", **applied(annotations=["a", "gone"])})

    merge = correction(wished(annotations={"a": "new", "b": "1"}), found).merge["metadata"]["annotations"]

    assert {"a": "new", "b": "1", "gone": None} == {name: merge[name] for name in merge if name != nodes.APPLIED}


WEB = Taint("tier", "web", "NoSchedule")
CORDON = ("node.kubernetes.io/unschedulable", "", "NoSchedule")


@pytest.mark.parametrize(
    ("taints", "present", "ours", "wanted"),
    [
        ((WEB,), (), [], {("tier", "web", "NoSchedule")}),
        ((WEB,), (CORDON,), [], {CORDON, ("tier", "web", "NoSchedule")}),
        ((WEB,), (("tier", "db", "NoSchedule"),), [], {("tier", "web", "NoSchedule")}),
        ((WEB,), (("tier", "web", "NoExecute"),), [], {("tier", "web", "NoExecute"), ("tier", "web", "NoSchedule")}),
        ((), (("tier", "web", "NoSchedule"), CORDON), [["tier", "NoSchedule"]], {CORDON}),
    ],
)
def test_taints_are_kept_by_key_and_effect(
    taints: tuple[Taint, ...], present: tuple[Any, ...], ours: list[list[str]], wanted: set[Any]
) -> None:
    """The list is written whole, so foreign ones are written back."""
    step = correction(wished(taints=taints), node(ROW, taints=present, annotations=applied(taints=ours)))

    written = {(one["key"], one["value"], one["effect"]) for one in step.merge["spec"]["taints"]}
    assert (wanted, wanted) == (written, set(step.after.taints))


def test_taints_that_nobody_set_for_us_are_no_drift() -> None:
    """A cordon is the business of who cordoned."""
    assert "Ready" == said(decided(REST, node(ROW, taints=(CORDON,))))


def test_labels_alone_do_not_write_taints() -> None:
    """Two writers of one list lose one another's entries."""
    step = correction(wished(labels={"tier": "web"}), node(ROW, taints=(CORDON,)))

    assert "spec" not in step.merge


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"))
TAINTS = st.lists(
    st.builds(Taint, st.sampled_from("xy"), st.sampled_from("12"), st.sampled_from(("NoSchedule", "NoExecute"))),
    max_size=3, unique_by=lambda one: (one.key, one.effect),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(edits=st.lists(st.tuples(LABELS, LABELS, TAINTS), max_size=4), theirs=LABELS)
def test_after_any_edits_one_correction_makes_the_node_equal(
    edits: list[tuple[dict[str, str], dict[str, str], list[Taint]]], theirs: dict[str, str]
) -> None:
    """And what others set under names of their own is still there."""
    found = node(ROW, labels={f"their-{name}": value for name, value in theirs.items()}, taints=(CORDON,))
    for labels, notes, taints in edits:
        whole = wished(labels=labels, annotations=notes, taints=tuple(taints))
        plan = decided(whole, found)
        found = plan.steps[0].after if plan.steps else found

        assert not decided(whole, found).steps
        ours = {name: value for name, value in found.labels.items() if not name.startswith("their-")}
        assert {**labels, ZONE: "a"} == {**ours, ZONE: "a"}
        assert {(t.key, t.value, t.effect) for t in taints} | {CORDON} == set(found.taints)
        assert notes.items() <= found.annotations.items()
    assert {f"their-{name}": value for name, value in theirs.items()}.items() <= found.labels.items()


def csr(**changes: Any) -> Csr:
    """Return the worker's own request for a serving certificate."""
    usages, user = ("digital signature", "key encipherment", "server auth"), f"system:node:{ROW.name}"
    return replace(Csr("csr-1", user, usages, user, (ROW.name,), (ROW.address,)), **changes)


def approved(*requests: Csr, **changes: Any) -> list[str]:
    """Return the requests that are approved while the Node is as wanted."""
    whole = put(built(now=replace(cluster(group(CP, 3), group(WORKERS, 2)), **changes)))
    whole = put(whole, bulk={scopes.csrs(NAME): seen(requests)})
    return [step.csr.name for step in decided(whole).steps]


def test_a_machines_own_request_is_approved() -> None:
    """Its name, its address, for serving."""
    assert ["csr-1"] == approved(csr())


@pytest.mark.parametrize(
    "changes",
    [
        {"dns_names": ("lab-general-2",)},
        {"dns_names": (ROW.name, "lab-general-2")},
        {"dns_names": (ROW.name, "kubernetes.default.svc")},
        {"dns_names": (f"evil-{ROW.name}",)},
        {"dns_names": (f"{ROW.name}0",)},
        {"dns_names": ("localhost",)},
        {"dns_names": ("*",)},
        {"addresses": ("10.0.0.11",)},
        {"addresses": (ROW.address, "10.0.0.5")},
        {"addresses": ("127.0.0.1",)},
        {"dns_names": (), "addresses": ()},
        {"usages": ("client auth",)},
        {"usages": ("server auth",)},
        {"usages": ("server auth", "client auth")},
        {"usages": ("digital signature", "server auth", "client auth")},
        {"usages": ("digital signature", "server auth", "key encipherment", "any")},
        {"usages": ("digital signature", "server auth", "server auth")},
        {"usages": ("key encipherment", "server auth")},
        {"subject": "system:node:lab-general-2"},
        {"subject": ""},
        {"trouble": "it cannot be read"},
        {"usages": ()},
        {"username": "system:node:lab-general-2"},
        {"username": "system:serviceaccount:default:x"},
        {"username": ROW.name},
    ],
)
def test_a_foreign_name_address_usage_or_user_is_never_approved(changes: dict[str, Any]) -> None:
    """A kubelet cannot borrow another's identity."""
    assert [] == approved(csr(**changes))


@pytest.mark.parametrize("usages", [("digital signature", "server auth"), ("server auth", "digital signature")])
def test_a_request_without_key_encipherment_is_one_too(usages: tuple[str, ...]) -> None:
    """Keys other than RSA's do not encipher."""
    assert ["csr-1"] == approved(csr(usages=usages))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"trouble": "it cannot be read"}, "it cannot be read"),
        ({"subject": "system:node:other"}, "its subject is system:node:other"),
        ({"usages": ()}, "its usages are none"),
        ({"addresses": ("10.0.0.5",)}, "it asks for 10.0.0.5, which is not the machine's own"),
        ({"dns_names": (), "addresses": ()}, "it asks for no name and no address"),
    ],
)
def test_what_is_not_approved_is_said(changes: dict[str, Any], why: str) -> None:
    """The Node is as wanted, and its status says what waits there; another's request is not this Node's business."""
    strange = csr(name="csr-2", username="system:node:x", trouble="it cannot be read")
    plan = decided(put(REST, bulk={scopes.csrs(NAME): seen((strange, csr(**changes)))}))

    (ready,) = plan.conditions
    assert () == plan.steps
    assert f"Node {ROW.name} has its labels and taints; its request csr-1 is not approved: {why}" == ready.message


NAMES = st.lists(st.sampled_from((ROW.name, "lab-general-2", "lab-cp-1", "kubernetes", "")), max_size=3)
ADDRESSES = st.lists(st.sampled_from((ROW.address, "10.0.0.5", "10.0.0.11", "::1")), max_size=3)


@settings(max_examples=80, deadline=None)
@given(names=NAMES, addresses=ADDRESSES)
def test_only_requests_for_nothing_but_the_own_names_are_approved(names: list[str], addresses: list[str]) -> None:
    """Whatever is mixed into one."""
    asked = csr(dns_names=tuple(names), addresses=tuple(addresses))

    own = set(names) <= {ROW.name} and set(addresses) <= {ROW.address} and bool(names or addresses)
    assert (["csr-1"] if own else []) == approved(asked)


def test_only_the_own_request_among_many_is_approved() -> None:
    """Each machine's key judges its own."""
    other = csr(name="csr-2", username="system:node:lab-general-2", dns_names=("lab-general-2",))

    assert ["csr-1"] == approved(csr(), other)


def test_nothing_is_approved_when_the_file_says_so() -> None:
    """`kubeletCSR.approve: false`."""
    assert [] == approved(csr(), approve_csr=False)


@pytest.mark.parametrize(
    "whole",
    [
        put(REST, replace(ROW, joined=False)),
        put(REST, replace(ROW, retire="scaled")),
        put(REST, bulk={SCOPE: seen(None)}),
        put(REST, bulk={SCOPE: seen(node(ROW, system_uuid="another"))}),
    ],
)
def test_a_machine_that_is_not_a_known_member_gets_no_certificate(whole: View) -> None:
    """Node and SMBIOS UUID have to agree first."""
    assert () == decided(put(whole, bulk={scopes.csrs(NAME): seen((csr(),))})).steps


def test_labels_come_before_the_certificate() -> None:
    """One step a pass."""
    whole = put(wished(labels={"tier": "web"}), bulk={scopes.csrs(NAME): seen((csr(),))})

    assert "label" == said(decided(whole))


def test_there_is_a_key_for_each_wanted_machine_and_it_reads_its_node_once_joined() -> None:
    """Retired machines have none."""
    going = replace(of(REST, "u5"), retire="scaled")
    whole = put(REST, going, replace(ROW, joined=False))

    names = {key.name for key in nodes.keys(whole)}
    assert ({"lab-cp-1", "lab-cp-2", "lab-cp-3", "lab-general-1"}, ()) == (names, nodes.reads(KEY, whole))
    assert SCOPE in nodes.reads(KEY, REST)


@pytest.mark.parametrize(
    ("requests", "watched"),
    [((csr(),), True), ((), False), ((csr(username="system:node:lab-cp-1"),), False), (None, True)],
)
def test_a_node_is_woken_by_requests_of_its_own(requests: tuple[Csr, ...] | None, watched: bool) -> None:
    """Of a thousand Nodes one request is the business of one; while they are unknown it could be anybody's."""
    assert watched == (scopes.csrs(NAME) in nodes.watches(KEY, put(REST, bulk={scopes.csrs(NAME): seen(requests)})))


def test_a_user_called_like_the_node_is_not_the_node() -> None:
    """Only `system:node:` makes a name a Node's."""
    assert [] == approved(csr(username=ROW.name), csr(username=f"x:system:node:{ROW.name}"))
