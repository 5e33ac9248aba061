"""Which machines there are: the decisions of the cluster reconciler, each one ledger transaction.

Scaling, rolling replacement and the last rung of remediation are all the same two moves, add a row and retire a row,
chosen one at a time so that limits are looked at afresh before each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cpcd.model.desired import Cluster, Consent, Remedy, Risk
from cpcd.model.errors import Code
from cpcd.model.keys import Key, Role, Uid
from cpcd.model.ledger import Machine
from cpcd.model.plan import Action, Plan, Refusal, Wait
from cpcd.model.view import View
from cpcd.plan import alloc, consent, effects, scopes
from cpcd.plan.case import lost, machine_key
from cpcd.plan.effects import AddMachine, ElectInit, RetireMachine, destroyed, healed
from cpcd.plan.group import Fleet, fleet_of
from cpcd.plan.guards import LIMITS
from cpcd.plan.recover import Recover, recover

__all__ = ["AddMachine", "ElectInit", "RetireMachine", "destroyed", "fleet"]


def fleet(key: Key, view: View, cluster: Cluster) -> Plan:
    """Return the next decision of each group, or what the cluster waits for.

    One that waits for consent or a limit never holds up another group; of additions only the first is taken, because
    each allocates from the same pools, and one that may be made now before one that waits.
    """
    # Before any decision: what no row knows would be made a second time (ADR 0012).
    before = recover(key, view, cluster) or _unasked(key, view, cluster) or _quorum_lost(view, cluster)
    if before is not None:
        return before
    groups = [_group(key, fleet_of(view, cluster, group)) for group in cluster.groups]
    plans = [plan for plan in (*groups, _elect(key, view, cluster), _groups_gone(key, view, cluster)) if plan]
    steps = _one_added(view, [step for plan in plans for step in plan.steps])
    return Plan(steps=steps) if steps else min(plans, key=lambda plan: plan.refusal is None, default=Plan())


def _one_added(view: View, steps: Sequence[Action]) -> tuple[Action, ...]:
    added = [step for step in steps if isinstance(step, AddMachine)]
    first = min(added, key=lambda step: _held(step, view), default=None)
    return tuple(step for step in steps if step is first or not isinstance(step, AddMachine))


def _quorum_lost(view: View, cluster: Cluster) -> Plan | None:
    """Too few control planes have a VM for etcd to decide anything: their rows are kept for what a person puts back."""
    rows = [row for row in view.rows(cluster.name) if row.role is Role.CONTROL_PLANE and row.joined and row.wanted]
    gone = [row.name for row in rows if lost(view, row)]
    if not gone or len(rows) - len(gone) >= len(rows) // 2 + 1:
        return None
    what = (
        f"etcd of {cluster.name} has lost its quorum: the VMs of {', '.join(gone)} are gone, {len(rows)} were members"
    )
    hint = (
        "Restore those VMs from a backup under the same VMIDs, and cpcd goes on; or restore an etcd snapshot on a "
        "machine that is left (Kubernetes: Operating etcd clusters, restoring)."
    )
    return Plan(refusal=Refusal(Code.STATE, "QuorumLost", what, hint))


def _unasked(key: Key, view: View, cluster: Cluster) -> Plan | None:
    """Consent to retire a machine ends with its cause: without one there is no step that asks for it, now or later."""
    given = consent.given(view, *(f"{cluster.name}/{verb}/" for verb in (RetireMachine.verb, Recover.verb)))
    if not given or _blind(view, cluster):
        return None
    asked = {f"{cluster.name}/{RetireMachine.verb}/{effects.about(row, why)}" for row, why in _causes(view, cluster)}
    lapse = consent.lapsed(key, given, asked)
    return Plan(steps=(lapse,)) if lapse else None


def _causes(view: View, cluster: Cluster) -> Iterator[tuple[Machine, str]]:
    for one in (fleet_of(view, cluster, group) for group in cluster.groups):
        yield from ((row, why) for row in one.rows for why in one.causes(row) if why)
    yield from ((row, _ungrouped(row)) for row in _left(view, cluster))


def _blind(view: View, cluster: Cluster) -> bool:
    """Whether nobody can tell who is sick just now: a cause that cannot be seen has not ended."""
    return f"identity/{cluster.name}" in view.facts and view.known(scopes.nodes(cluster.name)) is None


def _group(key: Key, one: Fleet) -> Plan | None:
    """An edit goes before what nobody can mend: it may be the mend. What only waits for it does not."""
    hopeless = [(row, why) for row in one.rows if (why := one.hopeless(row))]
    decided = _replace_lost(key, one) or _scale_up(key, one) or _moves(key, one, hopeless)
    return decided if decided and decided.steps else _given_up(one, hopeless) or decided


def _moves(key: Key, one: Fleet, hopeless: Sequence[tuple[Machine, str]]) -> Plan | None:
    """The first move that may be made now, so that none holds up another; who are too many go before all else.

    A remedy is for who stays as it is; who is outdated is the rollout's, which takes the sick first, while it may.
    """
    fresh = [(row, why) for row, why in hopeless if not one.outdated(row)]
    stale = [(row, why) for row, why in hopeless if one.outdated(row)]
    moves = (_scale_down(key, one), _sick(key, one, fresh), _roll(key, one), _sick(key, one, stale))
    return min((plan for plan in moves if plan), key=lambda plan: _leave(one, plan), default=None)


def _leave(one: Fleet, plan: Plan) -> int:
    """How far a move is from being made: free, a person may consent, a limit holds it, the policy forbids it, it waits.

    Consent comes before limits, since what it is asked for is told nowhere else.
    """
    return _held(plan.steps[0], one.view) if plan.steps else 4


def _held(step: Action, view: View) -> int:
    if consent.free(step, view):
        return 2 if any(guard(step, view) for guard in LIMITS) else 0
    return 1 if consent.policy(step.asks, view) is Consent.APPROVE else 3


def _replace_lost(key: Key, one: Fleet) -> Plan | None:
    if not one.lost:
        return None
    return _retire(key, one, one.lost[0], f"its VM {one.lost[0].vmid} is gone", Risk.IN_PLACE)


def _scale_up(key: Key, one: Fleet) -> Plan | None:
    have, want = len(one.rows), one.group.replicas
    return _add(key, one, f"{one.group.name} has {have} of {want} machines") if have < want else None


def _sick(key: Key, one: Fleet, hopeless: Sequence[tuple[Machine, str]]) -> Plan | None:
    """The last rung: what start and reset did not mend, and what never became a Node in time, is replaced.

    While there are too many, its going alone would be a scale-down by another name, without the consent that one wants:
    somebody is put beside it first, so that as many are left.
    """
    able = [(row, why) for row, why in hopeless if not one.spent(row)]
    if not able:
        return None
    # Last of all by what no limit on remedies holds up.
    row, why = min(
        able,
        key=lambda each: (each[0].uid not in one.paired, not one.consented(*each), not one.stranded(each[0])),
    )
    gone = _retirement(key, one, row, why, Risk.REPLACE, None if one.stranded(row) else Remedy.REPLACE)
    if not one.surplus or row.uid in one.paired:
        return Plan(steps=(gone,))
    return None if any(map(one.ill, one.rows)) else _add(key, one, f"{row.name}: {why}", gone)


def _given_up(one: Fleet, hopeless: Sequence[tuple[Machine, str]]) -> Plan | None:
    left = [(row, why) for row, why in hopeless if one.spent(row)]
    if not left or Remedy.REPLACE not in one.cluster.health.ladder:
        return None
    row, why = left[0]
    count = len(healed(one.view, one.cluster.name, one.group.name, one.current))
    what = f"{row.name}: {why}; {count} of {one.group.name} were replaced already and no more are"
    hint = (
        f"Look why: cpcd events {row.name}, or the VM's console. Another template or configuration in the file "
        "is tried at once; the same one again six hours after the first replacement."
    )
    return Plan(refusal=Refusal(Code.EXECUTION, "RemediesSpent", what, hint))


def _roll(key: Key, one: Fleet) -> Plan | None:
    """Surge first, then retire the oldest outdated machine, as many at once as `maxUnavailable` spares.

    Nothing is added before the retirement that it is for has consent. While there are too many, only who has somebody
    beside it goes: the others' going would be a scale-down.
    """
    beside = {*one.surge.values()}
    turns = sorted(
        one.old,
        key=lambda row: (
            not one.ill(row), not _agreed(key, one, row), one.ready(row), row.uid not in beside, row.created, row.index,
        ),
    )  # fmt: skip
    return (_surge(key, one, turns) or _release(key, one, turns)) if turns else None


def _surge(key: Key, one: Fleet, turns: Sequence[Machine]) -> Plan | None:
    have, most = len(one.rows), one.kept + one.group.max_surge
    # Beside a voter that does not answer no other can join, so that no surge would come to anything.
    if have >= most or have - len(turns) >= one.kept or any(map(one.ill, turns)):
        return None
    whose = turns[0]
    if have > one.kept:
        alone = [row for row in turns if row.uid not in one.surge.values()]
        if not alone or not _agreed(key, one, alone[0]):
            return None
        whose = alone[0]
    why = f"{len(turns)} of {have} {one.group.name} machines are outdated"
    return _add(key, one, why, _outdone(key, one, whose))


def _release(key: Key, one: Fleet, turns: Sequence[Machine]) -> Plan | None:
    going = next((row for row in turns if not one.surplus or row.uid in one.surge.values()), None)
    if going is None:
        return None
    waits = [row for row in one.rows if not one.ready(row) and row not in turns]
    left = sum(map(one.ready, one.rows)) - one.ready(going)
    if waits and not any(map(one.ill, turns)) and left < one.kept - one.group.max_unavailable:
        return Plan(wait=Wait("RollingOut", f"rolling {one.group.name}: waits for {waits[0].name} to serve", 30))
    return Plan(steps=(_outdone(key, one, going),))


def _agreed(key: Key, one: Fleet, row: Machine) -> bool:
    return consent.free(_outdone(key, one, row), one.view)


def _outdone(key: Key, one: Fleet, row: Machine) -> RetireMachine:
    """The one retirement that the group's own `maxUnavailable` is about; others go by `blastRadius` alone."""
    limit = max(one.group.max_unavailable, one.cluster.blast.max_unavailable)
    return replace(_retirement(key, one, row, one.outdone, Risk.REPLACE), limit=limit)


