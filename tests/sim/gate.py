"""The one gate that all traffic of a simulated daemon goes through: every port call and every commit, numbered.

Witnesses see each call before and after its effect; a fate may kill the daemon on either side of it or lose its reply.
It never changes a request or an answer. Next: `invariants.py` (witnesses), `sweep.py` (fates), `house.py` (the ports).
"""

import asyncio
import contextvars
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cpcd.adapters.journal import SqliteJournal
from cpcd.adapters.kubeconfigs import KubeconfigFiles
from cpcd.lab.inprocess import LabKube
from cpcd.model.errors import Unreachable
from cpcd.model.keys import Key
from cpcd.model.ledger import Change, Event, Ledger
from cpcd.model.report import Pass
from cpcd.ports.bundle import WrittenKubeconfig
from cpcd.ports.guests import Guests, Host
from cpcd.ports.kube import GVK, Kube, Object, Served
from cpcd.ports.proxmox import Request, Response, Transport

__all__ = [
    "Call", "Fate", "Gate", "GatedGuests", "GatedJournal", "GatedKube", "GatedKubeconfigs", "GatedTransport",
    "MemoryDisk", "PatientKube", "Run", "Witness",
]  # fmt: skip

T = TypeVar("T")

VM = re.compile(r"/nodes/([^/]+)/qemu/(\d+)(?:/(.*))?$")
VERBS = {
    ("POST", "clone"): "clone",
    ("PUT", "config"): "configure",
    ("PUT", "resize"): "resize",
    ("DELETE", ""): "destroy",
    **{("POST", f"status/{verb}"): verb for verb in ("start", "stop", "shutdown", "reset", "reboot")},
}
PATIENCE = 15.0  # seconds until a watch looks although nothing was written or planned
GUEST_WRITES = frozenset({"etcd_remove", "etcd_move_leader", "join_secrets", "release_endpoint"})


class Fate(StrEnum):
    """What becomes of one call."""

    NONE = ""
    BEFORE = "crash-before"  # the daemon dies; the effect never happens
    AFTER = "crash-after"  # the effect happens; the daemon dies before it sees the reply
    LOST = "reply-lost"  # the effect happens; the connection is reset
    REFUSED = "refused"  # the effect never happens; Proxmox answers 595


@dataclass(frozen=True, slots=True)
class Run:
    """One pass under way; `number` counts the passes of all lives."""

    number: int
    key: Key
    life: int
    began: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a port: `target` is a path, a machine's name or an object, `vmid` the VM that a write is about."""

    number: int
    port: str
    verb: str
    target: str
    at: float
    life: int
    run: Run | None
    writes: bool = False
    vmid: int = 0
    node: str = ""
    uid: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        by = f" in a pass of {self.run.key}" if self.run else ""
        return f"call {self.number} at {self.at:.1f} s: {self.port} {self.verb} {self.target}{by}"


class Witness:
    """What sees everything; each method is a moment. Subclasses take the moments that they care about."""

    def calling(self, call: Call) -> None:
        """See a call that is about to have its effect."""

    def called(self, call: Call, answer: Any) -> None:
        """See a call that had its effect; `answer` may be the exception that the port raised."""

    def began(self, run: Run) -> None:
        """See a pass begin."""

    def ended(self, run: Run) -> None:
        """See a pass end, also by death."""

    def passed(self, done: Pass) -> None:
        """See what a pass reported."""

    def recorded(self, event: Event) -> None:
        """See an event go into history."""

    def crashed(self) -> None:
        """See the daemon die."""


