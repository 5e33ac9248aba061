"""The cluster's report: Cluster API's condition names and counters, computed once, from the view and the board alone.

Pure: the same view and reports give the same answer. It must never say True of what is unknown. Transition times
are stamped by `report.Board.stamp`; the words are those of `spec.md`, Status.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cpcd.model.desired import Cluster, Group
from cpcd.model.keys import Kind, Role
from cpcd.model.ledger import Machine
from cpcd.model.plan import Condition, Status
from cpcd.model.report import Endpoint
from cpcd.model.seen import Api, Members, Node, Quorum
from cpcd.model.view import View
from cpcd.plan import fields, scopes
from cpcd.plan.certificates import Expiry, expiries, expiring
from cpcd.plan.group import fleet_of
from cpcd.status.report import Board, ObjectReport
from cpcd.status.words import called, silence

__all__ = ["Counters", "Picture", "cluster_conditions", "counters"]

Verdict = tuple[Status, str, str]  # status, reason, message

MOVES: Final = 30.0  # seconds that a virtual address may take to move: kube-vip's lease has 15 s


@dataclass(frozen=True, slots=True)
class Counters:
    """Machines: as wanted, as rows, with a Ready Node, and of the newest revision."""

    desired: int
    replicas: int
    ready: int
    up_to_date: int


@dataclass(frozen=True, slots=True)
class Picture:
    """One cluster with all that its conditions look at; `cluster` is None when its document is gone."""

    name: str
    view: View
    board: Board
    cluster: Cluster | None

    @property
    def rows(self) -> list[Machine]:
        """The cluster's machine rows."""
        return self.view.rows(self.name)

    @property
    def objects(self) -> list[ObjectReport]:
        """Reports of the cluster's own objects."""
        return [report for key, report in self.board.objects.items() if key.cluster == self.name]

    def of(self, kind: Kind) -> list[ObjectReport]:
        """Return the reports of one kind."""
        return [report for report in self.objects if report.key.kind is kind]

    def node(self, row: Machine) -> Node | None:
        """Return the row's Node from the newest complete observation, of all Nodes or of this one."""
        everyone, alone = scopes.nodes(self.name), scopes.node(self.name, row.name)
        complete = [seen for scope in (everyone, alone) if (seen := self.view.bulk.get(scope)) and seen.complete]
        # The list is of the watch, the single Node of a pass: either may be the older one.
        newest = max(complete, key=lambda seen: seen.began, default=None)
        found: Node | None = None
        match newest.value if newest else None:
            case Node() as found:
                pass
            case dict() as nodes:
                found = nodes.get(row.name)
        return found

    def down(self, name: str) -> Endpoint | None:
        """Return an endpoint that is known to be down."""
        found = self.board.endpoints.get(name)
        return None if found is None or found.up else found

    @property
    def api(self) -> Api | None:
        """The API at its endpoint, None while unknown."""
        seen: Api | None = self.view.known(scopes.api(self.name))
        return seen

    @property
    def members(self) -> Members | None:
        """The etcd members, None while unknown."""
        seen: Members | None = self.view.known(scopes.etcd(self.name))
        return seen

    def ready(self, row: Machine) -> bool:
        """Whether the row's Node is known to be Ready."""
        node = self.node(row)
        return row.joined and node is not None and node.ready == "True"

    def stale(self, row: Machine) -> bool:
        """Whether only a replacement can give the row the configuration that is wanted now."""
        group = self.cluster.group(row.group) if self.cluster else None
        return group is not None and fields.outdated(group, row)


def cluster_conditions(view: View, board: Board, name: str) -> tuple[Condition, ...]:
    """Return the conditions of one cluster in the order of `spec.md`."""
    picture = Picture(name, view, board, view.cluster(name))
    found = tuple(Condition(kind, *check(picture)) for kind, check in _CHECKS)
    return (_ready(picture, {condition.type: condition for condition in found}), *found)


