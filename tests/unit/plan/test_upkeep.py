"""A member's daily life and its end: upkeep, drain and retirement as situation → the one next step."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.desired import Cluster, Consent, Desired, Remedy, Risk, Unhealthy
from cpcd.model.errors import Code
from cpcd.model.keys import Scope
from cpcd.model.ledger import Machine
from cpcd.model.plan import Done, Plan, Running
from cpcd.model.seen import Api, Members, Vm
from cpcd.model.view import View
from cpcd.plan import effects, fields, scopes
from cpcd.plan.case import machine_key
from cpcd.plan.drain import drain
from cpcd.plan.guards import GUARDS
from cpcd.plan.resolve import resolve
from cpcd.plan.retire import retire
from cpcd.plan.upkeep import sick_for, upkeep
from cpcd.plan.wakes import lasting
from cpcd.reconcilers import machine
from tests.unit.plan import build
from tests.unit.plan.build import (
    AUTO,
    CP,
    NAME,
    NOW,
    WORKERS,
    built,
    case,
    cluster,
    facts,
    group,
    health,
    hold,
    member,
    members,
    node,
    of,
    op,
    pod,
    put,
    said,
    seen,
    spec,
    step,
    unknown,
    vm,
)  # fmt: skip

ONE = cluster(group(CP, 3), group(WORKERS, 2))
REST = built(ONE)
MASTER, WORKER = of(REST, "u1"), of(REST, "u4")
MASTERS = [one for one in REST.rows(NAME) if one.group == CP]
NODE, PODS = scopes.node(NAME, WORKER.name), scopes.pods(NAME, WORKER.name)


def kept(one: Machine, whole: View) -> Plan:
    """Return what upkeep decides."""
    found = case(one, whole)
    assert found.vm is not None
    return upkeep(found, found.vm)


def wants(**changes: Any) -> Cluster:
    """Return the cluster with other wishes for all machines."""
    return cluster(group(CP, 3, machine=spec(**changes)), group(WORKERS, 2, machine=spec(**changes)))


def wants_in_place(mode: str, **changes: Any) -> Cluster:
    """Return the cluster with other wishes for its workers and this `rollout.inPlace`."""
    return cluster(group(CP, 3), group(WORKERS, 2, in_place=mode, machine=spec(**changes)))


def test_a_member_at_rest_is_ready() -> None:
    """No drift, no work, and a sentence that says what it is."""
    conditions = kept(WORKER, REST).conditions

    assert [("Ready", "True", "lab-general-1 is a Ready worker at 10.0.0.14")] == [
        (one.type, one.status, one.message) for one in conditions
    ]


def test_a_member_that_lets_nobody_in_says_so() -> None:
    """It serves, so it is Ready; but what has to be done on it could not be (G10)."""
    found = kept(WORKER, put(REST, bulk={scopes.inside(WORKER): seen("its host key is not the pinned one")}))

    assert [("Ready", "True")] == [(one.type, one.status) for one in found.conditions]
    assert found.conditions[0].message.endswith("; it lets cpcd in no more: its host key is not the pinned one")


@pytest.mark.parametrize(
    ("now", "bulk", "wanted"),
    [
        (wants(memory_mib=8192), {}, "configure"),
        (wants(tags=("x",)), {}, "configure"),
        (wants(boot_disk_gb=40), {}, "resize"),
        (wants(boot_disk_gb=10), {}, "BootDiskLarger"),
        (wants(boot_disk="scsi1"), {}, "Ready"),
        (
            cluster(group(CP, 3), group(WORKERS, 2, in_place="Only", machine=spec(boot_disk="scsi1"))),
            {},
            "BootDiskMissing",
        ),
        (cluster(group(CP, 3), group(WORKERS, 2, in_place="Never", machine=spec(boot_disk_gb=10))), {}, "Ready"),
        (wants(timezone="Europe/Berlin"), {}, "prepare"),
        (wants_in_place("Never", memory_mib=8192), {}, "Ready"),
        (wants_in_place("Never", on_boot=False), {}, "configure"),
        (wants_in_place("Only", bridge="vmbr1", memory_mib=8192), {}, "configure"),
        (ONE, {scopes.vm(WORKER): seen(vm(WORKER, ONE, pending=("memory",)))}, "reboot"),
        (ONE, {scopes.vm(WORKER): seen(vm(WORKER, ONE, pending=("args", "net0")))}, "Ready"),
        (ONE, {scopes.vm(WORKER): seen(vm(WORKER, ONE, pending=("args", "cores")))}, "reboot"),
        (ONE, {scopes.guest(WORKER): unknown()}, "Ready"),
        (ONE, {scopes.guest(WORKER): seen(facts(WORKER, prepared=""))}, "Ready"),
        (ONE, {NODE: unknown()}, "NodeUnknown"),
        (ONE, {NODE: seen(node(WORKER, unschedulable=True))}, "Ready"),
    ],
)
def test_drift_is_mended_by_the_softest_rung(now: Cluster, bulk: Mapping[Any, Any], wanted: str) -> None:
    """In place, then grow, then the baseline, then a reboot for what stays pending."""
    whole = put(replace(REST, desired=Desired({NAME: now})), bulk=bulk)

    assert wanted == said(kept(WORKER, whole))


@pytest.mark.parametrize(
    ("changed", "found", "wanted"),
    [
        ({"memory_mib": 8192}, {}, "Ready"),
        ({"boot_disk_gb": 40}, {}, "Ready"),
        ({}, {"pending": ("memory",)}, "Ready"),
        ({"tags": ("x",)}, {}, "configure"),
        ({"timezone": "Europe/Berlin"}, {}, "prepare"),
    ],
)
def test_what_is_to_be_replaced_is_not_disturbed_before(
    changed: dict[str, Any], found: dict[str, Any], wanted: str
) -> None:
    """Its successor has what is wanted; one disruption is enough."""
    now, bulk = wants(bridge="vmbr1", **changed), {scopes.vm(WORKER): seen(vm(WORKER, ONE, **found))}

    assert wanted == said(kept(WORKER, put(replace(REST, desired=Desired({NAME: now})), bulk=bulk)))


def test_what_may_never_be_replaced_is_given_what_it_can_have() -> None:
    """`changePolicy.Replace: Never` keeps the successor off, so that there is nothing to wait for."""
    policy = {**build.AUTO, Risk.REPLACE: Consent.NEVER}
    now = replace(wants(bridge="vmbr1", memory_mib=8192), change_policy=policy)

    assert "configure" == said(kept(WORKER, replace(REST, desired=Desired({NAME: now}))))


def test_where_nothing_changes_in_place_only_what_nobody_feels_is_written() -> None:
    """`onBoot` is in no revision, so that no replacement would ever bring it."""
    now = wants_in_place("Never", on_boot=False, memory_mib=8192)
    action = step(kept(WORKER, replace(REST, desired=Desired({NAME: now}))))

    assert isinstance(action, effects.Configure)
    assert {"onboot": 0} == action.options


@pytest.mark.parametrize(("mode", "wanted"), [("Preferred", "configure"), ("Never", "Ready")])
def test_what_was_edited_by_hand_is_put_back_only_where_something_may_change_in_place(mode: str, wanted: str) -> None:
    """Its row is of the wanted revision, so that no successor comes for it; `rollout.inPlace: Never` is kept all the same."""
    now = wants_in_place(mode)
    own = next(one for one in now.groups if one.name == WORKERS)
    one = replace(WORKER, revision=fields.group_revision(own))
    whole = put(
        replace(REST, desired=Desired({NAME: now})), one, bulk={scopes.vm(one): seen(vm(one, options={"memory": 2048}))}
    )

    assert wanted == said(kept(one, whole))


def test_a_boot_disk_that_cannot_shrink_keeps_off_no_remedy() -> None:
    """What the file asks in vain waits until the machine is well."""
    sick = seen(node(WORKER, ready="False", since=NOW - 1000))
    whole = put(replace(REST, desired=Desired({NAME: wants(boot_disk_gb=10)})), bulk={NODE: sick})

    assert "reset" == said(kept(WORKER, whole))


SERVING = put(REST, ops=[hold(WORKER)])


@pytest.mark.parametrize(
    ("found", "seen_node", "wanted"),
    [
        ({"pending": ("memory",)}, {}, "drain"),
        ({"pending": ("memory",)}, {"unschedulable": True}, "shutdown"),
        ({}, {"ready": "Unknown", "unschedulable": True}, "Rebooting"),
        ({}, {"unschedulable": True}, "uncordon"),
        ({"pending": ("args",)}, {"unschedulable": True}, "uncordon"),
        ({}, {}, "Rebooting"),
    ],
)
def test_an_open_disruption_is_carried_to_its_end(
    found: dict[str, Any], seen_node: dict[str, Any], wanted: str
) -> None:
    """Drained, off, started by provisioning, Ready, schedulable; nothing else is begun under it."""
    bulk = {scopes.vm(WORKER): seen(vm(WORKER, ONE, **found)), NODE: seen(node(WORKER, **seen_node))}

    assert wanted == said(kept(WORKER, put(SERVING, bulk=bulk)))


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ({}, "etcd-snapshot"),
        ({f"snapshot/{NAME}": NOW - 3601}, "etcd-snapshot"),
        ({f"snapshot/{NAME}": NOW - 60}, "reboot"),
    ],
)
def test_the_only_control_plane_is_not_rebooted_without_a_fresh_snapshot(known: dict[str, Any], wanted: str) -> None:
    """An announced outage of the API, after a verified snapshot (promise 5)."""
    one = cluster(group(CP, 1))
    rest = built(one, known=known)
    master = of(rest, "u1")
    whole = put(rest, bulk={scopes.vm(master): seen(vm(master, one, pending=("memory",)))})

    assert wanted == said(kept(master, whole))


@pytest.mark.parametrize(
    ("how", "ops", "approved", "wanted"),
    [
        (Consent.AUTO, False, False, []),
        (Consent.APPROVE, False, False, ["AwaitingApproval"]),
        (Consent.APPROVE, False, True, []),
        (Consent.NEVER, False, False, ["PolicyNever"]),
        (Consent.AUTO, True, False, ["Queued"]),
    ],
)
def test_a_snapshot_is_taken_when_what_it_is_for_may_begin(
    how: Consent, ops: bool, approved: bool, wanted: list[str]
) -> None:
    """Not every hour for as long as nobody allows the reboot; the consent is left to that."""
    one = cluster(group(CP, 2), change_policy={**AUTO, Risk.REBOOT: how})
    rest = built(one)
    master, young = of(rest, "u1"), of(rest, "u2")
    bulk = {scopes.vm(master): seen(vm(master, one, pending=("memory",))), scopes.etcd(NAME): seen(members(master))}
    whole = put(rest, bulk=bulk, ops=[op(young, "join", slots=(f"control-plane:{NAME}",))] if ops else ())
    (step,) = kept(master, whole).steps
    assert isinstance(step, effects.Snapshot)
    whole = put(whole, known={f"approval/{step.hold.request}": NOW}) if approved else whole

    verdicts = [verdict for guard in GUARDS if (verdict := guard(step, whole)) is not None]

    assert wanted == [verdict.reason for verdict in verdicts]
    assert () == step.changes(whole)
    assert (step.hold.spent,) == step.hold.changes(whole)


@pytest.mark.parametrize(
    ("ready", "since", "known", "strikes", "wanted"),
    [
        ("False", 299, {}, 0, "NodeNotReady"),
        ("False", 301, {}, 0, "reset"),
        ("Unknown", 301, {}, 0, "reset"),
        ("False", 301, {"remedy/u4": NOW - 60}, 0, "NodeNotReady"),
        ("False", 301, {"remedy/u4": NOW - 301}, 0, "reset"),
        ("False", 301, {}, 1, "NodeSick"),
    ],
)
def test_a_node_that_is_not_ready_is_given_its_time_then_one_reset(
    ready: str, since: float, known: dict[str, Any], strikes: int, wanted: str
) -> None:
    """Softly first; after the reset it is the fleet's to replace."""
    one = replace(WORKER, strikes=strikes)
    whole = put(REST, one, known=known, bulk={NODE: seen(node(WORKER, ready=ready, since=NOW - since))})

    assert wanted == said(kept(one, whole))


