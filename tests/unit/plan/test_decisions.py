"""Decisions that no other test told apart from their opposite: each was found by a mutant that survived."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest

from cpcd.model.desired import Cluster, Desired, Remedy, Risk
from cpcd.model.keys import OpId, Role, Uid, Wall
from cpcd.model.ledger import DropFact, Machine, PutFact, PutMachine
from cpcd.model.plan import Absent, Done, Failed, Running, Unknown, Wait
from cpcd.model.seen import Vm
from cpcd.plan import alloc, applyset, effects, fields, guards, kubeadm, scopes
from cpcd.plan.case import machine_key
from cpcd.plan.fleet import RetireMachine, fleet
from cpcd.plan.fold import fold
from cpcd.plan.member import member
from cpcd.plan.prepare import prepare
from cpcd.plan.provision import provision
from cpcd.plan.recover import Identify, Recover
from cpcd.plan.resolve import SETTLE, resolve
from cpcd.plan.retire import retire
from cpcd.plan.upkeep import upkeep
from cpcd.reconcilers import RECONCILERS, machine
from cpcd.reconcilers import cluster as cluster_reconciler
from tests.unit.plan import build
from tests.unit.plan.build import (
    CP,
    INSTALLATION,
    KEY,
    NAME,
    NOW,
    SITE,
    TEMPLATE,
    WORKERS,
    built,
    case,
    cluster,
    facts,
    group,
    health,
    hold,
    member_row,
    members,
    node,
    of,
    op,
    pod,
    put,
    row,
    said,
    seen,
    spec,
    step,
    task,
    unknown,
    view,
    vm,
)

ONE = cluster(group(CP, 3), group(WORKERS, 2))
REST = built(ONE)
MASTER, WORKER = of(REST, "u1"), of(REST, "u4")
MASTERS = [one for one in REST.rows(NAME) if one.role is Role.CONTROL_PLANE]


def under(wanted: Cluster, whole: Any = REST) -> Any:
    """Return the view with another cluster wanted."""
    return replace(whole, desired=Desired({NAME: wanted}))


# --- where machines go, and what they are given ------------------------------------------------------------------


def test_nodes_that_are_allowed_are_of_no_use_while_the_site_is_unknown() -> None:
    """Nobody says that they are online."""
    strict = cluster(infrastructure=build.infrastructure(zones={}, allowed_nodes=("pve2",)))

    assert alloc.node(view(strict, bulk={scopes.quorum(SITE): unknown()}), strict, strict.groups[0]) is None


def test_all_keys_reach_a_machine_each_on_its_line() -> None:
    """As Proxmox wants them: encoded once more."""
    keyed = spec(ssh_keys=("ssh-ed25519 A one", "ssh-ed25519 B two"))

    options = fields.first_options(ONE, WORKER, keyed, {})

    assert "ssh-ed25519 A one\nssh-ed25519 B two" == unquote(options["sshkeys"])


def test_kube_vip_is_the_pod_that_its_own_documentation_describes() -> None:
    """ARP, one address, leader election by a lease, the administrator's kubeconfig of the moment."""
    pods = [json.loads(*kubeadm.files(ONE, first=first).values()) for first in (True, False)]
    container = pods[0]["spec"]["containers"][0]

    assert {
        "vip_arp": "true", "port": "6443", "vip_subnet": "32", "cp_enable": "true", "cp_namespace": "kube-system",
        "vip_leaderelection": "true", "vip_leasename": "plndr-cp-lock", "vip_leaseduration": "15",
        "vip_renewdeadline": "10", "vip_retryperiod": "2", "address": "10.0.0.5",
    } == {one["name"]: one["value"] for one in container["env"]}  # fmt: skip
    assert ("v1", "Pod", {"name": "kube-vip", "namespace": "kube-system"}) == tuple(
        pods[0][name] for name in ("apiVersion", "kind", "metadata")
    )
    assert (["manager"], kubeadm.KUBE_VIP_IMAGE, {"add": ["NET_ADMIN", "NET_RAW"]}) == (
        container["args"], container["image"], container["securityContext"]["capabilities"],
    )  # fmt: skip
    assert (True, [{"ip": "127.0.0.1", "hostnames": ["kubernetes"]}]) == (
        pods[0]["spec"]["hostNetwork"], pods[0]["spec"]["hostAliases"],
    )  # fmt: skip
    assert [{"mountPath": "/etc/kubernetes/admin.conf", "name": "kubeconfig"}] == container["volumeMounts"]
    assert [
        [{"name": "kubeconfig", "hostPath": {"path": f"/etc/kubernetes/{name}", "type": "File"}}]
        for name in ("super-admin.conf", "admin.conf")
    ] == [one["spec"]["volumes"] for one in pods]


