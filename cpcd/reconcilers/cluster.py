"""Cluster: decides which machines there are and writes only the ledger, so it cannot fail remotely."""

from cpcd.model.desired import Cluster
from cpcd.model.errors import Bug
from cpcd.model.keys import Key, Kind, Role, Scope
from cpcd.model.ledger import Op
from cpcd.model.plan import Action, Condition, Plan, Status
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import overdue, proof
from cpcd.plan.fleet import fleet
from cpcd.plan.group import fleet_of
from cpcd.ports.bundle import Ports

__all__ = ["KIND", "apply", "keys", "plan", "reads", "watches"]

KIND = Kind.CLUSTER


def keys(view: View) -> tuple[Key, ...]:
    """Return a key for each document."""
    return tuple(Key(name, KIND, name) for name in view.desired.clusters)


def reads(key: Key, view: View) -> tuple[Scope, ...]:
    """Return the Nodes and, where they decide, etcd's members; everything else is seen by the machines' passes.

    But for a VM that looks like another's, which is proved in one pass. A cluster that is taken up again is recognised
    by its API and kubeconfig. Nothing once its document is gone.
    """
    cluster = view.cluster(key.cluster)
    if cluster is None:
        return ()
    # Of who is wanted and was started neither row nor VMID goes while it is asked for.
    rows = (row for row in view.rows(key.cluster) if row.wanted and row.started)
    taken = tuple(dict.fromkeys(scope for row in rows for scope in proof(view, row)))
    if f"identity/{key.cluster}" in view.facts:
        members = (scopes.etcd(key.cluster),) if _votes(view, cluster) else ()
        return tuple(dict.fromkeys((*members, scopes.nodes(key.cluster), *taken)))
    recovered = f"recovered/{key.cluster}" in view.facts
    return (*((scopes.api(key.cluster), scopes.kubeconfig(key.cluster)) if recovered else ()), *taken)


def _votes(view: View, cluster: Cluster) -> bool:
    """Whether etcd's members may decide: a control plane may be added, may go, or does not serve; or they are overdue."""
    masters = next(fleet_of(view, cluster, group) for group in cluster.groups if group.role is Role.CONTROL_PLANE)
    every = [row for row in view.rows(cluster.name) if row.role is Role.CONTROL_PLANE]
    settled = len(every) == len(masters.rows) == masters.group.replicas
    going = masters.old or masters.lost or any(map(masters.hopeless, masters.rows))
    serve = all(map(masters.ready, masters.rows))
    return not settled or bool(going) or not serve or overdue(view, cluster.name, scopes.nodes(cluster.name))


def watches(key: Key, view: View) -> tuple[Scope, ...]:
    """Return the VMs and Nodes of its machines, their templates and the Proxmox nodes."""
    cluster = view.cluster(key.cluster)
    if cluster is None:
        return ()
    site = cluster.infrastructure.site
    templates = {scopes.template(site, group.machine.template.name) for group in cluster.groups}
    rows = (scope for row in view.rows(key.cluster) for scope in (scopes.vm(row), scopes.node(key.cluster, row.name)))
    guests = (scopes.guest(row) for row in view.rows(key.cluster)) if f"recovered/{key.cluster}" in view.facts else ()
    return (scopes.nodes(key.cluster), scopes.quorum(site), scopes.claims(site), *templates, *rows, *guests)


def plan(key: Key, view: View) -> Plan:
    """Return the next decision, or the cluster's own condition."""
    cluster = view.cluster(key.cluster)
    if cluster is None:
        return Plan()
    decided = fleet(key, view, cluster)
    if decided.steps or decided.wait or decided.refusal:
        return decided
    rows = view.rows(cluster.name)
    going = [row.name for row in rows if not row.wanted]
    young = [row.name for row in rows if not row.joined and row.wanted]
    if going or young:
        sentence = f"{cluster.name}: machines on their way {len(young)}, leaving {len(going)}"
        return Plan(conditions=(Condition("Ready", Status.FALSE, "Scaling", sentence),))
    sentence = f"{cluster.name} has its {len(rows)} machines"
    return Plan(conditions=(Condition("Ready", Status.TRUE, "Ready", sentence),))


async def apply(action: Action, _ports: Ports, _op: Op | None) -> str | None:
    """Never called: every decision is a ledger transaction."""
    raise Bug(f"the decision {action.verb} has no remote effect")