@pytest.mark.parametrize(("pressed", "wanted"), [(10, 1.0), (100, 40.0)])
def test_of_two_rules_that_hold_the_one_longest_past_its_time_counts(pressed: float, wanted: float) -> None:
    """What began just now gives no more time to what has lasted too long."""
    rules = health(conditions=(*health().conditions, Unhealthy("DiskPressure", "True", 60)))
    ill = node(WORKER, ready="False", since=NOW - 301, conditions=(("DiskPressure", "True", NOW - pressed),))
    whole = put(built(ONE, now=replace(ONE, health=rules)), bulk={NODE: seen(ill)})

    assert wanted == sick_for(case(WORKER, whole))


@pytest.mark.parametrize(
    ("strikes", "known", "wanted"),
    [
        (0, {}, "Ready"),
        (1, {"remedy/u4": NOW - 299}, "Ready"),
        (1, {"remedy/u4": NOW - 301}, "forgive"),
        (1, {}, "forgive"),
    ],
)
def test_a_strike_is_forgiven_when_its_reset_has_helped_for_as_long_as_it_was_given(
    strikes: int, known: dict[str, Any], wanted: str
) -> None:
    """Else the next sickness, whenever that is, would have no reset (ADR 0009)."""
    one = replace(WORKER, strikes=strikes)

    assert wanted == said(kept(one, put(REST, one, known=known)))


