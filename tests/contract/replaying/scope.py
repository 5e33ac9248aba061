"""What the lab does not claim to answer: the rules of `out_of_scope.toml`, each with its reason, and what they entail.

A rule names calls by pattern (method and path, group, note), never one exchange. Out of scope as well are the tasks of
such calls, and a VM for as long as one of them has made it highly available. Everything else is in scope.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.replaying.recording import UPID, Exchange

__all__ = ["RULES", "Rule", "Scope", "load_rules", "out_of_scope"]

RULES = Path(__file__).parents[1] / "out_of_scope.toml"


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of exchange that is left out; every pattern that is given must be found in it."""

    reason: str
    call: str = ""
    group: str = ""
    note: str = ""
    params: str = ""
    raw: str = ""

    def __post_init__(self) -> None:
        assert any((self.call, self.group, self.note, self.params, self.raw)), f"{self.reason}: without a pattern"

    def holds(self, exchange: Exchange) -> bool:
        """Tell whether an exchange is of this kind."""
        params = "&".join(f"{name}={value}" for name, value in exchange.params.items())
        words = ((self.call, exchange.call), (self.group, exchange.group), (self.note, exchange.note))
        return all(
            not pattern or re.search(pattern, text)
            for pattern, text in (*words, (self.params, params), (self.raw, exchange.raw))
        )


def load_rules(path: Path = RULES) -> tuple[Rule, ...]:
    """Read the rules."""
    return tuple(Rule(**rule) for rule in tomllib.loads(path.read_text())["rule"])


def out_of_scope(exchange: Exchange, rules: Sequence[Rule]) -> Rule | None:
    """Return the first rule that leaves an exchange out, None when it is in scope."""
    return next((rule for rule in rules if rule.holds(exchange)), None)


@dataclass(slots=True)
class Scope:
    """The rules, and what they have left out so far."""

    rules: Sequence[Rule]
    tasks: dict[str, Rule] = field(default_factory=dict)
    available: dict[int, Rule] = field(default_factory=dict)

    def left_out(self, exchange: Exchange) -> Rule | None:
        """Return why an exchange is out of scope, None when it is in scope."""
        upid = UPID.search(exchange.path)
        return (
            out_of_scope(exchange, self.rules)
            or (self.tasks.get(upid[0]) if upid else None)
            or self.available.get(exchange.vmid or 0)
        )

    def learn(self, exchange: Exchange, rule: Rule) -> None:
        """Remember the task of an accepted call that was left out, and whose power is the cluster's from now on."""
        if isinstance(exchange.data, str) and UPID.fullmatch(exchange.data):
            self.tasks[exchange.data] = rule
        if exchange.call == "POST /cluster/ha/resources":
            self.available[_service(str(exchange.params.get("sid", "")))] = rule
        if exchange.call.startswith("DELETE /cluster/ha/resources/"):
            self.available.pop(_service(exchange.path), None)


def _service(name: str) -> int:
    """Return the VMID of a service: `vm:500`, or the bare number; 0 of one that is no VM."""
    found = re.search(r"(?:^|/|:|%3A)(\d+)$", name)
    return int(found[1]) if found else 0
