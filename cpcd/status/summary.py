"""The whole status as one JSON document, and as one sentence for STATUS= and the first line of `cpcd status`.

What the control socket answers to `GET /status` is exactly `document`; the command only lays it out.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from cpcd.model.keys import Key, Kind, Wall
from cpcd.model.ledger import Machine
from cpcd.model.report import Endpoint, Pass
from cpcd.model.view import View
from cpcd.status.cluster import cluster_conditions, counters
from cpcd.status.report import Board, ObjectReport, Standing
from cpcd.status.words import called, expected, outage, told

__all__ = ["document", "joined", "note_clusters", "sentence", "stamp", "title"]

_ORDER: Final = {kind: rank for rank, kind in enumerate(Kind)}


def document(view: View, board: Board, at: Wall) -> dict[str, Any]:
    """Return everything that is known of everything, as JSON values; times are RFC 3339 in UTC.

    Shape: `{sentence, summary, troubles, spec: {generation, valid, mistakes, uncommitted}, endpoints: {name: {up, since, code, message}},
    clusters: [{name, counters, conditions}], objects: [{cluster, site, kind, name, id, ready, sentence, …, conditions}],
    operations: […]}`.
    """
    return {
        "sentence": sentence(view, board),
        "summary": _count(_sorted(view, board)),
        "troubles": _troubles(board),
        "at": stamp(at),
        "spec": _spec(board),
        "endpoints": {name: _endpoint(board.endpoints[name]) for name in sorted(board.endpoints)},
        "clusters": [_cluster(view, board, name, at) for name in _clusters(view)],
        "objects": [_object(view, report) for report in _sorted(view, board)],
        "operations": [_operation(view, op_id, at) for op_id in sorted(view.ops, key=lambda i: view.ops[i].opened)],
    }


def sentence(view: View, board: Board) -> str:
    """Return what matters now as one line: the file's mistake, who is silent, who is ready, the worst object.

    A cluster that waits for a person comes before who is silent: it may be why.
    """
    reports = _sorted(view, board)
    parked = {name for name, endpoint in board.endpoints.items() if not endpoint.up}
    stalled = _having(reports, "Stalled")
    moved = [*stalled, *_having(reports, "Degraded"), *_having(reports, "Progressing")]
    # What only waits for a silent endpoint is told by that endpoint.
    worst = [one for one in moved if one.last.parked not in parked][:1]
    words, parts = [_worst(view, one) for one in worst], [*_troubles(board), _count(reports)]
    explains = any(one in stalled and one.last.key.kind is Kind.CLUSTER for one in worst)
    return joined([*words, *parts] if explains else [*parts, *words])


def _troubles(board: Board) -> list[str]:
    """Return what is wrong with the file and with the ways to the world, each as a sentence."""
    mistakes = [f"spec invalid, {board.spec.kept}: {board.spec.mistakes[0]}"] if board.spec.mistakes else []
    return mistakes + [
        outage(board.endpoints[name]) for name in sorted(board.endpoints) if not board.endpoints[name].up
    ]


def _count(reports: list[ObjectReport]) -> str:
    ready = sum(report.ready for report in reports)
    return f"{ready} of {len(reports)} objects ready" if reports else "nothing to keep yet"


def joined(parts: Sequence[str]) -> str:
    """Return clauses and sentences as one line of sentences."""
    return ". ".join(part.rstrip(".") for part in parts)


def _worst(view: View, report: ObjectReport) -> str:
    done = report.last
    return (
        told(done, called(view, done.key), report.at) if done.failure else f"{title(view, done.key)}: {done.sentence}"
    )


def title(view: View, key: Key) -> str:
    """Return `KIND/NAME` as people call it: a machine by its name, not by its uid."""
    return f"{key.kind}/{called(view, key)}"


def stamp(at: float) -> str:
    """Return a wall time as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _clusters(view: View) -> list[str]:
    return sorted({*view.desired.clusters, *(row.cluster for row in view.machines.values())})


def _sorted(view: View, board: Board) -> list[ObjectReport]:
    def rank(report: ObjectReport) -> tuple[str, int, str]:
        return report.key.cluster, _ORDER[report.key.kind], title(view, report.key)

    return sorted(board.objects.values(), key=rank)


def _having(reports: list[ObjectReport], condition: str) -> list[ObjectReport]:
    """Return the reports for which a condition holds, the one that changed last first."""
    return sorted((r for r in reports if r.holds(condition)), key=lambda r: -r.conditions[condition].since)


def _spec(board: Board) -> dict[str, Any]:
    spec = board.spec
    return {
        "generation": spec.generation,
        "valid": spec.valid,
        "mistakes": list(spec.mistakes),
        "uncommitted": spec.uncommitted,
    }


def _cluster(view: View, board: Board, name: str, at: Wall) -> dict[str, Any]:
    found, wanted = counters(view, board, name), view.cluster(name)
    standings = board.stamp(name, cluster_conditions(view, board, name), at)
    return {
        "name": name,
        "version": wanted.version if wanted else "",
        "endpoint": f"{wanted.endpoint.host}:{wanted.endpoint.port}" if wanted else "",
        "counters": {
            "desiredReplicas": found.desired,
            "replicas": found.replicas,
            "readyReplicas": found.ready,
            "upToDateReplicas": found.up_to_date,
        },
        "conditions": [_condition(standing) for standing in standings],
    }


def _object(view: View, report: ObjectReport) -> dict[str, Any]:
    last, row = report.last, view.row(report.key) if report.key.kind is Kind.MACHINE else None
    return {
        **report.key.owner,
        "kind": report.key.kind.value,
        "name": called(view, report.key),
        "id": report.key.name,
        "ready": report.conditions["Ready"].status.value,
        "reason": report.conditions["Ready"].reason,
        "sentence": last.sentence,
        "outcome": last.outcome.value,
        "run": last.run,
        **_failing(last, report.at),
        "parked": last.parked,
        "failures": last.failures,
        "at": stamp(report.at),
        "nextLook": stamp(report.at + last.next_in) if last.next_in is not None else "",
        **_place(row),
        "conditions": [_condition(standing) for standing in report.conditions.values()],
    }


def _failing(last: Pass, at: Wall) -> dict[str, str]:
    if last.failure is None:
        return {"code": "", "hint": "", "next": ""}
    return {"code": str(last.failure.code), "hint": last.failure.hint, "next": expected(last, at)}


def _place(row: Machine | None) -> dict[str, Any]:
    if row is None:
        return {"group": "", "node": "", "vmid": None, "address": ""}
    return {"group": row.group, "node": row.node, "vmid": row.vmid, "address": row.address}


def note_clusters(view: View, board: Board, at: Wall) -> None:
    """Give the clusters' conditions their transition times, so that these tell when it was and not who asked first."""
    for name in _clusters(view):
        board.stamp(name, cluster_conditions(view, board, name), at)


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    failure = endpoint.failure
    return {
        "up": endpoint.up,
        "since": stamp(endpoint.since),
        "code": str(failure.code) if failure else "",
        "message": outage(endpoint),
    }


def _operation(view: View, op_id: Any, at: Wall) -> dict[str, Any]:
    op = view.ops[op_id]
    return {
        "id": op.id,
        "object": title(view, op.key),
        "cluster": op.key.cluster,
        "verb": op.verb,
        "seconds": max(0, round(at - op.opened)),
    }


def _condition(standing: Standing) -> dict[str, str]:
    return {
        "type": standing.type,
        "status": standing.status.value,
        "reason": standing.reason,
        "message": standing.message,
        "lastTransitionTime": stamp(standing.since),
        "observedGeneration": standing.generation,
    }
