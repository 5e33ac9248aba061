"""From a prepared machine to a member of the cluster: elected init, or join, or cleaning what a half join left."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cpcd.model.ledger import Machine, PutMachine
from cpcd.model.plan import Plan
from cpcd.model.seen import Claim, Facts, Members, Node
from cpcd.plan import effects, kubeadm, scopes
from cpcd.plan.case import Case, acting, machine_key, membership, waiting

__all__ = ["joined", "member", "peer"]

REPEATS: Final = 1  # times that a failed init is repeated over what it left, before everything is begun anew


def member(case: Case) -> Plan | None:
    """Return the next step towards membership, None when the machine has joined."""
    if case.row.joined:
        return None
    if case.identity is None:
        return _begin(case)
    facts = case.facts
    present = case.node is not None and (not case.control_plane or _voting(case))
    if present and facts is not None and not facts.untouched:  # a reset may have come after the Node (K21)
        return acting("Bootstrapping", effects.MarkJoined(key=case.key, row=case.row))
    if facts is None:
        return case.unseen("GuestSilent", f"{case.row.name} cannot be asked over SSH", scopes.guest(case.row), after=5)
    return _join(case, facts)


def peer(case: Case) -> Machine | None:
    """Return a control plane that can speak for the cluster: joined, with a healthy voter.

    One that is about to be restarted or to go is asked only where there is no other: it would cut the answer off.
    """
    rows = (r for r in case.view.rows(case.row.cluster) if r.joined and r.uid != case.row.uid)
    able = [r for r in rows if case.members and (own := case.members.at(r.address)) and own.healthy and not own.learner]
    return min(able, key=lambda r: (_held(case, r), not r.wanted, r.index), default=None)


def _held(case: Case, row: Machine) -> bool:
    return any(op.disrupts for op in case.view.open_ops(machine_key(row)))


def _begin(case: Case) -> Plan:
    elected = case.view.facts.get(f"elected/{case.row.cluster}")
    if elected != case.row.uid:
        sentence = f"{case.row.name} waits until the control plane is initialised"
        return waiting("ControlPlaneInitializing", sentence, on=(f"fact:identity/{case.row.cluster}",))
    other = _other_traces(case)
    if other:
        return waiting("ControlPlaneUnclear", other, after=5)
    kept = case.view.facts.get(f"init/{case.row.cluster}") or {}
    # An attempt is of one machine: what another one failed at is gone with it.
    attempt = kept if kept.get("uid") == case.row.uid else _attempt(case)
    # Repeating keeps the CA and the data that are there (recorded [177, 187]); only a reset makes an end of them.
    if attempt["failed"] > REPEATS:
        return acting("Bootstrapping", effects.Reset(key=case.key, row=case.row))
    return _occupied(case) or acting(
        "Bootstrapping",
        effects.Init(
            key=case.key, row=case.row, given=_given(case, attempt), attempt=attempt, additions=case.cluster.additions
        ),
    )


def _attempt(case: Case) -> dict[str, Any]:
    """Rows come and go: a repeated init with other names than the first one's kubeadm refuses for ever."""
    return {"uid": case.row.uid, "sans": kubeadm.sans(case.view, case.cluster), "failed": 0}


def _given(case: Case, attempt: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "config": kubeadm.init_config(case.cluster, case.row, attempt["sans"]),
        "manifests": kubeadm.files(case.cluster, first=True),
    }


def _occupied(case: Case) -> Plan | None:
    """Where nothing of ours was begun nobody may answer at the endpoint; a half-made control plane does so itself.

    Behind a load balancer connections are taken whether anybody is there or not: it is not asked.
    """
    if case.cluster.endpoint.provider == "external" or (case.facts is not None and not case.facts.untouched):
        return None
    answers, place = case.view.known(scopes.endpoint(case.row.cluster)), case.cluster.endpoint
    if answers is None:
        return waiting("EndpointUnknown", f"{case.row.name} waits for a look at {place.host}:{place.port}", after=1)
    if not answers:
        return None
    sentence = f"{case.row.name} initialises nothing: somebody answers at {place.host}:{place.port} already"
    return waiting("EndpointTaken", sentence, after=10)


