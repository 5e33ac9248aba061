"""The plan to its end: what is printed is complete, ordered, ends at rest, and never spends quorum on the way."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.model.desired import Addon, Blast, Cluster, Consent, Risk, TemplateRef
from cpcd.model.errors import Code
from cpcd.model.keys import Key, Kind, OpId, Role
from cpcd.model.ledger import Ledger, Machine
from cpcd.model.seen import Vm
from cpcd.model.view import View
from cpcd.plan import effects, fields, scopes
from cpcd.plan.case import machine_key
from cpcd.plan.fold import Fold, Held, Step, fold
from cpcd.plan.guards import FORESEEN, GUARDS
from cpcd.plan.resolve import resolve
from cpcd.reconcilers import RECONCILERS
from tests.unit.plan import build
from tests.unit.plan.build import (
    AUTO,
    CP,
    NAME,
    NOW,
    SITE,
    WORKERS,
    built,
    cluster,
    group,
    hold,
    of,
    op,
    put,
    row,
    seen,
    spec,
    unknown,
    view,
    vm,
)  # fmt: skip

ONE = cluster(group(CP, 3), group(WORKERS, 2))
BIG = spec(memory_mib=8192)
NEW = spec(template=TemplateRef("ubuntu", vmid=9001))
CREATE = ["clone", "configure", "resize", "start", "pin-host-key", "prepare"]
REBOOT = ["reboot", "drain", "shutdown", "start", "uncordon"]


COMING = row("u9", WORKERS, 9, index=3, started=True, created=NOW)


def printed(whole: View, *, guards: Sequence[Any] = GUARDS) -> tuple[Step, ...]:
    """Return all remaining steps."""
    return fold(whole, reconcilers=RECONCILERS, guards=guards, resolve=resolve)


def by_name(steps: Sequence[Step], kind: Kind = Kind.MACHINE) -> dict[str, list[str]]:
    """Return the verbs of each object of a kind, in order."""
    found: dict[str, list[str]] = {}
    for one in steps:
        if one.key.kind is kind:
            found.setdefault(one.name, []).append(one.verb)
    return found


def walked(whole: View) -> Iterator[tuple[Step, View]]:
    """Yield each step with the view as it is when that has succeeded, just before the next one."""
    folding = Fold(whole, reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve)
    steps = folding.steps()
    taken = next(steps, None)
    while taken is not None:
        following = next(steps, None)
        yield taken, folding.view
        taken = following


def end(whole: View) -> View:
    """Return the view in which nothing is left to do."""
    folding = Fold(whole, reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve)
    for _ in folding.steps():
        pass
    return folding.view


def nothing(wanted: Cluster = ONE) -> View:
    """Return an empty Proxmox, with the places that are looked at known to be empty."""
    return view(wanted, bulk={scopes.kubeconfig(NAME): seen(None), scopes.csrs(NAME): seen(())})


def test_what_cannot_be_read_is_held_with_why() -> None:
    """It has no step, and is no rest either."""
    addon = Addon("hello", "full", (), "d1")
    wanted = replace(ONE, addons=(addon,))
    lost = put(built(wanted), bulk={scopes.addon(NAME, "hello"): replace(unknown(), why="403 Forbidden")})
    folding = Fold(lost, reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve)

    key = Key(NAME, Kind.ADDON, "hello")

    assert () == folding.all_steps()
    assert folding.held[key] == Held(key, "hello", "ApiUnavailable", "addon hello cannot be read now: 403 Forbidden")


@pytest.mark.parametrize(
    ("silent", "wanted"), [(301, ["reset", "join"]), (299, [])], ids=["past its time", "within its time"]
)
def test_a_reset_that_a_silent_machine_waits_for_is_in_the_plan(silent: float, wanted: list[str]) -> None:
    """With its consent and what comes behind it; a job that may still be answered for is taken as come."""
    careful = replace(ONE, change_policy={**AUTO, Risk.REBOOT: Consent.APPROVE})
    rest = built(careful)
    one = replace(of(rest, "u4"), joined=False)
    job, since = op(one, "join", age=4000), {f"{machine_key(one)}/GuestSilent": NOW - silent}
    away = {
        scopes.guestop(one, job.id): unknown(),
        scopes.node(NAME, one.name): seen(None),
        scopes.guest(one): seen(build.facts(one)),
    }
    whole = put(rest, one, ops=[job], bulk=away, since=since)
    steps = printed(whole)

    consent = effects.ResetVm(key=job.key, row=one).request
    assert wanted == by_name(steps).get(one.name, [])
    assert [consent, ""][: len(wanted)] == [
        step.consent for step in steps if step.name == one.name and step.key.kind is Kind.MACHINE
    ]


def test_a_cluster_at_rest_has_no_steps() -> None:
    """No drift, no work."""
    assert () == printed(built(ONE))


def test_from_nothing_every_machine_is_made_and_joined() -> None:
    """Three control planes and two workers; the first initialises, the others join."""
    steps = printed(nothing())

    wanted = {name: [*CREATE, "join"] for name in ("lab-cp-2", "lab-cp-3", "lab-general-1", "lab-general-2")}
    assert {"lab-cp-1": [*CREATE, "init"], **wanted} == by_name(steps)
    assert {NAME: ["add-machine", "add-machine", "elect-init", *["add-machine"] * 3]} == by_name(steps, Kind.CLUSTER)
    assert {"admin": ["write-kubeconfig"]} == by_name(steps, Kind.KUBECONFIG)
    assert {name: ["label", "approve-csr"] for name in ("lab-cp-1", *wanted)} == by_name(steps, Kind.NODES)


def test_from_nothing_the_fold_ends_at_rest() -> None:
    """Every machine joined, no op open, and the folded world needs no step more."""
    last = end(nothing())

    assert ([True] * 5, {}) == ([one.joined for one in last.rows(NAME)], dict(last.ops))
    assert () == printed(last)


def test_nothing_blocked_and_nothing_disruptive_is_in_a_first_build() -> None:
    """No consent is asked, no quorum is spent."""
    steps = printed(nothing())

    assert {("", "", "InPlace")} == {(one.wait, one.disrupts, one.risk) for one in steps}


def test_each_machine_is_spread_to_its_own_failure_domain() -> None:
    """Three control planes on three nodes."""
    last = end(nothing())

    assert ["pve1", "pve2", "pve3"] == [one.node for one in last.rows(NAME) if one.role is Role.CONTROL_PLANE]


def test_a_memory_change_reboots_one_after_the_other_and_replaces_nobody() -> None:
    """Written at once everywhere, taken into effect under a hold each."""
    now = cluster(group(CP, 3, machine=BIG), group(WORKERS, 2, machine=BIG))

    steps = printed(built(ONE, now=now))

    assert {one.name: ["configure", *REBOOT] for one in built(ONE).rows(NAME)} == by_name(steps)
    assert {"configure lab-cp-1: memory 8192 MiB"} == {
        one.sentence for one in steps if one.name == "lab-cp-1" and one.verb == "configure"
    }
    control = [one for one in steps if one.verb == "reboot" and one.disrupts == "control-plane"]
    assert [("Reboot", "2 of 3 voters left")] * 3 == [(one.risk, one.quorum) for one in control]


def test_a_single_control_planes_reboot_is_announced_as_an_outage_after_a_snapshot() -> None:
    """Promise 5: with one control plane it cannot be hidden."""
    single = cluster(group(CP, 1))

    steps = printed(built(single, now=cluster(group(CP, 1, machine=BIG))))

    assert {"lab-cp-1": ["configure", "etcd-snapshot", *REBOOT]} == by_name(steps)
    assert ["0 of 1 voters left, an outage of the API"] == [one.quorum for one in steps if one.verb == "reboot"]


def test_a_scale_up_only_adds() -> None:
    """Two more workers, nothing else is touched."""
    steps = printed(built(ONE, now=cluster(group(CP, 3), group(WORKERS, 4))))

    assert {name: [*CREATE, "join"] for name in ("lab-general-3", "lab-general-4")} == by_name(steps)
    assert {NAME: ["add-machine"] * 2} == by_name(steps, Kind.CLUSTER)


DELETE = ["drain", "stop", "delete-node", "destroy", "forget"]


def test_a_scale_down_takes_leave_of_one_after_the_other() -> None:
    """Drained before off, off before its Node goes, and all that before the next one."""
    steps = printed(built(cluster(group(CP, 1), group(WORKERS, 3)), now=cluster(group(CP, 1), group(WORKERS, 1))))

    assert {"lab-general-2": DELETE, "lab-general-3": DELETE} == by_name(steps)
    order = [
        (one.verb, one.sentence.split()[-1 if one.verb == "delete-node" else 1].rstrip(":"))
        for one in steps
        if one.verb in {"retire", "delete-node"}
    ]
    names = ["lab-general-3", "lab-general-2"]
    assert [(verb, name) for name in names for verb in ("retire", "delete-node")] == order
    assert {"Destroy"} == {one.risk for one in steps if one.verb == "retire"}


def test_control_planes_scale_from_one_to_three_and_back() -> None:
    """1 → 3 → 1, members leaving before their machines."""
    grown = end(built(cluster(group(CP, 1)), now=cluster(group(CP, 3))))
    back = replace(grown, desired=built(cluster(group(CP, 1))).desired)

    steps = printed(back)

    leave = ["drain", "etcd-remove", "stop", "delete-node", "destroy", "forget"]
    assert 3 == len(grown.known(scopes.etcd(NAME)).voters)
    assert {"lab-cp-2": leave, "lab-cp-3": leave} == by_name(steps)
    assert ["lab-cp-1"] == [one.name for one in end(back).rows(NAME)]
    assert 1 == len(end(back).known(scopes.etcd(NAME)).voters)


def test_a_new_template_replaces_control_planes_one_by_one_the_first_included() -> None:
    """Surge, join, then retire: never fewer than three voters, never two on their way out."""
    now = cluster(group(CP, 3, machine=NEW), group(WORKERS, 2))
    whole = built(ONE, now=now)

    history = list(walked(whole))

    voters = [len(seen_.known(scopes.etcd(NAME)).voters) for _, seen_ in history]
    going = [sum(not one.wanted for one in seen_.rows(NAME)) for _, seen_ in history]
    assert (3, 4, 1) == (min(voters), max(voters), max(going))
    retired = [one.sentence.split()[1].rstrip(":") for one, _ in history if one.verb == "retire"]
    assert ["lab-cp-1", "lab-cp-2", "lab-cp-3"] == retired
    last = history[-1][1]
    assert set() == {"u1", "u2", "u3"} & set(last.machines)
    assert (5, ()) == (len(last.machines), printed(last))


@pytest.mark.parametrize("surge", [1, 2])
def test_a_new_template_rolls_workers_within_their_surge(surge: int) -> None:
    """As many more as allowed, and nothing is left over at the end."""
    before = cluster(group(CP, 1), group(WORKERS, 3))
    now = cluster(group(CP, 1), group(WORKERS, 3, machine=NEW, max_surge=surge))

    history = list(walked(built(before, now=now)))

    counts = [sum(one.group == WORKERS and one.wanted for one in seen_.rows(NAME)) for _, seen_ in history]
    assert (3, 3 + surge, 3) == (min(counts), max(counts), counts[-1])
    verbs = [one.verb for one, _ in history]
    assert (3, 3) == (verbs.count("add-machine"), verbs.count("retire"))


ASKS = {**build.AUTO, Risk.DESTROY: Consent.APPROVE}


def asked(steps: Sequence[Step]) -> list[str]:
    """Return the ids of consent that steps wait for, in order."""
    return [one.wait.split("`")[1].split()[-1] for one in steps if "`cpcd approve" in one.wait]


def request(uid: str, workers: int) -> str:
    """Return the id of consent to a scale-down's retirement."""
    return f"{NAME}/retire/{effects.about(of(FOUR, uid), f'general is scaled to {workers}')}"


