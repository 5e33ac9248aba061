"""The guest agent's calls: ping, interfaces, host name, reading a file.

Their errors tell four different things that clients must keep apart: not configured, not running, not answering, and
a real answer that says no (`failures.md` P03, P33). Next: `vm.py`, whose backend answers.
"""

import base64
from typing import Any, Final

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import failed
from cpcd.lab.pve.vm import Vm

__all__ = ["file_read", "host_name", "interfaces", "ping"]

MOST: Final = 16 * 1024**2  # bytes that one read may bring


@recorded(518, 520, 533, 601, 652)
def _guest(cluster: Cluster, call: Call) -> Vm:
    vm = cluster.vm(call.node, call.vmid)
    if "agent" not in vm.config:
        raise failed("No QEMU guest agent configured")
    if not vm.running:
        raise failed(f"VM {vm.vmid} is not running")
    if not vm.agent or not cluster.backend.agent_up(vm):
        raise failed("QEMU guest agent is not running", cluster.durations.agent)
    return vm


@recorded(654)
@schema("/nodes/{node}/qemu/{vmid}/agent/ping")
def ping(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Ask whether the agent answers."""
    _guest(cluster, call)
    return {"result": {}}


@recorded(655)
@schema("/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces")
def interfaces(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return the guest's interfaces, `lo` and link-local addresses included."""
    return {"result": cluster.backend.agent_interfaces(_guest(cluster, call))}


@recorded(657)
@schema("/nodes/{node}/qemu/{vmid}/agent/get-host-name")
def host_name(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return the guest's host name: what its /etc/hostname says."""
    found = cluster.backend.agent_file(_guest(cluster, call), "/etc/hostname")
    return {"result": {"host-name": (found or "localhost").strip()}}


@recorded(685, 686)
@schema("/nodes/{node}/qemu/{vmid}/agent/file-read")
@source("API2/Qemu/Agent.pm file-read")
def file_read(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return a file, or `count` bytes of it from `offset` on; this answer is not wrapped in `result`."""
    path = call.params["file"]
    text = cluster.backend.agent_file(_guest(cluster, call), path)
    if text is None:
        raise failed(f"Agent error: failed to open file '{path}' (mode: 'r'): No such file or directory")
    rest = text.encode()[call.params.get("offset", 0) :]
    read = rest[: call.params.get("count", MOST)]
    content = read.decode(errors="replace") if call.params.get("decode", 1) else base64.b64encode(read).decode()
    return {"content": content, "bytes-read": len(read)} | ({"truncated": 1} if len(read) < len(rest) else {})
