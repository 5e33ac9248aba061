"""Draining: cordon, then evictions by pod UID, one sweep a pass; budgets are honoured and nothing is forced."""

from cpcd.model.plan import Plan
from cpcd.model.seen import Pod
from cpcd.plan import effects, scopes
from cpcd.plan.case import Case, acting, waiting

__all__ = ["drain"]


def drain(case: Case) -> Plan | None:
    """Return the next step of the drain, None when nothing is left that has to move.

    Without an API nothing can be drained: the plan waits. At the group's `nodeDrainTimeout` the machine is shown as
    stalled, and the sweeps go on.
    """
    if case.node is None:
        return _unreadable(case)
    pods: tuple[Pod, ...] | None = case.view.known(scopes.pods(case.row.cluster, case.row.name))
    moving = [pod for pod in pods or () if _moves(pod)]
    standing = tuple((pod.namespace, pod.name, pod.uid) for pod in moving if not pod.deleting)
    # While pods may still be placed there, what is evicted can come back.
    if not case.node.unschedulable:
        return acting("Draining", effects.Drain(key=case.key, row=case.row, pods=standing))
    if pods is None:
        return waiting("Draining", f"{case.row.name}: its pods cannot be listed now", after=5)
    if not moving:
        return None
    if standing and not _just_swept(case):
        return acting("Draining", effects.Drain(key=case.key, row=case.row, pods=standing))
    return _leaving(case, moving)


def _moves(pod: Pod) -> bool:
    return not (pod.daemon or pod.mirror or pod.finished)


def _leaving(case: Case, moving: list[Pod]) -> Plan:
    names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in moving[:3])
    more = " …" if len(moving) > 3 else ""
    sentence = f"{case.row.name}: waiting for {len(moving)} pods to leave ({names}{more})"
    return waiting("DrainStalled" if _late(case) else "Draining", sentence, after=5)


def _unreadable(case: Case) -> Plan | None:
    seen = case.node_seen
    if seen is not None and seen.complete:
        return None  # the Node is gone: there is nothing to drain
    return waiting("Draining", f"{case.row.name}: its Node cannot be read now", after=5)


def _just_swept(case: Case) -> bool:
    """Evictions are repeated every 5 s, as kubectl does (`failures.md` K13)."""
    swept = case.view.since.get(f"{case.key}/drain")
    return swept is not None and case.view.wall - swept < 5


def _late(case: Case) -> bool:
    hold = case.hold
    return hold is not None and case.view.wall - hold.opened > case.group.drain_timeout
