"""The engine by itself: what it costs when nothing changed among a thousand machines, and the queue; in CPU time."""

import json
from collections.abc import Iterator
from statistics import median
from typing import Any, Final

from cpcd.adapters.proxmox import ProxmoxApi, Slots
from cpcd.lab.guests import Durations
from cpcd.lab.pve import Settings
from cpcd.lab.simloop import SimClock, SimLoop
from cpcd.lab.world import World
from cpcd.loop.endpoints import Endpoints
from cpcd.loop.interest import Interest
from cpcd.loop.queue import Queue
from cpcd.loop.runner import Finding, Runner
from cpcd.loop.state import State
from cpcd.model.keys import Key, Kind, Scope
from cpcd.model.seen import Seen
from cpcd.model.view import View
from cpcd.plan.guards import GUARDS
from cpcd.plan.resolve import resolve
from cpcd.plan.wakes import affected, lasting, stale, tokens
from cpcd.ports.proxmox import Request, Response
from cpcd.reconcilers import RECONCILERS
from cpcd.sources.observer import Observer
from tests.bench.row import Row, cpu_of
from tests.unit.plan.build import CP, SITE, WORKERS, built, cluster, group

__all__ = ["noop", "queue"]

RUNS: Final = 11
MACHINES: Final = 1000
TURNS: Final = 100_000
CLIENT_GO: Final = 1_000_000  # add-get-done a second of client-go's workqueue, on a faster machine (issue's figure)


def noop() -> Iterator[Row]:
    """Yield the cost of a tick in which nothing changed, and of a pass over everything as every ten minutes."""
    view = built(cluster(group(CP, 3), group(WORKERS, MACHINES - 3)))
    tick = _Tick(view)
    note = f"answers of {tick.bytes / 1024:.0f} KiB read, decoded, compared and taken into the view; median of {RUNS}"
    took = median(map(cpu_of, [tick] * RUNS))
    yield Row(f"no-op tick over {MACHINES} machines", took, "ms CPU", 50, note)
    keys = [(module, key) for module in RECONCILERS for key in module.keys(view)]

    def decide() -> None:
        for module, key in keys:
            module.plan(key, view)

    note = f"{len(keys)} objects decided about, each once in ten minutes; median of {RUNS}"
    yield Row(f"no-op pass over {MACHINES} machines", median(map(cpu_of, [decide] * RUNS)), "ms CPU", 50, note)
    whole = _Passes(tick, [key for _, key in keys])
    note = f"the same by the loop, with what each of them reads and watches (ADR 0022); median of {RUNS}"
    yield Row(f"no-op pass over {MACHINES} machines, whole", median(map(cpu_of, [whole] * RUNS)), "ms CPU", None, note)
    tick.close()


class _Passes:
    """The loop's passes over every key, with reads that bring at once what is known already; the reads themselves are not in it."""

    def __init__(self, tick: "_Tick", keys: list[Key]) -> None:
        self._tick, self._keys, self.reads = tick, keys, 0
        self._runner = Runner(
            reconcilers=RECONCILERS, guards=GUARDS, resolve=resolve, read=self._read, state=tick.state, ports=None,
            clock=tick.clock, new_op=str,
        )  # fmt: skip

    def __call__(self) -> None:
        self._tick.loop.run_until_complete(self._pass())

    async def _pass(self) -> None:
        for key in self._keys:
            found = Finding()
            await self._runner.run(key, found)
            if found.acted or found.failure or found.wait:
                raise AssertionError(f"{key} is not at rest: {found}")

    async def _read(self, scope: Scope) -> Seen[Any]:
        self.reads += 1
        return self._tick.state.view.bulk[scope]