def test_the_certificates_names_are_in_one_order_and_without_a_domain_there_are_no_long_ones() -> None:
    """A set in another order would be another config at each look."""
    assert ["10.0.0.11", "10.0.0.5", "127.0.0.1", "lab-cp-1", "localhost"] == kubeadm.sans(
        view(ONE, rows=[MASTER]), ONE
    )


# --- guards ------------------------------------------------------------------------------------------------------


def test_a_clone_waits_for_the_node_that_its_template_is_on() -> None:
    """Its own node being there is not enough."""
    young = row("u9", WORKERS, 9, node="pve2", template_node="pve1")
    clone = effects.Clone(key=machine_key(young), row=young, pool="", full=False)
    whole = put(REST, young, bulk=build.site(online=("pve2", "pve3")))

    assert "NodeOffline" == guards.site_writable(clone, whole).reason
    start = effects.Start(key=machine_key(young), row=young)
    assert guards.site_writable(start, whole) is None


def test_a_control_plane_is_reset_only_when_its_member_is_known_to_be_gone() -> None:
    """Unknown is not gone; a worker has none."""
    action = effects.Reset(key=machine_key(MASTER), row=MASTER)
    listed, left = {scopes.etcd(NAME): seen(members(*MASTERS))}, {scopes.etcd(NAME): seen(members(*MASTERS[1:]))}
    silent = {scopes.etcd(NAME): unknown()}

    found = [guards.reset_safe(action, put(REST, bulk=bulk)) for bulk in (silent, listed, left)]

    assert [True, True, False] == [isinstance(verdict, Wait) for verdict in found]
    assert guards.reset_safe(effects.Reset(key=machine_key(WORKER), row=WORKER), put(REST, bulk=silent)) is None


def test_a_share_of_sick_machines_that_is_just_allowed_is_repaired() -> None:
    """`unhealthyLessThanOrEqualTo`: equal is not more."""
    sick = {scopes.nodes(NAME): seen({one.name: node(one) for one in REST.rows(NAME) if one.uid not in {"u4", "u5"}})}
    reset = effects.ResetVm(key=machine_key(WORKER), row=WORKER)

    assert guards.remediation(reset, put(under(replace(ONE, health=health(limit=0.4))), bulk=sick)) is None
    assert guards.remediation(reset, put(under(replace(ONE, health=health(limit=0.39))), bulk=sick)) is not None


# --- membership --------------------------------------------------------------------------------------------------


def test_only_a_started_voter_makes_a_control_plane_a_member() -> None:
    """A member that was added and never started is cleaned away."""
    young = member_row("u9", CP, 9, joined=False)
    own = build.member(young, started=False)
    listed = replace(members(*MASTERS), members=(*members(*MASTERS).members, own))
    bulk = {
        scopes.etcd(NAME): seen(listed), scopes.node(NAME, young.name): seen(node(young)),
        scopes.guest(young): seen(facts(young, kubelet_conf=True)), scopes.vm(young): seen(vm(young, ONE)),
    }  # fmt: skip

    assert "mark-joined" != said(member(case(young, put(REST, young, bulk=bulk))))


def test_a_control_plane_that_was_never_started_needs_not_be_asked() -> None:
    """It can carry no cluster."""
    first, second = row("u1", started=True), row("u2", CP, 2)
    bulk = {scopes.guest(first): seen(facts(first)), scopes.vm(first): seen(vm(first))}
    whole = view(cluster(group(CP, 3)), rows=[first, second], known={f"elected/{NAME}": "u1"}, bulk=bulk)

    assert "init" == said(member(case(first, whole)))