def counters(view: View, board: Board, name: str) -> Counters:
    """Return the counters of one cluster."""
    picture = Picture(name, view, board, view.cluster(name))
    wanted = [row for row in picture.rows if row.wanted]
    return Counters(
        desired=sum(group.replicas for group in picture.cluster.groups) if picture.cluster else 0,
        replicas=len(picture.rows),
        ready=sum(picture.ready(row) for row in picture.rows),
        up_to_date=sum(picture.ready(row) and not picture.stale(row) for row in wanted),
    )


def _ready(p: Picture, found: Mapping[str, Condition]) -> Condition:
    """Tell whether the cluster is as wanted: available, up to date, and every object of it Ready."""
    for kind in ("Available", "UpToDate"):
        if found[kind].status is not Status.TRUE:
            return Condition("Ready", found[kind].status, found[kind].reason, found[kind].message)
    # With `policy.onFailure.addon: Warn` an addon is told and keeps nothing from being Ready.
    warned = {Kind.ADDON} if p.cluster and p.cluster.addon_failure == "Warn" else set()
    waiting = [report for report in p.objects if not report.ready and report.key.kind not in warned]
    if waiting:
        return Condition("Ready", Status.FALSE, "ObjectsNotReady", _listed(p, waiting))
    return Condition("Ready", Status.TRUE, "Settled", f"{len(p.rows)} machines as wanted")


def _available(p: Picture) -> Verdict:
    if p.cluster is None:
        return Status.FALSE, "Deleting", f"the document of {p.name} is gone"
    for check in (_control_plane_initialized, _control_plane_available, _workers_available):
        status, reason, message = check(p)
        if status is not Status.TRUE:
            return status, reason, message
    if p.cluster.addon_failure == "Block" and _addons_applied(p)[0] is not Status.TRUE:
        return _addons_applied(p)
    return Status.TRUE, "Available", "control plane and workers serve"


def _up_to_date(p: Picture) -> Verdict:
    stale = [row.name for row in p.rows if p.stale(row)]
    changing = [r for r in p.of(Kind.MACHINE) if r.holds("Progressing")]
    if stale:
        return Status.FALSE, "RollingOut", f"to be replaced: {_names(stale)}"
    if changing:
        return Status.FALSE, "Changing", _listed(p, changing)
    return Status.TRUE, "UpToDate", ""


def _rolling_out(p: Picture) -> Verdict:
    stale = [row.name for row in p.rows if p.stale(row)]
    return _told(bool(stale), "RollingOut", f"{len(stale)} of {len(p.rows)} machines to be replaced: {_names(stale)}")


def _scaling_up(p: Picture) -> Verdict:
    groups = p.cluster.groups if p.cluster else ()
    joined = [(g, sum(row.group == g.name and row.wanted and row.joined for row in p.rows)) for g in groups]
    short = [(group, count) for group, count in joined if count < group.replicas]
    return _told(bool(short), "ScalingUp", _size_words(short))


def _scaling_down(p: Picture) -> Verdict:
    """More than wanted: beside a rollout's surge, which is no scale-down, and whom a rollout replaces."""
    going = [row.name for row in p.rows if not row.wanted]
    fleets = [fleet_of(p.view, p.cluster, group) for group in p.cluster.groups] if p.cluster else []
    over = [(one.group, len(one.rows)) for one in fleets if one.surplus]
    words = _size_words(over) or f"to be removed: {_names(going)}"
    # In a rollout who goes is replaced, and nothing becomes smaller.
    return _told(bool(over or (going and not _rolling(p))), "ScalingDown", words)


def _rolling(p: Picture) -> bool:
    return any(p.stale(row) for row in p.rows)


def _size_words(groups: list[tuple[Group, int]]) -> str:
    return ", ".join(f"{group.name} {count} of {group.replicas}" for group, count in groups)


def _remediating(p: Picture) -> Verdict:
    struck = [row.name for row in p.rows if row.wanted and row.strikes and not p.ready(row)]
    return _told(bool(struck), "Remediating", f"failed and not Ready yet: {_names(struck)}")


