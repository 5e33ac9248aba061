"""What holds in every simulated run, whatever its seed, faults and crashes: the promises about machines, as witnesses.

Next: `invariants_hurt.py` for what hurts, `invariants_kept.py` for what is kept and said, `watch.py` for all together.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cpcd.lab.pve import Vm
from cpcd.model.keys import Key, Role, Uid
from cpcd.model.ledger import CloseOp, DropMachine, Machine, Op, OpenOp, PutMachine
from tests.sim.gate import Call, Run
from tests.sim.invariant import MARK, Invariant, changes

if TYPE_CHECKING:
    from tests.sim.house import House  # which makes its own watch

__all__ = [
    "AWorkerIsLeft", "Limits", "NothingForeign", "NothingForgotten", "OnePassAKey", "OneVmAMachine", "OpFirst",
    "PausedIsStill",
]  # fmt: skip

SITE: Final = "127.0.0.1"
PATIENCE: Final = 40.0  # seconds that a call is waited for (`failures.md` T01)


class OnePassAKey(Invariant):
    """Two passes of one key would be two hands on one machine, and so would two open ops on one target."""

    name = "one-pass-a-key"
    promise = "one key never runs twice at once (section 5)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._running: dict[Key, Run] = {}

    def began(self, run: Run) -> None:
        other = self._running.get(run.key)
        if other is not None and other.life == run.life:
            self.breach(f"pass {run.number} of {run.key} begins while pass {other.number} runs")
        self._running[run.key] = run

    def ended(self, run: Run) -> None:
        if self._running.get(run.key) is run:
            del self._running[run.key]

    def called(self, call: Call, answer: Any) -> None:
        if any(isinstance(change, OpenOp) for change in changes(call)):
            held = Counter(op.target for op in self.ops)
            for target, count in held.items():
                if count > 1:
                    self.breach(f"{count} operations are open on {target}; {call}")


class OneVmAMachine(Invariant):
    """A machine has at most one VM from its first to its last, and no two rows share what belongs to one."""

    name = "one-vm-a-machine"
    promise = "no duplicate VM (promise 3); at most one VM a machine, ever"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._made: dict[str, int] = {}

    def called(self, call: Call, answer: Any) -> None:
        if call.port == "proxmox" and call.writes:
            self._look(str(call))
        if call.port == "journal" and call.verb == "commit":
            self._look(str(call))
            self._alone(call)

    def over(self) -> None:
        self._look("at the end")

    def _look(self, when: str) -> None:
        """See each VM that is whole; half of one, whose clone died, is quarantined and its machine made elsewhere."""
        for vm in self.vms.values():
            mark = self.marked(vm) if vm.lock != "clone" else None
            if mark is not None and self._made.setdefault(mark[2], vm.vmid) != vm.vmid:
                self.breach(f"{mark[2]} has VM {vm.vmid} and had VM {self._made[mark[2]]}; {when}")

    def _alone(self, call: Call) -> None:
        for what in ("vmid", "address", "name"):
            taken = Counter(getattr(row, what) for row in self.rows.values())
            twice = [value for value, count in taken.items() if count > 1]
            if twice:
                self.breach(f"two machines have {what} {twice[0]}; {call}")


class NothingForgotten(Invariant):
    """A row goes only after its VM; at the end each VM and volume that was not there before has its row."""

    name = "nothing-forgotten"
    promise = "no forgotten VM (promise 3); unknown is not absent (promise 7)"

    def calling(self, call: Call) -> None:
        for change in changes(call):
            if isinstance(change, DropMachine):
                left = [vm.vmid for vm in self.vms.values() if (mark := self.marked(vm)) and mark[2] == change.uid]
                if left:
                    self.breach(f"{change.uid} is forgotten, and its VM {left[0]} is there; {call}")

    def over(self) -> None:
        """Whatever was made is ours, marked or not: half a clone has no mark yet."""
        for vm in self.vms.values():
            if not self.foreign(vm.vmid) and not self._remembered(vm):
                self.breach(f"VM {vm.vmid} ({vm.name}, lock {vm.lock or 'none'}) is in no row")
        for volume in self.house.world.pve.cluster.volumes.volumes.values():
            vm_of = self.vms.get(volume.vmid)
            # A clone's config names its disks when it is whole; until then they are as remembered as it is.
            half = vm_of is not None and vm_of.lock == "clone"
            named = half or (vm_of is not None and any(volume.volid in drive for drive in vm_of.drives.values()))
            if not named and not self.foreign(volume.vmid) and not self._quarantined(volume.vmid):
                self.breach(f"volume {volume.volid} is left over")

    def _remembered(self, vm: Vm) -> bool:
        mark = self.marked(vm)
        row = self.rows.get(Uid(mark[2])) if mark is not None and self.own(vm) else None
        if mark is None and vm.lock == "clone":  # a tale may end before it is whole or given up
            row = next((row for row in self.rows.values() if row.vmid == vm.vmid and not row.started), None)
        return self._quarantined(vm.vmid) or (row is not None and row.vmid == vm.vmid)

    def _quarantined(self, vmid: int) -> bool:
        """Whether a person was told of it: a VMID that only cools down has a date."""
        facts = self.house.gate.ledger.facts
        return f"vmid/{SITE}/{vmid}" in facts and facts[f"vmid/{SITE}/{vmid}"] is None


class NothingForeign(Invariant):
    """Somebody else's VMs stay as they are, and every write is about a VM of ours."""

    name = "nothing-foreign"
    promise = "what is not ours is never touched (promise 4)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._before: dict[int, tuple[str, str]] = {}

    @staticmethod
    def _picture(vm: Vm) -> tuple[str, str]:
        # Not its node: root may move it, and cpcd has no call that does.
        return (vm.status, json.dumps({**vm.config, **vm.pending}, sort_keys=True, default=str))

    def calling(self, call: Call) -> None:
        if call.port != "proxmox" or not call.writes:
            return
        for vmid in filter(self.foreign, self.vms.keys() - self._before.keys()):
            self._before[vmid] = self._picture(self.vms[vmid])
        vm = self.vms.get(call.vmid)
        if vm is None or call.verb == "clone":
            return  # a clone onto somebody's VMID is refused by Proxmox
        row = self.row_of(call)
        mark = self.marked(vm)
        if row is None or mark is None or mark[2] != row.uid or not self.own(vm):
            self.breach(f"VM {vm.vmid} ({vm.name}) does not carry our mark; {call}")

    def called(self, call: Call, answer: Any) -> None:
        if call.port == "proxmox" and call.writes:
            self._compare(str(call))

    def over(self) -> None:
        self._compare("at the end")

    def _compare(self, when: str) -> None:
        for vmid, before in self._before.items():
            vm = self.vms.get(vmid)
            if vm is None or self._picture(vm) != before:
                self.breach(f"somebody else's VM {vmid} was {'changed' if vm else 'destroyed'}; {when}")


