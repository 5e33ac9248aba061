"""Invariants of what hurts: quorum, fresh evidence, consent and limits, judged by the world at the moment of the call.

Next: `invariants.py` for the machines, `watch.py` for all of them together.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cpcd.lab.guests import Guest
from cpcd.lab.kube import Etcd, Member
from cpcd.model.desired import Blast, Consent, Group, Risk
from cpcd.model.keys import OpId, Role, Uid, system_uuid
from cpcd.model.ledger import Machine, Op, OpenOp, PutMachine
from tests.sim.gate import Call, Run
from tests.sim.invariant import Invariant, changes

if TYPE_CHECKING:
    from tests.sim.house import House  # which makes its own watch

__all__ = ["BlastRadius", "ConsentGiven", "FreshEvidence", "QuorumKept"]

HOUR: Final = 3600.0
COMMITTING: Final = 60.0  # seconds between the moment that cpcd counts from and the commit that is seen


class QuorumKept(Invariant):
    """What takes a control plane down leaves a healthy majority, and nobody else is unhealthy then, nor at a join."""

    name = "quorum-kept"
    promise = "quorum is never spent; a join needs every present voter healthy (promise 5)"

    def calling(self, call: Call) -> None:
        if call.port == "proxmox" and call.verb in {"stop", "shutdown", "reset", "reboot"}:
            guest = self.house.world.guests.get(call.vmid)
            member = self._member(guest) if guest is not None and guest.booted is not None else None
            if member is not None and not member.learner:
                self._judge(call, member, removal=False)
        elif call.port == "proxmox" and call.verb == "destroy":
            self._on_destruction(call)
        elif call.port == "guests":
            self._on_guest(call)

    def _on_destruction(self, call: Call) -> None:
        """A member is out before its disk goes, running or not; the only one there is takes its cluster with it."""
        member = self._member(self.house.world.guests.get(call.vmid))
        if member is not None and len(self._etcd(member).members) > 1:
            self.breach(f"etcd still lists {member.name or member.peer_url}; {call}")

    def _on_guest(self, call: Call) -> None:
        if call.verb == "etcd_remove":
            listed = next((m for m in self._members() if str(m.id) == str(call.given["id"])), None)
            if listed is not None and not listed.learner and listed.name:
                self._judge(call, listed, removal=True)
        elif call.given.get("verb") == "reset" and self.formed and self._member(self._guest(call)) is not None:
            self.breach(f"a listed etcd member is reset; {call}")
        elif call.given.get("verb") == "join":
            self._on_join(call)

    def _on_join(self, call: Call) -> None:
        row = self.row_of(call)
        if row is None or row.role is not Role.CONTROL_PLANE:
            return
        own = self._member(self._guest(call))
        # By its CA: what a first init made that was lost with its machine is nobody's any more.
        pinned = (self.house.gate.ledger.facts.get(f"identity/{row.cluster}") or {}).get("ca_hash")
        voters = [m for m in self._members(pinned) if m is not own and not m.learner]
        sick = [m for m in voters if not self._etcd(m).up(m)]
        if sick:
            self.breach(f"{row.name} joins while {sick[0].name or sick[0].peer_url} is unhealthy; {call}")

    def _guest(self, call: Call) -> Guest | None:
        uuid = system_uuid(Uid(call.uid))
        return next((guest for guest in self.house.world.guests.values() if guest.system_uuid == uuid), None)

    def _members(self, ca_hash: str | None = None) -> list[Member]:
        """The members of all clusters, or of the one with this CA."""
        clusters = [one for one in self.house.world.clusters if ca_hash in {None, one.ca_hash}]
        return [member for cluster in clusters for member in cluster.etcd.members]

    def _member(self, guest: Guest | None) -> Member | None:
        """The member whose data is on a machine's disk."""
        kubelet = guest.disk.kubelet if guest is not None else None
        return next((m for m in self._members() if m.host is kubelet and kubelet is not None), None)

    def _etcd(self, member: Member) -> Etcd:
        return next(c.etcd for c in self.house.world.clusters if member in c.etcd.members)

    def _judge(self, call: Call, target: Member, *, removal: bool) -> None:
        etcd = self._etcd(target)
        others = [member for member in etcd.members if not member.learner and member is not target]
        sick = [member for member in others if not etcd.up(member)]
        healthy, future = len(others) - len(sick), len(others) + (not removal)
        if not others and not removal:
            return  # an announced outage of the API
        if sick:
            self.breach(f"{target.name} is disturbed while {sick[0].name or sick[0].peer_url} is unhealthy; {call}")
        # Of a voter that is down already, which stays a voter, a reset takes nothing away.
        spent = removal or etcd.up(target)
        if spent and healthy <= future // 2:
            self.breach(f"{healthy} healthy voters of {future} are left; {call}")


