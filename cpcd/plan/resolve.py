"""Op × evidence → verdict: the only thing that closes an operation, after a reply as after a crash.

A reply, a time-out or an exception proves nothing; what is read afterwards does. `Unknown` keeps everybody off the
target. Start-up is the same pass as any other.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from cpcd.model.desired import Timeouts
from cpcd.model.errors import Code
from cpcd.model.keys import Scope, Uid, Wall
from cpcd.model.ledger import Change, DropFact, Machine, Op, OpenOp, PutFact, PutMachine
from cpcd.model.plan import Absent, Done, Failed, Running, Unknown, Verdict
from cpcd.model.seen import Api, Members, Node, Seen, Task, Vm
from cpcd.model.texts import judged
from cpcd.model.view import View
from cpcd.plan import alloc, fields, growth, scopes
from cpcd.plan.case import PATIENCE, because, departed, leisure, offline, proof, removed, usurped
from cpcd.plan.effects import COOL_DOWN, OPS, ResetVm, Write
from cpcd.plan.member import joined
from cpcd.plan.retire import left

__all__ = ["evidence", "resolve", "unanswered"]

# Seconds after the send in which an effect may still begin unseen: the request's own limit and Proxmox's 30 s inside.
SETTLE: Final = 75.0
GUEST_SETTLE: Final = 20.0


def evidence(op: Op, view: View) -> tuple[Scope, ...]:
    """Return the scopes that `resolve` needs fresh for an op of a machine."""
    row, kind = view.machines.get(Uid(op.key.name)), OPS.get(op.verb)
    if row is None or kind is None:
        return ()
    if issubclass(kind, Write):
        listed = view.bulk.get(kind.tasks(row))
        # Of a Proxmox node that was removed nobody lists tasks any more.
        return (kind.tasks(row), *((scopes.quorum(row.site),) if listed and not listed.complete else ()))
    polled = view.bulk.get(scopes.guestop(row, op.id))
    return (
        scopes.guestop(row, op.id),
        *((*kind.proof(row), *proof(view, row)) if polled and not _at_work(polled) else ()),
    )


def _at_work(polled: Seen[Any]) -> bool:
    """Whether a guest answers that it is still at work: then nothing else tells anything yet."""
    return polled.known is not None and polled.known["state"] == "running"


def resolve(op: Op, view: View, now: Wall) -> Verdict:
    """Return what the evidence says of an op; past its limit (`policy.timeouts`) a running one is called late.

    A join that ended well but made no member by then has failed: what it left is cleaned before the next.
    """
    row = view.machines.get(Uid(op.key.name))
    if row is None:
        return Done()
    verdict, limit = _judge(op, row, view, now), _limit(op, row, view)
    if isinstance(verdict, Unknown) and (gone := removed(row, view)):
        # Nobody will ever tell, and what could be there is in reach of nobody.
        words = f"{op.verb} of {row.name} was given up: Proxmox node {gone} is no longer in its cluster"
        return Failed(Code.EXECUTION, words)
    if not isinstance(verdict, Running) or now - op.opened <= limit:
        return verdict
    if op.verb == "join" and (_polled(op, row, view) or {}).get("state") == "done":
        struck = PutMachine(replace(row, strikes=row.strikes + 1))
        return Failed(Code.TIMEOUT, f"{row.name} joined but became no member within {limit / 60:.0f} min", (struck,))
    minutes = (now - op.opened) / 60
    return Running(
        verdict.after, f"{verdict.sentence}, for {minutes:.0f} min already (limit {limit / 60:.0f})", late=True
    )


def _limit(op: Op, row: Machine, view: View) -> float:
    """A disruption has none: it stays open for as long as it lasts."""
    cluster, kind = view.cluster(row.cluster), OPS.get(op.verb)
    limits = cluster.timeouts if cluster else Timeouts()
    return float(getattr(limits, kind.timeout)) if kind else math.inf


def _judge(op: Op, row: Machine, view: View, now: Wall) -> Verdict:
    match op.verb:
        case "clone":
            return _clone(op, row, view, now)
        case "init":
            return _init(op, row, view, now)
        case "join":
            return _join(op, row, view, now)
        case "reboot" | "retire":
            return _hold(row, view)
        case verb if verb in OPS:
            return _task(op, row, view, now) if issubclass(OPS[verb], Write) else _guest(op, row, view, now)
        case other:
            raise AssertionError(f"no rule resolves the verb {other}")


def _vm(row: Machine, view: View) -> Vm | None:
    seen: Vm | None = view.known(scopes.vm(row))
    return seen


def _clone(op: Op, row: Machine, view: View, now: Wall) -> Verdict:
    vm = _vm(row, view)
    tasks = view.known(scopes.tasks(row.site, row.template_node, row.template))
    if tasks is None and departed(view, row.site, row.template_node):
        tasks = ()  # none outlives its node, and what it made may have come to the machine's before
    # The task before the VM: while it runs a VM is there that is locked and half made (P22).
    task, early = _clone_task(op, row, tasks or ()), now - op.opened <= SETTLE
    if task is not None and not task.exit:
        return Running(_glance(op, now), f"{row.name} is being cloned")
    if vm is None or tasks is None:
        return Unknown(f"whether {row.name} was cloned cannot be read now", 1)
    return _clone_made(row, view, vm, task, early=early) if vm.exists else _clone_missing(row, view, task, early=early)


def _clone_made(row: Machine, view: View, vm: Vm, task: Task | None, *, early: bool) -> Verdict:
    """A VM is there: ours and whole, somebody else's, or half of one whose worker died."""
    claimed = fields.owner(vm) == (view.installation, row.cluster, row.uid)
    if claimed and not vm.lock:
        return Done()
    # Locked by a clone and without a mark it may be ours: the mark comes with the first disk (P22).
    if not claimed and (vm.lock != "clone" or fields.owner(vm) is not None):
        return Failed(Code.VALIDATION, f"VMID {row.vmid} belongs to somebody else", _elsewhere(row, view))
    if task is not None and task.ok:
        return Unknown(f"whether {row.name} is being cloned cannot be told yet")
    if task is None and early:
        return Unknown(f"VM {row.vmid} is locked and no task of ours is known")
    return _quarantine(row, view, vm.node)


