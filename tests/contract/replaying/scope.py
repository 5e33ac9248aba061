"""What the lab does not claim to answer: the rules of `out_of_scope.toml`, each with its reason.

A rule names calls by pattern (method and path, group, note), never one exchange. Everything else is in scope.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.contract.replaying.recording import Exchange

__all__ = ["RULES", "Rule", "load_rules", "out_of_scope"]

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