class _Read(NamedTuple):
    """What a pass was told and when it asked."""

    at: float
    complete: bool
    answer: Any


class FreshEvidence(Invariant):
    """Before anything is taken, the pass itself has read it: VM, Node, pod, object, member; whole, after the last write."""

    name = "fresh-evidence"
    promise = (
        "no destruction from incomplete or pre-write evidence; VMID, mark, name and SMBIOS UUID agree, read just "
        "before (promise 4); unknown is not absent (promise 7)"
    )

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._written: dict[str, float] = {}
        self._read: dict[int, dict[str, _Read]] = {}
        self._uids: dict[int, set[str]] = {}

    def calling(self, call: Call) -> None:
        match call.port, call.verb:
            case "proxmox", "clone":
                self._demand(call, f"free {call.vmid}", f"VM {call.vmid}")
            case "proxmox", "stop" | "shutdown" | "reset" | "destroy":
                for what in ("config", "status/current"):
                    self._demand(call, f"{what} {call.vmid}", f"VM {call.vmid}")
                if call.verb == "destroy":
                    self._agreed(call)
            case "kube", "delete":
                self._on_object(call)
            case "kube", "evict":
                self._on_pod(call)
            case "guests", "etcd_remove":
                self._on_member(call)
            case "guests", "submit" if call.given["verb"] == "reset":
                self._on_reset(call)

    def _demand(self, call: Call, what: str, subject: str) -> Any:
        """Return what this pass read, whole and after the last write to the subject; not having so is a breach."""
        read = self._read.get(call.run.number, {}).get(what) if call.run else None
        if read is None or not read.complete or read.at < self._written.get(subject, -1.0):
            self.breach(f"{what} was not read completely by this pass after the last write; {call}")
            return None
        return read.answer

    def _agreed(self, call: Call) -> None:
        row, vm = self.row_of(call), self.vms.get(call.vmid)
        if row is None or not row.retire:
            self.breach(f"its row is wanted or unknown; {call}")
        elif vm is not None:
            uuid = f"uuid={system_uuid(row.uid)}" in str(vm.config.get("smbios1", ""))
            if vm.name != row.name or not (uuid or not row.started):
                self.breach(f"name or SMBIOS UUID do not agree; {call}")

    def _on_object(self, call: Call) -> None:
        if call.run is None or call.given["uid"] not in self._uids.get(call.run.number, ()):
            self.breach(f"this object was not read by this pass; {call}")
        elif call.target.startswith("Node "):
            node = self._demand(call, call.target, call.target) or {}
            uuid = node.get("status", {}).get("nodeInfo", {}).get("systemUUID", "")
            own = next((row for row in self.rows.values() if system_uuid(row.uid) == uuid.lower()), None)
            if own is not None and self._kept(own):
                self.breach(f"its machine is wanted; {call}")

    def _on_pod(self, call: Call) -> None:
        name, space = call.target.removeprefix("Pod "), call.given["namespace"]
        found = (cluster.store.objects.find("Pod", name, space) for cluster in self.house.world.clusters)
        node = next((pod["spec"].get("nodeName") for pod in found if pod), None)
        if not node:
            return  # gone meanwhile: the eviction has no effect
        listed = self._demand(call, f"pods of {node}", "")
        if listed is not None and call.given["uid"] not in {one["metadata"]["uid"] for one in listed[0]}:
            self.breach(f"this pod was not listed; {call}")
        if not self._is_held(node):
            self.breach(f"no disruption of {node} is open; {call}")

    def _is_held(self, node: str) -> bool:
        held = {op.key.name for op in self.ops if op.disrupts}
        return any(row.name == node and row.uid in held for row in self.rows.values())

    def _on_member(self, call: Call) -> None:
        listed = self._demand(call, "etcd", "etcd")
        member = next((one for one in (listed or {}).get("members", ()) if one["id"] == str(call.given["id"])), None)
        if listed is not None and member is None:
            self.breach(f"this member was not listed; {call}")
        if member is None:
            return
        own = next((row for row in self.rows.values() if f"//{row.address}:" in member["peer_urls"][0]), None)
        if own is not None and self._kept(own):
            self.breach(f"its machine is wanted; {call}")

    def _on_reset(self, call: Call) -> None:
        row = self.row_of(call)
        if row is None or self._kept(row):
            self.breach(f"its machine is wanted or unknown; {call}")
            return
        self._demand(call, f"facts of {call.uid}", "")
        if not self.formed:
            return  # a failed init is reset and begun anew: there is nobody to ask
        self._demand(call, f"Node {row.name}", f"Node {row.name}")
        if row.role is Role.CONTROL_PLANE:
            self._on_data(call, row)

    def _on_data(self, call: Call, row: Machine) -> None:
        """A reset empties the data of one member: that one must be out, and nothing done to it since that was read."""
        listed = self._demand(call, "etcd", f"member of {row.uid}")
        if any(f"//{row.address}:" in member["peer_urls"][0] for member in (listed or {}).get("members", ())):
            self.breach(f"its member is listed; {call}")

    @staticmethod
    def _kept(row: Machine) -> bool:
        """Whether a machine is a member and is to stay one."""
        return row.joined and not row.retire

    def called(self, call: Call, answer: Any) -> None:
        subjects = self._subjects(call)
        if subjects:
            self._written.update(dict.fromkeys(subjects, self.house.gate.now()))
        elif not call.writes and call.run is not None:
            complete = not isinstance(answer, Exception) and getattr(answer, "status", 200) == 200
            self._read.setdefault(call.run.number, {})[self._what(call)] = _Read(call.at, complete, answer)
            if call.port == "kube" and complete:
                objects = answer[0] if call.verb == "list" else [answer]
                uids = (one["metadata"]["uid"] for one in objects if isinstance(one, dict))
                self._uids.setdefault(call.run.number, set()).update(uids)

    def ended(self, run: Run) -> None:
        self._read.pop(run.number, None)
        self._uids.pop(run.number, None)

    def _subjects(self, call: Call) -> tuple[str, ...]:
        """What a call writes to, nothing for one that writes to nothing that is judged here."""
        if call.port == "guests":
            row = self.row_of(call)
            # A worker joins and is reset without etcd's members hearing of it.
            told = row is None or row.role is Role.CONTROL_PLANE
            changing = call.verb == "etcd_remove" or (told and call.given.get("verb") in {"join", "reset"})
            return ("etcd", f"member of {call.uid}") if changing else ()
        if not call.writes:
            return ()
        return {"proxmox": (f"VM {call.vmid}",), "kube": (call.target,)}.get(call.port, ())

    @staticmethod
    def _what(call: Call) -> str:
        """What a call tells, by name; "" for what nobody destroys by."""
        match call.port, call.verb:
            case "proxmox", _ if call.target.endswith("/cluster/nextid"):
                return f"free {call.given['vmid']}"
            case "proxmox", _:
                return f"{call.target.partition(f'/qemu/{call.vmid}/')[2]} {call.vmid}"
            case "kube", "get":
                return call.target
            case "kube", "list" if call.target == "Pod":
                return f"pods of {call.given.get('fields', '').partition('=')[2]}"
            case "guests", "etcd_members":
                return "etcd"
            case "guests", "facts":
                return f"facts of {call.uid}"
            case _:
                return ""


