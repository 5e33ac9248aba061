"""A disk that grew under a running machine: what is remembered, when a reboot is due for it, and when nothing more is."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.desired import Consent, Desired, Risk
from cpcd.model.plan import Done, Running
from cpcd.model.view import View
from cpcd.plan import effects, growth, scopes
from cpcd.plan.effects import Hold
from cpcd.plan.guards import consent as consented
from cpcd.plan.resolve import resolve
from cpcd.plan.upkeep import upkeep
from cpcd.reconcilers import machine
from tests.unit.plan.build import (
    CP,
    NAME,
    NOW,
    WORKERS,
    built,
    case,
    cluster,
    facts,
    group,
    hold,
    node,
    of,
    put,
    said,
    seen,
    spec,
    step,
    unknown,
    vm,
)

GIB = 2**30
ONE = cluster(group(CP, 3), group(WORKERS, 2))
REST = built(ONE)
WORKER = of(REST, "u4")
KEY = case(WORKER, REST).key
GREW = {f"growth/{WORKER.uid}": {"boot": "boot-1", "least": 30 * GIB}}


def view(*, of_node: str = "boot-1", root: int | None = 19, of_facts: str = "boot-1", **parts: Any) -> View:
    """Return a cluster whose worker has grown by 20 GiB in boot-1; `root` is its file system in GiB, None unknown."""
    told = facts(WORKER, boot_id=of_facts, root=(root or 0) * GIB, root_disk=40 * GIB)
    bulk = {
        scopes.node(NAME, WORKER.name): seen(node(WORKER, boot_id=of_node)),
        scopes.guest(WORKER): unknown() if root is None else seen(told),
    }
    return put(REST, known={**GREW, **parts.pop("known", {})}, bulk=bulk, **parts)


def kept(whole: View) -> str:
    """Return what upkeep does with the worker."""
    one = case(WORKER, whole)
    assert one.vm is not None
    return said(upkeep(one, one.vm))


def sentence(whole: View) -> str:
    """Return what is said of the worker."""
    one = case(WORKER, whole)
    assert one.vm is not None
    return upkeep(one, one.vm).conditions[0].message


def test_what_is_asked_of_a_file_system_is_half_of_the_gain() -> None:
    """From 19 GiB on a disk of 20 to one of 40: 29, whatever of the disk is another's."""
    whole = view()
    action = effects.Grow(key=KEY, row=WORKER, disk="scsi0", size_gb=40)

    assert {"boot": "boot-1", "least": 29 * GIB} == action.before(whole)["growth"]


def test_what_an_earlier_growth_gained_is_not_asked_for_again() -> None:
    """One that timed out is in no config (P04): from 40 GiB to 60 half of 20 is more, whatever the config says."""
    whole = view(root=39, known={f"grown/{WORKER.uid}": 40})
    action = effects.Grow(key=KEY, row=WORKER, disk="scsi0", size_gb=60)

    assert {"boot": "boot-1", "least": 49 * GIB} == action.before(whole)["growth"]


@pytest.mark.parametrize(
    "whole", [view(root=None), view(root=0), view(of_facts="")], ids=["silent", "sizeless", "bootless"]
)
def test_of_a_machine_that_does_not_tell_nothing_is_remembered(whole: View) -> None:
    """Unknown is no size: what cannot be compared afterwards makes nobody reboot."""
    assert {} == growth.remembered(WORKER, whole, 20)


@pytest.mark.parametrize(
    ("whole", "wanted"),
    [
        (view(), "reboot"),
        (view(root=29), "reboot"),
        (view(root=30), "Ready"),
        (view(root=None), "Ready"),
        (view(root=0), "Ready"),
        (view(of_node="boot-2"), "Ready"),
        (view(of_node="boot-2", of_facts="boot-2"), "Ready"),
        (view(known={f"boot/{WORKER.uid}": "boot-1"}), "Ready"),
        (view(known={f"growth/{WORKER.uid}": None}), "Ready"),
    ],
    ids=["short", "nearly", "grown", "silent", "sizeless", "rebooted", "rebooted in vain", "going down", "not ours"],
)
def test_only_the_boot_that_the_growth_fell_into_is_a_reason(whole: View, wanted: str) -> None:
    """One reboot, whatever comes of it, for what cpcd grew and the machine tells."""
    assert wanted == kept(whole)


@pytest.mark.parametrize(
    ("whole", "wanted"),
    [
        (view(), "drain"),
        (view(root=None), "drain"),
        (view(root=30), "Rebooting"),
        (view(known={f"boot/{WORKER.uid}": "boot-1"}), "Rebooting"),
        (view(of_node="boot-2", of_facts="boot-2"), "Rebooting"),
    ],
    ids=["short", "silent", "grown", "off or booting", "back in vain"],
)
def test_a_reboot_that_was_begun_is_carried_to_its_end_and_no_further(whole: View, wanted: str) -> None:
    """A daemon that has just begun knows no facts yet: what was consented to goes on; what is done is not done again."""
    assert wanted == kept(put(whole, ops=[hold(WORKER)]))


@pytest.mark.parametrize(
    ("whole", "verdict"),
    [(view(), Running), (view(root=None), Running), (view(root=30), Done), (view(of_node="boot-2"), Done)],
    ids=["short", "silent", "grown", "rebooted"],
)
def test_the_disruption_ends_when_another_boot_serves(whole: View, verdict: type) -> None:
    """Not before the reboot that it is for, though the machine serves."""
    assert verdict is type(resolve(hold(WORKER), whole, NOW))


