"""Kubeconfig: the admin's kubeconfig under the state directory, rewritten when its CA, server or dates are wrong."""

from dataclasses import dataclass
from typing import ClassVar

from cpcd.model.desired import Cluster
from cpcd.model.errors import Bug
from cpcd.model.keys import Key, Kind, Role, Scope
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Action, Condition, Plan, Status, Wait
from cpcd.model.seen import Facts
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.certificates import RENEW_BEFORE
from cpcd.plan.effects import see
from cpcd.ports.bundle import Ports, WrittenKubeconfig

__all__ = ["KIND", "WriteKubeconfig", "apply", "keys", "plan", "reads", "watches"]

KIND = Kind.KUBECONFIG


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteKubeconfig(Action):
    """Fetch admin.conf from a control plane and store it with our server and context."""

    verb: ClassVar[str] = "write-kubeconfig"

    source: Machine
    server: str
    context: str
    ca_hash: str
    why: str

    @property
    def sentence(self) -> str:
        return f"write the kubeconfig of {self.key.cluster} from {self.source.name}: {self.why}"

    def expect(self, view: View) -> View:
        # The certificates that kubeadm makes last a year (K14).
        written = WrittenKubeconfig(self.server, self.context, self.ca_hash, view.wall + 365 * 86400)
        return see(view, scopes.kubeconfig(self.key.cluster), written)


def keys(view: View) -> tuple[Key, ...]:
    """Return one key a cluster."""
    return tuple(Key(name, KIND, "admin") for name in view.desired.clusters)


def reads(key: Key, view: View) -> tuple[Scope, ...]:
    """Return what is written; nothing once the document is gone, so that it is no object any more."""
    return (scopes.kubeconfig(key.cluster),) if view.cluster(key.cluster) else ()


def watches(key: Key, view: View) -> tuple[Scope, ...]:
    """Return what is read, and the control planes from inside: one of them has the text."""
    rows = [row for row in view.rows(key.cluster) if row.role is Role.CONTROL_PLANE and view.cluster(key.cluster)]
    return (*reads(key, view), *(scopes.guest(row) for row in rows))


def plan(key: Key, view: View) -> Plan:
    """Return the rewrite, if one is due and a control plane can give the text."""
    cluster = view.cluster(key.cluster)
    seen = view.bulk.get(scopes.kubeconfig(key.cluster))
    if cluster is None or seen is None:
        return Plan()
    identity = view.facts.get(f"identity/{key.cluster}") or {}
    source = _source(key, view, initialised=bool(identity))
    written: WrittenKubeconfig | None = seen.known
    ca_hash = identity.get("ca_hash") or _authority(view, source)
    why = seen.why or _why(cluster, written, ca_hash, newest=_newest(view, source), wall=view.wall)
    if written is not None and not why:
        return Plan(conditions=(_written(cluster, written, view.wall),))
    if source is None:
        on = (f"fact:identity/{key.cluster}",)
        return Plan(wait=Wait("ControlPlaneInitializing", "the kubeconfig waits for a control plane", 10, on))
    action = WriteKubeconfig(
        key=key, source=source, server=_server(cluster), context=cluster.kubeconfig_context or cluster.name,
        ca_hash=ca_hash, why=why,
    )  # fmt: skip
    return Plan(steps=(action,))


async def apply(action: Action, ports: Ports, _op: Op | None) -> str | None:
    """Fetch and store; the text passes through memory only."""
    match action:
        case WriteKubeconfig():
            answer = await ports.guests.call(ports.host(action.source), "kubeconfig", {})
            name = action.key.cluster
            ports.kubeconfigs.write(name, answer["kubeconfig"], server=action.server, context=action.context)
            return None
        case other:
            raise Bug(f"a kubeconfig has no action {other.verb}")


def _server(cluster: Cluster) -> str:
    return f"https://{cluster.endpoint.host}:{cluster.endpoint.port}"


def _written(cluster: Cluster, written: WrittenKubeconfig, wall: float) -> Condition:
    """What is written serves until its certificate ends, which nothing but a newer admin.conf can change."""
    if written.expires > wall:
        sentence = f"the kubeconfig of {cluster.name} is written for {_server(cluster)}"
        return Condition("Ready", Status.TRUE, "Ready", sentence)
    sentence = "the certificate of the kubeconfig has ended; run `kubeadm certs renew all` on a control plane"
    return Condition("Ready", Status.FALSE, "CertificatesExpired", sentence)


def _authority(view: View, source: Machine | None) -> str:
    """Whose cluster it will be: until that is known the kubeconfig follows the machine that is being initialised."""
    facts: Facts | None = view.known(scopes.guest(source)) if source else None
    return facts.ca_hash if facts else ""


def _newest(view: View, source: Machine | None) -> float:
    """When the admin.conf ends that would be fetched, 0 while nobody has seen it."""
    facts: Facts | None = view.known(scopes.guest(source)) if source else None
    return facts.certificates.get("admin.conf", 0) if facts else 0


def _why(cluster: Cluster, written: WrittenKubeconfig | None, ca_hash: str, *, newest: float, wall: float) -> str:
    if written is None:
        return "there is none"
    if ca_hash and written.ca_hash != ca_hash:
        return "it is of another cluster"
    if written.server != _server(cluster) or written.context != (cluster.kubeconfig_context or cluster.name):
        return "server or context changed"
    # Only a newer one is a reason: an admin.conf that has grown as old would be fetched at every pass.
    old = written.expires - wall < RENEW_BEFORE and newest > written.expires
    return "its certificate ends soon" if old else ""


def _source(key: Key, view: View, *, initialised: bool) -> Machine | None:
    """A joined control plane; before the cluster is known, the elected one, or any while none is, with admin.conf."""
    rows = [row for row in view.rows(key.cluster) if row.role is Role.CONTROL_PLANE]
    if initialised:
        return next((row for row in rows if row.joined and row.wanted), None)
    elected = view.facts.get(f"elected/{key.cluster}")
    rows = [row for row in rows if row.uid == elected] or rows
    facts: dict[str, Facts | None] = {row.uid: view.known(scopes.guest(row)) for row in rows}
    return next((row for row in rows if (seen := facts[row.uid]) is not None and seen.admin_conf), None)