def _deleting(p: Picture) -> Verdict:
    return _told(p.cluster is None and bool(p.rows), "Deleting", f"{len(p.rows)} machines left of {p.name}")


def _paused(p: Picture) -> Verdict:
    asked = f"paused/{p.name}" in p.view.facts
    in_file = p.cluster is not None and p.cluster.paused
    who = "by spec.paused" if in_file else "by `cpcd pause`"
    return _told(in_file or asked, "Paused", f"observed and reported, not changed: paused {who}")


def _spec_valid(p: Picture) -> Verdict:
    spec = p.board.spec
    if not spec.valid:
        return Status.FALSE, "InvalidSpec", f"{spec.mistake}; {spec.kept}"
    if spec.uncommitted:
        return Status.TRUE, "Uncommitted", "the file has an edit that is not committed and not in force"
    return Status.TRUE, "SpecValid", ""


def _proxmox_available(p: Picture) -> Verdict:
    site = p.cluster.infrastructure.site if p.cluster else next((row.site for row in p.rows), "")
    seen = p.view.bulk.get(scopes.quorum(site))
    quorum: Quorum | None = seen.known if seen else None
    if down := p.down(f"pve:{site}"):
        return Status.FALSE, "EndpointDown", silence(down)
    if quorum is None:
        return Status.UNKNOWN, "Unknown", seen.why if seen else f"Proxmox {site} was not observed yet"
    if not quorum.quorate:
        return Status.FALSE, "NoQuorum", f"Proxmox {site} has no quorum: {_names(sorted(quorum.offline))} offline"
    if quorum.offline:
        return Status.TRUE, "NodesOffline", f"offline: {_names(sorted(quorum.offline))}"
    return Status.TRUE, "Available", ""


def _control_plane_initialized(p: Picture) -> Verdict:
    if p.view.facts.get(f"identity/{p.name}"):
        return Status.TRUE, "Initialized", ""
    return Status.FALSE, "NotInitialized", "the first control plane is being made"


def _control_plane_available(p: Picture) -> Verdict:
    if p.api is None:
        seen = p.view.bulk.get(scopes.api(p.name))
        return Status.UNKNOWN, "Unknown", seen.why if seen else "the API was not observed yet"
    if not p.api.ready:
        return Status.FALSE, "NotReady", "the API answers, but is not ready"
    return Status.TRUE, "Available", f"the API answers as {p.api.version}"


def _workers_available(p: Picture) -> Verdict:
    groups = [g for g in (p.cluster.groups if p.cluster else ()) if g.role is Role.WORKER]
    if groups and p.view.known(scopes.nodes(p.name)) is None:
        return Status.UNKNOWN, "Unknown", "the nodes are not known"
    ready = {g.name: sum(p.ready(row) and row.group == g.name for row in p.rows) for g in groups}
    # As many may be missing as a rollout takes at once.
    short = [(g, ready[g.name]) for g in groups if ready[g.name] < g.replicas - g.max_unavailable]
    if short:
        return Status.FALSE, "NotReady", f"ready: {_size_words(short)}"
    return Status.TRUE, "Available", ""


def _etcd_healthy(p: Picture) -> Verdict:
    if p.members is None:
        return Status.UNKNOWN, "Unknown", "the etcd members are not known"
    voters = p.members.voters
    sick = [member.name or member.peer for member in voters if not member.healthy]
    if sick:
        # A majority is more than half: of four voters two are none.
        lost = 2 * len(sick) >= len(voters)
        words = f"{len(voters) - len(sick)} of {len(voters)} voters healthy; unhealthy: {_names(sick)}"
        return Status.FALSE, "QuorumLost" if lost else "MemberUnhealthy", words
    return Status.TRUE, "Healthy", f"{len(voters)} of {len(voters)} voters healthy"