@pytest.mark.parametrize(
    ("ladder", "held", "wanted"), [((), False, "NodeNotReady"), ((), True, "start"), (tuple(Remedy), False, "start")]
)
def test_a_member_that_is_off_is_started_as_a_remedy_or_under_its_own_reboot(
    ladder: tuple[Remedy, ...], held: bool, wanted: str
) -> None:
    """Without `Start` in the ladder somebody has switched it off and meant it."""
    off = {scopes.vm(WORKER): seen(vm(WORKER, ONE, status="stopped"))}
    whole = put(under(replace(ONE, health=health(ladder=ladder))), ops=[hold(WORKER)] if held else [], bulk=off)

    assert wanted == said(provision(case(WORKER, whole)))


def test_a_machine_that_is_still_to_join_is_started_whatever_the_ladder_says() -> None:
    """It is being built, and that is no remedy."""
    young = replace(WORKER, joined=False)
    off = {scopes.vm(young): seen(vm(young, ONE, status="stopped"))}

    assert "start" == said(provision(case(young, put(under(replace(ONE, health=health(ladder=()))), young, bulk=off))))


# --- what became of an operation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "limit"),
    [("clone", "clone"), ("resize", "clone"), ("prepare", "ansible"), ("init", "bootstrap"), ("join", "bootstrap"),
     ("kubeadm-reset", "bootstrap"), ("start", "start"), ("stop", "command"),
     ("shutdown", "command"), ("reset", "command")],
)  # fmt: skip
def test_each_operation_is_late_by_its_own_limit(verb: str, limit: str) -> None:
    """`policy.timeouts`: said aloud, and nothing else."""
    limits = replace(ONE.timeouts, clone=1_000.0, ansible=2_000.0, bootstrap=3_000.0, start=4_000.0, command=500.0)
    running = {
        scopes.guestop(WORKER, "op-1"): seen({"state": "running", "output": None, "error": None}),
        scopes.tasks(SITE, WORKER.node, WORKER.vmid): seen((task("UPID:1", f"qm{verb}", exit_=""),)),
        scopes.tasks(SITE, WORKER.template_node, TEMPLATE): seen((task("UPID:1", "qmclone", exit_=""),)),
    }
    whole = put(under(replace(ONE, timeouts=limits)), bulk=running)
    opened = op(WORKER, verb, handle="UPID:1")

    at = {late: resolve(opened, whole, Wall(NOW + getattr(limits, limit) + late)) for late in (0, 1)}

    assert [(Running, False), (Running, True)] == [(type(at[late]), at[late].late) for late in (0, 1)]


def test_a_clone_that_ended_well_and_is_gone_again_is_made_anew() -> None:
    """Somebody has destroyed it meanwhile."""
    young = row("u9", WORKERS, 9)
    made = task("UPID:1", "qmclone", made=young.vmid)
    bulk = {scopes.vm(young): seen(Vm(exists=False)), scopes.tasks(SITE, "pve1", TEMPLATE): seen((made,))}

    assert isinstance(resolve(op(young, "clone", handle="UPID:1"), put(REST, young, bulk=bulk), NOW), Absent)


def test_only_a_clone_is_taken_for_ours_by_the_vmid_that_its_log_names() -> None:
    """Another kind of task on the template says nothing."""
    young = row("u9", WORKERS, 9)
    other = task("UPID:1", "qmtemplate", made=young.vmid, exit_="failed")
    bulk = {scopes.vm(young): seen(Vm(exists=False)), scopes.tasks(SITE, "pve1", TEMPLATE): seen((other,))}

    assert isinstance(resolve(op(young, "clone"), put(REST, young, bulk=bulk), NOW), Unknown)


@pytest.mark.parametrize(("verb", "kind"), [("destroy", "qmdestroy"), ("resize", "resize"), ("stop", "qmstop")])
def test_a_task_without_its_handle_is_known_by_its_kind(verb: str, kind: str) -> None:
    """As Proxmox calls it; another one of the machine says nothing."""

    def judged(name: str) -> Any:
        bulk = {scopes.tasks(SITE, WORKER.node, WORKER.vmid): seen((task("UPID:1", name, exit_="broken"),))}
        return resolve(op(WORKER, verb, before={**known, "disk": "scsi0", "size_gb": 99}), put(REST, bulk=bulk), NOW)

    known: dict[str, Any] = {"upids": []}
    assert (Failed, Unknown) == (type(judged(kind)), type(judged("qmother")))
    known.clear()
    assert Unknown is type(judged(kind))


