"""Resource pools: who is in which, and the words that Proxmox has for each mistake.

A pool is where a provisioning token usually has its rights. A change is made whole or not at all. Next: `auth.py`, which
looks membership up.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import allowed, check
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster, Pool
from cpcd.lab.pve.errors import Refused, failed
from cpcd.lab.pve.formats import formatted
from cpcd.lab.pve.resources import pool_members

__all__ = ["create_pool", "delete_pool", "get_pool", "list_pools", "update_pool"]


@recorded(871, 883, 884, 886, 896, 1007, 1318, 1319)
@source("AccessControl.pm lock_user_config")
@contextmanager
def _users_locked(cluster: Cluster, what: str) -> Iterator[None]:
    """Hold the lock of the users' file: without quorum nobody has it, and whatever is refused under it is a 500."""
    if not cluster.quorate:
        raise failed(f"{what} failed: cfs-lock 'file-user_cfg' error: no quorum!", cluster.durations.quorum)
    try:
        yield
    except Refused as refused:
        code = f"{refused.status} " if refused.status != 500 else ""
        raise failed(f"{what} failed: {code}{refused.text}") from refused


@recorded(883, 884, 1007)
def _existing(cluster: Cluster, name: str) -> Pool:
    if name not in cluster.pools:
        raise failed(f"pool '{name}' does not exist")
    return cluster.pools[name]


def _shown(cluster: Cluster, call: Call, name: str) -> dict[str, Any]:
    pool, kind = _existing(cluster, name), call.params.get("type")
    members = [each for each in pool_members(cluster, pool) if kind in {None, each["type"]}]
    return _comment(pool) | {"poolid": name, "members": members}


def _comment(pool: Pool) -> dict[str, str]:
    return {"comment": pool.comment} if pool.comment else {}


@recorded(879, 880, 884, 908)
@schema("/pools")
def list_pools(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Return the pools that the token may see; with `poolid` a list of that one, with its members, to anybody."""
    if name := call.params.get("poolid"):
        return [_shown(cluster, call, name)]
    seen = [name for name in cluster.pools if allowed(cluster, call.token, f"/pool/{name}", "Pool.Audit")]
    return [_comment(cluster.pools[name]) | {"poolid": name} for name in sorted(seen)]


@recorded(881, 882, 883)
@schema("/pools/{poolid}")
def get_pool(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return one pool as an object."""
    return _shown(cluster, call, call.params["poolid"])


@recorded(870, 871, 872, 873, 1318)
@schema("/pools")
@source("API2/Pool.pm create_pool")
def create_pool(cluster: Cluster, call: Call) -> None:
    """Make a pool; the parent of `a/b` must be there, and its own name starts with a letter."""
    name = call.params["poolid"]
    parent, _, own = name.rpartition("/")
    with _users_locked(cluster, "create pool"):
        if name in cluster.pools:
            raise failed(f"pool '{name}' already exists")
        if parent and parent not in cluster.pools:
            raise failed(f"parent '{parent}' of pool '{name}' does not exist")
        if not re.match(r"[A-Za-z]", own):
            raise failed("pool name must start with a letter")
        cluster.pools[name] = Pool(call.params.get("comment", ""))


@recorded(885, 886, 887, 888, 889, 890, 891, 892)
@schema("/pools")
@source("API2/Pool.pm update_pool")
def update_pool(cluster: Cluster, call: Call) -> None:
    """Change the comment, add or (with `delete`) remove members; a VMID that nobody has is taken as well."""
    name = call.params["poolid"]
    with _users_locked(cluster, "update pools"):
        before = _existing(cluster, name)
        # A copy, so that what is refused half-way has changed nothing.
        pool = Pool(call.params.get("comment", before.comment), set(before.vms), set(before.storages))
        moved = [_member(cluster, call, pool, int(vmid)) for vmid in formatted(call.params.get("vms", ""))]
        for storage in formatted(call.params.get("storage", "")):
            _storage(cluster, call, pool, storage)
    for other, vmid in filter(None, moved):
        cluster.pools[other].vms.discard(vmid)
    cluster.pools[name] = pool


@recorded(886, 888, 891, 892)
def _member(cluster: Cluster, call: Call, pool: Pool, vmid: int) -> tuple[str, int] | None:
    """Add or remove a VM; returns the pool that it leaves and its VMID, if it moves."""
    check(cluster, call.token, f"/vms/{vmid}", "Permissions.Modify", "VM.Allocate")
    if call.params.get("delete"):
        if vmid not in pool.vms:
            raise failed(f"VM {vmid} is not a pool member")
        pool.vms.discard(vmid)
        return None
    if vmid in pool.vms:
        raise failed(f"VM {vmid} is already a pool member")
    pool.vms.add(vmid)
    current = cluster.pool_of(vmid)
    if not current:
        return None
    if not call.params.get("allow-move"):
        raise failed(f"VM {vmid} belongs already to pool '{current}' and 'allow-move' is not set")
    check(cluster, call.token, f"/pool/{current}", "Pool.Allocate")
    return current, vmid


@recorded(889, 1004)
@source("API2/Pool.pm update_pool")
def _storage(cluster: Cluster, call: Call, pool: Pool, name: str) -> None:
    check(cluster, call.token, f"/storage/{name}", "Permissions.Modify", "Datastore.Allocate")
    removed, there = bool(call.params.get("delete")), name in pool.storages
    if removed != there:
        raise failed(f"Storage '{name}' is {'not' if removed else 'already'} a pool member")
    pool.storages ^= {name}


@recorded(896, 897, 1006, 1007)
@source("API2/Pool.pm delete_pool")
def delete_pool(cluster: Cluster, call: Call) -> None:
    """Remove an empty pool and the grants at it; VMs and storages that are no more do not count."""
    name = call.params["poolid"]
    with _users_locked(cluster, "delete pool"):
        pool = _existing(cluster, name)
        inside = [f"pool '{each}'" for each in sorted(cluster.pools) if each.startswith(f"{name}/")]
        inside += [f"VM {vmid}" for vmid in sorted(pool.vms, key=str) if vmid in cluster.vms]
        names = {storage.name for storage in cluster.storages}
        inside += [f"storage '{each}'" for each in sorted(pool.storages & names)]
        if inside:
            raise failed(f"pool '{name}' is not empty (contains {inside[0]})")
    del cluster.pools[name]
    for token_id, token in cluster.accounts.items():
        acl = {path: granted for path, granted in token.acl.items() if path != f"/pool/{name}"}
        cluster.accounts[token_id] = replace(token, acl=acl)
