"""What all reconcilers have in common, and what the machine's and cluster's read and say."""

import asyncio
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, ClassVar

import pytest

from cpcd.model.desired import Desired, ProxmoxSite, SecretRef, TemplateRef, Unhealthy
from cpcd.model.errors import Bug
from cpcd.model.keys import Instant, Key, Kind
from cpcd.model.ledger import Op, OpenOp, PutFact
from cpcd.model.plan import Action, Done
from cpcd.model.seen import Vm
from cpcd.model.view import View
from cpcd.plan import effects, scopes
from cpcd.plan.case import LISTED, machine_key
from cpcd.plan.resolve import resolve
from cpcd.reconcilers import RECONCILERS, cluster, machine
from tests.unit.plan import build
from tests.unit.plan.build import (
    CP,
    KEY,
    NAME,
    NOW,
    SITE,
    WORKERS,
    built,
    facts,
    group,
    hold,
    of,
    op,
    put,
    row,
    said,
    seen,
    vm,
)  # fmt: skip

REST = built()
OTHERS = Desired(sites={SITE: ProxmoxSite(SITE, (f"https://{SITE}:8006",), SecretRef("env", "TOKEN"))})
WORKER, MASTER = of(REST, "u4"), of(REST, "u1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger(Action):
    """An action that no reconciler has."""

    verb: ClassVar[str] = "stranger"


def planned(module: ModuleType, key: Key, whole: View) -> Any:
    """Return what a reconciler decides."""
    return module.plan(key, whole)


@pytest.mark.parametrize("module", RECONCILERS, ids=lambda module: module.KIND.value)
def test_every_reconciler_has_the_same_parts(module: ModuleType) -> None:
    """One door: what the engine calls is what the module shows."""
    parts = {"KIND", "apply", "keys", "plan", "reads", "watches"}

    assert parts <= set(module.__all__)
    assert {module.KIND} == {key.kind for key in module.keys(built(build.cluster(addons=(_addon(),))))}


@pytest.mark.parametrize("module", RECONCILERS, ids=lambda module: module.KIND.value)
def test_what_is_read_is_a_reason_to_look_again(module: ModuleType) -> None:
    """News of anything that was decided on wakes the key, the cluster's own members aside."""
    whole = built(build.cluster(group(CP, 3), group(WORKERS, 2), addons=(_addon(),)))

    for key in module.keys(whole):
        missed = {scope.kind for scope in set(module.reads(key, whole)) - set(module.watches(key, whole))}
        assert missed <= ({"etcd"} if module is cluster else set())


@pytest.mark.parametrize("module", RECONCILERS, ids=lambda module: module.KIND.value)
def test_a_key_of_nothing_has_no_steps(module: ModuleType) -> None:
    """A key may outlive its object in the queue."""
    key = Key("nowhere", module.KIND, "nothing")
    plan = planned(module, key, REST)

    assert () == plan.steps
    assert module.reads(key, REST) is not None


@pytest.mark.parametrize("module", [one for one in RECONCILERS if one is not machine], ids=lambda one: one.KIND.value)
def test_an_action_of_another_kind_is_a_bug(module: ModuleType) -> None:
    """It is never dropped in silence."""
    action = Stranger(key=Key(NAME, module.KIND, "x"))

    with pytest.raises(Bug, match="stranger"):
        asyncio.run(module.apply(action, _Ports(), None))


def test_each_kind_has_one_reconciler() -> None:
    """The table of contents of the world."""
    assert sorted(Kind) == sorted(module.KIND for module in RECONCILERS)


def test_a_cluster_says_what_is_on_its_way() -> None:
    """Ready only when every machine has joined and none is leaving."""
    young = replace(WORKER, joined=False, created=NOW)
    going = put(REST, replace(of(REST, "u5"), retire="scaled"), row("u9", WORKERS, 9, **_fresh()))

    said_ = [planned(cluster, KEY, whole).conditions[0] for whole in (REST, put(REST, young), going)]

    assert [("True", "Ready"), ("False", "Scaling"), ("False", "Scaling")] == [
        (one.status.value, one.reason) for one in said_
    ]


@pytest.mark.parametrize("module", RECONCILERS, ids=lambda module: module.KIND.value)
def test_nothing_is_asked_for_a_cluster_whose_document_is_gone(module: ModuleType) -> None:
    """Nothing says any more how its machines are reached; they are the only objects that are left of it."""
    whole = built(build.cluster(group(CP, 3), group(WORKERS, 2), addons=(_addon(),)))
    whole = whole.with_ledger((PutFact(f"applied/{NAME}/hello", "d0"),))
    gone = replace(whole, desired=OTHERS)

    assert [] == [scope for key in module.keys(whole) for scope in module.reads(key, gone)]
    assert [] == [scope for key in module.keys(whole) for scope in module.watches(key, gone) if module is not machine]
    assert (module.keys(gone) != ()) is (module is machine)
    assert all(not planned(module, key, gone).steps for key in module.keys(whole))


def test_what_was_begun_is_looked_for_without_a_document_too() -> None:
    """Where another cluster still says how its Proxmox is asked: what an op holds is free once it has ended."""
    whole = REST.with_ledger((OpenOp(op(WORKER, "start")), OpenOp(op(MASTER, "join", id_="op-2"))))
    gone = replace(whole, desired=OTHERS)

    assert ["tasks"] == [scope.kind for scope in machine.reads(machine_key(WORKER), gone)]
    assert () == machine.reads(machine_key(WORKER), replace(whole, desired=Desired()))
    assert () == machine.reads(machine_key(MASTER), gone)


@pytest.mark.parametrize("desired", [OTHERS, Desired()])
def test_a_playbook_is_looked_for_without_a_document_until_it_has_ended(desired: Desired) -> None:
    """It runs on cpcd's own host: the place that it has there, among twelve for all clusters, is free again."""
    played = op(WORKER, "prepare", slots=("prepare",))
    whole = replace(REST.with_ledger((OpenOp(played),)), desired=desired)
    ended = put(whole, bulk={scopes.guestop(WORKER, played.id): seen({"state": "done", "output": {}})})

    assert (scopes.guestop(WORKER, played.id),) == machine.reads(played.key, whole) == machine.reads(played.key, ended)
    assert isinstance(resolve(played, ended, NOW), Done)


def test_a_machine_whose_document_is_gone_is_kept() -> None:
    """A missing file never means "delete everything" (promise 1)."""
    whole = replace(REST, desired=Desired())
    plan = planned(machine, machine_key(WORKER), whole)

    assert ((), "Retained") == (plan.steps, plan.conditions[0].reason)
    assert ["Ready"] == [condition.type for condition in plan.conditions]


def test_a_disruption_that_lost_its_document_is_named() -> None:
    """Nobody ends it: the machine counts as Degraded, and the sentence says of what."""
    whole = replace(put(REST, ops=[hold(WORKER)]), desired=Desired())
    plan = planned(machine, machine_key(WORKER), whole)

    assert [("Ready", "Unknown"), ("Degraded", "True")] == [(one.type, one.status) for one in plan.conditions]
    assert "its reboot is interrupted until the document is back" in plan.conditions[0].message


@pytest.mark.parametrize(
    ("ops", "wanted"), [([], "Deleting"), ([hold(WORKER)], "start")], ids=["at rest", "in a reboot"]
)
def test_a_machine_without_a_deployment_is_left_alone_once_its_reboot_is_over(ops: list[Op], wanted: str) -> None:
    """What it is off for ends, or its slot would be taken for ever."""
    bulk = {scopes.vm(WORKER): seen(vm(WORKER, status="stopped"))}
    whole = put(
        built(build.cluster(group(CP, 3), group(WORKERS, 2)), now=build.cluster(group(CP, 3))), ops=ops, bulk=bulk
    )

    assert wanted == said(planned(machine, machine_key(WORKER), whole))


@pytest.mark.parametrize(
    ("changes", "found", "wanted"),
    [
        ({"started": False, "joined": False}, Vm(exists=False), "clone"),
        ({"joined": False}, None, "prepare"),
        ({}, None, "Ready"),
        ({"retire": "scaled"}, None, "drain"),
    ],
)
def test_a_machines_life_goes_through_its_stages(changes: dict[str, Any], found: Vm | None, wanted: str) -> None:
    """Provision, prepare, member, upkeep, or retire."""
    one = replace(WORKER, **changes)
    bulk: dict[Any, Any] = {scopes.guest(one): seen(facts(one, prepared=""))} if wanted == "prepare" else {}
    bulk |= {scopes.vm(one): seen(found)} if found else {}

    held = [build.hold(one, "retire")] if one.retire else []

    assert wanted == said(planned(machine, machine_key(one), put(REST, one, ops=held, bulk=bulk)))


def test_a_group_that_left_the_file_does_not_leave_its_machines_without_a_plan() -> None:
    """They are left as they are until they are retired: nobody says any more what they should be like."""
    whole = built(now=build.cluster(group(CP, 3)))

    decided = planned(machine, machine_key(WORKER), whole)

    assert ((), "Deleting") == (decided.steps, said(decided))


def kinds(one: Any, whole: View) -> set[str]:
    """Return the kinds of what a machine's pass reads."""
    return {scope.kind for scope in machine.reads(machine_key(one), whole)}


PENDING = {scopes.vm(MASTER): seen(vm(MASTER, pending=("memory",)))}
OTHERWISE = {scopes.vm(MASTER): seen(vm(MASTER, pending=("args",)))}
STOPPED = {scopes.vm(WORKER): seen(vm(WORKER, status="stopped"))}
SHORT = {scopes.vm(WORKER): seen(vm(WORKER, options={"scsi0": "local:1,size=5G"}))}
SICK = {scopes.node(build.NAME, WORKER.name): seen(build.node(WORKER, ready="False", since=NOW - 301))}
UNREADY = build.node(MASTER, ready="False", since=NOW - 10)
UNWELL = {scopes.node(build.NAME, MASTER.name): seen(UNREADY)}
YOUNG = {scopes.node(build.NAME, MASTER.name): seen(replace(UNREADY, networked=False))}


@pytest.mark.parametrize(
    ("one", "whole", "wanted"),
    [
        (WORKER, REST, {"vm", "api", "node"}),
        (MASTER, REST, {"vm", "api", "node"}),
        (WORKER, put(REST, bulk=STOPPED), {"vm", "tasks", "api", "node"}),
        (MASTER, put(REST, bulk=PENDING), {"vm", "tasks", "api", "node", "etcd"}),
        (MASTER, put(REST, bulk=OTHERWISE), {"vm", "api", "node"}),
        (MASTER, put(REST, bulk=UNWELL), {"vm", "api", "node", "etcd"}),
        (MASTER, put(REST, bulk=YOUNG), {"vm", "api", "node"}),
        (WORKER, put(REST, bulk=SHORT), {"vm", "tasks", "guest", "api", "node"}),
        (WORKER, put(REST, bulk=SICK), {"vm", "tasks", "api", "node"}),
        (WORKER, put(REST, ops=[hold(WORKER)]), {"vm", "api", "node", "pods"}),
        (MASTER, put(REST, ops=[hold(MASTER)]), {"vm", "api", "node", "etcd", "pods"}),
        (WORKER, put(REST, ops=[op(WORKER, "prepare")]), {"guestop"}),
        (row("u9"), put(REST, row("u9"), bulk={scopes.vm(row("u9")): seen(Vm(exists=False))}), {"vm", "tasks"}),
    ],
)
def test_a_pass_reads_what_its_decision_needs_and_no_more(one: Any, whole: View, wanted: set[str]) -> None:
    """Members and pods only when it comes to a disruption; an op's evidence alone while it is on its way."""
    assert wanted == kinds(one, whole)


OTHER = TemplateRef("ubuntu", vmid=build.NEWER)
THREE = [of(REST, uid) for uid in ("u1", "u2", "u3")]
ETCD, NODES = scopes.etcd(NAME), scopes.nodes(NAME)
PRESSED = replace(build.node(MASTER), conditions=(("DiskPressure", "True", NOW - 400),))
RULES = build.health(conditions=(Unhealthy("DiskPressure", "True", 300.0),))
PRESSING = build.cluster(group(CP, 3), group(WORKERS, 2), health=RULES)
PAST_RESET = put(
    built(now=PRESSING), replace(MASTER, strikes=1), known={f"remedy/{MASTER.uid}": NOW - 1_000},
    bulk={scopes.node(NAME, MASTER.name): seen(PRESSED), NODES: seen({one.name: build.node(one) for one in THREE})},
)  # fmt: skip


def nodes_seen(at: float, *changed: Any) -> dict[Any, Any]:
    """Return all Nodes as seen at a time, some of them changed."""
    every = {one.name: build.node(one) for one in REST.rows(NAME)} | {one.name: one for one in changed}
    return {NODES: replace(seen(every), began=Instant(at))}


@pytest.mark.parametrize(
    ("whole", "listed"),
    [
        (REST, False),
        (put(REST, bulk=nodes_seen(LISTED)), False),
        (put(REST, bulk=nodes_seen(LISTED + 1)), True),
        (put(REST, bulk={ETCD: build.unknown()}), True),
        (put(REST, bulk={ETCD: seen(build.members(*THREE, sick=THREE[:1]))}), True),
        (put(REST, bulk=nodes_seen(1, replace(build.node(MASTER), ready="Unknown"))), True),
        (put(REST, bulk=nodes_seen(1, replace(build.node(WORKER), ready="Unknown"))), False),
        (put(REST, bulk={scopes.vm(MASTER): seen(Vm(exists=False))}), True),
        (put(REST, replace(MASTER, retire="scaled")), True),
        (PAST_RESET, True),
        (built(now=build.cluster(group(CP, 1), group(WORKERS, 2))), True),
        (built(now=build.cluster(group(CP, 5), group(WORKERS, 2))), True),
        (built(now=build.cluster(group(CP, 3, machine=build.spec(template=OTHER)), group(WORKERS, 2))), True),
        (built(now=build.cluster(group(CP, 3), group(WORKERS, 2, machine=build.spec(template=OTHER)))), False),
        (built(now=build.cluster(group(CP, 3), group(WORKERS, 9))), False),
    ],
)  # fmt: skip
def test_members_are_listed_where_a_control_plane_is_concerned(whole: View, listed: bool) -> None:
    """One is to come or to go, or does not serve; or its etcd does not, or nobody has looked for long."""
    assert listed == (ETCD in cluster.reads(KEY, whole))


@pytest.mark.parametrize(
    ("one", "members", "listed"),
    [
        (row("u9", WORKERS, 9), seen(build.members(*THREE)), False),
        (row("u9", WORKERS, 9), seen(build.members(*THREE, sick=THREE[:1])), True),
        (row("u9", WORKERS, 9), build.unknown(), True),
        (row("u9", CP, 9), seen(build.members(*THREE)), True),
    ],
)
def test_a_worker_is_joined_by_what_was_listed_lately(one: Any, members: Any, listed: bool) -> None:
    """Who mints its token is to be well; a control plane's join changes the members themselves."""
    young = {
        scopes.vm(one): seen(vm(one)),
        scopes.guest(one): seen(facts(one)),
        scopes.node(NAME, one.name): seen(None),
    }

    assert listed == (
        ETCD
        in machine.reads(
            machine_key(one), put(REST, one, bulk={**young, ETCD: members}, known={f"hostkey/{one.uid}": "k"})
        )
    )


def test_a_retirement_reads_everything_that_it_leaves() -> None:
    """VM, tasks, API, Node, members, pods and volumes."""
    going = replace(MASTER, retire="scaled")

    assert {"vm", "tasks", "api", "node", "etcd", "pods", "attachments"} == kinds(going, put(REST, going))


def test_the_clones_evidence_is_read_before_the_clone() -> None:
    """The op stores the UPIDs that were listed already; it needs them read."""
    one = row("u9")
    whole = put(REST, one, bulk={scopes.vm(one): seen(Vm(exists=False))})

    assert scopes.tasks(SITE, "pve1", build.TEMPLATE) in machine.reads(machine_key(one), whole)
    listed = put(whole, bulk={scopes.tasks(SITE, "pve1", build.TEMPLATE): seen((build.task("UPID:1", "qmclone"),))})
    assert {"upids": ["UPID:1"]} == effects.Clone(key=machine_key(one), row=one, pool="", full=True).before(listed)


@pytest.mark.parametrize("found", [None, Vm(exists=False)])
def test_who_was_started_once_does_not_look_for_a_clone(found: Vm | None) -> None:
    """It is not made again; at a start of the daemon each of a thousand would list the clones of all."""
    whole = put(REST, bulk={scopes.vm(WORKER): seen(found) if found else build.unknown()})

    assert {"vm", "api", "node"} == kinds(WORKER, whole)


def _fresh() -> dict[str, Any]:
    return {"created": NOW}


def _addon() -> Any:
    from cpcd.model.desired import Addon

    return Addon("hello", "full", (), "d1")


class _Ports:
    """Ports of which nothing is asked."""

    def kube(self, _cluster: str) -> None:
        return None
