"""Who may do what: tokens, access control lists, the texts of 401 and 403.

A privilege at a path comes from the deepest access control entry above it, plus, for a VM or storage in a pool, from
the pool. Handlers ask here and never look at a token's list themselves. Next: `routes.py`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import Refused, denied, invalid
from cpcd.lab.pve.settings import Token

__all__ = [
    "ROOT", "allowed", "authenticate", "check", "login", "own_permissions", "permitted", "privileges", "refuse_skiplock",
]  # fmt: skip

NO_ROLE: Final[frozenset[str]] = frozenset()
ROOT: Final = "root@pam"
PATH: Final = re.compile(r"[\w./-]+")
ROOTS: Final = (
    "stateuri", "skiplock", "keepActive", "migratedfrom", "migration_type", "migration_network", "targetstorage",
    "force-cpu", "with-conntrack-state", "nets-host-mtu", "nocheck",
)  # fmt: skip
"""Parameters that are for root and for migrations (Qemu.pm)."""
FIXED: Final = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")


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
    if not path:
        return NO_ROLE
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
    """Refuse `skiplock` and the like to all but root@pam with a ticket: no API token may, not even one of root@pam."""
    for name in ROOTS:
        if call.params.get(name) and call.token.id != ROOT:
            raise invalid({name: "Only root may use this option."})


@recorded(49, 874, 904, 918, 942)
@source("RPCEnvironment.pm exec_api2_perm_check")
def permitted(cluster: Cluster, token: Token, permissions: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """Refuse who may not make a call, by what its schema says; root@pam with a ticket may everything."""
    if token.id != ROOT and "check" in permissions:
        _test(cluster, token, permissions["check"], given)


@recorded(49, 52, 57, 61, 62)
def _test(cluster: Cluster, token: Token, test: Sequence[Any], given: Mapping[str, str]) -> None:
    kind, *parts = test
    match kind:
        case "and":
            for part in parts:
                _test(cluster, token, part, given)
        case "or":
            if not any(_passes(cluster, token, part, given) for part in parts):
                raise denied()
        case "perm":
            template, names, *options = parts
            if "require_param" in options and options[options.index("require_param") + 1] not in given:
                raise denied()
            _look(cluster, token, _path(template, given), names, any_of="any" in options)


def _passes(cluster: Cluster, token: Token, test: Sequence[Any], given: Mapping[str, str]) -> bool:
    try:
        _test(cluster, token, test, given)
    except Refused:
        return False
    return True


@recorded(874)
@source("Tools.pm template_replace", "AccessControl.pm normalize_path")
def _path(template: str, given: Mapping[str, str]) -> str:
    """Fill a path's `{names}`, `-` for what is not given; what can be no path is empty, and nobody may anything there."""
    path = re.sub(r"\{(\w+)\}", lambda found: given.get(found[1]) or "-", template)
    path = re.sub(r"/+", "/", path).removesuffix("/") or "/"
    return path if PATH.fullmatch(path) else ""


def _look(cluster: Cluster, token: Token, path: str, names: Sequence[str], *, any_of: bool) -> None:
    for one in [names] if any_of else [[name] for name in names]:
        check(cluster, token, path, *one)


@recorded(3, 4, 5)
def login(cluster: Cluster, _call: Call) -> None:
    """Refuse every password: the lab has tokens only. This 401 does carry a body."""
    raise Refused(401, "authentication failure", seconds=cluster.durations.denial)


@recorded(53, 54, 55, 961)
@schema("/access/permissions")
@source("API2/AccessControl.pm permissions", "RPCEnvironment.pm get_effective_permissions")
def own_permissions(cluster: Cluster, call: Call) -> dict[str, dict[str, int]]:
    """Return path -> privilege -> 1 where granted, 0 where it comes from a pool and does not propagate.

    Paths are those that anybody has a grant at or that are in a pool, without those at which nothing is granted; one
    that is asked for is there in any case. Another's are shown to who may audit access.
    """
    name = call.params.get("userid", call.token.id)
    if call.token.id not in {name, name.partition("!")[0]}:
        check(cluster, call.token, "/access", "Sys.Audit")
    whose = cluster.accounts.get(name, Token(name, "", {}))
    if path := call.params.get("path"):
        return {path: _granted(cluster, whose, path)}
    granted = {path for token in cluster.accounts.values() for path in token.acl}
    shown = {path: _granted(cluster, whose, path) for path in sorted({*FIXED, *granted, *_pooled(cluster)})}
    return {path: privileges for path, privileges in shown.items() if privileges}


def _pooled(cluster: Cluster) -> set[str]:
    vms = {f"/vms/{vmid}" for pool in cluster.pools.values() for vmid in pool.vms}
    return vms | {f"/storage/{name}" for pool in cluster.pools.values() for name in pool.storages}


def _granted(cluster: Cluster, token: Token, path: str) -> dict[str, int]:
    propagates = _inherited(token.acl, path)
    return {name: int(name in propagates) for name in sorted(privileges(cluster, token, path))}