def test_a_task_from_before_is_not_taken_for_one_whose_reply_was_lost() -> None:
    """Where nobody had looked at the tasks, an older one that went well made a disk grown that was not; one that runs is ours."""

    def judged(exit_: str) -> Any:
        bulk = {scopes.tasks(SITE, WORKER.node, WORKER.vmid): seen((task("UPID:1", "resize", exit_=exit_),))}
        return resolve(op(WORKER, "resize", before={"disk": "scsi0", "size_gb": 99}), put(REST, bulk=bulk), NOW)

    assert (Unknown, Running) == (type(judged("OK")), type(judged("")))


def test_an_operation_that_nobody_has_seen_is_awaited_for_its_time() -> None:
    """Up to it nothing is known, past it it never began."""
    bulk = {scopes.tasks(SITE, WORKER.node, WORKER.vmid): seen(())}
    found = [resolve(op(WORKER, "stop"), put(REST, bulk=bulk), Wall(NOW + late)) for late in (SETTLE, SETTLE + 1)]

    assert [Unknown, Absent] == [type(one) for one in found]


def test_a_verb_that_failed_without_a_word_has_failed_all_the_same() -> None:
    """A machine may say nothing more than that."""
    polled = {scopes.guestop(WORKER, "op-1"): seen({"state": "failed", "output": None, "error": None})}

    assert isinstance(resolve(op(WORKER, "prepare"), put(REST, bulk=polled), NOW), Failed)


def test_a_hold_is_over_when_the_machine_serves() -> None:
    """And the remedy that it may have been is forgotten."""
    forgotten = Done((DropFact(f"remedy/{WORKER.uid}"), DropFact(f"boot/{WORKER.uid}")))

    assert forgotten == resolve(hold(WORKER), REST, NOW)


# --- the end of a machine ----------------------------------------------------------------------------------------


def leaving(one: Machine, found: Any, *, offline: bool = False, **bulk: Any) -> str:
    """Return what a retirement does next with a VM that looks like this."""
    gone = replace(one, retire="scaled")
    site = build.site(online=("pve2", "pve3")) if offline else {}
    whole = put(REST, gone, ops=[hold(gone, "retire")], bulk={**site, scopes.vm(one): found, **bulk.get("more", {})})
    return said(retire(case(gone, whole)))


def test_a_vm_that_cannot_be_read_leaves_the_cluster_only_when_its_node_is_offline() -> None:
    """A node that is there and does not tell is no reason to go on."""
    there = {"more": {scopes.node(NAME, WORKER.name): seen(None)}}

    assert "VmUnknown" == leaving(WORKER, unknown(), **there)
    assert "NodeOffline" == leaving(WORKER, unknown(), offline=True, **there)
    assert "delete-node" == leaving(WORKER, unknown(), offline=True)


def test_a_vm_that_can_be_read_is_judged_by_itself_whatever_its_node_is_said_to_be() -> None:
    """The fresh look wins over the list of nodes."""
    assert "drain" == leaving(WORKER, seen(vm(WORKER, ONE)), offline=True)


def test_a_machine_that_is_off_has_nothing_to_drain() -> None:
    """Though its Node may still be called Ready."""
    pods = {scopes.pods(NAME, WORKER.name): seen((pod("web", WORKER.name),))}

    assert "delete-node" == leaving(WORKER, seen(vm(WORKER, ONE, status="stopped")), more=pods)