def test_what_somebody_else_has_changed_is_named_and_left_to_them() -> None:
    """No reboot is made for it, so that somebody has to know that one is to come."""
    whole = put(REST, bulk={scopes.vm(WORKER): seen(vm(WORKER, ONE, pending=("args", "net0")))})
    (condition,) = kept(WORKER, whole).conditions

    assert condition.message.endswith("; args, net0 changed in Proxmox, not by cpcd, and waits for a cold start")


PRESSED = ("DiskPressure", "True", NOW - 10)


@pytest.mark.parametrize(("ready", "wanted"), [("True", "is unhealthy by healthCheck"), ("False", "is not Ready")])
def test_a_node_that_is_ready_is_not_said_not_to_be(ready: str, wanted: str) -> None:
    """What a rule of the file's finds ill may say Ready in every list; who reads both is told why."""
    rules = health(conditions=(*health().conditions, Unhealthy("DiskPressure", "True", 60)))
    ill = node(WORKER, ready=ready, since=NOW - 10, conditions=(PRESSED,))
    whole = put(built(ONE, now=replace(ONE, health=rules)), bulk={NODE: seen(ill)})

    assert [f"lab-general-1 {wanted}"] == [one.message for one in kept(WORKER, whole).conditions]


@pytest.mark.parametrize("strikes", [0, 1])
def test_a_node_that_only_waits_for_its_cni_is_given_all_the_time(strikes: int) -> None:
    """`failures.md` K22: neither a reset nor another machine would bring one."""
    one = replace(WORKER, strikes=strikes)
    waiting = node(WORKER, ready="False", since=NOW - 86400, networked=False)
    whole = put(REST, one, bulk={NODE: seen(waiting)})

    plan = kept(one, whole)

    assert ("NetworkNotReady", None) == (said(plan), sick_for(case(one, whole)))
    assert plan.wait is not None
    assert plan.wait.after == 60


