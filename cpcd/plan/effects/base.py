"""What all actions on a machine have in common, and how the world looks when one has succeeded.

No action of its own stands here; see the package's table of contents for those.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cpcd.model.keys import OpId, Role, Scope, system_uuid
from cpcd.model.ledger import Evidence, Machine
from cpcd.model.plan import Action
from cpcd.model.seen import Csr, Facts, Member, Members, Node, Seen, Task, Vm
from cpcd.model.view import View
from cpcd.plan import scopes

__all__ = [
    "COOL_DOWN",
    "Job",
    "MachineAction",
    "Power",
    "Write",
    "about",
    "fresh_facts",
    "joined_view",
    "see",
    "turned",
]


COOL_DOWN = 600.0  # seconds before a VMID or address is used again: ARP caches and DHCP-like leftovers (G15)


def see(view: View, scope: Scope, value: Any) -> View:
    """Return the view in which a scope is completely known to be `value`."""
    return view.with_seen({scope: Seen(value, view.bulk[scope].began if scope in view.bulk else 0.0, complete=True)})  # type: ignore[arg-type] # Instant is a float


def about(row: Machine, cause: str) -> str:
    """Return what consent to something done to a machine names: 8 digits are for this uid and this cause alone.

    By its name alone it would also be for the next machine of that name, and for whatever may be wanted of it later.
    """
    digits = hashlib.sha256(f"{row.uid}\n{cause}".encode()).hexdigest()[:8]
    return f"{row.name}/{digits}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineAction(Action):
    """An action on one row; its target is the row's VM, and `why` its cause, empty where there is only one."""

    why: str = ""
    row: Machine

    @property
    def subject(self) -> str:
        return about(self.row, self.why)

    @property
    def target(self) -> Scope:
        return scopes.vm(self.row)

    def vm(self, view: View) -> Vm:
        """Return the VM as seen, an absent one while unknown."""
        return view.known(scopes.vm(self.row)) or Vm(exists=False)

    def become(self, view: View, **changes: Any) -> View:
        """Return the view in which the VM has changed."""
        return see(view, scopes.vm(self.row), replace(self.vm(view), **changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Write(MachineAction):
    """A write to Proxmox; one that is an op starts a task of this type, which tells what became of it.

    `timeout` names the time in `policy.timeouts` past which it is called late.
    """

    task: ClassVar[str] = ""
    timeout: ClassVar[str] = "command"

    @classmethod
    def tasks(cls, row: Machine) -> Scope:
        """Return where its task is listed."""
        return scopes.tasks(row.site, row.node, row.vmid)

    def before(self, view: View) -> Evidence:
        """Return the tasks that were listed already, so that a later one is recognised as ours; nothing if nobody looked."""
        listed: tuple[Task, ...] | None = view.known(self.tasks(self.row))
        return {} if listed is None else {"upids": [task.upid for task in listed]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Power(Write):
    """A power action: its verb is Proxmox's, and `options` go with it."""

    once: ClassVar[bool] = True
    options: ClassVar[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(MachineAction):
    """A long verb of the catalogue, submitted to the machine under the op's id; its result there tells how it ended.

    `job` is the catalogue's name for it, `timeout` as for a write.
    """

    once: ClassVar[bool] = True
    timeout: ClassVar[str] = "bootstrap"
    job: ClassVar[str]

    def asked(self, _op: OpId) -> Mapping[str, Any]:
        """Return what the verb is given."""
        return {}

    @staticmethod
    def proof(row: Machine) -> tuple[Scope, ...]:
        """Return what else has to be looked at once it has ended, or is silent: the machine may be off."""
        return (scopes.vm(row),)


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
    # A kubelet asks for its serving certificate when it registers: serverTLSBootstrap (`kubeadm.py`).
    request = Csr(f"expected-{row.name}", user, usages, user, (row.name,), (row.address,))
    view = see(view, scopes.csrs(row.cluster), (*(view.known(scopes.csrs(row.cluster)) or ()), request))
    if row.role is not Role.CONTROL_PLANE:
        return view
    members: Members = view.known(scopes.etcd(row.cluster)) or Members((), "")
    own = Member(row.uid, row.name, f"https://{row.address}:2380", learner=False, started=True, healthy=True)
    listed = (*(m for m in members.members if m.id != row.uid), own)
    return see(view, scopes.etcd(row.cluster), Members(listed, members.leader or row.uid))


def turned(view: View, row: Machine, **changes: Any) -> View:
    """Return the view in which a machine's Node has changed; without one nothing does."""
    node: Node | None = view.known(scopes.node(row.cluster, row.name))
    return see(view, scopes.node(row.cluster, row.name), replace(node, **changes)) if node else view
