"""The shipped alert is evaluated as it is written, and any other form is refused."""

from pathlib import Path

import pytest
import yaml

import cpcd
from cpcd.lab.demo.alert import fires, holds, samples
from cpcd.lab.demo.story import ALERT

DOWN, UP = {'cpcd_endpoint_up{endpoint="pve:home"}': 0.0}, {'cpcd_endpoint_up{endpoint="pve:home"}': 1.0}
EXPR = 'cpcd_endpoint_up{endpoint=~"pve:.*"} == 0'
RULE = {"alert": "Silent", "expr": EXPR, "for": "2m"}


@pytest.mark.parametrize(
    ("expr", "series", "value", "expected"),
    [
        (EXPR, 'cpcd_endpoint_up{endpoint="pve:home"}', 0.0, True),
        (EXPR, 'cpcd_endpoint_up{endpoint="pve:home"}', 1.0, False),
        (EXPR, 'cpcd_endpoint_up{endpoint="kube:pve:home"}', 0.0, False),
        (EXPR, 'cpcd_endpoint_up{site="x",endpoint="pve:home"}', 0.0, True),
        (EXPR, 'cpcd_endpoint_up{site="pve:home"}', 0.0, False),
        (EXPR, 'cpcd_endpoint_up_total{endpoint="pve:home"}', 0.0, False),
        (EXPR, "cpcd_endpoint_up", 0.0, False),
        ('a{b=~".*"} >= 1.5', "a", 1.5, True),
        ("cpcd_spec_valid == 0", "cpcd_spec_valid", 0.0, True),
        ("a != 0", "a", 0.0, False),
        ("a < 2", "a", 1.0, True),
        ("a <= 1", "a", 2.0, False),
        ("a > -1", "a", 0.0, True),
    ],
)
def test_one_comparison_of_one_metric_is_evaluated(expr: str, series: str, value: float, expected: bool) -> None:
    """As PromQL does: the regular expression is anchored at both ends, a missing label is empty."""
    assert expected == holds(expr, {series: value})


@pytest.mark.parametrize(
    "expr",
    [
        "absent(cpcd_build_info)", "a == 0 or b == 0", 'a{b="c"} == 0', 'a{b=~"c",d=~"e"} == 0', "a == bool 0", "a", "",
        "sum(a) == 0", 'a{b=~"\\\\d"} == 0', "a == 0 # never", "rate(a[5m]) > 0",
    ],
)  # fmt: skip
def test_every_other_form_is_refused(expr: str) -> None:
    """An expression that is not understood proves nothing."""
    with pytest.raises(ValueError, match="the demo evaluates"):
        holds(expr, DOWN)


def test_the_shipped_alert_is_of_the_form_that_is_evaluated() -> None:
    """It holds for a silent Proxmox and for no other endpoint."""
    groups = yaml.safe_load((Path(cpcd.__file__).parent / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))
    (rule,) = (rule for group in groups["groups"] for rule in group["rules"] if rule.get("alert") == ALERT)

    assert (True, False) == (holds(rule["expr"], DOWN), holds(rule["expr"], UP))
    assert fires(rule, [(0.0, UP), *((10.0 * n, DOWN) for n in range(1, 30))]).holds


@pytest.mark.parametrize(
    ("scrapes", "expected"),
    [
        ([(0.0, UP), (10.0, DOWN), (130.0, DOWN)], True),
        ([(0.0, UP), (10.0, DOWN), (129.0, DOWN)], False),
        ([(0.0, UP), (10.0, DOWN), (70.0, UP), (80.0, DOWN), (190.0, DOWN)], False),
        ([(0.0, UP), (10.0, DOWN), (70.0, {}), (80.0, DOWN), (190.0, DOWN)], False),
        ([(0.0, DOWN), (10.0, DOWN), (200.0, DOWN)], False),
        ([(0.0, {}), (10.0, DOWN), (200.0, DOWN)], False),
        ([(0.0, UP), (200.0, UP)], False),
        ([], False),
    ],
)
def test_an_alert_fires_after_its_time_without_a_break(
    scrapes: list[tuple[float, dict[str, float]]], expected: bool
) -> None:
    """It must not have held before, and a page that could not be had breaks it."""
    assert expected == fires(RULE, scrapes).holds


def test_a_page_is_read_by_series() -> None:
    """Comments and empty lines are none."""
    page = '# HELP a b\n# TYPE a gauge\n\na{b="c d"} 1.0\nd 2e3\n'

    assert {'a{b="c d"}': 1.0, "d": 2000.0} == samples(page)