def _other_traces(case: Case) -> str:
    """Init is right only while no other control plane ever made shows a trace of a cluster; silence means wait."""
    claims: tuple[Claim, ...] | None = case.view.known(scopes.claims(case.row.site))
    # A machine that no row knows may carry the cluster: an init beside it would make a second one (ADR 0012).
    if claims is None or any(claim.cluster == case.row.cluster for claim in claims):
        return f"{case.row.name} initialises nothing before each machine with the marks of {case.row.cluster} is known"
    own, rows = case.row, case.view.rows(case.row.cluster)
    others = (row for row in rows if row.role == own.role and row.uid != own.uid and row.started)
    return next(filter(None, (_traces(case, row) for row in others)), "")


def _traces(case: Case, row: Machine) -> str:
    facts: Facts | None = case.view.known(scopes.guest(row))
    if facts is None:
        return f"{case.row.name} initialises nothing before {row.name} can be asked whether it is a control plane"
    if facts.admin_conf or facts.etcd_data:
        return f"{row.name} carries a control plane already; {case.row.name} does not initialise another"
    return ""


def _voting(case: Case) -> bool:
    own = case.member
    return own is not None and own.started and not own.learner


def _join(case: Case, facts: Facts) -> Plan:
    if not case.api_ready:
        return waiting("ApiUnavailable", f"{case.row.name} waits for the cluster's API", after=10)
    if case.members is None:
        sentence = f"{case.row.name} waits: etcd's members cannot be listed now"
        return case.unseen("EtcdUnknown", sentence, scopes.etcd(case.row.cluster), after=10)
    friend = peer(case)
    if friend is None and _before_the_first(case, case.members):
        first = case.view.facts.get(f"elected/{case.row.cluster}") == case.row.uid
        what = "its Node and its etcd member are seen" if first else "the first control plane is a member"
        sentence = f"{case.row.name} waits until {what}"
        return waiting("ControlPlaneInitializing", sentence, after=10, on=(membership(case.row.cluster),))
    if friend is None or (case.control_plane and not _all_healthy(case)):
        return _unhealthy(case, case.members)
    if not facts.untouched:
        # What an earlier try left is in the way of the next (K02).
        return _clean(case, friend)
    return (
        _member_out(case, friend)
        or _make_room(case)
        or acting("Bootstrapping", effects.Join(key=case.key, row=case.row, peer=friend, cluster=case.cluster))
    )


def _before_the_first(case: Case, members: Members) -> bool:
    """Whether nobody is remembered as a member yet, though etcd is well: then there is nobody who mints a token."""
    return all(m.healthy for m in members.voters) and not any(r.joined for r in case.view.rows(case.row.cluster))


def _unhealthy(case: Case, members: Members) -> Plan:
    ill = ", ".join(m.name or m.peer for m in members.voters if not m.healthy)
    said = f": {ill} does not answer" if ill else ""
    sentence = f"{case.row.name} waits until every etcd member is healthy{said}"
    return waiting("EtcdUnhealthy", sentence, after=10)


def _make_room(case: Case) -> Plan | None:
    """Delete the Node of our name that an earlier machine left; one that is Ready is somebody's (K12)."""
    named: Node | None = case.node_seen.known if case.node_seen else None
    if named is None:
        return None
    theirs = case.node is None and (
        named.ready == "True" or case.view.wall - named.since < case.cluster.health.patience
    )
    if theirs:
        sentence = f"{case.row.name} waits: the cluster has a Node of that name which is another machine"
        return waiting("NameTaken", sentence, after=30)
    return acting("Bootstrapping", effects.DeleteNode(key=case.key, row=case.row, uid=named.uid))


def _all_healthy(case: Case) -> bool:
    """Every present voter is healthy; the machine's own unfinished member does not count."""
    own = case.member.id if case.member else ""
    return case.members is not None and all(m.healthy for m in case.members.voters if m.id != own)


def _clean(case: Case, friend: Machine) -> Plan:
    """The member goes first, through a peer, then the reset: reset alone may leave it listed (recorded [266])."""
    gone = _member_out(case, friend)
    if gone is not None:
        return gone
    if case.node is not None:
        return acting("Bootstrapping", effects.DeleteNode(key=case.key, row=case.row, uid=case.node.uid))
    return acting("Bootstrapping", effects.Reset(key=case.key, row=case.row))


def _member_out(case: Case, friend: Machine) -> Plan | None:
    if not case.control_plane or case.member is None:
        return None
    step = effects.RemoveMember(key=case.key, row=case.row, peer=friend, member=case.member.id)
    return acting("Bootstrapping", step)


def joined(row: Machine) -> PutMachine:
    """Return the change that remembers a machine as a member; its strikes are forgiven."""
    return PutMachine(replace(row, joined=True, strikes=0))
