"""The ports on the lab without sockets: what the simulation and the contract suites use.

Each call sleeps its latency before and after the effect, so that a crash or a cut can fall on both sides; foreign
errors become the `Failure` that the real adapters make of them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from cpcd.guest.jobs import LOOK
from cpcd.lab.guests import Guest, VerbFailed
from cpcd.lab.kube import ApiError, Cluster, UnknownKindError
from cpcd.lab.kube.bookmarks import bookmark, moments
from cpcd.lab.pve import SECONDS
from cpcd.lab.world import World
from cpcd.model.errors import Code, Failure, NotServed, Unreachable
from cpcd.ports.guests import Host
from cpcd.ports.kube import GVK, Object, Served
from cpcd.ports.proxmox import Request, Response

__all__ = ["LabGuests", "LabKube", "LabTransport"]

API: Final = 0.002  # seconds of latency on each side of an API call
SSH: Final = 0.05
REFUSED: Final = 0.01
HANG: Final = 30.0  # seconds until a client gives up on a read that has no quorum
REASONS: Final = {
    "NoQuorum": Code.TIMEOUT,
    "Timeout": Code.TIMEOUT,
    "CommandMissing": Code.DEPENDENCY,
    "InvalidInput": Code.INPUT,
}

Sleep = Callable[[float], Awaitable[None]]


class LabTransport:
    """`ports.proxmox.Transport` on `Pve.handle`."""

    def __init__(self, world: World, sleep: Sleep) -> None:
        self._world, self._sleep = world, sleep

    async def send(self, request: Request) -> Response:
        """Send once; a silent Proxmox is a TimeoutError after the client's 40 s."""
        await self._sleep(API)
        try:
            answer = self._world.pve.handle(request)
        except TimeoutError:
            await self._sleep(40.0)
            raise
        seconds = float(answer.headers.get(SECONDS, 0))
        await self._sleep(API + seconds)
        headers = {name: value for name, value in answer.headers.items() if name != SECONDS}
        return Response(answer.status, answer.reason, answer.body, headers)

    async def close(self) -> None:
        """Nothing is open."""


