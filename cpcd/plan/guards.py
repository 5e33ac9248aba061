"""What may not happen, checked in the same synchronous step that opens the op it lets begin.

Each guard is `(action, view) -> Refusal | Wait | None` and looks at fresh evidence in the view. No guard that lets
something be destroyed may rest on a guess: the lab's provenance test and this module's tests hold that.
"""

from collections.abc import Mapping
from typing import Final, TypeGuard

from cpcd.model.desired import Cluster, Consent, Remedy, Risk
from cpcd.model.errors import Code
from cpcd.model.keys import Role
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Action, Guard, Refusal, Wait
from cpcd.model.seen import Api, Members, Node, Quorum, Seen
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import because, machine_key
from cpcd.plan.consent import Lapse, free, policy
from cpcd.plan.effects import (
    SURGE,
    Clone,
    Destroy,
    Hold,
    MachineAction,
    RemoveMember,
    Reset,
    ResetVm,
    RetireMachine,
    Shutdown,
    Stop,
    Write,
    destroyed,
)
from cpcd.plan.upkeep import ails

__all__ = ["FORESEEN", "GUARDS", "LIMITS", "quorum_left"]


def paused(action: Action, view: View) -> Wait | None:
    """A paused cluster is observed and reported, never changed; what ends meanwhile is consent that is for nothing."""
    if isinstance(action, Lapse):
        return None
    cluster = view.cluster(action.key.cluster)
    held = f"paused/{action.key.cluster}" in view.facts or (cluster is not None and cluster.paused)
    return Wait("Paused", f"{action.key.cluster} is paused; next would be: {action.sentence}", 300) if held else None


def exclusive(action: Action, view: View) -> Wait | None:
    """Nothing else touches the target of an open operation."""
    # Not of its own key: under a hold other operations of a machine come and go.
    busy = next((op for op in view.ops.values() if op.target == action.target and op.key != action.owner), None)
    return Wait("Busy", f"waiting for {busy.verb} of {busy.key}", 10) if busy else None


def permits(action: Action, view: View) -> Wait | None:
    """Slots are counted in open ops: clones a template node, control-plane changes, disruptions."""
    for slot, limit in action.slots(view).items():
        taken = [op for op in view.ops.values() if slot in op.slots and op.key != action.owner]
        if len(taken) >= limit:
            holder = view.row(taken[0].key)
            name = holder.name if holder else str(taken[0].key)
            return Wait("Queued", f"{action.sentence}: waits for {taken[0].verb} of {name}", 60, (f"slot:{slot}",))
    return None


def others_serve(action: Action, view: View) -> Wait | None:
    """Who serves is taken out of service while fewer others of its group are away than may be.

    By their Nodes, since a reboot's hold ends when its Node was Ready once, and what an edit breaks may show later. Who
    is not Ready takes nothing away by its reboot, which may be what it needs.
    """
    hold = action.asks  # a snapshot is taken for one
    if not isinstance(hold, Hold):
        return None
    own, nodes = hold.row, view.known(scopes.nodes(hold.row.cluster))
    if nodes is not None and not _ready(own, nodes):
        return None
    group = [row for row in view.rows(own.cluster) if row.group == own.group and row.wanted and row.joined]
    away = [row for row in group if row.uid != own.uid and (_held(row, view) or not _ready(row, nodes or {}))]
    if len(away) < min(hold.slots(view).values()):
        return None
    return Wait("Queued", f"{action.sentence}: waits for {away[0].name} to serve", 15)


def _ready(row: Machine, nodes: Mapping[str, Node]) -> bool:
    return row.name in nodes and nodes[row.name].ready == "True"


def _held(row: Machine, view: View) -> bool:
    return any(op.disrupts for op in view.open_ops(machine_key(row)))