def test_without_the_reset_rung_nothing_is_reset() -> None:
    """The ladder is the file's."""
    gentle = cluster(*ONE.groups, health=health(ladder=(Remedy.START, Remedy.REPLACE)))
    sick = {NODE: seen(node(WORKER, ready="False", since=NOW - 301))}

    assert "NodeSick" == said(kept(WORKER, put(built(ONE, now=gentle), bulk=sick)))


@pytest.mark.parametrize(
    ("bulk", "since", "wanted"),
    [
        ({}, {}, None),
        ({NODE: seen(node(WORKER, ready="False", since=NOW - 500))}, {}, 200.0),
        ({NODE: seen(node(WORKER, ready="Unknown", since=NOW - 100))}, {}, -200.0),
        ({NODE: unknown()}, {}, None),
        ({NODE: seen(None)}, {}, -300.0),
        ({NODE: seen(None)}, {"lab/machine/u4/NodeNotReady": NOW - 400}, 100.0),
        ({NODE: seen(None)}, {"lab/machine/u4/NodeSick": NOW - 9}, 9.0),
        ({NODE: seen(None), scopes.api(NAME): unknown()}, {}, None),
        ({NODE: seen(None), scopes.api(NAME): seen(Api(ready=False, version=""))}, {}, None),
        ({NODE: seen(node(WORKER, system_uuid="another"))}, {}, -300.0),
    ],
)
def test_sickness_is_counted_past_its_time_out_and_never_from_the_unknown(
    bulk: Mapping[Any, Any], since: Mapping[str, float], wanted: float | None
) -> None:
    """A Node that is gone is as sick as one that is not Ready; one that cannot be read is not."""
    assert wanted == sick_for(case(WORKER, put(REST, bulk=bulk, since=since)))


@pytest.mark.parametrize(
    ("seen_for", "since", "wanted"),
    [
        (5, NOW - 365, -295.0),
        (301, NOW - 661, 1.0),
        (301, NOW + 3600, 1.0),
        (None, NOW - 301, 1.0),
    ],
)
def test_sickness_is_timed_by_what_this_daemon_saw(seen_for: float | None, since: float, wanted: float) -> None:
    """With a clock ahead of the cluster's a Node would be reset at first sight, with one behind it only much later."""
    ill = node(WORKER, ready="False", since=since)
    lasts = dict.fromkeys(lasting(NODE, ill), NOW - (seen_for or 0)) if seen_for else {}

    assert wanted == sick_for(case(WORKER, put(REST, bulk={NODE: seen(ill)}, since=lasts)))


VOLUMES = scopes.attachments(NAME, WORKER.name)
CORDONED = {NODE: seen(node(WORKER, unschedulable=True))}
SWEPT = {"lab/machine/u4/drain": NOW - 3}


