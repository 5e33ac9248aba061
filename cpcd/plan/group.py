"""One group's machines, sorted into what they are: serving, ill, outdated, beyond help, surge, surplus.

What is done about it is decided in `fleet.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from cpcd.model.desired import Cluster, Consent, Group, Remedy, Risk
from cpcd.model.keys import Role, Uid
from cpcd.model.ledger import Machine
from cpcd.model.seen import Members, Node
from cpcd.model.view import View
from cpcd.plan import fields, scopes
from cpcd.plan.case import Case, lost, machine_key, offline, removed
from cpcd.plan.effects import SURGE, RetireMachine, about, healed
from cpcd.plan.upkeep import sick_for

__all__ = ["Fleet", "fleet_of"]

# Waits of a machine that is not coming up: counted from when this daemon first saw them, so that a downtime of cpcd
# or a pause is never held against a machine (`healthCheck.nodeStartupTimeout`).
NOT_UP: Final = ("Booting", "GuestSilent", "HostnameWrong", "CloudInit", "ClockSkew")


@dataclass(frozen=True)  # without slots: what is counted once a pass is asked for each of a thousand machines
class Fleet:
    """One group's machines, sorted into what they are."""

    view: View
    cluster: Cluster
    group: Group
    rows: tuple[Machine, ...]
    current: str
    lost: tuple[Machine, ...] = field(default=())

    def ready(self, row: Machine) -> bool:
        """Joined, its Node Ready and schedulable by the last look, and a control plane's etcd member not ill."""
        nodes: Mapping[str, Node] = self.view.known(scopes.nodes(self.cluster.name)) or {}
        node = nodes.get(row.name)
        return row.joined and node is not None and node.ready == "True" and not node.unschedulable and not self.ill(row)

    def ill(self, row: Machine) -> bool:
        """Whether its etcd member is a voter that does not answer; no other can join beside it."""
        members: Members | None = self.view.known(scopes.etcd(self.cluster.name))
        own = members.at(row.address) if members is not None and row.role is Role.CONTROL_PLANE else None
        return row.joined and own is not None and not own.learner and not own.healthy

    def outdated(self, row: Machine) -> bool:
        """Made from another template or network than wanted now."""
        return fields.outdated(self.group, row)

    @cached_property
    def old(self) -> list[Machine]:
        """Those that are outdated."""
        return [row for row in self.rows if self.outdated(row)]

    @cached_property
    def surge(self) -> dict[Uid, Uid]:
        """Who was added to replace another, and beside whom each stands until that one goes; none where none may go."""
        if self.cluster.change_policy.get(Risk.REPLACE) is Consent.NEVER:
            return {}
        here = {row.uid: row for row in self.rows}
        marks = ((row.uid, here.get(self.view.facts.get(f"{SURGE}{row.uid}", Uid("")))) for row in self.rows)
        # By another edit the one that was to go may be what is wanted again, and its surge what is outdated.
        return {uid: beside.uid for uid, beside in marks if beside and (self.old or self.hopeless(beside))}

    @cached_property
    def paired(self) -> frozenset[Uid]:
        """Those of whom one goes for the other: whichever does, as many are left as were before it was added."""
        return frozenset((*self.surge, *self.surge.values()))

    @cached_property
    def surplus(self) -> int:
        """How many there are beyond what is wanted and what was added to replace another: surge is no scale-down."""
        return max(0, len(self.rows) - self.group.replicas - len(self.surge))

    @property
    def kept(self) -> int:
        """How many there are to be as long as nobody goes by a scale-down, surge aside."""
        return self.group.replicas + self.surplus

    @property
    def leaving(self) -> Machine | None:
        """Who goes next by a scale-down: whom etcd waits for, who was consented to, who is no good, then by order.

        Of a pair only who is no good: one of it goes anyway. Who takes another's place is as good as there.
        """
        bad = {row.uid for row in self.rows if self.hopeless(row) or self.ill(row)} if self.surplus else set()
        return min(
            (row for row in self.rows if self.surplus and (row.uid in bad or row.uid not in self.paired)),
            key=lambda row: (
                not self.ill(row), not self.consented(row, self.scaled), row.uid not in bad, not self.outdated(row),
                self.ready(row) or self._comes(row), _turn(self.group, row),
            ),
            default=None,
        )  # fmt: skip

    def _comes(self, row: Machine) -> bool:
        return not row.joined and f"{SURGE}{row.uid}" in self.view.facts

    def consented(self, row: Machine, why: str) -> bool:
        """Whether a person said yes to the retirement of a machine for this cause."""
        return f"{self.cluster.name}/{RetireMachine.verb}/{about(row, why)}" in self.view.ledger.consents

    @property
    def outdone(self) -> str:
        """Why machines are replaced; consent is to this configuration and to no later one."""
        return f"it is outdated and replaced, by configuration {fields.group_revision(self.group)[:8]}"

    @property
    def scaled(self) -> str:
        """Why machines go that are more than wanted."""
        return f"{self.group.name} is scaled to {self.group.replicas}"

    def causes(self, row: Machine) -> tuple[str, ...]:
        """Why the machine may be asked for, now or when it is its turn."""
        sick = self.hopeless(row)
        sick = "" if sick and self.spent(row) else sick
        return (sick, self.outdone if self.outdated(row) else "", self.scaled if self.surplus else "")

    def stranded(self, row: Machine) -> bool:
        """Whether it was still to be made, on or from a Proxmox node that was removed: a loss, and no try that failed."""
        return not row.joined and bool(removed(row, self.view))

    def spent(self, row: Machine) -> bool:
        """Whether replacing it is no remedy here, or none any more; a loss is made good, which is none."""
        if self.stranded(row):
            return False
        health = self.cluster.health
        if Remedy.REPLACE not in health.ladder:
            return True
        return len(healed(self.view, self.cluster.name, self.group.name, self.current)) >= health.max_retry

    def hopeless(self, row: Machine) -> str:
        """Why it is past everything but its replacement, "" when it is not: it never came up, or no reset helped."""
        if row.joined:
            return "its node stays unhealthy, and no reset is left to try" if self._past_reset(row) else ""
        if self.stranded(row):
            gone = removed(row, self.view)
            whose = "its Proxmox node" if gone == row.node else "its template's Proxmox node"
            return f"{whose} {gone} is no longer in the Proxmox cluster"
        if row.strikes and row.strikes >= self.cluster.health.max_retry:
            return f"{row.strikes} joins failed"
        stuck = [self.view.since.get(f"{machine_key(row)}/{reason}", math.inf) for reason in NOT_UP]
        late = self.view.wall - min(stuck) > self.cluster.health.startup_timeout
        return "it does not come up" if late else ""

    def _past_reset(self, row: Machine) -> bool:
        """Whether it is sick past its time, and a reset was tried or cannot reach it, on a node that is offline."""
        health, late = self.cluster.health, self._late(row)
        last = self.view.facts.get(f"remedy/{row.uid}", 0.0)
        if late is None or late <= 0 or self.view.wall - last <= health.patience:
            return False
        return row.strikes > 0 or Remedy.RESET not in health.ladder or offline(row, self.view)

    def _late(self, row: Machine) -> float | None:
        return sick_for(Case(machine_key(row), self.view, row, self.cluster, self.group))

    def arrived(self, row: Machine) -> bool:
        """Whether it need not be waited for: it serves, or is sick past its time."""
        node: Node | None = (self.view.known(scopes.nodes(self.cluster.name)) or {}).get(row.name)
        late = self._late(row)
        return row.joined and ((node is not None and node.ready == "True") or (late is not None and late > 0))


def fleet_of(view: View, cluster: Cluster, group: Group) -> Fleet:
    """Return a group of a cluster as it is in the view."""
    rows = tuple(row for row in view.rows(cluster.name) if row.group == group.name and row.wanted)
    return Fleet(
        view, cluster, group, rows, fields.group_revision(group), tuple(row for row in rows if lost(view, row))
    )


def _turn(group: Group, row: Machine) -> tuple[float, int, str]:
    """Whose turn it is by `deletion.order`; uids are random, so their order is."""
    match group.deletion_order:
        case "Newest":
            return (-row.created, -row.index, "")
        case "Oldest":
            return (row.created, row.index, "")
        case _:
            return (0.0, 0, row.uid)