def gravity(invariant: Invariant, op: Op) -> Risk | None:
    """What a disruption comes to by rows and VMs, whatever it calls itself: None when it is none of a known machine."""
    row = invariant.rows.get(Uid(op.key.name))
    cluster = invariant.cluster(op.key.cluster)
    if op.verb not in {"reboot", "retire"} or row is None or cluster is None:
        return None
    if op.verb == "reboot":
        return Risk.REBOOT
    if row.vmid not in invariant.vms or _unused(invariant, row):
        return Risk.IN_PLACE
    group = cluster.group(row.group)
    return Risk.REPLACE if group is not None and _succeeded(invariant, row, group) else Risk.DESTROY


def _unused(invariant: Invariant, row: Machine) -> bool:
    """Whether nothing can have run on a machine: it is in no cluster, makes none and stands in for nobody."""
    facts, clusters = invariant.house.gate.ledger.facts, invariant.house.world.clusters
    if row.joined or facts.get(f"elected/{row.cluster}") == row.uid or f"surge/{row.uid}" in facts:
        return False
    return all(cluster.store.objects.find("Node", row.name) is None for cluster in clusters)


def _succeeded(invariant: Invariant, row: Machine, group: Group) -> bool:
    """Whether somebody comes, or has come, in a machine's place: no more are there than are wanted, or it is of a pair.

    Who was added for another stands beside that one until either goes, and is not one too many.
    """
    facts = invariant.house.gate.ledger.facts
    there = {
        r.uid for r in invariant.rows.values() if (r.cluster, r.group) == (row.cluster, row.group) and not r.retire
    }
    pairs = [(uid, facts[f"surge/{uid}"]) for uid in there if facts.get(f"surge/{uid}") in there]
    return len(there) - len(pairs) <= group.replicas or any(row.uid in pair for pair in pairs)


