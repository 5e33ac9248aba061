"""Op × evidence → verdict: a row of design.md's tables is a row here."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.model.desired import Timeouts
from cpcd.model.errors import Code
from cpcd.model.keys import system_uuid
from cpcd.model.ledger import DropFact, Machine, OpenOp, PutFact, PutMachine
from cpcd.model.plan import Absent, Done, Failed, Running, Unknown, Verdict
from cpcd.model.seen import Api, Members, Quorum, Resource, Task, Vm
from cpcd.plan import effects, fields, scopes
from cpcd.plan.case import PATIENCE, machine_key, proof
from cpcd.plan.effects import ResetVm
from cpcd.plan.resolve import GUEST_SETTLE, SETTLE, evidence, resolve
from cpcd.reconcilers import machine
from tests.unit.plan import build
from tests.unit.plan.build import (
    CP,
    INSTALLATION,
    NAME,
    NOW,
    SITE,
    TEMPLATE,
    WORKERS,
    built,
    clone_of,
    cluster,
    hold,
    members,
    node,
    of,
    op,
    put,
    row,
    seen,
    task,
    unknown,
    view,
    vm,
)  # fmt: skip

ROW = row("u9", WORKERS, 9)
YOUNG = row("u8", WORKERS, 8, node="pve2", template_node="pve1")  # cloned from another node than its own
CLONES = scopes.tasks(SITE, "pve1", TEMPLATE)
OWN = scopes.tasks(SITE, "pve1", ROW.vmid)
GONE = Vm(exists=False)
LATE = SETTLE + 1
MINE = task("UPID:new", "qmclone", made=ROW.vmid)
RUNNING = replace(MINE, exit="")
BROKEN = replace(MINE, exit="unable to create image")
OLD = task("UPID:old", "qmclone", made=ROW.vmid)
OTHERS = task("UPID:other", "qmclone", made=777)
FOREIGN = clone_of(ROW, config={"name": "theirs", "description": "cpcd/1 other prod x op"})
UNMARKED = clone_of(ROW, config={"name": "by-hand"})
HALF = clone_of(ROW, lock="clone")
EMPTY = clone_of(ROW, lock="clone", config={})


def cloned(found: Vm | None, tasks: tuple[Task, ...] | None, age: float, handle: str | None = None) -> Verdict:
    """Return the verdict on a clone whose op had seen the old task already."""
    bulk = {
        scopes.vm(ROW): unknown() if found is None else seen(found),
        CLONES: unknown() if tasks is None else seen(tasks),
    }
    asked = op(ROW, "clone", age=age, before={"upids": ["UPID:old"]}, handle=handle)
    return resolve(asked, view(rows=[ROW], ops=[asked], bulk=bulk), NOW)


@pytest.mark.parametrize(
    ("found", "tasks", "age", "wanted"),
    [
        (None, (MINE,), LATE, Unknown),
        (GONE, None, LATE, Unknown),
        (GONE, (RUNNING,), 1, Running),
        (HALF, (RUNNING,), LATE, Running),
        (EMPTY, (RUNNING,), LATE, Running),
        (clone_of(ROW), (MINE,), 1, Done),
        (clone_of(ROW), (), LATE, Done),
        (clone_of(ROW), (BROKEN,), LATE, Done),
        (GONE, (BROKEN,), 1, Failed),
        (GONE, (), SETTLE - 1, Unknown),
        (GONE, (), LATE, Absent),
        (GONE, (OLD,), SETTLE - 1, Unknown),
        (GONE, (OLD,), LATE, Absent),
        (GONE, (OTHERS,), LATE, Absent),
        (GONE, (replace(RUNNING, made=0),), SETTLE - 1, Unknown),
        (HALF, (), SETTLE - 1, Unknown),
        (HALF, (), LATE, Failed),
        (EMPTY, (), LATE, Failed),
        (HALF, (BROKEN,), 1, Failed),
        (HALF, (MINE,), 1, Unknown),
        (clone_of(ROW, lock="backup"), (MINE,), 1, Unknown),
        (FOREIGN, (), 1, Failed),
        (FOREIGN, (MINE,), 1, Failed),
        (UNMARKED, (), 1, Failed),
    ],
)
def test_a_clone_is_judged_by_its_task_its_config_and_its_age(
    found: Vm | None, tasks: tuple[Task, ...] | None, age: float, wanted: type[Verdict]
) -> None:
    """`design.md` 5, "Clone: Resolve"."""
    assert wanted is type(cloned(found, tasks, age))


def test_a_clone_that_has_just_begun_is_looked_at_again_sooner() -> None:
    """A linked one takes half a second, and others wait for its slot."""
    new, old = cloned(GONE, (RUNNING,), 0.5), cloned(GONE, (RUNNING,), 5)

    assert isinstance(new, Running)
    assert isinstance(old, Running)
    assert new.after < old.after


def test_a_known_handle_is_the_task_whatever_its_log_names_yet() -> None:
    """The UPID of the reply is one of ours even before its log has a line."""
    assert isinstance(cloned(GONE, (task("UPID:h", "qmclone", exit_=""),), LATE, handle="UPID:h"), Running)


@pytest.mark.parametrize(
    ("text", "code", "moved"),
    [
        ("unable to create VM 309: config file already exists", Code.EXECUTION, True),
        ("disk image '/images/309/vm-309-disk-0.qcow2' already exists", Code.EXECUTION, True),
        ("unable to create image", Code.EXECUTION, False),
        ("No space left on device", Code.DEPENDENCY, False),
    ],
)
def test_a_failed_clone_goes_on_under_another_vmid_if_its_own_is_the_trouble(
    text: str, code: Code, moved: bool
) -> None:
    """The old one cools down; the words of Proxmox are kept, and judged as those of an answer are (P29)."""
    verdict = cloned(GONE, (replace(BROKEN, exit=text),), 1)
    elsewhere = (PutFact(f"vmid/{SITE}/309", NOW + 600), PutMachine(replace(ROW, vmid=300)))

    assert isinstance(verdict, Failed)
    assert (code, f"cloning lab-general-9 failed: {text}") == (verdict.code, verdict.sentence)
    assert (elsewhere if moved else ()) == verdict.changes


@pytest.mark.parametrize(("found", "tasks"), [(HALF, ()), (EMPTY, ()), (HALF, (BROKEN,))])
def test_a_half_clone_is_quarantined_with_the_commands_that_root_must_type(found: Vm, tasks: tuple[Task, ...]) -> None:
    """For good: nobody but root with a ticket can unlock it."""
    verdict = cloned(found, tasks, LATE)

    assert isinstance(verdict, Failed)
    assert (PutFact(f"vmid/{SITE}/309", None), PutMachine(replace(ROW, vmid=300))) == verdict.changes
    assert verdict.sentence.endswith("on pve1: qm unlock 309 && qm destroy 309 --purge")


@pytest.mark.parametrize("tasks", [(), (BROKEN,), (MINE,)])
@pytest.mark.parametrize(
    "found",
    [
        FOREIGN,
        UNMARKED,
        replace(FOREIGN, lock="clone"),
        replace(FOREIGN, lock="backup"),
        replace(UNMARKED, lock="backup"),
        replace(UNMARKED, lock="migrate"),
    ],
)
def test_nobody_is_told_to_destroy_what_is_somebody_elses(found: Vm, tasks: tuple[Task, ...]) -> None:
    """Two installations may race for one VMID: the loser goes elsewhere and says nothing of `qm destroy`."""
    verdict = cloned(found, tasks, LATE)

    assert isinstance(verdict, Failed)
    assert (Code.VALIDATION, False) == (verdict.code, "qm " in verdict.sentence)
    assert PutMachine(replace(ROW, vmid=300)) in verdict.changes


POWER = {"start": "qmstart", "shutdown": "qmshutdown", "stop": "qmstop", "reset": "qmreset"}
UP, DOWN = vm(ROW), vm(ROW, status="stopped")


def acted(
    verb: str, found: Vm | None, tasks: tuple[Task, ...] | None, age: float = 1, one: Machine = ROW, **before: Any
) -> Verdict:
    """Return the verdict on a task of the row's own VM."""
    bulk = {
        scopes.vm(ROW): unknown() if found is None else seen(found),
        OWN: unknown() if tasks is None else seen(tasks),
    }
    asked = op(ROW, verb, age=age, before={"upids": ["UPID:old"], **before})
    return resolve(asked, view(rows=[one], ops=[asked], bulk=bulk), NOW)


