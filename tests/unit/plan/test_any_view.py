"""Whatever the world looks like: planning never raises, destroys nothing that is wanted, keeps the guards and ends."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.model.desired import Cluster, Consent, Remedy, Risk
from cpcd.model.keys import Kind, OpId, Role, Scope, Uid
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Action
from cpcd.model.seen import Api, Claim, Facts, Members, Node, Quorum, Resource, Seen, Vm
from cpcd.model.view import View
from cpcd.plan import effects, fields, scopes
from cpcd.plan.fleet import RetireMachine
from cpcd.plan.fold import fold
from cpcd.plan.guards import FORESEEN, GUARDS, quorum_left
from cpcd.plan.resolve import resolve
from cpcd.reconcilers import RECONCILERS
from cpcd.status import REASONS
from tests.unit.plan import build
from tests.unit.plan.build import CP, INSTALLATION, NAME, NOW, SITE, WORKERS, cluster, group, seen, unknown

Rng = random.Random


def some(rng: Rng, **changes: tuple[Any, ...]) -> dict[str, Any]:
    """Return some of the changes, each with one of its values."""
    return {name: rng.choice(values) for name, values in changes.items() if rng.random() < 0.4}


def maybe(rng: Rng, value: Any) -> Seen[Any]:
    """Return an observation that was made, or could not be."""
    return seen(value) if rng.random() < 0.85 else unknown()


def wanted_of(rng: Rng) -> Cluster:
    """Return a cluster as the file may want it now, which need not be what its machines were made for."""
    machine = build.spec(**some(rng, memory_mib=(8192,), bridge=("vmbr1",), boot_disk_gb=(10, 40)))
    in_place = rng.choice(("Preferred", "Only", "Never"))
    return cluster(
        group(CP, rng.choice((1, 3)), in_place=in_place, machine=machine),
        group(WORKERS, rng.randrange(4), in_place=in_place, machine=machine, max_surge=rng.randrange(3)),
        paused=rng.random() < 0.1,
        change_policy={**build.AUTO, Risk.DESTROY: rng.choice(tuple(Consent))},
        health=build.health(ladder=rng.choice(((), tuple(Remedy), (Remedy.RESET,)))),
    )


def row(rng: Rng, number: int) -> Machine:
    """Return a row in any stage of its life, with a place of its own; its group may have left the file."""
    started = rng.random() < 0.7
    return build.row(
        f"u{number}", rng.choice((CP, CP, WORKERS, WORKERS, "gone")), number, started=started,
        joined=started and rng.random() < 0.7, strikes=rng.choice((0, 0, 1, 4)), node=rng.choice(("pve1", "pve2")),
        retire=rng.choice(("", "", "it is outdated")),
    )  # fmt: skip


def vm(rng: Rng, one: Machine, wanted: Cluster) -> Vm:
    """Return what a machine's VM can look like: absent, half made, ours, somebody else's, locked, moved, protected."""
    ours, theirs = build.vm(one, wanted), build.vm(replace(one, uid=Uid("other")), wanted)
    protected = replace(ours, config={**ours.config, "protection": "1"})
    bare = Vm(exists=True, node="pve1", status="running", config={})
    found = rng.choice((ours, ours, ours, ours, build.clone_of(one), theirs, protected, bare, Vm(exists=False)))
    if not found.exists:
        return found
    return replace(found, **some(
        rng, status=("running", "stopped", "stopped", "paused", ""), lock=("", "clone", "backup"),
        pending=((), ("memory",)), host_key=("",), node=("pve2", "pve3"),
    ))  # fmt: skip


def inside(rng: Rng, one: Machine) -> Facts:
    """Return what a machine can say of itself."""
    return build.facts(one, **some(
        rng, hostname=("template",), cloud_init=("running",), prepared=("", "another"), clock_skew=(90.0,),
        admin_conf=(True,), kubelet_conf=(True,), etcd_data=(True,), readyz=(200,), boot_id=("a", "b"), root=(5, 15),
    ))  # fmt: skip


def node(rng: Rng, one: Machine) -> Node | None:
    """Return what a machine's Node can be, if there is one."""
    changes = some(
        rng,
        ready=("False", "Unknown"),
        unschedulable=(True,),
        system_uuid=("another",),
        networked=(False,),
        since=(NOW - 10,),
        boot_id=("a", "b"),
    )
    return build.node(one, **changes) if rng.random() < 0.7 else None