def _scale_down(key: Key, one: Fleet) -> Plan | None:
    return _retire(key, one, one.leaving, one.scaled, Risk.DESTROY) if one.leaving else None


def _add(key: Key, one: Fleet, why: str, instead: RetireMachine | None = None) -> Plan:
    view, cluster, group = one.view, one.cluster, one.group
    site = cluster.infrastructure.site
    # In a list that is not whole numbers look free that are not (promise 7).
    if view.known(scopes.resources(site)) is None or view.known(scopes.claims(site)) is None:
        sentence = f"{group.name} waits until {site} can be read"
        return Plan(wait=Wait("ProxmoxUnknown", sentence, 10))
    going = {*one.surge.values(), *((instead.row.uid,) if instead else ())}
    node, vmid, address = (
        alloc.node(view, cluster, group, going),
        alloc.vmid(view, cluster),
        alloc.address(view, cluster),
    )
    name = group.machine.template.name
    if node is None:
        return Plan(wait=Wait("NoNode", f"{group.name}: no Proxmox node is online and has template {name}", 30))
    copy = alloc.template_copy(view, cluster, group, node)
    if copy is None:
        return Plan(wait=Wait("TemplateUnknown", f"{group.name} waits for template {name} on {node}", 30))
    if vmid is None or address is None:
        what = "VMID in vmIDRange" if vmid is None else "address in ipv4Config.addresses"
        hint = "Widen the range; what was used is free again 10 minutes after its machine is gone."
        # All that are wanted are there: it is the surge of a rollout that finds no room.
        if len(one.rows) >= group.replicas:
            hint = "Widen the range by one, or let a machine go first (rollout maxSurge: 0, maxUnavailable: 1)."
        return Plan(refusal=Refusal(Code.CONFIG, "PoolExhausted", f"{group.name}: no free {what}", hint))
    number = alloc.index(view, cluster, group)
    row = Machine(
        uid=Uid(view.fresh[0]), cluster=cluster.name, role=group.role, group=group.name, index=number,
        name=alloc.hostname(cluster, group, number), site=cluster.infrastructure.site, node=node, vmid=vmid,
        address=address, template=copy.vmid, template_node=copy.node, revision=one.current, created=view.wall,
    )  # fmt: skip
    return Plan(steps=(AddMachine(key=key, row=row, why=why, instead=instead),))