def site_writable(action: Action, view: View) -> Wait | None:
    """Without quorum Proxmox takes some writes by half (recorded: cluster-no-quorum), so none is sent."""
    if not isinstance(action, Write):
        return None
    quorum: Quorum | None = view.known(scopes.quorum(action.row.site))
    if quorum is None:
        return Wait("ProxmoxUnknown", f"{action.sentence}: waits for the state of {action.row.site}", 10)
    if not quorum.quorate:
        return Wait("NoQuorum", f"{action.row.site} has no quorum; nothing is changed there", 30)
    # A clone is asked of the node of the template, which with shared storage is not always that of the machine (ADR
    # 0008).
    row = action.row
    if isinstance(action, Clone) and (away := quorum.away(row.template_node)):
        words = f"Proxmox node {row.template_node} is {away}, where the template of {row.name} is"
        return Wait("NodeOffline", words, 30)
    if away := quorum.away(row.node):
        return Wait("NodeOffline", f"Proxmox node {row.node} is {away}; {row.name} waits for it", 30)
    return None


def quorum_left(members: Members, address: str, *, removal: bool) -> bool:
    """Whether the healthy voters left without `address` are a majority of the voters there will then be."""
    voters, own = members.voters, members.at(address)
    healthy = [m for m in voters if m.healthy and m != own]
    future = len(voters) - (removal and own in voters)
    # Where no voter is left there is no majority either: the last one is never removed.
    return len(healthy) > future // 2 if future else False


def etcd_quorum(action: Action, view: View) -> Refusal | Wait | None:
    """Quorum is never spent; an unhealthy member is the only permitted target (promise 5)."""
    if not isinstance(action, Hold | RetireMachine | RemoveMember | ResetVm | Shutdown | Stop):
        return None
    row = action.row
    # Before there is a cluster there is no quorum that could be spent.
    if row.role is not Role.CONTROL_PLANE or f"identity/{row.cluster}" not in view.facts:
        return None
    members: Members | None = view.known(scopes.etcd(row.cluster))
    if members is None:
        return None if _none_to_spend(action, view) else _unlisted(action, view)
    return _spends(action, row.address, members)


def _none_to_spend(action: MachineAction | RetireMachine, view: View) -> bool:
    """Whether no member can be lost by it, though nobody can list them."""
    match action:
        case ResetVm():
            return _alone(view, action.row.cluster) or _missing(action, view)
        case RetireMachine():
            return not action.row.joined  # its member, if any, is removed under this guard
        case Stop():
            return not view.open_ops(action.owner)  # its hold has ended: it has left
        case _:
            return False


def _spends(action: Action, address: str, members: Members) -> Wait | None:
    own = members.at(address)
    if own is None or own.learner:
        return None  # no member, or a learner: it does not count
    if any(not m.healthy and m.id != own.id for m in members.voters):
        return Wait("EtcdUnhealthy", f"{action.sentence}: waits, another etcd member is unhealthy", 15)
    removal = not isinstance(action, Hold | ResetVm | Shutdown)
    if len(members.voters) == 1 and not removal:
        return None  # an announced outage, after its snapshot
    if not quorum_left(members, address, removal=removal):
        return Wait("QuorumKept", f"{action.sentence}: waits, etcd would lose its quorum", 15)
    return None


def reset_safe(action: Action, view: View) -> Wait | None:
    """Kubeadm reset deletes etcd data and may leave the member listed (recorded [266, 370]): the member goes first.

    Before there is a cluster nobody can have joined one: what an init left half made has no other member.
    """
    if not isinstance(action, Reset) or action.row.role is not Role.CONTROL_PLANE:
        return None
    if f"identity/{action.row.cluster}" not in view.facts:
        return None
    members: Members | None = view.known(scopes.etcd(action.row.cluster))
    if members is None:
        return _unlisted(action, view)
    if members.at(action.row.address) is None:
        return None
    return Wait("QuorumKept", f"{action.sentence}: waits, its etcd member is still listed", 10)


def _alone(view: View, cluster: str) -> bool:
    return sum(row.role is Role.CONTROL_PLANE for row in view.rows(cluster)) == 1


