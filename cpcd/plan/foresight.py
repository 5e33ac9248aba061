"""What is awaited, taken as come: so that a plan made in the middle of things still goes to the end.

An operation on its way is taken as succeeded, a machine that boots as booted. Nothing of this is ever acted on.
"""

from dataclasses import replace

from cpcd.model.keys import Key, Uid
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Wait
from cpcd.model.seen import Facts, Vm
from cpcd.model.view import View
from cpcd.plan import effects, scopes

__all__ = ["arrived", "succeeded"]


def succeeded(op: Op, view: View) -> View:
    """Return the view in which an open operation of a machine has succeeded; a hold stays."""
    row = view.machines.get(Uid(op.key.name))
    if row is None or op.disrupts:
        return view
    match op.verb:
        case "join":
            return effects.joined_view(view, row)
        case "prepare":
            profile = str(op.before.get("profile", ""))
            return effects.Prepare(key=op.key, row=row, given={"profile": profile, "version": ""}).expect(view)
        case "resize":
            disk, size = str(op.before.get("disk", "")), int(op.before.get("size_gb", 0))
            return effects.Grow(key=op.key, row=row, disk=disk, size_gb=size).expect(view)
        case "clone":
            return effects.Clone(key=op.key, row=row, pool="", full=True).expect(view)
        case "init":
            return effects.Init(key=op.key, row=row, given={}, attempt={}).expect(view)
        case "etcd-snapshot":
            return effects.Snapshot(key=op.key, row=row, hold=effects.Hold(key=op.key, row=row, why="")).expect(view)
        case verb if verb in effects.OPS:
            return effects.OPS[verb](key=op.key, row=row).expect(view)
        case _:
            return view


def arrived(key: Key, wait: Wait, view: View) -> View:
    """Return the view in which what an object waits for has come; the same view when nothing can be told."""
    if wait.reason == "Terminating":
        scope = scopes.addon(key.cluster, key.name)
        return effects.see(view, scope, replace(view.known(scope), leaving=()))
    row = view.row(key)
    return view if row is None else _come(row, wait.reason, view)


def _come(row: Machine, reason: str, view: View) -> View:
    """What a machine waits for, as come."""
    vm: Vm | None = view.known(scopes.vm(row))
    match reason:
        case "Booting" if vm is not None:
            return effects.see(view, scopes.vm(row), replace(vm, host_key="ssh-ed25519 expected"))
        case "EndpointUnknown":
            return effects.see(view, scopes.endpoint(row.cluster), value=False)
        case "VmLocked" if vm is not None:
            return effects.see(view, scopes.vm(row), replace(vm, lock=""))
        case "VmUnknown" if vm is None and not row.started:
            return effects.see(view, scopes.vm(row), Vm(exists=False))
        case "Draining" | "DrainStalled" | "VolumesAttached":
            view = effects.see(view, scopes.pods(row.cluster, row.name), ())
            return effects.see(view, scopes.attachments(row.cluster, row.name), ())
        case "GuestSilent" | "CloudInit" | "HostnameWrong" | "ClockSkew":
            known: Facts | None = view.known(scopes.guest(row))
            fresh = effects.fresh_facts(row)
            return effects.see(view, scopes.guest(row), replace(fresh, prepared=known.prepared if known else ""))
        case _:
            return view
