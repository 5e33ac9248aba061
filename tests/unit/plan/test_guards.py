"""What may not happen: quorum, one disruption at a time, consent, blast radius, and hands off what is busy."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.desired import Blast, Cluster, Consent, Remedy, Risk, Unhealthy
from cpcd.model.errors import Code
from cpcd.model.keys import Role, Uid
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Action, Refusal, Wait
from cpcd.model.seen import Api, Members
from cpcd.model.view import View
from cpcd.plan import effects, guards, scopes
from cpcd.plan.case import machine_key
from cpcd.plan.fleet import AddMachine, RetireMachine
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
    members,
    node,
    of,
    op,
    put,
    row,
    seen,
    unknown,
    view,
)  # fmt: skip

ONE = cluster(group(CP, 3), group(WORKERS, 5))
REST = built(ONE)
MASTERS = [one for one in REST.rows(NAME) if one.role is Role.CONTROL_PLANE]
WORKER = of(REST, "u4")
OTHER = of(REST, "u5")
ETCD = scopes.etcd(NAME)


def reboot(one: Machine) -> effects.Hold:
    """Return the announcement of a reboot."""
    return effects.Hold(key=machine_key(one), row=one, why="memory")


def retire(one: Machine, kind: Risk = Risk.DESTROY, remedy: Remedy | None = None, limit: int = 1) -> RetireMachine:
    """Return a retirement as the cluster's key decides it."""
    return RetireMachine(key=KEY, row=one, why="scaled", kind=kind, remedy=remedy, limit=limit)


def reset(one: Machine) -> effects.ResetVm:
    """Return a reset of the VM."""
    return effects.ResetVm(key=machine_key(one), row=one)


def remove(one: Machine, through: Machine) -> effects.RemoveMember:
    """Return the removal of a row's etcd member."""
    return effects.RemoveMember(key=machine_key(one), row=one, peer=through, member=f"m-{one.uid}")


def judged(action: Action, whole: View) -> str:
    """Return the first objection's reason, empty when the action may begin."""
    verdicts = (guard(action, whole) for guard in guards.GUARDS)
    objection = next((verdict for verdict in verdicts if verdict is not None), None)
    return objection.reason if objection else ""


def test_at_rest_everything_may_begin() -> None:
    """The guards forbid by evidence, not by habit."""
    actions = [reboot(WORKER), reboot(MASTERS[0]), retire(WORKER), reset(WORKER), remove(MASTERS[0], MASTERS[1])]

    assert [""] * 5 == [judged(action, REST) for action in actions]


def _worlds() -> list[tuple[int, frozenset[int], int]]:
    """Return every (voters, healthy ones, target) for one to five voters."""
    return [
        (size, frozenset(healthy), target)
        for size in range(1, 6)
        for count in range(size + 1)
        for healthy in itertools.combinations(range(size), count)
        for target in range(size)
    ]


def _control_planes(size: int) -> list[Machine]:
    return [member_row(f"m{n}", CP, n + 1) for n in range(size)]


@pytest.mark.parametrize("what", ["reboot", "retire", "remove", "reset", "shutdown"])
def test_no_disruption_ever_leaves_less_than_a_majority_of_healthy_voters(what: str) -> None:
    """Exhaustively: counting the target as down, against the voters there will then be (promise 5)."""
    for size, healthy, target in _worlds():
        rows = _control_planes(size)
        sick = [one for n, one in enumerate(rows) if n not in healthy]
        bulk = {ETCD: seen(members(*rows, sick=sick))}
        whole = view(cluster(group(CP, size)), rows=rows, known=identity(), bulk=bulk)
        one, peer = rows[target], rows[(target + 1) % size]
        action: Any = {
            "reboot": reboot(one), "retire": retire(one), "remove": remove(one, peer), "reset": reset(one),
            "shutdown": effects.Shutdown(key=machine_key(one), row=one),
        }[what]  # fmt: skip
        removal = what in {"retire", "remove"}
        left, future = len(healthy - {target}), size - removal
        announced = size == 1 and not removal
        if guards.etcd_quorum(action, whole) is None:
            assert announced or left > future // 2, (size, healthy, target)
            assert not (set(range(size)) - healthy - {target}), "only the unhealthy member may be the target"
        else:
            assert not announced