def _missing(action: ResetVm, view: View) -> bool:
    """Whether who hangs in its join may be the second of two voters, without whom there is no quorum already.

    What is not there is not spent; and nobody else can be the target, nor anything go on before that one is back. There
    has to be one joined control plane alone, which was reached and says that etcd gives no answer: of three voters two
    may have a quorum that the third, or cpcd, cannot see.
    """
    row = action.row
    joins = row.role is Role.CONTROL_PLANE and not row.joined and action.job is not None and action.job.verb == "join"
    joined = [one for one in view.rows(row.cluster) if one.role is Role.CONTROL_PLANE and one.joined]
    etcd: Seen[Members] | None = view.bulk.get(scopes.etcd(row.cluster))
    api: Api | None = view.known(scopes.api(row.cluster))
    lost = etcd is not None and etcd.code is Code.TIMEOUT and not (api is not None and api.ready)
    return joins and len(joined) == 1 and lost


def _unlisted(action: Action, view: View) -> Wait:
    why = because(view, scopes.etcd(action.key.cluster))
    return Wait("EtcdUnknown", f"{action.sentence}: waits, etcd's members cannot be listed now{why}", 10)


def consent(action: Action, view: View) -> Refusal | Wait | None:
    """`changePolicy` by class; an approval in the ledger counts as consent.

    Asked once: what is done under a retirement or an announced reboot was consented to with it. Not asked about the
    retirement of a machine on which nothing can have run. A machine that is added to replace another, and a snapshot
    before a reboot, wait for the consent to that retirement or reboot, which they do not spend.
    """
    asked = action.asks
    if _decided(asked, view) or free(asked, view):
        return None
    if policy(asked, view) is Consent.NEVER:
        sentence = f"{asked.sentence}: changePolicy.{asked.risk.value} is Never"
        return Refusal(Code.CONFIG, "PolicyNever", sentence, "Change the policy if you want it done.")
    if isinstance(asked, RetireMachine) and _unused(asked.row, view):
        return None
    sentence = f"{asked.sentence}: waits for `cpcd approve {asked.request}`"
    return Wait("AwaitingApproval", sentence, 300, (f"fact:approval/{asked.request}",))


def _decided(action: Action, view: View) -> bool:
    under = isinstance(action, MachineAction) and any(op.disrupts for op in view.open_ops(action.owner))
    return under or (isinstance(action, MachineAction) and not action.row.wanted)


def _unused(row: Machine, view: View) -> bool:
    """Whether nothing can have run on a machine: it joined no cluster, and by a complete list has no Node.

    A row alone does not tell: one that was made again from its VM's marks may be of a machine that serves. Nor is who
    takes another's place let go like that: what ran there is to run here.
    """
    if row.joined or f"{SURGE}{row.uid}" in view.facts:
        return False
    if view.facts.get(f"elected/{row.cluster}") == row.uid:  # which may be making the cluster just now
        return False
    if f"identity/{row.cluster}" not in view.facts:
        return f"recovered/{row.cluster}" not in view.facts
    nodes: Mapping[str, Node] | None = view.known(scopes.nodes(row.cluster))
    return nodes is not None and row.name not in nodes