def own(kind: str, exit_: str = "OK", upid: str = "UPID:new") -> Task:
    """Return a task of the row's VM."""
    return task(upid, kind, exit_=exit_, vmid=ROW.vmid)


@pytest.mark.parametrize("verb", POWER)
@pytest.mark.parametrize(
    ("known", "exit_", "age", "wanted"),
    [
        (False, "OK", 1, Unknown),
        (True, "", 1, Running),
        (True, "", LATE, Running),
        (True, "timeout: no answer", 1, Failed),
    ],
)
def test_a_power_task_that_has_not_reached_its_aim(
    verb: str, known: bool, exit_: str, age: float, wanted: type[Verdict]
) -> None:
    """Unreadable is unknown, running is awaited, failed is failed."""
    opposite = DOWN if verb == "start" else UP
    tasks = (own(POWER[verb], exit_),) if known else None

    assert wanted is type(acted(verb, opposite, tasks, age))


@pytest.mark.parametrize("verb", POWER)
def test_a_power_task_that_nobody_has_seen_is_absent_after_its_time(verb: str) -> None:
    """Not before: the request may still be on its way; an older task of the kind is not ours."""
    opposite, tasks = (DOWN if verb == "start" else UP), (own(POWER[verb], upid="UPID:old"),)

    assert (Unknown, Absent) == (type(acted(verb, opposite, tasks)), type(acted(verb, opposite, tasks, LATE)))


@pytest.mark.parametrize(
    ("verb", "found", "tasks"),
    [
        ("start", UP, ()),
        ("start", UP, (own("qmstart", "already running"),)),
        ("shutdown", DOWN, ()),
        ("shutdown", GONE, ()),
        ("stop", DOWN, (own("qmstop", "VM quit/powerdown failed"),)),
        ("stop", GONE, ()),
        ("reset", UP, (own("qmreset"),)),
        ("reset", UP, (own("qmreset", "WARNINGS: 1"),)),
        ("destroy", GONE, None),
    ],
)
def test_what_is_as_asked_is_done_whatever_the_task_said(verb: str, found: Vm, tasks: tuple[Task, ...] | None) -> None:
    """The state of the world decides; only a reset leaves none and is judged by its task."""
    assert isinstance(acted(verb, found, tasks), Done)


