"""Nodes: labels, annotations and taints of our Nodes kept equal, and serving certificates of our kubelets approved.

What cpcd set before and no longer wants is removed; what others set is left alone. The annotation
`cpcd.dev/applied` remembers what we set, on the Node itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cpcd.model.desired import Cluster, Group
from cpcd.model.errors import Bug
from cpcd.model.keys import Key, Kind, Scope
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Action, Condition, Plan, Status, Wait
from cpcd.model.seen import Csr, Node
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import because
from cpcd.plan.effects import see
from cpcd.ports.bundle import Ports
from cpcd.ports.kube import GVK

__all__ = ["KIND", "ApproveCsr", "SetNode", "apply", "keys", "plan", "reads", "watches"]

KIND = Kind.NODES
APPLIED = "cpcd.dev/applied"
ZONE = "topology.kubernetes.io/zone"
USAGES = frozenset({"digital signature", "key encipherment", "server auth"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNode(Action):
    """Merge what is missing into a Node and remove what we set once and no longer want."""

    verb: ClassVar[str] = "label"

    node: str
    merge: Mapping[str, Any]
    words: str
    after: Node

    @property
    def sentence(self) -> str:
        return f"set {self.words} on Node {self.node}"

    def expect(self, view: View) -> View:
        return see(view, scopes.node(self.key.cluster, self.node), self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveCsr(Action):
    """Approve a kubelet's serving certificate whose every name and address is that machine's own."""

    verb: ClassVar[str] = "approve-csr"

    csr: Csr

    @property
    def sentence(self) -> str:
        return f"approve the serving certificate of {self.csr.node}"

    def expect(self, view: View) -> View:
        scope = scopes.csrs(self.key.cluster)
        left: tuple[Csr, ...] = view.known(scope) or ()
        return see(view, scope, tuple(csr for csr in left if csr != self.csr))


def keys(view: View) -> tuple[Key, ...]:
    """Return a key for the Node of each machine whose cluster has a document."""
    rows = (row for row in view.machines.values() if row.wanted and view.cluster(row.cluster))
    return tuple(Key(row.cluster, KIND, row.name) for row in rows)


def reads(key: Key, view: View) -> tuple[Scope, ...]:
    """Return the Node, once its machine has joined, and the requests while one of them is its own."""
    row = _row(key, view)
    if row is None or not row.joined:
        return ()
    pending: tuple[Csr, ...] | None = view.known(scopes.csrs(key.cluster))
    own = pending is None or any(csr.node == key.name for csr in pending)
    return (scopes.node(key.cluster, key.name), *((scopes.csrs(key.cluster),) if own else ()))


def watches(key: Key, view: View) -> tuple[Scope, ...]:
    """Return the Node, and its own requests; of a new one its Node's key is told (`sources/observer.py`)."""
    return reads(key, view) or ((scopes.node(key.cluster, key.name),) if _row(key, view) else ())


def plan(key: Key, view: View) -> Plan:
    """Return the next correction of the Node, labels before its certificate, or that it is equal."""
    row, cluster = _row(key, view), view.cluster(key.cluster)
    if row is None or cluster is None:
        return Plan()
    if not row.joined:
        return Plan(wait=Wait("NotJoined", f"Node {key.name} waits for its machine to join", 300))
    group = cluster.group(row.group)
    if group is None:
        sentence = f"Node {key.name} is left as it is: its deployment is no longer in the file"
        return Plan(conditions=(Condition("Ready", Status.FALSE, "Deleting", sentence),))
    node: Node | None = view.known(scopes.node(key.cluster, key.name))
    if node is None:
        return Plan(wait=_without_node(key, view))
    if not node.of(row.uid):
        return Plan(wait=Wait("NameTaken", f"Node {key.name} is that of another machine", 10))
    if step := _correction(key, node, group, _labels(cluster, row, group)):
        return Plan(steps=(step,))
    return _serving(key, view, cluster, row)


def _without_node(key: Key, view: View) -> Wait:
    scope = scopes.node(key.cluster, key.name)
    said = "is not there" if scope in view.bulk and view.bulk[scope].complete else "cannot be read now"
    return Wait("NodeUnknown", f"Node {key.name} {said}{because(view, scope)}", 10)


def _serving(key: Key, view: View, cluster: Cluster, row: Machine) -> Plan:
    """The Node is as it should be: its certificate is left."""
    requests = _pending(view, cluster, row)
    if approvals := tuple(ApproveCsr(key=key, csr=csr) for csr, objection in requests.items() if not objection):
        return Plan(steps=approvals)
    if view.known(scopes.csrs(key.cluster)) is None:
        why = because(view, scopes.csrs(key.cluster))
        said = f"the certificate requests of {key.cluster} cannot be listed now{why}"
        return Plan(wait=Wait("RequestsUnknown", said, 10))
    refused = [f"; its request {csr.name} is not approved: {objection}" for csr, objection in requests.items()]
    sentence = f"Node {key.name} has its labels and taints{''.join(refused[:1])}"
    return Plan(conditions=(Condition("Ready", Status.TRUE, "Ready", sentence),))


