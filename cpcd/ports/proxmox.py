"""Proxmox VE, as cpcd uses it: a transport that carries one exchange, and the verbs on top of it.

The transport is what the lab fakes; the verbs are written once (`adapters/proxmox.py`), so that paths, codec and
error table run in simulation too. Never does anything here wait for a Proxmox task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Proxmox", "Request", "Response", "Transport"]

JSON = Any


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to the Proxmox API.

    `path` is the decoded path with its prefix (`/api2/json/nodes/pve1/qemu`); `params` go into the query for GET and
    DELETE and form-encoded into the body otherwise, booleans as `1`/`0`, a list as the repeated parameter. `token` is
    `user@realm!id=secret` or empty.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer: Proxmox puts its error text into `reason`, so it is kept (`failures.md` T07)."""

    status: int
    reason: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """Carry one exchange; raise `ConnectionError`, `TimeoutError` or `ssl.SSLError` when there is no answer."""

    async def send(self, request: Request) -> Response:
        """Send once, never repeat: only the caller knows whether a repeat is safe."""
        ...

    async def close(self) -> None:
        """Release connections; the transport is not used afterwards."""
        ...


class Proxmox(Protocol):
    """The verbs that cpcd uses on one Proxmox VE cluster.

    Every call is one exchange and raises `model.errors.Failure` with a code from the table. Verbs that start work
    return the UPID; its success says nothing (`GET task_status` does).
    """

    async def resources(self) -> list[dict[str, JSON]]:
        """Return `/cluster/resources`: up to 10 s stale and not monotonic, so only a hint; without load and sizes."""
        ...

    async def cluster_status(self) -> list[dict[str, JSON]]:
        """Return `/cluster/status`: the nodes and `quorate`."""
        ...

    async def permissions(self) -> dict[str, dict[str, int]]:
        """Return `/access/permissions` of the token: path -> privilege -> 1 (and propagate flag)."""
        ...

    async def config(self, node: str, vmid: int, *, current: bool = False) -> dict[str, JSON] | None:
        """Return the VM's config with pending values (or the running ones), None where this node has no such VM."""
        ...

    async def status(self, node: str, vmid: int) -> dict[str, JSON] | None:
        """Return `status/current`, None where this node has no such VM."""
        ...

    async def pending(self, node: str, vmid: int) -> list[dict[str, JSON]]:
        """Return `/pending`: entries with `pending` or `delete` wait for a cold restart."""
        ...

    async def vmid_free(self, vmid: int) -> bool:
        """Ask `nextid?vmid=N`: it sees VMs that the token cannot, so False means that somebody has it."""
        ...

    async def clone(  # noqa: PLR0913 - the parameters of Proxmox's own call
        self,
        node: str,
        template: int,
        *,
        newid: int,
        name: str,
        description: str,
        pool: str,
        full: bool,
        target: str,
        storage: str = "",
    ) -> str:
        """Start a clone of `template` on `node`; the answer is the UPID, which proves nothing.

        `storage` is where a full clone puts its disks; empty leaves them where the template's are.
        """
        ...

    async def configure(self, node: str, vmid: int, options: Mapping[str, JSON], *, digest: str) -> None:
        """PUT config synchronously; refused when `digest` is not the config's (`failures.md` P30)."""
        ...

    async def resize(self, node: str, vmid: int, disk: str, size: str) -> str:
        """Start growing a disk to an absolute size such as `40G`; equal size is a no-op."""
        ...

    async def power(self, node: str, vmid: int, verb: str, options: Mapping[str, JSON] | None = None) -> str:
        """Start a power task: verb is `start`, `stop`, `shutdown`, `reset` or `reboot`."""
        ...

    async def destroy(self, node: str, vmid: int) -> str:
        """Start DELETE with `purge=1 destroy-unreferenced-disks=1`."""
        ...

    async def tasks(self, node: str, *, vmid: int | None = None, typefilter: str = "") -> list[dict[str, JSON]]:
        """Return the node's task list (own tasks; all with Sys.Audit), active ones included."""
        ...

    async def task_status(self, node: str, upid: str) -> dict[str, JSON] | None:
        """Return `{status, exitstatus?}`; None when Proxmox does not know the task."""
        ...

    async def task_log(self, node: str, upid: str) -> Sequence[str]:
        """Return the first 50 lines of the task's log."""
        ...

    async def agent_file_read(self, node: str, vmid: int, path: str) -> str:
        """Read a file through the guest agent."""
        ...

    async def agent_interfaces(self, node: str, vmid: int) -> list[dict[str, JSON]]:
        """Return the guest's interfaces as the agent sees them (MACs in lower case)."""
        ...
