"""Machine: one row, cradle to grave, so that two hands never hold one VM.

provision → prepare → member → upkeep, or retire. The actions stand in `plan/effects`, the decisions in
`plan/{provision,prepare,member,upkeep,retire}.py`; here is what is read and how each action reaches its port.
"""

import contextlib
from typing import Any

from cpcd.model.errors import Bug, Failure, Unreachable
from cpcd.model.keys import Key, Kind, Role, Scope
from cpcd.model.ledger import Machine, Op
from cpcd.model.plan import Action, Condition, Plan, Status
from cpcd.model.seen import Facts, Node, Vm
from cpcd.model.view import View
from cpcd.plan import effects, fields, growth, kubeadm, scopes
from cpcd.plan.case import Case, machine_key, overdue, proof
from cpcd.plan.member import member
from cpcd.plan.prepare import prepare
from cpcd.plan.provision import provision, short
from cpcd.plan.resolve import evidence, unanswered
from cpcd.plan.retire import retire
from cpcd.plan.upkeep import sick_for, silent, upkeep
from cpcd.ports.bundle import Ports
from cpcd.ports.kube import GVK, evict_all

__all__ = ["KIND", "apply", "keys", "plan", "reads", "watches"]

KIND = Kind.MACHINE
NODE = GVK("v1", "Node")


def keys(view: View) -> tuple[Key, ...]:
    """Return a key for each row."""
    return tuple(machine_key(row) for row in view.machines.values())


def reads(key: Key, view: View) -> tuple[Scope, ...]:
    """Return what a pass needs fresh, as far as the machine has come.

    The VM always, but for an op on a guest, which says itself how it stands; while an op is on its way only its evidence.
    Without a document nothing says how a machine is reached: what was begun is looked for where Proxmox is still asked,
    and where it is a playbook, which runs on cpcd's own host.
    """
    row = view.row(key)
    if row is None:
        return ()
    ops = view.open_ops(key)
    wanted = [scope for op in ops for scope in evidence(op, view)]
    if view.cluster(key.cluster) is None:
        return _retained_reads(row, view, ops, wanted)
    wanted += [] if any(scope.kind == "guestop" for scope in wanted) else [scopes.vm(row), *proof(view, row)]
    # While another operation is on its way nothing is decided that would need more.
    if all(op.disrupts for op in ops):
        wanted += [*_own_reads(row, view), *_cluster_reads(key, row, view)]
    elif any(unanswered(op, row, view, view.wall) for op in ops):
        wanted += _remedy_reads(row, view)
    return tuple(dict.fromkeys(wanted))


def _retained_reads(row: Machine, view: View, ops: list[Op], wanted: list[Scope]) -> tuple[Scope, ...]:
    """Return what tells that a slot is free for which other clusters wait: a clone's, a playbook's."""
    played = {scopes.guestop(row, op.id) for op in ops if op.verb == effects.Prepare.verb}
    asked = row.site in view.desired.sites
    return tuple(scope for scope in wanted if scope in played or (asked and scope.kind == "tasks"))


def _own_reads(row: Machine, view: View) -> list[Scope]:
    """A clone's tasks before it, the VM's where a power action may follow; the guest's facts where they decide."""
    vm: Vm | None = view.known(scopes.vm(row))
    if vm is None or not vm.exists:
        # Nobody clones what was started once; at a start of the daemon each of a fleet would list all its clones.
        return [] if row.started or row.joined else [scopes.tasks(row.site, row.template_node, row.template)]
    tasks = [scopes.tasks(row.site, row.node, row.vmid)]
    if vm.status != "running" or row.retire:
        return tasks
    return [*(tasks if _writes(row, vm, view) else []), *([scopes.guest(row)] if _asks(row, vm, view) else [])]


def _waits(row: Machine, vm: Vm, view: View) -> bool:
    """Whether something that it has got already is in force only after a reboot."""
    return bool(fields.late(vm)) or growth.due(row, view)


def _writes(row: Machine, vm: Vm, view: View) -> bool:
    """Whether a write may follow of which a task tells: a reboot, a disk that grows, a reset."""
    cluster = view.cluster(row.cluster)
    group = cluster.group(row.group) if cluster else None
    if cluster is None or group is None or not row.joined or _waits(row, vm, view):
        return _waits(row, vm, view)
    late = _late(row, view)
    return short(row, view, vm, group.machine) or (late is not None and late >= 0)


def _late(row: Machine, view: View) -> float | None:
    """Return for how many seconds past its time-out the machine is unhealthy, None when it is not."""
    cluster = view.cluster(row.cluster)
    if cluster is None:
        return None
    return sick_for(Case(machine_key(row), view, row, cluster, cluster.group(row.group) or cluster.groups[0]))