def test_another_vm_at_the_vmid_of_a_machine_that_goes_is_let_be() -> None:
    """It runs, and is neither stopped nor waited for: the machine leaves its cluster and is forgotten."""
    theirs = vm(WORKER, ONE, options={"name": "theirs", "description": "", "smbios1": "uuid=1"})
    going = replace(WORKER, retire="its VM is gone")
    down = replace(node(WORKER), ready="Unknown")
    nodes = {scopes.nodes(NAME): seen({WORKER.name: down}), scopes.node(NAME, WORKER.name): seen(down)}
    left = {scopes.nodes(NAME): seen({}), scopes.node(NAME, WORKER.name): seen(None)}
    whole = put(REST, going, ops=[hold(going, "retire")], bulk={scopes.vm(going): seen(theirs), **left})
    forgotten = step(retire(case(going, whole)))

    assert isinstance(forgotten, effects.Forget)
    assert forgotten.taken
    assert "delete-node" == leaving(WORKER, seen(theirs), more=nodes)
    assert "forget" == leaving(WORKER, seen(theirs), more=left)
    assert resolve(hold(going, "retire"), whole, whole.wall) == Done()
    assert scopes.quorum(SITE) in machine.reads(machine_key(going), whole)
    assert scopes.vm(going) in cluster_reconciler.reads(KEY, put(whole, WORKER))


def test_a_vm_that_was_never_started_is_destroyed_only_with_our_mark() -> None:
    """The name alone is nobody's proof."""
    young = row("u9", WORKERS, 9)
    ours, bare = build.clone_of(young), build.clone_of(young, config={"name": young.name})
    gone = {"more": {scopes.node(NAME, young.name): seen(None)}}

    assert ("destroy", "ForeignVm") == (leaving(young, seen(ours), **gone), leaving(young, seen(bare), **gone))


# --- daily life --------------------------------------------------------------------------------------------------


def test_a_workers_reboot_needs_no_snapshot_of_a_lonely_etcd() -> None:
    """It is not its disruption."""
    single = cluster(group(CP, 1), group(WORKERS, 1))
    rest = built(single)
    worker = of(rest, "u2")
    whole = put(rest, bulk={scopes.vm(worker): seen(vm(worker, single, pending=("memory",)))})
    found = case(worker, whole)

    assert "reboot" == said(upkeep(found, found.vm))


@pytest.mark.parametrize(("age", "wanted"), [(899.0, "Rebooting"), (901.0, "reset")])
def test_a_machine_that_does_not_come_back_from_its_reboot_gets_the_remedy(age: float, wanted: str) -> None:
    """Past its start-up time, and only when it is sick for long enough."""
    lost = {scopes.node(NAME, WORKER.name): seen(node(WORKER, ready="Unknown", since=NOW - 1_000))}
    found = case(WORKER, put(REST, ops=[hold(WORKER, age=age)], bulk=lost))

    assert wanted == said(upkeep(found, found.vm))


def test_a_sick_machine_is_not_ready_and_that_is_all_that_is_said() -> None:
    """It is not on its way to anywhere."""
    ill = {scopes.node(NAME, WORKER.name): seen(node(WORKER, ready="False", since=NOW - 10))}
    found = case(WORKER, put(REST, bulk=ill))

    conditions = upkeep(found, found.vm).conditions
    assert [("Ready", "False", "NodeNotReady")] == [(one.type, one.status, one.reason) for one in conditions]


# --- the set of machines -----------------------------------------------------------------------------------------


def hopeless(*healed: float, limit: int = 3) -> str:
    """Return what is done with a machine whose joins failed when so many were replaced that long ago."""
    wanted = cluster(group(CP, 3), group(WORKERS, 3), health=health(max_retry=limit))
    now = fields.revision(spec())
    young = row("u9", WORKERS, 9, started=True, strikes=9, revision=now)
    tried = [[NOW - ago, now] for ago in healed] + [[NOW - 60, "another template's"]] * 9
    whole = put(built(now=wanted), young, known={f"healed/{NAME}/{WORKERS}": tried})
    return said(fleet(KEY, whole, wanted))


def test_what_does_not_help_is_not_repeated_without_end() -> None:
    """Three in six hours, as the group is wanted now; then a person has to look."""
    assert "retire" == hopeless(60, 60)
    assert "RemediesSpent" == hopeless(60, 60, 60)
    assert "retire" == hopeless(60, 60, 6 * 3600)
    assert "RemediesSpent" == hopeless(60, 60, 6 * 3600 - 1)