def test_the_first_start_is_remembered() -> None:
    """From then on a missing VM is a loss and not a beginning."""
    assert Done((PutMachine(replace(ROW, started=True)),)) == acted("start", UP, ())


def test_a_reset_counts_as_a_strike_at_its_time() -> None:
    """The next rung of the ladder looks at both; strikes of who has not joined are joins that failed, and no others."""
    member = replace(ROW, joined=True)
    tried = PutFact("remedy/u9", NOW)

    assert Done((tried,)) == acted("reset", UP, (own("qmreset"),))
    assert Done((PutMachine(replace(member, strikes=1)), tried)) == acted("reset", UP, (own("qmreset"),), one=member)


def test_a_reset_that_failed_was_tried() -> None:
    """A QEMU that is wedged takes none, so that the next rung is due; one that QEMU was never asked for was not."""
    member = replace(ROW, joined=True)
    wedged = (own("qmreset", "VM 309 qmp command 'system_reset' failed - got timeout"),)
    locked = (own("qmreset", "can't lock file '/var/lock/qemu-server/lock-309.conf' - got timeout"),)
    tried = PutFact("remedy/u9", NOW)
    verdicts = [acted("reset", UP, wedged, one=one) for one in (ROW, member)]

    assert [(tried,), (PutMachine(replace(member, strikes=1)), tried)] == [
        verdict.changes for verdict in verdicts if isinstance(verdict, Failed)
    ]
    assert [(), Absent()] == [getattr(acted("reset", UP, locked), "changes", None), acted("reset", UP, (), LATE)]


def test_a_reset_remembers_the_boot_that_it_ended() -> None:
    """Else a Node that still says Ready of that boot would be taken for one that is back."""
    before = effects.ResetVm(key=machine_key(ROW), row=ROW).before(
        view(rows=[ROW], bulk={scopes.node(NAME, ROW.name): seen(node(ROW, boot_id="b1"))})
    )
    verdict = acted("reset", UP, (own("qmreset"),), boot=before["boot"])

    assert isinstance(verdict, Done)
    assert PutFact("boot/u9", "b1") in verdict.changes
    struck = replace(ROW, strikes=1)
    after = view(rows=[struck]).with_ledger(verdict.changes)
    healed = after.with_ledger(effects.Forgive(key=machine_key(ROW), row=struck).changes(after))
    assert not {"boot/u9", "remedy/u9"} & healed.facts.keys()


@pytest.mark.parametrize(("size", "wanted"), [("4G", Absent), ("39.9G", Absent), ("40G", Done), ("50G", Done)])
def test_a_resize_is_done_when_the_disk_is_as_large(size: str, wanted: type[Verdict]) -> None:
    """Absolute sizes make a repetition harmless (`failures.md` P04)."""
    found = vm(ROW, options={"scsi0": f"local:1,size={size}"})

    assert wanted is type(acted("resize", found, (), LATE, disk="scsi0", size_gb=40))


@pytest.mark.parametrize(
    ("found", "tasks", "age", "wanted"),
    [
        (None, (own("qmdestroy"),), LATE, Unknown),
        (DOWN, (own("qmdestroy", ""),), 1, Running),
        (DOWN, (own("qmdestroy", "VM is running"),), 1, Failed),
        (DOWN, (), 1, Unknown),
        (DOWN, (), LATE, Absent),
    ],
)
def test_a_destroy_is_done_only_when_the_vm_is_proved_absent(
    found: Vm | None, tasks: tuple[Task, ...], age: float, wanted: type[Verdict]
) -> None:
    """Its task's word is not enough."""
    assert wanted is type(acted("destroy", found, tasks, age))


WHOLE = {"ca_hash": "sha256:aa", "voters": 1, "config_maps": ["kubeadm-config", "cluster-info"]}


def on_guest(verb: str, state: str | None, *, one: Machine = ROW, age: float = 1, **bulk: Any) -> Verdict:
    """Return the verdict on a long verb whose poll says `state`."""
    asked = op(one, verb, age=age)
    error = {"reason": "PreflightFailed", "message": "port 6443 is in use"}
    polled = {"state": state, "output": {**WHOLE, **bulk.get("output", {})}, "error": error}
    found = {scopes.guestop(one, asked.id): unknown() if state is None else seen(polled), **bulk.get("bulk", {})}
    return resolve(asked, view(rows=[one], ops=[asked], bulk=found), NOW)


GUEST_VERBS = ("prepare", "kubeadm-reset", "etcd-snapshot", "init", "join")


@pytest.mark.parametrize("verb", GUEST_VERBS)
@pytest.mark.parametrize(
    ("state", "age", "wanted"),
    [
        (None, 1000, Unknown),
        ("running", 1000, Running),
        ("absent", GUEST_SETTLE - 1, Unknown),
        ("absent", GUEST_SETTLE + 1, Absent),
        ("lost", 1, Failed),
        ("failed", 1, Failed),
    ],
)
def test_a_long_verb_is_judged_by_its_result_on_the_machine(
    verb: str, state: str | None, age: float, wanted: type[Verdict]
) -> None:
    """A silent machine is unknown for as long as it is silent."""
    assert wanted is type(on_guest(verb, state, age=age))


