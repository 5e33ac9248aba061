"""Cluster: decides which machines there are and writes only the ledger, so it cannot fail remotely."""

from cpcd.model.errors import Bug
from cpcd.model.keys import Key, Kind, Scope
from cpcd.model.ledger import Op
from cpcd.model.plan import Action, Condition, Plan, Status
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import proof
from cpcd.plan.fleet import fleet
from cpcd.ports.bundle import Ports

__all__ = ["KIND", "apply", "keys", "plan", "reads", "watches"]

KIND = Kind.CLUSTER


def keys(view: View) -> tuple[Key, ...]:
    """Return a key for each document."""
    return tuple(Key(name, KIND, name) for name in view.desired.clusters)


def reads(key: Key, view: View) -> tuple[Scope, ...]:
    """Return the member list when control planes may be retired; everything else is seen by the machines' passes.

    But for a VM that looks like another's, which is proved in one pass. A cluster that is taken up again is recognised
    by its API and kubeconfig. Nothing once its document is gone.
    """
    if view.cluster(key.cluster) is None:
        return ()
    # Of who is wanted and was started neither row nor VMID goes while it is asked for.
    rows = (row for row in view.rows(key.cluster) if row.wanted and row.started)
    taken = tuple(dict.fromkeys(scope for row in rows for scope in proof(view, row)))
    if f"identity/{key.cluster}" in view.facts:
        return tuple(dict.fromkeys((scopes.etcd(key.cluster), scopes.nodes(key.cluster), *taken)))
    recovered = f"recovered/{key.cluster}" in view.facts
    return (*((scopes.api(key.cluster), scopes.kubeconfig(key.cluster)) if recovered else ()), *taken)


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
