"""When certificates end: of each machine, as it was last seen from inside, and of the written kubeconfig.

Authorities are left out: they last ten years and no step of anybody's renews them in passing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cpcd.model.keys import Kind, Wall
from cpcd.model.seen import Facts
from cpcd.model.view import View
from cpcd.plan import scopes

__all__ = ["RENEW_BEFORE", "Expiry", "expiries", "expiring"]

RENEW_BEFORE: Final = 30 * 86400.0  # seconds: `certificates.renewBefore` (spec.md), failures.md K14


@dataclass(frozen=True, slots=True)
class Expiry:
    """One certificate: whose it is, kubeadm's name for it, and the wall time at which it ends."""

    kind: Kind
    name: str
    certificate: str
    ends: Wall


def expiries(view: View, cluster: str) -> Iterable[Expiry]:
    """Yield what is known now; a machine that was not seen from inside yet has none."""
    written = view.known(scopes.kubeconfig(cluster))
    if written is not None:
        yield Expiry(Kind.KUBECONFIG, "admin", "admin.conf", Wall(written.expires))
    for row in view.rows(cluster):
        seen: Facts | None = view.known(scopes.guest(row))
        for name, ends in sorted(seen.certificates.items()) if seen is not None else ():
            if not _authority(name):
                yield Expiry(Kind.MACHINE, row.name, name, Wall(ends))


def expiring(view: View, cluster: str) -> list[Expiry]:
    """Return the certificates that end within `RENEW_BEFORE` or have ended, the first to end first."""
    soon = (one for one in expiries(view, cluster) if one.ends - view.wall < RENEW_BEFORE)
    return sorted(soon, key=lambda one: (one.ends, one.name))


def _authority(name: str) -> bool:
    return name == "ca" or name.endswith("-ca")