@pytest.mark.parametrize("verb", [*GUEST_VERBS, "clone", "start", "stop", "resize", "destroy"])
@pytest.mark.parametrize(("whole", "wanted"), [(True, Failed), (False, Unknown)])
def test_what_was_begun_on_a_proxmox_node_that_was_removed_is_given_up(
    verb: str, whole: bool, wanted: type[Verdict]
) -> None:
    """Nobody will ever tell what became of it; one that only is not listed may be back."""
    silent = {scopes.vm(ROW): unknown(), scopes.tasks(SITE, ROW.node, ROW.vmid): unknown()}
    bulk = {**silent, **build.without(ROW.node, whole=whole)}

    assert wanted is type(resolve(op(ROW, verb), view(rows=[ROW], bulk=bulk), NOW))


def test_a_node_is_taken_for_removed_by_a_look_of_the_same_pass() -> None:
    """Nodes come back: what is given up, or a machine let go for good, is so by fresh evidence alone."""
    whole = view(rows=[ROW], bulk={scopes.vm(ROW): unknown(), **build.without(ROW.node)})
    asked = op(ROW, "prepare")
    polled = put(whole, ops=[asked], bulk={scopes.guestop(ROW, asked.id): unknown()})

    assert {scopes.vm(ROW), scopes.quorum(SITE)} <= {*machine.reads(machine_key(ROW), whole)}
    assert scopes.quorum(SITE) in machine.reads(machine_key(ROW), polled)


def test_a_vm_is_taken_for_anothers_by_a_look_of_the_same_pass() -> None:
    """And by the Nodes, where there is a cluster: its own may run under another number, and must not be let go."""
    theirs = seen(vm(ROW, options={"name": "theirs", "description": "", "smbios1": "uuid=1"}))
    before, after = (view(rows=[ROW], known=known, bulk={scopes.vm(ROW): theirs}) for known in (None, build.identity()))

    assert {scopes.vm(ROW), scopes.quorum(SITE)} == {*proof(before, ROW)}
    assert {scopes.vm(ROW), scopes.quorum(SITE), scopes.nodes(NAME)} == {*proof(after, ROW)}
    assert () == proof(put(after, bulk={scopes.vm(ROW): seen(vm(ROW))}), ROW)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (seen(build.clone_of(YOUNG)), Done),
        (seen(build.clone_of(YOUNG, lock="clone")), Failed),
        (seen(GONE), Absent),
        (unknown(), Failed),
    ],
    ids=["whole", "half", "none", "out of reach"],
)
def test_a_clone_is_judged_by_its_vm_once_the_node_of_its_template_is_removed(
    found: Any, wanted: type[Verdict]
) -> None:
    """No task runs there any more, and nobody lists those that ran."""
    asked, tasks = op(YOUNG, "clone", age=LATE), scopes.tasks(SITE, YOUNG.template_node, TEMPLATE)
    whole = view(rows=[YOUNG], bulk={scopes.vm(YOUNG): found, tasks: unknown(), **build.without(YOUNG.template_node)})

    assert wanted is type(resolve(asked, whole, NOW))
    assert {tasks, scopes.quorum(SITE)} == {*evidence(asked, whole)}


@pytest.mark.parametrize(("on", "wanted"), [("", Failed), ("pve1", Failed), ("pve2", Unknown)])
def test_a_start_is_given_up_with_its_templates_node_only_where_no_clone_is_listed_elsewhere(
    on: str, wanted: type[Verdict]
) -> None:
    """A VM that cannot be read, its own node being offline say, has left the node that its clone began on."""
    one = replace(YOUNG, node="pve2", template_node="pve1")
    listed = {one.vmid: Resource(one.vmid, on, one.name, "unknown", template=False, tags=(), lock="")} if on else {}
    away = Quorum(quorate=True, online=frozenset({"pve3"}), offline=frozenset({"pve2"}), whole=True)
    bulk = {scopes.vm(one): unknown(), scopes.resources(SITE): seen(listed), scopes.quorum(SITE): seen(away)}

    assert wanted is type(resolve(op(one, "start"), view(rows=[one], bulk=bulk), NOW))


@pytest.mark.parametrize("verb", GUEST_VERBS)
@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (unknown(), Unknown),
        (seen(vm(ROW)), Unknown),
        (seen(vm(ROW, status="stopped")), Failed),
        (seen(vm(ROW, options={"description": "", "smbios1": "uuid=1"})), Failed),
        (seen(GONE), Failed),
    ],
)
def test_a_machine_that_is_silent_because_it_is_off_has_been_interrupted(
    verb: str, found: Any, wanted: type[Verdict]
) -> None:
    """Its unit cannot have gone on; one that merely does not answer may."""
    assert wanted is type(on_guest(verb, None, age=1000, bulk={scopes.vm(ROW): found}))


