"""What one node says about itself and its guests: nodes, status, VMs, storage, network, version.

Unlike the cluster's resources these are read at the node and are current. Next: `resources.py` for the late ones.
"""

from typing import Any

from cpcd.lab.provenance import recorded, schema
from cpcd.lab.pve.auth import allowed
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import invalid
from cpcd.lab.pve.resources import node_entry
from cpcd.lab.pve.settings import Storage
from cpcd.lab.pve.statistics import Row, usage
from cpcd.lab.pve.vm import Vm

__all__ = [
    "current", "list_networks", "list_nodes", "list_storages", "list_vms", "node_status", "storage_content", "storage_status", "version",
]  # fmt: skip

BRIDGED = {"any_bridge", "any_local_bridge", "bridge"}


@recorded(8, 66)
@schema("/version")
def version(_cluster: Cluster, _call: Call) -> dict[str, str]:
    """Return the version that was recorded."""
    return {"version": "9.2.11", "release": "9.2", "repoid": "14a22df35955d97d"}


@recorded(50, 64, 945, 1293)
@schema("/nodes")
def list_nodes(cluster: Cluster, call: Call) -> list[Row]:
    """Return all nodes; who may not audit one sees only that it is there."""
    entries = []
    for host in cluster.hosts.values():
        audited = allowed(cluster, call.token, f"/nodes/{host.node.name}", "Sys.Audit")
        fingerprint = "21:56:E5:96:1D:63:A4:C4:9B:E9:56:97:4B:79:58:A9" if host.member else None
        entries.append(node_entry(cluster, host, audited=audited) | {"ssl_fingerprint": fingerprint})
    return entries


@recorded(65)
@schema("/nodes/{node}/status")
def node_status(cluster: Cluster, call: Call) -> Row:
    """Return a node's load, memory and versions."""
    host = cluster.hosts[call.node]
    entry = node_entry(cluster, host, audited=True)
    free = entry["maxmem"] - entry["mem"]
    return {
        "uptime": entry["uptime"],
        "pveversion": "pve-manager/9.2.11/14a22df35955d97d",
        "kversion": "Linux 6.18.44-pve",
        "cpu": entry["cpu"],
        "wait": 0,
        "idle": 0,
        "loadavg": ["0.08", "0.34", "0.63"],
        "cpuinfo": {"cpus": host.node.cpus, "cores": host.node.cpus, "sockets": 1, "model": "AMD EPYC", "user_hz": 100},
        "memory": {"total": entry["maxmem"], "used": entry["mem"], "free": free, "available": free},
        "swap": {"total": 0, "used": 0, "free": 0},
        "rootfs": {"total": 270_553_174_016, "used": 38_943_072_256, "free": 231_610_101_760, "avail": 70_001_221_632},
        "ksm": {"shared": 0},
        "boot-info": {"mode": "legacy-bios"},
    }


@recorded(202, 203, 531, 1295)
def _listed(cluster: Cluster, vm: Vm) -> Row:
    entry: Row = {"vmid": vm.vmid, "cpus": vm.cpus} | usage(vm, cluster.events.now)
    if vm.config.get("tags"):
        entry["tags"] = vm.config["tags"]
    if vm.lock:
        entry["lock"] = vm.lock
    if vm.template:
        entry["template"] = 1
    if "serial0" in vm.config:
        entry["serial"] = 1
    if vm.running:
        entry["pid"] = vm.pid
    return entry


@recorded(202, 203, 531, 944)
@schema("/nodes/{node}/qemu")
def list_vms(cluster: Cluster, call: Call) -> list[Row]:
    """Return the node's VMs that the token may see; complete at once, unlike the cluster's resources."""
    vms = [vm for vm in cluster.vms.values() if vm.node == call.node]
    seen = [vm for vm in vms if allowed(cluster, call.token, f"/vms/{vm.vmid}", "VM.Audit")]
    full = call.params.get("full")
    return [_listed(cluster, vm) | ({"qmpstatus": vm.status} if full else {}) for vm in seen]