ONCE: Final = {"clone", "resize", "start", "stop", "shutdown", "reset", "reboot", "destroy"}
GUEST_OPS: Final = {"reset": "kubeadm-reset", "etcd_snapshot": "etcd-snapshot"}


class OpFirst(Invariant):
    """What must not happen twice is announced on the disk before its first byte leaves.

    A config PUT is safe to repeat by its digest and an etcd removal by its member id, so these carry those instead.
    """

    name = "op-first"
    promise = "every non-idempotent effect is an op, committed before the first byte leaves (section 5)"

    def calling(self, call: Call) -> None:
        if call.port == "proxmox" and call.writes:
            self._proxmox(call)
        elif call.port == "guests" and call.verb == "submit":
            self._submit(call)
        elif call.port == "guests" and call.verb == "etcd_remove" and not call.given.get("id"):
            self.breach(f"no member id; {call}")

    def _proxmox(self, call: Call) -> None:
        row = self.row_of(call)
        if call.verb == "configure":
            if not call.given.get("digest"):
                self.breach(f"no digest; {call}")
        elif call.verb not in ONCE or row is None:
            self.breach(f"nobody announces this write; {call}")
        elif not self._open(row, call.verb):
            self.breach(f"no {call.verb} of {row.name} is open in the ledger; {call}")
        elif call.verb == "clone":
            mark = MARK.match(str(call.given.get("description", "")))
            if mark is None or mark[4] not in {op.id for op in self.ops}:
                self.breach(f"its description names no open op; {call}")

    def _open(self, row: Machine, verb: str) -> bool:
        return any(op.key.name == row.uid and op.verb == verb for op in self.ops)

    def _submit(self, call: Call) -> None:
        op = self.house.gate.ledger.ops.get(call.given["op"])
        verb = GUEST_OPS.get(call.given["verb"], call.given["verb"])
        if op is None or op.verb != verb or op.key.name != call.uid:
            self.breach(f"op {call.given['op']} for {verb} is not open in the ledger; {call}")


