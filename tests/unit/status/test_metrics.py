"""What Prometheus scrapes."""

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Kind
from cpcd.model.ledger import Ledger
from cpcd.model.report import Outcome
from cpcd.plan import scopes
from cpcd.ports.bundle import WrittenKubeconfig
from cpcd.status import METRICS, Metrics, SpecState, Vitals
from tests.unit.status.scene import CP, NOW, SITE, W1, complete, done, down, inside, key, settled, view, with_op


def scraped(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of the exposition by name and label values, in the order of the labels' names."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def refreshed(**vitals: object) -> Metrics:
    """Metrics of the settled scene."""
    metrics = Metrics()
    metrics.refresh(view(), settled(), Vitals(**vitals))
    return metrics


def test_every_series_exists_before_its_first_event() -> None:
    """`increase()` sees the first error only if the series was zero before."""
    samples = scraped(refreshed())
    results = {("cpcd_reconcile_total", (kind.value, outcome.value)) for kind in Kind for outcome in Outcome}
    errors = {("cpcd_reconcile_errors_total", (str(code), kind.value)) for kind in Kind for code in Code}
    successes = {("cpcd_last_success_timestamp_seconds", (kind.value,)) for kind in Kind}
    ages = {("cpcd_observation_age_seconds", (name,)) for name in ("vm", "guest", "api", "nodes", "etcd")}
    open_ = {("cpcd_ops_open", (verb,)) for verb in ("clone", "join", "reboot", "retire", "destroy", "etcd-snapshot")}

    assert {0.0} == {samples[name] for name in results | errors | successes | ages | open_}


def test_the_table_and_the_page_name_the_same_metrics() -> None:
    """What is documented is scraped, and nothing else is."""
    suffixes = ("_bucket", "_count", "_sum")
    metrics = refreshed(observation_ages={"vm": 3.0})
    here = with_op(view(facts={"snapshot/home": NOW}), W1, "start")
    metrics.refresh(here, settled(), Vitals(observation_ages={"vm": 3.0}))
    metrics.note(done(key(W1)), NOW)
    found = {name for name, _ in scraped(metrics)}
    plain = {name.removesuffix(next((s for s in suffixes if name.endswith(s)), "")) for name in found}

    assert {metric.name for metric in METRICS} == plain


def test_every_certificate_has_a_series_but_those_of_authorities() -> None:
    """Whose it is stands in the labels; the kubeconfig counts with the machines'."""
    written = WrittenKubeconfig("https://x:6443", "home", "sha256:aa", NOW + 5)
    metrics = Metrics()
    metrics.refresh(
        view(CP, W1).with_seen({scopes.kubeconfig("home"): complete(written)} | inside(W1, kubelet=1, ca=1)),
        settled(),
        Vitals(),
    )
    name = "cpcd_certificate_expiration_timestamp_seconds"

    assert {
        ("kubelet", "home", "machine", CP.name, ""): NOW + 365 * 86400,
        ("kubelet", "home", "machine", W1.name, ""): NOW + 86400,
        ("admin.conf", "home", "kubeconfig", "admin", ""): NOW + 5,
    } == {labels: value for (found, labels), value in scraped(metrics).items() if found == name}


def test_a_cluster_tells_how_old_its_etcd_is_saved() -> None:
    """One that was never saved is as old as its oldest control plane; one that was never made has no series."""
    name, old = "cpcd_etcd_snapshot_timestamp_seconds", replace(CP, created=NOW - 500)
    unmade = replace(view(old), ledger=Ledger({old.uid: old}))
    ages = []
    for seen in (unmade, view(old, W1), view(old, W1, facts={"snapshot/home": NOW - 60})):
        metrics = Metrics()
        metrics.refresh(seen, settled(), Vitals())
        ages.append(scraped(metrics).get((name, ("home",))))

    assert [None, NOW - 500, NOW - 60] == ages


def test_passes_are_counted_by_kind_result_and_code() -> None:
    """A failure and a refusal count twice: as a result and under their code; what did not fail leaves its time."""
    metrics = Metrics()
    metrics.note(done(key(W1), Outcome.FAILED, "no", failure=Failure(Code.AUTH, "no")), NOW)
    metrics.note(done(key(W1)), NOW)
    metrics.note(done(key(W1), Outcome.REFUSED, "no", failure=Failure(Code.CONFIG, "no")), NOW)
    samples = scraped(metrics)
    names = [
        ("cpcd_reconcile_errors_total", ("CPCD-102", "machine")),
        ("cpcd_reconcile_total", ("machine", "refused")),
        ("cpcd_reconcile_total", ("machine", "failed")),
        ("cpcd_reconcile_total", ("machine", "settled")),
        ("cpcd_reconcile_errors_total", ("CPCD-101", "machine")),
        ("cpcd_reconcile_duration_seconds_count", ("machine",)),
        ("cpcd_last_success_timestamp_seconds", ("machine",)),
    ]

    assert [1, 1, 1, 1, 1, 3, NOW] == [samples[name] for name in names]


def test_gauges_tell_what_holds_now() -> None:
    """Objects go by the names that people know; endpoints, spec and queue are there."""
    samples = scraped(refreshed(queue_depth=2, queue_oldest=1.5, backoff_keys=1, observation_ages={"vm": 3.0}))
    names = {
        ("cpcd_object_ready", ("home", "machine", CP.name, "")): 1,
        ("cpcd_degraded", ("home", "machine", CP.name, "")): 0,
        ("cpcd_endpoint_up", (f"pve:{SITE}",)): 1,
        ("cpcd_spec_generation_info", ("abc123",)): 1,
        ("cpcd_spec_valid", ()): 1,
        ("cpcd_queue_depth", ()): 2,
        ("cpcd_queue_oldest_seconds", ()): 1.5,
        ("cpcd_backoff_keys", ()): 1,
        ("cpcd_observation_age_seconds", ("vm",)): 3,
        ("cpcd_ledger_writable", ()): 1,
    }

    assert names == {name: samples[name] for name in names}


def test_a_series_goes_with_its_object() -> None:
    """A machine that was destroyed does not stay in the metrics as not ready."""
    metrics, board = refreshed(), settled()
    board.forget(key(W1))
    metrics.refresh(view(), board, Vitals())

    assert ("cpcd_object_ready", ("home", "machine", W1.name, "")) not in scraped(metrics)


@pytest.mark.parametrize(("endpoint", "expected"), [(f"pve:{SITE}", 1.0), ("pve:other", 0.0)])
def test_a_cluster_whose_proxmox_is_silent_is_degraded(endpoint: str, expected: float) -> None:
    """Its keys are parked and fail no more, so the silence itself must raise the series that alerts."""
    metrics, board = Metrics(), settled()
    board.endpoints = down(endpoint)
    metrics.refresh(view(), board, Vitals())

    assert expected == scraped(metrics)["cpcd_degraded", ("home", "cluster", "home", "")]


def test_a_mistake_and_an_edit_are_metrics() -> None:
    """Both states of the file can be alerted on."""
    metrics, board = Metrics(), settled()
    board.spec = SpecState("g", ("cluster.yaml:1:1: no",), uncommitted=True)
    metrics.refresh(replace(view()), board, Vitals(ledger_writable=False))
    samples = scraped(metrics)

    assert [0, 1, 0] == [samples[f"cpcd_{n}", ()] for n in ("spec_valid", "spec_uncommitted", "ledger_writable")]
