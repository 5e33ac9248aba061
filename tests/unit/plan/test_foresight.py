"""What is awaited, taken as come: each operation on its way as succeeded, each wait as over, and nothing invented."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.plan import Wait
from cpcd.model.seen import Vm
from cpcd.plan import effects, fields, scopes
from cpcd.plan.case import machine_key
from cpcd.plan.foresight import arrived, succeeded
from tests.unit.plan import build
from tests.unit.plan.build import CP, NAME, NOW, WORKERS, built, facts, hold, of, op, put, row, seen, unknown, view, vm

REST = built()
MASTER, WORKER = of(REST, "u1"), of(REST, "u4")


def running(verb: str, one: Any = WORKER, **before: Any) -> Any:
    """Return the view in which an operation that is on its way has succeeded."""
    whole = put(REST, one, bulk={scopes.vm(one): seen(vm(one, status="stopped", host_key=""))})
    return succeeded(op(one, verb, before=before), whole)


@pytest.mark.parametrize(
    ("verb", "status"), [("start", "running"), ("shutdown", "stopped"), ("stop", "stopped"), ("reset", "running")]
)
def test_power_has_had_its_effect(verb: str, status: str) -> None:
    """A reset leaves a running machine running."""
    whole = put(REST, bulk={scopes.vm(WORKER): seen(vm(WORKER, status="stopped" if verb == "start" else "running"))})

    assert status == succeeded(op(WORKER, verb), whole).known(scopes.vm(WORKER)).status


def test_a_clone_is_there_with_our_mark_and_the_templates_disk() -> None:
    """Stopped, and not yet with our UUID."""
    young = row("u9", WORKERS, 9)

    made = succeeded(op(young, "clone"), put(REST, young)).known(scopes.vm(young))

    assert (True, "stopped", 4.0) == (made.exists, made.status, fields.boot_disk_gb(made.config, "scsi0"))
    assert (build.INSTALLATION, NAME, "u9") == fields.owner(made)
    assert not fields.ours(made, young, build.INSTALLATION)


def test_a_destroyed_vm_is_gone() -> None:
    """Proved absent."""
    assert not running("destroy").known(scopes.vm(WORKER)).exists


def test_a_disk_has_grown_to_what_was_asked() -> None:
    """By the evidence that was stored with the op."""
    after = running("resize", disk="scsi0", size_gb=40).known(scopes.vm(WORKER))

    assert 40.0 == fields.boot_disk_gb(after.config, "scsi0")


def test_a_prepared_machine_has_the_profile_that_it_was_given() -> None:
    """So that it is not prepared again."""
    assert "p9" == running("prepare", profile="p9").known(scopes.guest(WORKER)).prepared


def test_an_init_gives_the_cluster_its_identity_and_an_api() -> None:
    """And its first voter, which leads."""
    first = replace(MASTER, joined=False)
    whole = view(rows=[first])

    after = succeeded(op(first, "init"), whole)

    assert (True, True) == (after.known(scopes.api(NAME)).ready, f"identity/{NAME}" in after.facts)
    listed = after.known(scopes.etcd(NAME))
    assert ([first.uid], first.uid) == ([one.id for one in listed.members], listed.leader)


@pytest.mark.parametrize(("group", "voters"), [(CP, 4), (WORKERS, 3)])
def test_a_join_gives_a_node_and_a_control_plane_a_voter(group: str, voters: int) -> None:
    """Ready, schedulable, and its serving certificate asked for; who led leads on."""
    young = row("u9", group, 9, started=True)

    after = succeeded(op(young, "join"), put(REST, young))

    found = after.known(scopes.node(NAME, young.name))
    assert ("True", False, found) == (found.ready, found.unschedulable, after.known(scopes.nodes(NAME))[young.name])
    listed = after.known(scopes.etcd(NAME))
    assert (voters, REST.known(scopes.etcd(NAME)).leader) == (len(listed.voters), listed.leader)
    assert [f"system:node:{young.name}"] == [one.username for one in after.known(scopes.csrs(NAME))]


def test_a_reset_machine_has_no_trace_of_kubeadm() -> None:
    """But stays what it is otherwise."""
    traces = facts(WORKER, kubelet_conf=True, manifests=("etcd.yaml",), hostname="kept")

    after = succeeded(op(WORKER, "kubeadm-reset"), put(REST, bulk={scopes.guest(WORKER): seen(traces)}))

    assert (True, "kept") == (after.known(scopes.guest(WORKER)).untouched, after.known(scopes.guest(WORKER)).hostname)


def test_a_snapshot_has_been_taken_now() -> None:
    """So that the disruption which waits for it may begin."""
    assert NOW == running("etcd-snapshot", MASTER).facts[f"snapshot/{NAME}"]


@pytest.mark.parametrize("held", [hold(WORKER), hold(WORKER, "retire")])
def test_a_disruption_is_not_taken_as_over(held: Any) -> None:
    """What happens under it is told step by step."""
    assert REST is succeeded(held, REST)


def test_an_op_of_no_row_or_verb_changes_nothing() -> None:
    """Nothing is invented."""
    stranger = row("gone", WORKERS, 7)

    assert REST is succeeded(op(stranger, "start"), REST)
    assert REST is succeeded(op(WORKER, "sing"), REST)


def come(reason: str, **parts: Any) -> Any:
    """Return the view in which what a machine waited for has come."""
    whole = put(REST, **parts)
    return arrived(machine_key(WORKER), Wait(reason, "waits"), whole)


def test_a_booting_machine_shows_its_host_key() -> None:
    """Whatever it will be."""
    after = come("Booting", bulk={scopes.vm(WORKER): seen(vm(WORKER, host_key=""))})

    assert after.known(scopes.vm(WORKER)).host_key


def test_a_locked_vm_is_unlocked() -> None:
    """The lock is somebody else's and goes by itself."""
    after = come("VmLocked", bulk={scopes.vm(WORKER): seen(vm(WORKER, lock="backup"))})

    assert "" == after.known(scopes.vm(WORKER)).lock


