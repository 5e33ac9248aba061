"""What an action is: whether it may be repeated, how grave it is, what it spends, and how the world is after it."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cpcd.model.desired import Risk
from cpcd.model.keys import Map, OpId, Role
from cpcd.model.ledger import PutFact, PutMachine
from cpcd.model.plan import Action, Done, Unknown
from cpcd.plan import effects, fields, guards, scopes
from cpcd.plan.case import machine_key, progressing, waiting
from cpcd.plan.effects import AddMachine, ElectInit, RetireMachine
from cpcd.plan.member import joined
from cpcd.plan.resolve import resolve
from cpcd.ports.guests import LONG_VERBS
from cpcd.reconcilers import machine
from tests.unit.plan.build import (
    CP,
    KEY,
    NAME,
    NOW,
    SITE,
    WORKERS,
    built,
    case,
    cluster,
    group,
    hold,
    node,
    of,
    op,
    put,
    row,
    seen,
    task,
    vm,
)  # fmt: skip

ONE = cluster(group(CP, 3), group(WORKERS, 2))
REST = built(ONE)
MASTER, PEER, WORKER, MATE = (of(REST, uid) for uid in ("u1", "u2", "u4", "u5"))
YOUNG = row("u9", WORKERS, 9)
OWN: dict[str, Any] = {"key": machine_key(WORKER), "row": WORKER}
FIRST: dict[str, Any] = {"key": machine_key(MASTER), "row": MASTER}
GIVEN = {"version": "1.34.2", "packages": [], "timezone": "Etc/UTC", "profile": "p1"}
REBOOT = effects.Hold(**FIRST, why="x")

LEDGERS: list[Any] = [
    AddMachine(key=KEY, row=YOUNG, why="x"),
    ElectInit(key=KEY, row=PEER),
    RetireMachine(key=KEY, row=WORKER, why="x", kind=Risk.REPLACE),
    REBOOT,
    effects.MarkJoined(**{**OWN, "row": replace(WORKER, joined=False)}),
    effects.Forgive(**{**OWN, "row": replace(WORKER, strikes=1)}),
    effects.Renumber(**OWN, vmid=349),
    effects.Relocate(**OWN, node="pve3"),
    effects.PinHostKey(**OWN, host_key="ssh-ed25519 NEW"),
    effects.Forget(**OWN),
]
JOBS: list[Any] = [
    effects.Prepare(**OWN, given=GIVEN),
    effects.Init(**FIRST, given={"config": "c", "manifests": {}}, attempt={}),
    effects.Join(**OWN, peer=MASTER, cluster=ONE),
    effects.Reset(**OWN),
    effects.Snapshot(**FIRST, hold=REBOOT),
]
WRITES: list[Any] = [
    effects.Clone(**OWN, pool="", full=False),
    effects.Configure(**OWN, options={"memory": 8192}, digest="d1"),
    effects.Grow(**OWN, disk="scsi0", size_gb=40),
    effects.Start(**OWN),
    effects.Shutdown(**OWN),
    effects.Stop(**OWN),
    effects.ResetVm(**OWN),
    effects.Destroy(**OWN),
]
INSIDE: list[Any] = [
    effects.Drain(**OWN),
    effects.Uncordon(**OWN),
    effects.RemoveMember(**FIRST, peer=PEER, member="m-u1"),
    effects.DeleteNode(**OWN, uid="node-u4"),
]
EVERY = [*LEDGERS, *JOBS, *WRITES, *INSIDE]


def kinds(base: type) -> set[type]:
    """Return all classes of actions that have a verb."""
    own = {base} if "verb" in vars(base) else set[type]()
    return own | {deeper for one in base.__subclasses__() for deeper in kinds(one)}


def those(actions: list[Any]) -> dict[str, str]:
    """Return what actions say, by verb."""
    return {one.verb: one.sentence for one in actions}


def test_everything_that_can_be_done_to_a_machine_is_looked_at_here() -> None:
    """Whoever adds an action says of it what the others say of themselves."""
    ours: Any = [kind for kind in kinds(Action) if kind.__module__.startswith("cpcd.plan.effects")]

    assert {kind.verb for kind in ours} == those(EVERY).keys()


def test_what_must_not_happen_twice_is_an_operation() -> None:
    """Everything else may be repeated at will, or is a transaction of the ledger."""
    once = those([one for one in EVERY if one.once])

    assert once.keys() == {
        "clone", "resize", "start", "shutdown", "stop", "reset", "prepare", "init", "join", "kubeadm-reset",
        "etcd-snapshot", "reboot", "destroy", "retire",
    }  # fmt: skip


def test_each_action_says_how_grave_it_is() -> None:
    """Promise 2: what interrupts nothing is in place; the rest is a reboot or a destruction, or says so itself."""
    by_risk = {risk: those([one for one in EVERY if one.risk is risk]).keys() for risk in Risk}

    assert {"reboot", "drain", "shutdown", "reset"} == by_risk[Risk.REBOOT]
    assert {"stop", "destroy"} == by_risk[Risk.DESTROY]
    assert {"retire"} == by_risk[Risk.REPLACE]


def test_only_the_ledgers_own_decisions_have_no_effect_outside() -> None:
    """Whatever else is planned goes through a port."""
    assert those(LEDGERS) == those([one for one in EVERY if one.local])


@pytest.mark.parametrize("action", [one for one in LEDGERS if one is not REBOOT], ids=lambda one: one.verb)
def test_what_the_ledger_alone_decides_is_in_it_afterwards(action: Any) -> None:
    """If it left no trace it would be decided again without end; a reboot's trace is its op."""
    before = put(REST, action.row) if action.row.uid in REST.machines else REST

    assert before.ledger != before.with_ledger(action.changes(before)).ledger