def _asks(row: Machine, vm: Vm, view: View) -> bool:
    """Whether facts decide: until it has joined; and what its file system has before its disk grows, and after."""
    if not row.joined:
        return f"hostkey/{row.uid}" in view.facts
    cluster = view.cluster(row.cluster)
    group = cluster.group(row.group) if cluster else None
    return growth.unread(row, view) or (group is not None and short(row, view, vm, group.machine))


def watches(key: Key, view: View) -> tuple[Scope, ...]:
    """Return what is a reason to look again: what is read, the API, and whether Proxmox can be written.

    Not the tasks: those of a template change with every clone that anybody makes.
    """
    row = view.row(key)
    if row is None:
        return ()
    own = [scope for scope in reads(key, view) if scope.kind != "tasks"]
    if f"identity/{row.cluster}" not in view.facts:
        own.append(scopes.kubeconfig(row.cluster))  # the way to the API that an init waits for
    own.append(scopes.inside(row))
    return (*own, scopes.api(row.cluster), scopes.quorum(row.site), scopes.node(row.cluster, row.name))


def _cluster_reads(key: Key, row: Machine, view: View) -> list[Scope]:
    """API and Node once there is a cluster to join or leave; members and pods when it comes to that."""
    if not _near(row, view):
        return []
    if f"identity/{row.cluster}" not in view.facts:
        return _first_reads(row, view)
    held = bool(row.retire) or any(op.disrupts for op in view.open_ops(key))
    wanted = [scopes.api(row.cluster), scopes.node(row.cluster, row.name)]
    wanted += [scopes.etcd(row.cluster)] if _votes(row, view, held=held) else []
    # A reboot leaves the volumes of a machine where they are.
    wanted += [scopes.attachments(row.cluster, row.name)] if row.retire else []
    return [*wanted, *([scopes.pods(row.cluster, row.name)] if held else [])]


def _remedy_reads(row: Machine, view: View) -> list[Scope]:
    """Return what a reset is decided and recognised by."""
    tasks = scopes.tasks(row.site, row.node, row.vmid)
    if f"identity/{row.cluster}" not in view.facts:
        return [tasks]
    etcd = [scopes.etcd(row.cluster)] if row.role is Role.CONTROL_PLANE else []
    return [tasks, scopes.api(row.cluster), scopes.node(row.cluster, row.name), *etcd]


def _near(row: Machine, view: View) -> bool:
    """Whether the machine is in its cluster, or as good as: prepared, or on its way out."""
    facts: Facts | None = view.known(scopes.guest(row))
    return row.joined or bool(row.retire) or (facts is not None and bool(facts.prepared))


def _votes(row: Machine, view: View, *, held: bool) -> bool:
    """Whether etcd's members decide the next step: a join's or a disruption of one of them; or who has a worker join."""
    if row.role is Role.CONTROL_PLANE:
        return not row.joined or held or _ails(row, view)
    return not row.joined and overdue(view, row.cluster, scopes.node(row.cluster, row.name))


def _ails(row: Machine, view: View) -> bool:
    """Whether a step that disrupts may come next: its Node is not Ready, or its VM waits for a reboot.

    None comes for want of a CNI alone, and to list etcd's members is a good part of what such a machine has to do.
    """
    vm: Vm | None = view.known(scopes.vm(row))
    node: Node | None = view.known(scopes.node(row.cluster, row.name))
    sick = node is None or (node.ready != "True" and (node.networked or _late(row, view) is not None))
    return sick or (vm is not None and _waits(row, vm, view))


def _first_reads(row: Machine, view: View) -> list[Scope]:
    """Before the first init: the endpoint, and every other control plane that was ever started, from inside."""
    if view.facts.get(f"elected/{row.cluster}") != row.uid:
        return []
    others = (one for one in view.rows(row.cluster) if one.role is row.role and one.uid != row.uid and one.started)
    return [scopes.endpoint(row.cluster), *map(scopes.guest, others)]


def plan(key: Key, view: View) -> Plan:
    """Return the next step of a machine's life."""
    row = view.row(key)
    cluster = view.cluster(key.cluster)
    if row is None:
        return Plan()
    if cluster is None:
        return Plan(conditions=_retained(key, view, row))
    group = cluster.group(row.group)
    case = Case(key, view, row, cluster, group or cluster.groups[0])
    # Before anything else: every call is made to the node that the row names.
    if case.moved:
        return Plan(steps=(effects.Relocate(key=key, row=row, node=case.moved),))
    if case.unanswered is not None and not row.retire:
        return silent(case, case.unanswered)
    if row.retire:
        return retire(case)
    if group is None and case.hold is None:  # nobody says what it should be like: it is left as it is until it goes
        sentence = f"{row.name} is left as it is: its deployment {row.group} is no longer in the file"
        return Plan(conditions=(Condition("Ready", Status.FALSE, "Deleting", sentence),))
    return provision(case) or _kept(case)


def _kept(case: Case) -> Plan:
    """Of a machine whose VM is made and runs."""
    vm = case.vm
    assert vm is not None, "a VM that is not known is provision's"
    joining = None if case.row.joined else prepare(case) or member(case)
    return joining or upkeep(case, vm)


