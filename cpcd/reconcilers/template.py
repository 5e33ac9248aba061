"""Template: an existing template, found by id or by tags, one copy on each node or one on shared storage."""

from collections.abc import Iterator

from cpcd.model.desired import MachineSpec, TemplateRef
from cpcd.model.errors import Bug, Code
from cpcd.model.keys import Key, Kind, Scope
from cpcd.model.ledger import Op
from cpcd.model.plan import Action, Condition, Plan, Refusal, Status, Wait
from cpcd.model.seen import Resource
from cpcd.model.view import View
from cpcd.plan import fields, scopes
from cpcd.plan.case import because
from cpcd.ports.bundle import Ports

__all__ = ["KIND", "apply", "keys", "plan", "reads", "watches"]

KIND = Kind.TEMPLATE


def keys(view: View) -> tuple[Key, ...]:
    """Return a key for each template that a cluster refers to, by Proxmox."""
    return tuple(Key(site, KIND, ref.name) for site, ref in _references(view))


def reads(key: Key, view: View) -> tuple[Scope, ...]:
    """Return the template's copies; nothing once no cluster refers to it, so that it is no object any more."""
    return (scopes.template(key.cluster, key.name),) if key in keys(view) else ()


def watches(key: Key, view: View) -> tuple[Scope, ...]:
    """Return what is read."""
    return reads(key, view)


def plan(key: Key, view: View) -> Plan:
    """Return whether the template is there and its disks can be what machines want of them.

    Several copies on one node are ambiguous and refused.
    """
    ref = next((ref for site, ref in _references(view) if (site, ref.name) == (key.cluster, key.name)), None)
    if ref is None:
        return Plan()
    copies = _copies(key, ref, view)
    if copies is None:
        why = because(view, scopes.template(key.cluster, key.name))
        return Plan(wait=Wait("ProxmoxUnknown", f"template {ref.name} cannot be looked up now{why}", 10))
    how = f"VMID {ref.vmid}" if ref.vmid else f"tags {', '.join(ref.tags)}"
    if not copies:
        sentence = f"no template with {how} is on {key.cluster}"
        hint = f"Make one and mark it as template (qm template), with {how}."
        return Plan(refusal=Refusal(Code.DEPENDENCY, "TemplateMissing", sentence, hint))
    if refusal := _ambiguous(how, copies) or _unfit(copies, key, view):
        return Plan(refusal=refusal)
    where = ", ".join(f"{copy.vmid} on {copy.node}" for copy in copies)
    return Plan(conditions=(Condition("Ready", Status.TRUE, "Ready", f"template {ref.name}: {where}"),))


async def apply(action: Action, _ports: Ports, _op: Op | None) -> str | None:
    """Never called: templates are not built yet."""
    raise Bug(f"a template has no action {action.verb}")


def _copies(key: Key, ref: TemplateRef, view: View) -> tuple[Resource, ...] | None:
    """What is there of a template, None while unknown; what was found before an edit of the reference is of another."""
    found: tuple[Resource, ...] | None = view.known(scopes.template(key.cluster, key.name))
    mine = tuple(copy for copy in found or () if ref.means(copy.vmid, copy.tags))
    return None if found and not mine else found and mine


def _ambiguous(how: str, copies: tuple[Resource, ...]) -> Refusal | None:
    nodes = [copy.node for copy in copies]
    doubled = sorted({node for node in nodes if nodes.count(node) > 1})
    if not doubled:
        return None
    listed = ", ".join(str(copy.vmid) for copy in copies if copy.node == doubled[0])
    sentence = f"{how} fit several templates on {doubled[0]}: {listed}"
    return Refusal(Code.CONFIG, "TemplateAmbiguous", sentence, "Name one by templateID.")


def _unfit(copies: tuple[Resource, ...], key: Key, view: View) -> Refusal | None:
    return next((refusal for copy in copies for refusal in _objections(copy, key, view)), None)


def _objections(copy: Resource, key: Key, view: View) -> Iterator[Refusal]:
    """Yield what cannot be made of a copy's disks."""
    if not copy.cloudinit:
        sentence = f"template {copy.vmid} on {copy.node} has no cloud-init drive: its clones would have no address"
        hint = f"Add one: qm set {copy.vmid} --ide2 STORAGE:cloudinit"
        yield Refusal(Code.DEPENDENCY, "NoCloudInitDrive", sentence, hint)
    for site, who, spec in _machines(view):
        if (site, spec.template.name) == (key.cluster, key.name):
            whose = f"template {copy.vmid} on {copy.node}"
            refusal = fields.unfit_boot_disk(spec, dict(copy.disks), who=who, whose=whose)
            if refusal is not None:
                yield refusal


def _references(view: View) -> list[tuple[str, TemplateRef]]:
    found = {(site, spec.template.name): spec.template for site, _, spec in _machines(view)}
    return [(site, ref) for (site, _), ref in sorted(found.items(), key=lambda item: item[0])]


def _machines(view: View) -> Iterator[tuple[str, str, MachineSpec]]:
    """Yield (site, `CLUSTER/GROUP`, what its machines are made of) of each group."""
    for cluster in view.desired.clusters.values():
        for group in cluster.groups:
            yield cluster.infrastructure.site, f"{cluster.name}/{group.name}", group.machine
