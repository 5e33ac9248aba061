"""The verbs that cpcd uses on one Proxmox VE cluster, each one exchange.

It must never wait for a task, repeat a write or read success into a UPID; paths and parameters are Proxmox's own.
Errors: `failures.py`. The contract: `ports/proxmox.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from cpcd.adapters.proxmox.failures import About, AnswerError, mapped
from cpcd.adapters.proxmox.path import ROOT, NotTheApiError, Path, Session
from cpcd.ports.proxmox import Transport

__all__ = ["ProxmoxApi"]

JSON = Any
Row = dict[str, JSON]
T = TypeVar("T")

_TASKS: Final = 500  # the default page is 50 (`failures.md` section 0); a busy node has more within one op


class ProxmoxApi:
    """`ports.proxmox.Proxmox` over a transport; `site` names it in failures (`pve:home`).

    `token()` is asked for each call, so that a rotated secret needs no restart; it is never part of an error.
    """

    def __init__(self, transport: Transport, site: str, token: Callable[[], str]) -> None:
        self._site = site
        self._root = Path(base_url=ROOT, session=Session(transport, token))

    async def resources(self) -> list[Row]:
        """See the port."""
        with self._about("reading /cluster/resources"):
            return _typed(list, await self._root.cluster.resources.get())

    async def cluster_status(self) -> list[Row]:
        """See the port."""
        with self._about("reading /cluster/status"):
            return _typed(list, await self._root.cluster.status.get())

    async def permissions(self) -> dict[str, dict[str, int]]:
        """See the port."""
        with self._about("reading the token's permissions"):
            granted = _typed(dict, await self._root.access.permissions.get())
            return {path: _typed(dict, privileges) for path, privileges in granted.items()}

    async def config(self, node: str, vmid: int, *, current: bool = False) -> Row | None:
        """See the port; None is no proof of absence (a read through the wrong node looks the same)."""
        options = {"current": 1} if current else {}
        try:
            with self._about(f"reading the config of VM {vmid}", node, vmid):
                return _typed(dict, await self._vm(node, vmid).config.get(**options))
        except AnswerError:
            return None

    async def status(self, node: str, vmid: int) -> Row | None:
        """See the port; None is no proof of absence."""
        try:
            with self._about(f"reading the status of VM {vmid}", node, vmid):
                return _typed(dict, await self._vm(node, vmid).status.current.get())
        except AnswerError:
            return None

    async def pending(self, node: str, vmid: int) -> list[Row]:
        """See the port."""
        with self._about(f"reading pending changes of VM {vmid}", node, vmid):
            return _typed(list, await self._vm(node, vmid).pending.get())

    async def vmid_free(self, vmid: int) -> bool:
        """See the port (recorded(73), recorded(209))."""
        try:
            with self._about(f"asking whether VMID {vmid} is free"):
                named = await self._root.cluster.nextid.get(vmid=vmid)
                if str(named) != str(vmid):  # absence rests on this answer, so nothing else will do
                    raise NotTheApiError("another VMID than the one that was asked for")
        except AnswerError:
            return False
        return True

    async def clone(  # noqa: PLR0913 - the port has them, Proxmox's own call does
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
        """See the port; an empty pool or target is left out, as is a target that is the template's own node."""
        options: Row = {"newid": newid, "name": name, "description": description, "full": full}
        options |= {"pool": pool} if pool else {}
        options |= {"storage": storage} if storage else {}
        options |= {"target": target} if target not in {"", node} else {}
        with self._about(f"clone of template {template} to {newid}", node, newid):
            return _upid(await self._vm(node, template).clone.post(**options))

    async def configure(self, node: str, vmid: int, options: Mapping[str, JSON], *, digest: str) -> None:
        """See the port; an empty digest is not sent, which is right only for a VM that nobody else can know."""
        guarded = {**options, **({"digest": digest} if digest else {})}
        with self._about(f"configuring VM {vmid}", node, vmid):
            await self._vm(node, vmid).config.put(**guarded)

    async def resize(self, node: str, vmid: int, disk: str, size: str) -> str:
        """See the port."""
        with self._about(f"resize of {disk} of VM {vmid} to {size}", node, vmid):
            return _upid(await self._vm(node, vmid).resize.put(disk=disk, size=size))

    async def power(self, node: str, vmid: int, verb: str, options: Mapping[str, JSON] | None = None) -> str:
        """See the port."""
        with self._about(f"{verb} of VM {vmid}", node, vmid):
            return _upid(await self._vm(node, vmid).status(verb).post(**(options or {})))

    async def destroy(self, node: str, vmid: int) -> str:
        """See the port."""
        with self._about(f"destroying VM {vmid}", node, vmid):
            # With the disks that no config names (a clone or a move that died leaves them) and its entries in backup
            # jobs and HA.
            return _upid(await self._vm(node, vmid).delete(**{"purge": 1, "destroy-unreferenced-disks": 1}))

    async def tasks(self, node: str, *, vmid: int | None = None, typefilter: str = "") -> list[Row]:
        """See the port; the newest 500."""
        # By default a node lists only tasks that have ended.
        options: Row = {"source": "all", "limit": _TASKS}
        options |= {"vmid": vmid} if vmid is not None else {}
        options |= {"typefilter": typefilter} if typefilter else {}
        with self._about(f"listing the tasks of node {node}", node):
            return _typed(list, await self._root.nodes(node).tasks.get(**options))

    async def task_status(self, node: str, upid: str) -> Row | None:
        """See the port; None also just after a task began (T15)."""
        try:
            with self._about(f"reading task {upid}", node):
                return _typed(dict, await self._root.nodes(node).tasks(upid).status.get())
        except AnswerError:
            return None

    async def task_log(self, node: str, upid: str) -> Sequence[str]:
        """See the port; a missing task's log is one line that says so, with status 200 (recorded in tasks)."""
        with self._about(f"reading the log of task {upid}", node):
            lines = _typed(list, await self._root.nodes(node).tasks(upid).log.get())
        return [str(line.get("t") or "") for line in lines if isinstance(line, Mapping)]

    async def agent_file_read(self, node: str, vmid: int, path: str) -> str:
        """See the port (recorded(685))."""
        with self._about(f"reading {path} of VM {vmid} through the guest agent", node, vmid):
            answer = _typed(dict, await self._vm(node, vmid).agent("file-read").get(file=path))
            return _typed(str, answer.get("content"))

    async def agent_interfaces(self, node: str, vmid: int) -> list[Row]:
        """See the port; Proxmox wraps it in `result`."""
        with self._about(f"reading the interfaces of VM {vmid} through the guest agent", node, vmid):
            answer = _typed(dict, await self._vm(node, vmid).agent("network-get-interfaces").get())
            return _typed(list, answer.get("result"))

    def _vm(self, node: str, vmid: int) -> Path:
        vm: Path = self._root.nodes(node).qemu(vmid)
        return vm

    def _about(self, what: str, node: str = "", vmid: int = 0) -> AbstractContextManager[None]:
        return mapped(About(self._site, what, node, vmid))


def _typed(kind: type[T], value: object) -> T:
    """Check the type of every reply: a wrong one is somebody else's JSON (T10)."""
    if not isinstance(value, kind):
        raise NotTheApiError(f"{type(value).__name__} in the place of {kind.__name__}")
    return value


def _upid(value: object) -> str:
    """Check that a write was answered with a task; what it came to is the task's to say."""
    upid = _typed(str, value)
    if not upid.startswith("UPID:"):
        raise NotTheApiError("no task in the place of one")
    return upid
