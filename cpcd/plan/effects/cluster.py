"""What is done to a machine's Node and etcd member; each may be repeated at will."""

from dataclasses import dataclass, replace
from typing import ClassVar

from cpcd.model.desired import Risk
from cpcd.model.ledger import Machine
from cpcd.model.seen import Members
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.effects.base import MachineAction, see, turned

__all__ = ["DeleteNode", "Drain", "RemoveMember", "Uncordon"]


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
        return turned(view, self.row, unschedulable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncordon(MachineAction):
    """Make the Node schedulable again."""

    verb: ClassVar[str] = "uncordon"

    @property
    def sentence(self) -> str:
        return f"uncordon {self.row.name}"

    def expect(self, view: View) -> View:
        return turned(view, self.row, unschedulable=False)


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
