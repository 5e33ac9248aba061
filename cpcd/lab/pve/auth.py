"""Who may do what: tokens, access control lists, the texts of 401 and 403.

A privilege at a path comes from the deepest access control entry above it, plus, for a VM or storage in a pool, from
the pool. Handlers ask here and never look at a token's list themselves. Next: `routes.py`.
"""

import re
from collections.abc import Mapping

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.call import Call, Check
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import Refused, denied, invalid
from cpcd.lab.pve.settings import Token

__all__ = [
    "ROOT", "allowed", "authenticate", "check", "login", "own_permissions", "perm", "privileges", "refuse_skiplock",
]  # fmt: skip

NO_ROLE: frozenset[str] = frozenset()


ROOT = "root@pam"
PATH = re.compile(r"/[\w./@+-]*")
FIXED = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")


@recorded(1, 44, 45, 46, 47)
def authenticate(cluster: Cluster, raw: str) -> Token:
    """Return the token that a request carries; refuses with an empty-bodied 401 after 3 s.

    A ticket begins with `PVE:` and names a user; a token names a user and itself.
    """
    claimed, _, secret = raw.partition("=")
    ticket, name = claimed.startswith("PVE:"), claimed.removeprefix("PVE:")
    token = cluster.accounts.get(name)
    if token and token.secret == secret and ticket != ("!" in name):
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


@recorded(462, 463, 793, 1208, 1209)
def refuse_skiplock(call: Call) -> None:
    """Refuse `skiplock` to all but root@pam with a ticket: no API token may use it, not even one of root@pam."""
    for name in ("skiplock", "keepActive", "migratedfrom"):
        if call.params.get(name) and call.token.id != ROOT:
            raise invalid({name: "Only root may use this option."})


def perm(template: str, *any_of: str) -> Check:
    """Make a route's check; the template's `{names}` are filled from path and parameters, empty where absent.

    What is no path for access control is refused to everybody, with an empty one in the text (recorded 874).
    """

    def run(cluster: Cluster, call: Call) -> None:
        values = {"vmid": "", "poolid": "", "storage": ""} | dict(call.raw) | dict(call.path)
        path = template.format_map(values)
        if not PATH.fullmatch(path):
            raise denied(f", {'|'.join(any_of)}")
        check(cluster, call.token, path, *any_of)

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
    paths = {path: privileges(cluster, token, path) for path in (*FIXED, *token.acl)}
    shown = {path: dict.fromkeys(sorted(granted), 1) for path, granted in paths.items() if granted}
    for pool_id, pool in cluster.pools.items():
        members = [f"/vms/{vmid}" for vmid in sorted(pool.vms)] + [f"/storage/{name}" for name in sorted(pool.storages)]
        for path in members:
            granted = _inherited(token.acl, f"/pool/{pool_id}") - _inherited(token.acl, path)
            if granted:
                shown.setdefault(path, {}).update(dict.fromkeys(sorted(granted), 0))
    return shown