def _retire(  # noqa: PLR0917 - a retirement is told what, why, how grave and by which remedy
    key: Key, one: Fleet, row: Machine, why: str, risk: Risk, remedy: Remedy | None = None
) -> Plan:
    return Plan(steps=(_retirement(key, one, row, why, risk, remedy),))


def _retirement(  # noqa: PLR0917 - as above
    key: Key, one: Fleet, row: Machine, why: str, risk: Risk, remedy: Remedy | None = None
) -> RetireMachine:
    kind = Risk.IN_PLACE if lost(one.view, row) else risk
    limit = one.cluster.blast.max_unavailable
    return RetireMachine(key=key, row=row, why=why, kind=kind, remedy=remedy, limit=limit)


def _elect(key: Key, view: View, cluster: Cluster) -> Plan | None:
    elected = view.machines.get(view.facts.get(f"elected/{cluster.name}", Uid("")))
    # Who leaves and was never started cannot have made it.
    if f"identity/{cluster.name}" in view.facts or (elected and (elected.wanted or elected.started)):
        return None
    rows = [row for row in view.rows(cluster.name) if row.role is Role.CONTROL_PLANE and row.wanted]
    return Plan(steps=(ElectInit(key=key, row=rows[0]),)) if rows else None


def _coming(key: Key, view: View, cluster: Cluster) -> str:
    """Return which worker, or group of workers, is still to serve, "" when none is.

    What is sick past its time does not come by waiting, nor does what no remedy is left for: that is not waited for,
    if anybody serves at all. Nor is what no address or VMID is left for, once none comes free by itself any more: then
    one of the old makes room.
    """
    whole = [fleet_of(view, cluster, group) for group in cluster.groups if group.role is Role.WORKER]
    serving = any(one.ready(row) for one in whole for row in one.rows)
    return next(filter(None, (_short(key, one) or _late(key, one, serving=serving) for one in whole)), "")


