"""The cluster-wide views: resources, status, next free id.

`/cluster/resources` mixes what is known at once (which VMs there are, tags, lock, pool) with statistics that are up
to 10 s old and may go back in time; nothing here is proof of anything (`statistics.py`). Next: `nodes.py`.
"""

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import allowed
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster, Host, Pool
from cpcd.lab.pve.errors import failed, invalid
from cpcd.lab.pve.settings import Storage
from cpcd.lab.pve.statistics import Row
from cpcd.lab.pve.vm import Vm

__all__ = ["next_id", "node_entry", "pool_members", "resources", "status"]


@recorded(360, 880, 1294, 1366, 1369, 1374, 1383)
@source("API2Tools.pm extract_vm_stats")
def _vm_stats(vm: Vm, statistics: dict[str, dict[int, Row]]) -> Row:
    """Return what is known of a VM from broadcasts; of one that nobody has spoken of only where it is."""
    entry: Row = {"id": f"qemu/{vm.vmid}", "node": vm.node, "type": "qemu", "vmid": vm.vmid, "status": "unknown"}
    return entry | statistics.get(vm.node, {}).get(vm.vmid, {})


@recorded(894, 943)
@source("API2/Cluster.pm resources")
def _vm_entry(cluster: Cluster, call: Call, vm: Vm, statistics: dict[str, dict[int, Row]]) -> Row:
    """Return a VM's line: tags, lock and pool are those of now, the pool for who may audit it."""
    entry = _vm_stats(vm, statistics)
    entry |= {key: vm.config[key] for key in ("tags", "lock") if vm.config.get(key)}
    pool = cluster.pool_of(vm.vmid)
    if pool and allowed(cluster, call.token, f"/pool/{pool}", "Pool.Audit"):
        entry["pool"] = pool
    return entry


@recorded(64, 77, 1293, 1294)
@source("API2Tools.pm extract_node_stats")
def node_entry(cluster: Cluster, host: Host, *, audited: bool) -> Row:
    """Return a node's line; sizes only for who may audit it, of one that is away for five minutes more."""
    node = host.node
    entry: Row = {"id": f"node/{node.name}", "node": node.name, "type": "node"}
    entry["status"] = "online" if host.member else "offline"
    if not (host.member or cluster.statistics.known(node.name, cluster.events.now)):
        return entry
    entry["level"] = ""
    if not audited:
        return entry
    entry |= {"maxcpu": node.cpus, "maxmem": node.memory, "maxdisk": node.disk}
    if not host.member:
        return entry
    guests = [vm for vm in cluster.vms.values() if vm.node == node.name and vm.running]
    return entry | {
        "cpu": round(0.02 * (1 + len(guests)), 4),
        "mem": sum(vm.memory // 2 for vm in guests) + 1_239_429_120,
        "disk": 38_942_957_568,
        "uptime": int(cluster.events.now - host.booted) + 3947,
    }


@recorded(77, 361, 1294)
@source("API2Tools.pm extract_storage_stats")
def _storage_entry(cluster: Cluster, host: Host, storage: Storage) -> Row:
    """Return a storage's line for a node; without news of that node for five minutes there is no size."""
    name = host.node.name
    entry: Row = {
        "id": f"storage/{name}/{storage.name}",
        "node": name,
        "type": "storage",
        "storage": storage.name,
        "plugintype": storage.plugin,
        "content": ",".join(storage.content),
        "shared": int(storage.shared),
        "status": "unknown",
    }
    if not (host.member or cluster.statistics.known(name, cluster.events.now)):
        return entry
    used = cluster.volumes.used(storage.name, name)
    return entry | {"status": "available", "disk": used, "maxdisk": storage.total}


@source("API2/Cluster.pm resources")
def _pool_entry(cluster: Cluster, name: str) -> Row:
    """Return a pool's line, with the sums of its running VMs if it has any."""
    entry: Row = {"id": f"/pool/{name}", "pool": name, "type": "pool"}
    statistics = cluster.statistics.read(cluster.events.now)
    vms = [_vm_stats(cluster.vms[vmid], statistics) for vmid in cluster.pools[name].vms if vmid in cluster.vms]
    running = [vm for vm in vms if vm.get("uptime")]
    if not running:
        return entry
    processors = sum(vm["maxcpu"] for vm in running)
    sums = {key: sum(vm[key] for vm in running) for key in ("mem", "maxmem")}
    load = sum(vm["cpu"] * vm["maxcpu"] for vm in running) / processors
    return entry | sums | {"uptime": max(vm["uptime"] for vm in running), "maxcpu": processors, "cpu": load}


@recorded(77, 895)
def _other_entries(cluster: Cluster, call: Call) -> list[Row]:
    pools = [name for name in sorted(cluster.pools) if allowed(cluster, call.token, f"/pool/{name}", "Pool.Audit")]
    entries = [_pool_entry(cluster, name) for name in pools]
    if allowed(cluster, call.token, "/sdn/zones/localnetwork", "SDN.Audit"):
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
        entries += [_vm_entry(cluster, call, vm, statistics) for vm in seen]
    if wanted in {None, "node"}:
        for host in cluster.hosts.values():
            audited = allowed(cluster, call.token, f"/nodes/{host.node.name}", "Sys.Audit")
            entries.append(node_entry(cluster, host, audited=audited) | ({"cgroup-mode": 2} if host.member else {}))
    if wanted in {None, "storage"}:
        entries += _storages(cluster, call)
    return entries


@source("API2/Cluster.pm resources")
def _storages(cluster: Cluster, call: Call) -> list[Row]:
    seen = [s for s in cluster.storages if allowed(cluster, call.token, f"/storage/{s.name}", "Datastore.Audit")]
    return [
        _storage_entry(cluster, host, storage)
        for host in cluster.hosts.values()
        for storage in seen
        if storage.on(host.node.name)
    ]


@recorded(880, 943)
@source("API2/Pool.pm index")
def pool_members(cluster: Cluster, pool: Pool) -> list[Row]:
    """Return a pool's members: VMs without what only the resources view adds, each storage once, on the entry node."""
    statistics = cluster.statistics.read(cluster.events.now)
    vms = [_vm_stats(cluster.vms[vmid], statistics) for vmid in sorted(pool.vms, key=str) if vmid in cluster.vms]
    named = [storage for storage in cluster.storages if storage.name in pool.storages]
    return vms + [_storage_entry(cluster, _where(cluster, storage), storage) for storage in named]


def _where(cluster: Cluster, storage: Storage) -> Host:
    entry = cluster.entry
    assert entry is not None, "no node answers"
    if storage.on(entry.node.name):
        return entry
    return cluster.hosts[min(storage.nodes)]


@recorded(71, 1137, 1292, 1359)
@schema("/cluster/status")
def status(cluster: Cluster, _call: Call) -> list[Row]:
    """Return quorum and nodes, without a cluster the one node alone; `local` is the node that answers."""
    entry, nodes, clustered = cluster.entry, len(cluster.hosts), bool(cluster.name)
    head: Row = {"id": "cluster", "type": "cluster", "name": cluster.name, "version": nodes, "nodes": nodes}
    entries = [head | {"quorate": int(cluster.told_quorate)}] if clustered else []
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
    lower, upper = cluster.next_id
    free = asked or next((vmid for vmid in range(lower, upper) if vmid not in cluster.vms), None)
    if free is None:
        raise failed(f"unable to get any free VMID in range [{lower}, {upper}]")
    return str(free)