def test_the_guard_lets_through_what_promise_five_allows() -> None:
    """Three of three: any one; two of three: the unhealthy one; two voters: removal alone."""
    three, two = _control_planes(3), _control_planes(2)
    ready = seen({one.name: node(one) for one in three})
    ill = seen(members(*three, sick=[three[2]]))
    whole = view(ONE, rows=three, known=identity(), bulk={ETCD: ill, scopes.nodes(NAME): ready})
    pair = view(ONE, rows=two, known=identity(), bulk={ETCD: seen(members(*two))})

    verdicts = [
        judged(reboot(three[2]), whole), judged(reboot(three[0]), whole), judged(retire(two[0]), pair),
        judged(reboot(two[0]), pair),
    ]  # fmt: skip
    assert ["", "EtcdUnhealthy", "", "QuorumKept"] == verdicts


@pytest.mark.parametrize("size", range(1, 6))
def test_quorum_left_is_a_majority_of_the_future_voters(size: int) -> None:
    """The function that the printed plan uses too, against the plain arithmetic."""
    rows = _control_planes(size)
    for count in range(size + 1):
        listed = members(*rows, sick=rows[count:])
        for target, removal in itertools.product(range(size), (True, False)):
            left = count - (target < count)
            future = size - removal

            wanted = future > 0 and left >= future // 2 + 1
            assert wanted == guards.quorum_left(listed, rows[target].address, removal=removal)


def test_learners_are_no_voters() -> None:
    """A learner neither helps nor needs quorum."""
    rows = _control_planes(3)
    listed = members(*rows)
    learning = Members((*listed.members[:2], replace(listed.members[2], learner=True)), listed.leader)
    whole = view(ONE, rows=rows, known=identity(), bulk={ETCD: seen(learning)})

    assert ("QuorumKept", "") == (judged(reboot(rows[0]), whole), judged(retire(rows[2]), whole))


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        (reboot(MASTERS[0]), "EtcdUnknown"),
        (retire(MASTERS[0]), "EtcdUnknown"),
        (reset(MASTERS[0]), "EtcdUnknown"),
        (reboot(WORKER), ""),
        (retire(WORKER), ""),
    ],
)
def test_members_that_cannot_be_listed_stop_control_plane_disruptions_alone(action: Action, wanted: str) -> None:
    """Unknown is not healthy; workers have no voter."""
    assert wanted == judged(action, put(REST, bulk={ETCD: unknown()}))


@pytest.mark.parametrize("action", [reboot(MASTERS[0]), reset(MASTERS[0])])
def test_why_members_cannot_be_listed_is_said(action: Action) -> None:
    """A refused key or another host key is for a person to mend (`failures.md` S02, S07)."""
    dumb = put(REST, bulk={ETCD: unknown("the key is refused for root")})
    waits = [verdict for guard in guards.GUARDS if isinstance(verdict := guard(action, dumb), Wait)]

    assert [one.sentence.rpartition(", ")[2] for one in waits] == [
        "etcd's members cannot be listed now: the key is refused for root"
    ]


def test_the_only_control_plane_may_be_reset_although_nobody_answers_for_etcd() -> None:
    """It is the one that would answer."""
    one = cluster(group(CP, 1), group(WORKERS, 3))
    rest = built(one)
    dead = put(rest, bulk={ETCD: unknown()})

    assert "" == judged(reset(of(rest, "u1")), dead)


def test_a_machine_that_never_joined_spends_no_quorum() -> None:
    """It may go while members cannot be listed."""
    young = row("u9", CP, 9)

    assert "" == judged(retire(young), put(REST, young, bulk={ETCD: unknown()}))


@pytest.mark.parametrize("verb", ["reboot", "retire"])
def test_one_control_plane_disruption_at_a_time(verb: str) -> None:
    """Whoever asks second waits for the slot of the first."""
    whole = put(REST, ops=[hold(MASTERS[1], verb)])

    verdict = guards.permits(reboot(MASTERS[0]), whole)

    assert verdict is not None
    assert ("Queued", (f"slot:control-plane:{NAME}",)) == (verdict.reason, verdict.on)
    assert "Queued" == judged(retire(MASTERS[0]), whole)