@pytest.mark.parametrize("action", JOBS, ids=lambda one: one.verb)
def test_a_machine_is_given_what_its_catalogue_asks_for(action: Any) -> None:
    """Under the op's id, by which its result is found; a verb of another name would be refused for ever."""
    submitted: list[tuple[str, str, set[str]]] = []

    async def submit(_host: Any, under: str, verb: str, given: Map[str, Any]) -> None:
        submitted.append((under, verb, set(given)))

    async def call(*_: Any) -> dict[str, str]:
        return {"token": "t", "ca_hash": "h", "certificate_key": ""}

    ports: Any = SimpleNamespace(guests=SimpleNamespace(submit=submit, call=call), host=lambda one: one)

    handle = asyncio.run(machine.apply(action, ports, op(WORKER, action.verb, id_="op-7")))

    assert ("op-7", [("op-7", action.job, set(LONG_VERBS[action.job][0]))]) == (handle, submitted)


def test_joins_that_failed_are_no_remedies_of_the_member() -> None:
    """Its first sickness is one: a strike of before would cost it the reset."""
    late = replace(WORKER, joined=False, strikes=2)

    assert (PutMachine(WORKER),) == effects.MarkJoined(**{**OWN, "row": late}).changes(REST) == (joined(late),)


def test_a_clone_is_expected_to_have_its_own_templates_disks() -> None:
    """By which the printed plan says whether its disk is grown."""
    scope = scopes.template(SITE, "ubuntu")
    copies = [replace(one, disks=(("scsi0", f"size={one.vmid}M"),)) for one in REST.known(scope)]
    whole = put(REST, bulk={scope: seen(tuple(copies))})

    for one in copies:
        clone = effects.Clone(**{**OWN, "row": replace(YOUNG, template=one.vmid)}, pool="", full=False)
        assert f"size={one.vmid}M" == clone.expect(whole).known(clone.target).config["scsi0"]


def test_a_growth_whose_reply_was_lost_is_known_by_the_size_of_its_disk() -> None:
    """What was to grow, and to what, is written down before: of a task nobody may ever hear (P04)."""
    grow = effects.Grow(**OWN, disk="scsi0", size_gb=40)
    asked = op(WORKER, grow.verb, before=grow.before(REST))
    silent = {scopes.tasks(SITE, WORKER.node, WORKER.vmid): seen(())}

    def judged(size: str) -> Any:
        grown = vm(WORKER, ONE, options={"scsi0": f"local:1,size={size}"})
        return resolve(asked, put(REST, bulk={**silent, scopes.vm(WORKER): seen(grown)}), NOW)

    assert (Done, Unknown) == (type(judged("40G")), type(judged("39G")))
    assert PutFact(f"grown/{WORKER.uid}", 40) in judged("40G").changes


def test_a_guest_that_does_not_go_off_by_itself_is_stopped_by_proxmox() -> None:
    """After more time than its default, in which databases do not end (`failures.md` P25)."""
    sent: list[tuple[str, Map[str, int]]] = []

    async def power(_node: str, _vmid: int, verb: str, options: Map[str, int]) -> str:
        sent.append((verb, options))
        return "UPID:1"

    ports: Any = SimpleNamespace(proxmox=lambda _site: SimpleNamespace(power=power))
    action = effects.Shutdown(**OWN)
    asyncio.run(machine.apply(action, ports, op(WORKER, "shutdown", before=action.before(REST))))

    verb, options = sent[0]
    assert ("shutdown", 1, True) == (verb, options["forceStop"], options["timeout"] > 60)


def test_each_snapshot_has_a_file_of_its_own() -> None:
    """One that fails half way must not be in the place of a good one."""
    snapshot = effects.Snapshot(**FIRST, hold=REBOOT)

    assert 2 == len({snapshot.asked(OpId(name))["path"] for name in ("op-1", "op-2")})


