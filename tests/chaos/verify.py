"""What must be true after every story, asked of the lab, the ledger's file and the daemon's log; and after every kill.

Each check returns what is wrong as sentences. Nothing here asks the daemon what it believes. Next: `stories.py`.
"""

import contextlib
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cpcd.adapters.journal import copy_ledger, read_ledger
from cpcd.model.ledger import Ledger
from tests.chaos.spec import Wanted
from tests.chaos.town import Town, their

__all__ = ["CHECKS", "Asked", "Before", "arrived", "autopsy", "before", "machines", "verify"]

MARK: Final = re.compile(r"^cpcd/1 \S+ chaos (\S+) ", re.MULTILINE)
SECRETS: Final = {
    "a bootstrap token": re.compile(r"(?<![A-Za-z0-9.+/=_-])[a-z0-9]{6}\.[a-z0-9]{16}(?![A-Za-z0-9.+/=_-])"),
    "a certificate key": re.compile(r"(?<![0-9a-f])(?<!sha256:)[0-9a-f]{64}(?![0-9a-f])"),
    "a private key": re.compile(r"PRIVATE KEY"),
}
FAULTS: Final = ("Traceback (most recent call last)", "CPCD-199", '"level": "critical"')


@dataclass(frozen=True, slots=True)
class Before:
    """How it was when a story began: VMs by name, rows by uid, calls that destroy so far, length of the log."""

    vms: Mapping[str, Mapping[str, Any]]
    ledger: Ledger
    destructive: int
    log: int

    @property
    def uids(self) -> frozenset[str]:
        """The machines' uids."""
        return frozenset(self.ledger.machines)

    @property
    def vmids(self) -> frozenset[int]:
        """The machines' VMIDs."""
        return frozenset(vm["vmid"] for vm in self.vms.values())

    def newest(self, group: str, count: int) -> frozenset[int]:
        """Return the VMIDs of a group's newest machines: those that go first when it is scaled down."""
        rows = [row for row in self.ledger.machines.values() if row.group == group]
        return frozenset(row.vmid for row in sorted(rows, key=lambda row: (-row.created, -row.index))[:count])


@dataclass(frozen=True, slots=True)
class Asked:
    """What a story asks for: VMIDs that cpcd must destroy or may restart, each once, and uids that must still be there."""

    wanted: Wanted
    destroyed: frozenset[int] = frozenset()
    restarted: frozenset[int] = frozenset()
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that the checks look at."""

    world: Mapping[str, Any]
    ledger: Ledger
    integrity: str
    log: str
    token: str
    foreign: Mapping[str, Any]
    before: Before
    asked: Asked

    @property
    def marks(self) -> list[str]:
        """The uid that each VM is marked with, "" for none."""
        found = (MARK.search(str(vm["description"])) for vm in machines(self.world))
        return [mark[1] if mark else "" for mark in found]

    @property
    def hurt(self) -> Counter[tuple[str, int]]:
        """How often each destructive verb was accepted for each VMID since the story began."""
        calls = self.world["destructive"][self.before.destructive :]
        return Counter((call["verb"], call["vmid"]) for call in calls)

    def called(self, vmid: int) -> str:
        """Return a VM's name and VMID."""
        names = {vm["vmid"]: name for name, vm in self.before.vms.items()}
        return f"{names.get(vmid, 'a new VM')} ({vmid})"