def test_a_join_of_a_control_plane_waits_for_an_open_disruption() -> None:
    """And the other way round: both take the one slot."""
    young = row("u9", CP, 9)
    join = effects.Join(key=machine_key(young), row=young, peer=MASTERS[0], cluster=ONE)
    joining = op(young, "join", slots=tuple(join.slots(REST)))

    assert "Queued" == judged(join, put(REST, young, ops=[hold(MASTERS[1])]))
    assert "Queued" == judged(reboot(MASTERS[0]), put(REST, young, ops=[joining]))


def test_two_control_planes_never_join_at_once() -> None:
    """Etcd takes one learner at a time (`failures.md` K10); workers join beside it."""
    young, younger = row("u9", CP, 9), row("u10", CP, 10)
    joins = [effects.Join(key=machine_key(one), row=one, peer=MASTERS[0], cluster=ONE) for one in (young, younger)]
    under_way = op(young, "join", slots=tuple(joins[0].slots(REST)))
    worker = row("u11", WORKERS, 11)
    beside = effects.Join(key=machine_key(worker), row=worker, peer=MASTERS[0], cluster=ONE)

    whole = put(REST, young, younger, worker, ops=[under_way])
    assert ["Queued", ""] == [judged(joins[1], whole), judged(beside, whole)]


@pytest.mark.parametrize(("limit", "wanted"), [(1, "Queued"), (2, "")])
def test_as_many_workers_as_the_limit_are_disrupted_at_once(limit: int, wanted: str) -> None:
    """`maxUnavailable`, counted in open holds."""
    assert wanted == judged(retire(OTHER, limit=limit), put(REST, ops=[hold(WORKER)]))


@pytest.mark.parametrize(("others", "wanted"), [(1, ""), (2, "Queued")])
def test_two_clones_of_a_template_node_at_once(others: int, wanted: str) -> None:
    """A slot is counted in open ops."""
    young = [row(f"y{n}", WORKERS, 20 + n) for n in range(3)]
    slots = (f"clone:{SITE}/pve1",)
    ops = [op(one, "clone", id_=f"op-{one.uid}", slots=slots) for one in young[:others]]
    clone = effects.Clone(key=machine_key(young[2]), row=young[2], pool="", full=False)

    assert wanted == judged(clone, put(REST, *young, ops=ops))


@pytest.mark.parametrize(("others", "wanted"), [(effects.PLAYBOOKS - 1, ""), (effects.PLAYBOOKS, "Queued")])
def test_only_so_many_playbooks_run_at_once(others: int, wanted: str) -> None:
    """Each is a hundred megabytes in the daemon's own unit, which is ended as a whole when it has no more."""
    young = [row(f"y{n}", WORKERS, 20 + n) for n in range(others + 1)]
    given = {"profile": "p", "version": "1.34.0"}
    prepares = [effects.Prepare(key=machine_key(one), row=one, given=given) for one in young]
    slots = tuple(prepares[0].slots(REST))
    ops = [op(one, "prepare", id_=f"op-{one.uid}", slots=slots) for one in young[:others]]

    assert wanted == judged(prepares[-1], put(REST, *young, ops=ops))


def test_nothing_touches_the_target_of_somebody_elses_operation() -> None:
    """Two rows that name one VM: the second hand waits."""
    double = replace(WORKER, uid=Uid("u99"))
    whole = put(REST, ops=[op(WORKER, "start")])

    assert "Busy" == judged(effects.Start(key=machine_key(double), row=double), whole)
    assert "" == judged(effects.Start(key=machine_key(WORKER), row=WORKER), whole)


@pytest.mark.parametrize("one", [WORKER, MASTERS[0]])
def test_a_machine_that_does_not_come_back_from_its_reboot_can_be_retired(one: Machine) -> None:
    """Its own open hold is no reason to wait for ever."""
    assert "" == judged(retire(one, Risk.REPLACE), put(REST, ops=[hold(one)]))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({}, ""),
        ({scopes.quorum(SITE): unknown()}, "ProxmoxUnknown"),
        (build.site(quorate=False), "NoQuorum"),
        (build.site(online=["pve2", "pve3"]), "NodeOffline"),
        (build.without("pve1"), "NodeOffline"),
        (build.without("pve1", whole=False), ""),
    ],
)
def test_nothing_is_written_to_a_proxmox_that_cannot_take_it_whole(found: dict[Any, Any], wanted: str) -> None:
    """Some writes are taken by half without quorum (recorded: cluster-no-quorum); a pure decision needs none."""
    young = row("u9", WORKERS, 9)
    whole = put(REST, young, bulk=found)

    assert wanted == judged(effects.Start(key=machine_key(young), row=young), whole)
    assert "" == judged(AddMachine(key=KEY, row=young, why="scaled"), whole)


