"""One call on its way to a handler, and what a handler hands back.

A handler is `(cluster, call) -> data`; it raises `Refused` for everything else. Next: `routes.py`, the table of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.settings import Token

__all__ = ["Call", "Handler", "Reply"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `path` are the components that the route's template names, `raw` all parameters as text, path included.

    `params` are the checked parameters; numbers and booleans in them are int.
    """

    token: Token
    path: Mapping[str, str]
    raw: Mapping[str, str]
    params: Mapping[str, Any]

    @property
    def node(self) -> str:
        """The node in the path."""
        return self.path["node"]

    @property
    def vmid(self) -> int:
        """The VMID in the path."""
        return int(self.path["vmid"])

    @property
    def user(self) -> str:
        """The token's user without the token's name."""
        return self.token.id.partition("!")[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with more than `data`: other top-level fields, and the seconds that it blocked."""

    data: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0


Handler = Callable[[Cluster, Call], Any]