@pytest.mark.parametrize("verb", GUEST_VERBS)
def test_a_silent_machine_whose_vm_runs_is_late_past_the_jobs_limit(verb: str) -> None:
    """Never failed for its silence: a job may go on behind it."""
    runs = {scopes.vm(ROW): seen(vm(ROW))}
    verdicts = [on_guest(verb, None, age=age, bulk=runs) for age in (299, 1801)]

    assert [False, True] == [isinstance(verdict, Unknown) and verdict.late for verdict in verdicts]
    assert not any(isinstance(verdict, Failed) for verdict in verdicts)


@pytest.mark.parametrize("verb", GUEST_VERBS)
def test_a_retired_machine_waits_for_no_answer_past_the_jobs_limit(verb: str) -> None:
    """It goes all the same; what cannot be seen of its VM is waited for."""
    one, runs = replace(ROW, retire="scaled"), {scopes.vm(ROW): seen(vm(ROW))}
    away = {
        scopes.quorum(ROW.site): seen(Quorum(quorate=True, online=frozenset({"pve2"}), offline=frozenset({ROW.node})))
    }
    situations = ((299, runs), (299, away), (1801, {}), (1801, runs), (1801, away))
    found = [on_guest(verb, None, one=one, age=age, bulk=bulk) for age, bulk in situations]

    assert [Unknown, Unknown, Unknown, Failed, Failed] == list(map(type, found))


@pytest.mark.parametrize("verb", GUEST_VERBS)
def test_a_retired_machine_that_was_moved_off_an_offline_node_is_asked_first(verb: str) -> None:
    """Its VM is seen to run elsewhere, so that it can be asked what became of the job; nobody has asked it yet."""
    one = replace(ROW, retire="scaled")
    away = Quorum(quorate=True, online=frozenset({"pve2"}), offline=frozenset({ROW.node}))
    bulk = {scopes.vm(ROW): seen(vm(ROW, node="pve2")), scopes.quorum(ROW.site): seen(away)}

    assert isinstance(resolve(op(one, verb, age=1801), view(rows=[one], bulk=bulk), NOW), Unknown)


def test_who_refuses_the_login_is_called_no_silent_machine() -> None:
    """Who does not trust whom is said, of one that goes as of one that stays."""
    asked = op(ROW, "join", age=2_000, handle="op-1")
    refused = replace(unknown("the key is refused for ubuntu, root"), code=Code.AUTH)
    bulk = {scopes.vm(ROW): seen(vm(ROW)), scopes.guestop(ROW, asked.id): refused}
    stays, goes = (
        resolve(asked, view(rows=[one], ops=[asked], bulk=bulk), NOW) for one in (ROW, replace(ROW, retire="scaled"))
    )

    why = "cannot be asked about join now: the key is refused for ubuntu, root"
    assert Unknown(f"{ROW.name} {why}", 5, late=True) == stays
    assert isinstance(goes, Failed)
    assert goes.sentence.endswith(
        "given up: the machine cannot be asked: the key is refused for ubuntu, root, and it goes"
    )


JOB = op(ROW, "join", id_="op-join", age=4000, slots=(f"control-plane:{NAME}",), before={"upids": []}, handle="op-join")


@pytest.mark.parametrize(
    ("tasks", "age", "wanted"),
    [
        ((own("qmreset"),), 1, (Done, False)),
        ((own("qmreset", "got timeout"),), 1, (Failed, True)),
        ((), LATE, (Failed, True)),
        ((), 1, (Unknown, False)),
    ],
)
def test_a_job_that_a_reset_was_to_end_goes_on_if_the_vm_was_not_reset(
    tasks: tuple[Task, ...], age: float, wanted: tuple[type[Verdict], bool]
) -> None:
    """As it was, with its permits: nothing is proved about it; after a reset it has ended."""
    whole = view(rows=[ROW], ops=[JOB], bulk={scopes.vm(ROW): seen(vm(ROW))})
    before = ResetVm(key=JOB.key, row=ROW, job=JOB).before(whole)
    verdict = acted("reset", UP, tasks, age, job=json.loads(json.dumps(before["job"])))

    assert wanted == (type(verdict), OpenOp(JOB) in getattr(verdict, "changes", ()))


def test_a_failed_verb_is_told_in_the_machines_own_words() -> None:
    """Reason and message, not an exit code."""
    verdict = on_guest("prepare", "failed")

    assert isinstance(verdict, Failed)
    assert "prepare on lab-general-9 failed: PreflightFailed: port 6443 is in use" == verdict.sentence


def test_of_what_was_lost_no_error_of_its_own_is_told() -> None:
    """Its unit went away and wrote no result: whatever stands there is of before."""
    verdict = on_guest("prepare", "lost")

    assert isinstance(verdict, Failed)
    assert "prepare on lab-general-9 was interrupted: the machine or its unit went away" == verdict.sentence


@pytest.mark.parametrize(
    ("verb", "changes"),
    [
        ("prepare", ()),
        ("kubeadm-reset", (DropFact(f"init/{NAME}"),)),
        ("etcd-snapshot", (PutFact(f"snapshot/{NAME}", NOW),)),
    ],
)
def test_a_verb_that_ended_well_is_done(verb: str, changes: tuple[Any, ...]) -> None:
    """A snapshot's time is remembered, and after a reset an init is the first one again, which forgives no failure."""
    assert Done(changes, progress=verb != "kubeadm-reset") == on_guest(verb, "done")