@pytest.mark.parametrize(("order", "wanted"), [("Newest", "u4"), ("Oldest", "u2")])
def test_of_machines_of_one_age_the_index_decides(order: str, wanted: str) -> None:
    """So that two looks never choose differently."""
    before = cluster(group(CP, 1), group(WORKERS, 3))
    now = cluster(group(CP, 1), group(WORKERS, 2, deletion_order=order))
    rest = built(before, now=now)
    whole = put(rest, *(replace(one, created=Wall(NOW - 5)) for one in rest.rows(NAME)))

    action = step(fleet(KEY, whole, now))

    assert isinstance(action, RetireMachine)
    assert wanted == action.row.uid


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        (scopes.resources(SITE), "ProxmoxUnknown"),
        (scopes.claims(SITE), "ProxmoxUnknown"),
        (scopes.quorum(SITE), "NoNode"),
    ],
)
def test_nothing_is_added_to_a_proxmox_that_cannot_be_read(scope: Any, wanted: str) -> None:
    """Not its VMs, not whose they are, not its nodes."""
    assert wanted == said(fleet(KEY, view(ONE, bulk={scope: unknown()}), ONE))


# --- the plan to its end -----------------------------------------------------------------------------------------


def quorums(whole: Any) -> dict[str, str]:
    """Return what is left of etcd at each disruption that is printed."""
    steps = fold(whole, reconcilers=RECONCILERS, guards=guards.GUARDS, resolve=resolve)
    return {one.name if one.verb == "reboot" else one.sentence.split(":")[0]: one.quorum for one in steps if one.quorum}


def test_a_sick_voter_is_not_counted_among_those_that_are_left() -> None:
    """What is printed is what the guard decides by."""
    bigger = cluster(group(CP, 3, machine=spec(memory_mib=8192)), group(WORKERS, 2))
    whole = put(built(ONE, now=bigger), bulk={scopes.etcd(NAME): seen(members(*MASTERS, sick=[MASTERS[1]]))})

    assert "1 of 3 voters left, an outage of the API" == quorums(whole)["lab-cp-1"]


def test_one_of_two_voters_can_be_taken_out_but_not_off() -> None:
    """After a removal the other is all there are; after a reboot it would be half."""
    two = cluster(group(CP, 2))

    assert {"retire lab-cp-2": "1 of 2 voters left"} == quorums(built(two, now=cluster(group(CP, 1))))
    bigger = cluster(group(CP, 2, machine=spec(memory_mib=8192)))
    assert {"1 of 2 voters left, an outage of the API"} == set(quorums(built(two, now=bigger)).values())


def test_ownership_needs_every_word_of_the_mark() -> None:
    """Installation, cluster and machine, from the first line alone."""
    line = f"cpcd/1 {INSTALLATION} {NAME} u4"

    assert fields.owner(Vm(True, config={"description": f"{line} op\nmore"})) == (INSTALLATION, NAME, "u4")
    assert fields.owner(Vm(True, config={"description": f"cpcd/1 {INSTALLATION}\n{NAME} u4 op"})) is None


# --- more of the same, found by a second sample ------------------------------------------------------------------


def test_the_parent_of_an_applyset_says_so_as_the_kep_wants() -> None:
    """And definitions are applied before what needs them."""
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "d"}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}}

    parent, *rest = applyset.objects("hello", [config, crd])

    assert {"applyset.kubernetes.io/id": applyset.identifier("hello")} == parent["metadata"]["labels"]
    assert "cpcd/" in parent["metadata"]["annotations"]["applyset.kubernetes.io/tooling"]
    assert ["CustomResourceDefinition", "ConfigMap"] == [one["kind"] for one in rest]
    assert ["d", "n/c"] == [applyset.display(one) for one in rest]


def test_only_our_own_vm_is_followed_to_another_node() -> None:
    """A stranger of that number is nobody whom we would follow."""
    strange = build.vm(replace(WORKER, uid=Uid("other")), ONE)
    found = [
        case(WORKER, put(REST, bulk={scopes.vm(WORKER): seen(replace(one, node="pve3"))})).moved
        for one in (vm(WORKER, ONE), strange)
    ]

    assert ["pve3", ""] == found


def test_a_preparation_remembers_what_it_prepares_for() -> None:
    """So that a plan which is made meanwhile goes on from there."""
    action = effects.Prepare(key=machine_key(WORKER), row=WORKER, given={"profile": "p1", "version": "1.34.2"})

    assert {"profile": "p1"} == action.before(REST)