FOUR = built(cluster(group(CP, 3), group(WORKERS, 4)))


def test_what_waits_for_consent_is_printed_with_the_reason_and_what_is_behind_it() -> None:
    """All who are to go can be consented to at once, and nothing behind is taken for what is done by itself."""
    now = replace(cluster(group(CP, 3), group(WORKERS, 1)), change_policy=ASKS)

    steps = printed(replace(FOUR, desired=built(ONE, now=now).desired))

    assert [request(uid, 1) for uid in ("u7", "u6", "u5")] == asked(steps)
    assert {f"lab-general-{n}": DELETE for n in (2, 3, 4)} == by_name(steps)
    assert {"after approval"} == {one.wait for one in steps if one.verb != "retire"}


def test_what_is_done_by_itself_comes_first_and_unmarked() -> None:
    """The memory is written everywhere and taken into effect, whoever may have to go afterwards."""
    now = replace(cluster(group(CP, 3, machine=BIG), group(WORKERS, 3, machine=BIG)), change_policy=ASKS)

    steps = printed(replace(FOUR, desired=built(ONE, now=now).desired))

    first = next(number for number, one in enumerate(steps) if one.wait)
    assert {one.name: ["configure", *REBOOT] for one in FOUR.rows(NAME)} == by_name(steps[:first])
    assert [request("u7", 3), *["after approval"] * 5] == [
        asked([one])[0] if "`" in one.wait else one.wait for one in steps[first:]
    ]


