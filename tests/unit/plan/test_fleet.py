"""Which machines there are: one decision at a time, in the order lost, missing, sick, outdated, surplus."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.model.desired import Blast, Cluster, Consent, MachineSpec, Remedy, Risk, TemplateRef
from cpcd.model.keys import Wall
from cpcd.model.ledger import DropMachine, Machine, PutMachine
from cpcd.model.seen import Members, Node, Vm
from cpcd.model.view import View
from cpcd.plan import effects, fields, guards, scopes
from cpcd.plan.case import machine_key
from cpcd.plan.fleet import AddMachine, ElectInit, RetireMachine, fleet
from cpcd.plan.group import fleet_of
from tests.unit.plan import build
from tests.unit.plan.build import (
    CP,
    KEY,
    NAME,
    NOW,
    SITE,
    WORKERS,
    built,
    cluster,
    group,
    health,
    hold,
    identity,
    member_row,
    node,
    of,
    put,
    row,
    said,
    seen,
    spec,
    step,
    unknown,
    view,
    vm,
)  # fmt: skip

NEW = spec(template=TemplateRef("ubuntu", vmid=9001))
GONE = Vm(exists=False)


def decided(whole: View) -> Any:
    """Return the cluster's next decision."""
    return fleet(KEY, whole, whole.desired.clusters[NAME])


def retired(whole: View) -> tuple[str, Risk] | None:
    """Return who is retired, and how grave that is."""
    action = step(decided(whole))
    return (action.row.uid, action.kind) if isinstance(action, RetireMachine) else None


def test_a_cluster_at_rest_decides_nothing() -> None:
    """No drift, no work."""
    assert "nothing" == said(decided(built()))


def test_missing_machines_are_added_control_planes_first() -> None:
    """The row says everything that later passes need."""
    action = step(decided(view(cluster(group(CP, 1), group(WORKERS, 1)))))

    assert isinstance(action, AddMachine)
    made = action.row
    assert ("new", CP, 1, "lab-cp-1", 300, "10.0.0.10", "pve1", 9000, NOW, fields.revision(spec())) == (
        made.uid, made.group, made.index, made.name, made.vmid, made.address, made.node, made.template, made.created,
        made.revision,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bulk", "infra", "wanted"),
    [
        ({scopes.template("home", "ubuntu"): unknown()}, {}, "TemplateUnknown"),
        ({scopes.template("home", "ubuntu"): seen(())}, {}, "TemplateUnknown"),
        ({scopes.quorum("home"): unknown()}, {}, "NoNode"),
        (build.site(online=[]), {}, "NoNode"),
        ({}, {"addresses": ("10.0.0.5",)}, "PoolExhausted"),
        ({}, {"vmid_start": 300, "vmid_end": 299}, "PoolExhausted"),
    ],
)
def test_what_keeps_a_machine_from_being_added_is_said(bulk: Any, infra: dict[str, Any], wanted: str) -> None:
    """The unknown is waited for; an exhausted pool is the file's to widen."""
    wished = cluster(group(CP, 1), infrastructure=build.infrastructure(**infra))

    assert wanted == said(decided(view(wished, bulk=bulk)))


@pytest.mark.parametrize(
    ("infra", "wanted"),
    [
        ({"addresses": ("10.0.0.5",)}, "no free address in ipv4Config.addresses"),
        ({"vmid_start": 300, "vmid_end": 299}, "no free VMID in vmIDRange"),
    ],
)
def test_of_two_pools_the_one_that_is_exhausted_is_named(infra: dict[str, Any], wanted: str) -> None:
    """A person is to widen that one."""
    plan = decided(view(cluster(group(CP, 1), infrastructure=build.infrastructure(**infra))))

    assert f"{CP}: {wanted}" == plan.refusal.sentence


def test_a_group_that_waits_does_not_stop_another() -> None:
    """One failure stays one failure (promise 9)."""
    pinned = cluster(group(WORKERS, 1, failure_domain="nowhere"), group("gpu", 1))

    action = step(decided(view(pinned)))

    assert isinstance(action, AddMachine)
    assert "gpu" == action.row.group


def test_one_control_plane_is_elected_for_good() -> None:
    """The first; nobody is elected again while it is there or there is a cluster."""
    rows = [row("u1", CP, 1, created=NOW), row("u2", CP, 2, created=NOW)]
    wished = cluster(group(CP, 2))

    action = step(decided(view(wished, rows=rows)))
    elected = view(wished, rows=rows, known={f"elected/{NAME}": "u2"})
    known = view(wished, rows=rows, known={f"identity/{NAME}": identity()[f"identity/{NAME}"]})

    assert isinstance(action, ElectInit)
    assert ("u1", "nothing", "nothing") == (action.row.uid, said(decided(elected)), said(decided(known)))


def test_when_the_elected_machine_is_forgotten_before_there_is_a_cluster_another_is_elected() -> None:
    """Nobody would ever initialise the control plane otherwise; while the row goes of one that ran, nobody is.

    One that was never started cannot have made it, and its row may stay for as long as Proxmox keeps its configuration.
    """
    wished, rows = cluster(group(CP, 2)), [row("u2", CP, 2), row("u3", CP, 3)]
    going = replace(row("u1", CP, 1), retire="its VM is gone", started=True)
    unborn = replace(going, started=False)

    found = [view(wished, rows=[*rows, *more], known={f"elected/{NAME}": "u1"}) for more in ((), (going,), (unborn,))]

    assert ["elect-init", "nothing", "elect-init"] == [said(decided(whole)) for whole in found]


def test_workers_do_not_initialise_anything() -> None:
    """Only a control plane is elected."""
    only = cluster(group(WORKERS, 1))

    assert "nothing" == said(decided(view(only, rows=[row("u1", WORKERS, 1)])))


