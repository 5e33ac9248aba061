"""One machine's case: its row with everything that is wanted and seen of it, for the deciding functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cpcd.model.desired import Cluster, Consent, Group, Risk
from cpcd.model.keys import Key, Kind, Role, Scope
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Action, Condition, Plan, Status, Wait
from cpcd.model.seen import Api, Facts, Member, Members, Node, Quorum, Resource, Seen, Vm
from cpcd.model.view import View
from cpcd.plan import fields, scopes

__all__ = [
    "PATIENCE",
    "Case",
    "acting",
    "because",
    "departed",
    "leisure",
    "lost",
    "machine_key",
    "membership",
    "offline",
    "overdue",
    "progressing",
    "proof",
    "removed",
    "usurped",
    "waiting",
]

PATIENCE = 5.0  # seconds that a machine waits for the end of a job before it says that the job still runs
LISTED = (
    120.0  # seconds that a list of etcd's members may be old where it only tells who can be asked, and how they are
)
LEISURE = 2.0  # times as long as an answer took until the next question: a third of the machine's time at most


def machine_key(machine: Machine) -> Key:
    """Return the key of a row."""
    return Key(machine.cluster, Kind.MACHINE, machine.uid)


def membership(cluster: str) -> str:
    """Return the token that is signalled when a machine has become a member."""
    return f"joined:{cluster}"


def offline(row: Machine, view: View) -> bool:
    """Return whether the row's VM is out of reach, and is down: its Proxmox node is offline, or what it depends on removed."""
    quorum: Quorum | None = view.known(scopes.quorum(row.site))
    return quorum is not None and bool(quorum.away(row.node) or removed(row, view))


def removed(row: Machine, view: View) -> str:
    """Return the Proxmox node that is in the Proxmox cluster no more and on which the row depends, "" when there is none.

    Its own, unless its VM is somewhere else; and that of its template as long as no clone is known or listed elsewhere,
    for it begins there.
    """
    vm: Vm | None = view.known(scopes.vm(row))
    if vm is not None and (vm.exists or row.started):
        return ""
    listed: Resource | None = (view.known(scopes.resources(row.site)) or {}).get(row.vmid)
    moved = vm is None and listed is not None and not departed(view, row.site, listed.node)
    on = (row.node,) if row.started or moved else (row.node, row.template_node)
    return next((node for node in on if departed(view, row.site, node)), "")


def departed(view: View, site: str, node: str) -> bool:
    """Return whether a Proxmox node is proved to be in the Proxmox cluster no more."""
    quorum: Quorum | None = view.known(scopes.quorum(site))
    return quorum is not None and quorum.removed(node)


def lost(view: View, row: Machine) -> bool:
    """Return whether its VM, which was started once, is proved gone: absent, or its VMID is another VM's by now."""
    vm: Vm | None = view.known(scopes.vm(row))
    return row.started and vm is not None and (not vm.exists or usurped(view, row))


def usurped(view: View, row: Machine) -> bool:
    """Return whether the VM of the row's VMID is proved another's, and no Node says that its own runs elsewhere.

    A VMID is there once in a Proxmox cluster that has quorum, so that where another's VM is its own is not.
    """
    vm: Vm | None = view.known(scopes.vm(row))
    if vm is None or not fields.strange(vm, row, view.installation):
        return False
    quorum: Quorum | None = view.known(scopes.quorum(row.site))
    if quorum is None or not quorum.quorate:
        return False
    return f"identity/{row.cluster}" not in view.facts or _down(view, row)


def proof(view: View, row: Machine) -> tuple[Scope, ...]:
    """Return what is to be read in one pass before a VM is taken for another's, or its Proxmox node for removed."""
    if removed(row, view):
        return (scopes.quorum(row.site),)
    vm: Vm | None = view.known(scopes.vm(row))
    if vm is None or not fields.strange(vm, row, view.installation):
        return ()
    nodes = (scopes.nodes(row.cluster),) if f"identity/{row.cluster}" in view.facts else ()
    return (scopes.quorum(row.site), scopes.vm(row), *nodes)


def _down(view: View, row: Machine) -> bool:
    """Whether the cluster's API tells of no Ready Node of the machine, which may run under another number."""
    nodes: Mapping[str, Node] | None = view.known(scopes.nodes(row.cluster))
    own: tuple[Node | None, ...] = ((nodes or {}).get(row.name), view.known(scopes.node(row.cluster, row.name)))
    return nodes is not None and not any(one and one.of(row.uid) and one.ready == "True" for one in own)


def overdue(view: View, cluster: str, beside: Scope) -> bool:
    """Return whether etcd's members are to be listed anew where no step depends on how they are just now.

    When they are not known, one does not answer, or they were listed `LISTED` seconds before `beside`, which is read in
    each pass. To list them takes a small control plane seconds, and a cluster is looked at whenever a Node of it changes.
    """
    listed, latest = view.bulk.get(scopes.etcd(cluster)), view.bulk.get(beside)
    if listed is None or not listed.complete or latest is None:
        return True
    members: Members | None = listed.value
    return members is None or any(not one.healthy for one in members.voters) or latest.began - listed.began > LISTED