@pytest.mark.parametrize("policy", [build.AUTO, ASKS])
def test_the_hour_of_the_blast_radius_is_folded_over(policy: dict[Risk, Consent]) -> None:
    """Nothing is destroyed sooner; but who goes in the next hour is told, and can be consented to, now."""
    blast = Blast(max_unavailable=1, max_destroys_per_hour=1, max_destroy_percent=100)
    now = replace(cluster(group(CP, 3), group(WORKERS, 1)), change_policy=policy, blast=blast)

    steps = printed(replace(FOUR, desired=built(ONE, now=now).desired))

    retirements = [one for one in steps if one.verb == "retire"]
    assert [f"retire lab-general-{n}" for n in (4, 3, 2)] == [one.sentence.split(":")[0] for one in retirements]
    late = ["were destroyed within the hour" in one.wait for one in retirements]
    assert [False, True, True] == late
    assert {f"lab-general-{n}": DELETE for n in (2, 3, 4)} == by_name(steps)
    assert ([request(uid, 1) for uid in ("u7", "u6", "u5")] if policy is ASKS else []) == asked(steps)


def test_what_waits_for_consent_comes_before_what_waits_for_the_hour() -> None:
    """A yes is given in a minute: what is behind it is not told as being behind the blast radius."""
    blast = Blast(max_unavailable=1, max_destroys_per_hour=1, max_destroy_percent=100)
    policy = {**build.AUTO, Risk.REBOOT: Consent.APPROVE}
    now = cluster(group(CP, 3, machine=BIG), group(WORKERS, 1), change_policy=policy, blast=blast)

    steps = printed(replace(FOUR, desired=built(ONE, now=now).desired))

    waits = [
        "hour" if "hour" in one.wait else "consent" for one in steps if one.verb in {"reboot", "retire"} and one.wait
    ]
    assert ["consent"] * 3 + ["hour"] * 2 == waits
    assert {"after approval"} == {one.wait for one in steps if one.verb == "shutdown"}


