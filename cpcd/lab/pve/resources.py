"""The cluster-wide views: resources, status, next free id.

`/cluster/resources` mixes what is known at once (which VMs there are, tags, lock, pool) with statistics that are up
to 10 s old and may go back in time; nothing here is proof of anything (`statistics.py`). Next: `nodes.py`.
"""

from cpcd.lab.provenance import recorded, schema
from cpcd.lab.pve.auth import allowed
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster, Host, Pool
from cpcd.lab.pve.errors import invalid
from cpcd.lab.pve.settings import Storage
from cpcd.lab.pve.statistics import Row
from cpcd.lab.pve.vm import Vm

__all__ = ["next_id", "node_entry", "pool_members", "resources", "status"]


@recorded(360, 894, 943, 1294, 1366, 1369, 1374, 1383)
def _vm_entry(cluster: Cluster, vm: Vm, statistics: dict[str, dict[int, Row]]) -> Row:
    entry: Row = {"id": f"qemu/{vm.vmid}", "node": vm.node, "type": "qemu", "vmid": vm.vmid, "status": "unknown"}
    for key in ("tags", "lock"):
        if value := vm.config.get(key):
            entry[key] = value
    if pool := cluster.pool_of(vm.vmid):
        entry["pool"] = pool
    if cluster.hosts[vm.node].member:
        entry |= statistics.get(vm.node, {}).get(vm.vmid, {})
    return entry


@recorded(64, 77, 1293, 1294)
def node_entry(cluster: Cluster, host: Host, *, audited: bool) -> Row:
    """Return a node's line; sizes only for who may audit it, nothing but its name while it is away."""
    node = host.node
    entry: Row = {"id": f"node/{node.name}", "node": node.name, "type": "node"}
    if not host.member:
        return entry | {"status": "offline"}
    entry |= {"status": "online", "level": ""}
    if not audited:
        return entry
    guests = [vm for vm in cluster.vms.values() if vm.node == node.name and vm.running]
    return entry | {
        "cpu": round(0.02 * (1 + len(guests)), 4),
        "maxcpu": node.cpus,
        "mem": sum(vm.memory // 2 for vm in guests) + 1_239_429_120,
        "maxmem": node.memory,
        "disk": 38_942_957_568,
        "maxdisk": node.disk,
        "uptime": int(cluster.events.now - host.booted) + 3947,
    }


@recorded(77, 361, 1294)
def _storage_entry(cluster: Cluster, host: Host, storage: Storage) -> Row:
    entry: Row = {
        "id": f"storage/{host.node.name}/{storage.name}",
        "node": host.node.name,
        "type": "storage",
        "storage": storage.name,
        "plugintype": storage.plugin,
        "content": ",".join(storage.content),
        "shared": int(storage.shared),
    }
    if not host.member:
        return entry | {"status": "unknown"}
    used = cluster.volumes.used(storage.name, host.node.name)
    return entry | {"status": "available", "disk": used, "maxdisk": storage.total}


@recorded(77, 895)
def _other_entries(cluster: Cluster, call: Call) -> list[Row]:
    pools = [name for name in sorted(cluster.pools) if allowed(cluster, call.token, f"/pool/{name}", "Pool.Audit")]
    entries: list[Row] = [{"id": f"/pool/{name}", "pool": name, "type": "pool"} for name in pools]
    if allowed(cluster, call.token, "/sdn/zones/localnetwork", "SDN.Audit", "SDN.Use"):
        for name in cluster.hosts:
            zone = {"network": "localnetwork", "network-type": "zone", "status": "ok"}
            entries.append({"id": f"network/{name}/zone/localnetwork", "type": "network", "node": name} | zone)
    return entries


@recorded(51, 77, 360, 361, 362, 363, 364, 895, 943, 1294)
@schema("/cluster/resources")
def resources(cluster: Cluster, call: Call) -> list[Row]:
    """Return everything that the token may see, filtered instead of refused."""
    wanted = call.params.get("type")
    entries: list[Row] = [] if wanted else _other_entries(cluster, call)
    if wanted in {None, "vm"}:
        statistics = cluster.statistics.read(cluster.events.now)
        seen = [vm for vm in cluster.vms.values() if allowed(cluster, call.token, f"/vms/{vm.vmid}", "VM.Audit")]
        entries += [_vm_entry(cluster, vm, statistics) for vm in seen]
    if wanted in {None, "node"}:
        for host in cluster.hosts.values():
            audited = allowed(cluster, call.token, f"/nodes/{host.node.name}", "Sys.Audit")
            entries.append(node_entry(cluster, host, audited=audited) | ({"cgroup-mode": 2} if host.member else {}))
    if wanted in {None, "storage"}:
        entries += _storages(cluster, call)
    return entries


def _storages(cluster: Cluster, call: Call) -> list[Row]:
    needed = ("Datastore.Audit", "Datastore.AllocateSpace")
    seen = [s for s in cluster.storages if allowed(cluster, call.token, f"/storage/{s.name}", *needed)]
    return [
        _storage_entry(cluster, host, storage)
        for host in cluster.hosts.values()
        for storage in seen
        if storage.on(host.node.name)
    ]


@recorded(880, 943)
def pool_members(cluster: Cluster, pool: Pool) -> list[Row]:
    """Return a pool's members as the resources view has them; a VMID without a VM is left out."""
    statistics = cluster.statistics.read(cluster.events.now)
    vms = [cluster.vms[vmid] for vmid in sorted(pool.vms) if vmid in cluster.vms]
    members = [{k: v for k, v in _vm_entry(cluster, vm, statistics).items() if k != "pool"} for vm in vms]
    names = sorted(pool.storages)
    return members + [
        _storage_entry(cluster, host, cluster.volumes.storage(name))
        for name in names
        for host in cluster.hosts.values()
    ]


@recorded(71, 1137, 1292, 1359)
@schema("/cluster/status")
def status(cluster: Cluster, _call: Call) -> list[Row]:
    """Return quorum and nodes, without a cluster the one node alone; `local` is the node that answers."""
    entry, nodes, clustered = cluster.entry, len(cluster.hosts), bool(cluster.name)
    head: Row = {"id": "cluster", "type": "cluster", "name": cluster.name, "version": nodes, "nodes": nodes}
    entries = [head | {"quorate": int(cluster.quorate)}] if clustered else []
    for number, host in enumerate(cluster.hosts.values(), 1):
        line: Row = {"id": f"node/{host.node.name}", "type": "node", "name": host.node.name}
        line |= {"nodeid": number if clustered else 0}
        line |= {"online": int(host.member), "local": int(host is entry), "level": ""}
        entries.append(line | ({"ip": host.node.address} if host.member else {}))
    return entries


@recorded(72, 73, 208, 209, 752, 906, 947, 1134)
@schema("/cluster/nextid")
def next_id(cluster: Cluster, call: Call) -> str:
    """Return the lowest free VMID as text, or the asked one if it is free; it sees VMs that the token cannot."""
    asked = call.params.get("vmid")
    if asked in cluster.vms:
        raise invalid({"vmid": f"VM {asked} already exists"})
    return str(asked or next(vmid for vmid in range(*cluster.next_id) if vmid not in cluster.vms))