@pytest.mark.parametrize(("wanted", "known"), [(ONE, {f"paused/{NAME}": True}), (replace(ONE, paused=True), {})])
def test_a_paused_cluster_is_not_changed(wanted: Cluster, known: dict[str, Any]) -> None:
    """By the file or by `cpcd pause`; not even a decision is taken."""
    whole = built(ONE, now=wanted, known=known)
    actions = [AddMachine(key=KEY, row=row("u9"), why="x"), reboot(WORKER), effects.Uncordon(
        key=machine_key(WORKER), row=WORKER
    )]  # fmt: skip

    assert ["Paused"] * 3 == [judged(action, whole) for action in actions]


def policy(**changes: Consent) -> Cluster:
    """Return the cluster with another change policy."""
    return replace(ONE, change_policy={**build.AUTO, **{Risk[name.upper()]: how for name, how in changes.items()}})


APPROVED = {f"approval/{retire(WORKER).request}": True}


@pytest.mark.parametrize(
    ("action", "wanted", "known", "verdict"),
    [
        (retire(WORKER), policy(destroy=Consent.AUTO), {}, ""),
        (retire(WORKER), policy(destroy=Consent.APPROVE), {}, "AwaitingApproval"),
        (retire(WORKER), policy(destroy=Consent.APPROVE), APPROVED, ""),
        (retire(OTHER), policy(destroy=Consent.APPROVE), APPROVED, "AwaitingApproval"),
        (retire(WORKER), policy(destroy=Consent.NEVER), APPROVED, "PolicyNever"),
        (retire(WORKER), replace(ONE, change_policy={}), {}, "AwaitingApproval"),
        (retire(WORKER, Risk.REPLACE), policy(destroy=Consent.APPROVE), {}, ""),
        (retire(WORKER, Risk.REPLACE), policy(replace=Consent.APPROVE), {}, "AwaitingApproval"),
        (retire(WORKER, Risk.IN_PLACE), policy(destroy=Consent.NEVER, replace=Consent.NEVER), {}, ""),
        (reboot(WORKER), policy(reboot=Consent.APPROVE), {}, "AwaitingApproval"),
        (reboot(WORKER), policy(reboot=Consent.APPROVE), {f"approval/{reboot(WORKER).request}": True}, ""),
        (reset(WORKER), policy(reboot=Consent.NEVER), {}, "PolicyNever"),
        (reset(WORKER), policy(reboot=Consent.APPROVE), {f"approval/{reset(WORKER).request}": True}, ""),
    ],
)
def test_each_class_of_change_asks_as_the_file_says(
    action: Action, wanted: Cluster, known: dict[str, Any], verdict: str
) -> None:
    """Approval is for one action on one machine; Never is never."""
    assert verdict == judged(action, built(ONE, now=wanted, known=known))


@pytest.mark.parametrize("risk", [Risk.DESTROY, Risk.REPLACE])
@pytest.mark.parametrize(
    ("joined", "listed", "known", "asks"),
    [
        (False, {}, {}, False),
        (False, {}, {f"elected/{NAME}": WORKER.uid}, True),
        (True, {}, {}, True),
        (False, {WORKER.name: node(WORKER)}, {}, True),
        (False, None, {}, True),
        (False, None, {f"identity/{NAME}": None}, False),
        (True, None, {f"identity/{NAME}": None}, True),
        (False, None, {f"identity/{NAME}": None, f"recovered/{NAME}": NOW}, True),
    ],
    ids=[
        "no Node",
        "elected",
        "joined",
        "a Node",
        "Nodes unknown",
        "no cluster yet",
        "joined, and lost",
        "made again from its marks",
    ],
)
def test_a_machine_on_which_nothing_ran_goes_without_consent(
    risk: Risk, joined: bool, listed: dict[str, Any] | None, known: dict[str, Any], asks: bool
) -> None:
    """What an edit asked for and the next took back is nobody's loss; Never is never all the same."""
    asking = dict.fromkeys(Risk, Consent.APPROVE)
    nodes = unknown() if listed is None else seen(listed)
    whole = put(
        built(replace(ONE, change_policy=asking)), replace(WORKER, joined=joined), bulk={scopes.nodes(NAME): nodes}
    )
    facts = {name: value for name, value in {**whole.facts, **known}.items() if value is not None}
    whole = replace(whole, ledger=replace(whole.ledger, facts=facts))
    action = retire(replace(WORKER, joined=joined), risk)
    never = replace(
        whole, desired=replace(whole.desired, clusters={NAME: policy(destroy=Consent.NEVER, replace=Consent.NEVER)})
    )

    assert isinstance(guards.consent(action, whole), Wait) is asks
    assert isinstance(guards.consent(action, never), Refusal)