def test_consent_changes_nothing_but_when() -> None:
    """The steps behind it are those that the same edit has where it is given in the file, in the same order."""
    wanted = cluster(group(CP, 3, machine=NEW), group(WORKERS, 2, machine=NEW))
    free, bound = (
        replace(wanted, change_policy=policy) for policy in (build.AUTO, {**ASKS, Risk.REPLACE: Consent.APPROVE})
    )

    taken, waiting = (printed(replace(FOUR, desired=built(ONE, now=now).desired)) for now in (free, bound))

    assert [(one.name, one.sentence) for one in taken] == [(one.name, one.sentence) for one in waiting]
    assert {""} == {one.wait for one in taken}


def test_what_the_policy_never_does_has_nothing_behind_it() -> None:
    """It is refused, and what would follow is no plan."""
    policy = {**build.AUTO, Risk.DESTROY: Consent.NEVER}
    now = replace(cluster(group(CP, 3), group(WORKERS, 1)), change_policy=policy)

    steps = printed(replace(FOUR, desired=built(ONE, now=now).desired))

    assert [("retire", "changePolicy.Destroy is Never")] == [(one.verb, one.wait) for one in steps]


def test_a_rollout_asks_before_anything_is_made_for_it() -> None:
    """It is one consent for the machine that is added and the one that goes, whose id is told with the latter."""
    wanted = cluster(
        group(CP, 3), group(WORKERS, 2, machine=NEW), change_policy={**ASKS, Risk.REPLACE: Consent.APPROVE}
    )

    steps = printed(built(ONE, now=wanted))

    order = ["add-machine", "retire"] * 2
    why = f"it is outdated and replaced, by configuration {fields.revision(NEW)[:8]}"
    ids = [f"{NAME}/retire/{effects.about(of(built(ONE), uid), why)}" for uid in ("u4", "u5")]
    assert order == [one.verb for one in steps if one.verb in order]
    assert ids == asked(steps)
    assert [ids[0], ids[0], ids[1], ids[1]] == [one.consent for one in steps if one.verb in order]
    assert [f"waits for the consent to {one.sentence}" for one in steps if one.verb == "retire"] == [
        one.wait for one in steps if one.verb == "add-machine"
    ]
    assert all(one.wait for one in steps)


