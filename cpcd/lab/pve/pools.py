"""Resource pools: who is in which, and the words that Proxmox has for each mistake.

A pool is where a provisioning token usually has its rights. Next: `auth.py`, which looks membership up.
"""

from typing import Any

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import allowed
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster, Pool
from cpcd.lab.pve.errors import failed
from cpcd.lab.pve.resources import pool_members

__all__ = ["create_pool", "delete_pool", "get_pool", "list_pools", "update_pool"]


@recorded(1318, 1319)
def _check_quorum(cluster: Cluster, what: str) -> None:
    if not cluster.quorate:
        raise failed(f"{what} pool failed: cfs-lock 'file-user_cfg' error: no quorum!", cluster.durations.quorum)


def _shown(cluster: Cluster, name: str, kind: str | None) -> dict[str, Any]:
    pool = cluster.pools[name]
    members = [each for each in pool_members(cluster, pool) if kind in {None, each["type"]}]
    return ({"comment": pool.comment} if pool.comment else {}) | {"poolid": name, "members": members}


@recorded(879, 880, 884, 908)
@schema("/pools")
def list_pools(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Return the pools that the token may see; with `poolid` a list of that one, with its members."""
    if name := call.params.get("poolid"):
        _existing(cluster, name)
        return [_shown(cluster, name, call.params.get("type"))]
    seen = [name for name in cluster.pools if allowed(cluster, call.token, f"/pool/{name}", "Pool.Audit")]
    return [_comment(cluster.pools[name]) | {"poolid": name} for name in sorted(seen)]


def _comment(pool: Pool) -> dict[str, str]:
    return {"comment": pool.comment} if pool.comment else {}


@recorded(883, 884)
def _existing(cluster: Cluster, name: str, what: str = "") -> Pool:
    if name not in cluster.pools:
        raise failed(f"{what}pool '{name}' does not exist")
    return cluster.pools[name]


@recorded(881, 882, 883)
@schema("/pools/{poolid}")
def get_pool(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return one pool as an object."""
    _existing(cluster, call.path["poolid"])
    return _shown(cluster, call.path["poolid"], call.params.get("type"))


@recorded(870, 871, 872, 873, 1318)
@schema("/pools")
def create_pool(cluster: Cluster, call: Call) -> None:
    """Make a pool; the parent of `a/b` must be there."""
    _check_quorum(cluster, "create")
    name = call.params["poolid"]
    if name in cluster.pools:
        raise failed(f"create pool failed: pool '{name}' already exists")
    parent = name.rpartition("/")[0]
    if parent and parent not in cluster.pools:
        raise failed(f"create pool failed: parent '{parent}' of pool '{name}' does not exist")
    cluster.pools[name] = Pool(call.params.get("comment", ""))


@recorded(885, 886, 887, 888, 890, 891, 892)
@schema("/pools")
def update_pool(cluster: Cluster, call: Call) -> None:
    """Change the comment, add or (with `delete`) remove members; a VMID that nobody has is taken as well."""
    _check_quorum(cluster, "update")
    name = call.path.get("poolid") or call.params["poolid"]
    pool = _existing(cluster, name, "update pools failed: ")
    vmids = [int(each) for each in call.params.get("vms", "").split(",") if each]
    storages = {each for each in call.params.get("storage", "").split(",") if each}
    pool.comment = call.params.get("comment", pool.comment)
    if call.params.get("delete"):
        pool.vms -= set(vmids)
        pool.storages -= storages
        return
    for vmid in vmids:
        _add(cluster, name, vmid, move=bool(call.params.get("allow-move")))
    pool.storages |= storages


@recorded(886, 891, 892)
def _add(cluster: Cluster, name: str, vmid: int, *, move: bool) -> None:
    current = cluster.pool_of(vmid)
    if current == name:
        raise failed(f"update pools failed: VM {vmid} is already a pool member")
    if current and not move:
        text = f"VM {vmid} belongs already to pool '{current}' and 'allow-move' is not set"
        raise failed(f"update pools failed: {text}")
    if current:
        cluster.pools[current].vms.discard(vmid)
    cluster.pools[name].vms.add(vmid)


@recorded(896, 897, 1006, 1007)
@source("AccessControl.pm delete_pool")
def delete_pool(cluster: Cluster, call: Call) -> None:
    """Remove an empty pool."""
    name = call.path.get("poolid") or call.params["poolid"]
    pool = _existing(cluster, name, "delete pool failed: ")
    inside = [f"pool '{each}'" for each in cluster.pools if each.startswith(f"{name}/")]
    inside += [f"VM {vmid}" for vmid in sorted(pool.vms)] + [f"storage '{each}'" for each in sorted(pool.storages)]
    if inside:
        raise failed(f"delete pool failed: pool '{name}' is not empty (contains {inside[0]})")
    del cluster.pools[name]