def _clone_missing(row: Machine, view: View, task: Task | None, *, early: bool) -> Verdict:
    """No VM is there: the clone failed and was cleaned away, or it was never begun."""
    if task is not None and not task.ok:
        taken = str(row.vmid) in task.exit or "already exists" in task.exit  # a full storage is no reason to move on
        return _exited(f"cloning {row.name}", task, _elsewhere(row, view) if taken else ())
    if task is None and early:
        return Unknown(f"whether {row.name} is being cloned cannot be told yet")
    return Absent()


def _clone_task(op: Op, row: Machine, tasks: tuple[Task, ...]) -> Task | None:
    """A qmclone's UPID carries the template's VMID; only its log names the new one (`failures.md` P22)."""
    before = set(op.before.get("upids", ()))
    named = [t for t in tasks if t.upid == op.handle]
    made = [t for t in tasks if t.type == "qmclone" and t.upid not in before and t.made == row.vmid]
    return min(named or made, key=lambda t: bool(t.exit), default=None)  # one that runs speaks first


def _elsewhere(row: Machine, view: View) -> tuple[Change, ...]:
    """Go on under another VMID; the old one cools down."""
    cluster = view.cluster(row.cluster)
    other = alloc.vmid(view, cluster) if cluster else None
    retired = PutFact(f"vmid/{row.site}/{row.vmid}", view.wall + COOL_DOWN)
    return (retired, PutMachine(replace(row, vmid=other))) if other else (retired,)