MASTER = row("u1", CP, 1)
API = scopes.api(NAME)


@pytest.mark.parametrize(
    ("api", "wanted"),
    [
        (unknown(), Running),
        (seen(Api(ready=False, version="", uid="k")), Running),
        (seen(Api(ready=True, version="v1.34.2", uid="")), Running),
        (seen(Api(ready=True, version="v1.34.2", uid="k")), Done),
    ],
)
def test_an_init_is_done_when_its_api_answers_with_an_identity(api: Any, wanted: type[Verdict]) -> None:
    """Exit code 0 is not a cluster."""
    assert wanted is type(on_guest("init", "done", one=MASTER, bulk={API: api}))


def test_the_cluster_gets_its_identity_with_the_init() -> None:
    """CA hash and kube-system UID, and the machine has joined."""
    verdict = on_guest("init", "done", one=MASTER, bulk={API: seen(Api(ready=True, version="", uid="k"))})

    identity = PutFact(f"identity/{NAME}", {"ca_hash": "sha256:aa", "uid": "k"})
    assert Done((identity, PutMachine(replace(MASTER, joined=True)), DropFact(f"init/{NAME}"))) == verdict


@pytest.mark.parametrize(
    "output",
    [
        {"voters": 2}, {"voters": 0}, {"config_maps": ["kubeadm-config"]}, {"config_maps": ["cluster-info"]},
        {"voters": None, "config_maps": []},
    ],
)  # fmt: skip
def test_an_init_that_left_no_whole_cluster_has_failed(output: dict[str, Any]) -> None:
    """Exit code, admin.conf and readyz prove nothing: one voter and both ConfigMaps of the late phases do."""
    api = {API: seen(Api(ready=True, version="", uid="k"))}

    verdict = on_guest("init", "done", one=MASTER, output=output, bulk=api)

    assert isinstance(verdict, Failed)


@pytest.mark.parametrize("state", ["failed", "lost"])
def test_a_failed_init_is_counted(state: str) -> None:
    """So that what fails over what it left is begun anew."""
    asked = op(MASTER, "init")
    polled = {scopes.guestop(MASTER, asked.id): seen({"state": state, "output": None, "error": None})}
    kept = {"uid": "u1", "sans": ["a"], "failed": 1}

    verdict = resolve(asked, view(rows=[MASTER], ops=[asked], bulk=polled, known={f"init/{NAME}": kept}), NOW)

    assert isinstance(verdict, Failed)
    assert (PutFact(f"init/{NAME}", {**kept, "failed": 2}),) == verdict.changes


NODE = scopes.node(NAME, MASTER.name)
ETCD = scopes.etcd(NAME)


def voter(**changes: Any) -> Members:
    """Return a list whose only member is the row's own."""
    return Members((build.member(MASTER, **changes),), "m-u1")


@pytest.mark.parametrize(
    ("bulk", "wanted"),
    [
        ({NODE: seen(node(MASTER)), ETCD: seen(voter())}, Done),
        ({NODE: seen(node(MASTER, system_uuid=system_uuid(MASTER.uid).upper())), ETCD: seen(voter())}, Done),
        ({NODE: seen(None), ETCD: seen(voter())}, Running),
        ({NODE: seen(node(MASTER, system_uuid="another")), ETCD: seen(voter())}, Running),
        ({NODE: seen(node(MASTER)), ETCD: seen(voter(learner=True))}, Running),
        ({NODE: seen(node(MASTER)), ETCD: seen(voter(started=False))}, Running),
        ({NODE: seen(node(MASTER)), ETCD: seen(voter(peer="https://10.0.0.110:2380"))}, Running),
        ({NODE: seen(node(MASTER)), ETCD: unknown()}, Running),
        ({NODE: unknown(), ETCD: seen(voter())}, Running),
    ],
)
def test_a_control_plane_has_joined_with_its_node_and_a_started_voter(
    bulk: Mapping[Any, Any], wanted: type[Verdict]
) -> None:
    """Node with our name and systemUUID, voter with our peer URL."""
    assert wanted is type(on_guest("join", "done", one=MASTER, bulk=bulk))


def test_a_worker_has_joined_with_its_node_and_its_strikes_are_forgiven() -> None:
    """It has no member."""
    struck = replace(ROW, strikes=2)

    verdict = on_guest("join", "done", one=struck, bulk={scopes.node(NAME, ROW.name): seen(node(ROW))})

    assert Done((PutMachine(replace(ROW, joined=True, strikes=0)),)) == verdict


@pytest.mark.parametrize("state", ["failed", "lost"])
def test_a_failed_join_is_a_strike(state: str) -> None:
    """Three of them retire the machine."""
    verdict = on_guest("join", state, one=replace(ROW, strikes=1))

    assert isinstance(verdict, Failed)
    assert (PutMachine(replace(ROW, strikes=2)),) == verdict.changes


REST = built()
HELD, MATE = of(REST, "u1"), of(REST, "u4")
MATES = scopes.node(NAME, MATE.name)
MASTERS = [one for one in REST.rows(NAME) if one.group == CP]