def test_the_disruption_of_one_machine_is_not_in_the_way_of_anothers() -> None:
    """How many may be away at once is for permits to say; of one machine both are the same thing."""
    of_worker = [effects.Hold(**OWN, why="x"), RetireMachine(key=KEY, row=WORKER, why="x", kind=Risk.REPLACE)]
    of_mate = [
        effects.Hold(key=machine_key(MATE), row=MATE, why="x"),
        RetireMachine(key=KEY, row=MATE, why="x", kind=Risk.REPLACE),
    ]

    for other in of_mate:
        opened = replace(op(MATE, other.verb), target=other.target)
        assert [None, None] == [guards.exclusive(one, put(REST, ops=[opened])) for one in of_worker]
    assert 1 == len({one.target for one in of_worker})


@pytest.mark.parametrize(
    "action",
    [JOBS[1], effects.Join(**FIRST, peer=PEER, cluster=ONE), effects.Hold(**FIRST, why="x", limit=5), JOBS[4],
     RetireMachine(key=KEY, row=MASTER, why="x", kind=Risk.REPLACE, limit=5)],
    ids=lambda one: one.verb,
)  # fmt: skip
def test_of_control_planes_one_at_a_time_is_changed(action: Any) -> None:
    """Promise 5, whatever `maxUnavailable` is: what is begun beside it could cost the quorum."""
    assert [1] == list(action.slots(REST).values())
    assert guards.permits(action, put(REST, ops=[hold(PEER)])) is not None


@pytest.mark.parametrize("kind", [effects.Shutdown, effects.ResetVm])
def test_the_boot_that_a_power_action_ends_is_remembered(kind: Any) -> None:
    """A Node goes on saying Ready for a while of a machine that is off: what it says is of the boot before."""
    booted = {scopes.node(NAME, WORKER.name): seen(node(WORKER, boot_id="boot-1"))}
    action = kind(**OWN)
    asked = op(WORKER, action.verb, before=action.before(put(REST, bulk=booted)), handle="UPID:1")
    ended = task("UPID:1", action.task, vmid=WORKER.vmid)
    off = {
        scopes.tasks(SITE, WORKER.node, WORKER.vmid): seen((ended,)),
        scopes.vm(WORKER): seen(vm(WORKER, ONE, status="stopped")),
    }

    verdict = resolve(asked, put(REST, bulk=off), NOW)

    assert isinstance(verdict, Done)
    assert PutFact(f"boot/{WORKER.uid}", "boot-1") in verdict.changes


def test_a_retirement_spends_the_role_that_it_takes() -> None:
    """Guards and permits count it by that."""
    found = [RetireMachine(key=KEY, row=one, why="x", kind=Risk.REPLACE, limit=2) for one in (MASTER, WORKER)]

    assert [Role.CONTROL_PLANE, Role.WORKER] == [one.disrupts for one in found]
    assert [{f"control-plane:{NAME}": 1}, {f"disrupt:{NAME}": 2}] == [one.slots(REST) for one in found]


def test_what_takes_effect_at_once_is_not_expected_to_wait_for_a_reboot() -> None:
    """Tags, description, start on boot and name; memory waits, and an option that is deleted is gone."""
    options = {"tags": "a", "description": "d", "onboot": 1, "name": "n", "memory": 8192, "balloon": None}
    action = effects.Configure(key=machine_key(WORKER), row=WORKER, options=options, digest="d1")

    after = action.expect(REST).known(scopes.vm(WORKER))

    assert ("balloon", "memory") == after.pending == fields.late(after)
    assert (8192, False) == (after.config["memory"], "balloon" in after.config)


def test_what_is_shut_down_is_off_and_owes_no_reboot() -> None:
    """Hard or soft."""
    whole = put(REST, bulk={scopes.vm(WORKER): seen(vm(WORKER, ONE, pending=("memory",)))})

    for kind in (effects.Stop, effects.Shutdown):
        after = kind(key=machine_key(WORKER), row=WORKER).expect(whole).known(scopes.vm(WORKER))
        assert ("stopped", ()) == (after.status, after.pending)


def test_a_waiting_object_is_not_ready_and_on_its_way() -> None:
    """Two conditions, one sentence."""
    wanted = [("Ready", "False", "Why", "it waits"), ("Progressing", "True", "Why", "it waits")]

    assert wanted == [(c.type, c.status, c.reason, c.message) for c in progressing("Why", "it waits")]
    assert wanted == [(c.type, c.status, c.reason, c.message) for c in waiting("Why", "it waits").conditions]


def test_only_a_disruption_is_a_hold() -> None:
    """Another open operation of the machine is none."""
    busy = put(REST, ops=[op(WORKER, "prepare")])

    assert case(WORKER, busy).hold is None
    assert "hold-1" == case(WORKER, put(busy, ops=[hold(WORKER)])).hold.id