def _quarantine(row: Machine, view: View, node: str) -> Verdict:
    """A half clone without its worker stays locked: only root with a ticket can remove it (recorded: locks)."""
    fact = PutFact(f"vmid/{row.site}/{row.vmid}", None)
    words = f"the clone of {row.name} died and left VM {row.vmid} locked; on {node}: qm unlock {row.vmid} && qm destroy {row.vmid} --purge"
    return Failed(Code.EXECUTION, words, (fact, *_elsewhere(row, view)[1:]))


def _task(op: Op, row: Machine, view: View, now: Wall) -> Verdict:
    vm = _vm(row, view)
    tasks: tuple[Task, ...] | None = view.known(scopes.tasks(row.site, row.node, row.vmid))
    if vm is None:
        return Unknown(f"the VM of {row.name} cannot be read now")
    # Whatever became of its task, which may never have been seen: that it is gone is what was wanted.
    if op.verb == "destroy" and not vm.exists:
        return Done()
    if tasks is None:
        return Unknown(f"the tasks of {row.name} cannot be read now")
    task = _own_task(op, tasks)
    if task is not None and not task.exit:
        return Running(_glance(op, now), f"{op.verb} of {row.name} is on its way")
    # Before what the task says of itself: a start that fails may leave a VM that runs (P17).
    if _reached(op, vm, task):
        return Done(_counted(op, row, view))
    return _reopened(op, _unreached(op, row, task, view, now))


def _unreached(op: Op, row: Machine, task: Task | None, view: View, now: Wall) -> Verdict:
    """No task of it runs and what was wanted is not there: it failed, or was never begun."""
    if task is not None and not task.ok:
        # A QEMU that is wedged takes no reset, however often; one that waited for a lock in vain (P01) never asked it.
        tried = op.verb == "reset" and "qmp command" in task.exit
        return _exited(f"{op.verb} of {row.name}", task, ResetVm.tried(row, view) if tried else ())
    if now - op.opened > SETTLE:
        return Absent()
    return Unknown(f"whether {op.verb} of {row.name} has begun cannot be told yet", 3)


def _reopened(op: Op, verdict: Verdict) -> Verdict:
    """A job that a reset was to end goes on if the VM was not reset."""
    job = ResetVm.interrupted(op) if op.verb == "reset" else None
    match verdict:
        case Failed() if job:
            return replace(verdict, changes=(*verdict.changes, OpenOp(job)))
        case Absent() if job:
            return Failed(Code.EXECUTION, "a reset was sent and has not begun", (OpenOp(job),))
        case _:
            return verdict


def _glance(op: Op, now: Wall) -> float:
    """Look soon again at what may take half a second, as linked clones do: others wait for its slot."""
    return 0.25 if now - op.opened < 1 else 0.5


def _exited(what: str, task: Task, changes: tuple[Change, ...] = ()) -> Failed:
    code, said, hint, _ = judged(task.exit)
    return Failed(code, f"{what} failed: {said}", changes, hint)


def _counted(op: Op, row: Machine, view: View) -> tuple[Change, ...]:
    match op.verb:
        case "start" if not row.started:
            return (PutMachine(replace(row, started=True)),)
        case "resize":
            followed = op.before.get("growth")
            known = (PutFact(f"growth/{row.uid}", followed),) if followed else ()
            return (PutFact(f"grown/{row.uid}", op.before.get("size_gb", 0)), *known)
        case "shutdown":
            return _boot_ended(op, row)
        case "etcd-snapshot":
            return (PutFact(f"snapshot/{row.cluster}", view.wall),)
        case "kubeadm-reset":
            return (DropFact(f"init/{row.cluster}"),)  # an init that is begun after it is the first one again
        case "reset":
            return (*ResetVm.tried(row, view), *_boot_ended(op, row))
        case _:
            return ()


def _boot_ended(op: Op, row: Machine) -> tuple[Change, ...]:
    return (PutFact(f"boot/{row.uid}", op.before["boot"]),) if op.before.get("boot") else ()