def blast_radius(action: Action, view: View) -> Wait | None:
    """Only Destroy counts: so many an hour, and so many per cent of the machines at once; per cent rounds up."""
    cluster = view.cluster(action.key.cluster)
    if cluster is None or not isinstance(action, RetireMachine) or action.risk is not Risk.DESTROY:
        return None
    recent = len(destroyed(view, cluster.name))
    if recent >= cluster.blast.max_destroys_per_hour:
        why = f"waits, {recent} were destroyed within the hour" if recent else "maxDestroysPerHour is 0"
        return Wait("BlastRadius", f"{action.sentence}: {why}", 60)
    rows = view.rows(cluster.name)
    # Rounded up, or of four machines 20 per cent would be none, and none could ever go.
    limit = -(-len(rows) * cluster.blast.max_destroy_percent // 100)
    # By open holds: a machine counts from its decision until it has left (ADR 0013).
    going = sum(op.before.get("risk") == Risk.DESTROY for op in _retirements(view, cluster))
    if going >= limit:
        words = f"waits, {going} of {len(rows)} machines are being destroyed, and {limit} may be"
        words = words if limit else "maxDestroyPercent is 0"
        return Wait("BlastRadius", f"{action.sentence}: {words}", 15)
    return None


def _retirements(view: View, cluster: Cluster) -> list[Op]:
    return [op for op in view.ops.values() if op.verb == RetireMachine.verb and op.key.cluster == cluster.name]


def protected(action: Action, _view: View) -> Refusal | None:
    """A destroy is only ever for a row that was retired."""
    if isinstance(action, Destroy | Stop) and action.row.wanted:
        return Refusal(Code.UNKNOWN, "NotRetired", f"{action.sentence}: its row is wanted, which is a bug in cpcd")
    return None


def remediation(action: Action, view: View) -> Wait | None:
    """`unhealthyLessThanOrEqualTo` and `maxInFlight`: many sick machines are an outage, not many repairs."""
    remedy, cluster = action.asks, view.cluster(action.key.cluster)
    if cluster is None or not _heals(remedy):
        return None
    # Without quorum no Node can be told to be well: that is no outage beside the one that the reset may end.
    missing = isinstance(remedy, ResetVm) and _missing(remedy, view)
    if not missing and (outage := _outage(cluster, view)):
        return outage
    others = [row for row in view.rows(cluster.name) if row.uid != remedy.row.uid and _in_remedy(row, cluster, view)]
    if len(others) < cluster.health.max_in_flight:
        return None
    whose = f"waits for the remedy of {others[0].name}" if others else "maxInFlight is 0, so nothing is healed"
    return Wait("Remediating", f"{action.sentence}: {whose}", 15)


def _outage(cluster: Cluster, view: View) -> Wait | None:
    # Who comes or goes is not Ready for reasons that are no sickness.
    rows = [row for row in view.rows(cluster.name) if row.wanted and row.joined]
    sick = [row for row in rows if ails(row, cluster, view)]
    if not rows or len(sick) / len(rows) <= cluster.health.limit:
        return None
    return Wait("TooManyUnhealthy", f"{len(sick)} of {len(rows)} machines are unhealthy: nothing is replaced", 30)


def _heals(action: Action) -> TypeGuard[ResetVm | RetireMachine]:
    return isinstance(action, ResetVm) or (isinstance(action, RetireMachine) and action.remedy is Remedy.REPLACE)


def _in_remedy(row: Machine, cluster: Cluster, view: View) -> bool:
    """From the reset, or the retirement as a remedy, until the machine is back or its time to be so is over.

    A Node goes on saying Ready for a while after its machine was reset: back is who says so of another boot.
    """
    if any(op.before.get("remedy") for op in _retirements(view, cluster) if op.key.name == row.uid):
        return True
    if any(op.verb == ResetVm.verb and op.key.name == row.uid for op in view.ops.values()):
        return True
    fresh = view.wall - view.facts.get(f"remedy/{row.uid}", 0.0) < cluster.health.patience
    return fresh and (_before(row, view) or ails(row, cluster, view))


def _before(row: Machine, view: View) -> bool:
    """Whether what its Node says is still of the boot that a reset ended."""
    nodes: Mapping[str, Node] = view.known(scopes.nodes(row.cluster)) or {}
    return row.name in nodes and nodes[row.name].boot_id == view.facts.get(f"boot/{row.uid}")


# What holds back for long: whoever has another move makes that one meanwhile (`fleet.py`).
LIMITS: Final[tuple[Guard, ...]] = (blast_radius, remediation)

# Slots last: one that is free wakes only the first in its line, and who is held back by something else would let it
# pass unused.
GUARDS: Final[tuple[Guard, ...]] = (
    paused, protected, exclusive, site_writable, etcd_quorum, reset_safe, consent, blast_radius, remediation, others_serve,
    permits,
)  # fmt: skip

# What a plan is folded with: a paused cluster's plan shows what would be done.
FORESEEN: Final[tuple[Guard, ...]] = GUARDS[1:]