def test_a_wait_for_approval_names_the_command_and_ends_with_the_consent() -> None:
    """What `cpcd approve` writes is what is waited for."""
    verdict = guards.consent(retire(WORKER), built(ONE, now=policy(destroy=Consent.APPROVE)))

    assert isinstance(verdict, Wait)
    assert verdict.sentence.endswith(f"waits for `cpcd approve {retire(WORKER).request}`")
    assert (f"fact:approval/{retire(WORKER).request}",) == verdict.on


def test_what_is_done_under_a_decision_was_consented_to_with_it() -> None:
    """A reboot's shutdown and a retirement's stop are not asked for once more; another decision is."""
    asks = policy(reboot=Consent.APPROVE, replace=Consent.APPROVE, destroy=Consent.NEVER)
    held = put(built(ONE, now=asks), ops=[hold(WORKER)])
    gone = replace(WORKER, retire="scaled")
    going = put(built(ONE, now=asks), gone)
    key = machine_key(WORKER)

    under = [effects.Drain(key=key, row=WORKER), effects.Shutdown(key=key, row=WORKER), reset(WORKER)]
    after = [effects.Stop(key=key, row=gone), effects.Destroy(key=key, row=gone)]

    assert [None] * 3 == [guards.consent(one, held) for one in under]
    assert [None] * 2 == [guards.consent(one, going) for one in after]
    assert isinstance(guards.consent(retire(WORKER, Risk.REPLACE), held), Wait)


@pytest.mark.parametrize("action", [retire(WORKER), reboot(WORKER), reset(WORKER)])
def test_an_approval_is_spent_by_what_it_allowed(action: Action) -> None:
    """The next time it is asked again."""
    name = f"approval/{action.request}"
    whole = put(REST, known={name: True})

    after = whole.with_ledger(action.changes(whole))

    assert name not in after.facts


def radius(**changes: int) -> Cluster:
    """Return the cluster with another blast radius."""
    return replace(
        ONE, blast=Blast(**{"max_unavailable": 9, "max_destroys_per_hour": 9, "max_destroy_percent": 100, **changes})
    )


@pytest.mark.parametrize(
    ("wanted", "known", "going", "verdict"),
    [
        (radius(max_destroys_per_hour=2), {f"destroyed/{NAME}": [NOW - 10]}, 0, ""),
        (radius(max_destroys_per_hour=2), {f"destroyed/{NAME}": [NOW - 10, NOW - 20]}, 0, "BlastRadius"),
        (radius(max_destroys_per_hour=2), {f"destroyed/{NAME}": [NOW - 10, NOW - 3601]}, 0, ""),
        (radius(max_destroys_per_hour=0), {}, 0, "BlastRadius"),
        (radius(max_destroy_percent=25), {}, 1, ""),
        (radius(max_destroy_percent=25), {}, 2, "BlastRadius"),
        (radius(max_destroy_percent=26), {}, 2, ""),
        (radius(max_destroy_percent=1), {}, 0, ""),
        (radius(max_destroy_percent=0), {}, 0, "BlastRadius"),
    ],
)
def test_destruction_is_bounded_by_the_hour_and_by_the_share(
    wanted: Cluster, known: dict[str, Any], going: int, verdict: str
) -> None:
    """Of eight machines; per cent rounds up, so that one may unless it is 0."""
    leaving = [replace(one, retire="scaled") for one in REST.rows(NAME) if one.uid in ("u5", "u6")[:going]]
    whole = put(built(ONE, now=wanted, known=known), *leaving, ops=[leaves(one) for one in leaving])

    assert verdict == judged(retire(WORKER, limit=9), whole)