class Gate:
    """Numbers the calls of all lives, asks for their fate, and tells the witnesses.

    `ledger` is what is committed: what the next life will find. `decide(call)` gives a call's fate.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.witnesses: list[Witness] = []
        self.decide: Callable[[Call], Fate] = lambda _: Fate.NONE
        self.ledger = Ledger()
        self.calls = 0
        self.runs = 0
        self.life = 0
        self.dead = asyncio.Event()
        self._run: contextvars.ContextVar[Run | None] = contextvars.ContextVar("run", default=None)

    def born(self) -> int:
        """Begin a life and return its number; calls of earlier ones never come through again."""
        self.life += 1
        self.dead.clear()
        return self.life

    def kill(self) -> None:
        """End the life: from now on none of its calls has an effect."""
        self.life += 1
        self.dead.set()
        for witness in self.witnesses:
            witness.crashed()

    @contextmanager
    def passing(self, key: Key, life: int) -> Iterator[None]:
        """Tell that a pass over a key is under way."""
        self.runs += 1
        run = Run(self.runs, key, life, self.now())
        mark = self._run.set(run)
        for witness in self.witnesses:
            witness.began(run)
        try:
            yield
        finally:
            self._run.reset(mark)
            for witness in self.witnesses:
                witness.ended(run)

    def call(self, life: int, port: str, verb: str, target: str, **about: Any) -> Call:
        """Number a call."""
        self.calls += 1
        return Call(
            number=self.calls, port=port, verb=verb, target=target, at=self.now(), life=life, run=self._run.get(),
            **about,
        )  # fmt: skip

    async def through(
        self,
        call: Call,
        effect: Callable[[], Awaitable[T]],
        *,
        lost: Callable[[], Exception],
        refused: Callable[[], T] | None = None,
    ) -> T:
        """Let a call have its effect and its fate."""
        fate = self._before(call)
        if call.life != self.life:
            await asyncio.Future()  # the dead wait for their cancellation
        if fate is Fate.REFUSED and refused is not None:
            return refused()
        if fate is Fate.REFUSED:
            raise lost()
        try:
            answer = await effect()
        except Exception as error:
            self._after(call, error)
            raise
        self._after(call, answer)
        if fate is Fate.AFTER and call.life == self.life:
            self.kill()
        if call.life != self.life:
            await asyncio.Future()
        if fate is Fate.LOST:
            raise lost()
        return answer

    def through_now(self, call: Call, effect: Callable[[], T]) -> T:
        """Let a call that cannot wait have its effect and its fate."""
        fate = self._before(call)
        if call.life != self.life:
            raise asyncio.CancelledError
        answer = effect()
        self._after(call, answer)
        if fate is Fate.AFTER:
            self.kill()
        if call.life != self.life:
            raise asyncio.CancelledError
        return answer

    def _before(self, call: Call) -> Fate:
        if call.life != self.life:
            return Fate.NONE
        fate = self.decide(call)
        if fate is Fate.BEFORE:
            self.kill()
        if fate in {Fate.BEFORE, Fate.REFUSED}:
            return fate
        for witness in self.witnesses:
            witness.calling(call)
        return fate

    def _after(self, call: Call, answer: Any) -> None:
        if call.port == "journal" and call.verb == "commit" and not isinstance(answer, Exception):
            self.ledger = self.ledger.after(call.given["changes"])
        for witness in self.witnesses:
            witness.called(call, answer)


class GatedTransport:
    """`ports.proxmox.Transport` through the gate."""

    def __init__(self, gate: Gate, life: int, inner: Transport) -> None:
        self._gate, self._life, self._inner = gate, life, inner

    async def send(self, request: Request) -> Response:
        """Send once."""
        about = self._about(request)
        verb = about.pop("verb")
        call = self._gate.call(self._life, "proxmox", verb, f"{request.method} {request.path}", **about)
        return await self._gate.through(call, lambda: self._inner.send(request), lost=_reset, refused=_no_worker)

    async def close(self) -> None:
        """Close what is inside."""
        await self._inner.close()

    @staticmethod
    def _about(request: Request) -> dict[str, Any]:
        found = VM.search(request.path)
        node, vmid, rest = (found[1], int(found[2]), found[3] or "") if found else ("", 0, "")
        verb = "read" if request.method == "GET" else VERBS.get((request.method, rest), "write")
        if verb == "clone":
            vmid = int(request.params["newid"])
        return {
            "verb": verb,
            "writes": request.method != "GET",
            "vmid": vmid,
            "node": node,
            "given": dict(request.params),
        }


class GatedGuests:
    """`ports.guests.Guests` through the gate."""

    def __init__(self, gate: Gate, life: int, inner: Guests) -> None:
        self._gate, self._life, self._inner = gate, life, inner

    async def listens(self, host: Host) -> bool:
        """Look at the SSH port."""
        return await self._gate.through(self._call(host, "listens"), lambda: self._inner.listens(host), lost=_cut(host))

    async def call(self, host: Host, verb: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a short verb."""
        call = self._call(host, verb, writes=verb in GUEST_WRITES, given=given)
        return await self._gate.through(call, lambda: self._inner.call(host, verb, given), lost=_cut(host))

    async def submit(self, host: Host, op: str, verb: str, given: Mapping[str, Any]) -> None:
        """Start a long verb."""
        call = self._call(host, "submit", writes=True, given={"op": op, "verb": verb})
        await self._gate.through(call, lambda: self._inner.submit(host, op, verb, given), lost=_cut(host))

    async def poll(self, host: Host, op: str, *, patience: float = 0) -> Mapping[str, Any]:
        """Return the state of an op."""
        call = self._call(host, "poll", given={"op": op})
        return await self._gate.through(call, lambda: self._inner.poll(host, op, patience=patience), lost=_cut(host))

    async def close(self) -> None:
        """Close what is inside."""
        await self._inner.close()

    def _call(self, host: Host, verb: str, **about: Any) -> Call:
        return self._gate.call(self._life, "guests", verb, host.name, uid=host.uid, **about)


