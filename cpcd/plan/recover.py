"""A ledger that was lost or is older than its machines, made again from the marks on the VMs; always with consent.

Rows come from the descriptions, the cluster's identity from the control plane that serves, membership by itself. Until
all of it is there nothing is added to the cluster and no control plane is elected.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from cpcd.model.desired import Cluster
from cpcd.model.errors import Code
from cpcd.model.keys import Key, Role
from cpcd.model.ledger import Change, DropFact, Machine, PutFact, PutMachine
from cpcd.model.plan import Action, Plan, Refusal, Wait
from cpcd.model.seen import Api, Claim, Facts
from cpcd.model.view import View
from cpcd.plan import effects, fields, scopes

__all__ = ["Identify", "Recover", "recover"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover(Action):
    """Take the machines that bear the cluster's marks into the ledger, under the installation that made them."""

    verb: ClassVar[str] = "recover"
    local: ClassVar[bool] = True

    rows: tuple[Machine, ...]
    site: str
    installation: str

    @property
    def sentence(self) -> str:
        names = ", ".join(f"{row.name} (VMID {row.vmid})" for row in self.rows)
        return f"take {names} into the ledger: they bear the marks of {self.key.cluster} and are in no row"

    def changes(self, view: View) -> tuple[Change, ...]:
        known = f"identity/{self.key.cluster}" in view.facts
        return (
            *(PutMachine(row) for row in self.rows),
            PutFact("installation", self.installation),
            *(() if known else (PutFact(f"recovered/{self.key.cluster}", view.wall),)),
            self.spent,
        )

    def expect(self, view: View) -> View:
        return effects.see(view, scopes.claims(self.site), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify(Action):
    """Remember which cluster it is that its control planes serve; without `identity`, that there is none yet.

    What kubeadm was told more is believed of the file: only digests are ever kept of it (`additions`).
    """

    verb: ClassVar[str] = "identify"
    local: ClassVar[bool] = True

    identity: Mapping[str, str] | None
    serving: tuple[Machine, ...] = ()
    additions: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        if self.identity is None:
            return f"begin {self.key.cluster}: none of its machines has ever been a control plane"
        return f"recognise {self.key.cluster} by its CA and kube-system as served by {self.serving[0].name}"

    def changes(self, view: View) -> tuple[Change, ...]:
        name, known = self.key.cluster, []
        if self.identity is not None:
            told = view.facts.get(f"kubeadm/{name}", self.additions)
            known = [PutFact(f"identity/{name}", dict(self.identity)), PutFact(f"kubeadm/{name}", dict(told))]
        members = (PutMachine(replace(row, joined=True)) for row in self.serving)
        return (*known, *members, DropFact(f"recovered/{name}"))


def recover(key: Key, view: View, cluster: Cluster) -> Plan | None:
    """Return what stands between a ledger and machines that it does not know, None when it knows them all."""
    site = cluster.infrastructure.site
    claims = [claim for claim in view.known(scopes.claims(site)) or () if claim.cluster == cluster.name]
    claims = [claim for claim in claims if claim.uid not in view.machines]
    if claims:
        return _take(key, view, site, claims)
    if f"recovered/{cluster.name}" in view.facts:
        return _identify(key, view, cluster)
    return None


def _take(key: Key, view: View, site: str, claims: list[Claim]) -> Plan:
    rows = [row for claim in claims if (row := fields.recalled(claim, site)) is not None]
    installations = {claim.installation for claim in claims}
    # Another installation is taken up only by a ledger without machines: beside rows of our own it is somebody who may
    # be alive.
    ours = installations == {view.installation} or (len(installations) == 1 and not view.machines)
    # All or none: a row cannot be guessed (ADR 0012), and beside a machine without one another would be made.
    if not ours or len(rows) < len(claims):
        names = ", ".join(f"{claim.config.get('name', '')} ({claim.vmid})" for claim in claims)
        what = f"{site} has machines of cpcd that are in no ledger of this one: {names}; none is added beside them"
        hint = "Restore the ledger from a backup; or, if another cpcd keeps them, give this cluster another name."
        return Plan(refusal=Refusal(Code.STATE, "MachinesUnknown", what, hint))
    return Plan(steps=(Recover(key=key, rows=tuple(rows), site=site, installation=installations.pop()),))


def _identify(key: Key, view: View, cluster: Cluster) -> Plan:
    """Believe an API and a kubeconfig only together with a machine that says that it serves them."""
    inside = _inside(view, cluster.name)
    serving = tuple(row for row, facts in inside.items() if facts is not None and facts.readyz == 200)
    identity = _identity(view, cluster.name)
    if serving and identity is not None:
        step = Identify(key=key, identity=identity, serving=serving, additions=cluster.additions)
        return Plan(steps=(step,))
    # Each has answered: one that is silent may be the control plane.
    if inside and all(facts is not None and facts.untouched for facts in inside.values()):
        return Plan(steps=(Identify(key=key, identity=None),))
    sentence = f"{cluster.name} is taken up again: waiting for a control plane that serves"
    return Plan(wait=Wait("Recovering", sentence, 10))


def _inside(view: View, cluster: str) -> dict[Machine, Facts | None]:
    """Each control plane with what it says of itself, None of one that is silent."""
    return {row: view.known(scopes.guest(row)) for row in view.rows(cluster) if row.role is Role.CONTROL_PLANE}


def _identity(view: View, cluster: str) -> Mapping[str, str] | None:
    """What an API that is ready and the kubeconfig say of the cluster, None while either is silent."""
    api: Api | None = view.known(scopes.api(cluster))
    written = view.known(scopes.kubeconfig(cluster))
    if written is None or api is None or not api.ready or not api.uid:
        return None
    return {"ca_hash": written.ca_hash, "uid": api.uid}