@pytest.mark.parametrize(
    ("bulk", "since", "wanted"),
    [
        ({}, {}, "drain"),
        (CORDONED, {}, ""),
        ({**CORDONED, PODS: seen((pod("a", "x", daemon=True), pod("b", "x", mirror=True)))}, {}, ""),
        ({**CORDONED, PODS: seen((pod("a", "x", finished=True),))}, {}, ""),
        ({**CORDONED, PODS: seen((pod("a", "x"),))}, {}, "drain"),
        ({**CORDONED, PODS: seen((pod("a", "x"),))}, SWEPT, "Draining"),
        ({**CORDONED, PODS: seen((pod("a", "x"),))}, {"lab/machine/u4/drain": NOW - 6}, "drain"),
        ({**CORDONED, PODS: seen((pod("a", "x", deleting=True),))}, {}, "Draining"),
        ({**CORDONED, PODS: unknown()}, {}, "Draining"),
        ({NODE: unknown()}, {}, "Draining"),
        ({NODE: seen(None)}, {}, ""),
    ],
)
def test_a_drain_cordons_evicts_in_sweeps_and_waits(
    bulk: Mapping[Any, Any], since: Mapping[str, float], wanted: str
) -> None:
    """Daemons, mirrors and finished pods stay; nothing that cannot be seen counts as gone."""
    assert wanted == said(drain(case(WORKER, put(SERVING, bulk=bulk, since=since))))


def test_a_sweep_names_pods_by_uid_and_leaves_out_what_goes_already() -> None:
    """A pod that came back under its name is another one."""
    pods = (pod("a", "x"), pod("b", "x", deleting=True), pod("c", "x", daemon=True))
    decided = step(drain(case(WORKER, put(SERVING, bulk={PODS: seen(pods)}))))

    assert isinstance(decided, effects.Drain)
    assert (("default", "a", "pod-a"),) == decided.pods


@pytest.mark.parametrize(("age", "wanted"), [(599, "Draining"), (601, "DrainStalled")])
def test_a_drain_past_its_deadline_is_shown_as_stalled_and_never_forced(age: float, wanted: str) -> None:
    """Deadlines raise visibility; they never authorise destruction."""
    bulk = {**CORDONED, PODS: seen((pod("a", "x"),))}
    whole = put(REST, ops=[hold(WORKER, age=age)], bulk=bulk, since=SWEPT)

    assert wanted == said(drain(case(WORKER, whole)))


GOING = replace(WORKER, retire="scaled")
LEAVING = put(REST, GOING, ops=[hold(WORKER, "retire")])
OUT = {NODE: seen(None)}


def off(**options: str) -> dict[Any, Any]:
    """Return the worker's VM stopped and its Node gone."""
    return {**OUT, scopes.vm(WORKER): seen(vm(WORKER, ONE, status="stopped", options=options))}


@pytest.mark.parametrize(
    ("bulk", "wanted"),
    [
        ({scopes.vm(WORKER): unknown()}, "VmUnknown"),
        ({scopes.api(NAME): unknown()}, "ApiUnavailable"),
        ({}, "drain"),
        (CORDONED, "Draining"),
        ({**CORDONED, VOLUMES: seen(())}, "stop"),
        ({**CORDONED, VOLUMES: seen(("csi-1",))}, "VolumesAttached"),
        ({NODE: seen(node(WORKER, ready="Unknown"))}, "stop"),
        ({NODE: unknown()}, "NodeUnknown"),
        ({**off(), NODE: unknown()}, "NodeUnknown"),
        ({**off(), NODE: seen(node(WORKER))}, "delete-node"),
        ({scopes.vm(WORKER): seen(vm(WORKER, ONE, options={"name": "renamed"})), NODE: seen(None)}, "ForeignVm"),
        ({NODE: seen(node(WORKER, system_uuid="another"))}, "stop"),
        (OUT, "stop"),
        (off(), "destroy"),
        (off(description="cpcd/1 other lab u4 op"), "ForeignVm"),
        (off(name="renamed"), "ForeignVm"),
        (off(smbios1="uuid=another"), "ForeignVm"),
        (off(protection="1"), "Protected"),
        ({**OUT, scopes.vm(WORKER): seen(vm(WORKER, ONE, lock="backup"))}, "VmLocked"),
        ({**OUT, scopes.vm(WORKER): seen(Vm(exists=False))}, "forget"),
        ({scopes.vm(WORKER): seen(Vm(exists=False))}, "delete-node"),
    ],
)
def test_the_end_of_a_worker(bulk: Mapping[Any, Any], wanted: str) -> None:
    """Drain, stop, Node out, destroy, forget; unknown is not absent, and foreign or protected is not touched."""
    assert wanted == said(retire(case(GOING, put(LEAVING, bulk=bulk))))


