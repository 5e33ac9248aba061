"""Prometheus metrics: one table, one registry of our own, every label set known beforehand set to zero.

The docs page, the alert rules' test and the registry are made from `METRICS`. Object names stand on gauges only, so
that counters do not grow with the fleet (house rule: no metric without its row here).
"""

import platform
from collections import Counter as Counts
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from cpcd import __version__
from cpcd.model.errors import Code
from cpcd.model.keys import Key, Kind, Role, Wall
from cpcd.model.plan import Status
from cpcd.model.report import Outcome, Pass
from cpcd.model.view import View
from cpcd.plan import effects, scopes
from cpcd.plan.certificates import expiries
from cpcd.plan.fleet import RetireMachine
from cpcd.status.cluster import cluster_conditions
from cpcd.status.report import Board, SpecState
from cpcd.status.words import called

__all__ = ["METRICS", "Metric", "Metrics", "Vitals"]

BUCKETS: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table; `name` is as it is scraped."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...] = ()


PROCESS: Final = "process"  # what the client library itself says of any process, under the names that all of them have
VERBS: Final = tuple(sorted({RetireMachine.verb, effects.Hold.verb, *effects.OPS}))  # what becomes an operation
_OBJECT: Final = ("cluster", "site", "kind", "name")  # `site` for what belongs to a Proxmox, which has no cluster

METRICS: Final[tuple[Metric, ...]] = (
    Metric("cpcd_build_info", "gauge", "Always 1; the version that runs.", ("version", "python")),
    Metric("cpcd_reconcile_total", "counter", "Passes by their result.", ("kind", "result")),
    Metric(
        "cpcd_reconcile_errors_total", "counter", "Passes that failed or were refused, by error code.", ("kind", "code")
    ),
    Metric("cpcd_reconcile_duration_seconds", "histogram", "How long a pass took.", ("kind",)),
    Metric(
        "cpcd_last_success_timestamp_seconds",
        "gauge",
        "Wall time of the last pass that did not fail, 0 before the first.",
        ("kind",),
    ),
    Metric("cpcd_queue_depth", "gauge", "Keys that wait to be looked at."),
    Metric("cpcd_queue_oldest_seconds", "gauge", "How long the oldest of them has waited."),
    Metric("cpcd_backoff_keys", "gauge", "Keys that wait because they failed."),
    Metric("cpcd_object_ready", "gauge", "1 when the object is as wanted, 0 when not or unknown.", _OBJECT),
    Metric("cpcd_degraded", "gauge", "1 when the object failed its class's number of times in a row.", _OBJECT),
    Metric("cpcd_stalled", "gauge", "1 when only a person or the world can change it.", _OBJECT),
    Metric(
        "cpcd_endpoint_up",
        "gauge",
        "1 when the endpoint (pve:SITE, kube:CLUSTER) answers and takes our credentials.",
        ("endpoint",),
    ),
    Metric(
        "cpcd_certificate_expiration_timestamp_seconds",
        "gauge",
        "Wall time at which a certificate ends: of a machine as last seen from inside, of the written kubeconfig.",
        (*_OBJECT, "certificate"),
    ),
    Metric(
        "cpcd_etcd_snapshot_timestamp_seconds",
        "gauge",
        "Wall time of the last etcd snapshot that cpcd saved and verified; before the first, of the oldest control plane.",
        ("cluster",),
    ),
    Metric("cpcd_ops_open", "gauge", "Operations on their way, by verb.", ("verb",)),
    Metric(
        "cpcd_observation_age_seconds",
        "gauge",
        "Age of the oldest observation, by kind of scope; 0 where there is none, or where it is for an operation on its way.",
        ("scope",),
    ),
    Metric("cpcd_spec_valid", "gauge", "1 when the file as it stands is in force, 0 while it has a mistake."),
    Metric("cpcd_spec_uncommitted", "gauge", "1 when the file has an edit that is not committed."),
    Metric("cpcd_spec_generation_info", "gauge", "Always 1; the generation in force.", ("generation",)),
    Metric("cpcd_ledger_writable", "gauge", "1 when the ledger can be written, 0 while nothing is changed for that."),
    Metric("process_open_fds", PROCESS, "Files and sockets that the daemon has open."),
    Metric("process_max_fds", PROCESS, "How many it may have open."),
    Metric("process_resident_memory_bytes", PROCESS, "Memory that it holds."),
    Metric("process_virtual_memory_bytes", PROCESS, "Memory that it has reserved."),
    Metric("process_cpu_seconds_total", PROCESS, "Processor time that it has used, a counter."),
    Metric("process_start_time_seconds", PROCESS, "Wall time at which it was started."),
)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the loop and the observer tell of themselves at one moment; ages and waits in seconds."""

    queue_depth: int = 0
    queue_oldest: float = 0.0
    backoff_keys: int = 0
    ledger_writable: bool = True
    observation_ages: Mapping[str, float] = field(default_factory=dict)


class Metrics:
    """The registry. `note` is called for each pass, `refresh` before each scrape."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it unannotated; a `_created` series beside each counter doubles the page for nothing
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        ProcessCollector(registry=self.registry)
        for metric in METRICS:
            self._register(metric)
        for kind in Kind:
            self._preset(kind)
        self._gauges["cpcd_build_info"].labels(__version__, platform.python_version()).set(1)
        self._gauges["cpcd_ledger_writable"].set(1)

    def note(self, done: Pass, at: Wall) -> None:
        """Count one pass."""
        kind = done.key.kind.value
        self._counters["cpcd_reconcile_total"].labels(kind, done.outcome.value).inc()
        self._histograms["cpcd_reconcile_duration_seconds"].labels(kind).observe(done.duration)
        if done.failure is not None:
            self._counters["cpcd_reconcile_errors_total"].labels(kind, str(done.failure.code)).inc()
        if done.outcome is not Outcome.FAILED:
            self._gauges["cpcd_last_success_timestamp_seconds"].labels(kind).set(at)

    def refresh(self, view: View, board: Board, vitals: Vitals) -> None:
        """Set every gauge to what holds now; label sets of objects that are gone disappear."""
        for name, value in _plain(board.spec, vitals).items():
            self._gauges[name].set(value)
        self._replace("cpcd_spec_generation_info", {(board.spec.generation,): 1.0} if board.spec.generation else {})
        self._replace("cpcd_endpoint_up", {(name,): float(one.up) for name, one in board.endpoints.items()})
        ages = {**dict.fromkeys(scopes.__all__, 0.0), **vitals.observation_ages}
        self._replace("cpcd_observation_age_seconds", {(name,): age for name, age in ages.items()})
        self._replace("cpcd_certificate_expiration_timestamp_seconds", _certificates(view))
        self._replace("cpcd_etcd_snapshot_timestamp_seconds", _snapshots(view))
        opened = Counts(op.verb for op in view.ops.values())
        self._replace("cpcd_ops_open", {(verb,): float(opened[verb]) for verb in {*VERBS, *opened}})
        for name, condition in (("object_ready", "Ready"), ("degraded", "Degraded"), ("stalled", "Stalled")):
            self._replace(f"cpcd_{name}", _objects(view, board, condition))

    def render(self) -> bytes:
        """Return the exposition in Prometheus's text format."""
        return generate_latest(self.registry)

    def _register(self, metric: Metric) -> None:
        match metric.type:
            case "counter":
                self._counters[metric.name] = Counter(metric.name, metric.help, metric.labels, registry=self.registry)
            case "histogram":
                self._histograms[metric.name] = Histogram(
                    metric.name, metric.help, metric.labels, registry=self.registry, buckets=BUCKETS
                )
            case "gauge":
                self._gauges[metric.name] = Gauge(metric.name, metric.help, metric.labels, registry=self.registry)

    def _preset(self, kind: Kind) -> None:
        """Make every series exist from the first scrape on, so that `increase()` sees the first error."""
        for outcome in Outcome:
            self._counters["cpcd_reconcile_total"].labels(kind.value, outcome.value)
        for code in Code:
            self._counters["cpcd_reconcile_errors_total"].labels(kind.value, str(code))
        self._histograms["cpcd_reconcile_duration_seconds"].labels(kind.value)
        self._gauges["cpcd_last_success_timestamp_seconds"].labels(kind.value)

    def _replace(self, name: str, series: Mapping[tuple[str, ...], float]) -> None:
        gauge = self._gauges[name]
        # Else what is gone would keep its last value for ever.
        gauge.clear()
        for labels, value in series.items():
            gauge.labels(*labels).set(value)