@pytest.mark.parametrize(
    ("bulk", "wanted"),
    [
        ({}, Done),
        ({scopes.vm(HELD): unknown()}, Running),
        ({scopes.vm(HELD): seen(vm(HELD, status="stopped"))}, Running),
        ({scopes.vm(HELD): seen(vm(HELD, pending=("memory",)))}, Running),
        ({scopes.vm(HELD): seen(vm(HELD, pending=("args",)))}, Done),
        ({scopes.node(NAME, HELD.name): unknown()}, Running),
        ({scopes.node(NAME, HELD.name): seen(None)}, Running),
        ({scopes.node(NAME, HELD.name): seen(node(HELD, ready="False"))}, Running),
        ({scopes.node(NAME, HELD.name): seen(node(HELD, unschedulable=True))}, Running),
        ({ETCD: unknown()}, Running),
        ({ETCD: seen(members(*MASTERS, sick=[HELD]))}, Running),
        ({ETCD: seen(members(*MASTERS[1:]))}, Running),
        ({ETCD: seen(Members((*members(*MASTERS[1:]).members, build.member(HELD, learner=True)), "m-u2"))}, Running),
        ({ETCD: seen(members(*MASTERS, sick=MASTERS[1:]))}, Done),
    ],
)
def test_a_reboots_hold_ends_when_the_machine_serves_again(bulk: Mapping[Any, Any], wanted: type[Verdict]) -> None:
    """Running without pending options of ours, Node Ready and schedulable, its own voter healthy."""
    assert wanted is type(resolve(hold(HELD), put(REST, bulk=bulk), NOW))


def test_a_workers_hold_does_not_ask_etcd() -> None:
    """It has no voter; its remedy is forgotten with the hold."""
    whole = put(REST, bulk={ETCD: unknown()})

    assert Done((DropFact("remedy/u4"), DropFact("boot/u4"))) == resolve(hold(MATE), whole, NOW)


def test_a_ready_from_before_the_reboot_ends_no_hold() -> None:
    """A Node goes on saying Ready for its grace after its machine went off: another boot has to say it."""
    before = put(REST, known={"boot/u4": "boot-1"}, bulk={MATES: seen(node(MATE, boot_id="boot-1"))})
    after = put(before, bulk={MATES: seen(node(MATE, boot_id="boot-2"))})

    assert (Running, Done) == (type(resolve(hold(MATE), before, NOW)), type(resolve(hold(MATE), after, NOW)))


def test_a_shutdown_remembers_the_boot_that_it_ended() -> None:
    """From the Node as it was when the shutdown was begun."""
    off = put(
        REST,
        bulk={scopes.vm(MATE): seen(vm(MATE, status="stopped")), scopes.tasks(SITE, MATE.node, MATE.vmid): seen(())},
    )
    verdict = resolve(op(MATE, "shutdown", before={"upids": [], "boot": "boot-1"}), off, NOW)

    assert Done((PutFact("boot/u4", "boot-1"),)) == verdict


@pytest.mark.parametrize("verb", ["reboot", "retire"])
def test_a_retirements_hold_ends_only_with_its_row(verb: str) -> None:
    """However well the machine is."""
    going = replace(MATE, retire="scaled")
    asked = hold(going, verb)

    assert isinstance(resolve(asked, put(REST, going), NOW), Running)
    assert Done() == resolve(asked, view(), NOW)


def test_an_op_of_no_known_verb_is_an_error_and_not_a_guess() -> None:
    """A new verb needs its rule."""
    with pytest.raises(AssertionError, match="frobnicate"):
        resolve(op(ROW, "frobnicate"), view(rows=[ROW]), NOW)


ALL_VERBS = ("clone", "resize", *POWER, "destroy", *GUEST_VERBS, "reboot", "retire")


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_without_evidence_nothing_is_concluded(verb: str) -> None:
    """However old the op is: unknown is not absent."""
    verdict = resolve(op(ROW, verb, age=1e6), view(rows=[ROW]), NOW)

    assert isinstance(verdict, Unknown | Running)


class Asked(dict[Any, Any]):
    """Observations that remember which of them were looked at."""

    def __init__(self, found: Mapping[Any, Any]) -> None:
        super().__init__(found)
        self.scopes: set[Any] = set()

    def get(self, scope: Any, default: Any = None) -> Any:
        """Remember and return."""
        self.scopes.add(scope)
        return super().get(scope, default)


@pytest.mark.parametrize(
    ("polled", "more"),
    [
        (None, False),
        (seen({"state": "running"}), False),
        (seen({"state": "done"}), True),
        (seen({"state": "lost"}), True),
        (unknown(), True),
    ],
)
@pytest.mark.parametrize("verb", GUEST_VERBS)
def test_of_a_guest_at_work_nothing_else_is_read(verb: str, polled: Any, more: bool) -> None:
    """It says itself how it stands; once it has ended, or is silent, the rest is read in the same pass."""
    asked = op(ROW, verb)
    bulk = {scopes.guestop(ROW, asked.id): polled} if polled is not None else {}
    read = evidence(asked, view(rows=[ROW], ops=[asked], bulk=bulk))

    assert scopes.guestop(ROW, asked.id) in read
    assert more == (scopes.vm(ROW) in read)