@pytest.mark.parametrize(
    ("remedy", "name", "window"),
    [(Remedy.REPLACE, f"healed/{NAME}/{WORKERS}", 6 * 3600), (None, f"destroyed/{NAME}", 3600)],
)
def test_a_retirement_is_written_down_beside_those_of_its_window(remedy: Remedy | None, name: str, window: int) -> None:
    """What is older counts no more and is not kept."""

    def noted(*times: float, made_as: str = "another template's") -> list[Any]:
        return [[at, made_as] for at in times] if remedy else list(times)

    whole = put(REST, known={name: noted(NOW - window, NOW - window + 1)})
    action = RetireMachine(key=KEY, row=WORKER, why="x", kind=Risk.REPLACE if remedy else Risk.DESTROY, remedy=remedy)

    written = [change for change in action.changes(whole) if isinstance(change, PutFact)]

    assert [PutFact(name, [*noted(NOW - window + 1), *noted(NOW, made_as=WORKER.revision)])] == written


@pytest.mark.parametrize("reason", ["Booting", "GuestSilent", "HostnameWrong", "CloudInit", "ClockSkew"])
def test_every_way_of_not_coming_up_is_given_up_in_time(reason: str) -> None:
    """Whatever it is that does not come."""
    wanted = cluster(group(CP, 3), group(WORKERS, 3))
    young = row("u9", WORKERS, 9, started=True, revision=fields.revision(spec()))
    whole = put(built(now=wanted), young, since={f"{machine_key(young)}/{reason}": NOW - 901})

    assert "retire" == said(fleet(KEY, whole, wanted))


def test_a_scale_down_takes_what_is_outdated_first() -> None:
    """It would be replaced in any case."""
    rest = built(cluster(group(CP, 1), group(WORKERS, 3)), now=cluster(group(CP, 1), group(WORKERS, 2)))
    whole = put(rest, replace(of(rest, "u3"), revision="an older one"))

    action = step(fleet(KEY, whole, cluster(group(CP, 1), group(WORKERS, 2))))

    assert isinstance(action, RetireMachine)
    assert "u3" == action.row.uid


def test_guards_judge_the_keys_of_no_cluster_too() -> None:
    """A template is a Proxmox's; a document may be gone."""
    alone = replace(REST, desired=Desired({}))
    reboot = effects.Hold(key=machine_key(WORKER), row=WORKER, why="x")

    assert (None, None, None) == tuple(
        guard(reboot, alone) for guard in (guards.paused, guards.blast_radius, guards.remediation)
    )


def test_taking_machines_into_the_ledger_always_asks() -> None:
    """Whatever the policy: another cpcd may keep them."""
    action = Recover(key=KEY, rows=(WORKER,), site=SITE, installation=INSTALLATION)
    asked = guards.consent(action, under(replace(ONE, change_policy=build.AUTO)))

    assert isinstance(asked, Wait)
    assert "AwaitingApproval" == asked.reason


def test_who_is_on_its_way_out_or_not_yet_in_is_not_counted_as_sick() -> None:
    """Else a scale-down would look like an outage."""
    leaving_ones = [replace(one, retire="scaled") for one in REST.rows(NAME) if one.uid in {"u2", "u3"}]
    ready = {one.name: node(one) for one in REST.rows(NAME) if one.uid in {"u1", "u5"}}
    whole = put(under(replace(ONE, health=health(limit=0.4))), *leaving_ones, bulk={scopes.nodes(NAME): seen(ready)})

    assert guards.remediation(effects.ResetVm(key=machine_key(WORKER), row=WORKER), whole) is None


def test_the_first_control_plane_gets_the_kube_vip_that_works_before_admin_conf_does() -> None:
    """`failures.md` K07; and the kubelet's configuration in its own version."""
    first = row("u1", started=True)
    bulk = {scopes.guest(first): seen(facts(first)), scopes.vm(first): seen(vm(first))}
    whole = view(cluster(group(CP, 1)), rows=[first], known={f"elected/{NAME}": "u1"}, bulk=bulk)

    action = step(member(case(first, whole)))

    assert isinstance(action, effects.Init)
    given = action.asked(OpId("op-1"))
    assert "super-admin.conf" in next(iter(given["manifests"].values()))
    assert '"apiVersion": "kubelet.config.k8s.io/v1beta1"' in given["config"]