def leaves(one: Machine, kind: Risk = Risk.DESTROY, remedy: str = "") -> Op:
    """Return the open retirement of a row."""
    before = {"risk": kind.value, "remedy": remedy}
    return replace(hold(one, "retire", id_=f"leaves-{one.uid}"), slots=(), before=before)


def test_only_destruction_counts_against_the_radius() -> None:
    """A replacement is bounded by the rollout, a lost VM destroys nothing."""
    whole = built(ONE, now=radius(max_destroys_per_hour=0))

    assert ["", ""] == [judged(retire(WORKER, kind), whole) for kind in (Risk.REPLACE, Risk.IN_PLACE)]


def test_a_rollout_takes_nothing_from_the_share() -> None:
    """What is being replaced obeys the rollout's own limits (`blastRadius`)."""
    whole = put(built(ONE, now=radius(max_destroy_percent=12)), ops=[leaves(OTHER, Risk.REPLACE)])

    assert judged(retire(WORKER, limit=9), whole) == ""


@pytest.mark.parametrize(("kind", "count"), [(Risk.DESTROY, 1), (Risk.REPLACE, 0), (Risk.IN_PLACE, 0)])
def test_a_destruction_is_written_down_for_the_next_hour(kind: Risk, count: int) -> None:
    """With its tombstone, in one transaction; older ones are forgotten."""
    whole = put(REST, known={f"destroyed/{NAME}": [NOW - 4000]})

    after = whole.with_ledger(retire(WORKER, kind).changes(whole))

    assert ("scaled", [NOW] * count if count else [NOW - 4000]) == (
        after.machines[WORKER.uid].retire, after.facts[f"destroyed/{NAME}"],
    )  # fmt: skip


@pytest.mark.parametrize("action", [effects.Destroy, effects.Stop])
def test_a_wanted_machine_is_never_destroyed_or_stopped_hard(action: type[effects.MachineAction]) -> None:
    """Whatever a plan says."""
    verdict = guards.protected(action(key=machine_key(WORKER), row=WORKER), REST)
    going = replace(WORKER, retire="scaled")

    assert isinstance(verdict, Refusal)
    assert guards.protected(action(key=machine_key(going), row=going), REST) is None


def test_healing_nobody_at_once_is_a_wait_with_its_reason() -> None:
    """`maxInFlight: 0`, which is accepted, as is a rate of no destructions at all."""
    nobody = cluster(group(CP, 3), group(WORKERS, 5), health=build.health(max_in_flight=0))
    action = effects.ResetVm(key=machine_key(WORKER), row=WORKER)
    verdict = guards.remediation(action, put(built(ONE, now=nobody), bulk=sick("u4")))

    assert isinstance(verdict, Wait)
    assert verdict.sentence.endswith("maxInFlight is 0, so nothing is healed")


LED = {scopes.api(NAME): seen(Api(ready=True, version=""))}
DEAD = {scopes.api(NAME): unknown(), scopes.nodes(NAME): unknown()}
NO_QUORUM = {ETCD: replace(unknown("NoQuorum"), code=Code.TIMEOUT)}
SILENT_PEER = {ETCD: replace(unknown("no route to host"), code=Code.NETWORK)}


@pytest.mark.parametrize(
    ("joined", "hangs", "bulk", "wanted"),
    [
        (False, "join", DEAD | NO_QUORUM, ""),
        (False, "join", DEAD | SILENT_PEER, "EtcdUnknown"),
        (False, "join", LED | NO_QUORUM, "EtcdUnknown"),
        (False, "prepare", DEAD | NO_QUORUM, "EtcdUnknown"),
        (False, "", DEAD | NO_QUORUM, "EtcdUnknown"),
        (True, "join", DEAD | NO_QUORUM, "EtcdUnknown"),
    ],
    ids=["lost", "peers are silent", "the API serves", "it has no member yet", "no job hangs", "a member"],
)
def test_who_hangs_in_its_join_is_reset_where_etcd_says_that_it_has_no_quorum(
    joined: bool, hangs: str, bulk: dict[Any, Any], wanted: str
) -> None:
    """It may be the voter that is missing; elsewhere nobody can tell what its reset would spend."""
    two = [replace(MASTERS[2], joined=False)]
    one = replace(MASTERS[1], joined=joined)
    job = op(one, hangs, age=4000)
    action = effects.ResetVm(key=machine_key(one), row=one, job=job if hangs else None)

    assert wanted == judged(action, put(REST, one, *two, ops=[job] if hangs else [], bulk=bulk))