@pytest.mark.parametrize(
    ("one", "found", "wanted"),
    [
        ({}, seen(GONE), ("u4", Risk.IN_PLACE)),
        ({"joined": False}, seen(GONE), ("u4", Risk.IN_PLACE)),
        ({"joined": False, "started": False, "created": NOW}, seen(GONE), None),
        ({}, unknown(), None),
        ({"retire": "already"}, seen(GONE), None),
    ],
)
def test_a_lost_vm_is_replaced_when_it_is_proved_absent(
    one: dict[str, Any], found: Any, wanted: tuple[str, Risk] | None
) -> None:
    """Nothing is destroyed by that, so nothing is asked; unknown is not absent."""
    rest = built()
    lost = replace(of(rest, "u4"), **one)

    assert wanted == retired(put(rest, lost, bulk={scopes.vm(lost): found}))


@pytest.mark.parametrize(
    ("control", "gone", "changes", "wanted"),
    [
        (3, ("u1",), {}, "retire"),
        (3, ("u1", "u2"), {}, "QuorumLost"),
        (4, ("u1", "u2"), {}, "QuorumLost"),
        (5, ("u1", "u2"), {}, "retire"),
        (1, ("u1",), {}, "QuorumLost"),
        (3, ("u4", "u5"), {}, "retire"),
        (1, ("u2", "u3"), {}, "retire"),
        (3, ("u1",), {"u2": {"joined": False}}, "QuorumLost"),
        (3, ("u1", "u2"), {"u2": {"joined": False}, "u3": {"joined": False}}, "QuorumLost"),
        (3, ("u2",), {"u2": {"joined": False}}, "retire"),
        (3, ("u1", "u2"), {"u1": {"retire": "gone"}, "u2": {"retire": "gone"}}, "add-machine"),
    ],
)
def test_without_its_quorum_a_cluster_keeps_the_rows_of_the_vms_that_it_lost(
    control: int, gone: tuple[str, ...], changes: dict[str, dict[str, Any]], wanted: str
) -> None:
    """A majority of the control planes that joined has its VM, or nothing is decided: a person may put one back.

    Who never joined is no voter, a worker is none, and who goes already is not to be put back.
    """
    whole = built(cluster(group(CP, control), group(WORKERS, 2)))
    rows = [replace(of(whole, uid), **parts) for uid, parts in changes.items()]
    lost = {scopes.vm(of(whole, uid)): seen(GONE) for uid in gone}

    assert wanted == said(decided(put(whole, *rows, bulk=lost)))


THEIRS = {"name": "nextcloud", "description": "", "smbios1": "uuid=11111111-0000-0000-0000-000000000000"}


@pytest.mark.parametrize(
    ("one", "since", "whole", "wanted"),
    [
        ({}, 700, True, ("u4", Risk.REPLACE)),
        ({}, 700, False, None),
        ({}, 10, True, None),
        ({"joined": False}, 10, True, ("u4", Risk.REPLACE)),
        ({"joined": False, "started": False}, 10, True, ("u4", Risk.REPLACE)),
        ({"joined": False}, 10, False, None),
    ],
)
def test_who_was_on_a_proxmox_node_that_was_removed_is_replaced_like_the_sick(
    one: dict[str, Any], since: float, whole: bool, wanted: tuple[str, Risk] | None
) -> None:
    """With the consent that a replacement wants, and not before its Node is sick: it may be in reach of others."""
    there = replace(of(built(), "u4"), **one)
    bulk = {**ill("u4", since=since), **build.without(there.node, whole=whole), scopes.vm(there): unknown()}

    assert wanted == retired(put(built(), there, bulk=bulk))


@pytest.mark.parametrize("ladder", [tuple(Remedy), ()])
def test_who_was_still_to_be_made_on_a_removed_proxmox_node_is_a_loss_and_no_remedy(ladder: tuple[Remedy, ...]) -> None:
    """Not counted as a try that failed, nor held up by those, by a ladder, or by the limits that remedies have."""
    wanted = cluster(group(CP, 3), group(WORKERS, 8), health=health(ladder=ladder))
    rest = built(wanted)
    young = [replace(of(rest, f"u{n}"), joined=False, started=False, node="pve3") for n in (4, 5, 6, 7)]
    bulk = {**build.without("pve3"), **{scopes.vm(one): unknown() for one in young}}
    tried = [[NOW - 60, young[0].revision]] * 3
    whole = put(rest, *young, bulk=bulk, known={f"healed/{NAME}/{WORKERS}": tried})
    action = step(decided(whole))
    assert isinstance(action, RetireMachine)
    after = whole.with_ledger(action.changes(whole)).facts

    assert ("u4", Risk.REPLACE, "") == (action.row.uid, action.kind, action.before(whole)["remedy"])
    assert tried == after[f"healed/{NAME}/{WORKERS}"]
    assert guards.remediation(action, put(whole, bulk=ill("u8", "u9", "u10", "u11", "u1", "u2", "u3"))) is None


@pytest.mark.parametrize(("tried", "wanted"), [(0, "retire"), (3, "RemediesSpent")])
def test_who_was_a_member_on_a_removed_proxmox_node_is_a_remedy_like_any_other(tried: int, wanted: str) -> None:
    """It was made and served, so that its replacement is counted and held up as one."""
    rest = built()
    there = of(rest, "u4")
    bulk = {**ill("u4"), **build.without(there.node), scopes.vm(there): unknown()}
    whole = put(rest, bulk=bulk, known={f"healed/{NAME}/{WORKERS}": [[NOW - 60, there.revision]] * tried})
    plan = decided(whole)

    assert wanted == said(plan)
    assert all(Remedy.REPLACE is action.remedy for action in plan.steps)


def test_of_the_sick_who_was_consented_to_goes_first() -> None:
    """Each is asked for by itself, and the yes to one is not kept waiting for that to another."""
    asks = {**build.AUTO, Risk.REPLACE: Consent.APPROVE}
    rest = built(now=cluster(group(CP, 3), group(WORKERS, 2), change_policy=asks))
    why = "its node stays unhealthy, and no reset is left to try"
    sick = [replace(of(rest, uid), strikes=1) for uid in ("u4", "u5")]
    request = effects.about(sick[1], why)
    whole = put(rest, *sick, bulk=ill("u4", "u5"))

    assert ("u4", Risk.REPLACE) == retired(whole)
    assert ("u5", Risk.REPLACE) == retired(put(whole, known={f"approval/{NAME}/retire/{request}": NOW}))


