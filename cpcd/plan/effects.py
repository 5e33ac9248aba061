"""What can be done to a machine: every action of the machine reconciler, as values.

Each says itself, names its permits and knows what the world looks like afterwards. How it is carried out stands in
`reconcilers/machine.py`; when it is chosen in `provision`, `prepare`, `member`, `upkeep` and `retire`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cpcd.model.desired import Cluster, Risk
from cpcd.model.keys import Role, Scope, Wall, system_uuid
from cpcd.model.ledger import Change, DropFact, DropMachine, Evidence, Machine, PutFact, PutMachine
from cpcd.model.plan import Action
from cpcd.model.seen import Api, Csr, Facts, Member, Members, Node, Seen, Vm
from cpcd.model.view import View
from cpcd.plan import fields, scopes

__all__ = [
    "COOL_DOWN",
    "Clone",
    "Configure",
    "DeleteNode",
    "Destroy",
    "Drain",
    "Forget",
    "Forgive",
    "Grow",
    "Hold",
    "Init",
    "Join",
    "MachineAction",
    "MarkJoined",
    "PinHostKey",
    "Prepare",
    "Relocate",
    "RemoveMember",
    "Renumber",
    "Reset",
    "ResetVm",
    "Shutdown",
    "Snapshot",
    "Start",
    "Stop",
    "Uncordon",
    "fresh_facts",
    "joined_view",
    "see",
]

COOL_DOWN = 600.0  # seconds before a VMID or address is used again: ARP caches and DHCP-like leftovers (G15)


def see(view: View, scope: Scope, value: Any) -> View:
    """Return the view in which a scope is completely known to be `value`."""
    return view.with_seen({scope: Seen(value, view.bulk[scope].began if scope in view.bulk else 0.0, complete=True)})  # type: ignore[arg-type] # Instant is a float


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineAction(Action):
    """An action on one row; its target is the row's VM."""

    row: Machine

    @property
    def target(self) -> Scope:
        return scopes.vm(self.row)

    @property
    def spent(self) -> DropFact:
        """The approval of this action: by what it allows it is spent."""
        return DropFact(f"approval/{self.key.cluster}/{self.verb}/{self.row.name}")

    def vm(self, view: View) -> Vm:
        """Return the VM as seen, an absent one while unknown."""
        return view.known(scopes.vm(self.row)) or Vm(exists=False)

    def before(self, view: View) -> Evidence:
        """Return the tasks of the VM that were listed already, so that a later one is recognised as ours."""
        listed = view.known(scopes.tasks(self.row.site, self.row.node, self.row.vmid)) or ()
        return {"upids": [task.upid for task in listed]}

    def become(self, view: View, **changes: Any) -> View:
        """Return the view in which the VM has changed."""
        return see(view, scopes.vm(self.row), replace(self.vm(view), **changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone(MachineAction):
    """Clone the template; description, name and pool go with the call, so that it is ours from the first disk on."""

    verb: ClassVar[str] = "clone"
    once: ClassVar[bool] = True

    pool: str
    full: bool
    storage: str = ""

    @property
    def sentence(self) -> str:
        kind = "full" if self.full else "linked"
        return f"clone template {self.row.template} to {self.row.name} (VMID {self.row.vmid}, {kind}, {self.row.node})"

    def slots(self, _view: View) -> Mapping[str, int]:
        return {f"clone:{self.row.site}/{self.row.template_node}": 2}

    def before(self, view: View) -> Evidence:
        listed = view.known(scopes.tasks(self.row.site, self.row.template_node, self.row.template)) or ()
        return {"upids": [task.upid for task in listed]}

    def expect(self, view: View) -> View:
        copies = (copy for scope, seen in view.bulk.items() if scope.kind == "template" for copy in seen.known or ())
        disks = next((dict(copy.disks) for copy in copies if copy.vmid == self.row.template), {})
        mark = fields.mark(view.installation, self.row, "-")
        config = {**disks, "name": self.row.name, "description": mark, "digest": ""}
        return self.become(view, exists=True, node=self.row.node, status="stopped", config=config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure(MachineAction):
    """Write options with the digest that they were compared against; None deletes one."""

    verb: ClassVar[str] = "configure"

    options: Mapping[str, Any]
    digest: str

    @property
    def sentence(self) -> str:
        shown = {"memory": "memory {} MiB", "cores": "{} cores", "sockets": "{} sockets", "tags": "tags {}"}
        if "smbios1" in self.options:
            return f"configure {self.row.name}: identity, {self.row.address}, processors, memory, tags"
        words = [shown.get(name, name + " {}").format(value) for name, value in sorted(self.options.items())]
        return f"configure {self.row.name}: {', '.join(words)}"

    def expect(self, view: View) -> View:
        vm = self.vm(view)
        kept = {k: v for k, v in vm.config.items() if k not in self.options}
        config = kept | {k: v for k, v in self.options.items() if v is not None}
        late = () if vm.status != "running" else tuple(sorted(set(self.options) - fields.HOT))
        return self.become(view, config=config, pending=tuple(sorted({*vm.pending, *late})))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grow(MachineAction):
    """Grow a disk to an absolute size; repeating it is a no-op (`failures.md` P04)."""

    verb: ClassVar[str] = "resize"
    once: ClassVar[bool] = True

    disk: str
    size_gb: int

    def before(self, view: View) -> Evidence:
        return {**MachineAction.before(self, view), "disk": self.disk, "size_gb": self.size_gb}

    @property
    def sentence(self) -> str:
        return f"grow {self.disk} of {self.row.name} to {self.size_gb} GiB"

    def expect(self, view: View) -> View:
        present = str(self.vm(view).config.get(self.disk, "")).split(",size=", maxsplit=1)[0]
        config = {**self.vm(view).config, self.disk: f"{present},size={self.size_gb}G"}
        return self.become(view, config=config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(MachineAction):
    """Start the VM; one that runs already is as good as started (`failures.md` P17)."""

    verb: ClassVar[str] = "start"
    once: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"start {self.row.name}"

    def expect(self, view: View) -> View:
        view = self.become(view, status="running", pending=(), host_key="ssh-ed25519 expected")
        node: Node | None = view.known(scopes.node(self.row.cluster, self.row.name))
        view = _node(view, self.row, boot_id=f"{node.boot_id}+") if node else view
        known: Facts | None = view.known(scopes.guest(self.row))
        facts = known or fresh_facts(self.row)
        return see(view, scopes.guest(self.row), facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown(MachineAction):
    """Ask the guest to power off; Proxmox stops it hard after its own time-out."""

    verb: ClassVar[str] = "shutdown"
    risk: ClassVar[Risk] = Risk.REBOOT
    once: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"shut {self.row.name} down"

    def before(self, view: View) -> Evidence:
        """Add the boot that is ended: a Node goes on saying Ready for a while after its machine went off."""
        node: Node | None = view.known(scopes.node(self.row.cluster, self.row.name))
        return {**MachineAction.before(self, view), "boot": node.boot_id if node else ""}

    def expect(self, view: View) -> View:
        return self.become(view, status="stopped", pending=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(MachineAction):
    """Stop the VM hard: only what is to be destroyed."""

    verb: ClassVar[str] = "stop"
    risk: ClassVar[Risk] = Risk.DESTROY
    once: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"stop {self.row.name}"

    def expect(self, view: View) -> View:
        return self.become(view, status="stopped", pending=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetVm(MachineAction):
    """Reset the VM: the second rung of remediation; the row counts the strike."""

    verb: ClassVar[str] = "reset"
    risk: ClassVar[Risk] = Risk.REBOOT
    once: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"reset {self.row.name}, whose node is not ready"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (self.spent,)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkJoined(MachineAction):
    """Remember a machine as a member: its Node and voter are there, whatever its join op came to."""

    verb: ClassVar[str] = "mark-joined"
    local: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"recognise {self.row.name} as a member"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (PutMachine(replace(self.row, joined=True, strikes=0)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgive(MachineAction):
    """Forget the strikes of a machine that has been well again for as long as a sickness may take."""

    verb: ClassVar[str] = "forgive"
    local: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"forget the sickness of {self.row.name}"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (PutMachine(replace(self.row, strikes=0)), DropFact(f"remedy/{self.row.uid}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumber(MachineAction):
    """Give a row whose VM was never made another VMID: somebody else has taken its own."""

    verb: ClassVar[str] = "renumber"
    local: ClassVar[bool] = True

    vmid: int

    @property
    def sentence(self) -> str:
        return f"give {self.row.name} VMID {self.vmid}: {self.row.vmid} belongs to somebody else"

    def changes(self, view: View) -> tuple[Change, ...]:
        taken = PutFact(f"vmid/{self.row.site}/{self.row.vmid}", view.wall + COOL_DOWN)
        return (taken, PutMachine(replace(self.row, vmid=self.vmid)))

    def expect(self, view: View) -> View:
        return see(view, scopes.vm(replace(self.row, vmid=self.vmid)), Vm(exists=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocate(MachineAction):
    """Remember where a VM is now: somebody, or Proxmox's own high availability, has migrated it."""

    verb: ClassVar[str] = "relocate"
    local: ClassVar[bool] = True

    node: str

    @property
    def sentence(self) -> str:
        return f"follow {self.row.name} from {self.row.node} to {self.node}"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (PutMachine(replace(self.row, node=self.node)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinHostKey(MachineAction):
    """Remember the SSH host key that the guest agent read: first contact is never blind."""

    verb: ClassVar[str] = "pin-host-key"
    local: ClassVar[bool] = True

    host_key: str

    @property
    def sentence(self) -> str:
        return f"pin the SSH host key of {self.row.name}"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (PutFact(f"hostkey/{self.row.uid}", self.host_key),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(MachineAction):
    """Bring the operating system to the baseline: a playbook on real machines."""

    verb: ClassVar[str] = "prepare"
    once: ClassVar[bool] = True

    given: Mapping[str, Any]
    doubt: str = ""

    def before(self, _view: View) -> Evidence:
        return {"profile": self.given["profile"]}

    @property
    def sentence(self) -> str:
        doubt = f" ({self.doubt})" if self.doubt else ""
        return f"prepare {self.row.name} for Kubernetes v{self.given['version']}{doubt}"

    def expect(self, view: View) -> View:
        facts: Facts = view.known(scopes.guest(self.row)) or fresh_facts(self.row)
        return see(view, scopes.guest(self.row), replace(facts, prepared=str(self.given["profile"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Init(MachineAction):
    """Make the cluster: kubeadm init on the elected machine, once and for good.

    `attempt` is what the ledger keeps of an init that has not ended well yet: whose, with which names in its
    certificate, and how often it has failed.
    """

    verb: ClassVar[str] = "init"
    once: ClassVar[bool] = True

    given: Mapping[str, Any]
    attempt: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        return f"initialise the control plane on {self.row.name}"

    def slots(self, _view: View) -> Mapping[str, int]:
        return {f"control-plane:{self.row.cluster}": 1}

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (PutFact(f"init/{self.row.cluster}", self.attempt),)

    def expect(self, view: View) -> View:
        view = see(view, scopes.api(self.row.cluster), Api(ready=True, version="", uid="expected"))
        view = view.with_ledger((PutFact(f"identity/{self.row.cluster}", {"ca_hash": "expected", "uid": "expected"}),))
        return joined_view(view, self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(MachineAction):
    """Join the cluster; a healthy peer mints the secrets just before, nothing keeps them (`failures.md` K08)."""

    verb: ClassVar[str] = "join"
    once: ClassVar[bool] = True

    peer: Machine
    cluster: Cluster

    @property
    def sentence(self) -> str:
        what = "a control plane" if self.row.role is Role.CONTROL_PLANE else "a worker"
        return f"join {self.row.name} as {what}"

    def slots(self, _view: View) -> Mapping[str, int]:
        return {f"control-plane:{self.row.cluster}": 1} if self.row.role is Role.CONTROL_PLANE else {}

    def expect(self, view: View) -> View:
        return joined_view(view, self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(MachineAction):
    """kubeadm reset: deletes what a half join or init left; guarded, for it deletes etcd data too (recorded [370])."""

    verb: ClassVar[str] = "kubeadm-reset"
    once: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"reset what kubeadm left unfinished on {self.row.name}"

    def expect(self, view: View) -> View:
        facts: Facts = view.known(scopes.guest(self.row)) or fresh_facts(self.row)
        clean = replace(facts, admin_conf=False, kubelet_conf=False, etcd_data=False, manifests=())
        return see(view, scopes.guest(self.row), clean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(MachineAction):
    """Save and verify an etcd snapshot: with one control plane no disruption begins without it (promise 5)."""

    verb: ClassVar[str] = "etcd-snapshot"
    once: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"save and verify an etcd snapshot on {self.row.name}"

    def expect(self, view: View) -> View:
        return view.with_ledger((PutFact(f"snapshot/{self.row.cluster}", view.wall),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(MachineAction):
    """Announce a disruption: an op that stays open until the machine serves again or is gone."""

    verb: ClassVar[str] = "reboot"
    once: ClassVar[bool] = True
    local: ClassVar[bool] = True
    risk: ClassVar[Risk] = Risk.REBOOT

    why: str
    limit: int = 1

    @property
    def target(self) -> Scope:
        return Scope("hold", self.row.cluster, self.row.uid)

    @property
    def disrupts(self) -> Role | None:
        return self.row.role

    @property
    def sentence(self) -> str:
        return f"take {self.row.name} out of service and reboot it: {self.why}"

    def slots(self, _view: View) -> Mapping[str, int]:
        if self.row.role is Role.CONTROL_PLANE:
            return {f"control-plane:{self.row.cluster}": 1}
        return {f"disrupt:{self.row.cluster}": self.limit}

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (self.spent,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(MachineAction):
    """Cordon, then one sweep of evictions by pod UID; budgets are honoured, nothing is forced (`failures.md` K13)."""

    verb: ClassVar[str] = "drain"
    risk: ClassVar[Risk] = Risk.REBOOT

    pods: tuple[tuple[str, str, str], ...] = ()

    @property
    def sentence(self) -> str:
        return f"drain {self.row.name}"

    def expect(self, view: View) -> View:
        view = see(view, scopes.pods(self.row.cluster, self.row.name), ())
        view = see(view, scopes.attachments(self.row.cluster, self.row.name), ())
        return _node(view, self.row, unschedulable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncordon(MachineAction):
    """Make the Node schedulable again."""

    verb: ClassVar[str] = "uncordon"

    @property
    def sentence(self) -> str:
        return f"uncordon {self.row.name}"

    def expect(self, view: View) -> View:
        return _node(view, self.row, unschedulable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMember(MachineAction):
    """Remove an etcd member by id through a healthy peer; repeating it is safe (recorded [272]).

    `heir` is the voter that is handed the leadership first, empty when the member does not lead; `endpoint` the
    address that the machine itself gives up first, empty when it cannot hold it or cannot be asked.
    """

    verb: ClassVar[str] = "etcd-remove"

    peer: Machine
    member: str
    heir: str = ""
    endpoint: str = ""

    @property
    def sentence(self) -> str:
        return f"remove the etcd member of {self.row.name}"

    def expect(self, view: View) -> View:
        members: Members | None = view.known(scopes.etcd(self.row.cluster))
        if not members:
            return view
        left = tuple(m for m in members.members if m.id != self.member)
        return see(view, scopes.etcd(self.row.cluster), replace(members, members=left))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteNode(MachineAction):
    """Delete a Node object, uid as precondition."""

    verb: ClassVar[str] = "delete-node"

    uid: str

    @property
    def sentence(self) -> str:
        return f"delete the Node {self.row.name}"

    def expect(self, view: View) -> View:
        return see(view, scopes.node(self.row.cluster, self.row.name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroy(MachineAction):
    """Destroy the VM; VMID, mark, name and SMBIOS UUID were read just before and agree."""

    verb: ClassVar[str] = "destroy"
    risk: ClassVar[Risk] = Risk.DESTROY
    once: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"destroy the VM of {self.row.name} (VMID {self.row.vmid})"

    def expect(self, view: View) -> View:
        return see(view, scopes.vm(self.row), Vm(exists=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget(MachineAction):
    """Drop the row of a VM that is proved absent; its VMID and address cool down."""

    verb: ClassVar[str] = "forget"
    local: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"forget {self.row.name}, whose VM is gone"

    def changes(self, view: View) -> tuple[Change, ...]:
        until = Wall(view.wall + COOL_DOWN)
        return (
            DropMachine(self.row.uid),
            PutFact(f"vmid/{self.row.site}/{self.row.vmid}", until),
            PutFact(f"address/{self.row.site}/{self.row.address}", until),
            DropFact(f"hostkey/{self.row.uid}"),
            DropFact(f"remedy/{self.row.uid}"),
            DropFact(f"grown/{self.row.uid}"),
            DropFact(f"boot/{self.row.uid}"),
        )


def fresh_facts(row: Machine) -> Facts:
    """Return what a machine tells of itself after its first boot."""
    return Facts(
        hostname=row.name, clock_skew=0, cloud_init="done", prepared="", admin_conf=False, kubelet_conf=False,
        etcd_data=False, manifests=(), readyz=0,
    )  # fmt: skip


def joined_view(view: View, row: Machine) -> View:
    """Return the view in which a machine has become a member of its cluster."""
    node = Node(
        name=row.name, uid="expected", system_uuid=system_uuid(row.uid), ready="True", since=0.0, unschedulable=False,
        labels={}, annotations={}, taints=(), version="",
    )  # fmt: skip
    view = see(view, scopes.node(row.cluster, row.name), node)
    nodes = {**(view.known(scopes.nodes(row.cluster)) or {}), row.name: node}
    view = see(view, scopes.nodes(row.cluster), nodes)
    user, usages = f"system:node:{row.name}", ("digital signature", "server auth")
    request = Csr(f"expected-{row.name}", user, usages, user, (row.name,), (row.address,))
    view = see(view, scopes.csrs(row.cluster), (*(view.known(scopes.csrs(row.cluster)) or ()), request))
    if row.role is not Role.CONTROL_PLANE:
        return view
    members: Members = view.known(scopes.etcd(row.cluster)) or Members((), "")
    own = Member(row.uid, row.name, f"https://{row.address}:2380", learner=False, started=True, healthy=True)
    listed = (*(m for m in members.members if m.id != row.uid), own)
    return see(view, scopes.etcd(row.cluster), Members(listed, members.leader or row.uid))


def _node(view: View, row: Machine, **changes: Any) -> View:
    node: Node | None = view.known(scopes.node(row.cluster, row.name))
    return see(view, scopes.node(row.cluster, row.name), replace(node, **changes)) if node else view