def test_of_three_voters_nobody_is_reset_unseen() -> None:
    """The peer that answers last may be in a minority, and who hangs in its join one of a majority that serves."""
    one = replace(MASTERS[2], joined=False)
    action = effects.ResetVm(key=machine_key(one), row=one, job=op(one, "join", age=4000))

    assert "EtcdUnknown" == judged(action, put(REST, one, bulk=DEAD | NO_QUORUM))


@pytest.mark.parametrize("verb", ["join", "prepare"])
def test_a_worker_is_no_voter_that_is_missing(verb: str) -> None:
    """Without quorum everybody is sick: an outage, in which no worker is reset."""
    one = replace(OTHER, joined=False)
    action = effects.ResetVm(key=machine_key(one), row=one, job=op(one, verb, age=4000))

    assert "TooManyUnhealthy" == judged(action, put(REST, one, bulk=DEAD | NO_QUORUM))


def sick(*uids: str) -> dict[Any, Any]:
    """Return the Nodes with some of them not Ready."""
    nodes = {one.name: node(one, ready="Unknown" if one.uid in uids else "True") for one in REST.rows(NAME)}
    return {scopes.nodes(NAME): seen(nodes)}


@pytest.mark.parametrize(
    ("bulk", "ops", "wanted"),
    [
        (sick("u4"), [], ""),
        (sick("u4", "u5", "u6"), [], ""),
        (sick("u4", "u5", "u6", "u7"), [], "TooManyUnhealthy"),
        ({scopes.nodes(NAME): unknown()}, [], "TooManyUnhealthy"),
        (sick("u4", "u5"), [op(OTHER, "reset")], "Remediating"),
        (sick("u4"), [leaves(OTHER, Risk.REPLACE, "Replace")], "Remediating"),
        (sick("u4"), [leaves(OTHER, Risk.REPLACE)], ""),
    ],
)
@pytest.mark.parametrize("remedy", ["reset", "replace"])
def test_many_sick_machines_are_an_outage_and_not_many_repairs(
    remedy: str, bulk: dict[Any, Any], ops: list[Any], wanted: str
) -> None:
    """Up to 40 per cent of eight are remedied, one at a time."""
    action = reset(WORKER) if remedy == "reset" else retire(WORKER, Risk.REPLACE, Remedy.REPLACE)

    assert wanted == judged(action, put(REST, bulk=bulk, ops=ops))


@pytest.mark.parametrize(
    ("joined", "remedied", "ill", "most", "wanted"),
    [
        (True, 10, True, 1, "Remediating"),
        (True, 10, True, 2, ""),
        (True, 10, False, 1, ""),
        (True, 301, True, 1, ""),
        (False, 10, True, 1, "Remediating"),
        (False, 301, True, 1, ""),
    ],
)
def test_a_reset_is_in_flight_until_its_node_is_well_or_its_time_is_over(
    joined: bool, remedied: float, ill: bool, most: int, wanted: str
) -> None:
    """`maxInFlight` counts machines that are being mended, not only the call that mends."""
    wished = replace(ONE, health=health(max_in_flight=most))
    one = replace(OTHER, joined=joined, strikes=int(joined))
    struck = put(built(ONE, now=wished), one, known={f"remedy/{OTHER.uid}": NOW - remedied})

    assert wanted == judged(reset(WORKER), put(struck, bulk=sick("u4", *(("u5",) if ill else ()))))


@pytest.mark.parametrize(
    ("bulk", "ops", "most", "wanted"),
    [
        ({}, [], 1, ""),
        (sick("u5"), [], 1, "Queued"),
        (sick("u5"), [], 2, ""),
        (sick("u5", "u6"), [], 2, "Queued"),
        (sick("u5"), [hold(OTHER)], 2, ""),
        (sick("u6"), [hold(OTHER)], 2, "Queued"),
        (sick("u1"), [], 1, ""),
        (sick("u4", "u5", "u6"), [], 1, ""),
        ({scopes.nodes(NAME): unknown()}, [], 1, "Queued"),
    ],
)
def test_a_reboot_waits_while_as_many_others_do_not_serve(
    bulk: dict[Any, Any], ops: list[Op], most: int, wanted: str
) -> None:
    """Counted once whether by Node or by hold, in its own group; who is not Ready itself takes nothing away."""
    action = effects.Hold(key=machine_key(WORKER), row=WORKER, why="memory", limit=most)

    assert wanted == judged(action, put(REST, bulk=bulk, ops=ops))


