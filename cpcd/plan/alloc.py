"""Allocation of names, VMIDs, addresses and nodes: pure, lowest free first, across all clusters of one Proxmox.

`nextid` only advises (`failures.md` P02), so every number comes from the spec's own range; what was used cools down
before it is used again.
"""

from collections.abc import Container

from cpcd.model.desired import Cluster, Group
from cpcd.model.keys import Role, Uid
from cpcd.model.ledger import Machine
from cpcd.model.seen import Quorum, Resource
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import departed

__all__ = ["address", "freeing", "hostname", "index", "node", "template_copy", "vmid"]


def index(view: View, cluster: Cluster, group: Group) -> int:
    """Return the lowest index that no row of the group has."""
    used = {row.index for row in view.rows(cluster.name) if row.group == group.name}
    # Of one number more than are used at least one is free.
    return next(n for n in range(1, len(used) + 2) if n not in used)


def hostname(cluster: Cluster, group: Group, number: int) -> str:
    """Return the machine's name from `naming.hostname`; `{role}` is `cp` or the deployment's name."""
    role = "cp" if group.role is Role.CONTROL_PLANE else group.name
    return cluster.hostname.format(cluster=cluster.name, role=role, index=number)


def vmid(view: View, cluster: Cluster) -> int | None:
    """Return the lowest VMID of the range without row, cool-down, quarantine or anybody's VM; None when full."""
    infra = cluster.infrastructure
    seen: dict[int, Resource] = view.known(scopes.resources(infra.site)) or {}
    rows = {row.vmid for row in view.machines.values() if row.site == infra.site}
    retired = _retired(view, f"vmid/{infra.site}/")
    free = (n for n in range(infra.vmid_start, infra.vmid_end + 1) if n not in rows and n not in seen)
    return next((n for n in free if str(n) not in retired), None)


def address(view: View, cluster: Cluster) -> str | None:
    """Return the lowest address of the pool that nobody has; endpoints and the gateway's are reserved.

    Those of clusters without a document too: their machines are kept.
    """
    infra = cluster.infrastructure
    taken = {row.address for row in view.machines.values() if row.site == infra.site}
    taken |= {other.endpoint.host for other in view.desired.clusters.values()} | {infra.gateway}
    taken |= set(view.ledger.endpoints.values())
    taken |= _retired(view, f"address/{infra.site}/")
    return next((ip for ip in infra.addresses if ip not in taken), None)


def freeing(view: View, cluster: Cluster) -> bool:
    """Whether numbers come free by themselves: a machine is leaving, or has left and its own cool down."""
    site = cluster.infrastructure.site
    cooling = (until for name, until in view.facts.items() if name.startswith((f"vmid/{site}/", f"address/{site}/")))
    leaving = any(row.site == site and not row.wanted for row in view.machines.values())
    return leaving or any(until is not None and until > view.wall for until in cooling)


def template_copy(view: View, cluster: Cluster, group: Group, node: str) -> Resource | None:
    """Return the copy of the template that a machine on `node` is cloned from: the node's own, or a shared one.

    A copy on another node's local storage cannot be cloned across (`failures.md` P12). None while unknown, too.
    """
    copies = _copies(view, cluster, group)
    own = [copy for copy in copies if copy.node == node]
    if len(own) > 1:
        return None  # ambiguous: the template object says so, and nobody guesses
    return next((copy for copy in (*own, *copies) if copy in own or copy.shared), None)


def _copies(view: View, cluster: Cluster, group: Group) -> tuple[Resource, ...]:
    wanted, site = group.machine.template, cluster.infrastructure.site
    found: tuple[Resource, ...] = view.known(scopes.template(site, wanted.name)) or ()
    # What was read may be of the reference that an edit has just replaced (the name of both is the same), or of before
    # its node was removed.
    mine = (copy for copy in found if wanted.means(copy.vmid, copy.tags) and not departed(view, site, copy.node))
    return tuple(copy for copy in mine if copy.cloudinit)  # without a cloud-init drive a clone has no address (P35)


def node(view: View, cluster: Cluster, group: Group, going: Container[Uid] = ()) -> str | None:
    """Return the node for the next machine of a group: emptiest failure domain, then emptiest node.

    Only online nodes count, and without failure domains only those that the template can reach. A group's
    `failure_domain` pins the zone. Rows that are to go do not count, nor do those in `going`, whom a rollout replaces,
    so that each replacement comes to the domain that is left empty.
    """
    rows = [row for row in view.rows(cluster.name) if row.wanted and row.uid not in going]
    mates = [row for row in rows if row.group == group.name]
    # The machines of its own group count first: three control planes in one zone look like three until it is lost (ADR
    # 0008).
    domains = _domains(view, cluster, group)
    domain = min(domains, key=lambda nodes: (_count(mates, nodes), _count(rows, nodes)), default=())
    return min(domain, key=lambda n: (_count(mates, [n]), _count(rows, [n]), n), default=None)


def _domains(view: View, cluster: Cluster, group: Group) -> list[list[str]]:
    """The failure domains that a group may use, each as its nodes that are online; none is empty."""
    online = _online(view, cluster)
    # A zone keeps its nodes, also those without the template: there a machine waits for it, rather than go where it was
    # not meant to be (ADR 0008).
    zones = cluster.infrastructure.zones or {"": tuple(n for n in online if template_copy(view, cluster, group, n))}
    mine = (nodes for name, nodes in zones.items() if group.failure_domain in {"", name})
    return [there for nodes in mine if (there := [n for n in nodes if n in online])]


def _online(view: View, cluster: Cluster) -> list[str]:
    """The nodes that the cluster may use, as far as they are online."""
    infra = cluster.infrastructure
    quorum: Quorum | None = view.known(scopes.quorum(infra.site))
    # As long as nobody has seen the quorum no node counts as online: unknown is no place for a machine.
    online = quorum.online if quorum else frozenset[str]()
    return [n for n in infra.allowed_nodes or sorted(online) if n in online]


def _count(rows: list[Machine], nodes: list[str]) -> int:
    return sum(row.node in nodes for row in rows)


def _retired(view: View, prefix: str) -> set[str]:
    """Numbers in cool-down (value: wall time until) or quarantine (value: None)."""
    facts = {name.removeprefix(prefix): until for name, until in view.facts.items() if name.startswith(prefix)}
    return {name for name, until in facts.items() if until is None or until > view.wall}