class ConsentGiven(Invariant):
    """What the policy wants asked for begins with an approval in the ledger; power is only taken of what began so."""

    name = "consent-given"
    promise = "destruction asks by default; changePolicy by class, or cpcd approve (promise 6)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._begun: dict[str, set[str]] = {"reboot": set(), "retire": set()}

    def calling(self, call: Call) -> None:
        for change in changes(call):
            if isinstance(change, OpenOp) and change.op.verb in self._begun:
                why = next((one.machine.retire for one in changes(call) if isinstance(one, PutMachine)), "")
                self._judge(call, change.op, why)
                self._begun[change.op.verb].add(change.op.key.name)
        if call.port == "proxmox" and call.verb in {"stop", "shutdown", "destroy"}:
            row, verb = self.row_of(call), "reboot" if call.verb == "shutdown" else "retire"
            if row is None or row.uid not in self._begun[verb]:
                self.breach(f"no {verb} that was consented to has begun; {call}")

    def _judge(self, call: Call, op: Op, why: str) -> None:
        risk, cluster = gravity(self, op), self.cluster(op.key.cluster)
        if risk is None or risk is Risk.IN_PLACE or cluster is None:
            return
        asked = f"approval/{cluster.name}/{op.verb}/{self.rows[Uid(op.key.name)].name}/"
        asked += sha256(f"{op.key.name}\n{why}".encode()).hexdigest()[:8] if why else ""
        given = any(fact.startswith(asked) for fact in self.house.gate.ledger.facts)
        policy = cluster.change_policy[risk]
        if policy is Consent.NEVER or (policy is Consent.APPROVE and not given):
            self.breach(f"changePolicy.{risk.value} is {policy.value} and there is no {asked}; {call}")


class BlastRadius(Invariant):
    """So many destructions an hour, and so many per cent of the machines at once; per cent rounds up."""

    name = "blast-radius"
    promise = "where destruction is automatic, past a limit it waits all the same (promise 6)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._begun: dict[OpId, float] = {}

    def calling(self, call: Call) -> None:
        ops = [change.op for change in changes(call) if isinstance(change, OpenOp)]
        for op in ops:
            cluster = self.cluster(op.key.cluster)
            if cluster is not None and gravity(self, op) is Risk.DESTROY:
                self._judge(call, op, cluster.blast)

    def _judge(self, call: Call, op: Op, blast: Blast) -> None:
        recent = [at for at in self._begun.values() if call.at - at < HOUR - COMMITTING]
        if len(recent) >= blast.max_destroys_per_hour:
            self.breach(f"{len(recent)} were destroyed within the hour, {blast.max_destroys_per_hour} may be; {call}")
        going = [one for one in self.ops if one.id in self._begun]
        rows = [row for row in self.rows.values() if row.cluster == op.key.cluster]
        limit = -(-len(rows) * blast.max_destroy_percent // 100)
        if len(going) >= limit:
            self.breach(f"{len(going)} of {len(rows)} machines are being destroyed, {limit} may be; {call}")
        self._begun[op.id] = call.at