class GatedKube:
    """`ports.kube.Kube` through the gate."""

    def __init__(self, gate: Gate, life: int, inner: Kube) -> None:
        self._gate, self._life, self._inner = gate, life, inner

    async def readyz(self) -> bool:
        return await self._read("readyz", "", self._inner.readyz)

    async def version(self) -> str:
        return await self._read("version", "", self._inner.version)

    async def served(self, group: str, kind: str) -> Served | None:
        return await self._read("served", f"{kind}.{group}", lambda: self._inner.served(group, kind))

    async def get(self, gvk: GVK, name: str, namespace: str = "") -> Object | None:
        return await self._read("get", f"{gvk.kind} {name}", lambda: self._inner.get(gvk, name, namespace))

    async def list(self, gvk: GVK, **options: str) -> tuple[list[Object], str]:
        return await self._read("list", gvk.kind, lambda: self._inner.list(gvk, **options), given=options)

    async def apply(self, obj: Object, *, force: bool = True, dry_run: bool = False) -> Object:
        target = f"{obj['kind']} {obj['metadata']['name']}"
        effect = partial(self._inner.apply, obj, force=force, dry_run=dry_run)
        return await (self._read if dry_run else self._write)("apply", target, effect)

    async def patch(self, gvk: GVK, name: str, merge: Mapping[str, Any], *, namespace: str = "") -> Object:
        effect = partial(self._inner.patch, gvk, name, merge, namespace=namespace)
        return await self._write("patch", f"{gvk.kind} {name}", effect, given={"merge": merge})

    async def delete(self, gvk: GVK, name: str, *, namespace: str = "", uid: str) -> None:
        effect = partial(self._inner.delete, gvk, name, namespace=namespace, uid=uid)
        await self._write("delete", f"{gvk.kind} {name}", effect, given={"namespace": namespace, "uid": uid})

    async def evict(self, namespace: str, name: str, uid: str) -> bool:
        effect = partial(self._inner.evict, namespace, name, uid)
        return await self._write("evict", f"Pod {name}", effect, given={"namespace": namespace, "uid": uid})

    async def approve(self, csr: str) -> None:
        await self._write("approve", f"CertificateSigningRequest {csr}", lambda: self._inner.approve(csr))

    async def watch(self, gvk: GVK, *, since: str, timeout: float = 300) -> AsyncIterator[tuple[str, Object]]:
        async def begin() -> None:
            return None

        await self._read("watch", gvk.kind, begin)
        async for change in self._inner.watch(gvk, since=since, timeout=timeout):
            if self._life != self._gate.life:
                await asyncio.Future()
            yield change

    async def close(self) -> None:
        await self._inner.close()

    async def _read(self, verb: str, target: str, effect: Callable[[], Awaitable[T]], **about: Any) -> T:
        return await self._gate.through(self._gate.call(self._life, "kube", verb, target, **about), effect, lost=_hung)

    async def _write(self, verb: str, target: str, effect: Callable[[], Awaitable[T]], **about: Any) -> T:
        return await self._read(verb, target, effect, writes=True, **about)