@pytest.mark.parametrize("changes", [{"joined": False}, {"retire": "scaled"}])
def test_who_comes_or_goes_keeps_no_reboot_waiting(changes: dict[str, Any]) -> None:
    """Neither serves, nor is it to."""
    assert "" == judged(reboot(WORKER), put(REST, replace(OTHER, **changes), bulk=sick("u5")))


def test_a_control_plane_is_rebooted_one_at_a_time_by_their_nodes_too() -> None:
    """Whatever `blastRadius.maxUnavailable` says of workers."""
    action = effects.Hold(key=machine_key(MASTERS[0]), row=MASTERS[0], why="memory", limit=5)

    assert ["Queued", ""] == [judged(action, put(REST, bulk=sick(uid))) for uid in ("u2", "u4")]


def test_a_snapshot_is_not_taken_for_a_reboot_that_waits_for_others() -> None:
    """It would be old when the reboot begins."""
    action = effects.Snapshot(key=machine_key(MASTERS[0]), row=MASTERS[0], hold=reboot(MASTERS[0]))

    assert ["Queued", ""] == [judged(action, put(REST, bulk=sick(uid))) for uid in ("u2", "u4")]


PRESSED = Unhealthy("MemoryPressure", "True", 300.0)
RULES = replace(ONE, health=health(conditions=(*health().conditions, PRESSED)))


@pytest.mark.parametrize(("count", "wanted"), [(1, ""), (3, ""), (4, "TooManyUnhealthy"), (5, "TooManyUnhealthy")])
@pytest.mark.parametrize("age", [10, 400])
def test_the_limits_count_by_the_rules_that_remedies_go_by(count: int, wanted: str, age: float) -> None:
    """Whatever condition a rule is about, its Node may be Ready; a sickness that is young is one of the many."""
    pressed = (("MemoryPressure", "True", NOW - age),)
    ill = [f"u{number}" for number in range(4, 4 + count)]
    nodes = {one.name: node(one, conditions=pressed if one.uid in ill else ()) for one in REST.rows(NAME)}

    assert wanted == judged(reset(WORKER), put(built(ONE, now=RULES), bulk={scopes.nodes(NAME): seen(nodes)}))


def test_a_node_of_our_name_that_is_another_machine_counts_as_unhealthy() -> None:
    """As it does for the remedy: our own is not there."""
    others = {one.name: node(one, system_uuid="another") if one.uid > "u4" else node(one) for one in REST.rows(NAME)}

    assert "TooManyUnhealthy" == judged(reset(WORKER), put(REST, bulk={scopes.nodes(NAME): seen(others)}))


@pytest.mark.parametrize(
    ("boot", "pressed", "remedied", "wanted"),
    [
        ("b1", False, 10, "Remediating"),
        ("b1", False, 301, ""),
        ("b2", False, 10, ""),
        ("b2", True, 10, "Remediating"),
        ("b2", True, 301, ""),
    ],
)
def test_a_reset_is_in_flight_until_its_node_tells_of_another_boot_and_no_rule_holds(
    boot: str, pressed: bool, remedied: float, wanted: str
) -> None:
    """A Node says Ready for some 40 s after its VM was reset: the next would go before this one is down."""
    conditions = (("MemoryPressure", "True", NOW - 400),) if pressed else ()
    nodes = {**REST.known(scopes.nodes(NAME)), OTHER.name: node(OTHER, boot_id=boot, conditions=conditions)}
    known = {f"remedy/{OTHER.uid}": NOW - remedied, f"boot/{OTHER.uid}": "b1"}
    whole = put(built(ONE, now=RULES), replace(OTHER, strikes=1), known=known, bulk={scopes.nodes(NAME): seen(nodes)})

    assert wanted == judged(reset(WORKER), whole)


def test_scaling_down_during_an_outage_is_no_remedy() -> None:
    """Its own guards judge it."""
    assert "" == judged(retire(WORKER), put(REST, bulk=sick("u4", "u5", "u6", "u7")))