async def apply(action: Action, ports: Ports, _op: Op | None) -> str | None:
    """Carry out one correction."""
    kube = ports.kube(action.key.cluster)
    match action:
        case SetNode():
            await kube.patch(GVK("v1", "Node"), action.node, action.merge)
        case ApproveCsr():
            await kube.approve(action.csr.name)
        case other:
            raise Bug(f"nodes have no action {other.verb}")
    return None


def _row(key: Key, view: View) -> Machine | None:
    """The Node's machine, None when there is none or its cluster has no document: then both are left as they are."""
    return view.ledger.named.get((key.cluster, key.name)) if view.cluster(key.cluster) else None


def _labels(cluster: Cluster, row: Machine, group: Group) -> dict[str, str]:
    zone = next((name for name, nodes in cluster.infrastructure.zones.items() if row.node in nodes), "")
    return {**({ZONE: zone} if zone else {}), **group.labels}


def _correction(key: Key, node: Node, group: Group, labels: Mapping[str, str]) -> SetNode | None:
    applied = _applied(node)
    label_merge = _merge(node.labels, labels, applied.get("labels", []))
    note_merge = _merge(node.annotations, group.annotations, applied.get("annotations", []))
    taints = _taints(node, group, [tuple(pair) for pair in applied.get("taints", [])])
    # As sets: others add their taints wherever they like.
    if not label_merge and not note_merge and set(taints) == set(node.taints):
        return None
    wanted = {
        "labels": sorted(labels),
        "annotations": sorted(group.annotations),
        "taints": sorted([t.key, t.effect] for t in group.taints),
    }
    # In the write that it tells of, so that there is never one without the other.
    note_merge[APPLIED] = json.dumps(wanted)
    merge: dict[str, Any] = {"metadata": {"labels": label_merge, "annotations": note_merge}}
    if set(taints) != set(node.taints):
        merge["metadata"]["resourceVersion"] = node.resource_version  # the list is replaced whole: no lost update
        merge["spec"] = {"taints": [{"key": k, "value": v, "effect": e} for k, v, e in taints]}
    after = replace(
        node, taints=taints, labels=_merged(node.labels, label_merge),
        annotations=_merged(node.annotations, note_merge),
    )  # fmt: skip
    names = [*label_merge, *(name for name in note_merge if name != APPLIED)]
    names += [f"taint {k}:{e}" for k, _, e in sorted(set(taints) ^ set(node.taints))]
    return SetNode(key=key, node=node.name, merge=merge, words=", ".join(sorted(names)), after=after)


def _applied(node: Node) -> dict[str, Any]:
    """What we set once; an annotation that somebody spoilt counts as nothing."""
    try:
        found = json.loads(node.annotations.get(APPLIED, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _merge(present: Mapping[str, str], wanted: Mapping[str, str], applied: list[str]) -> dict[str, Any]:
    missing: dict[str, Any] = {name: value for name, value in wanted.items() if present.get(name) != value}
    return missing | {name: None for name in applied if name not in wanted and name in present}


def _merged(present: Mapping[str, str], merge: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in {**present, **merge}.items() if value is not None}


def _taints(node: Node, group: Group, applied: list[tuple[Any, ...]]) -> tuple[tuple[str, str, str], ...]:
    wanted = {(t.key, t.effect): t.value for t in group.taints}
    # Kubernetes and others set taints too (not-ready, disk pressure); the list is replaced whole, so they are kept in
    # it.
    foreign = [t for t in node.taints if (t[0], t[2]) not in wanted and (t[0], t[2]) not in applied]
    return (*foreign, *((k, v, e) for (k, e), v in wanted.items()))


def _pending(view: View, cluster: Cluster, row: Machine) -> dict[Csr, str]:
    """Return the machine's own requests with what speaks against each: empty for one that is to be approved."""
    pending: tuple[Csr, ...] = view.known(scopes.csrs(cluster.name)) or ()
    mine = [csr for csr in pending if csr.node == row.name] if cluster.approve_csr else []
    return {csr: _objection(csr, row, cluster.domain) for csr in mine}


def _objection(csr: Csr, row: Machine, domain: str) -> str:
    """Only the machine's own name and address, only for serving: a kubelet cannot borrow another's identity.

    Usages are those that the signer takes (kubernetes: pkg/apis/certificates/helpers.go).
    """
    own = {row.name, f"{row.name}.{domain}"} if domain else {row.name}
    foreign = sorted({*csr.dns_names} - own) + sorted({*csr.addresses} - {row.address})
    if csr.trouble:
        return csr.trouble
    if csr.subject != csr.username:
        return f"its subject is {csr.subject}"
    # Each named once: as a set alone a usage that is there twice would pass.
    if {*csr.usages} not in (USAGES, USAGES - {"key encipherment"}) or len(csr.usages) != len({*csr.usages}):
        return f"its usages are {', '.join(csr.usages) or 'none'}"
    if foreign:
        return f"it asks for {foreign[0]}, which is not the machine's own"
    return "" if csr.dns_names or csr.addresses else "it asks for no name and no address"