def test_a_rollout_that_the_policy_never_makes_adds_nothing() -> None:
    """Neither a machine nor a step behind it."""
    wanted = cluster(
        group(CP, 3, machine=NEW), group(WORKERS, 3, machine=NEW), change_policy={**ASKS, Risk.REPLACE: Consent.NEVER}
    )

    steps = printed(built(cluster(group(CP, 3), group(WORKERS, 3)), now=wanted))

    assert [("add-machine", True)] == [(one.verb, one.wait.endswith("changePolicy.Replace is Never")) for one in steps]


def test_a_paused_clusters_plan_shows_what_would_be_done() -> None:
    """Nothing is taken, yet everything is told."""
    now = replace(cluster(group(CP, 3), group(WORKERS, 3)), paused=True)
    whole = built(ONE, now=now)

    blocked, told = printed(whole), printed(whole, guards=FORESEEN)

    assert ["add-machine"] == [one.verb for one in blocked]
    assert blocked[0].wait.startswith(f"{NAME} is paused")
    assert {"lab-general-3": [*CREATE, "join"]} == by_name(told)


def test_a_lost_vm_is_replaced_without_a_destroy() -> None:
    """It is gone already."""
    rest = built(ONE)
    lost = of(rest, "u4")
    whole = put(rest, bulk={scopes.vm(lost): seen(Vm(exists=False))})

    names = by_name(printed(whole))

    assert (["delete-node", "forget"], [*CREATE, "join"]) == (names["lab-general-1"], names["lab-general-3"])


def test_a_plan_made_in_the_middle_of_things_goes_on_from_there() -> None:
    """What is on its way is taken as succeeded."""
    one = row("u9", WORKERS, 3, index=3, created=NOW)
    whole = put(
        built(ONE, now=cluster(group(CP, 3), group(WORKERS, 3))), one, ops=[op(one, "clone", handle="UPID:1")],
        bulk={scopes.vm(one): seen(Vm(exists=False)), scopes.node(NAME, one.name): seen(None)},
    )  # fmt: skip

    assert [*CREATE[1:], "join"] == by_name(printed(whole))["lab-general-3"]


@pytest.mark.parametrize(
    ("found", "more"),
    [
        (vm(COMING, host_key=""), {}),
        (vm(COMING, lock="backup"), {}),
        (vm(COMING), {"inside": unknown()}),
        (vm(COMING), {"inside": seen(build.facts(COMING, cloud_init="running", prepared=""))}),
    ],
    ids=["boots", "locked", "silent", "cloud-init"],
)
def test_what_a_machine_waits_for_just_now_is_taken_as_come(found: Vm, more: dict[str, Any]) -> None:
    """So that the plan of a machine on its way goes to the end, and nothing is held at it."""
    rest = built(ONE, now=cluster(group(CP, 3), group(WORKERS, 3)))
    inside = more.get("inside", seen(build.facts(COMING, prepared="")))
    bulk = {scopes.vm(COMING): seen(found), scopes.guest(COMING): inside, scopes.node(NAME, COMING.name): seen(None)}
    folding = Fold(put(rest, COMING, bulk=bulk), reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve)

    assert ["pin-host-key", "prepare", "join"] == by_name(folding.all_steps())[COMING.name]
    assert {} == folding.held


def test_what_waits_for_what_nobody_can_foresee_is_held_and_the_plan_ends() -> None:
    """Its pods are taken as gone already; that its Node cannot be read is no step of anybody's."""
    rest = built(ONE)
    one = of(rest, "u4")
    silent = {scopes.node(NAME, one.name): unknown(), scopes.vm(one): seen(vm(one, ONE, pending=("memory",)))}
    whole = put(rest, ops=[hold(one)], bulk=silent)
    folding = Fold(whole, reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve)

    assert () == folding.all_steps()
    assert (one.name, "Draining", "") == held(folding, one)


