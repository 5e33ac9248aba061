"""A member's daily life: options kept equal, disks grown, reboots with drain, remedies for a sick node.

The ladder of a change is in place → reboot; replacement is `fleet`'s. The ladder of a remedy is start → reset →
replace, softest first; each rung waits for the time that the unhealthy condition itself is given.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cpcd.model.desired import Cluster, Health, Remedy, Unhealthy
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Action, Condition, Plan, Status
from cpcd.model.seen import Node, Vm
from cpcd.model.view import View
from cpcd.plan import consent, effects, fields, growth, kubeadm, scopes
from cpcd.plan.case import Case, acting, waiting
from cpcd.plan.drain import drain
from cpcd.plan.prepare import baseline
from cpcd.plan.provision import grow, unfit

__all__ = ["ails", "sick_for", "silent", "upkeep"]


def upkeep(case: Case, vm: Vm) -> Plan:
    """Return the next step of a member's upkeep, or that it is Ready."""
    if case.hold is not None:
        return _serve(case, vm)
    return _drift(case, vm) or _health(case) or _misfit(case, vm) or _ready(case, vm)


def sick_for(case: Case) -> float | None:
    """Return for how many seconds past its time-out the node is unhealthy, None when it is not.

    By what this daemon has seen and not by the transition's own time, which is of the cluster's clock: with cpcd's
    ahead of that one, a node would be sick at first sight.
    """
    node = case.node
    if node is None:
        return _absent_for(case)
    scope = scopes.node(case.row.cluster, case.row.name)
    past = (
        case.view.wall - case.view.since.get(scopes.lasting(scope, condition), condition[2]) - rule.timeout
        for rule, condition in _held(node, case.cluster.health)
    )
    return max(past, default=None)


def ails(row: Machine, cluster: Cluster, view: View) -> bool:
    """Return whether a machine is not well, by the last look at all Nodes: not Ready, or a rule holds.

    For limits, so with no time-out: who has not been sick for long enough serves as little as who has, and who cannot
    be seen is not known to serve.
    """
    nodes: Mapping[str, Node] = view.known(scopes.nodes(row.cluster)) or {}
    node = nodes.get(row.name)
    return node is None or not node.of(row.uid) or node.ready != "True" or any(_held(node, cluster.health))


def _held(node: Node, health: Health) -> Iterator[tuple[Unhealthy, tuple[str, str, float]]]:
    """Yield the rules that a Node is under, each with the condition that it is under it by.

    A node that is not Ready for want of a CNI is not sick: no remedy brings one (`failures.md` K22).
    """
    for rule in health.conditions:
        for condition in node.said if node.networked else node.conditions:
            if condition[:2] == (rule.type, rule.status):
                yield rule, condition


def _absent_for(case: Case) -> float | None:
    """A Node that somebody deleted comes back when its kubelet restarts (recorded [424]): as sick as NotReady."""
    seen = case.node_seen
    if not case.api_ready or seen is None or not seen.complete:
        return None
    told = case.view.since.get(f"{case.key}/NodeSick")
    if told is not None:  # past its time already when that was told, which ended the wait that timed it
        return case.view.wall - told
    began = case.view.since.get(f"{case.key}/NodeNotReady")
    limit = min((rule.timeout for rule in case.cluster.health.conditions), default=300.0)
    return case.view.wall - began - limit if began is not None else -limit


def _drift(case: Case, vm: Vm) -> Plan | None:
    """What differs from what is wanted, softest first; whose successor comes is spared what is felt."""
    if case.replaced:
        return _configure(case, vm) or _prepare(case)
    return _configure(case, vm) or grow(case, vm, case.group.machine) or _prepare(case) or _reboot(case, vm)


def _configure(case: Case, vm: Vm) -> Plan | None:
    differing = fields.delta(case.cluster, case.group.machine, vm.config)
    if case.replaced or case.group.in_place == "Never":  # what a running VM takes at once nobody feels
        differing = {name: value for name, value in differing.items() if name in fields.HOT}
    if not differing:
        return None
    digest = str(vm.config.get("digest", ""))
    return acting("Updating", effects.Configure(key=case.key, row=case.row, options=differing, digest=digest))