def _own_task(op: Op, tasks: tuple[Task, ...]) -> Task | None:
    """The reply that named it may be lost (P20): then it is one of its type that was not there before.

    Where nobody had looked before, it is one that runs: an older one that has ended proves nothing about this write.
    """
    kind, before = OPS[op.verb], op.before.get("upids")
    named = (t for t in tasks if t.upid == op.handle)
    own = (t for t in tasks if issubclass(kind, Write) and t.type == kind.task)
    later = (t for t in own if (t.upid not in before if before is not None else not t.exit))
    return next(chain(named, later), None)


def _reached(op: Op, vm: Vm, task: Task | None) -> bool:
    ended_well = task is not None and task.ok
    match op.verb:
        case "start":
            return vm.status == "running"
        case "shutdown" | "stop":
            return vm.off
        case "resize":
            return ended_well or _grown(op, vm)  # one that timed out has grown, its config never says so (P04)
        case "reset":
            return ended_well
        case _:
            return False


def _grown(op: Op, vm: Vm) -> bool:
    size = fields.boot_disk_gb(vm.config, str(op.before.get("disk", "")))
    return size is not None and size >= float(op.before.get("size_gb", 0))


def _polled(op: Op, row: Machine, view: View) -> Any:
    return view.known(scopes.guestop(row, op.id))


def _guest(op: Op, row: Machine, view: View, now: Wall) -> Verdict:
    """A long verb on a machine: its result file decides."""
    polled = _polled(op, row, view)
    if polled is None:
        return _silent(op, row, view, now)
    match polled["state"]:
        case "done":
            return Done(_counted(op, row, view), progress=op.verb != "kubeadm-reset")
        case "running":
            return Running(leisure(view, scopes.guestop(row, op.id), waited=PATIENCE), f"{op.verb} runs on {row.name}")
        case "absent":
            early = now - op.opened < GUEST_SETTLE
            return Unknown(f"{row.name} has not begun {op.verb} yet", 3) if early else Absent()
        case "lost":
            return Failed(Code.EXECUTION, f"{op.verb} on {row.name} was interrupted: the machine or its unit went away")
        case _:
            error = polled.get("error") or {}
            words = f"{error.get('reason', 'Failed')}: {error.get('message', '')}".strip()
            return Failed(Code.EXECUTION, f"{op.verb} on {row.name} failed: {words}")


def _silent(op: Op, row: Machine, view: View, now: Wall) -> Verdict:
    vm = _vm(row, view)
    # Nobody will ever answer there, and an answer would be waited for without end.
    if vm is not None and (vm.off or usurped(view, row)):
        return Failed(Code.EXECUTION, f"{op.verb} on {row.name} was interrupted: its VM is off or gone")
    late = unanswered(op, row, view, now)
    why = because(view, scopes.guestop(row, op.id))
    beyond = vm is None and offline(row, view) and now - op.opened > _limit(op, row, view)
    # What may run there still ends with the VM, and a retirement proves each of its own steps.
    if row.retire and (late or beyond):
        return Failed(
            Code.TIMEOUT, f"{op.verb} on {row.name} is given up: the machine cannot be asked{why}, and it goes"
        )
    return Unknown(f"{row.name} cannot be asked about {op.verb} now{why}", 5, late)


def unanswered(op: Op, row: Machine, view: View, now: Wall) -> bool:
    """Return whether the machine of a job that is past its limit has a VM that runs, and does not answer for it."""
    polled, vm = view.bulk.get(scopes.guestop(row, op.id)), _vm(row, view)
    asked = polled is not None and not polled.complete and vm is not None and vm.status == "running"
    return asked and now - op.opened > _limit(op, row, view)


