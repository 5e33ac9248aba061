"""The end of a machine: drain → member out → Node out → stop → destroy → forget, each proved before the next.

The tombstone is `row.retire` with its open hold; approval, blast radius and quorum were checked when it was set.
A VM is destroyed only when VMID, mark, name and SMBIOS UUID agree (`failures.md` rule 16).
"""

from cpcd.model.errors import Code
from cpcd.model.plan import Plan, Refusal
from cpcd.model.seen import Quorum, Vm
from cpcd.plan import effects, fields, scopes
from cpcd.plan.case import Case, progressing, waiting
from cpcd.plan.drain import drain
from cpcd.plan.member import peer

__all__ = ["retire"]


def retire(case: Case) -> Plan:
    """Return the next step of a retirement."""
    vm = case.vm
    if vm is None and _node_offline(case):
        left = _leave(case, Vm(exists=False)) if case.identity is not None else None
        sentence = f"{case.row.name} has left the cluster; its VM waits for Proxmox node {case.row.node} to return"
        return left or waiting("NodeOffline", sentence, after=30)
    if vm is None:
        sentence = f"{case.row.name}: nothing is destroyed while its VM cannot be read"
        return case.unseen("VmUnknown", sentence, scopes.vm(case.row), after=10)
    if case.identity is not None:
        plan = _leave(case, vm)
        if plan is not None:
            return plan
    return _vanish(case, vm)


def _node_offline(case: Case) -> bool:
    quorum: Quorum | None = case.view.known(scopes.quorum(case.row.site))
    return quorum is not None and case.row.node in quorum.offline


def _leave(case: Case, vm: Vm) -> Plan | None:
    """Take the machine out of the cluster; a VM that is gone or off has nothing left to drain."""
    if case.api is None or not case.api.ready:
        sentence = f"{case.row.name} waits for the cluster's API to leave it"
        return case.unseen("ApiUnavailable", sentence, scopes.api(case.row.cluster), after=10)
    alive = vm.exists and vm.status == "running" and case.node is not None and case.node.ready == "True"
    if alive:
        plan = drain(case) or _volumes(case)
        if plan is not None:
            return plan
    if case.control_plane:
        plan = _leave_etcd(case)
        if plan is not None:
            return plan
    seen = case.node_seen
    if seen is None or not seen.complete:
        scope = scopes.node(case.row.cluster, case.row.name)
        return case.unseen("NodeUnknown", f"{case.row.name}: its Node cannot be read now", scope, after=5)
    if case.node is not None:
        return _step(effects.DeleteNode(key=case.key, row=case.row, uid=case.node.uid))
    return None


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


def _leave_etcd(case: Case) -> Plan | None:
    if case.members is None:
        sentence = f"{case.row.name}: etcd's members cannot be listed now"
        return case.unseen("EtcdUnknown", sentence, scopes.etcd(case.row.cluster), after=5)
    own, friend = case.member, peer(case)
    if own is None:
        return None
    if friend is None:
        return waiting("EtcdUnhealthy", f"{case.row.name}: no healthy peer can remove its etcd member", after=10)
    others = [m.id for m in case.members.voters if m.id != own.id and m.healthy]
    heir = others[0] if case.members.leader == own.id and others else ""
    return _step(effects.RemoveMember(key=case.key, row=case.row, peer=friend, member=own.id, heir=heir))


def _vanish(case: Case, vm: Vm) -> Plan:
    if not vm.exists:
        holds = tuple(op.id for op in case.view.open_ops(case.key))
        return _step(effects.Forget(key=case.key, row=case.row, holds=holds))
    marked = fields.owner(vm) == (case.view.installation, case.row.cluster, case.row.uid)
    unborn = not case.row.started and marked and vm.config.get("name") == case.row.name  # its UUID comes later
    if not fields.ours(vm, case.row, case.view.installation) and not unborn:
        sentence = f"VM {case.row.vmid} on {vm.node} does not carry the marks of {case.row.name}; it is not destroyed"
        hint = f"If it is a leftover, destroy it by hand: qm destroy {case.row.vmid} --purge"
        return Plan(refusal=Refusal(Code.VALIDATION, "ForeignVm", sentence, hint))
    if vm.lock:
        return waiting("VmLocked", f"{case.row.name}: VM {case.row.vmid} is locked ({vm.lock})", after=5)
    if str(vm.config.get("protection", "0")) == "1":
        sentence = f"VM {case.row.vmid} is protected in Proxmox; the protection is never removed by cpcd"
        return Plan(refusal=Refusal(Code.EXECUTION, "Protected", sentence, "Remove the protection if you mean it."))
    if vm.status == "running":
        return _step(effects.Stop(key=case.key, row=case.row))
    return _step(effects.Destroy(key=case.key, row=case.row))


def _step(action: effects.MachineAction) -> Plan:
    return Plan(steps=(action,), conditions=progressing("Deleting", action.sentence))