def test_a_loss_goes_before_a_remedy_that_waits_for_its_turn() -> None:
    """Who is sick may wait for another's remedy; who cannot be made waits for nothing of the kind."""
    rest = built(cluster(group(CP, 3), group(WORKERS, 3)))
    young = replace(of(rest, "u6"), joined=False, started=False, node="pve3")
    sick = replace(of(rest, "u4"), strikes=1)
    bulk = {**ill("u4"), **build.without("pve3"), scopes.vm(young): unknown()}

    assert ("u6", Risk.REPLACE) == retired(put(rest, young, sick, bulk=bulk))


@pytest.mark.parametrize(
    ("one", "found", "whole", "wanted"),
    [
        ({}, seen(GONE), True, ("u5", Risk.REPLACE)),
        ({}, unknown(), True, ("u5", Risk.REPLACE)),
        ({}, seen(GONE), False, None),
        ({}, seen(build.clone_of(of(built(), "u5"))), True, None),
        ({"started": True}, unknown(), True, None),
        ({"joined": True, "started": True}, unknown(), True, None),
    ],
    ids=["not cloned", "half cloned", "not listed", "cloned", "started", "member"],
)
def test_who_was_to_be_cloned_on_a_removed_proxmox_node_is_made_anew(
    one: dict[str, Any], found: Any, whole: bool, wanted: tuple[str, Risk] | None
) -> None:
    """Its own node is there, but nothing is asked of that of its template any more (ADR 0008)."""
    young = replace(of(built(), "u5"), template_node="pve1", **{"joined": False, "started": False, **one})
    after = put(built(), young, bulk={**build.without("pve1", whole=whole), scopes.vm(young): found})
    action = step(decided(after))

    assert wanted == retired(after)
    assert wanted is None or "its template's Proxmox node pve1 is no longer" in str(action and action.sentence)


def test_no_machine_is_added_for_a_template_on_a_removed_proxmox_node() -> None:
    """What was read of it before is no place to clone from: its row would go and come for ever."""
    short = built(cluster(group(CP, 3), group(WORKERS, 2)), now=cluster(group(CP, 3), group(WORKERS, 3)))

    assert "add-machine" == said(decided(short))
    assert "TemplateUnknown" == said(decided(put(short, bulk=build.without("pve1"))))


@pytest.mark.parametrize(
    ("edit", "more", "wanted"),
    [
        (THEIRS, {}, ("u4", Risk.IN_PLACE)),
        (THEIRS, {scopes.quorum(SITE): unknown()}, None),
        (THEIRS, build.site(quorate=False), None),
        (THEIRS, {scopes.nodes(NAME): unknown()}, None),
        (THEIRS, {scopes.node(NAME, of(built(), "u4").name): seen(node(of(built(), "u4")))}, None),
        (THEIRS, {scopes.nodes(NAME): built().bulk[scopes.nodes(NAME)]}, None),
        ({**THEIRS, "name": of(built(), "u4").name}, {}, ("u4", Risk.IN_PLACE)),
        ({"name": "web"}, {}, None),
        ({"description": ""}, {}, None),
    ],
)
def test_a_vm_is_gone_too_when_its_vmid_is_proved_anothers(
    edit: dict[str, str], more: dict[Any, Any], wanted: tuple[str, Risk] | None
) -> None:
    """With quorum, and while no Node says that the machine runs: an edit of ours is no such proof."""
    one = of(built(), "u4")

    assert wanted == retired(
        put(built(), bulk={**ill("u4", since=10), scopes.vm(one): seen(vm(one, options=edit)), **more})
    )


def ill(*uids: str, since: float = 700) -> dict[Any, Any]:
    """Return the named machines' Nodes as not Ready for so long."""
    rest = built()
    found: dict[Any, Any] = {}
    nodes: dict[str, Node] = {}
    for one in rest.rows(NAME):
        bad = one.uid in uids
        nodes[one.name] = node(one, ready="Unknown", since=NOW - since) if bad else node(one)
        found[scopes.node(NAME, one.name)] = seen(nodes[one.name])
    return {**found, scopes.nodes(NAME): seen(nodes)}


@pytest.mark.parametrize(
    ("changes", "struck", "wanted"),
    [
        ({"machine": NEW}, False, 3),
        ({"replicas": 1}, False, 1),
        ({}, True, 1),
    ],
    ids=["rollout", "scale-down", "remedy"],
)
def test_a_groups_own_limit_is_for_its_rollout_alone(changes: dict[str, Any], struck: bool, wanted: int) -> None:
    """`blastRadius.maxUnavailable` holds whatever the reason; the rollout's own lifts it for what it is about."""
    wished = cluster(group(CP, 3), replace(group(WORKERS, 2, max_surge=0, max_unavailable=3), **changes))
    rest = built(now=wished)
    whole = put(rest, replace(of(rest, "u4"), strikes=1), bulk=ill("u4")) if struck else rest

    going = step(decided(whole))

    assert isinstance(going, RetireMachine)
    assert {f"disrupt:{NAME}": wanted} == going.slots(whole)


@pytest.mark.parametrize(
    ("strikes", "since", "known", "ladder", "wanted"),
    [
        (0, 700, {}, tuple(Remedy), None),
        (1, 700, {}, tuple(Remedy), ("u4", Risk.REPLACE)),
        (1, 300, {}, tuple(Remedy), None),
        (1, 301, {}, tuple(Remedy), ("u4", Risk.REPLACE)),
        (1, 700, {"remedy/u4": NOW - 60}, tuple(Remedy), None),
        (1, 700, {"remedy/u4": NOW - 301}, tuple(Remedy), ("u4", Risk.REPLACE)),
        (0, 700, {}, (Remedy.START, Remedy.REPLACE), ("u4", Risk.REPLACE)),
        (1, 700, {}, (Remedy.START, Remedy.RESET), None),
    ],
)
def test_a_node_that_a_reset_did_not_mend_is_replaced(
    strikes: int, since: float, known: dict[str, Any], ladder: tuple[Remedy, ...], wanted: tuple[str, Risk] | None
) -> None:
    """The last rung, after the softer ones have had their time."""
    wished = cluster(group(CP, 3), group(WORKERS, 2), health=health(ladder=ladder))
    rest = built(wished, known=known)
    struck = replace(of(rest, "u4"), strikes=strikes)

    assert wanted == retired(put(rest, struck, bulk=ill("u4", since=since)))