MASTER_GOING = replace(MASTER, retire="scaled")
MASTER_OUT = {
    scopes.node(NAME, MASTER.name): seen(node(MASTER, ready="Unknown")),
    scopes.pods(NAME, MASTER.name): seen(()),
}


@pytest.mark.parametrize(
    ("etcd", "wanted"),
    [
        (unknown(), "EtcdUnknown"),
        (seen(members(*MASTERS)), "etcd-remove"),
        (seen(members(*MASTERS[1:])), "stop"),
        (seen(members(*MASTERS, sick=MASTERS[1:])), "EtcdUnhealthy"),
        (seen(members(*MASTERS, sick=[MASTER])), "etcd-remove"),
    ],
)
def test_a_control_plane_leaves_etcd_before_its_node_goes(etcd: Any, wanted: str) -> None:
    """And before it is stopped: through a healthy peer, never by its own hand."""
    whole = put(REST, MASTER_GOING, ops=[hold(MASTER, "retire")], bulk={**MASTER_OUT, scopes.etcd(NAME): etcd})

    assert wanted == said(retire(case(MASTER_GOING, whole)))


DOWN = seen(vm(MASTER, ONE, status="stopped"))
MASTER_LEFT = {
    scopes.node(NAME, MASTER.name): seen(None), scopes.etcd(NAME): seen(members(*MASTERS[1:])), scopes.vm(MASTER): DOWN,
}  # fmt: skip
DEAD = {**build.site(online=("pve2", "pve3")), scopes.vm(MASTER): unknown()}


@pytest.mark.parametrize(
    ("bulk", "over"),
    [
        ({}, True),
        (DEAD, True),
        ({scopes.vm(MASTER): seen(Vm(exists=False))}, True),
        ({scopes.node(NAME, MASTER.name): seen(node(MASTER, system_uuid="another"))}, True),
        ({scopes.vm(MASTER): unknown()}, False),
        ({scopes.vm(MASTER): seen(vm(MASTER, ONE))}, False),
        ({**DEAD, scopes.vm(MASTER): seen(vm(MASTER, ONE))}, False),
        ({scopes.node(NAME, MASTER.name): unknown()}, False),
        ({scopes.node(NAME, MASTER.name): seen(node(MASTER, ready="Unknown"))}, False),
        ({scopes.etcd(NAME): unknown()}, False),
        ({scopes.etcd(NAME): seen(members(*MASTERS))}, False),
        ({**DEAD, scopes.etcd(NAME): seen(members(*MASTERS, sick=[MASTER]))}, False),
    ],
)
def test_a_retirement_disrupts_until_the_machine_has_left_and_is_down(bulk: Mapping[Any, Any], over: bool) -> None:
    """Then its slot is free for others, however long its VM cannot be destroyed: one failure stays one (promise 9)."""
    whole = put(REST, MASTER_GOING, ops=[hold(MASTER, "retire")], bulk={**MASTER_LEFT, **bulk})

    assert (Done() if over else Running(5)) == resolve(hold(MASTER, "retire"), whole, NOW)


@pytest.mark.parametrize("scope", [scopes.vm(MASTER), scopes.node(NAME, MASTER.name), scopes.etcd(NAME)])
def test_what_nobody_has_looked_at_yet_is_taken_to_be_there(scope: Scope) -> None:
    """A daemon that has just begun knows of nothing that has left."""
    whole = put(REST, MASTER_GOING, ops=[hold(MASTER, "retire")], bulk=MASTER_LEFT)
    unread = replace(whole, bulk={other: found for other, found in whole.bulk.items() if other != scope})

    assert [Done(), Running(5)] == [resolve(hold(MASTER, "retire"), one, NOW) for one in (whole, unread)]


@pytest.mark.parametrize(
    ("bulk", "wanted"),
    [
        (build.site(online=("pve2", "pve3")), "waits for Proxmox node pve1 to return"),
        (build.without("pve1"), "remove /etc/pve/nodes/pve1, and the VMID is free again"),
    ],
    ids=["offline", "removed"],
)
def test_a_machine_whose_node_is_gone_for_good_is_not_said_to_wait_for_it(bulk: Mapping[Any, Any], wanted: str) -> None:
    """Nothing but a person's hand frees the VMID that Proxmox keeps there."""
    going = replace(GOING, node="pve1")
    gone = {**OUT, **bulk, scopes.vm(going): unknown()}
    plan = retire(case(going, put(REST, going, bulk=gone)))

    assert plan.wait is not None
    assert plan.wait.sentence.endswith(wanted)