def _init(op: Op, row: Machine, view: View, now: Wall) -> Verdict:
    match _guest(op, row, view, now):
        case Failed(code, sentence):
            return Failed(code, sentence, _struck(row, view))
        case Done():
            return _made(row, view, _polled(op, row, view).get("output") or {})
        case verdict:
            return verdict


def _struck(row: Machine, view: View) -> tuple[Change, ...]:
    kept = view.facts.get(f"init/{row.cluster}") or {}
    return (PutFact(f"init/{row.cluster}", {**kept, "failed": kept.get("failed", 0) + 1}),)


def _made(row: Machine, view: View, output: Mapping[str, Any]) -> Verdict:
    """Exit code 0 is not a cluster: one voter, the ConfigMaps of the late phases, and an API that says which it is."""
    if output.get("voters") != 1 or not {"kubeadm-config", "cluster-info"} <= set(output.get("config_maps", ())):
        words = f"init on {row.name} ended well and left no whole cluster: one voter, kubeadm-config and cluster-info"
        return Failed(Code.VALIDATION, words, _struck(row, view))
    api: Api | None = view.known(scopes.api(row.cluster))
    if api is None or not api.ready or not api.uid:
        return Running(1, f"the control plane on {row.name} is initialised; waiting for its API")
    identity = {"ca_hash": str(output.get("ca_hash", "")), "uid": api.uid}
    return Done((PutFact(f"identity/{row.cluster}", identity), joined(row), DropFact(f"init/{row.cluster}")))


def _join(op: Op, row: Machine, view: View, now: Wall) -> Verdict:
    verdict = _guest(op, row, view, now)
    match verdict:
        case Failed(code, sentence):
            # Counted on the row: after `maxRetry` of them it is replaced (`fleet.py`).
            return Failed(code, sentence, (PutMachine(replace(row, strikes=row.strikes + 1)),))
        case Done():
            return _membership(row, view)
        case _:
            return verdict


def _membership(row: Machine, view: View) -> Verdict:
    """Exit code 0 is not membership: Node with our UUID, and a started voter with our peer URL."""
    node: Node | None = view.known(scopes.node(row.cluster, row.name))
    present = node is not None and node.of(row.uid)
    if present and (row.role != "control-plane" or _voter(row, view)):
        return Done((joined(row),))
    return Running(1, f"{row.name} has joined; waiting for its Node{' and etcd member' if present else ''}")


def _voter(row: Machine, view: View) -> bool:
    members: Members | None = view.known(scopes.etcd(row.cluster))
    own = members.at(row.address) if members else None
    return own is not None and own.started and not own.learner


def _hold(row: Machine, view: View) -> Verdict:
    """A reboot's hold ends when the machine serves again; a retirement's when it has left and nothing of it runs."""
    if row.retire:
        return Done() if left(row, view) else Running(5)
    if not _back(row, view) or not _serving(row, view):
        return Running(5)
    return Done((DropFact(f"remedy/{row.uid}"), DropFact(f"boot/{row.uid}")))


def _back(row: Machine, view: View) -> bool:
    """Whether the VM runs with all that a cold start was needed for."""
    vm = _vm(row, view)
    return vm is not None and vm.status == "running" and not fields.late(vm) and not growth.due(row, view)


def _serving(row: Machine, view: View) -> bool:
    """Whether the machine serves since its reboot: Node Ready and schedulable, etcd member healthy."""
    node: Node | None = view.known(scopes.node(row.cluster, row.name))
    if node is None or node.ready != "True" or node.unschedulable:
        return False
    # A Node says Ready until its kubelet has been silent for the grace period (recorded [448]), so that Ready alone may
    # be of the boot before.
    anew = node.boot_id != view.facts.get(f"boot/{row.uid}")
    return anew and (row.role != "control-plane" or _healthy(row, view))


def _healthy(row: Machine, view: View) -> bool:
    members: Members | None = view.known(scopes.etcd(row.cluster))
    own = members.at(row.address) if members else None
    return own is not None and own.healthy and not own.learner