class PatientKube(LabKube):
    """The lab's API, whose watches look when something may have changed instead of twice a second."""

    async def watch(self, gvk: GVK, *, since: str, timeout: float = 300) -> AsyncIterator[tuple[str, Object]]:
        """Yield changes until the time is over."""
        end = self._world.events.now + timeout
        while self._world.events.now < end:
            cluster = await self._serving()
            with self._mapped():
                changes = cluster.store.changes(gvk, since)
            for change in changes:
                since = str(change.revision)
                yield change.type, change.obj
            await self._news(cluster.store.subscribe)

    async def _news(self, subscribe: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        """Wait for a write, for what the lab has planned next, or for some seconds."""
        loop, due = asyncio.get_running_loop(), self._world.events.next_due()
        news: asyncio.Future[None] = loop.create_future()
        wake = lambda: None if news.done() else news.set_result(None)  # noqa: E731
        soon = PATIENCE if due is None else due - self._world.events.now
        timer, leave = loop.call_later(min(PATIENCE, max(0.5, soon)), wake), subscribe(wake)
        try:
            await news
        finally:
            timer.cancel()
            leave()
        await self._sleep(0.2)


class GatedJournal(SqliteJournal):
    """The ledger's real SQL through the gate; `disk` is what outlives the daemon, a file or a `MemoryDisk`."""

    def __init__(self, gate: Gate, life: int, disk: "Path | MemoryDisk") -> None:
        super().__init__(disk if isinstance(disk, Path) else ":memory:", threaded=False)
        self._gate, self._life = gate, life
        if not isinstance(disk, Path):
            self._opened = disk.connection

    async def load(self) -> Ledger:
        """See the port; what the ledger holds is what the gate takes for committed."""
        call = self._gate.call(self._life, "journal", "load", "")
        ledger = await self._gate.through(call, super().load, lost=_hung)
        self._gate.ledger = ledger
        return ledger

    async def commit(self, changes: tuple[Change, ...]) -> None:
        """See the port."""
        if not changes:
            await super().commit(changes)
            return
        call = self._gate.call(
            self._life, "journal", "commit", _words(changes), writes=True, given={"changes": changes}
        )
        parent = super()
        await self._gate.through(call, lambda: parent.commit(changes), lost=_hung)

    def record(self, event: Event) -> None:
        """See the port: no call of its own, since nobody waits for it."""
        for witness in self._gate.witnesses:
            witness.recorded(event)
        super().record(event)


class MemoryDisk:
    """A disk without files: the connection of an in-memory ledger, which a crash leaves and a fork copies."""

    def __init__(self) -> None:
        journal = SqliteJournal(":memory:", threaded=False)
        self.connection = journal._db


class GatedKubeconfigs(KubeconfigFiles):
    """The real files through the gate; what was read is remembered by its text, because parsing YAML is slow."""

    def __init__(self, gate: Gate, life: int, directory: Path, described: dict[str, Any]) -> None:
        super().__init__(directory)
        self._gate, self._life, self._described = gate, life, described

    def describe(self, cluster: str) -> WrittenKubeconfig | None:
        """See the port."""
        text = self.text(cluster)
        if text not in self._described:
            self._described[text] = super().describe(cluster)
        found: WrittenKubeconfig | None = self._described[text]
        return found

    def write(self, cluster: str, admin_conf: str, *, server: str, context: str) -> None:
        """See the port."""
        call = self._gate.call(self._life, "kubeconfig", "write", cluster, writes=True)
        parent = super()
        self._gate.through_now(call, lambda: parent.write(cluster, admin_conf, server=server, context=context))


def _words(changes: Sequence[Change]) -> str:
    return " ".join(type(change).__name__ for change in changes)


def _no_worker() -> Response:
    return Response(595, "Connection refused", b"", {})


def _reset() -> Exception:
    return ConnectionResetError("connection reset by peer")


def _hung() -> Exception:
    return Unreachable("kube:lab", "the connection was reset")


def _cut(host: Host) -> Callable[[], Exception]:
    return lambda: Unreachable(f"guest:{host.uid}", f"the connection to {host.name} was reset")
