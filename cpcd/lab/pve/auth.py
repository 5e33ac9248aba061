"""Who may do what: tokens, access control lists, the texts of 401 and 403.

A privilege at a path comes from the deepest access control entry above it, plus, for a VM or storage in a pool, from
the pool. Handlers ask here and never look at a token's list themselves. Next: `routes.py`.
"""

from collections.abc import Mapping

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.call import Call, Check
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import Refused, denied
from cpcd.lab.pve.settings import Token

__all__ = ["allowed", "authenticate", "check", "login", "own_permissions", "perm", "privileges"]

NO_ROLE: frozenset[str] = frozenset()


@recorded(1, 44, 45, 46, 47)
def authenticate(cluster: Cluster, raw: str) -> Token:
    """Return the token that a request carries; refuses with an empty-bodied 401 after 3 s."""
    claimed, _, secret = raw.partition("=")
    for token in cluster.settings.tokens:
        if token.id == claimed and token.secret == secret:
            return token
    text = "Authentication failed!" if raw else "No ticket"
    raise Refused(401, text, seconds=cluster.durations.denial, body=False)


def _inherited(acl: Mapping[str, frozenset[str]], path: str) -> frozenset[str]:
    while path not in acl and path != "/":
        path = path.rpartition("/")[0] or "/"
    return acl.get(path, NO_ROLE)


@source("AccessControl.pm roles")
def privileges(cluster: Cluster, token: Token, path: str) -> frozenset[str]:
    """Return the privileges of a token at a path such as `/vms/100`."""
    granted = _inherited(token.acl, path)
    _, _, rest = path.partition("/")
    kind, _, name = rest.partition("/")
    for pool_id, pool in cluster.pools.items():
        if (kind == "vms" and name.isdigit() and int(name) in pool.vms) or (
            kind == "storage" and name in pool.storages
        ):
            granted |= _inherited(token.acl, f"/pool/{pool_id}")
    return granted


def allowed(cluster: Cluster, token: Token, path: str, *any_of: str) -> bool:
    """Tell whether a token has one of these privileges at a path."""
    return not privileges(cluster, token, path).isdisjoint(any_of)


@recorded(49, 62, 904, 920, 922)
def check(cluster: Cluster, token: Token, path: str, *any_of: str) -> None:
    """Refuse with a 403 that names the path and the privileges."""
    if not allowed(cluster, token, path, *any_of):
        raise denied(f"{path}, {'|'.join(any_of)}")


def perm(template: str, *any_of: str) -> Check:
    """Make a route's check; the template's `{names}` are filled from path and parameters, empty where absent."""

    def run(cluster: Cluster, call: Call) -> None:
        values = {"vmid": "", "poolid": "", "storage": ""} | dict(call.raw) | dict(call.path)
        check(cluster, call.token, template.format_map(values), *any_of)

    return run


@recorded(3, 4, 5)
def login(cluster: Cluster, _call: Call) -> None:
    """Refuse every password: the lab has tokens only. This 401 does carry a body."""
    raise Refused(401, "authentication failure", seconds=cluster.durations.denial)


@recorded(53, 54, 55, 961)
@schema("/access/permissions")
def own_permissions(cluster: Cluster, call: Call) -> dict[str, dict[str, int]]:
    """Return path -> privilege -> 1 where granted, 0 where it comes from a pool and does not propagate."""
    token = call.token
    if path := call.params.get("path"):
        return {path: dict.fromkeys(sorted(privileges(cluster, token, path)), 1)}
    shown = {path: dict.fromkeys(sorted(granted), 1) for path, granted in token.acl.items() if granted}
    for pool_id, pool in cluster.pools.items():
        for path in [f"/vms/{vmid}" for vmid in sorted(pool.vms)] + [
            f"/storage/{name}" for name in sorted(pool.storages)
        ]:
            granted = _inherited(token.acl, f"/pool/{pool_id}") - _inherited(token.acl, path)
            if granted:
                shown.setdefault(path, {}).update(dict.fromkeys(sorted(granted), 0))
    return shown