@pytest.mark.parametrize(
    ("strikes", "age", "ops", "wanted"),
    [
        (2, 100, False, None),
        (3, 100, False, ("u9", Risk.REPLACE)),
        (0, 899, False, None),
        (0, 901, False, ("u9", Risk.REPLACE)),
        (0, 0, True, None),
    ],
)
def test_a_machine_that_never_becomes_a_node_is_given_up(
    strikes: int, age: float, ops: bool, wanted: tuple[str, Risk] | None
) -> None:
    """After three failed joins, or when it has been silent for its start-up time since this daemon looked."""
    young = row(
        "u9", WORKERS, 9, started=True, strikes=strikes, created=Wall(NOW - 9999), revision=fields.revision(spec())
    )
    rest = built(now=cluster(group(CP, 3), group(WORKERS, 3)))
    whole = put(rest, young, ops=[build.op(young, "prepare")] if ops else [])
    whole = replace(whole, since={f"{machine_key(young)}/GuestSilent": NOW - age})

    assert wanted == retired(whole)


@pytest.mark.parametrize(("order", "wanted"), [("Newest", "u4"), ("Oldest", "u2")])
def test_a_scale_down_takes_the_newest_or_the_oldest(order: str, wanted: str) -> None:
    """`deletion.order`."""
    before, after = group(WORKERS, 3), group(WORKERS, 2, deletion_order=order)
    whole = built(cluster(group(CP, 1), before), now=cluster(group(CP, 1), after))

    assert (wanted, Risk.DESTROY) == retired(whole)


@pytest.mark.parametrize(("order", "wanted"), [("Newest", "u2"), ("Oldest", "u4")])
def test_a_scale_down_goes_by_age_and_not_by_number(order: str, wanted: str) -> None:
    """An index is free again when its machine is gone, so that the lowest may be the youngest's."""
    after = group(WORKERS, 2, deletion_order=order)
    whole = built(cluster(group(CP, 1), group(WORKERS, 3)), now=cluster(group(CP, 1), after))
    ages = {"u2": 10, "u3": 20, "u4": 30}
    rows = [replace(of(whole, uid), created=Wall(NOW - age)) for uid, age in ages.items()]

    assert (wanted, Risk.DESTROY) == retired(put(whole, *rows))


@pytest.mark.parametrize(
    ("known", "joined", "wanted"),
    [({}, False, "u4"), ({"surge/u4": "u9"}, False, "u2"), ({"surge/u4": "u9"}, True, "u4")],
    ids=["of its own", "surge", "surge that came"],
)
def test_a_scale_down_takes_who_is_still_to_come_unless_it_takes_anothers_place(
    known: dict[str, str], joined: bool, wanted: str
) -> None:
    """Nothing runs on the one; what ran where the other is to stand has no place but that.

    One that came and does not serve is like any other.
    """
    after = group(WORKERS, 2, deletion_order="Oldest")
    whole = built(cluster(group(CP, 1), group(WORKERS, 3)), now=cluster(group(CP, 1), after))
    last = replace(of(whole, "u4"), joined=joined)
    nodes = {**whole.known(scopes.nodes(NAME)), last.name: node(last, ready="Unknown", since=NOW - 10)}

    assert (wanted, Risk.DESTROY) == retired(put(whole, last, known=known, bulk={scopes.nodes(NAME): seen(nodes)}))


@pytest.mark.parametrize(
    ("want", "etcd", "wanted"),
    [
        (3, {"sick": "u2"}, ("u2", Risk.REPLACE)),
        (3, {"learns": "u2"}, None),
        (3, {}, None),
        (3, None, None),
        (2, {"sick": "u2"}, ("u2", Risk.DESTROY)),
        (2, {"learns": "u2"}, ("u3", Risk.DESTROY)),
        (2, None, ("u3", Risk.DESTROY)),
    ],
)
def test_a_voter_that_does_not_answer_goes_before_anybody_comes(
    want: int, etcd: dict[str, str] | None, wanted: tuple[str, Risk] | None
) -> None:
    """Beside it nobody can join, so that no surge would help; what cannot be seen of etcd makes nobody ill."""
    machine = NEW if want == 3 else spec()
    whole = built(cluster(group(CP, 3)), now=cluster(group(CP, want, machine=machine)))
    listed = tuple(
        build.member(one, healthy=one.uid not in etcd.values(), learner=one.uid == etcd.get("learns"))
        for one in whole.rows(NAME)
        if etcd is not None
    )
    found = unknown() if etcd is None else seen(Members(listed, "m-u1"))

    assert wanted == retired(put(whole, bulk={scopes.etcd(NAME): found}))


def test_a_scale_down_takes_who_does_not_serve_first() -> None:
    """Whatever its age."""
    whole = built(cluster(group(CP, 1), group(WORKERS, 3)), now=cluster(group(CP, 1), group(WORKERS, 2)))
    nodes = dict(whole.known(scopes.nodes(NAME)))
    nodes["lab-general-2"] = replace(nodes["lab-general-2"], ready="Unknown")

    assert ("u3", Risk.DESTROY) == retired(put(whole, bulk={scopes.nodes(NAME): seen(nodes)}))


def test_control_planes_scale_down_to_the_oldest() -> None:
    """3 → 1: the newest goes first."""
    assert ("u3", Risk.DESTROY) == retired(built(cluster(group(CP, 3)), now=cluster(group(CP, 1))))


