"""START HERE: what the daemon is made of, in which order it starts, what runs, and in which order it stops.

The way of data: specs and observer fill the view (`loop/state.py`), the dispatcher takes keys from the queue and
makes passes (`loop/runner.py`), reconcilers (`reconcilers/`) decide through `plan/` and act through ports. Adapters
come from `wiring.py`; the lab's world comes in through the same ports.
"""

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cpcd.loop.clock import SteadyClock
from cpcd.loop.dispatcher import Dispatcher
from cpcd.loop.endpoints import Endpoints
from cpcd.loop.health import unhealthy
from cpcd.loop.interest import Interest
from cpcd.loop.memory import Memory
from cpcd.loop.queue import Queue
from cpcd.loop.runner import ROUNDS, Runner
from cpcd.loop.state import State
from cpcd.loop.supervisor import Supervisor
from cpcd.model.desired import Cluster, Desired, Retry
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Key, Role, Scope, Wall
from cpcd.model.ledger import PutFact
from cpcd.model.report import Endpoint, Pass
from cpcd.model.seen import Asked
from cpcd.model.view import View
from cpcd.plan.edits import concerned
from cpcd.plan.guards import GUARDS
from cpcd.plan.resolve import resolve
from cpcd.plan.wakes import affected, lasting, stale, tokens
from cpcd.ports.bundle import Ports
from cpcd.ports.clock import Clock
from cpcd.ports.journal import Journal
from cpcd.reconcilers import RECONCILERS
from cpcd.sources.inside import Inside
from cpcd.sources.observer import Observer
from cpcd.sources.reading import Reader
from cpcd.sources.specs import SpecNews, Specs
from cpcd.status import Board, Metrics, Publisher, SpecState, Vitals, joined, note_clusters, pass_context, sentence

__all__ = ["Daemon", "Parts"]

# Kinds of scopes that are read while something is on its way and then no more: their age would only grow.
PASSING = frozenset({"attachments", "endpoint", "guestop", "pods", "tasks"})
FIRST_LOOK = 2.0  # seconds that READY waits for the first observation

_log = logging.getLogger("cpcd")


@dataclass(slots=True)
class Parts:
    """What the daemon is given: ports and everything that reads time, chance or disk.

    `ports` is called once with the view's reader, because adapters look up hosts and sites in the view.
    """

    clock: Clock
    journal: Journal
    ports: Callable[[Callable[[], View]], Ports]
    specs: Callable[[Callable[[], View]], Specs]
    names_of: Callable[[str], Asked]
    rng: random.Random = field(default_factory=random.Random)
    new_id: Callable[[], str] = field(default=lambda: uuid.uuid4().hex[:12])
    listeners: tuple[Callable[[Pass], None], ...] = ()