def held(folding: Fold, one: Machine) -> tuple[str, str, str]:
    """Return how a machine is held: its name, the reason, and the code of a refusal."""
    found = folding.held[machine_key(one)]
    return found.name, found.reason, found.code


def test_what_is_refused_is_held_with_its_code() -> None:
    """For a person to mend; a wait has none."""
    whole = built(ONE, now=cluster(group(CP, 3), group(WORKERS, 2, machine=spec(boot_disk_gb=10))))
    folding = Fold(whole, reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve)

    assert () == folding.all_steps()
    assert ("lab-general-1", "BootDiskLarger", str(Code.CONFIG)) == held(folding, of(whole, "u4"))


def test_who_comes_right_in_the_course_of_the_plan_is_not_held() -> None:
    """From nothing every machine but one waits at first for the control plane."""
    folding = Fold(nothing(), reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve)

    assert folding.all_steps()
    assert {} == folding.held


def test_an_open_reboot_is_told_to_its_end() -> None:
    """A hold stays until the machine serves again."""
    rest = built(ONE)
    held = of(rest, "u4")
    whole = put(rest, ops=[hold(held)], bulk={scopes.vm(held): seen(vm(held, ONE, pending=("memory",)))})

    assert {"lab-general-1": REBOOT[1:]} == by_name(printed(whole))


def test_a_silent_proxmox_promises_nothing() -> None:
    """What is not known is not planned over."""
    whole = put(built(ONE, now=cluster(group(CP, 3), group(WORKERS, 4))), bulk={scopes.quorum(SITE): unknown()})

    assert () == printed(whole)


@pytest.mark.parametrize("taken", range(0, 30, 3))
def test_the_rest_of_a_plan_is_the_plan_of_the_rest(taken: int) -> None:
    """Planned again in the middle, each key's remaining steps are those that were printed first."""
    now = cluster(group(CP, 3, machine=BIG), group(WORKERS, 2, machine=BIG))
    history = list(walked(built(ONE, now=now)))

    again = printed(_real(history[taken][1]))

    assert by_name([one for one, _ in history[taken + 1 :]]) == by_name(again)


def _real(whole: View) -> View:
    """Return the view with ids that a journal would hold: a fold's own begin at one again."""
    ops = {f"real-{name}": replace(one, id=OpId(f"real-{name}")) for name, one in whole.ops.items()}
    return replace(whole, ledger=Ledger(whole.machines, {one.id: one for one in ops.values()}, whole.facts))


EDITS = st.fixed_dictionaries(
    {
        "masters": st.sampled_from((1, 3)), "workers": st.integers(0, 3), "surge": st.integers(1, 2),
        "machine": st.sampled_from((spec(), BIG, NEW, spec(bridge="vmbr1", cores=4), spec(boot_disk_gb=40))),
        "in_place": st.sampled_from(("Preferred", "Never")),
    }
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(before=st.sampled_from((1, 3)), edit=EDITS)
def test_every_edit_folds_to_rest_with_quorum_kept_at_each_step(before: int, edit: dict[str, Any]) -> None:
    """However the file changes: right machines, no open op, a majority and one control-plane disruption at most."""
    start = cluster(group(CP, before), group(WORKERS, 2))
    machine = {"machine": edit["machine"], "in_place": edit["in_place"]}
    now = cluster(
        group(CP, edit["masters"], **machine), group(WORKERS, edit["workers"], max_surge=edit["surge"], **machine)
    )

    edited = built(start, now=now)
    last = edited
    for _, last in walked(edited):
        disrupted = [one for one in last.ops.values() if one.disrupts is Role.CONTROL_PLANE]
        assert len(disrupted) <= 1
        assert last.known(scopes.etcd(NAME)).voters

    rows = last.rows(NAME)
    assert (edit["masters"], edit["workers"]) == (
        sum(one.group == CP for one in rows), sum(one.group == WORKERS for one in rows),
    )  # fmt: skip
    assert (True, {}, edit["masters"]) == (
        all(one.joined and one.wanted for one in rows), dict(last.ops), len(last.known(scopes.etcd(NAME)).voters),
    )  # fmt: skip