def members(rng: Rng, masters: list[Machine]) -> Members:
    """Return any list of members, of some of the control planes and perhaps of one that nobody knows."""
    rows = [*(one for one in masters if rng.random() < 0.8), *([build.row("x", CP, 40)] if rng.random() < 0.1 else [])]
    listed = tuple(
        build.member(one, **some(rng, learner=(True, False), started=(True, False), healthy=(True, True, False)))
        for one in rows
    )
    return Members(listed, listed[0].id if listed else "")


def operations(rng: Rng, one: Machine) -> list[Op]:
    """Return what can be open on a machine: a hold, another op, both or nothing."""
    verbs = (
        "clone",
        "start",
        "stop",
        "shutdown",
        "reset",
        "destroy",
        "resize",
        "prepare",
        "init",
        "join",
        "kubeadm-reset",
        "etcd-snapshot",
    )
    age, handle = rng.choice((0.0, 10.0, 100.0, 5_000.0)), rng.choice((None, "UPID:1"))
    opened = build.op(one, rng.choice(verbs), id_=f"op-{one.uid}", age=age, handle=handle)
    held = build.hold(one, "retire" if one.retire else "reboot", id_=f"hold-{one.uid}", age=age)
    return [op for op, share in ((opened, 0.3), (held, 0.8 if one.retire else 0.1)) if rng.random() < share]


def around(rng: Rng, masters: list[Machine]) -> dict[Scope, Seen[Any]]:
    """Return what is seen of the Proxmox and of the cluster as a whole."""
    stranger = Resource(700, "pve1", "theirs", "running", template=False, tags=(), lock="")
    claim = Claim(INSTALLATION, NAME, Uid("lost"), "pve1", 333, {})
    offline = frozenset({"pve2"}) if rng.random() < 0.2 else frozenset[str]()
    listed = frozenset({"pve1", "pve2", "pve3"} if rng.random() < 0.8 else {"pve1", "pve2"})
    return {
        scopes.quorum(SITE): maybe(rng, Quorum(rng.random() < 0.9, listed - offline, offline, whole=rng.random() < 0.5)),
        scopes.resources(SITE): maybe(rng, {700: stranger}),
        scopes.claims(SITE): maybe(rng, (claim,) if rng.random() < 0.1 else ()),
        scopes.api(NAME): maybe(rng, Api(rng.random() < 0.9, "v1.34.2", rng.choice(("", "uid")))),
        scopes.etcd(NAME): maybe(rng, members(rng, masters)),
    }  # fmt: skip


def of_machine(rng: Rng, one: Machine, wanted: Cluster) -> dict[Scope, Seen[Any]]:
    """Return what is seen of one machine."""
    state = {"state": rng.choice(("running", "done", "failed", "lost", "absent")), "output": None, "error": None}
    kinds = ("qmclone", "qmstart", "qmstop", "qmdestroy", "resize")
    tasks = tuple(
        build.task(
            f"UPID:{n}", rng.choice(kinds), exit_=rng.choice(("", "OK", "failed")), made=rng.choice((0, one.vmid))
        )
        for n in range(rng.randrange(3))
    )
    return {
        scopes.vm(one): maybe(rng, vm(rng, one, wanted)), scopes.guest(one): maybe(rng, inside(rng, one)),
        scopes.node(NAME, one.name): maybe(rng, node(rng, one)),
        scopes.tasks(SITE, one.node, one.vmid): maybe(rng, tasks),
        scopes.tasks(SITE, one.template_node, one.template): maybe(rng, tasks),
        scopes.guestop(one, f"op-{one.uid}"): maybe(rng, state),
        scopes.pods(NAME, one.name): maybe(rng, (build.pod("web", one.name),) if rng.random() < 0.3 else ()),
        scopes.attachments(NAME, one.name): maybe(rng, ("volume",) if rng.random() < 0.2 else ()),
    }  # fmt: skip