def test_machines_of_a_deployment_that_left_the_file_go_last_in_first_out() -> None:
    """One at a time, and only when nothing else is to be decided."""
    whole = built(cluster(group(CP, 1), group(WORKERS, 2)), now=cluster(group(CP, 1)))
    busy = built(cluster(group(CP, 1), group(WORKERS, 2)), now=cluster(group(CP, 2)))

    assert (("u3", Risk.DESTROY), "add-machine") == (retired(whole), said(decided(busy)))


def renamed(**infra: Any) -> View:
    """Return two workers of a pool that the file calls `batch` now, whose two machines serve already."""
    now = cluster(group(CP, 1), group("batch", 2), infrastructure=build.infrastructure(**infra))
    return serving(built(cluster(group(CP, 1), group(WORKERS, 2)), now=now), *BATCH)


def serving(whole: View, *rows: Machine, **changes: Any) -> View:
    """Return the view with more machines, and their Nodes beside the others."""
    nodes = {**whole.known(scopes.nodes(NAME)), **{one.name: node(one, **changes) for one in rows if one.joined}}
    mine = {scopes.node(NAME, one.name): seen(nodes[one.name]) for one in rows if one.joined}
    return put(whole, *rows, bulk={scopes.nodes(NAME): seen(nodes), **mine})


BATCH = [member_row("b1", "batch", 11), member_row("b2", "batch", 12)]
LEFT = {f"address/{build.SITE}/10.0.0.19": NOW + 60}  # somebody has just left


@pytest.mark.parametrize(
    ("whole", "wanted"),
    [
        (renamed(), "retire"),
        (serving(renamed(), replace(BATCH[1], joined=False)), "RollingOut"),
        (serving(renamed(), BATCH[1], ready="False", since=NOW - 10), "RollingOut"),
        (serving(renamed(), BATCH[1], ready="False", since=NOW - 400), "retire"),
        (put(renamed(), replace(BATCH[1], retire="gone")), "add-machine"),
        (put(renamed(), bulk={scopes.nodes(NAME): unknown()}), "RollingOut"),
    ],
    ids=["serves", "on its way", "not ready yet", "sick", "missing", "unknown"],
)  # fmt: skip
def test_machines_of_a_deployment_that_left_stay_until_the_wanted_ones_serve(whole: View, wanted: str) -> None:
    """A pool that is renamed goes when its successor stands; what is sick for its time is not waited for."""
    assert (wanted, 1) == (said(decided(whole)), max(1, len(decided(whole).steps)))


@pytest.mark.parametrize(("served", "wanted"), [(True, "retire"), (False, "RollingOut")])
def test_what_nobody_mends_is_not_waited_for_while_another_serves(served: bool, wanted: str) -> None:
    """The old go when all that can come has come; where nobody has, what serves now is kept."""
    whole = renamed()
    stuck = [replace(one, joined=False, strikes=3) for one in (BATCH[1:] if served else BATCH)]
    wanted_now = replace(whole.desired.clusters[NAME], health=health(ladder=(Remedy.START, Remedy.RESET)))
    whole = replace(whole, desired=replace(whole.desired, clusters={NAME: wanted_now}))

    assert wanted == said(decided(put(whole, *stuck)))


@pytest.mark.parametrize(("known", "wanted"), [({}, "retire"), (LEFT, "PoolExhausted")], ids=["full", "cooling"])
def test_where_no_address_is_left_one_of_the_old_makes_room(known: dict[str, Any], wanted: str) -> None:
    """And the next one only when that has not helped."""
    full = tuple(f"10.0.0.{n}" for n in (11, 12, 13, 21))
    whole = renamed(addresses=full)
    short = replace(whole, ledger=whole.ledger.after((DropMachine(BATCH[1].uid),)))

    assert wanted == said(decided(put(short, known=known)))


def test_of_a_deployment_that_left_the_file_who_is_in_a_reboot_goes_first() -> None:
    """It holds the slot that the others wait for."""
    whole = built(cluster(group(CP, 1), group(WORKERS, 2)), now=cluster(group(CP, 1)))

    assert ("u2", Risk.DESTROY) == retired(put(whole, ops=[hold(of(whole, "u2"))]))


def rolling(*, surge: int = 1, unavailable: int = 0, want: int = 3, **parts: Any) -> View:
    """Return three workers of the old template in a file that names the new one."""
    old = cluster(group(CP, 1), group(WORKERS, 3))
    strategy = {"max_surge": surge, "max_unavailable": unavailable}
    now = cluster(group(CP, 1), group(WORKERS, want, machine=NEW, **strategy), **parts)
    return built(old, now=now)


def fresh(number: int, **changes: Any) -> tuple[Machine, Node]:
    """Return a machine of the new template and its Node."""
    one = member_row(f"n{number}", WORKERS, 20 + number, revision=fields.revision(NEW), **changes)
    return one, node(one)


def with_fresh(whole: View, *made: tuple[Machine, Node]) -> View:
    """Return the view with machines of the new template among the Nodes, added for the oldest of the old."""
    nodes = {**whole.known(scopes.nodes(NAME)), **{one.name: its for one, its in made if one.joined}}
    surge = {f"surge/{one.uid}": "u2" for one, _ in made}
    return put(whole, *(one for one, _ in made), bulk={scopes.nodes(NAME): seen(nodes)}, known=surge)


def test_a_rollout_adds_before_it_takes() -> None:
    """Surge first; then, with the new one serving, the oldest goes as replaced."""
    adding = rolling()
    serving = with_fresh(adding, fresh(1))

    assert ("add-machine", ("u2", Risk.REPLACE)) == (said(decided(adding)), retired(serving))


@pytest.mark.parametrize("changes", [{"joined": False, "created": NOW}, {}])
def test_a_rollout_waits_until_its_new_machine_serves(changes: dict[str, Any]) -> None:
    """Joined, Ready and schedulable."""
    one, its = fresh(1, **changes)
    whole = with_fresh(rolling(), (one, replace(its, ready="False")))

    assert "RollingOut" == said(decided(whole))