def _plain(spec: SpecState, vitals: Vitals) -> dict[str, float]:
    return {
        "cpcd_queue_depth": vitals.queue_depth,
        "cpcd_queue_oldest_seconds": vitals.queue_oldest,
        "cpcd_backoff_keys": vitals.backoff_keys,
        "cpcd_ledger_writable": float(vitals.ledger_writable),
        "cpcd_spec_valid": float(spec.valid),
        "cpcd_spec_uncommitted": float(spec.uncommitted),
    }


def _objects(view: View, board: Board, condition: str) -> dict[tuple[str, ...], float]:
    series: dict[tuple[str, ...], float] = {
        (*key.owner.values(), key.kind.value, called(view, key)): float(report.holds(condition))
        for key, report in board.objects.items()
    }
    return series | (_clusters(view, board, condition) if condition != "Stalled" else {})


def _certificates(view: View) -> dict[tuple[str, ...], float]:
    names = {*view.desired.clusters, *view.ledger.rows}
    found = ((name, one) for name in sorted(names) for one in expiries(view, name))
    return {(name, "", one.kind.value, one.name, one.certificate): one.ends for name, one in found}


def _snapshots(view: View) -> dict[tuple[str, ...], float]:
    """Return how old a loss of etcd would make each cluster that there is: without a snapshot, as young as itself."""
    there = (name for name in view.desired.clusters if f"identity/{name}" in view.facts)
    return {(name,): view.facts.get(f"snapshot/{name}") or _begun(view, name) for name in there}


def _begun(view: View, cluster: str) -> float:
    return min((row.created for row in view.rows(cluster) if row.role is Role.CONTROL_PLANE), default=view.wall)


def _clusters(view: View, board: Board, condition: str) -> dict[tuple[str, ...], float]:
    """Return what the cluster's report says as a whole: Ready as computed, Degraded where an endpoint is down.

    A machine that is Degraded has a series of its own and is not counted a second time here.
    """
    series: dict[tuple[str, ...], float] = {}
    for name in view.desired.clusters:
        found = next(c for c in cluster_conditions(view, board, name) if c.type == condition)
        own = board.objects.get(Key(name, Kind.CLUSTER, name))
        holds = found.status is Status.TRUE and (condition == "Ready" or found.reason == "EndpointDown")
        degraded = condition == "Degraded" and own is not None and own.holds("Degraded")
        series[name, "", Kind.CLUSTER.value, name] = float(holds or degraded)
    return series
