"""What one node says about itself and its guests: nodes, status, VMs, network, version.

Unlike the cluster's resources these are read at the node and are current. Next: `resources.py` for the late ones.
"""

import re
from typing import Any

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import allowed
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.properties import parse
from cpcd.lab.pve.resources import node_entry
from cpcd.lab.pve.statistics import Row, usage
from cpcd.lab.pve.vm import Vm

__all__ = [
    "current", "list_networks", "list_nodes", "list_vms", "node_status", "version",
]  # fmt: skip

MIB = 1024**2
SHARES = 1000  # of memory, where a VM says nothing
BRIDGED = {"any_bridge", "any_local_bridge", "bridge"}
PROCESSOR = {
    "model": "AMD EPYC",
    "vendor": "AuthenticAMD",
    "family": "25",
    "mhz": "2596.138",
    "hvm": "",
    "flags": "fpu",
}
KERNEL = {"sysname": "Linux", "machine": "x86_64", "release": "6.18.44-pve", "version": "#1 SMP PREEMPT_DYNAMIC"}
PRESSURE = dict.fromkeys((f"pressure{what}{how}" for what in ("cpu", "io", "memory") for how in ("full", "some")), 0)
SUPPORT = {
    "backup-access-api": True, "backup-fleecing": True, "backup-max-workers": True, "pbs-dirty-bitmap": True,
    "pbs-dirty-bitmap-migration": True, "pbs-dirty-bitmap-savevm": True, "pbs-library-version": "stub",
    "pbs-masterkey": True, "query-bitmap-info": True,
}  # fmt: skip
FLAGS = {"account_failed": True, "account_invalid": True, "timed_stats": []}
OPERATIONS = ("flush", "rd", "unmap", "wr", "zone_append")


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
    processors = {"cpus": host.node.cpus, "cores": host.node.cpus, "sockets": 1, "user_hz": 100}
    room = {"total": host.node.disk, "used": entry["disk"], "free": host.node.disk - entry["disk"]}
    return {
        "uptime": entry["uptime"],
        "pveversion": "pve-manager/9.2.11/14a22df35955d97d",
        "kversion": "Linux 6.18.44-pve #1 SMP PREEMPT_DYNAMIC",
        "current-kernel": KERNEL,
        "cpu": entry["cpu"],
        "wait": 0,
        "idle": 0,
        "loadavg": ["0.08", "0.34", "0.63"],
        "cpuinfo": PROCESSOR | processors,
        "memory": {"total": entry["maxmem"], "used": entry["mem"], "free": free, "available": free},
        "swap": {"total": 0, "used": 0, "free": 0},
        "rootfs": room | {"avail": room["free"]},
        "ksm": {"shared": 0},
        "boot-info": {"mode": "legacy-bios"},
    }


@recorded(202, 203, 531, 1295)
@source("QemuServer.pm vmstatus")
def _listed(cluster: Cluster, vm: Vm) -> Row:
    entry: Row = {"vmid": vm.vmid, "cpus": vm.shown_cpus(cluster.hosts[vm.node].node.cpus)}
    entry |= usage(vm, cluster.events.now)
    if balloon := int(vm.config.get("balloon", 0)):
        entry |= {"balloon_min": balloon * MIB, "shares": int(vm.config.get("shares", SHARES))}
    if vm.config.get("tags"):
        entry["tags"] = vm.config["tags"]
    if vm.lock:
        entry["lock"] = vm.lock
    if vm.template:
        entry["template"] = 1
    if any(name.startswith("serial") for name in vm.config):
        entry["serial"] = 1
    if vm.running:
        entry |= PRESSURE | {"pid": vm.pid}
    return entry


@recorded(203)
@source("QemuServer.pm vmstatus")
def _full(cluster: Cluster, vm: Vm) -> Row:
    """Return a VM's line with what QEMU itself says of it."""
    return _listed(cluster, vm) | {"qmpstatus": _qmp(vm)} | (_running(cluster, vm) if vm.running else {})


@recorded(202, 203, 531, 944)
@schema("/nodes/{node}/qemu")
def list_vms(cluster: Cluster, call: Call) -> list[Row]:
    """Return the node's VMs that the token may see; complete at once, unlike the cluster's resources."""
    vms = [vm for vm in cluster.vms.values() if vm.node == call.node]
    seen = [vm for vm in vms if allowed(cluster, call.token, f"/vms/{vm.vmid}", "VM.Audit")]
    line = _full if call.params.get("full") else _listed
    return [line(cluster, vm) for vm in seen]