def test_without_surge_a_rollout_takes_before_it_adds() -> None:
    """`maxSurge: 0` needs `maxUnavailable`."""
    whole = rolling(surge=0, unavailable=1)

    assert ("u2", Risk.REPLACE) == retired(whole)
    gone = whole.with_ledger((DropMachine("u2"),))  # type: ignore[arg-type] # uids are text
    assert "add-machine" == said(decided(gone))


def test_an_outdated_machine_that_does_not_serve_goes_first() -> None:
    """It costs nothing."""
    whole = with_fresh(rolling(), fresh(1))
    nodes = dict(whole.known(scopes.nodes(NAME)))
    nodes["lab-general-3"] = replace(nodes["lab-general-3"], ready="Unknown")

    assert ("u4", Risk.REPLACE) == retired(put(whole, bulk={scopes.nodes(NAME): seen(nodes)}))


def test_a_rollout_does_not_wait_for_what_it_replaces() -> None:
    """Who is outdated and does not serve goes, however few serve: nobody is served by waiting for it."""
    whole = rolling(surge=0, unavailable=1)
    nodes = {**whole.known(scopes.nodes(NAME))}
    for name in ("lab-general-2", "lab-general-3"):
        nodes[name] = replace(nodes[name], ready="Unknown")

    assert ("u3", Risk.REPLACE) == retired(put(whole, bulk={scopes.nodes(NAME): seen(nodes)}))


def test_a_scale_down_in_the_same_edit_as_a_new_template_still_asks_as_destruction() -> None:
    """Machines that are not to be replaced are destroyed, whatever else changed."""
    assert Risk.DESTROY == (retired(rolling(want=1)) or ("", None))[1]


def test_a_rollout_keeps_to_the_failure_domains() -> None:
    """Each replacement comes to the domain of whom it replaces: three control planes stay in three."""
    whole = built(cluster(group(CP, 3)), now=cluster(group(CP, 3, machine=NEW)))
    before = sorted(one.node for one in whole.rows(NAME))

    assert before == sorted(one.node for one in _play(whole).end.rows(NAME))


@pytest.mark.parametrize("surge", [1, 2, 3, 9])
def test_a_rollout_never_makes_more_machines_than_it_replaces(surge: int) -> None:
    """At its end nothing is left over to be destroyed."""
    played = _play(rolling(surge=surge))

    assert ([Risk.REPLACE] * 3, 4, True) == (played.taken, len(played.end.rows(NAME)), played.most <= 3 + surge)


@pytest.mark.parametrize(("mode", "changed", "wanted"), [
    ("Preferred", {"memory_mib": 8192}, "nothing"),
    ("Never", {"memory_mib": 8192}, "add-machine"),
    ("Preferred", {"bridge": "vmbr1"}, "add-machine"),
    ("Only", {"bridge": "vmbr1"}, "nothing"),
])  # fmt: skip
def test_what_can_be_changed_in_place_is_not_replaced(mode: str, changed: dict[str, Any], wanted: str) -> None:
    """`rollout.inPlace`."""
    machine = spec(**changed)
    whole = built(cluster(group(WORKERS, 1)), now=cluster(group(WORKERS, 1, in_place=mode, machine=machine)))
    old = of(whole, "u1")
    revision = fields.revision(spec(), in_place=mode != "Never")

    assert wanted == said(decided(put(whole, replace(old, revision=revision))))


@settings(max_examples=60, deadline=None)
@given(
    before=st.integers(1, 4), want=st.integers(1, 4), surge=st.integers(0, 3), new=st.booleans(), order=st.booleans()
)
def test_a_group_always_comes_to_rest_with_the_wanted_machines(
    before: int, want: int, surge: int, new: bool, order: bool
) -> None:
    """Whatever is edited at once: right number, right revision, never above the surge, never below what it had."""
    wished = group(
        WORKERS, want, machine=NEW if new else spec(), max_surge=surge, max_unavailable=1,
        deletion_order="Newest" if order else "Oldest",
    )  # fmt: skip
    start = built(cluster(group(CP, 1), group(WORKERS, before)), now=cluster(group(CP, 1), wished))

    played = _play(start)

    assert played.most <= max(before, want + surge)
    assert max(0, before - want) == played.taken.count(Risk.DESTROY)


@pytest.mark.parametrize("policy", [Consent.AUTO, Consent.NEVER])
def test_a_surge_that_never_comes_up_goes_first_while_there_are_too_many(policy: Consent) -> None:
    """By the scale-down where that may be; else as a remedy, so that the rollout goes on."""
    change_policy = {**build.AUTO, Risk.DESTROY: policy}
    young, _ = fresh(1, joined=False)
    whole = with_fresh(rolling(want=2, change_policy=change_policy), (young, node(young)))
    late = replace(whole, since={f"{machine_key(young)}/Booting": NOW - 9999})

    assert ("n1", Risk.DESTROY if policy is Consent.AUTO else Risk.REPLACE) == retired(late)


def test_a_remedy_that_a_limit_holds_keeps_no_rollout_back() -> None:
    """What waits for hours is passed by; where nothing else is left to do, it is told."""
    young, its = fresh(1)
    whole = with_fresh(rolling(unavailable=1, health=health(max_in_flight=0)), (young, its), fresh(2), fresh(3))
    sick = {**whole.known(scopes.nodes(NAME)), young.name: node(young, ready="Unknown", since=NOW - 700)}
    bulk = {scopes.nodes(NAME): seen(sick), scopes.node(NAME, young.name): seen(sick[young.name])}
    struck = put(whole, replace(young, strikes=1), bulk=bulk)
    alone = struck.with_ledger([DropMachine(one.uid) for one in struck.rows(NAME) if one.uid in {"u2", "u3", "u4"}])

    assert (("u2", Risk.REPLACE), ("n1", Risk.REPLACE)) == (retired(struck), retired(alone))