def _certificates_available(p: Picture) -> Verdict:
    soon = expiring(p.view, p.name)
    if soon:
        ended = soon[0].ends <= p.view.wall
        return Status.FALSE, "CertificatesExpired" if ended else "CertificatesExpiring", _certificates(p, soon)
    known = {one.name for one in expiries(p.view, p.name)}
    missing = sorted(row.name for row in p.rows if row.joined and row.wanted and row.name not in known)
    # Of who was not seen from inside nobody knows when they end.
    if missing or not p.rows:
        return Status.UNKNOWN, "Unknown", f"certificates not seen yet: {_names(missing or [p.name])}"
    return Status.TRUE, "CertificatesAvailable", ""


def _certificates(p: Picture, soon: list[Expiry]) -> str:
    told = [f"{one.certificate} of {one.name} in {(one.ends - p.view.wall) / 86400:.0f} d" for one in soon]
    return f"certificates end: {_names(told)}"


def _addons_applied(p: Picture) -> Verdict:
    wanted = {addon.name for addon in p.cluster.addons} if p.cluster else set()
    return _all_ready(p, Kind.ADDON, wanted, "AddonsApplied")


def _kubeconfig_ready(p: Picture) -> Verdict:
    return _all_ready(p, Kind.KUBECONFIG, {"admin"} if p.cluster else set(), "KubeconfigReady")


def _all_ready(p: Picture, kind: Kind, wanted: set[str], reason: str) -> Verdict:
    reports = {report.key.name: report for report in p.of(kind)}
    missing = sorted(wanted - reports.keys())
    late = [report for report in reports.values() if not report.ready]
    if late:
        return Status.FALSE, "ObjectsNotReady", _listed(p, late)
    if missing:
        return Status.UNKNOWN, "Unknown", f"not looked at yet: {_names(missing)}"
    return Status.TRUE, reason, ""


def _degraded(p: Picture) -> Verdict:
    site = p.cluster.infrastructure.site if p.cluster else ""
    if (down := p.down(f"pve:{site}") or p.down(f"kube:{p.name}")) and _lasts(p, down):
        return Status.TRUE, "EndpointDown", silence(down)
    sick = [report for report in p.objects if report.holds("Degraded")]
    return _told(bool(sick), "ObjectsDegraded", _listed(p, sick))


def _lasts(p: Picture, down: Endpoint) -> bool:
    """An API is silent for a moment whenever its address moves with a control plane, and nothing is wrong then."""
    return down.name.startswith("pve:") or p.view.wall - down.since > MOVES


def _awaiting_approval(p: Picture) -> Verdict:
    asked = [report for report in p.objects if report.last.reason == "AwaitingApproval"]
    return _told(bool(asked), "AwaitingApproval", _listed(p, asked))


def _told(holds: bool, reason: str, message: str) -> Verdict:
    return (Status.TRUE, reason, message) if holds else (Status.FALSE, f"Not{reason}", "")


def _listed(p: Picture, reports: list[ObjectReport]) -> str:
    first = sorted(reports, key=lambda report: report.key)[:3]
    words = "; ".join(f"{report.key.kind}/{called(p.view, report.key)}: {report.last.sentence}" for report in first)
    return words + (f"; and {len(reports) - 3} more" if len(reports) > 3 else "")


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


_CHECKS: Final[tuple[tuple[str, Callable[[Picture], Verdict]], ...]] = (
    ("Available", _available),
    ("UpToDate", _up_to_date),
    ("RollingOut", _rolling_out),
    ("ScalingUp", _scaling_up),
    ("ScalingDown", _scaling_down),
    ("Remediating", _remediating),
    ("Deleting", _deleting),
    ("Paused", _paused),
    ("SpecValid", _spec_valid),
    ("ProxmoxAvailable", _proxmox_available),
    ("ControlPlaneInitialized", _control_plane_initialized),
    ("ControlPlaneAvailable", _control_plane_available),
    ("WorkersAvailable", _workers_available),
    ("EtcdClusterHealthy", _etcd_healthy),
    ("CertificatesAvailable", _certificates_available),
    ("AddonsApplied", _addons_applied),
    ("KubeconfigReady", _kubeconfig_ready),
    ("Degraded", _degraded),
    ("AwaitingApproval", _awaiting_approval),
)