def test_a_boot_that_did_not_help_is_said_and_the_machine_is_ready() -> None:
    """What it has of its disk, for a person; nothing while the facts are those of the boot before."""
    words = "; its root file system has 19.0 GiB of the 40 GiB of its disk and did not grow at a boot: look at its partitions and at growpart"

    assert sentence(view(of_node="boot-2", of_facts="boot-2")).endswith(words)
    assert "file system" not in sentence(view(of_node="boot-2"))
    assert "file system" not in sentence(view(root=39, of_node="boot-2", of_facts="boot-2"))


def test_a_cold_start_is_reason_enough_and_the_same_words() -> None:
    """What waits for a cold start anyhow is a boot for the file system too."""
    whole = put(view(), bulk={scopes.vm(WORKER): seen(vm(WORKER, ONE, pending=("memory",)))})

    assert "a cold start is needed for memory=4096" in step_of(whole).why


def step_of(whole: View) -> Hold:
    """Return the reboot that is planned for the worker."""
    one = case(WORKER, whole)
    assert one.vm is not None
    action = step(upkeep(one, one.vm))
    assert isinstance(action, Hold)
    return action


def test_the_cause_names_the_disk_and_not_what_was_measured() -> None:
    """Consent is to one cause: the words of the plan, before anything has grown, are those that are applied."""
    assert (
        "its file system grows into the 20 GiB of scsi0 at a boot" == step_of(view()).why == step_of(view(root=25)).why
    )


@pytest.mark.parametrize(("policy", "free"), [(Consent.AUTO, True), (Consent.APPROVE, False), (Consent.NEVER, False)])
def test_it_asks_as_every_reboot_does(policy: Consent, free: bool) -> None:
    """`changePolicy.Reboot`, and the limit of `maxUnavailable`."""
    wanted = replace(ONE, change_policy={**ONE.change_policy, Risk.REBOOT: policy})
    whole = replace(view(), desired=Desired({NAME: wanted}))
    action = step_of(whole)

    assert free is (consented(action, whole) is None)
    assert {f"disrupt:{NAME}": 1} == action.slots(whole)


@pytest.mark.parametrize(
    ("root", "of_node", "wanted"),
    [(19, "boot-1", "reboot"), (None, "boot-1", "Ready"), (30, "boot-1", "lapse"), (None, "boot-2", "lapse")],
    ids=["short", "silent", "grown", "rebooted"],
)
def test_consent_lapses_when_its_cause_has_ended_and_not_while_nobody_can_see_it(
    root: int | None, of_node: str, wanted: str
) -> None:
    """A machine that could not be asked once has not said that its file system has grown (promise 7)."""
    given = {f"approval/{step_of(view()).request}": 1.0}

    assert wanted == kept(view(root=root, of_node=of_node, known=given))


@pytest.mark.parametrize("verb", ["reset", "reboot"])
def test_consent_to_anything_else_lapses_from_a_machine_that_cannot_be_asked(verb: str) -> None:
    """What that was for can be seen, and is not there."""
    other = step_of(put(view(), bulk={scopes.vm(WORKER): seen(vm(WORKER, ONE, pending=("memory",)))}))
    request = other.request if verb == "reboot" else effects.ResetVm(key=KEY, row=WORKER).request

    assert "lapse" == kept(view(root=None, known={f"approval/{request}": 1.0}))


def test_consent_to_the_reboot_of_what_is_to_be_replaced_lapses_unseen() -> None:
    """Its successor comes, whatever its file system may have."""
    now = cluster(group(CP, 3), group(WORKERS, 2, in_place="Never", machine=spec(bridge="vmbr1")))
    whole = view(root=None, known={f"approval/{step_of(view()).request}": 1.0})

    assert "lapse" == kept(replace(whole, desired=Desired({NAME: now})))


def test_what_is_to_be_replaced_is_not_rebooted_for_it() -> None:
    """`rollout.inPlace: Never`, or another template: its successor begins with the whole disk."""
    now = cluster(group(CP, 3), group(WORKERS, 2, in_place="Never", machine=spec(bridge="vmbr1")))

    assert "Ready" == kept(replace(view(), desired=Desired({NAME: now})))


@pytest.mark.parametrize(
    ("whole", "asked"),
    [
        (REST, False),
        (
            replace(
                REST, desired=Desired({NAME: cluster(group(CP, 3), group(WORKERS, 2, machine=spec(boot_disk_gb=40)))})
            ),
            True,
        ),
        (view(), True),
        (view(root=None), True),
        (view(of_node="boot-2"), True),
        (view(of_node="boot-2", of_facts="boot-2"), False),
        (view(root=30), False),
    ],
    ids=["at rest", "before a growth", "short", "silent", "rebooted", "in vain", "grown"],
)
def test_a_member_is_asked_only_where_its_file_system_decides(whole: View, asked: bool) -> None:
    """Before its disk grows, after, and once after the reboot: else every ten minutes is enough."""
    assert asked is (scopes.guest(WORKER) in machine.reads(KEY, whole))


def test_a_machine_that_is_forgotten_leaves_no_growth() -> None:
    """Facts go with their row."""
    left = view().with_ledger(effects.Forget(key=KEY, row=WORKER).changes(view())).facts

    assert not [name for name in left if WORKER.uid in name.split("/")]
