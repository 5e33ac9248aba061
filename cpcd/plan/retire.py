"""The end of a machine: drain → member out → stop → Node out → destroy → forget, each proved before the next.

The tombstone is `row.retire`; approval, blast radius and quorum were checked when it was set. Its hold is open until
the machine has left (`left`): without one only the VM is left, which is stopped whenever it is met running.
A VM is stopped and destroyed only when VMID, mark, name and SMBIOS UUID agree (`failures.md` rule 16).
"""

from cpcd.model.errors import Code
from cpcd.model.keys import Role
from cpcd.model.ledger import Machine
from cpcd.model.plan import Plan, Refusal
from cpcd.model.seen import Members, Node, Seen, Vm
from cpcd.model.view import View
from cpcd.plan import consent, effects, fields, scopes
from cpcd.plan.case import Case, acting, offline, removed, usurped, waiting
from cpcd.plan.drain import drain
from cpcd.plan.member import peer

__all__ = ["left", "retire"]


def retire(case: Case) -> Plan:
    """Return the next step of a retirement."""
    # Nobody would ask for it again, and without the row nobody would let it lapse.
    if unasked := consent.unasked(case.key, case.view, case.row):
        return acting("Deleting", unasked)
    # Another's VM under its number is nothing to stop or to wait for.
    vm = Vm(exists=False) if usurped(case.view, case.row) else case.vm
    if vm is None and not offline(case.row, case.view):
        sentence = f"{case.row.name}: nothing is destroyed while its VM cannot be read"
        return case.unseen("VmUnknown", sentence, scopes.vm(case.row), after=10)
    plan = _leave(case, vm) if case.hold is not None and case.identity is not None else None
    return plan or _halt(case, vm) or _node_out(case) or _vanish(case, vm)


def left(row: Machine, view: View) -> bool:
    """Return whether a machine is out of its cluster and down: no member, no Node of its own, no VM that runs.

    What cannot be seen is taken to be there, but for a VM whose Proxmox node is offline.
    """
    vm: Vm | None = view.known(scopes.vm(row))
    down = offline(row, view) if vm is None else vm.status != "running" or usurped(view, row)
    return down and (f"identity/{row.cluster}" not in view.facts or _out(row, view))


def _out(row: Machine, view: View) -> bool:
    node: Seen[Node] | None = view.bulk.get(scopes.node(row.cluster, row.name))
    members: Members | None = view.known(scopes.etcd(row.cluster))
    listed = row.role is Role.CONTROL_PLANE and (members is None or members.at(row.address) is not None)
    return not listed and node is not None and node.complete and (node.value is None or not node.value.of(row.uid))


def _leave(case: Case, vm: Vm | None) -> Plan | None:
    """Take the machine out of the cluster; a VM that is gone or off has nothing left to drain.

    Nor has one whose Node is not Ready; of one that runs, a Node that cannot be read may be.
    """
    if not case.api_ready:
        return _no_api(case)
    if _runs(vm) and (unread := _unread(case)):
        return unread
    serves = _runs(vm) and case.node is not None and case.node.ready == "True"
    plan = drain(case) or _volumes(case) if serves else None
    return plan or (_leave_etcd(case, serves=serves) if case.control_plane else None)


def _runs(vm: Vm | None) -> bool:
    return vm is not None and vm.status == "running"


def _no_api(case: Case) -> Plan:
    sentence = f"{case.row.name} waits for the cluster's API to leave it"
    return case.unseen("ApiUnavailable", sentence, scopes.api(case.row.cluster), after=10)


def _node_out(case: Case) -> Plan | None:
    """Delete the Node of a machine that is down, so that no pod of it runs twice; a kubelet may have made it anew."""
    if case.identity is None:
        return None
    if not case.api_ready:
        return _no_api(case)
    if unread := _unread(case):
        return unread
    return acting("Deleting", effects.DeleteNode(key=case.key, row=case.row, uid=case.node.uid)) if case.node else None


def _unread(case: Case) -> Plan | None:
    seen = case.node_seen
    if seen is not None and seen.complete:
        return None
    scope = scopes.node(case.row.cluster, case.row.name)
    return case.unseen("NodeUnknown", f"{case.row.name}: its Node cannot be read now", scope, after=5)


