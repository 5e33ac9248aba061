"""Decisions about one machine that are transactions of the ledger and have no effect outside."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from cpcd.model.desired import Risk
from cpcd.model.keys import Role, Scope, Wall
from cpcd.model.ledger import Change, DropFact, DropMachine, PutFact, PutMachine
from cpcd.model.seen import Vm
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.effects.base import COOL_DOWN, MachineAction, see

__all__ = ["Forget", "Forgive", "Hold", "MarkJoined", "PinHostKey", "Relocate", "Renumber"]


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
        ended = (DropFact(f"remedy/{self.row.uid}"), DropFact(f"boot/{self.row.uid}"))
        return (PutMachine(replace(self.row, strikes=0)), *ended)


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
class Forget(MachineAction):
    """Drop the row of a VM that is proved absent; its VMID and address cool down."""

    verb: ClassVar[str] = "forget"
    local: ClassVar[bool] = True

    taken: bool = False

    @property
    def sentence(self) -> str:
        taken = " and whose VMID is another VM's" if self.taken else ""
        return f"forget {self.row.name}, whose VM is gone{taken}"

    def changes(self, view: View) -> tuple[Change, ...]:
        until = Wall(view.wall + COOL_DOWN)
        return (
            DropMachine(self.row.uid),
            PutFact(f"vmid/{self.row.site}/{self.row.vmid}", until),
            PutFact(f"address/{self.row.site}/{self.row.address}", until),
            DropFact(f"hostkey/{self.row.uid}"),
            DropFact(f"remedy/{self.row.uid}"),
            DropFact(f"grown/{self.row.uid}"),
            DropFact(f"growth/{self.row.uid}"),
            DropFact(f"boot/{self.row.uid}"),
        )