def waits(rng: random.Random, known: list[Machine]) -> dict[str, float]:
    """Return since when each machine has been waiting for what."""
    names = [f"{NAME}/machine/{one.uid}/{reason}" for one in known for reason in ("Booting", "NodeNotReady")]
    return {name: NOW - rng.choice((0.0, 100.0, 5_000.0)) for name in names}


def world(seed: int) -> View:
    """Return a view of which every part is possible; together they may be a world that nobody has seen yet.

    A seed and not strategies: a view has some hundred choices, and so many more views are looked at in the same time.
    """
    rng = random.Random(seed)
    wanted, known = wanted_of(rng), [row(rng, number) for number in range(1, rng.randrange(1, 7))]
    bulk = around(rng, [one for one in known if one.role is Role.CONTROL_PLANE])
    for one in known:
        bulk |= of_machine(rng, one, wanted)
    listed = {one.name: bulk[scopes.node(NAME, one.name)].known for one in known}
    bulk[scopes.nodes(NAME)] = maybe(rng, {name: found for name, found in listed.items() if found is not None})
    facts = some(rng, **{
        f"identity/{NAME}": ({"ca_hash": "sha256:aa", "uid": "uid"},) , f"elected/{NAME}": ("u1", "u9"),
        "hostkey/u1": ("ssh-ed25519 HOST",), "hostkey/u2": ("ssh-ed25519 HOST",), "remedy/u1": (NOW - 50,),
        "growth/u1": ({"boot": "a", "least": 10},), "growth/u2": ({"boot": "a", "least": 10},), "boot/u1": ("a",),
        f"destroyed/{NAME}": ([NOW - 60],), f"vmid/{SITE}/300": (None,),
    })  # fmt: skip
    if rng.random() < 0.6:
        facts |= build.identity()
    facts |= {f"recovered/{NAME}": NOW - 5} if rng.random() < 0.1 else {}
    return build.view(
        wanted,
        rows=known,
        ops=[op for one in known for op in operations(rng, one)],
        known=facts,
        bulk=bulk,
        since=waits(rng, known),
    )


WORLDS = st.integers(0, 2**32).map(world)


def decided(whole: View) -> Iterator[Action]:
    """Yield every step that any reconciler plans on a view, each made to say all that it can say."""
    for module in RECONCILERS:
        for key in module.keys(whole):
            module.reads(key, whole), module.watches(key, whole)
            for action in module.plan(key, whole).steps:
                assert action.sentence
                action.slots(whole), action.before(whole), action.changes(whole), action.expect(whole)
                yield action


def permitted(action: Action, whole: View) -> bool:
    """Return whether no guard objects."""
    return all(guard(action, whole) is None for guard in GUARDS)


EXAMPLES = settings(max_examples=250, deadline=None)


@EXAMPLES
@given(WORLDS)
def test_nothing_that_is_wanted_is_ever_destroyed(whole: View) -> None:
    """A stop or a destroy is for a row with a tombstone, whose VM is read and proved to be ours, or to be gone."""
    for action in decided(whole):
        if isinstance(action, effects.Stop | effects.Destroy | effects.Forget):
            row = whole.machines[action.row.uid]
            assert row.retire
            vm = whole.known(scopes.vm(row))
            assert vm is not None
            mark = (INSTALLATION, NAME, row.uid)
            if isinstance(action, effects.Forget):
                assert not vm.exists or (fields.owner(vm) != mark and not fields.has_uuid(vm, row.uid))
                assert not vm.exists or whole.known(scopes.quorum(SITE)).quorate
            else:
                assert fields.owner(vm) == mark
                assert not vm.lock


