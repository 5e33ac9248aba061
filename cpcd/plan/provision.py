"""From a row to a running VM that is ours: clone → configure → grow → start → first contact."""

from collections.abc import Mapping
from typing import Any

from cpcd.model.desired import MachineSpec, Remedy
from cpcd.model.ledger import Machine
from cpcd.model.plan import Condition, Plan, Status
from cpcd.model.seen import Resource, Vm
from cpcd.model.view import View
from cpcd.plan import alloc, effects, fields, growth, scopes
from cpcd.plan.case import Case, acting, lost, waiting

__all__ = ["grow", "provision", "short", "unfit"]


def provision(case: Case) -> Plan | None:
    """Return what the VM needs next, None when it runs and its host key is pinned."""
    vm = case.vm
    if vm is None:
        return case.unseen("VmUnknown", f"{case.row.name}: its VM cannot be read now", scopes.vm(case.row), after=10)
    if not vm.exists or lost(case.view, case.row):
        return _create(case)
    if not fields.ours(vm, case.row, case.view.installation):
        return _claim(case, vm)
    if vm.lock:
        return waiting("VmLocked", f"{case.row.name}: VM {case.row.vmid} is locked ({vm.lock})", after=5)
    if not case.row.started:
        return _complete(case, vm) or acting("Provisioning", effects.Start(key=case.key, row=case.row))
    return _running(case, vm)


def _create(case: Case) -> Plan:
    # Not made again under the same row: its cluster retires it, with the Node and the member that it leaves behind.
    if case.row.joined or case.row.started:
        taken = ", and another has its VMID" if case.vm is not None and case.vm.exists else ""
        sentence = f"{case.row.name}: its VM {case.row.vmid} is gone{taken}"
        return Plan(conditions=(Condition("Ready", Status.FALSE, "VmGone", sentence),))
    copy = _template(case)
    refusal = unfit(case, dict(copy.disks), f"template {copy.vmid}") if copy else None
    if refusal is not None:
        return refusal
    full, pool = case.group.machine.full, case.cluster.infrastructure.pool
    # Proxmox refuses `storage` for a linked clone (recorded [330, 334, 338]; ADR 0011).
    storage = case.cluster.infrastructure.disk_storage if full else ""
    return acting("Provisioning", effects.Clone(key=case.key, row=case.row, pool=pool, full=full, storage=storage))


def _template(case: Case) -> Resource | None:
    scope = scopes.template(case.row.site, case.group.machine.template.name)
    copies: tuple[Resource, ...] = case.view.known(scope) or ()
    return next((copy for copy in copies if copy.vmid == case.row.template), None)


def unfit(case: Case, config: Mapping[str, Any], whose: str) -> Plan | None:
    """Return the refusal of a boot volume that cannot come from these disks."""
    refusal = fields.unfit_boot_disk(case.group.machine, config, who=case.row.name, whose=whose)
    return Plan(refusal=refusal) if refusal else None


def _claim(case: Case, vm: Vm) -> Plan:
    """A fresh clone has our mark and name but not yet our UUID; anything else is somebody else's."""
    claimed = fields.owner(vm) == (case.view.installation, case.row.cluster, case.row.uid)
    if claimed and not case.row.started and not vm.lock:
        options = fields.first_options(case.cluster, case.row, case.group.machine, vm.config)
        return acting("Provisioning", _configure(case, vm, options))
    if claimed and vm.lock:
        return waiting("VmLocked", f"{case.row.name}: VM {case.row.vmid} is locked ({vm.lock})", after=5)
    # A machine that was never started loses nothing with its number.
    other = alloc.vmid(case.view, case.cluster)
    if not case.row.started and other is not None:
        return acting("Provisioning", effects.Renumber(key=case.key, row=case.row, vmid=other))
    return Plan(refusal=fields.foreign_vm(vm, case.row, case.view.installation))


def _complete(case: Case, vm: Vm) -> Plan | None:
    spec = case.group.machine
    options = fields.first_options(case.cluster, case.row, spec, vm.config)
    differing = {k: v for k, v in options.items() if str(vm.config.get(k, "")) != ("" if v is None else str(v))}
    # Not by these texts: to net0 Proxmox adds a MAC, and the UUID has agreed already.
    if differing.keys() - {"net0", "smbios1"}:
        return acting("Provisioning", _configure(case, vm, options))
    return unfit(case, vm.config, f"VM {case.row.vmid}") or grow(case, vm, spec)


def grow(case: Case, vm: Vm, spec: MachineSpec) -> Plan | None:
    """Return the growth of the boot disk if it is smaller than wanted."""
    if short(case.row, case.view, vm, spec):
        return acting(
            "Provisioning", effects.Grow(key=case.key, row=case.row, disk=spec.boot_disk, size_gb=spec.boot_disk_gb)
        )
    return None


def short(row: Machine, view: View, vm: Vm, spec: MachineSpec) -> bool:
    """Whether the boot disk is there and smaller than wanted."""
    size = growth.size(row, view, vm.config, spec.boot_disk)
    return size is not None and size < spec.boot_disk_gb


def _running(case: Case, vm: Vm) -> Plan | None:
    if vm.status != "running":
        # Under a hold it was cpcd itself that switched it off.
        if case.row.joined and case.hold is None and Remedy.START not in case.cluster.health.ladder:
            sentence = f"{case.row.name} is off, and healthCheck.remediation.ladder has no Start"
            return Plan(conditions=(Condition("Ready", Status.FALSE, "NodeNotReady", sentence),))
        return acting("Provisioning", effects.Start(key=case.key, row=case.row))
    if f"hostkey/{case.row.uid}" in case.view.facts:
        return None
    if vm.host_key:
        return acting("Provisioning", effects.PinHostKey(key=case.key, row=case.row, host_key=vm.host_key))
    return waiting("Booting", f"{case.row.name} is booting: sshd or its guest agent does not answer yet", after=1)


def _configure(case: Case, vm: Vm, options: dict[str, object]) -> effects.Configure:
    return effects.Configure(key=case.key, row=case.row, options=options, digest=str(vm.config.get("digest", "")))
