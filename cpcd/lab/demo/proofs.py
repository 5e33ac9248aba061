"""The statements on what is true in the lab, as pure functions; each comes out false in some world.

`World` is what `GET /lab/state` answers. Nothing here asks or waits. Next: `limits.py` for what is counted from moment
to moment, `said.py` for what the daemon says, `story.py` for when each is asked.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "FOREIGN", "LABEL", "MEMORY", "Ledger", "Proof", "World", "built", "caught", "edited", "foreign", "group",
    "kept", "leftovers", "listed", "machines", "repaired", "replaced", "served", "untouched", "whole",
]  # fmt: skip

World = Mapping[str, Any]
Vm = Mapping[str, Any]

MEMORY: Final = 6144  # MiB that act 2 asks for
LABEL: Final = ("tier", "gold")  # that act 2 asks for on workers
FOREIGN: Final = 10_002  # a VMID of our range that somebody else has
MARK: Final = re.compile(r"^cpcd/1 \S+ demo (\S+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Proof:
    """One statement and whether it was true; `detail` is what was seen."""

    statement: str
    holds: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the daemon has on disk: VMIDs of the machine rows by uid, open operations, VMIDs in quarantine."""

    rows: Mapping[str, int]
    ops: int = 0
    quarantine: tuple[str, ...] = ()


def machines(world: World) -> list[Vm]:
    """Return the VMs that are neither templates nor somebody else's."""
    return [vm for vm in world["vms"] if not vm["template"] and vm["vmid"] != FOREIGN]


def group(world: World, name: str) -> list[Vm]:
    """Return the VMs of `cp` or of a deployment, by name."""
    return sorted((vm for vm in machines(world) if f"-{name}-" in vm["name"]), key=lambda vm: str(vm["name"]))


def foreign(world: World) -> Vm:
    """Return everything that the lab tells of the VM that is not ours, nothing when it is gone."""
    return next((vm for vm in world["vms"] if vm["vmid"] == FOREIGN), {})


def built(world: World, *, masters: int, workers: int) -> Iterator[Proof]:
    """Judge a cluster that has just been built."""
    vms, wanted = machines(world), masters + workers
    running = sum(vm["status"] == "running" for vm in vms)
    yield Proof(f"{wanted} machines run", running == len(vms) == wanted)
    yield Proof(f"{wanted} nodes are Ready", _ready(world) == wanted == len(_nodes(world)))
    yield _etcd(world, masters)
    zones = sorted({vm["node"] for vm in group(world, "cp")})
    yield Proof(f"control planes are in {masters} failure domains", len(zones) == masters, ", ".join(zones))


def served(daemonset: Mapping[str, Any], found: Mapping[str, Any], *, nodes: int) -> Iterator[Proof]:
    """Judge what the written kubeconfig reads: flannel's DaemonSet and the addon's ConfigMap."""
    ready = daemonset.get("status", {}).get("numberReady")
    yield Proof("flannel, which the file does not name, runs on all of them", ready == nodes)
    yield Proof("the kubeconfig works and the addon is applied", found.get("kind") == "ConfigMap")


def edited(before: World, after: World, *, workers: int) -> Iterator[Proof]:
    """Judge an edit in place: who is the same, memory as VM and Node have it, the label where it belongs."""
    old, new = _identities(before), _identities(after)
    kept = sum(new.get(name) == identity for name, identity in old.items())
    said = f"{kept} of {len(old)} kept VMID, UUID, mark and Node"
    yield Proof("no machine was replaced", kept == len(old) > 0, said)
    sizes = {str(vm["memory"]) for vm in machines(after)}
    yield Proof(f"memory is {MEMORY} MiB everywhere", sizes == {str(MEMORY)})
    grown = {node["memory"] for node in _nodes(after)}
    was = {node["memory"] for node in _nodes(before)}
    seen = grown == {f"{MEMORY * 1024}Ki"} and not grown & was
    yield Proof("their Nodes see it", seen, f"{listed(was)}, then {listed(grown)}")
    wanted = {vm["name"] for vm in group(after, "general")}
    yield Proof(f"there are {workers} workers", len(wanted) == workers)
    labelled = {node["name"] for node in _nodes(after) if LABEL in node["labels"].items()}
    yield Proof(f"the label {'='.join(LABEL)} is on the Nodes of all workers, and of nobody else", labelled == wanted)


def caught(world: World, verb: str) -> Proof:
    """Judge whether the lab was at a clone, or at a control plane's join, when the daemon had just been killed."""
    if verb == "clone":
        running = [f"qmclone on {task['node']}" for task in world["tasks"] if _clones(task)]
    else:
        running = [
            guest["hostname"] for guest in world["guests"] if guest["job"] == verb and "-cp-" in guest["hostname"]
        ]
    return Proof(f"the kill met a running {verb}", bool(running), ", ".join(running))


def whole(world: World, ledger: Ledger, *, masters: int, wanted: int) -> Iterator[Proof]:
    """Judge the world after a crash: each machine once, and nothing that belongs to none of them."""
    uids = [_uid(vm) for vm in machines(world)]
    once = len(uids) == wanted and all(count == 1 for count in Counter(uids).values()) and "" not in uids
    yield Proof("no machine twice, none forgotten", once, f"{len(uids)} VMs")
    left = leftovers(world, ledger)
    about = f"{len(world['volumes'])} volumes, {len(_nodes(world))} Nodes, {len(ledger.rows)} rows"
    yield Proof("nothing is left over", not left, "; ".join(left[:3]) or about)
    yield _etcd(world, masters)