@EXAMPLES
@given(WORLDS)
def test_what_the_guards_let_through_spends_no_quorum_and_writes_to_no_silent_proxmox(whole: View) -> None:
    """Whatever was planned; an etcd that is not known may lose nobody who has joined."""
    listed: Members | None = whole.known(scopes.etcd(NAME))
    site: Quorum | None = whole.known(scopes.quorum(SITE))
    for action in decided(whole):
        if not permitted(action, whole):
            continue
        assert f"paused/{NAME}" not in whole.facts
        assert not whole.desired.clusters[NAME].paused
        if isinstance(action, effects.Clone | effects.Start | effects.Stop | effects.Destroy | effects.Configure):
            assert site is not None
            assert site.quorate
            assert action.row.node not in site.offline
        if isinstance(action, effects.Hold | RetireMachine | effects.RemoveMember):
            assert spares(action, listed, whole)


def spares(action: Any, listed: Members | None, whole: View) -> bool:
    """Return whether etcd keeps its quorum: there is none yet, the target does not count, or enough others do."""
    row: Machine = action.row
    if row.role is not Role.CONTROL_PLANE or f"identity/{NAME}" not in whole.facts:
        return True
    if listed is None:
        return isinstance(action, RetireMachine) and not row.joined
    counts = any(f"//{row.address}:" in one.peer for one in listed.voters)
    alone = len(listed.voters) == 1 and isinstance(action, effects.Hold)
    return not counts or alone or quorum_left(listed, row.address, removal=not isinstance(action, effects.Hold))


@EXAMPLES
@given(WORLDS)
def test_what_is_open_is_touched_by_nobody_else(whole: View) -> None:
    """Neither its target, nor a permit that it occupies alone."""
    for action in decided(whole):
        if permitted(action, whole):
            others = [op for op in whole.ops.values() if op.key != action.owner]
            assert not any(op.target == action.target for op in others)
            for slot, limit in action.slots(whole).items():
                assert sum(slot in op.slots for op in others) < limit


@settings(EXAMPLES, max_examples=100)
@given(WORLDS)
def test_a_plan_of_any_world_ends(whole: View) -> None:
    """With its last step said, and without a step on a machine that is wanted and being destroyed."""
    ops = {OpId(f"real-{name}"): replace(op, id=OpId(f"real-{name}")) for name, op in whole.ops.items()}
    real = replace(whole, ledger=replace(whole.ledger, ops=ops))

    steps = fold(real, reconcilers=RECONCILERS, guards=FORESEEN, resolve=resolve)

    assert all(step.sentence for step in steps)


@EXAMPLES
@given(WORLDS)
def test_every_open_operation_gets_a_verdict(whole: View) -> None:
    """And one that closes it comes with changes that the ledger takes."""
    for op in whole.ops.values():
        verdict = resolve(op, whole, NOW)
        whole.ledger.after(getattr(verdict, "changes", ()))
        assert op.key.kind is Kind.MACHINE


@EXAMPLES
@given(WORLDS)
def test_every_word_that_is_said_is_one_that_is_explained(whole: View) -> None:
    """`cpcd explain` knows each reason; conditions are of the kinds that status shows."""
    for module in RECONCILERS:
        for key in module.keys(whole):
            plan = module.plan(key, whole)
            said = {one.reason for one in (plan.wait, plan.refusal, *plan.conditions) if one is not None}
            said |= {objection.reason for action in plan.steps for objection in objections(action, whole)}
            assert said <= set(REASONS)
            assert {one.type for one in plan.conditions} <= {"Ready", "Progressing", "Degraded", "Stalled"}


def objections(action: Action, whole: View) -> list[Any]:
    """Return what the guards have against an action."""
    return [verdict for guard in GUARDS if (verdict := guard(action, whole)) is not None]