class Daemon:
    """The engine with its sources; the simulation and the process are built from this one class."""

    def __init__(self, parts: Parts) -> None:
        self.clock, self.journal = SteadyClock(parts.clock), parts.journal
        self.queue: Queue[Key] = Queue(self.clock)
        self.state = State(
            journal=self.journal, clock=self.clock, tokens=tokens, affected=affected, stale=stale, lasting=lasting,
            mint=parts.new_id, interest=Interest(self.queue.add, self._rank),
        )  # fmt: skip
        self.memory = Memory(
            state=self.state, journal=self.journal, clock=self.clock, first=self._installation, thawed=self._go_on
        )  # fmt: skip
        self.endpoints = Endpoints(self.clock, self.state.signal, self._endpoint)
        self.ports = parts.ports(lambda: self.state.view)
        self.specs = parts.specs(lambda: self.state.view)
        self.read = Reader(
            ports=self.ports, clock=self.clock, view=lambda: self.state.view, silent=self.endpoints.why,
            names_of=parts.names_of, lacking=self._lacking, answered=self._answered,
        )  # fmt: skip
        self.board, self.metrics = Board(), Metrics()
        self._publish = Publisher(
            # What people read has the time of the system, stepped or not; only decisions go by the steady one.
            board=self.board, metrics=self.metrics, journal=self.journal, clock=parts.clock, view=lambda: self.state.view
        )  # fmt: skip
        self._listeners = parts.listeners
        runner = Runner(
            reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve, read=self.read, state=self.state,
            ports=self.ports, clock=self.clock, new_op=parts.new_id,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            queue=self.queue, runner=runner, state=self.state, endpoints=self.endpoints, clock=self.clock,
            rng=parts.rng, policy=self._policy, report=self._report, new_run=parts.new_id, owned=self._owned, context=pass_context,
        )  # fmt: skip
        self.observer = Observer(
            state=self.state, ports=self.ports, clock=self.clock, endpoints=self.endpoints, read=self.read,
            wake=self.queue.add,
        )  # fmt: skip
        self.inside = Inside(state=self.state, clock=self.clock, read=self.read)
        self.supervisor = Supervisor(self.clock, self._fell)
        self._new_id = parts.new_id
        self._started = False
        self.impaired: dict[str, Failure] = {}
        """What this process lacks and goes on without, by name."""

    async def start(self) -> None:
        """Load the ledger, put a spec in force, look once at every Proxmox, and begin to work.

        A ledger that cannot be used freezes all mutation and is reported; everything else goes on.
        """
        # First, since whoever looks at Proxmox without it would take every VM for somebody else's.
        await self.memory.load()
        await self.look_at_spec(first=True)
        await self._first_look()
        self.supervisor.serve("dispatcher", self.dispatcher.serve)
        self.supervisor.serve("specs", self._follow_spec)
        self.supervisor.serve("ledger", self.memory.watch)
        self._started = True

    async def look_once(self) -> View:
        """Take the ledger, the spec and one fresh look at everything; change nothing and return the view."""
        await self.memory.load()
        await self.look_at_spec(first=True)
        # The spec has brought its watches with it; here everything is looked at once and nothing followed.
        await self.supervisor.stop()
        for site in self.state.view.desired.sites:
            await self.observer.look(site)
        # Reads lead to reads, as in a pass of the loop.
        for module in (one for _ in range(ROUNDS) for one in RECONCILERS):
            scopes = {scope for key in module.keys(self.state.view) for scope in module.reads(key, self.state.view)}
            ordered = sorted(scopes)
            answers = await asyncio.gather(*(self.read(scope) for scope in ordered))
            self.state.observe(dict(zip(ordered, answers, strict=True)))
        return self.state.view

    async def stop(self) -> None:
        """Stop working and write what is queued: an optimisation of `kill -9`, nothing depends on it."""
        await self.supervisor.stop()
        # After the passes: one that is under way would open its connection again.
        await self.ports.guests.close()
        try:
            await self.journal.close()
        except Failure as failure:
            _log.warning("the newest events are lost: %s", failure)

    async def look_at_spec(self, *, first: bool = False) -> None:
        """Read the spec; put it in force, or publish its mistakes and keep the last good one."""
        news = await self.specs.look()
        # A daemon that starts with a broken file goes on with the last good one, which is on the disk.
        if news.desired is None and first:
            kept = self.specs.last_good()
            # Enforced before the mistakes are told, so that they are told beside what is in force.
            if kept is not None and kept.desired is not None:
                await self._enforce(kept)
        if news.desired is None:
            self._refuse(news)
            return
        await self._enforce(news)

    def vitals(self) -> Vitals:
        """Return what the metrics tell of the engine itself; observations have an age as long as they are looked at."""
        view, now = self.state.view, self.clock.now()
        ages: dict[str, float] = {}
        for scope, seen in view.bulk.items():
            if scope.kind not in PASSING:
                ages[scope.kind] = max(ages.get(scope.kind, 0.0), now - seen.began)
        return Vitals(
            queue_depth=self.queue.depth(), queue_oldest=self.queue.oldest(),
            backoff_keys=self.dispatcher.backing_off(), ledger_writable=self.state.frozen is None,
            observation_ages=ages,
        )  # fmt: skip

    def troubles(self) -> list[str]:
        """Return what is wrong with cpcd itself and what its tokens may not do, worst first, as sentences with codes.

        A Proxmox that is down is told with the endpoints.
        """
        ledger = [self.state.frozen] if self.state.frozen else []
        sites = [f"pve:{site}" for site in self.state.view.desired.sites]
        up = {name: why for name, why in self.observer.silent.items() if self.endpoints.why(name) is None}
        found = [each[site] for each in (up, self.observer.lacking) for site in sites if site in each]
        return [failure.told for failure in (*ledger, *self.impaired.values(), *found)]

    def sentence(self) -> str:
        """Return the one sentence for systemd's STATUS=, troubles first; every few seconds, also without systemd."""
        note_clusters(self.state.view, self.board, Wall(self.clock.wall()))
        return joined([*self.troubles(), sentence(self.state.view, self.board)])

    def impair(self, name: str, failure: Failure | None) -> None:
        """Note that something is lacking, or with None that it is there again."""
        self.impaired.pop(name, None)
        if failure is not None:
            self.impaired[name] = failure
            _log.warning("%s", failure.told)

    def scrape(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        self.metrics.refresh(self.state.view, self.board, self.vitals())
        return self.metrics.render()

    def unhealthy(self) -> str:
        """Return why the daemon is not live, "" when it is."""
        return unhealthy(self.dispatcher.pulse, self.clock.now())

    def unready(self) -> str:
        """Return why the daemon is not ready, "" once a spec is in force, or its mistake published, and a look was tried.

        A ledger that cannot be written, or a silent Proxmox, does not make it unready: it observes and reports, and
        status, metrics and alerts say what is wrong.
        """
        if self._started:
            return ""
        known = self.board.spec.generation or self.board.spec.mistakes
        return "the first look at Proxmox is not over" if known else "the spec has not been read yet"

    def keys(self) -> list[Key]:
        """Return every object there is."""
        view = self.state.view
        return [key for module in RECONCILERS for key in module.keys(view)]

    def _installation(self, view: View) -> tuple[PutFact, ...]:
        """Without this mark nothing could be told to be ours, so it is there before anything is made."""
        return () if view.installation else (PutFact("installation", self._new_id()),)

    def _refuse(self, news: SpecNews) -> None:
        """Publish the mistakes, each with its code; what is in force stays, and so does its generation."""
        code = f"{news.code} "
        mistakes = tuple(code + mistake.removeprefix(code) for mistake in news.mistakes)
        # Once: the file is read again at every sign that it may have changed.
        if mistakes != self.board.spec.mistakes:
            _log.error("the spec is not put in force: %s", "; ".join(mistakes))
        self.board.spec = replace(self.board.spec, mistakes=mistakes, uncommitted=news.uncommitted)

    async def _enforce(self, news: SpecNews) -> None:
        assert news.desired is not None
        before = self.state.view
        self.state.desire(news.desired)
        self.board.spec = SpecState(news.generation, news.mistakes, news.uncommitted)
        changes = tuple(change for change in news.changes if isinstance(change, PutFact))
        await self.memory.put(*changes)
        self._watch(news.desired)
        known = {f"pve:{site}" for site in news.desired.sites} | {f"kube:{name}" for name in news.desired.clusters}
        for name in self.board.endpoints.keys() - known:
            self.endpoints.forget(name)
            del self.board.endpoints[name]
        for gone in self.board.objects.keys() - set(self.keys()):
            self._publish.forget(gone)
        # The same meaning in another form is no reason to look at anything (promise 1).
        if news.desired != before.desired:
            self._reconsider(before, replace(before, desired=news.desired))

    def _reconsider(self, before: View, after: View) -> None:
        """Look at what an edit is about, decisions first, and again at what failed before it."""
        self.dispatcher.retry()
        for key in reversed([*concerned(before, after, RECONCILERS)]):  # each goes to the front, so the first one last
            self.dispatcher.reset(key)

    def _watch(self, desired: Desired) -> None:
        """Run the watches of every site and cluster in the spec, and end those of others."""
        watches = {f"site {site}": self._watcher(self.observer.watch_site, site) for site in desired.sites}
        for cluster in desired.clusters:
            watches[f"nodes {cluster}"] = self._watcher(self.observer.watch_nodes, cluster)
            watches[f"requests {cluster}"] = self._watcher(self.observer.watch_requests, cluster)
            watches[f"inside {cluster}"] = self._watcher(self.inside.watch, cluster)
        for name in self.supervisor.running():
            if " " in name and name not in watches:  # the daemon's own services have names of one word
                self.supervisor.end(name)
        for name, watch in watches.items():
            self.supervisor.serve(name, watch)

    @staticmethod
    def _watcher(watch: Callable[[str], Any], name: str) -> Callable[[], Any]:
        return lambda: watch(name)

    async def _first_look(self) -> None:
        if not self.state.view.desired.sites:
            return
        # A Proxmox may be silent for hours, and the daemon is ready to say so.
        with contextlib.suppress(TimeoutError):
            async with self.clock.timeout(FIRST_LOOK):
                await self.observer.first_look.wait()

    async def _follow_spec(self) -> None:
        async for _ in self.specs.watch():
            await self.look_at_spec()

    async def _go_on(self) -> None:
        """Look at everything again with a ledger that can be written again."""
        # The last good spec is in the ledger: who could not read that at the start has not had it either.
        await self.look_at_spec(first=not self.state.view.desired.clusters)
        for key in self.keys():
            self.dispatcher.reset(key)

    def _rank(self, key: Key) -> int:
        """Control planes go first where machines queue: everything else waits for them."""
        row = self.state.view.row(key)
        return 0 if row is not None and row.role is Role.CONTROL_PLANE else 1

    def _policy(self, key: Key, failure: Failure, verb: str) -> Retry:
        cluster: Cluster | None = self.state.view.cluster(key.cluster)
        kind = "ansible" if verb == "prepare" else "network" if failure.code is Code.NETWORK else "default"
        return (cluster.retry if cluster else {}).get(kind, Retry())

    def _owned(self, endpoint: str) -> bool:
        return endpoint.removeprefix("pve:") in self.state.view.desired.sites

    def _lacking(self, endpoint: str) -> Failure | None:
        """Return which privileges a token lacks, as the observer found it."""
        return self.observer.lacking.get(endpoint)

    def _answered(self, scope: Scope, why: Failure | None) -> None:
        """An API of a cluster that exists is up or down as it was last seen; nothing parks on it (ADR 0016)."""
        if scope.kind == "api" and f"identity/{scope.owner}" in self.state.view.facts:
            name = f"kube:{scope.owner}"
            self.endpoints.up(name) if why is None else self.endpoints.down(name, why)

    def _endpoint(self, before: Endpoint | None, now: Endpoint) -> None:
        kind, _, name = now.name.partition(":")
        clusters = self.state.view.desired.clusters.values()
        needing = [one.name for one in clusters if (one.infrastructure.site if kind == "pve" else one.name) == name]
        self._publish.endpoint(before, now, needing, self._new_id())

    def _report(self, done: Pass) -> None:
        self._publish(done)
        for listen in self._listeners:
            listen(done)

    def _fell(self, name: str, error: BaseException) -> None:
        # A silent API is told as an endpoint (ADR 0016), and once.
        level = logging.DEBUG if isinstance(error, Unreachable) else logging.WARNING
        _log.log(level, "service %s fell and is started again: %s: %s", name, type(error).__name__, error)