def progressing(reason: str, sentence: str) -> tuple[Condition, ...]:
    """Return the conditions of an object on its way."""
    return (Condition("Ready", Status.FALSE, reason, sentence), Condition("Progressing", Status.TRUE, reason, sentence))


def waiting(reason: str, sentence: str, *, after: float = 60.0, on: tuple[str, ...] = ()) -> Plan:
    """Return a plan that waits and says why."""
    return Plan(wait=Wait(reason, sentence, after, on), conditions=progressing(reason, sentence))


def because(view: View, scope: Scope) -> str:
    """Return `: why` of a scope that could not be seen, "" when nobody has said why."""
    seen = view.bulk.get(scope)
    return f": {seen.why}" if seen is not None and not seen.complete and seen.why else ""


def leisure(view: View, scope: Scope, *, waited: float = 0) -> float:
    """Return in how many seconds to ask again what is still at work: whoever answers slowly has no time for questions.

    `waited` are those of an answer's seconds in which nothing was done but to wait.
    """
    seen = view.bulk.get(scope)
    return max(1.0, LEISURE * (seen.took - waited)) if seen is not None else 1.0


def acting(reason: str, action: Action) -> Plan:
    """Return a plan that takes one step, whose sentence says how far the object is."""
    return Plan(steps=(action,), conditions=progressing(reason, action.sentence))


@dataclass(frozen=True)  # without slots: each is asked for again and again in one pass, and a view never changes
class Case:
    """A row in its view; `group` is the group as wanted now."""

    key: Key
    view: View
    row: Machine
    cluster: Cluster
    group: Group

    @cached_property
    def vm(self) -> Vm | None:
        """The VM, None while unknown."""
        seen: Vm | None = self.view.known(scopes.vm(self.row))
        return seen

    def unseen(self, reason: str, sentence: str, scope: Scope, *, after: float) -> Plan:
        """Return a plan that waits for what cannot be seen, with why it cannot."""
        return waiting(reason, f"{sentence}{because(self.view, scope)}", after=after)

    @cached_property
    def moved(self) -> str:
        """The Proxmox node that the VM was migrated to, "" while it is where its row says."""
        vm = self.vm
        # Without our mark it is another VM that has got the VMID by now (P06).
        marked = vm is not None and fields.owner(vm) == (self.view.installation, self.row.cluster, self.row.uid)
        return vm.node if vm is not None and marked and vm.node != self.row.node else ""

    @cached_property
    def replaced(self) -> bool:
        """Whether its successor comes, which has all that is wanted: then nobody disturbs this one as well.

        Where `changePolicy` never lets it come, a machine is to have what it can be given.
        """
        never = self.cluster.change_policy.get(Risk.REPLACE) is Consent.NEVER
        return fields.outdated(self.group, self.row) and not never

    @cached_property
    def facts(self) -> Facts | None:
        """The machine from inside, None while unknown."""
        seen: Facts | None = self.view.known(scopes.guest(self.row))
        return seen

    @cached_property
    def node(self) -> Node | None:
        """Our Node: the name and the SMBIOS UUID agree; None when unknown, absent or somebody else's."""
        seen: Node | None = self.view.known(scopes.node(self.row.cluster, self.row.name))
        return seen if seen is not None and seen.of(self.row.uid) else None

    @cached_property
    def node_seen(self) -> Seen[Any] | None:
        """The observation of the Node of our name, whoever's it is."""
        return self.view.bulk.get(scopes.node(self.row.cluster, self.row.name))

    @cached_property
    def api(self) -> Api | None:
        """The cluster's API, None while unknown."""
        seen: Api | None = self.view.known(scopes.api(self.row.cluster))
        return seen

    @cached_property
    def api_ready(self) -> bool:
        """Whether the cluster's API is known to be ready."""
        return self.api is not None and self.api.ready

    @cached_property
    def members(self) -> Members | None:
        """The member list, None while unknown."""
        seen: Members | None = self.view.known(scopes.etcd(self.row.cluster))
        return seen

    @cached_property
    def member(self) -> Member | None:
        """Our etcd member, by peer URL (an unstarted one has no name: recorded [253])."""
        return self.members.at(self.row.address) if self.members else None

    @cached_property
    def unanswered(self) -> Op | None:
        """The job on this machine that is open and that it cannot be asked about."""
        jobs = (op for op in self.view.open_ops(self.key) if scopes.guestop(self.row, op.id) in self.view.bulk)
        return next((op for op in jobs if self.view.known(scopes.guestop(self.row, op.id)) is None), None)

    @cached_property
    def hold(self) -> Op | None:
        """The open disruption of this machine."""
        return next((op for op in self.view.open_ops(self.key) if op.disrupts), None)

    @cached_property
    def identity(self) -> dict[str, str] | None:
        """What proves that the cluster exists: CA hash and kube-system UID."""
        fact: dict[str, str] | None = self.view.facts.get(f"identity/{self.row.cluster}")
        return fact

    @cached_property
    def control_plane(self) -> bool:
        """Whether this machine carries a control plane."""
        return self.row.role is Role.CONTROL_PLANE
