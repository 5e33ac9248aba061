"""One scope, read now: from what a port answers to a `Seen` value.

A silent guest or API is unknown, which is a value; a silent Proxmox is raised, because its keys park. Only
decision-relevant fields are kept, so that equal means no work.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from cpcd.model.desired import TemplateRef
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Instant, OpId, Role, Scope, Uid
from cpcd.model.ledger import Machine
from cpcd.model.seen import Asked, Members, Quorum, Resource, Seen, Task, Vm
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import PATIENCE
from cpcd.ports.bundle import Ports
from cpcd.ports.clock import Clock
from cpcd.ports.guests import Host
from cpcd.sources import cluster_reading as kube
from cpcd.sources import decode
from cpcd.sources.turns import first_answer

__all__ = ["Reader", "parked"]

TURN = 10.0  # seconds: a member that answers does so in one or two; one that is silent costs the others no more
REMEMBERED = 1000  # clones whose log was read; more than a node lists
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


class Reader:
    """Reads scopes; `view()` tells where things are, `silent(endpoint)` why asking is in vain, None when it is not.

    `answered(scope, why)` hears of each read whether it succeeded (None), or why it did not.
    `lacking(endpoint)` names the privileges that its token lacks: what a list does not show may be there all the same.
    """

    def __init__(
        self,
        *,
        ports: Ports,
        clock: Clock,
        view: Callable[[], View],
        silent: Callable[[str], Failure | None],
        lacking: Callable[[str], Failure | None],
        names_of: Callable[[str], Asked],
        answered: Callable[[Scope, Failure | None], None] = lambda _scope, _why: None,
    ) -> None:
        self._ports, self._clock, self._view = ports, clock, view
        self._silent, self._lacking, self._answered = silent, lacking, answered
        self._kube = kube.ClusterReader(ports, view, clock, names_of)
        self._made: dict[str, int] = {}
        self._naming: defaultdict[Scope, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __call__(self, scope: Scope) -> Seen[Any]:
        """Return what a scope is now; raises Failure when its Proxmox cannot be asked."""
        began = Instant(self._clock.now())
        try:
            value = await self._read(scope)
            seen = Seen(value, began, complete=True, took=self._clock.now() - began)
        except Failure as failure:
            self._answered(scope, failure)
            # A token that is refused is as good as silence: its keys park (ADR 0016).
            if failure.code is Code.AUTH and failure.target == f"pve:{scope.owner}":
                raise parked(failure.target, failure) from failure
            if self._raises(scope, failure):
                raise
            return Seen(None, began, complete=False, why=failure.what, code=failure.code)
        self._answered(scope, None)
        return seen

    def _raises(self, scope: Scope, failure: Failure) -> bool:
        """Proxmox's silence and refusals are somebody's business; the rest is an unknown of that scope."""
        proxmox = scope.kind in {"vm", "tasks", "template", "resources", "quorum"}
        return proxmox and (isinstance(failure, Unreachable) or failure.code is not Code.NETWORK)

    async def _read(self, scope: Scope) -> Any:
        reads: dict[str, Callable[[Scope], Awaitable[Any]]] = {
            "resources": self._resources,
            "quorum": self._quorum,
            "vm": self._vm,
            "tasks": self._tasks,
            "template": self._template,
            "guest": self._guest,
            "guestop": self._guestop,
            "etcd": self._etcd,
            "endpoint": self._endpoint,
        }
        known = reads.get(scope.kind)
        return await (known(scope) if known else self._kube.read(scope))

    def _proxmox(self, scope: Scope) -> Any:
        endpoint = f"pve:{scope.owner}"
        reason = self._silent(endpoint)
        if reason is not None:
            raise parked(endpoint, reason)
        return self._ports.proxmox(scope.owner)

    async def _resources(self, scope: Scope) -> dict[int, Resource]:
        return decode.resources(await self._proxmox(scope).resources())

    async def _quorum(self, scope: Scope) -> Quorum:
        return decode.quorum(await self._proxmox(scope).cluster_status())

    async def _vm(self, scope: Scope) -> Vm:
        proxmox, vmid = self._proxmox(scope), int(scope.name)
        row = next(r for r in self._view().machines.values() if r.site == scope.owner and r.vmid == vmid)
        row = self._where(row)
        if self._removed(row.site, row.node):
            return await self._stranded(scope, row)
        config, status = await asyncio.gather(proxmox.config(row.node, vmid), proxmox.status(row.node, vmid))
        if config is None or status is None:
            return await self._absent(scope, row)
        running = status.get("status") == "running"
        # What is off has nothing pending, and before it has joined nobody reboots a machine for it.
        pending = decode.pending(await proxmox.pending(row.node, vmid)) if running and row.joined else ()
        host_key = await self._host_key(row) if running else ""
        return decode.vm(row.node, config, status, pending, host_key)

    def _where(self, row: Machine) -> Machine:
        """Ask the node that the last bulk look names: a VM may have been migrated since its row was written."""
        listed: Mapping[int, Resource] = self._view().known(scopes.resources(row.site)) or {}
        return replace(row, node=listed[row.vmid].node) if row.vmid in listed else row

    async def _absent(self, scope: Scope, row: Machine) -> Vm:
        """Absent only with quorum and when Proxmox would give the VMID away: the token may not see everything."""
        proxmox = self._proxmox(scope)
        quorum = decode.quorum(await proxmox.cluster_status())
        if not quorum.quorate or row.node in quorum.offline:
            raise Failure(Code.NETWORK, f"{scope.owner} has no quorum or {row.node} is offline", target=str(scope))
        if not await proxmox.vmid_free(row.vmid):
            if self._taken_unseen(row):
                return Vm(exists=True)
            raise Failure(Code.NETWORK, f"VM {row.vmid} is not on {row.node}, yet its VMID is taken", target=str(scope))
        return Vm(exists=False)

    def _removed(self, site: str, node: str) -> bool:
        quorum: Quorum | None = self._view().known(scopes.quorum(site))
        return quorum is not None and quorum.removed(node)

    async def _stranded(self, scope: Scope, row: Machine) -> Vm:
        """What is on a node that was removed is out of reach like on one that is offline.

        Of who is to go it is absent when Proxmox, asked now, knows neither its node nor its VMID. Not of others: the
        node may run on by itself, and with it a machine that serves.
        """
        proxmox, words = self._proxmox(scope), f"Proxmox node {row.node} is no longer in the Proxmox cluster"
        quorum = decode.quorum(await proxmox.cluster_status())
        if row.retire and quorum.removed(row.node) and await proxmox.vmid_free(row.vmid):
            return Vm(exists=False)
        raise Failure(Code.NETWORK, words, target=str(scope))

    def _taken_unseen(self, row: Machine) -> bool:
        """Whether a VM that the token cannot see has the VMID of a row for which nothing was made yet (P02)."""
        view = self._view()
        listed: Mapping[int, Resource] | None = view.known(scopes.resources(row.site))
        begun = row.started or any(op.key.name == row.uid for op in view.ops.values())
        return not begun and listed is not None and row.vmid not in listed

    async def _host_key(self, row: Machine) -> str:
        """Return the key that is pinned, or the one that the guest agent shows, "" while there is none.

        The agent is asked only once sshd listens: a call that it does not answer holds one of the node's three workers
        for 3 s (recorded [601, 652]), and the agent is up 7 s before sshd (recorded [1007, 1069]).
        """
        known = self._view().facts.get(f"hostkey/{row.uid}")
        if known:
            return str(known)
        if not await self._ports.guests.listens(self._ports.host(row)):
            return ""
        try:
            text: str = await self._ports.proxmox(row.site).agent_file_read(row.node, row.vmid, HOST_KEY)
        except Unreachable:
            raise
        except Failure:
            return ""  # the agent is not up yet: a wait, not a failure (failures.md P03)
        return " ".join(text.split()[:2])

    async def _tasks(self, scope: Scope) -> tuple[Task, ...]:
        proxmox = self._proxmox(scope)
        node, _, vmid = scope.name.partition("/")
        if self._removed(scope.owner, node):
            raise Failure(Code.NETWORK, f"Proxmox node {node} is no longer in the Proxmox cluster", target=str(scope))
        listed = [decode.task(row) for row in await proxmox.tasks(node, vmid=int(vmid))]
        if all(task.type != "qmclone" or task.upid in self._made for task in listed):
            return tuple(decode.with_made(task, self._made.get(task.upid, 0)) for task in listed)
        # In turns: of all the passes that list the same clones one reads each log, and the others find it read.
        async with self._naming[scope]:
            return tuple([await self._named(proxmox, node, task) for task in listed])

    async def _named(self, proxmox: Any, node: str, task: Task) -> Task:
        """Read which VMID a clone made from its log, once (`failures.md` P22)."""
        if task.type != "qmclone":
            return task
        if task.upid not in self._made:
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            made = decode.made(await proxmox.task_log(node, task.upid))
            # The log of a clone that has only begun does not name it yet, and is read again.
            if made:
                self._made[task.upid] = made
        return decode.with_made(task, self._made.get(task.upid, 0))

    async def _template(self, scope: Scope) -> tuple[Resource, ...]:
        ref = self._reference(scope)
        if ref is None:
            return ()
        proxmox = self._proxmox(scope)
        rows = await proxmox.resources()
        resources, shared = decode.resources(rows), decode.shared_storages(rows)
        found = [r for r in resources.values() if r.template and ref.means(r.vmid, r.tags)]
        found = [r for r in found if not self._removed(scope.owner, r.node)]
        if not found:
            self._doubt(scope)
        configs = await asyncio.gather(*(proxmox.config(r.node, r.vmid) for r in found))
        copies = [decode.with_disks(r, config or {}, shared) for r, config in zip(found, configs, strict=True)]
        return tuple(sorted(copies, key=lambda r: r.vmid))

    def _reference(self, scope: Scope) -> TemplateRef | None:
        clusters = [c for c in self._view().desired.clusters.values() if c.infrastructure.site == scope.owner]
        templates = (group.machine.template for cluster in clusters for group in cluster.groups)
        return next((template for template in templates if template.name == scope.name), None)

    def _doubt(self, scope: Scope) -> None:
        """Raise when the token may not see VMs: a template that is not listed may be there all the same."""
        lacking = self._lacking(f"pve:{scope.owner}")
        if lacking is not None and "VM.Audit" in lacking.what:
            raise Failure(Code.AUTH, lacking.what, target=str(scope), hint=lacking.hint)

    async def _guest(self, scope: Scope) -> Any:
        row, asked = self._row(scope.name), self._clock.wall()
        facts = await self._ports.guests.call(self._ports.host(row), "facts", {"names": decode.FACTS})
        return decode.facts(facts, asked, self._clock.wall())

    async def _guestop(self, scope: Scope) -> Mapping[str, Any]:
        uid, _, op = scope.name.partition("/")
        return await self._ports.guests.poll(self._ports.host(self._row(uid)), OpId(op), patience=PATIENCE)

    async def _endpoint(self, scope: Scope) -> bool:
        cluster = self._view().cluster(scope.owner)
        if cluster is None:
            raise Failure(Code.NETWORK, f"{scope.owner} is no longer in the file", target=str(scope))
        place = Host("", f"the endpoint of {cluster.name}", cluster.endpoint.host, cluster.endpoint.port, (), "")
        return await self._ports.guests.listens(place)

    async def _etcd(self, scope: Scope) -> Any:
        """Ask the control planes in turn: one healthy peer's linearizable list is enough."""
        rows = [r for r in self._view().rows(scope.owner) if r.role is Role.CONTROL_PLANE and r.joined]
        if not rows:
            raise Failure(Code.NETWORK, "no control plane has joined yet", target=str(scope))
        # Who is on the way out comes last: it may be without its member by now.
        rows.sort(key=lambda r: (not r.wanted, r.index))
        return await first_answer([partial(self._members, row) for row in rows], self._clock, TURN)

    async def _members(self, row: Machine) -> Members:
        return decode.members(await self._ports.guests.call(self._ports.host(row), "etcd_members", {}))

    def _row(self, uid: str) -> Machine:
        row = self._view().machines.get(Uid(uid))
        if row is None:
            raise Failure(Code.NETWORK, f"machine {uid} is no more", target=uid)
        return row


def parked(endpoint: str, why: Failure) -> Unreachable:
    """Return the failure under which keys park on an endpoint.

    A refused token or certificate parks them like silence, since only the endpoint's owner can tell when it is mended;
    code, words and hint stay those of the refusal.
    """
    failure = Unreachable(endpoint, why.what, hint=why.hint)
    failure.code = why.code
    return failure