def _misfit(case: Case, vm: Vm) -> Plan | None:
    """Refuse a boot disk that cannot be had here, after everything else, so that no remedy is kept off."""
    return None if case.replaced else unfit(case, vm.config, f"VM {case.row.vmid}")


def _prepare(case: Case) -> Plan | None:
    wanted = kubeadm.profile(case.cluster, case.group.machine.timezone)
    if case.facts is None or case.facts.prepared in {"", wanted}:
        return None
    return acting("Updating", effects.Prepare(key=case.key, row=case.row, given=baseline(case)))


def _reboot(case: Case, vm: Vm) -> Plan | None:
    why = _cause(case, vm)
    if not why:
        return None
    hold = _hold(case, why)
    # With one voter its reboot is an outage of the API, which has a snapshot before it (promise 5).
    alone = case.control_plane and case.members is not None and len(case.members.voters) == 1
    taken = case.view.facts.get(f"snapshot/{case.row.cluster}", 0.0)
    if alone and case.view.wall - taken > 3600:
        return acting("Updating", effects.Snapshot(key=case.key, row=case.row, hold=hold))
    return acting("Updating", hold)


def _cause(case: Case, vm: Vm) -> str:
    """Return what the machine needs a reboot for, empty where it needs none; the same words before as after."""
    if late := fields.late(vm):  # which is a boot for its file system too
        return f"a cold start is needed for {', '.join(f'{name}={vm.config.get(name)}' for name in late)}"
    followed = growth.followed(case.row, case.view)
    return _grows(case) if growth.due(case.row, case.view) and followed is False else ""


def _hold(case: Case, why: str) -> effects.Hold:
    return effects.Hold(key=case.key, row=case.row, why=why, limit=case.cluster.blast.max_unavailable)


def _grows(case: Case) -> str:
    spec = case.group.machine
    return f"its file system grows into the {spec.boot_disk_gb} GiB of {spec.boot_disk} at a boot"


def _unseen(case: Case) -> tuple[str, ...]:
    """Return the consent that may be asked for still: a cause that cannot be seen has not ended."""
    blind = growth.due(case.row, case.view) and growth.followed(case.row, case.view) is None
    return (_hold(case, _grows(case)).request,) if blind and not case.replaced else ()


def _serve(case: Case, vm: Vm) -> Plan:
    """Carry an open disruption to its end: drained → off (started again by `provision`) → Ready → schedulable."""
    node = case.node
    if fields.late(vm) or growth.due(case.row, case.view):
        return drain(case) or acting("Rebooting", effects.Shutdown(key=case.key, row=case.row))
    ended = case.view.facts.get(f"boot/{case.row.uid}")
    if node is None or node.ready != "True" or node.boot_id == ended:
        return _overdue(case) or waiting(
            "Rebooting", f"{case.row.name} is on its way back: waiting for its Node to be Ready", after=3
        )
    if node.unschedulable:
        return acting("Rebooting", effects.Uncordon(key=case.key, row=case.row))
    return waiting("Rebooting", f"{case.row.name} serves again: waiting for its etcd member", after=3)


def _overdue(case: Case) -> Plan | None:
    """Not Ready is what a machine is while it boots; after this time it is sick like any other."""
    late = case.hold is not None and case.view.wall - case.hold.opened > case.cluster.health.startup_timeout
    remedy = _health(case) if late else None
    return remedy if remedy is not None and remedy.steps else None


def _health(case: Case) -> Plan | None:
    late = sick_for(case)
    if late is None:
        return _unnetworked(case)
    last = case.view.facts.get(f"remedy/{case.row.uid}", 0.0)
    ready = case.node is not None and case.node.ready == "True"
    sentence = f"{case.row.name} is {'unhealthy by healthCheck' if ready else 'not Ready'}"
    sick = _sick(sentence, "NodeNotReady")
    # After a remedy it has as long again (ADR 0009).
    if late < 0 or case.view.wall - last < case.cluster.health.patience:
        return sick
    if Remedy.RESET in case.cluster.health.ladder and case.row.strikes == 0:
        # It is as sick as before while the reset waits, for consent say.
        return replace(acting("Remediating", effects.ResetVm(key=case.key, row=case.row)), wait=sick.wait)
    return _sick(f"{sentence} and a reset did not help", "NodeSick")