class _Tick:
    """The daemon's look at a Proxmox on which nothing has changed: from the bytes of its answers to woken keys, none.

    The whole way but the socket: the adapter, the codec, claims, the view, and interest left by a pass over every key.
    """

    def __init__(self, view: View) -> None:
        self.loop = SimLoop(1)
        self.clock, self.bytes = SimClock(self.loop, 0.0), 0
        self._woken: list[Key] = []
        self.state = state = State(
            journal=None, clock=self.clock, tokens=tokens, affected=affected, stale=stale, lasting=lasting, mint=lambda: "x",  # type: ignore[arg-type] # nothing is committed here
            interest=Interest(self._woken.append),
        )  # fmt: skip
        state._view = view
        for module in RECONCILERS:
            for key in module.keys(view):
                state.interest.set(key, [str(scope) for scope in module.watches(key, view)])
        proxmox = ProxmoxApi(Slots(_Answers(view, self)), SITE, lambda: "a@b!c=d")
        self._observer = Observer(
            state=state, ports=_Ports(proxmox), clock=self.clock, endpoints=Endpoints(self.clock, state.signal), read=_unread,  # type: ignore[arg-type] # one site is all there is
            wake=self._woken.append,
        )  # fmt: skip
        self._look()
        self._woken.clear()
        self()
        self.bytes = 0
        self()

    def __call__(self) -> None:
        self._look()
        if self._woken:
            raise AssertionError(f"a look in which nothing changed woke {len(self._woken)} keys")

    def close(self) -> None:
        """End the loop that it has of its own."""
        self.loop.close()

    def _look(self) -> None:
        self.loop.run_until_complete(self._observer.look(SITE))


class _Ports:
    def __init__(self, proxmox: ProxmoxApi) -> None:
        self._proxmox = proxmox

    def proxmox(self, _site: str) -> ProxmoxApi:
        return self._proxmox


class _Answers:
    """A Proxmox that gives the same bytes each time: rows as the lab's have them, all fields included."""

    def __init__(self, view: View, tick: _Tick) -> None:
        self._tick = tick
        world = World(now=lambda: 60.0, seed=1, settings=Settings(), durations=Durations())
        world.pve.add_template(9000, "pve1", "ubuntu", "cpcd;lab")
        self._token = next(f"{token.id}={token.secret}" for token in Settings().tokens)
        status = self._ask(world, "/cluster/status")
        template = next(row for row in json.loads(self._ask(world, "/cluster/resources"))["data"] if "vmid" in row)
        rows = [
            {**template, "vmid": row.vmid, "node": row.node, "name": row.name, "id": f"qemu/{row.vmid}",
             "status": "running", "template": 0, "uptime": 86_400, "cpu": 0.0123, "mem": 2**31}
            for row in view.machines.values()
        ]  # fmt: skip
        permissions = self._ask(world, "/access/permissions")
        self._bodies = {
            "/cluster/resources": json.dumps({"data": rows}).encode(), "/cluster/status": status,
            "/access/permissions": permissions,
        }  # fmt: skip

    def _ask(self, world: World, path: str) -> bytes:
        answer = world.pve.handle(Request("GET", f"/api2/json{path}", {}, self._token))
        assert answer.status == 200, answer.reason
        return answer.body

    async def send(self, request: Request) -> Response:
        body = self._bodies[request.path.removeprefix("/api2/json")]
        self._tick.bytes += len(body)
        return Response(200, "OK", body, {})

    async def close(self) -> None:
        """Nothing is open."""


async def _unread(_scope: Any) -> Any:
    raise AssertionError("nothing changed, so nothing is read")


def queue() -> Iterator[Row]:
    """Yield how many keys a second are added, taken and done."""
    keys = [Key("c", Kind.MACHINE, str(n)) for n in range(1000)]

    async def cycle(one: Queue[Key]) -> None:
        for n in range(TURNS):
            one.add(keys[n % 1000])
            key = one.take()
            assert key is not None
            one.done(key)

    rates = []
    for _ in range(5):
        loop = SimLoop(1)
        rates.append(TURNS / cpu_of(lambda: loop.run_until_complete(cycle(Queue(SimClock(loop, 0.0))))) * 1000)  # noqa: B023 - called at once
        loop.close()
    note = f"client-go on a faster machine: {CLIENT_GO:,}; of CPU time, median of 5"
    yield Row("queue add-take-done", median(rates), "a second", None, note)