class Limits(Invariant):
    """Permits hold in the ledger and in the world."""

    name = "limits"
    promise = "one control-plane disruption at once; two clones a node; 12 playbooks; maxUnavailable; maxInFlight (promises 5, 6)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._taken: set[Uid] = set()

    def calling(self, call: Call) -> None:
        """Look at who is taken down while others that were taken down are not back, by their kubelets."""
        row = self.row_of(call) if call.port == "proxmox" and call.verb in {"shutdown", "stop", "reset"} else None
        if row is not None and row.joined and call.vmid in self.vms and self.vms[call.vmid].running:
            self._take(row, call)

    def _take(self, row: Machine, call: Call) -> None:
        self._taken = {uid for uid in self._taken if uid in self.rows and not self._serves(self.rows[uid])} | {row.uid}
        away = [self.rows[uid] for uid in sorted(self._taken) if self.rows[uid].role is row.role]
        limit = 1 if row.role is Role.CONTROL_PLANE else self._limit(f"disrupt:{row.cluster}")
        if len(away) > limit:
            self.breach(f"{', '.join(one.name for one in away)} are down at once, {limit} may be; {call}")

    def _serves(self, row: Machine) -> bool:
        """Whether a machine's kubelet runs; one that is to go is its successor's business."""
        guest = self.house.world.guests.get(row.vmid)
        kubelet = guest.disk.kubelet if guest is not None else None
        return bool(row.retire) or (kubelet is not None and kubelet.alive)

    def called(self, call: Call, answer: Any) -> None:
        if any(isinstance(change, OpenOp) for change in changes(call)):
            self._slots(call)
        if call.verb == "clone":
            self._clones(call)

    def _slots(self, call: Call) -> None:
        holders: dict[str, set[Key]] = {}
        for op in self.ops:
            for slot in (*op.slots, *self._implied(op)):
                holders.setdefault(slot, set()).add(op.key)
        for slot, keys in holders.items():
            if len(keys) > self._limit(slot):
                self.breach(f"{len(keys)} hold {slot}, {self._limit(slot)} may; {call}")

    @staticmethod
    def _implied(op: Op) -> tuple[str, ...]:
        """The permits that an op needs by what it is, whatever it says."""
        disrupts = {Role.CONTROL_PLANE: "control-plane", Role.WORKER: "disrupt", None: ""}[op.disrupts]
        kinds = [disrupts, "reset" if op.verb == "reset" else ""]
        wide = ("prepare",) if op.verb == "prepare" else ()  # of all clusters: they are children of one daemon
        return (*wide, *(f"{kind}:{op.key.cluster}" for kind in kinds if kind))

    def _limit(self, slot: str) -> int:
        kind, _, owner = slot.partition(":")
        cluster = self.cluster(owner)
        match kind:
            case "clone":
                return 2
            case "prepare":
                return 12
            case "disrupt" if cluster is not None:
                return max(1, cluster.blast.max_unavailable, *(group.max_unavailable for group in cluster.groups))
            case "reset" if cluster is not None:
                return cluster.health.max_in_flight
            case _:
                return 1

    def _clones(self, call: Call) -> None:
        running = Counter(
            t.node for t in self.house.world.pve.cluster.tasks.tasks.values() if t.running and t.kind == "qmclone"
        )
        for node, count in running.items():
            if count > 2:
                self.breach(f"{count} clones run on {node}; {call}")


class AWorkerIsLeft(Invariant):
    """Three workers serve a Proxmox node; two of them may be blocked by our writes, never all three."""

    name = "a-worker-is-left"
    promise = "two writes a Proxmox node at once (section 5; failures.md T11)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._open: dict[int, Call] = {}

    def calling(self, call: Call) -> None:
        if call.port != "proxmox" or not call.writes:
            return
        self._open = {number: one for number, one in self._open.items() if call.at - one.at < PATIENCE}
        self._open[call.number] = call
        there = [one for one in self._open.values() if one.node == call.node]
        if len(there) > 2:
            self.breach(f"{len(there)} writes are on their way to {call.node}; {call}")

    def called(self, call: Call, answer: Any) -> None:
        self._open.pop(call.number, None)

    def crashed(self) -> None:
        self._open.clear()


class PausedIsStill(Invariant):
    """A pass that begins after the pause is in force changes nothing."""

    name = "paused-is-still"
    promise = "a paused cluster is observed and reported, never changed (spec.paused, cpcd pause)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._since: dict[str, int] = {}
        self._by_file: set[Run] = set()

    def began(self, run: Run) -> None:
        if self._says_file(run):
            self._by_file.add(run)

    def ended(self, run: Run) -> None:
        self._by_file.discard(run)

    def calling(self, call: Call) -> None:
        if call.run is None or not call.writes or self._remembers(call):
            return
        since = self._since.get(call.run.key.cluster, call.run.number)
        if call.run.number > since or (call.run in self._by_file and self._says_file(call.run)):
            self.breach(f"paused before pass {call.run.number} began; {call}")

    def _says_file(self, run: Run) -> bool:
        cluster = self.cluster(run.key.cluster)
        return cluster is not None and cluster.paused

    @staticmethod
    def _remembers(call: Call) -> bool:
        """Whether a commit only takes note of how something ended that had begun before."""
        kinds = {type(change) for change in changes(call)}
        return call.port == "journal" and OpenOp not in kinds and (CloseOp in kinds or PutMachine not in kinds)

    def called(self, call: Call, answer: Any) -> None:
        if call.port != "journal":
            return
        paused = {name.partition("/")[2] for name in self.house.gate.ledger.facts if name.startswith("paused/")}
        for cluster in paused - self._since.keys():
            self._since[cluster] = self.house.gate.runs
        for cluster in self._since.keys() - paused:
            del self._since[cluster]