@pytest.mark.parametrize("one", [ROW, MASTER])
@pytest.mark.parametrize("verb", [verb for verb in ALL_VERBS if verb not in {"reboot", "retire"}])
def test_a_verdict_rests_only_on_what_a_pass_reads_afresh_for_it(verb: str, one: Machine) -> None:
    """On anything else it would be old, or unknown for good; the VM is always read."""
    asked = op(one, verb, before={"upids": [], "disk": "scsi0", "size_gb": 20})
    ended = {scopes.guestop(one, asked.id): seen({"state": "done"})}
    whole = view(rows=[one], ops=[asked], bulk=ended)
    read = {*evidence(asked, whole), scopes.vm(one)}
    done = {"state": "done", "output": WHOLE}
    good = {"tasks": (), "vm": vm(one), "guestop": done, "api": Api(ready=True, version="", uid="k")}
    found = Asked({scope: seen(good.get(scope.kind)) for scope in read})
    found |= {scopes.node(NAME, one.name): seen(node(one)), ETCD: seen(members(MASTER))}

    resolve(asked, replace(whole, bulk=found), NOW)

    assert found.scopes - {scopes.resources(SITE)} <= read


@settings(max_examples=150, deadline=None)
@given(
    lock=st.sampled_from(("", "clone", "backup")),
    mark=st.sampled_from(("ours", "theirs", "none")),
    tasks=st.lists(st.sampled_from((MINE, RUNNING, BROKEN, OLD, OTHERS)), max_size=3, unique_by=lambda one: one.upid),
    exists=st.booleans(),
    age=st.sampled_from((1.0, LATE)),
)
def test_a_clone_is_never_done_for_a_vm_that_is_not_marked_as_ours(
    lock: str, mark: str, tasks: list[Task], exists: bool, age: float
) -> None:
    """And never absent while a VM stands under its VMID: a second clone would be a duplicate."""
    line = {"ours": fields.mark(INSTALLATION, ROW, "op-1"), "theirs": "cpcd/1 other prod x op", "none": ""}[mark]
    found = clone_of(ROW, lock=lock, config={"name": ROW.name, "description": line}) if exists else GONE

    verdict = cloned(found, tuple(tasks), age)

    if isinstance(verdict, Done):
        assert (True, "ours", "") == (exists, mark, lock)
    if isinstance(verdict, Absent):
        assert not exists
        assert RUNNING not in tasks


@pytest.mark.parametrize(
    ("verb", "limit"),
    [("etcd-snapshot", "command"), ("prepare", "ansible"), ("kubeadm-reset", "bootstrap"), ("init", "bootstrap")],
)
def test_what_runs_past_its_own_limit_is_called_late(verb: str, limit: str) -> None:
    """Each class has its limit in `policy.timeouts`, and no other does for it; late is said, nothing is ended."""
    asked = op(MASTER, verb, age=101)
    polled = {scopes.guestop(MASTER, asked.id): seen({"state": "running", "output": None, "error": None})}
    every = dict.fromkeys(("command", "ansible", "bootstrap", "clone", "start"), 1000.0)
    late = []
    for limits in (Timeouts(**every), Timeouts(**{**every, limit: 100.0})):
        scene = view(replace(cluster(), timeouts=limits), rows=[MASTER], ops=[asked], bulk=polled)
        verdict = resolve(asked, scene, NOW)
        late.append(isinstance(verdict, Running) and verdict.late)

    assert [False, True] == late


@pytest.mark.parametrize(
    ("verb", "limit"),
    [("shutdown", "command"), ("stop", "command"), ("reset", "command"), ("destroy", "command"), ("start", "start")],
)
def test_a_task_that_runs_past_its_own_limit_is_called_late(verb: str, limit: str) -> None:
    """What only switches a VM is short; a start may take as long as the machine."""
    asked = op(ROW, verb, age=101, handle="UPID:1")
    running = Task("UPID:1", f"qm{verb}", ROW.vmid, "")
    found = {scopes.vm(ROW): seen(vm(ROW)), scopes.tasks(ROW.site, ROW.node, ROW.vmid): seen((running,))}
    every = dict.fromkeys(("command", "ansible", "bootstrap", "clone", "start"), 1000.0)
    late = []
    for limits in (Timeouts(**every), Timeouts(**{**every, limit: 100.0})):
        scene = view(replace(cluster(), timeouts=limits), rows=[ROW], ops=[asked], bulk=found)
        verdict = resolve(asked, scene, NOW)
        late.append(isinstance(verdict, Running) and verdict.late)

    assert [False, True] == late


@pytest.mark.parametrize(("took", "after"), [(0.2, 1.0), (PATIENCE + 0.2, 1.0), (PATIENCE + 4.0, 8.0)])
def test_a_machine_that_answers_slowly_is_asked_more_seldom(took: float, after: float) -> None:
    """Each question is work for it too, beside the job that it is asked about; to wait for the job's end is none."""
    asked = op(ROW, "join", age=30)
    polled = {scopes.guestop(ROW, asked.id): replace(seen({"state": "running"}), took=took)}
    verdict = resolve(asked, view(rows=[ROW], ops=[asked], bulk=polled), NOW)

    assert isinstance(verdict, Running)
    assert after == verdict.after