class LabGuests:
    """`ports.guests.Guests` on the guest model."""

    def __init__(self, world: World, sleep: Sleep) -> None:
        self._world, self._sleep = world, sleep

    async def listens(self, host: Host) -> bool:
        """Return whether a machine's sshd is up at the address, or an API server at address and port."""
        await self._sleep(SSH)
        self._world.events.settle()
        api = self._world.reach(host.address, host.port)
        return api is not None or self._world.guest_at(host.address) is not None

    async def call(self, host: Host, verb: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a short verb; its effect falls at the beginning of its seconds."""
        guest = await self._reached(host)
        with _refusals(host.name):
            try:
                output, seconds = guest.call(verb, given)
            except VerbFailed as failed:
                await self._sleep(failed.seconds)
                raise
        await self._sleep(SSH + seconds)
        return output

    async def submit(self, host: Host, op: str, verb: str, given: Mapping[str, Any]) -> None:
        """Start a long verb; a known op is not started twice."""
        guest = await self._reached(host)
        with _refusals(host.name):
            guest.submit(op, verb, given)
        await self._sleep(SSH)

    async def poll(self, host: Host, op: str, *, patience: float = 0) -> Mapping[str, Any]:
        """Return the state of an op."""
        answer = (await self._reached(host)).poll(op)
        while answer["state"] == "running" and patience > 0:
            await self._sleep(LOOK)
            patience -= LOOK
            answer = (await self._reached(host)).poll(op)  # who goes down while he is waited for, answers no more
        await self._sleep(SSH)
        return answer

    async def close(self) -> None:
        """Nothing is open."""

    async def _reached(self, host: Host) -> Guest:
        await self._sleep(SSH)
        self._world.events.settle()
        endpoint = f"guest:{host.uid}"
        if not host.users:
            what = "nothing says how to reach it: its document is gone"
            raise Failure(Code.CONFIG, what, target=host.name)
        if not host.host_key:
            raise Failure(Code.AUTH, f"no host key of {host.name} is pinned", target=host.name)
        guest = self._world.guest_at(host.address)
        if guest is None:
            await self._sleep(REFUSED)
            raise Unreachable(endpoint, f"{host.name} ({host.address}) refuses the connection")
        # Type and key; the comment behind them is no part of it.
        if guest.host_key.split()[:2] != host.host_key.split()[:2]:
            raise Failure(Code.AUTH, f"the host key of {host.name} is not the pinned one", target=host.name)
        if not set(host.users) & set(guest.users):
            raise Failure(Code.AUTH, f"the key is refused for {', '.join(host.users)}", target=host.name)
        return guest


class LabKube:
    """`ports.kube.Kube` on the store of whatever cluster answers at an address.

    With `ca_hash`, that of the kubeconfig's authority, it trusts no other cluster: TLS itself is not modelled.
    """

    def __init__(
        self, world: World, address: str, port: int, sleep: Sleep, *, endpoint: str = "kube:lab", ca_hash: str = ""
    ) -> None:
        self._world, self._place, self._sleep = world, (address, port), sleep
        self._endpoint, self._ca_hash = endpoint, ca_hash

    async def readyz(self) -> bool:
        """Return whether the API server at the address is ready."""
        return (await self._connected()).serving()

    async def version(self) -> str:
        """Return the server's version."""
        return (await self._serving()).plan.version

    async def served(self, group: str, kind: str) -> Served | None:
        """Return how a kind is served, None when it is not."""
        row = (await self._serving()).store.served(group, kind)
        return Served(GVK(row.api_version, row.kind), row.namespaced) if row else None

    async def get(self, gvk: GVK, name: str, namespace: str = "") -> Object | None:
        """Return one object or None."""
        cluster = await self._serving()
        try:
            with self._mapped():
                return cluster.store.get(gvk, name, namespace)
        except (_GoneError, NotServed):
            return None

    async def list(
        self, gvk: GVK, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[list[Object], str]:
        """Return the matching objects and the revision."""
        cluster = await self._serving()
        with self._mapped():
            return cluster.store.list(gvk, namespace=namespace, labels=labels, fields=fields)

    async def apply(self, obj: Object, *, force: bool = True, dry_run: bool = False) -> Object:
        """Server-side apply."""
        cluster = await self._serving()
        with self._mapped():
            stored = cluster.store.apply(obj, force=force, dry_run=dry_run)
        await self._sleep(API)
        return stored

    async def patch(self, gvk: GVK, name: str, merge: Mapping[str, Any], *, namespace: str = "") -> Object:
        """JSON merge patch."""
        cluster = await self._serving()
        with self._mapped():
            stored = cluster.store.patch(gvk, name, merge, namespace=namespace)
        await self._sleep(API)
        return stored

    async def delete(self, gvk: GVK, name: str, *, namespace: str = "", uid: str) -> None:
        """Delete with a uid precondition; absent or replaced is a no-op."""
        cluster = await self._serving()
        try:
            with self._mapped():
                cluster.store.delete(gvk, name, namespace=namespace, uid=uid)
        except (_GoneError, _ConflictError, NotServed):
            return
        await self._sleep(API)

    async def evict(self, namespace: str, name: str, uid: str) -> bool:
        """Evict a pod; False when a budget or its namespace's end refuses."""
        cluster = await self._serving()
        try:
            with self._mapped():
                cluster.store.evict(namespace, name, uid)
        except (_GoneError, _ConflictError):
            return True
        except _RefusedForNowError:
            return False
        await self._sleep(API)
        return True

    async def approve(self, csr: str) -> None:
        """Approve a request."""
        cluster = await self._serving()
        with self._mapped():
            cluster.store.approve(csr)
        await self._sleep(API)

    async def watch(self, gvk: GVK, *, since: str, timeout: float = 300) -> AsyncIterator[tuple[str, Object]]:
        """Yield changes until the time is over; looks twice a second, as often as anybody could notice."""
        began, marks = self._world.events.now, [*moments(timeout)]
        while self._world.events.now < began + timeout:
            cluster = await self._serving()
            with self._mapped():
                changes = cluster.store.changes(gvk, since)
            # Before they are handed out: what comes meanwhile is of a later turn.
            since = str(max(cluster.store.objects.revision, int(since or 0)))
            for change in changes:
                yield change.type, change.obj
            if marks and self._world.events.now >= began + marks[0]:
                marks.pop(0)
                yield bookmark(gvk, since)
            await self._sleep(0.5)

    async def close(self) -> None:
        """Nothing is open."""

    async def _connected(self) -> Cluster:
        await self._sleep(API)
        self._world.events.settle()
        cluster = self._world.reach(*self._place)
        if cluster is None:
            raise Unreachable(self._endpoint, f"{self._place[0]}:{self._place[1]} refuses the connection")
        if self._ca_hash not in {"", cluster.ca_hash}:
            what = "the API's certificate is not trusted: unable to get local issuer certificate"
            raise Failure(Code.AUTH, what, target=self._endpoint)
        return cluster

    async def _serving(self) -> Cluster:
        cluster = await self._connected()
        if not cluster.healthy():
            await self._sleep(HANG)
            raise Unreachable(self._endpoint, f"the API at {self._place[0]} does not answer: etcd has no quorum")
        return cluster

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except UnknownKindError as error:
            raise NotServed(self._endpoint, "the cluster does not serve this kind") from error
        except ApiError as error:
            raise _failure(self._endpoint, error) from error


class _GoneError(Failure):
    """404."""


class _ConflictError(Failure):
    """409."""


class _RefusedForNowError(Failure):
    """429, and 403 of a namespace that is being terminated."""


def _failure(endpoint: str, error: ApiError) -> Failure:
    kinds: dict[int, type[Failure]] = {404: _GoneError, 409: _ConflictError, 429: _RefusedForNowError}
    ending = any(cause["reason"] == "NamespaceTerminating" for cause in error.causes)
    code = Code.AUTH if error.code == 401 else Code.EXECUTION  # its 403s are admission's: rights are not modelled
    words = f"{error.code} {error.reason}: {error.message}"
    return (_RefusedForNowError if ending else kinds.get(error.code, Failure))(code, words, target=endpoint)


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    try:
        yield
    except VerbFailed as failed:
        if failed.reason == "busy":
            raise Failure(Code.EXECUTION, "busy", target=name) from failed
        code = REASONS.get(failed.reason, Code.EXECUTION)
        raise Failure(code, f"{failed.reason}: {failed.message}", target=name) from failed