def _short(key: Key, one: Fleet) -> str:
    growing = _scale_up(key, one)
    comes = growing is not None and (growing.refusal is None or alloc.freeing(one.view, one.cluster))
    return one.group.name if comes else ""


def _late(key: Key, one: Fleet, *, serving: bool) -> str:
    late = (row for row in one.rows if not one.arrived(row))
    return next((row.name for row in late if not serving or not _beyond(key, one, row)), "")


def _beyond(key: Key, one: Fleet, row: Machine) -> bool:
    """Whether it does not come up, and nobody but a person can do anything about it."""
    why = one.hopeless(row)
    move = _sick(key, one, [(row, why)]) if why else None
    return bool(why) and (move is None or not move.steps or not consent.free(move.steps[0], one.view))


def _groups_gone(key: Key, view: View, cluster: Cluster) -> Plan | None:
    """Machines of a deployment that the file no longer has are surplus, one at a time.

    Not before the other workers serve that the file wants: a pool that is renamed is two edits, and what ran on the one
    moves to the other. Whoever is in the middle of a reboot goes first: its slot would keep the others from going.
    """
    left = _left(view, cluster)
    if not left:
        return None
    if late := _coming(key, view, cluster):
        sentence = f"{left[-1].group} is no longer in the file and goes when {late} serves"
        return Plan(wait=Wait("RollingOut", sentence, 30))
    row = max(reversed(left), key=lambda row: any(op.disrupts for op in view.open_ops(machine_key(row))))
    limit = cluster.blast.max_unavailable
    return Plan(steps=(RetireMachine(key=key, row=row, why=_ungrouped(row), kind=Risk.DESTROY, limit=limit),))


def _left(view: View, cluster: Cluster) -> list[Machine]:
    names = {group.name for group in cluster.groups}
    return [row for row in view.rows(cluster.name) if row.group not in names and row.wanted]


def _ungrouped(row: Machine) -> str:
    return f"the deployment {row.group} is no longer in the file"
