"""Evaluates a shipped alert on scraped metrics: one comparison of one metric, which is all that the demo's alert is.

What it does not understand it refuses, so that an alert that was changed is never proved by accident. Pure.
"""

import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cpcd.lab.demo.proofs import Proof

__all__ = ["Metrics", "fires", "holds", "samples"]

Metrics = Mapping[str, float]  # by series as the page has it: `name{label="value"}`

_FORM: Final = re.compile(r'(\w+)(?:\{(\w+)=~"([^"\\]*)"\})? (==|!=|<=|>=|<|>) (-?\d+(?:\.\d+)?)')
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_COMPARE: Final = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


def samples(page: str) -> Metrics:
    """Return the samples of a metrics page."""
    lines = (line.rpartition(" ") for line in page.splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


def holds(expr: str, metrics: Metrics) -> bool:
    """Tell whether any series satisfies `name{label=~"regex"} op number`; raises ValueError for every other form."""
    form = _FORM.fullmatch(expr)
    if form is None:
        raise ValueError(f"the demo evaluates name{{label=~regex}} op number, not {expr!r}")
    name, label, pattern, compare, number = form.groups()
    return any(
        _COMPARE[compare](value, float(number))
        for series, value in metrics.items()
        if series.partition("{")[0] == name and (not label or _matches(series, label, pattern))
    )


def fires(rule: Mapping[str, Any], scrapes: Sequence[tuple[float, Metrics]]) -> Proof:
    """Judge whether an alert that did not hold at the first scrape held for its `for:` without a break.

    Scrapes are (lab time, metrics); a page that could not be had is a break.
    """
    longest, since = 0.0, None
    for time, metrics in scrapes:
        since = (time if since is None else since) if holds(rule["expr"], metrics) else None
        longest = max(longest, time - since) if since is not None else longest
    calm = bool(scrapes) and bool(scrapes[0][1]) and not holds(rule["expr"], scrapes[0][1])
    statement = f"alert {rule['alert']} held for its {rule['for']}, and did not before"
    return Proof(statement, calm and longest >= _seconds(rule["for"]), f"{rule['expr']}: {longest:.0f} s")


def _matches(series: str, label: str, pattern: str) -> bool:
    """As in PromQL: the whole value, and a label that is missing is empty."""
    return re.fullmatch(pattern, dict(_LABEL.findall(series)).get(label, "")) is not None


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * _UNITS[duration[-1]]
