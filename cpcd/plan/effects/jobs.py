"""What runs for long on a machine: its baseline, kubeadm's verbs, etcd's snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

from cpcd.model.desired import Cluster
from cpcd.model.keys import OpId, Role, Scope
from cpcd.model.ledger import Change, Evidence, Machine, PutFact
from cpcd.model.seen import Api, Facts
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.effects.base import Job, fresh_facts, joined_view, see
from cpcd.plan.effects.ledger import Hold

__all__ = ["PLAYBOOKS", "Init", "Join", "Prepare", "Reset", "Snapshot"]

PLAYBOOKS: Final = (
    12  # at once: a run and its children take up to 98 MB (measured), the daemon 125; the unit's MemoryMax
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(Job):
    """Bring the operating system to the baseline: a playbook on real machines."""

    verb: ClassVar[str] = "prepare"
    timeout: ClassVar[str] = "ansible"
    job: ClassVar[str] = "prepare"

    given: Mapping[str, Any]
    doubt: str = ""

    def slots(self, _view: View) -> Mapping[str, int]:
        return {"prepare": PLAYBOOKS}

    def before(self, _view: View) -> Evidence:
        return {"profile": self.given["profile"]}

    def asked(self, _op: OpId) -> Mapping[str, Any]:
        return self.given

    @property
    def sentence(self) -> str:
        doubt = f" ({self.doubt})" if self.doubt else ""
        return f"prepare {self.row.name} for Kubernetes v{self.given['version']}{doubt}"

    def expect(self, view: View) -> View:
        facts: Facts = view.known(scopes.guest(self.row)) or fresh_facts(self.row)
        return see(view, scopes.guest(self.row), replace(facts, prepared=str(self.given["profile"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Init(Job):
    """Make the cluster: kubeadm init on the elected machine, once and for good.

    `attempt` is what the ledger keeps of an init that has not ended well yet: whose, with which names in its
    certificate, and how often it has failed. `additions` is what the ledger keeps of what kubeadm was told more.
    """

    verb: ClassVar[str] = "init"
    job: ClassVar[str] = "init"

    given: Mapping[str, Any]
    attempt: Mapping[str, Any]
    additions: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        return f"initialise the control plane on {self.row.name}"

    def slots(self, _view: View) -> Mapping[str, int]:
        return {f"control-plane:{self.row.cluster}": 1}

    def changes(self, _view: View) -> tuple[Change, ...]:
        name = self.row.cluster
        return (PutFact(f"init/{name}", self.attempt), PutFact(f"kubeadm/{name}", self.additions))

    def asked(self, _op: OpId) -> Mapping[str, Any]:
        return self.given

    @staticmethod
    def proof(row: Machine) -> tuple[Scope, ...]:
        """Return also what tells which cluster it is, for the kubeconfig first of all."""
        return (scopes.vm(row), scopes.guest(row), scopes.api(row.cluster))

    def expect(self, view: View) -> View:
        view = see(view, scopes.api(self.row.cluster), Api(ready=True, version="", uid="expected"))
        view = view.with_ledger((PutFact(f"identity/{self.row.cluster}", {"ca_hash": "expected", "uid": "expected"}),))
        return joined_view(view, self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Job):
    """Join the cluster; a healthy peer mints the secrets just before, nothing keeps them (`failures.md` K08)."""

    verb: ClassVar[str] = "join"
    job: ClassVar[str] = "join"

    peer: Machine
    cluster: Cluster

    @property
    def sentence(self) -> str:
        what = "a control plane" if self.row.role is Role.CONTROL_PLANE else "a worker"
        return f"join {self.row.name} as {what}"

    def slots(self, _view: View) -> Mapping[str, int]:
        return {f"control-plane:{self.row.cluster}": 1} if self.row.role is Role.CONTROL_PLANE else {}

    @staticmethod
    def proof(row: Machine) -> tuple[Scope, ...]:
        """Return also what membership is: exit code 0 is not."""
        etcd = (scopes.etcd(row.cluster),) if row.role is Role.CONTROL_PLANE else ()
        return (scopes.vm(row), scopes.node(row.cluster, row.name), *etcd)

    def expect(self, view: View) -> View:
        return joined_view(view, self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Job):
    """kubeadm reset: deletes what a half join or init left; guarded, for it deletes etcd data too (recorded [370])."""

    verb: ClassVar[str] = "kubeadm-reset"
    job: ClassVar[str] = "reset"

    @property
    def sentence(self) -> str:
        return f"reset what kubeadm left unfinished on {self.row.name}"

    def expect(self, view: View) -> View:
        facts: Facts = view.known(scopes.guest(self.row)) or fresh_facts(self.row)
        clean = replace(facts, admin_conf=False, kubelet_conf=False, etcd_data=False, manifests=())
        return see(view, scopes.guest(self.row), clean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Job):
    """Save and verify an etcd snapshot: with one control plane no disruption begins without it (promise 5).

    `hold` is the disruption that it is taken for: it needs that one's consent, which it does not spend, and its permits.
    """

    verb: ClassVar[str] = "etcd-snapshot"
    timeout: ClassVar[str] = "command"
    job: ClassVar[str] = "etcd_snapshot"

    hold: Hold

    @property
    def asks(self) -> Hold:
        return self.hold

    def slots(self, view: View) -> Mapping[str, int]:
        return self.hold.slots(view)

    @property
    def sentence(self) -> str:
        return f"save and verify an etcd snapshot on {self.row.name}"

    def asked(self, op: OpId) -> Mapping[str, Any]:
        return {"path": f"/var/lib/cpcd/snapshots/{op}.db"}

    def expect(self, view: View) -> View:
        return view.with_ledger((PutFact(f"snapshot/{self.row.cluster}", view.wall),))