@settings(max_examples=150, deadline=None)
@given(
    before=st.integers(2, 5), want=st.integers(1, 6), limits=st.sampled_from([(0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]),
    policy=st.sampled_from(Consent), machine=st.sampled_from([NEW, spec()]), sick=st.integers(0, 2), dead=st.booleans(),
)  # fmt: skip
def test_nothing_but_a_scale_down_makes_a_group_smaller(
    before: int, want: int, limits: tuple[int, int], policy: Consent, machine: MachineSpec, sick: int, dead: bool
) -> None:
    """Whatever is sick, outdated and too many at once, as many are left, and all of them are mended meanwhile.

    Only without surge, and with more than wanted, nobody can be replaced: there it is the scale-down that is waited for.
    """
    surge, unavailable = limits
    wished = group(WORKERS, want, machine=machine, max_surge=surge, max_unavailable=unavailable)
    now = cluster(group(CP, 1), wished, change_policy={**build.AUTO, Risk.DESTROY: policy})
    whole = built(
        cluster(group(CP, 1), group(WORKERS, before)),
        now=replace(now, blast=Blast(1, 0, 100), health=health(max_retry=9, limit=1.0)),
    )
    struck = [replace(row, strikes=1) for row in whole.rows(NAME) if row.group == WORKERS][:sick]
    nodes = {one.name: node(one, ready="Unknown", since=NOW - 700) for one in struck}
    own = {scopes.node(NAME, one.name): seen(nodes[one.name]) for one in struck}
    every = seen({**whole.known(scopes.nodes(NAME)), **nodes})
    whole = put(whole, *struck, bulk={**own, scopes.nodes(NAME): every})

    played = _play(whole, held=Risk.DESTROY, stillborn=int(dead))

    left = [row for row in played.end.rows(NAME) if row.group == WORKERS]
    fleet_left = fleet_of(played.end, now, wished)
    assert max(before, want) == len(left)
    assert played.least >= (before if before > want else before - max(1, unavailable))
    if before <= want or surge:
        assert [] == [row.uid for row in left if fleet_left.hopeless(row) or fleet_left.outdated(row)]


@dataclass(frozen=True)
class Played:
    """What became of a fleet: how each retirement was classed, how many workers there were, and the end."""

    taken: list[Risk]
    most: int
    least: int
    end: View


def _play(whole: View, *, held: Risk | None = None, stillborn: int = 0) -> Played:
    """Carry out the fleet's decisions as if each machine were built and destroyed at once, until none is left.

    A retirement of the class `held` is not made; the first `stillborn` machines that are added never come up.
    """
    taken: list[Risk] = []
    counts = [sum(one.group == WORKERS for one in whole.rows(NAME))]
    for turn in range(60):
        whole = replace(whole, fresh=(f"t{turn}",))
        action = step(decided(whole))
        action = None if isinstance(action, RetireMachine) and action.kind is held else action
        nodes = dict(whole.known(scopes.nodes(NAME)))
        whole = whole.with_ledger(action.changes(whole)) if action else whole
        match action:
            case AddMachine(row=one) if stillborn:
                stillborn -= 1
                whole = put(whole, since={f"{machine_key(one)}/Booting": NOW - 9999})
            case AddMachine(row=one):
                one = replace(one, started=True, joined=True)
                whole = whole.with_ledger((PutMachine(one),))
                nodes[one.name] = node(one)
            case RetireMachine(row=one, kind=kind):
                taken.append(kind)
                whole = whole.with_ledger((DropMachine(one.uid),))
                nodes.pop(one.name, None)
            case None:
                return Played(taken, max(counts), min(counts), whole)
        whole = effects.see(whole, scopes.nodes(NAME), nodes)
        counts.append(sum(one.group == WORKERS for one in whole.rows(NAME)))
    raise AssertionError("the fleet does not come to rest")


def test_a_fleet_of_another_cluster_is_not_touched() -> None:
    """Rows are the cluster's own."""
    other: Cluster = cluster(name="other")
    whole = view(cluster(group(CP, 0)), rows=[member_row("o1", cluster="other")])

    assert "nothing" == said(fleet(KEY, whole, whole.desired.clusters[NAME]))
    assert "other" == other.name


REPLACE_ASKS = {**build.AUTO, Risk.REPLACE: Consent.APPROVE}
ROLLED = cluster(group(CP, 1), group(WORKERS, 2, machine=NEW), group("gpu", 1), change_policy=REPLACE_ASKS)


def outdated(now: Cluster, *consented: str) -> View:
    """Return a cluster whose two workers are outdated, with consent to retire those of these uids."""
    rest = built(cluster(group(CP, 1), group(WORKERS, 2)), now=now)
    why = f"it is outdated and replaced, by configuration {fields.revision(NEW)[:8]}"
    requests = (effects.about(of(rest, uid), why) for uid in consented)
    return put(rest, known={f"approval/{NAME}/retire/{request}": NOW for request in requests})


@pytest.mark.parametrize("consented", [(), ("u2",)])
def test_a_replacement_is_made_with_the_consent_to_what_it_replaces(consented: tuple[str, ...]) -> None:
    """The oldest is asked for first; without its consent no machine is added for it, and none is spent by adding."""
    whole = outdated(replace(ROLLED, groups=ROLLED.groups[:2]), *consented)

    added = step(decided(whole))

    assert isinstance(added, AddMachine)
    assert added.instead is not None
    assert ("u2", bool(consented)) == (added.instead.row.uid, guards.consent(added, whole) is None)
    assert len(consented) == len(whole.with_ledger(added.changes(whole)).ledger.consents)


def test_with_two_more_than_wanted_each_is_made_for_one_of_its_own() -> None:
    """The second waits for consent to the second, and keeps the first from nothing."""
    two = cluster(group(CP, 1), group(WORKERS, 2, machine=NEW, max_surge=2), change_policy=REPLACE_ASKS)
    both, first = (with_fresh(outdated(two, *consented), fresh(1)) for consented in (("u2", "u3"), ("u2",)))

    added = step(decided(both))

    assert isinstance(added, AddMachine)
    assert "u3" == (added.instead and added.instead.row.uid)
    assert ("u2", Risk.REPLACE) == retired(first)


def test_the_mark_of_a_surge_ends_with_the_machine_itself() -> None:
    """Until it serves in the place of whom it was added for, nobody lets it go as one on which nothing runs."""
    whole = with_fresh(rolling(), fresh(1))
    goes = {
        uid: effects.RetireMachine(key=KEY, row=of(whole, uid), why="", kind=Risk.REPLACE) for uid in ("u2", "u3", "n1")
    }
    left = {uid: whole.with_ledger(one.changes(whole)).facts.get("surge/n1") for uid, one in goes.items()}

    assert {"u2": "u2", "u3": "u2", "n1": None} == left


def test_who_was_added_for_a_machine_that_stays_after_all_is_one_too_many() -> None:
    """Taken back, or well again by itself: nobody goes for it any more, so that one goes by the scale-down."""
    rest = built(cluster(group(CP, 1), group(WORKERS, 3)))
    extra = member_row("n1", WORKERS, 21, created=NOW)
    nodes = {**rest.known(scopes.nodes(NAME)), extra.name: node(extra)}
    whole = put(rest, extra, bulk={scopes.nodes(NAME): seen(nodes)}, known={"surge/n1": "u2"})

    assert ("n1", Risk.DESTROY) == retired(whole)


def newer(whole: View, **changes: Any) -> View:
    """Return the view in which a third template is wanted, or other limits."""
    now = cluster(group(CP, 1), group(WORKERS, 3, machine=spec(template=TemplateRef("ubuntu", vmid=9002)), **changes))
    return replace(whole, desired=replace(whole.desired, clusters={NAME: now}))


@pytest.mark.parametrize("changes", [{}, {"max_surge": 0, "max_unavailable": 1}], ids=["template", "limits too"])
def test_another_template_during_a_rollout_is_no_scale_down(changes: dict[str, Any]) -> None:
    """What the rollout added stays its own when it is outdated itself."""
    assert ("u2", Risk.REPLACE) == retired(newer(with_fresh(rolling(), fresh(1)), **changes))


@pytest.mark.parametrize(
    ("policy", "wanted"), [(Consent.AUTO, Risk.DESTROY), (Consent.APPROVE, None), (Consent.NEVER, None)]
)
def test_a_scale_down_that_may_not_be_keeps_no_rollout_from_being_made(policy: Consent, wanted: Risk | None) -> None:
    """Who may not go, or not yet, is replaced as the others are; what may go goes first."""
    whole = rolling(want=2, change_policy={**build.AUTO, Risk.DESTROY: policy})
    action = step(decided(whole))

    assert wanted == (action.kind if isinstance(action, RetireMachine) else None)
    assert isinstance(action, AddMachine) == (wanted is None)


@pytest.mark.parametrize(("workers", "machine", "wanted"), [
    (1, spec(), [("add-machine", Risk.IN_PLACE)]), (2, NEW, [("add-machine", Risk.IN_PLACE)]), (2, spec(), [("retire", Risk.REPLACE)]),
], ids=["too many", "outdated", "neither"])  # fmt: skip
def test_a_remedy_is_for_who_stays_as_it_is(workers: int, machine: Any, wanted: list[tuple[str, Risk]]) -> None:
    """Of one too many somebody takes the place first, or it were a scale-down; and an edit may be the mend."""
    policy = {**build.AUTO, Risk.DESTROY: Consent.APPROVE}
    wished = cluster(group(CP, 3), group(WORKERS, workers, machine=machine), change_policy=policy)
    rest = built(cluster(group(CP, 3), group(WORKERS, 2)), now=wished)
    whole = put(rest, replace(of(rest, "u5"), strikes=1), bulk=ill("u5"))

    assert wanted == [(action.verb, action.risk) for action in decided(whole).steps]


def test_a_rollout_that_waits_for_consent_does_not_keep_another_group_from_growing() -> None:
    """Of additions one is taken at a time: one that may be comes first."""
    added = step(decided(outdated(ROLLED)))

    assert isinstance(added, AddMachine)
    assert "gpu" == added.row.group


def test_a_remedy_that_a_limit_holds_does_not_keep_another_group_from_growing() -> None:
    """Who is put beside a sick machine waits; what is missing elsewhere does not."""
    groups = (group(CP, 3), group(WORKERS, 1), group("gpu", 1))
    never = {**build.AUTO, Risk.DESTROY: Consent.NEVER}
    wished = cluster(*groups, change_policy=never, health=health(max_in_flight=0))
    rest = built(cluster(group(CP, 3), group(WORKERS, 2)), now=wished)

    added = step(decided(put(rest, replace(of(rest, "u5"), strikes=1), bulk=ill("u5"))))

    assert isinstance(added, AddMachine)
    assert "gpu" == added.row.group


@pytest.mark.parametrize("joined", [False, True])
def test_who_takes_anothers_place_is_not_let_go_without_consent(joined: bool) -> None:
    """Though nothing can have run on it yet: what ran in that place is to run there."""
    policy = {**build.AUTO, Risk.DESTROY: Consent.APPROVE}
    young, its = fresh(1, joined=joined)
    whole = with_fresh(rolling(want=2, unavailable=1, change_policy=policy), (young, its))
    gone = whole.with_ledger([DropMachine(of(whole, "u2").uid)])
    goes = RetireMachine(key=KEY, row=of(gone, "n1"), why="general is scaled to 2", kind=Risk.DESTROY)

    assert "AwaitingApproval" == getattr(guards.consent(goes, gone), "reason", None)


def test_a_scale_down_takes_whom_a_person_said_yes_to() -> None:
    """Though another would be first by order, or falls sick meanwhile."""
    policy = {**build.AUTO, Risk.DESTROY: Consent.APPROVE}
    rest = built(
        cluster(group(CP, 3), group(WORKERS, 2)), now=cluster(group(CP, 3), group(WORKERS, 1), change_policy=policy)
    )
    asked = effects.about(of(rest, "u4"), f"{WORKERS} is scaled to 1")
    whole = put(
        rest, replace(of(rest, "u5"), strikes=1), bulk=ill("u5"), known={f"approval/{NAME}/retire/{asked}": NOW}
    )

    assert ("u4", Risk.DESTROY) == retired(whole)