@recorded(200, 308, 446, 530, 593, 645, 661, 747, 786, 1215)
@schema("/nodes/{node}/qemu/{vmid}/status/current")
def current(cluster: Cluster, call: Call) -> Row:
    """Return a VM's state now; a template and an enabled agent show only when they are there."""
    vm = cluster.vm(call.node, call.vmid)
    entry = _listed(cluster, vm) | {"qmpstatus": vm.status, "ha": {"managed": 0}}
    if vm.agent:
        entry["agent"] = 1
    if "vga" in vm.config:
        entry["clipboard"] = None
    if vm.running:
        nics = [name for name in vm.config if name.startswith("net")]
        entry |= {"running-qemu": "10.0.13", "running-machine": "pc-i440fx-10.0+pve1", "balloon": vm.memory}
        entry |= {"diskread": 0, "diskwrite": 0}
        entry["nics"] = {f"tap{vm.vmid}i{name[3:]}": {"netin": 0, "netout": 0} for name in nics}
    return entry


def _storage(cluster: Cluster, node: str, storage: Storage) -> Row:
    used = cluster.volumes.used(storage.name, node)
    return {
        "type": storage.plugin,
        "content": ",".join(storage.content),
        "enabled": 1,
        "active": 1,
        "shared": int(storage.shared),
        "total": storage.total,
        "used": used,
        "avail": storage.total - used,
    }


@recorded(89, 90, 91, 907)
@schema("/nodes/{node}/storage")
def list_storages(cluster: Cluster, call: Call) -> list[Row]:
    """Return the storages that the token may use, with free bytes; `content` filters."""
    needed = ("Datastore.Audit", "Datastore.AllocateSpace")
    name, content = call.params.get("storage"), call.params.get("content")
    seen = [s for s in cluster.settings.storages if allowed(cluster, call.token, f"/storage/{s.name}", *needed)]
    found = [s for s in seen if name in {None, s.name} and (not content or content in s.content)]
    entries: list[Row] = [{"storage": s.name, **_storage(cluster, call.node, s)} for s in found]
    return [entry | {"used_fraction": entry["used"] / entry["total"]} for entry in entries]


@recorded(92, 93)
@schema("/nodes/{node}/storage/{storage}/status")
def storage_status(cluster: Cluster, call: Call) -> Row:
    """Return one storage's state; this is the one place where a missing one is a 400."""
    for storage in cluster.settings.storages:
        if storage.name == call.path["storage"]:
            return _storage(cluster, call.node, storage)
    raise invalid({"storage": "No such storage."})


@recorded(309, 780, 797, 1104)
@schema("/nodes/{node}/storage/{storage}/content")
def storage_content(cluster: Cluster, call: Call) -> list[Row]:
    """Return a storage's volumes, also those that no VM's configuration knows."""
    storage, wanted = cluster.volumes.storage(call.path["storage"]), call.params.get("vmid")
    place = cluster.volumes.place(storage.name, call.node)
    volumes = [v for v in cluster.volumes.volumes.values() if v.storage == storage.name and v.node == place]
    return [
        {
            "volid": volume.volid,
            "content": "images",
            "format": volume.form,
            "size": volume.size,
            "used": 0 if volume.base else volume.size,
            "vmid": volume.vmid,
            "parent": volume.base or None,
        }
        for volume in volumes
        if wanted in {None, volume.vmid} and call.params.get("content", "images") == "images"
    ]


@recorded(78, 79, 963)
@schema("/nodes/{node}/network")
def list_networks(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Return the node's bridges, and its one physical interface unless only bridges are asked for."""
    node = cluster.hosts[call.node].node
    address = {"address": node.address, "netmask": "24", "cidr": f"{node.address}/24", "method": "static"}
    bridge = {"type": "bridge", "active": 1, "autostart": 1, "method6": "manual", "families": ["inet"]}
    bridge |= {"bridge_ports": "eno1", "bridge_stp": "off", "bridge_fd": "0"}
    entries = [{"iface": name, "priority": 4 + n} | bridge | address for n, name in enumerate(node.bridges)]
    eth = {"iface": "eno1", "type": "eth", "priority": 3, "method": "manual", "method6": "manual", "families": ["inet"]}
    wanted = call.params.get("type")
    return [*(entries if wanted in BRIDGED | {None} else []), *([eth] if wanted in {None, "eth"} else [])]
