"""Watches: one bulk look a tick at each Proxmox, and each cluster's Nodes and requests; they only choose keys.

Bulk reads lag by ten seconds and go back in time, so nothing is decided on them that a pass does not read afresh.
The observer owns connectivity: it alone says that a Proxmox is up again, which wakes what was parked.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from cpcd.loop.endpoints import Endpoints
from cpcd.loop.state import State
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Instant, Key, Kind, Scope
from cpcd.model.seen import Node, Quorum, Resource, Seen
from cpcd.plan import scopes
from cpcd.plan.case import machine_key
from cpcd.ports.bundle import Ports
from cpcd.ports.clock import Clock
from cpcd.ports.kube import GVK, Kube, Object
from cpcd.sources import decode
from cpcd.sources.claims import Claims
from cpcd.sources.doctor import missing

__all__ = ["Observer"]

TICK = 10.0  # seconds between bulk looks (spec.md numbers)
LIMIT = 12.0  # seconds until a bulk look counts as silence, so that an outage shows within 30 s
PRIVILEGES = 60.0  # seconds between looks at what the token may do; at every tick while it lacks something
RELIST = 600.0
REWATCH = 1.0  # seconds between two lists, whatever ends the watches
NODE, CSR = GVK("v1", "Node"), GVK("certificates.k8s.io/v1", "CertificateSigningRequest")


class Observer:
    """The watches of all sites and clusters; `wake` puts a key into the queue."""

    def __init__(
        self,
        *,
        state: State,
        ports: Ports,
        clock: Clock,
        endpoints: Endpoints,
        read: Callable[[Scope], Coroutine[Any, Any, Seen[Any]]],
        wake: Callable[[Key], None],
    ) -> None:
        self._state, self._ports, self._clock, self._read = state, ports, clock, read
        self._endpoints, self._wake = endpoints, wake
        self.first_look = asyncio.Event()
        self.silent: dict[str, Failure] = {}
        """By endpoint: why its bulk look fails now; one that is down is told by `Endpoints`."""
        self.lacking: dict[str, Failure] = {}
        """By endpoint: the privileges that its token lacks."""
        self._asked: dict[str, float] = {}
        self._claims: dict[str, Claims] = {}

    async def watch_site(self, site: str) -> None:
        """Look at one Proxmox for ever."""
        while True:
            began = self._clock.now()
            await self.look(site)
            self.first_look.set()
            # From the beginning of the last look: a slow Proxmox is not asked more seldom for it.
            await self._clock.sleep(max(0.5, TICK - (self._clock.now() - began)))

    async def look(self, site: str) -> None:
        """Make one bulk look: two requests, whatever the number of VMs, and now and then one for the privileges."""
        endpoint, began = f"pve:{site}", Instant(self._clock.now())
        try:
            async with self._clock.timeout(LIMIT):
                rows, status = await self._bulk(site)
            found, quorum = decode.resources(rows), decode.quorum(status)
        except TimeoutError:
            self._unknown(site, began, Unreachable(endpoint, f"Proxmox {site} does not answer"))
            return
        except Failure as failure:
            self._unknown(site, began, failure)
            # What is refused may only lack a privilege (T05), which can be named.
            if failure.code is Code.AUTH:
                await self._privileges(site)
            return
        claims = await self._look_at_claims(site, began, found)
        # Before the resources are known: no cluster may decide on them while nobody has asked whose those VMs are.
        self._state.observe({scopes.claims(site): claims})
        self._known(site, began, found, quorum)
        self.silent.pop(endpoint, None)
        # Last, since it wakes all that are parked: they find what this look has seen.
        self._endpoints.up(endpoint)

    async def _look_at_claims(self, site: str, began: Instant, found: Mapping[int, Resource]) -> Seen[Any]:
        look = self._claims.setdefault(site, Claims())
        try:
            claims = await look.look(self._ports.proxmox(site), self._state.view, site, found)
        except Failure as failure:
            return Seen(None, began, complete=False, why=failure.what)
        return Seen(claims, began, complete=True)

    async def _bulk(self, site: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        proxmox = self._ports.proxmox(site)
        # Side by side, so that a list is judged by the quorum of the same moment.
        rows, status = await asyncio.gather(proxmox.resources(), proxmox.cluster_status())
        if self._in_doubt(f"pve:{site}"):
            # Before what was listed is used: what a token may not see is in no list.
            await self._privileges(site)
        return rows, status

    def _in_doubt(self, endpoint: str) -> bool:
        """Whether it is time to ask what the token may do."""
        asked = self._asked.get(endpoint)
        late = asked is None or self._clock.now() - asked > PRIVILEGES
        return late or endpoint in self.lacking or self._endpoints.why(endpoint) is not None

    async def _privileges(self, site: str) -> None:
        """Name what the token lacks before a call meets it: to Proxmox a VM that it may not see is not there."""
        endpoint = f"pve:{site}"
        self._asked[endpoint] = self._clock.now()
        try:
            lacking = missing(await self._ports.proxmox(site).permissions())
        except Failure:
            return  # the bulk look has met the same and says so
        if self.lacking.pop(endpoint, None) and not lacking:
            self._wake_all(site)
        if lacking:
            what, hint = f"the token lacks {', '.join(lacking)}", "Grant it in Datacenter > Permissions."
            self.lacking[endpoint] = Failure(Code.AUTH, what, target=endpoint, hint=hint)

    def _wake_all(self, site: str) -> None:
        """Let what failed for want of a privilege look again at once."""
        for row in self._state.view.machines.values():
            if row.site == site:
                self._wake(machine_key(row))
        self._wake_templates(site)

    def _wake_templates(self, site: str) -> None:
        clusters = [c for c in self._state.view.desired.clusters.values() if c.infrastructure.site == site]
        for name in {group.machine.template.name for cluster in clusters for group in cluster.groups}:
            self._wake(Key(site, Kind.TEMPLATE, name))

    async def watch_nodes(self, cluster: str) -> None:
        """Watch one cluster's Nodes: list, then events, then list again; ends when the API fails, to be restarted."""
        kube = await self._api(cluster)
        while True:
            began = Instant(self._clock.now())
            # Anew each time: what happened between two watches is in no event (C06).
            nodes, version = await self._listed(cluster, kube)
            self._nodes(cluster, nodes, began)
            async for kind, obj in self._events(kube, NODE, version):
                one = decode.node(obj)
                # Another mapping each time: the one before may be a part of a view that somebody still decides on.
                nodes = {name: node for name, node in nodes.items() if name != one.name}
                nodes |= {} if kind == "DELETED" else {one.name: one}
                self._nodes(cluster, nodes, Instant(self._clock.now()))

    async def _listed(self, cluster: str, kube: Kube) -> tuple[dict[str, Node], str]:
        """List the Nodes; that is also how a silence of the API, and its end, are found out without any pass.

        What was answered is let go: a watch lasts for ten minutes, and a thousand Nodes as they are sent are 7 MB.
        """
        scope = scopes.api(cluster)
        try:
            objects, version = await kube.list(NODE)
        except Failure:
            self._state.observe({scope: await self._read(scope)})
            raise
        if self._state.view.known(scope) is None:
            self._state.observe({scope: await self._read(scope)})
        return {one.name: one for one in map(decode.node, objects)}, version

    async def watch_requests(self, cluster: str) -> None:
        """Watch certificate requests: a new one wakes the key of its Node."""
        kube = await self._api(cluster)
        while True:
            version = (await kube.list(CSR))[1]
            await self._requests(cluster)
            async for _ in self._events(kube, CSR, version):
                await self._requests(cluster)

    async def _requests(self, cluster: str) -> None:
        """Of a thousand Nodes a request is the business of one."""
        scope = scopes.csrs(cluster)
        before = self._state.view.known(scope) or ()
        seen = await self._read(scope)
        self._state.observe({scope: seen})
        for name in sorted({csr.node for csr in seen.known or () if csr not in before}):
            # A kubelet that is none of ours asks too; without a row it has no key.
            if (cluster, name) in self._state.view.ledger.named:
                self._wake(Key(cluster, Kind.NODES, name))

    async def _api(self, cluster: str) -> Kube:
        """Return a cluster's API once there is a cluster."""
        while f"identity/{cluster}" not in self._state.view.facts:
            await self._clock.sleep(2)
        return self._ports.kube(cluster)

    async def _events(self, kube: Kube, gvk: GVK, since: str) -> AsyncIterator[tuple[str, Object]]:
        """Yield events until the watch ends or expires, never sooner than a second after it began (C07, C08)."""
        began = self._clock.now()
        try:
            async for kind, obj in kube.watch(gvk, since=since, timeout=RELIST):
                if kind != "BOOKMARK":  # once a minute, and about no object: it has no name
                    yield kind, obj
        except Failure as failure:
            if "Expired" not in failure.what:
                raise
        await self._clock.sleep(max(0.0, REWATCH - (self._clock.now() - began)))

    def _unknown(self, site: str, began: Instant, failure: Failure) -> None:
        seen: Seen[Any] = Seen(None, began, complete=False, why=failure.what)
        self._state.observe({scope(site): seen for scope in (scopes.resources, scopes.quorum, scopes.claims)})
        self.silent[f"pve:{site}"] = failure
        # Another failure is of this call alone: passes that ask for something else go on.
        if isinstance(failure, Unreachable) or failure.code in {Code.NETWORK, Code.AUTH}:
            self._endpoints.down(f"pve:{site}", failure)

    def _known(self, site: str, began: Instant, found: Mapping[int, Resource], quorum: Quorum) -> None:
        before: Mapping[int, Resource] = self._state.view.known(scopes.resources(site)) or {}
        self._state.observe(
            {
                scopes.resources(site): Seen(found, began, complete=True),
                scopes.quorum(site): Seen(quorum, began, complete=True),
            }
        )
        changed = {vmid for vmid in {*before, *found} if before.get(vmid) != found.get(vmid)}
        for row in self._state.view.machines.values() if changed else ():
            if row.site == site and row.vmid in changed:
                self._wake(machine_key(row))
        if any(one.template for vmid in changed for one in (before.get(vmid), found.get(vmid)) if one):
            self._wake_templates(site)

    def _nodes(self, cluster: str, nodes: Mapping[str, Node], began: Instant) -> None:
        before: Mapping[str, Node] = self._state.view.known(scopes.nodes(cluster)) or {}
        seen: dict[Scope, Seen[Any]] = {scopes.nodes(cluster): Seen(dict(nodes), began, complete=True)}
        ours = {row.name for row in self._state.view.rows(cluster)}
        for name in sorted({*before, *nodes} & ours):
            # Only those that changed: a thousand Nodes would wake a thousand keys at each event.
            if before.get(name) != nodes.get(name):
                seen[scopes.node(cluster, name)] = Seen(nodes.get(name), began, complete=True)
        self._state.observe(seen)