def test_a_learner_is_not_yet_a_member() -> None:
    """Nor is a Node without a trace of kubeadm behind it."""
    young = member_row("u9", CP, 9, joined=False)
    ran = {scopes.node(NAME, young.name): seen(node(young)), scopes.vm(young): seen(vm(young, ONE))}
    everyone = members(*MASTERS)

    def decided(inside: Any, **changes: Any) -> str:
        listed = replace(everyone, members=(*everyone.members, build.member(young, **changes)))
        bulk = {**ran, scopes.etcd(NAME): seen(listed), scopes.guest(young): inside}
        return said(member(case(young, put(REST, young, bulk=bulk))))

    joined = seen(facts(young, kubelet_conf=True))
    assert ("mark-joined", "etcd-remove") == (decided(joined), decided(joined, learner=True))
    assert "GuestSilent" == decided(unknown())


def test_a_fully_qualified_name_is_the_machines_own() -> None:
    """Its first label counts, however many follow."""
    named = seen(facts(WORKER, hostname=f"{WORKER.name}.lab.example", prepared=""))

    assert "prepare" == said(prepare(case(WORKER, put(REST, bulk={scopes.guest(WORKER): named}))))


def test_a_foreign_vm_is_given_way_to_only_when_there_is_another_number() -> None:
    """Locked or not; without one a person has to look."""
    young = row("u9", WORKERS, 9)
    foreign = build.vm(replace(young, uid=Uid("other")), ONE, lock="backup")
    tight = replace(ONE, infrastructure=build.infrastructure(vmid_start=309, vmid_end=309))
    whole = put(REST, young, bulk={scopes.vm(young): seen(foreign)})

    assert "renumber" == said(provision(case(young, whole)))
    assert "ForeignVm" == said(provision(case(young, under(tight, whole))))


def test_only_a_destroy_is_done_because_its_vm_is_gone() -> None:
    """A start of a VM that is not there has come to nothing yet."""
    gone = {scopes.vm(WORKER): seen(Vm(exists=False)), scopes.tasks(SITE, WORKER.node, WORKER.vmid): unknown()}
    whole = put(REST, bulk=gone)

    assert [Done, Unknown] == [type(resolve(op(WORKER, verb), whole, NOW)) for verb in ("destroy", "start")]


def test_a_growth_is_remembered_because_the_config_may_never_tell() -> None:
    """`failures.md` P04: after a time-out the size in the config stays the old one."""
    bulk = {
        scopes.vm(WORKER): seen(vm(WORKER, ONE, options={"scsi0": "local:1,size=40G"})),
        scopes.tasks(SITE, WORKER.node, WORKER.vmid): seen(()),
    }
    grown = op(WORKER, "resize", before={"disk": "scsi0", "size_gb": 40})

    followed = {"boot": "boot-1", "least": 10}
    known = op(WORKER, "resize", before={"disk": "scsi0", "size_gb": 40, "growth": followed})

    assert Done((PutFact(f"grown/{WORKER.uid}", 40),)) == resolve(grown, put(REST, bulk=bulk), NOW)
    assert Done((PutFact(f"grown/{WORKER.uid}", 40), PutFact(f"growth/{WORKER.uid}", followed))) == resolve(
        known, put(REST, bulk=bulk), NOW
    )


def test_a_join_that_ended_well_and_made_no_member_has_failed_at_its_limit() -> None:
    """It counts as a try, and what it left is cleaned before the next; one that still runs is only late."""
    young = member_row("u9", WORKERS, 9, joined=False, strikes=1)
    nowhere = {scopes.node(NAME, young.name): seen(None)}

    def judged(state: str) -> Any:
        polled = {scopes.guestop(young, "op-1"): seen({"state": state, "output": {}, "error": None})}
        return resolve(op(young, "join", age=90_000), put(REST, young, bulk={**nowhere, **polled}), NOW)

    assert [Failed, Running] == [type(judged(state)) for state in ("done", "running")]
    assert (PutMachine(replace(young, strikes=2)),) == judged("done").changes


def test_decisions_of_the_ledger_reach_no_port() -> None:
    """Nobody would carry them out."""
    assert (True, True, True) == (Identify.local, Recover.local, RetireMachine.local)