def _volumes(case: Case) -> Plan | None:
    """Wait until the volumes are detached, at most `nodeVolumeDetachTimeout`: then the machine goes all the same."""
    attached: tuple[str, ...] | None = case.view.known(scopes.attachments(case.row.cluster, case.row.name))
    if attached is None:
        return waiting("Draining", f"{case.row.name}: its volumes cannot be listed now", after=5)
    if not attached:
        return None
    since = case.view.since.get(f"{case.key}/VolumesAttached", case.view.wall)
    if case.view.wall - since > case.group.detach_timeout:
        return None
    return waiting("VolumesAttached", f"{case.row.name}: waits for {len(attached)} volumes to be detached", after=5)


def _leave_etcd(case: Case, *, serves: bool) -> Plan | None:
    if case.members is None:
        sentence = f"{case.row.name}: etcd's members cannot be listed now"
        return case.unseen("EtcdUnknown", sentence, scopes.etcd(case.row.cluster), after=5)
    own, friend = case.member, peer(case)
    if own is None:
        return None
    if friend is None:
        return waiting("EtcdUnhealthy", f"{case.row.name}: no healthy peer can remove its etcd member", after=10)
    others = [m.id for m in case.members.voters if m.id != own.id and m.healthy]
    # A learner cannot lead, and who does not answer should not.
    heir = others[0] if case.members.leader == own.id and others else ""
    # Of a machine that does not serve the lease ends by itself (ADR 0014).
    held = case.cluster.endpoint.host if serves and case.cluster.endpoint.provider == "kube-vip" else ""
    return acting(
        "Deleting",
        effects.RemoveMember(key=case.key, row=case.row, peer=friend, member=own.id, heir=heir, endpoint=held),
    )


def _halt(case: Case, vm: Vm | None) -> Plan | None:
    """Stop what runs, hard: it was drained, or is not to come back."""
    if vm is None or not _runs(vm):
        return None
    return _foreign(case, vm) or acting("Deleting", effects.Stop(key=case.key, row=case.row))


def _vanish(case: Case, vm: Vm | None) -> Plan:
    if vm is None:
        return _stranded(case)
    if not vm.exists:
        taken = case.vm is not None and case.vm.exists
        return acting("Deleting", effects.Forget(key=case.key, row=case.row, taken=taken))
    return _foreign(case, vm) or _protected(case, vm) or acting("Deleting", effects.Destroy(key=case.key, row=case.row))


def _stranded(case: Case) -> Plan:
    """Of a node that was removed Proxmox keeps the VMs' configurations, until somebody removes them as well."""
    sentence = f"{case.row.name} has left the cluster; its VM waits for Proxmox node {case.row.node} to return"
    if gone := removed(case.row, case.view):
        sentence = (
            f"{case.row.name} has left the cluster; Proxmox node {gone} too has left its own, where VM "
            f"{case.row.vmid} is kept still: remove /etc/pve/nodes/{gone}, and the VMID is free again"
        )
    return waiting("NodeOffline", sentence, after=30)


def _protected(case: Case, vm: Vm) -> Plan | None:
    if str(vm.config.get("protection", "0")) != "1":
        return None
    sentence = f"VM {case.row.vmid} is protected in Proxmox; the protection is never removed by cpcd"
    return Plan(refusal=Refusal(Code.EXECUTION, "Protected", sentence, "Remove the protection if you mean it."))


def _foreign(case: Case, vm: Vm) -> Plan | None:
    """Keep off a VM that is not proved to be ours, or that somebody else works on."""
    marked = fields.owner(vm) == (case.view.installation, case.row.cluster, case.row.uid)
    unborn = not case.row.started and marked and vm.config.get("name") == case.row.name  # its UUID comes later
    if not fields.ours(vm, case.row, case.view.installation) and not unborn:
        return Plan(refusal=fields.foreign_vm(vm, case.row, case.view.installation))
    if vm.lock:
        return waiting("VmLocked", f"{case.row.name}: VM {case.row.vmid} is locked ({vm.lock})", after=5)
    return None
