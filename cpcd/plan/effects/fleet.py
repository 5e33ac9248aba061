"""Which machines there are, as transactions of the ledger: a row more, a tombstone, who begins the cluster.

When each is chosen stands in `plan/fleet.py`; what follows is the machines' own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from cpcd.model.desired import Remedy, Risk
from cpcd.model.keys import Key, Role, Scope
from cpcd.model.ledger import Change, DropFact, Evidence, Machine, PutFact, PutMachine
from cpcd.model.plan import Action
from cpcd.model.seen import Vm
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import machine_key
from cpcd.plan.effects.base import about, see

__all__ = ["SURGE", "AddMachine", "ElectInit", "RetireMachine", "destroyed", "healed"]

SURGE: Final = "surge/"


def healed(view: View, cluster: str, group: str, revision: str) -> list[float]:
    """Return when machines were replaced as a remedy, in six hours: what does not help is not repeated.

    Those of the group as it is wanted now: another template or configuration is another try.
    """
    return [at for at, made_as in _remedies(view, cluster, group) if made_as == revision]


def _remedies(view: View, cluster: str, group: str) -> list[tuple[float, str]]:
    """When, and of which revision each was."""
    tried = view.facts.get(f"healed/{cluster}/{group}", [])
    return [(at, made_as) for at, made_as in tried if view.wall - at < 6 * 3600]


def destroyed(view: View, cluster: str) -> list[float]:
    """Return when machines were destroyed for good, in the last hour (`blastRadius.maxDestroysPerHour`)."""
    return [at for at in view.facts.get(f"destroyed/{cluster}", []) if view.wall - at < 3600]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMachine(Action):
    """Allocate a row: uid, name, VMID, address, node, template.

    `instead` is the retirement that it is added for: nothing is made for one that is not consented to, and the fact
    `surge/UID` tells for whom, as long as it is there itself.
    """

    verb: ClassVar[str] = "add-machine"
    local: ClassVar[bool] = True

    row: Machine
    why: str
    instead: "RetireMachine | None" = None

    @property
    def asks(self) -> Action:
        return self.instead or self

    @property
    def sentence(self) -> str:
        return f"add {self.row.name} (VMID {self.row.vmid}, {self.row.address}, {self.row.node}): {self.why}"

    def changes(self, _view: View) -> tuple[Change, ...]:
        surge = (PutFact(f"{SURGE}{self.row.uid}", self.instead.row.uid),) if self.instead else ()
        return (PutMachine(self.row), *surge)

    def expect(self, view: View) -> View:
        view = see(view, scopes.vm(self.row), Vm(exists=False))
        view = see(view, scopes.node(self.row.cluster, self.row.name), None)
        return replace(view, fresh=view.fresh[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireMachine(Action):
    """Set the tombstone and open the disruption: what follows is carried out by the machine's own key."""

    verb: ClassVar[str] = "retire"
    once: ClassVar[bool] = True
    local: ClassVar[bool] = True

    row: Machine
    why: str
    kind: Risk
    remedy: Remedy | None = None
    limit: int = 1

    @property
    def risk(self) -> Risk:  # type: ignore[override] # the class of a retirement depends on its cause
        """Destroy when the machine is not replaced, Replace when it is, InPlace when its VM is gone already."""
        return self.kind

    @property
    def target(self) -> Scope:
        return Scope("hold", self.row.cluster, self.row.uid)

    @property
    def owner(self) -> Key:
        return machine_key(self.row)

    @property
    def subject(self) -> str:
        return about(self.row, self.why)

    @property
    def disrupts(self) -> Role | None:
        return self.row.role

    @property
    def sentence(self) -> str:
        return f"retire {self.row.name}: {self.why}"

    def slots(self, _view: View) -> Mapping[str, int]:
        if self.row.role is Role.CONTROL_PLANE:
            return {f"control-plane:{self.row.cluster}": 1}
        return {f"disrupt:{self.row.cluster}": self.limit}

    def before(self, _view: View) -> Evidence:
        """Return what limits count: how grave it is and which remedy."""
        return {"risk": self.kind.value, "remedy": self.remedy.value if self.remedy else ""}

    def changes(self, view: View) -> tuple[Change, ...]:
        own = DropFact(f"{SURGE}{self.row.uid}")
        always: tuple[Change, ...] = (PutMachine(replace(self.row, retire=self.why)), self.spent, own)
        if self.remedy is not None:
            tried = _remedies(view, self.row.cluster, self.row.group)
            now = [list(each) for each in (*tried, (view.wall, self.row.revision))]
            always += (PutFact(f"healed/{self.row.cluster}/{self.row.group}", now),)
        if self.kind is Risk.DESTROY:
            always += (PutFact(f"destroyed/{self.row.cluster}", [*destroyed(view, self.row.cluster), view.wall]),)
        return always


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectInit(Action):
    """Fix for good which machine makes the cluster."""

    verb: ClassVar[str] = "elect-init"
    local: ClassVar[bool] = True

    row: Machine

    @property
    def sentence(self) -> str:
        return f"elect {self.row.name} to initialise the control plane"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (PutFact(f"elected/{self.row.cluster}", self.row.uid),)