def test_nobody_answers_at_an_endpoint_that_was_not_looked_at_yet() -> None:
    """Who is about to make a cluster finds the place free; else the plan would end before its init."""
    after = come("EndpointUnknown", bulk={scopes.endpoint(NAME): unknown()})

    assert after.known(scopes.endpoint(NAME)) is False


def test_a_vm_that_was_never_made_is_not_there() -> None:
    """One that was started once may be there all the same: unknown is not absent."""
    young = row("u9", WORKERS, 9)
    nowhere = put(REST, young, bulk={scopes.vm(WORKER): unknown()})

    assert Vm(exists=False) == arrived(machine_key(young), Wait("VmUnknown", ""), nowhere).known(scopes.vm(young))
    assert nowhere is arrived(machine_key(WORKER), Wait("VmUnknown", ""), nowhere)


@pytest.mark.parametrize("reason", ["Booting", "VmLocked"])
def test_of_a_vm_that_cannot_be_read_nothing_is_foreseen(reason: str) -> None:
    """There is nothing that could be known to have changed."""
    whole = put(REST, bulk={scopes.vm(WORKER): unknown()})

    assert whole is arrived(machine_key(WORKER), Wait(reason, "waits"), whole)


@pytest.mark.parametrize("reason", ["Draining", "DrainStalled", "VolumesAttached"])
def test_a_drain_comes_to_its_end(reason: str) -> None:
    """Pods and volumes have left."""
    pods = {scopes.pods(NAME, WORKER.name): seen((build.pod("web", WORKER.name),))}
    after = come(reason, bulk={**pods, scopes.attachments(NAME, WORKER.name): seen(("volume",))})

    assert ((), ()) == (after.known(scopes.pods(NAME, WORKER.name)), after.known(scopes.attachments(NAME, WORKER.name)))


@pytest.mark.parametrize("reason", ["GuestSilent", "CloudInit", "HostnameWrong", "ClockSkew"])
@pytest.mark.parametrize(
    ("before", "prepared"), [(unknown(), ""), (seen(facts(WORKER, hostname="x", prepared="p1")), "p1")]
)
def test_a_machine_that_does_not_answer_yet_answers_as_a_fresh_one(reason: str, before: Any, prepared: str) -> None:
    """With what is known of its baseline."""
    after = come(reason, bulk={scopes.guest(WORKER): before})

    assert replace(effects.fresh_facts(WORKER), prepared=prepared) == after.known(scopes.guest(WORKER))


@pytest.mark.parametrize("reason", ["EtcdUnhealthy", "ApiUnavailable", "ProxmoxUnknown"])
def test_nobody_foresees_the_end_of_trouble(reason: str) -> None:
    """A plan that rests on a repair would be no plan."""
    whole = put(REST)

    assert whole is arrived(machine_key(WORKER), Wait(reason, "waits"), whole)
