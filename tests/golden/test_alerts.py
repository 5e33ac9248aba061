"""Alert rules: they use metrics that exist, say what to do, and Prometheus itself finds them right."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import cpcd
from cpcd.model.errors import Code
from cpcd.status import METRICS

MONITORING = Path(cpcd.__file__).parent / "monitoring"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PROMTOOL = shutil.which("promtool")


def test_the_alerts_of_the_issue_are_there() -> None:
    """A rule that is lost or renamed shows here."""
    expected = {
        "ReconcileErrors",
        "Degraded",
        "Stalled",
        "ClusterNotReady",
        "SpecInvalid",
        "Absent",
        "Stuck",
        "ProxmoxUnreachable",
        "LedgerNotWritable",
        "CertificateExpiring",
        "CertificateExpired",
        "BackupOld",
        "FilesRunOut",
    }

    assert {f"Cpcd{name}" for name in expected} == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_uses_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    """An expression over a metric that nobody exports would never fire."""
    metrics = {metric.name: set(metric.labels) for metric in METRICS}
    used = re.findall(r"((?:cpcd|process)_[a-z_]+)(?:\{(\w+)[=!~])?", rule["expr"])

    assert [] == [
        (name, label) for name, label in used if name not in metrics or (label and label not in metrics[name])
    ]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_waits_and_says_what_to_do(rule: dict[str, Any]) -> None:
    """Each has a `for`, a severity, a sentence, and the next command; codes are those of the table."""
    notes = rule["annotations"]
    codes = set(re.findall(r"CPCD-(\d+)", notes["description"]))

    assert (True, True, True) == (
        "for" in rule,
        rule["labels"]["severity"] in {"critical", "warning", "info"},
        bool(notes["summary"]),
    )
    assert "`" in notes["description"]
    assert codes <= {str(code.value) for code in Code}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize(
    "args", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]], ids=["check", "test"]
)
def test_prometheus_finds_the_rules_right(args: list[str]) -> None:
    """Syntax, and on made-up series when each fires, when not, and when it ends."""
    done = subprocess.run([str(PROMTOOL), *args], cwd=MONITORING, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