@pytest.mark.parametrize("silent", [{}, {scopes.api(NAME): unknown(), scopes.etcd(NAME): unknown()}])
def test_what_has_left_is_stopped_first_thing_when_its_node_returns(silent: Mapping[Any, Any]) -> None:
    """Whether or not the API answers then: the hold that has ended remembers that it left."""
    whole = put(REST, MASTER_GOING, bulk={scopes.node(NAME, MASTER.name): unknown(), **silent})
    decided = step(retire(case(MASTER_GOING, whole)))

    assert isinstance(decided, effects.Stop)
    assert all(guard(decided, whole) is None for guard in GUARDS)
    down = put(whole, bulk={scopes.vm(MASTER): DOWN})
    assert ("ApiUnavailable" if silent else "NodeUnknown") == said(retire(case(MASTER_GOING, down)))


@pytest.mark.parametrize(
    ("listed", "heir"),
    [
        (members(*MASTERS, leader="m-u1"), "m-u2"),
        (members(*MASTERS, leader="m-u2"), ""),
        (members(*MASTERS, leader="m-u1", sick=[MASTERS[1]]), "m-u3"),
    ],
)
def test_a_leader_hands_over_to_a_healthy_voter_first(listed: Members, heir: str) -> None:
    """Only a leader needs to."""
    whole = put(REST, MASTER_GOING, ops=[hold(MASTER, "retire")], bulk={**MASTER_OUT, scopes.etcd(NAME): seen(listed)})

    decided = step(retire(case(MASTER_GOING, whole)))

    assert isinstance(decided, effects.RemoveMember)
    assert (member(MASTER).id, heir) == (decided.member, decided.heir)


@pytest.mark.parametrize(
    ("provider", "ready", "wanted"),
    [("kube-vip", "True", "10.0.0.5"), ("kube-vip", "Unknown", ""), ("external", "True", "")],
)
def test_a_machine_that_serves_gives_the_endpoint_up_with_its_member(provider: str, ready: str, wanted: str) -> None:
    """Who cannot be asked is not asked, and nobody holds what a load balancer has."""
    one = replace(ONE, endpoint=replace(ONE.endpoint, provider=provider))
    bulk = {
        scopes.node(NAME, MASTER.name): seen(node(MASTER, ready=ready, unschedulable=True)),
        scopes.attachments(NAME, MASTER.name): seen(()),
    }
    whole = put(built(ONE, now=one), MASTER_GOING, ops=[hold(MASTER, "retire")], bulk=bulk)

    decided = step(retire(case(MASTER_GOING, whole)))

    assert isinstance(decided, effects.RemoveMember)
    assert wanted == decided.endpoint


def test_a_machine_that_never_became_one_is_destroyed_by_its_mark_alone() -> None:
    """A clone that was never started has our mark but not yet our UUID."""
    one = replace(build.row("u9", WORKERS, 9), retire="scaled")
    bulk = {scopes.vm(one): seen(build.clone_of(one)), scopes.node(NAME, one.name): seen(None)}

    assert "destroy" == said(retire(case(one, put(REST, one, bulk=bulk))))
    started = replace(one, started=True)
    assert "ForeignVm" == said(retire(case(started, put(REST, started, bulk=bulk))))


def test_what_is_forgotten_cools_down() -> None:
    """VMID and address rest for ten minutes; the pin goes with the row."""
    gone = put(LEAVING, bulk={**OUT, scopes.vm(WORKER): seen(Vm(exists=False))})
    decided = step(retire(case(GOING, gone)))
    assert isinstance(decided, effects.Forget)
    assert not decided.taken

    after = gone.with_ledger(decided.changes(gone))

    assert ("u4" in after.machines, "hostkey/u4" in after.facts) == (False, False)
    assert (NOW + 600, NOW + 600) == (
        after.facts[f"vmid/home/{WORKER.vmid}"], after.facts[f"address/home/{WORKER.address}"],
    )  # fmt: skip


HANGING = node(WORKER, ready="Unknown", since=NOW - 301)
COMING = replace(WORKER, joined=False)
SILENT = f"{machine_key(WORKER)}/GuestSilent"
POLLED = scopes.guestop(WORKER, "op-1")
REFUSED = replace(unknown("the key is refused for ubuntu, root"), code=Code.AUTH)