def machines(world: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the lab's VMs that are neither templates nor somebody else's."""
    return [vm for vm in world["vms"] if not vm["template"] and vm["name"] != "theirs"]


def arrived(world: Mapping[str, Any], asked: Asked) -> bool:
    """Tell whether the world looks as asked; whether all is also in order is `verify`'s question."""
    vms, wanted = machines(world), asked.wanted
    uids = {mark[1] for vm in vms if (mark := MARK.search(str(vm["description"])))}
    nodes = [node for cluster in world["clusters"] for node in cluster["nodes"] if node["ready"]]
    sized = all(vm["status"] == "running" and str(vm["memory"]) == str(wanted.memory) for vm in vms)
    gone = asked.destroyed.isdisjoint(vm["vmid"] for vm in vms)
    return len(vms) == len(nodes) == wanted.machines and sized and gone and uids >= asked.kept


async def before(town: Town) -> Before:
    """Look before a story begins."""
    world = await town.look.world()
    vms = {vm["name"]: vm for vm in machines(world)}
    log = town.log.stat().st_size if town.log.exists() else 0
    return Before(vms, _ledger(town.state)[0], len(world["destructive"]), log)


async def verify(town: Town, was: Before, asked: Asked) -> list[str]:
    """Return what is wrong after a story, as sentences."""
    world = await town.look.world()
    ledger, integrity = _ledger(town.state)
    with town.log.open("rb") as log:
        log.seek(was.log)
        text = log.read().decode(errors="replace")
    case = Case(world, ledger, integrity, text, town.about["token"].partition("=")[2], town.foreign, was, asked)
    return [f"{name}: {wrong}" for name, check in CHECKS.items() for wrong in check(case)[:5]]


def autopsy(state: Path) -> tuple[list[str], str]:
    """Return the verbs of the operations open in a dead daemon's ledger, and "" or what its integrity check says."""
    ledger, integrity = _ledger(state, dead=True)
    return sorted(op.verb for op in ledger.ops.values()), "" if integrity == "ok" else integrity


def _ledger(state: Path, *, dead: bool = False) -> tuple[Ledger, str]:
    """Read a copy, so that looking changes nothing: a dead one's files as they lie there, a live one's by backup."""
    source = state / "ledger.db"
    if not source.exists():
        return Ledger(), "ok"
    with tempfile.TemporaryDirectory(prefix="cpcd-chaos-") as scratch:
        copy = Path(scratch) / "ledger.db"
        if dead:
            for path in state.glob("ledger.db*"):
                if path.suffix != ".db-shm":
                    shutil.copy(path, scratch)
        else:
            copy_ledger(source, copy)
        with contextlib.closing(sqlite3.connect(copy)) as db:
            integrity = "; ".join(row[0] for row in db.execute("PRAGMA integrity_check"))
        return read_ledger(copy), integrity


def _once(case: Case) -> list[str]:
    unmarked = [vm["name"] for vm, uid in zip(machines(case.world), case.marks, strict=True) if not uid]
    twice = [f"{uid} has {count} VMs" for uid, count in Counter(case.marks).items() if uid and count > 1]
    return [*twice, *(f"{name} has no mark" for name in unmarked)]


def _rows(case: Case) -> list[str]:
    rows = {(row.uid, row.vmid) for row in case.ledger.machines.values()}
    vms = {(uid, vm["vmid"]) for vm, uid in zip(machines(case.world), case.marks, strict=True)}
    left = [f"VM {vmid} ({uid}) has no row" for uid, vmid in sorted(vms - rows)]
    return [*left, *(f"the row of VM {vmid} ({uid}) has no VM" for uid, vmid in sorted(rows - vms))]


def _operations(case: Case) -> list[str]:
    return [f"{op.verb} of {op.key} is still open" for op in case.ledger.ops.values()]


def _foreign(case: Case) -> list[str]:
    now = their(dict(case.world))
    changed = [
        f"{key} was {was}, is {(now or {}).get(key)}"
        for key, was in case.foreign.items()
        if (now or {}).get(key) != was
    ]
    return changed or ([] if case.foreign else ["it was never there"])


def _volumes(case: Case) -> list[str]:
    return [f"{each['volid']} on {each['node']} is no VM's" for each in case.world["volumes"] if not each["used"]]


def _destroyed(case: Case) -> list[str]:
    count = Counter({vmid: times for (verb, vmid), times in case.hurt.items() if verb == "destroy"})
    said = [f"{case.called(vmid)} was destroyed" for vmid in sorted(count.keys() - case.asked.destroyed)]
    said += [f"{case.called(vmid)} was not destroyed" for vmid in sorted(case.asked.destroyed - count.keys())]
    return said + [f"{vmid} was destroyed {times} times" for vmid, times in count.items() if times > 1]


def _taken_down(case: Case) -> list[str]:
    """Each of stop, shutdown, reboot and reset: a shutdown that does not end may be followed by one stop."""
    cuts = {(verb, vmid): times for (verb, vmid), times in case.hurt.items() if verb != "destroy"}
    may = case.asked.destroyed | case.asked.restarted
    said = [f"{case.called(vmid)} got a {verb}" for verb, vmid in sorted(cuts) if vmid not in may]
    return said + [f"{case.called(vmid)} got {n} times {verb}" for (verb, vmid), n in sorted(cuts.items()) if n > 1]


def _kept(case: Case) -> list[str]:
    return [f"machine {uid} is gone" for uid in sorted(case.asked.kept - set(case.marks))]


def _as_wanted(case: Case) -> list[str]:
    vms, wanted = machines(case.world), case.asked.wanted
    masters = sum(vm["name"].startswith("chaos-cp-") for vm in vms)
    said = (
        []
        if (masters, len(vms)) == (wanted.masters, wanted.machines)
        else [f"{masters} control planes, {len(vms)} VMs"]
    )
    said += [f"{vm['name']} is {vm['status']}" for vm in vms if vm["status"] != "running"]
    said += [f"{vm['name']} has {vm['memory']} MiB" for vm in vms if str(vm["memory"]) != str(wanted.memory)]
    return said + [f"{vm['name']} is locked ({vm['lock']})" for vm in vms if vm["lock"]]


def _cluster(case: Case) -> list[str]:
    if len(case.world["clusters"]) != 1:
        return [f"there are {len(case.world['clusters'])} clusters"]
    cluster, names = case.world["clusters"][0], sorted(vm["name"] for vm in machines(case.world))
    nodes = sorted(node["name"] for node in cluster["nodes"])
    said = [] if nodes == names else [f"the Nodes are {nodes}, the VMs {names}"]
    said += [f"{node['name']} is not Ready" for node in cluster["nodes"] if not node["ready"]]
    said += [f"{node['name']} is cordoned" for node in cluster["nodes"] if node["unschedulable"]]
    return said + _etcd(cluster, [name for name in names if name.startswith("chaos-cp-")])


def _etcd(cluster: Mapping[str, Any], wanted: list[str]) -> list[str]:
    members = cluster["members"]
    voters = sorted(member["name"] for member in members if member["up"] and not member["learner"])
    return (
        []
        if voters == wanted and len(members) == len(wanted)
        else [f"etcd has {len(members)} members, voters {voters}"]
    )


def _integrity(case: Case) -> list[str]:
    return [] if case.integrity == "ok" else [case.integrity]


def _faultless(case: Case) -> list[str]:
    lines = case.log.splitlines()
    return [line[:400] for line in lines if any(fault in line for fault in FAULTS)][:5]


def _secrets(case: Case) -> list[str]:
    named = {"the API token": re.compile(re.escape(case.token)), **SECRETS}
    return [f"{what} is in it" for what, form in named.items() if form.search(case.log)]


CHECKS: Final[Mapping[str, Callable[[Case], list[str]]]] = {
    "each machine is one VM": _once,
    "rows and VMs are the same": _rows,
    "no operation is open": _operations,
    "what is not ours is as it was": _foreign,
    "each volume is a VM's": _volumes,
    "destroyed is what the story asked for": _destroyed,
    "taken down is what the story asked for, once": _taken_down,
    "machines that were to stay are there": _kept,
    "the world is as wanted": _as_wanted,
    "one Kubernetes cluster of exactly these machines": _cluster,
    "the ledger passes PRAGMA integrity_check": _integrity,
    "no traceback and no bug in the daemon's log": _faultless,
    "no secret in the daemon's log": _secrets,
}