def _retained(key: Key, view: View, row: Machine) -> tuple[Condition, ...]:
    """Of what was begun nobody looks how far it came: a hand is needed, or the document."""
    sentence = f"{row.name} is kept: the document of {key.cluster} is gone and its deletionPolicy is Retain"
    begun = next((op.verb for op in view.open_ops(key) if op.disrupts), "")
    if not begun:
        return (Condition("Ready", Status.UNKNOWN, "Retained", sentence),)
    sentence += f"; its {begun} is interrupted until the document is back, and it may be cordoned or off"
    kinds = (("Ready", Status.UNKNOWN), ("Degraded", Status.TRUE))
    return tuple(Condition(kind, status, "Retained", sentence) for kind, status in kinds)


async def apply(action: Action, ports: Ports, op: Op | None) -> str | None:
    """Carry out one action; return what the other side calls it."""
    assert isinstance(action, effects.MachineAction)
    match action:
        case effects.Write():
            return await _write(action, ports, op)
        case effects.Job():
            assert op is not None, "what runs for long on a machine is an op"
            given = await _introduced(action, ports) if isinstance(action, effects.Join) else action.asked(op.id)
            await ports.guests.submit(ports.host(action.row), op.id, action.job, given)
            return op.id
        case _:
            await _in_cluster(action, ports)
            return None


async def _write(action: effects.Write, ports: Ports, op: Op | None) -> str | None:
    row, proxmox = action.row, ports.proxmox(action.row.site)
    match action:
        case effects.Clone():
            assert op is not None
            return await proxmox.clone(
                row.template_node, row.template, newid=row.vmid, name=row.name, pool=action.pool, full=action.full,
                description=fields.mark(ports.installation(), row, op.id), target=row.node, storage=action.storage,
            )  # fmt: skip
        case effects.Configure():
            await proxmox.configure(row.node, row.vmid, _written(action), digest=action.digest)
            return None
        case effects.Grow():
            return await proxmox.resize(row.node, row.vmid, action.disk, f"{action.size_gb}G")
        case effects.Power():
            return await proxmox.power(row.node, row.vmid, action.verb, action.options)
        case effects.Destroy():
            return await proxmox.destroy(row.node, row.vmid)
        case other:
            raise Bug(f"no port carries out {other.verb}")


async def _in_cluster(action: effects.MachineAction, ports: Ports) -> None:
    row, kube = action.row, ports.kube
    match action:
        case effects.Uncordon():
            await kube(row.cluster).patch(NODE, row.name, {"spec": {"unschedulable": None}})
        case effects.DeleteNode():
            await kube(row.cluster).delete(NODE, row.name, uid=action.uid)
        case effects.Drain():
            await _sweep(action, ports)
        case effects.RemoveMember():
            await _remove(action, ports)
        case other:
            raise Bug(f"no port carries out {other.verb}")


async def _introduced(action: effects.Join, ports: Ports) -> dict[str, Any]:
    """A healthy peer mints the secrets, the target gets them on stdin; nothing keeps them (failures.md K01, K08)."""
    role = action.row.role is Role.CONTROL_PLANE
    secrets = await ports.guests.call(ports.host(action.peer), "join_secrets", {"ttl": "15m", "control_plane": role})
    return {
        "config": kubeadm.join_config(action.cluster, action.row, secrets),
        "manifests": kubeadm.files(action.cluster, first=False) if role else {},
    }


async def _remove(action: effects.RemoveMember, ports: Ports) -> None:
    """The endpoint first: without its member a machine's kube-vip can only wait for the end of its lease."""
    peer = ports.host(action.peer)
    if action.endpoint:
        with contextlib.suppress(Failure):  # a courtesy: what is not given up is taken over when its lease has ended
            await ports.guests.call(ports.host(action.row), "release_endpoint", {"address": action.endpoint})
    if action.heir:
        await ports.guests.call(peer, "etcd_move_leader", {"to": action.heir})
    await ports.guests.call(peer, "etcd_remove", {"id": action.member})


async def _sweep(action: effects.Drain, ports: Ports) -> None:
    """Cordon, then one eviction a pod; a budget's refusal is no error, the next sweep asks again.

    A pod whose eviction fails (two budgets for it, a webhook) keeps no other on the machine; the first failure is told.
    """
    kube = ports.kube(action.row.cluster)
    await kube.patch(NODE, action.row.name, {"spec": {"unschedulable": True}})
    failed = await evict_all(kube, action.pods)
    if failed:
        raise next((one for one in failed if isinstance(one, Unreachable)), failed[0])


def _written(action: effects.Configure) -> dict[str, object]:
    """Options as Proxmox takes them: what is None is named in `delete`."""
    gone = ",".join(name for name, value in action.options.items() if value is None)
    kept = {name: value for name, value in action.options.items() if value is not None}
    return kept | ({"delete": gone} if gone else {})