@pytest.mark.parametrize(
    ("one", "parts", "wanted"),
    [
        (WORKER, {"bulk": {NODE: seen(HANGING)}}, "reset"),
        (WORKER, {}, "GuestSilent"),
        (WORKER, {"bulk": {NODE: seen(replace(HANGING, since=NOW - 299))}}, "GuestSilent"),
        (replace(WORKER, strikes=1), {"bulk": {NODE: seen(HANGING)}}, "GuestSilent"),
        (WORKER, {"bulk": {NODE: seen(HANGING), scopes.vm(WORKER): seen(vm(WORKER, lock="backup"))}}, "GuestSilent"),
        (WORKER, {"bulk": {NODE: seen(HANGING), scopes.vm(WORKER): unknown()}}, "GuestSilent"),
        (WORKER, {"bulk": {NODE: seen(HANGING), scopes.vm(WORKER): seen(vm(MASTER))}}, "GuestSilent"),
        (COMING, {}, "GuestSilent"),
        (COMING, {"since": {SILENT: NOW - 299}}, "GuestSilent"),
        (COMING, {"since": {SILENT: NOW - 301}}, "reset"),
        (COMING, {"since": {SILENT: NOW - 301}, "known": {f"remedy/{WORKER.uid}": NOW - 9_000}}, "GuestSilent"),
        (COMING, {"since": {SILENT: NOW - 301}, "bulk": {POLLED: REFUSED}}, "LoginRefused"),
        (WORKER, {"bulk": {POLLED: REFUSED}}, "LoginRefused"),
        (WORKER, {"bulk": {POLLED: REFUSED, NODE: seen(HANGING)}}, "reset"),
    ],
)
def test_a_machine_that_hangs_under_a_job_is_reset_once(one: Machine, parts: dict[str, Any], wanted: str) -> None:
    """A member by what its Node says, who has not joined after as long a silence; only what is ours and not locked.

    Who refuses the login is not silent.
    """
    job = op(one, "prepare", age=2_000)
    silent = {scopes.guestop(one, job.id): unknown(), **parts.get("bulk", {})}
    plan = machine.plan(job.key, put(REST, one, ops=[job], **{**parts, "bulk": silent}))

    assert wanted == said(plan)
    assert wanted != "reset" or effects.ResetVm(key=job.key, row=one, job=job) == step(plan)


def test_only_a_job_that_nobody_answers_for_makes_a_machine_silent() -> None:
    """One that says how it stands is waited for, however late; beside it another may hang."""
    jobs = [op(WORKER, "prepare", age=2_000), op(WORKER, "etcd-snapshot", age=1_000, id_="op-2")]
    answered = put(REST, ops=jobs, bulk={POLLED: seen({"state": "running"})})
    silent = put(answered, bulk={scopes.guestop(WORKER, "op-2"): unknown()})

    assert (None, jobs[1]) == (case(WORKER, answered).unanswered, case(WORKER, silent).unanswered)
    assert ["Ready", "GuestSilent"] == [said(machine.plan(machine_key(WORKER), one)) for one in (answered, silent)]


def test_what_a_reset_is_for_is_timed_on_while_it_waits() -> None:
    """For consent, say: else the time that the machine was given would begin anew, and nothing would ever come of it."""
    job = op(COMING, "join", age=2_000)
    hung = put(REST, COMING, ops=[job], bulk={scopes.guestop(COMING, job.id): unknown()}, since={SILENT: NOW - 301})
    gone = put(REST, bulk={NODE: seen(None)}, since={f"{machine_key(WORKER)}/NodeNotReady": NOW - 301})
    plans = [machine.plan(job.key, hung), kept(WORKER, gone)]

    assert [("reset", "GuestSilent"), ("reset", "NodeNotReady")] == [
        (said(plan), plan.wait.reason) for plan in plans if plan and plan.wait
    ]


def test_a_machine_that_hangs_is_not_reset_where_the_ladder_has_no_reset() -> None:
    """It waits, and is replaced when it does not come up (`group.hopeless`)."""
    job = op(COMING, "join", age=2_000)
    wanted = replace(ONE, health=health(ladder=(Remedy.START, Remedy.REPLACE)))
    whole = put(built(ONE, now=wanted), COMING, ops=[job], bulk={scopes.guestop(COMING, job.id): unknown()})

    assert "GuestSilent" == said(machine.plan(job.key, put(whole, since={SILENT: NOW - 301})))


def test_a_machine_that_serves_is_ready_while_a_strike_of_it_is_forgiven() -> None:
    """The ledger's own step is none that it waits for: under a pause it would not be Ready for as long."""
    late = replace(WORKER, strikes=1)
    plan = kept(late, put(REST, late))

    assert [effects.Forgive] == [type(step) for step in plan.steps]
    assert [("Ready", "True", "Ready")] == [(one.type, one.status, one.reason) for one in plan.conditions]
