"""The engine by itself: a pass over a thousand machines with nothing to do, a tick, and the queue; in CPU time."""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, Final

from cpcd.lab.simloop import SimClock, SimLoop
from cpcd.loop.endpoints import Endpoints
from cpcd.loop.queue import Queue
from cpcd.loop.state import State
from cpcd.model.keys import Key, Kind
from cpcd.model.view import View
from cpcd.plan.wakes import affected, stale, tokens
from cpcd.reconcilers import RECONCILERS
from cpcd.sources.observer import Observer
from tests.bench.row import Row
from tests.unit.plan.build import CP, SITE, WORKERS, built, cluster, group

__all__ = ["noop", "queue", "thousand"]

RUNS: Final = 7
MACHINES: Final = 1000
CLIENT_GO: Final = 1_000_000  # add-get-done a second of client-go's workqueue, on a faster machine (issue's figure)


def thousand() -> View:
    """Return a built cluster of a thousand machines at rest."""
    return built(cluster(group(CP, 3), group(WORKERS, MACHINES - 3)))


def noop() -> Iterator[Row]:
    """Yield the CPU time of deciding about every object, and of a tick's look in which nothing changed."""
    view = thousand()
    keys = [(module, key) for module in RECONCILERS for key in module.keys(view)]

    def decide() -> None:
        for module, key in keys:
            module.plan(key, view)

    yield Row(
        f"deciding about all objects of {MACHINES} machines", _cpu(decide), "ms CPU", None, f"{len(keys)} objects"
    )
    yield Row(
        f"no-op pass over {MACHINES} machines",
        _cpu(_tick(view)),
        "ms CPU",
        50,
        "a tick: decode, compare, nothing wakes",
    )


def _tick(view: View) -> Callable[[], None]:
    """Return the observer's look at a Proxmox on which nothing has changed."""
    loop = SimLoop(1)
    clock = SimClock(loop, 0.0)
    state = State(journal=None, clock=clock, tokens=tokens, affected=affected, stale=stale, mint=lambda: "x")  # type: ignore[arg-type] # nothing is committed here
    state._view = view
    woken: list[Key] = []

    async def unread(_scope: Any) -> Any:
        raise AssertionError("nothing changed, so nothing is read")

    rows = [
        {"vmid": row.vmid, "node": row.node, "name": row.name, "status": "running", "type": "qemu", "template": 0,
         "tags": "cpcd;lab", "cpu": 0.01, "mem": 2**31, "uptime": 1000}
        for row in view.machines.values()
    ]  # fmt: skip
    status = [{"type": "cluster", "quorate": 1}, *({"type": "node", "name": f"pve{n}", "online": 1} for n in (1, 2, 3))]

    class Proxmox:
        async def resources(self) -> Any:
            return rows

        async def cluster_status(self) -> Any:
            return status

        async def permissions(self) -> Any:
            return {}

    class Ports:
        def proxmox(self, _site: str) -> Any:
            return Proxmox()

    observer = Observer(
        state=state, ports=Ports(), clock=clock, endpoints=Endpoints(clock, lambda _token: None), read=unread,  # type: ignore[arg-type]
        wake=woken.append,
    )  # fmt: skip
    loop.run_until_complete(observer.look(SITE))
    woken.clear()

    def look() -> None:
        loop.run_until_complete(observer.look(SITE))
        if woken:
            raise AssertionError(f"a look in which nothing changed woke {len(woken)} keys")

    return look


def queue() -> Iterator[Row]:
    """Yield how many keys a second are added, taken and done."""
    count = 100_000
    keys = [Key("c", Kind.MACHINE, str(n)) for n in range(1000)]

    async def cycle(one: Queue[Key]) -> None:
        for n in range(count):
            one.add(keys[n % 1000])
            key = one.take()
            assert key is not None
            one.done(key)

    rates = []
    for _ in range(3):
        loop = SimLoop(1)
        began = time.process_time()
        loop.run_until_complete(cycle(Queue(SimClock(loop, 0.0))))
        rates.append(count / (time.process_time() - began))
        loop.close()
    yield Row("queue add-take-done", median(rates), "a second", None, f"client-go: {CLIENT_GO} on a faster machine")


def _cpu(job: Callable[[], None]) -> float:
    job()
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        job()
        times.append((time.process_time() - began) * 1000)
    return median(times)