@recorded(200, 308, 446, 530, 593, 645, 661, 747, 786, 1215)
@schema("/nodes/{node}/qemu/{vmid}/status/current")
@source("Qemu.pm vm_status")
def current(cluster: Cluster, call: Call) -> Row:
    """Return a VM's state now; a template and an enabled agent show only when they are there."""
    vm = cluster.vm(call.node, call.vmid)
    entry = _full(cluster, vm) | {"ha": {"managed": 0}}
    if vm.agent:
        entry["agent"] = 1
    if vga := parse(str(vm.config.get("vga", "")), "type"):
        entry["clipboard"] = vga.get("clipboard")
        if re.match(r"virtio|qxl[234]?$", vga.get("type", "")):
            entry["spice"] = 1
    return entry


@recorded(573)
def _qmp(vm: Vm) -> str:
    """Return QEMU's own word; a paused VM is running all the same."""
    return "paused" if vm.paused else vm.status


@recorded(530, 573, 661, 701)
def _running(cluster: Cluster, vm: Vm) -> Row:
    """Return what QEMU says of a running VM; the balloon driver, where one runs, tells the guest's memory."""
    memory = int(vm.memory)
    balloon: Row = {"actual": memory, "max_mem": memory}
    entry: Row = {"running-qemu": "10.0.13", "running-machine": _machine(vm), "balloon": memory}
    if cluster.backend.agent_up(vm):
        names = ("last_update", "major_page_faults", "minor_page_faults", "mem_swapped_in", "mem_swapped_out")
        balloon |= dict.fromkeys(names, 0) | {"total_mem": memory, "free_mem": memory // 2}
        entry["freemem"] = memory // 2
    drives = [name for name in vm.drives if vm.pending.get(name, "") is not None]
    nics = [name for name in vm.config if re.fullmatch(r"net\d+", name)]
    entry |= {"ballooninfo": balloon, "proxmox-support": SUPPORT, "diskread": 0, "diskwrite": 0}
    entry["blockstat"] = {name: _blocks() for name in drives}
    entry["nics"] = {f"tap{vm.vmid}i{name[3:]}": {"netin": 0, "netout": 0} for name in nics}
    return entry


@recorded(530)
@source("Machine.pm current_from_query_machines")
def _machine(vm: Vm) -> str:
    """Return the machine that runs: the newest of its kind where the configuration names no version."""
    named = parse(str((vm.booted or {}).get("machine", "pc")), "type").get("type", "pc")
    kind = {"pc": "pc-i440fx", "q35": "pc-q35"}.get(named)
    return f"{kind}-10.0+pve1" if kind else named


@recorded(530)
def _blocks() -> Row:
    """Return a drive's counters, all at their start."""
    counters = [
        f"{verb}_{name}" for verb in ("failed", "invalid") for name in (f"{op}_operations" for op in OPERATIONS)
    ]
    counters += [f"{op}_{name}" for op in OPERATIONS for name in ("operations", "total_time_ns")]
    counters += [f"{op}_{name}" for op in OPERATIONS[1:] for name in ("bytes", "merged")]
    return FLAGS | dict.fromkeys([*counters, "wr_highest_offset"], 0)


@recorded(78, 79, 963)
@schema("/nodes/{node}/network")
def list_networks(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Return the node's bridges, and its one physical interface unless only bridges are asked for."""
    node = cluster.hosts[call.node].node
    address = {"address": node.address, "netmask": "24", "cidr": f"{node.address}/24", "method": "static"}
    bridge = {"type": "bridge", "active": 1, "autostart": 1, "method6": "manual", "families": ["inet"]}
    bridge |= {"bridge_ports": node.ports, "bridge_stp": "off", "bridge_fd": "0"}
    entries = [{"iface": name, "priority": 4 + n} | bridge | address for n, name in enumerate(node.bridges)]
    eth = {"iface": "eno1", "type": "eth", "priority": 3, "method": "manual", "method6": "manual", "families": ["inet"]}
    wanted = call.params.get("type")
    return [*(entries if wanted in BRIDGED | {None} else []), *([eth] if wanted in {None, "eth"} else [])]