def leftovers(world: World, ledger: Ledger) -> list[str]:
    """Return as sentences what belongs to no machine: volumes, Nodes, members, rows, operations, numbers held back."""
    left = _unpaired(world, ledger)
    left += [f"volume {each['volid']} is nobody's" for each in world["volumes"] if not each["used"]]
    left += [f"VM {vm['vmid']} is locked ({vm['lock']})" for vm in machines(world) if vm["lock"]]
    left += _strangers(world)
    left += [f"VMID {vmid} is in quarantine" for vmid in ledger.quarantine]
    return left + ([f"{ledger.ops} operations are open"] if ledger.ops else [])


def _unpaired(world: World, ledger: Ledger) -> list[str]:
    rows, there = set(ledger.rows.items()), {(_uid(vm), vm["vmid"]) for vm in machines(world)}
    left = [f"VM {vmid} ({uid}) has no row" for uid, vmid in sorted(there - rows)]
    return left + [f"the row of {uid} has no VM {vmid}" for uid, vmid in sorted(rows - there)]


def _strangers(world: World) -> list[str]:
    """Nodes and members of etcd that are not those of the VMs."""
    names, left = sorted(vm["name"] for vm in machines(world)), []
    if (nodes := sorted(node["name"] for node in _nodes(world))) != names:
        left.append(f"Nodes are {listed(nodes)}, VMs {listed(names)}")
    members = sorted(member["name"] for cluster in world["clusters"] for member in cluster["members"])
    if members != (masters := [name for name in names if "-cp-" in name]):
        left.append(f"members are {listed(members)}, control planes {listed(masters)}")
    return left


def repaired(before: World, after: World, *, gone: Vm, off: Vm) -> Iterator[Proof]:
    """Judge the repair of a worker that was stopped (`off`) and of one that was deleted (`gone`)."""
    now = {_uid(vm): vm for vm in machines(after)}
    yield Proof("the stopped machine was started, not replaced", _started(off, now.get(_uid(off), {})))
    kept = {_uid(vm) for vm in machines(before)} - {_uid(gone)}
    fresh = [vm for uid, vm in now.items() if uid not in kept]
    successor = len(fresh) == 1 and "-general-" in fresh[0]["name"] and fresh[0]["status"] == "running"
    whole = kept <= now.keys() and _uid(gone) not in now and len(machines(after)) == len(machines(before))
    yield Proof("the deleted machine has one successor", successor and whole, ", ".join(vm["name"] for vm in fresh))


def _started(off: Vm, now: Vm) -> bool:
    same = all(now.get(key) == off[key] for key in ("vmid", "smbios1", "name"))
    return same and now["status"] == "running"


def replaced(before: World, after: World, *, since: float, templates: Collection[str]) -> Iterator[Proof]:
    """Judge a rollout: nobody is the same, and every clone since then (Unix seconds) is one of these templates'."""
    old, new = ({vm["smbios1"] for vm in machines(world)} for world in (before, after))
    count = len(machines(before))
    fresh = not old & new and len(new) == len(machines(after)) == count > 0
    yield Proof(f"all {count} machines are new, the first control plane too", fresh)
    clones = [task["id"] for task in after["tasks"] if task["type"] == "qmclone" and task["start"] >= since]
    yield Proof("all were cloned from the new template", count <= len(clones) and set(clones) <= set(templates))


def kept(before: World, after: World, force: str, spec: Mapping[str, Any]) -> Proof:
    """Judge whether a broken file changed nothing: the generation in force, the machines, and what was destroyed."""
    same = _identities(before) == _identities(after) and before["destructive"] == after["destructive"]
    return Proof("the last good spec stays in force", same and not spec["valid"] and spec["generation"] == force != "")


def untouched(before: Vm, after: World) -> Proof:
    """Judge whether the VM that is not ours is as it was in everything that the lab tells of it."""
    calls = [call for call in after["destructive"] if call["verb"] == "destroy"]
    same = bool(before) and foreign(after) == before and all(call["vmid"] != FOREIGN for call in after["destructive"])
    said = f"VM {FOREIGN} is as it was; {len(calls)} of ours destroyed"
    return Proof("nothing that is not ours was touched", same, said if same else f"VM {FOREIGN} was changed")


def _uid(vm: Vm) -> str:
    mark = MARK.search(str(vm["description"]))
    return mark[1] if mark else ""


def _nodes(world: World) -> list[Mapping[str, Any]]:
    return [node for cluster in world["clusters"] for node in cluster["nodes"]]


def _ready(world: World) -> int:
    return sum(node["ready"] and not node["unschedulable"] for node in _nodes(world))


def _etcd(world: World, masters: int) -> Proof:
    members = [member for cluster in world["clusters"] for member in cluster["members"]]
    healthy = sum(member["up"] and not member["learner"] for member in members)
    said = f"{healthy} of {len(members)}"
    return Proof(f"etcd has {masters} members, all healthy voters", healthy == len(members) == masters, said)


def _identities(world: World) -> dict[str, tuple[object, ...]]:
    """Return what makes each machine the one it is: VMID, mark, UUID, and the Node that has this UUID."""
    nodes = {f"uuid={node['systemUUID']}": node["uid"] for node in _nodes(world)}
    return {vm["name"]: (vm["vmid"], _uid(vm), vm["smbios1"], nodes.get(vm["smbios1"])) for vm in machines(world)}


def _clones(task: Mapping[str, Any]) -> bool:
    return task["type"] == "qmclone" and task["exit"] is None


def listed(words: Collection[str]) -> str:
    """Return words in order for people."""
    return ", ".join(sorted(words)) or "none"