def silent(case: Case, op: Op) -> Plan:
    """Reset a machine that answers nothing while a job on it is open past its limit: no job outlives the boot.

    A member by what its Node says, as any other. Who has not joined has no Node: once, when it has been silent for the
    time that a remedy is given; what does not help it is replaced (`group.hopeless`). Not who refuses the login: it does
    not hang, its job may be at work, and the fault may be cpcd's own key.
    """
    scope = scopes.guestop(case.row, op.id)
    refused = case.view.bulk[scope].refused
    words = f"{case.row.name} cannot be asked about {op.verb}, and is past its time"
    silence = case.unseen("LoginRefused" if refused else "GuestSilent", words, scope, after=5)
    remedy = _health(case) if case.row.joined else None if refused else _unheard(case)
    if remedy is None or not remedy.steps or not _untouched(case):
        return silence
    # It is silent all the same while the reset waits, for consent say: past `nodeStartupTimeout` it does not come up.
    return replace(acting("Remediating", effects.ResetVm(key=case.key, row=case.row, job=op)), wait=silence.wait)


def _unheard(case: Case) -> Plan | None:
    began, health = case.view.since.get(f"{case.key}/GuestSilent", case.view.wall), case.cluster.health
    tried = f"remedy/{case.row.uid}" in case.view.facts or Remedy.RESET not in health.ladder
    if tried or case.view.wall - began <= health.patience:
        return None
    return acting("Remediating", effects.ResetVm(key=case.key, row=case.row))


def _untouched(case: Case) -> bool:
    """Whether the VM is proved to be ours, and nobody else works on it."""
    vm = case.vm
    return vm is not None and fields.ours(vm, case.row, case.view.installation) and not vm.lock


def _unnetworked(case: Case) -> Plan | None:
    if case.node is None or case.node.networked:
        return None
    sentence = f"{case.row.name} is not Ready: its kubelet waits for a CNI"
    # Its Node is watched, and nothing can be done for it: to be asked more often keeps a slow machine from getting there.
    return _sick(sentence, "NetworkNotReady", after=60)


def _sick(sentence: str, reason: str, *, after: float = 10) -> Plan:
    plan = waiting(reason, sentence, after=after)
    return Plan(wait=plan.wait, conditions=(Condition("Ready", Status.FALSE, reason, sentence),))


def _ready(case: Case, vm: Vm) -> Plan:
    node: Node | None = case.node
    if node is None:
        scope = scopes.node(case.row.cluster, case.row.name)
        return case.unseen("NodeUnknown", f"{case.row.name}: its Node cannot be read now", scope, after=10)
    if node.ready != "True":
        return _sick(f"{case.row.name} is not Ready", "NodeNotReady")
    sentence = f"{case.row.name} is a Ready {case.row.role.value} at {case.row.address}"
    if others := ", ".join(fields.foreign(vm)):
        sentence += f"; {others} changed in Proxmox, not by cpcd, and waits for a cold start"
    if behind := growth.left_behind(case.row, case.view):
        sentence += f"; {behind}"
    if refusal := case.view.known(scopes.inside(case.row)):
        sentence += f"; it lets cpcd in no more: {refusal}"
    if case.replaced:
        differing = ", ".join(fields.delta(case.cluster, case.group.machine, vm.config))
        sentence += (
            "; it is outdated, and " + (f"{differing} comes with" if differing else "waits for") + " its replacement"
        )
    return Plan(steps=_over(case), conditions=(Condition("Ready", Status.TRUE, "Ready", sentence),))


def _over(case: Case) -> tuple[Action, ...]:
    """Return what the ledger may forget of a machine that serves."""
    remedied = case.view.facts.get(f"remedy/{case.row.uid}", 0.0)
    if case.row.strikes and case.view.wall - remedied > case.cluster.health.patience:
        # A strike that stays would leave the next sickness without a reset (ADR 0009).
        return (effects.Forgive(key=case.key, row=case.row),)
    unasked = consent.unasked(case.key, case.view, case.row, _unseen(case))
    return (unasked,) if unasked else ()
