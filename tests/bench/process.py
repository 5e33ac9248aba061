"""The processes: how soon commands answer, how soon the daemon is ready and writes after a commit, how large it is.

Commands are measured in CPU time, which is their wall time on a quiet machine: each is one thread that waits for
nobody. What can only be measured in wall time is told with how long others waited for a processor meanwhile.
"""

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from tests.bench.row import Row, pressed, pressure
from tests.bench.stand import LISTED, Daemon, Stand, stand
from tests.bench.town import settle

__all__ = ["REST", "answered", "commands", "daemon", "thousand_machines", "told"]

COMMITS: Final = 50  # their number is set beforehand: a sample must not be chosen by what it shows
ENOUGH: Final = 20  # samples of which a 95th percentile can be told
STARTS: Final = 5
CALLS: Final = 21
QUIET: Final = 0.2  # share of a sample's time in which somebody may have waited for a processor
REST: Final = 75.0  # seconds until a daemon that was started on what is there already is at rest: SSH closes after 60
MINUTE: Final = 60.0
TICK: Final = 10.0


def commands() -> Iterator[Row]:
    """Yield how soon commands without a daemon answer."""
    yield _command("cpcd --help", 80, ("--help",))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        text = _large()
        file.write(text)
        file.flush()
        floor = "import click, yaml, pydantic.main, pydantic.fields"
        least = median(_spent([sys.executable, "-c", floor])[0] for _ in range(CALLS))
        note = f"Python, click, PyYAML and pydantic imported are {least:.0f} of it"
        yield _command(f"cpcd validate, {text.count(chr(10))} lines", 130, ("validate", file.name), note)


def _command(name: str, budget: float, arguments: tuple[str, ...], note: str = "") -> Row:
    spent = [_spent([sys.executable, "-m", "cpcd", *arguments]) for _ in range(CALLS)]
    cpu, wall = zip(*spent, strict=True)
    words = f"{min(wall):.0f} to {max(wall):.0f}, CPU {median(cpu):.0f}"
    return Row(f"{name}, median of {CALLS}", median(wall), "ms", budget, "; ".join(filter(None, (words, note))))


def _spent(command: list[str]) -> tuple[float, float]:
    """Return the milliseconds of CPU and of wall time that a command takes, its start by the system included."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()[-400:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu * 1000, wall * 1000


def _large() -> str:
    """Return a spec of 1,400 lines: deployments of ten lines each."""
    text = (Path(__file__).parents[2] / "specs" / "minimal.yaml").read_text(encoding="utf-8")
    head = (
        text[: text.index("  workers:")]
        .replace("10.10.10.110-10.10.10.139", "10.10.8.1-10.10.9.250")
        .replace("prefix: 24", "prefix: 16")
    )
    pools = (
        f"""      - name: pool-{n}
        replicas: 1
        machine:
          numCores: 4
          memoryMiB: 8192
        metadata:
          labels:
            tier: pool-{n}
        deletion:
          nodeDrainTimeout: 10m
"""
        for n in range(139)
    )
    return f"{head}  clusterNetwork: {{pods: {{cidrBlocks: [10.128.0.0/12]}}}}\n  workers:\n    machineDeployments:\n{''.join(pools)}"


def daemon() -> Iterator[Row]:
    """Yield what is measured of a daemon with ten machines: its start, its rest, and what it does after a commit."""
    return told(_ten)


async def _ten() -> AsyncIterator[Row]:
    async with stand() as lab:
        await settle(lab, masters=3, workers=7)
        lab.commit()
        await asyncio.sleep(LISTED)
        starts = []
        for _ in range(STARTS):
            running = await lab.start()
            starts.append(running.ready)
            await running.end()
        yield Row("READY, median of 5", median(starts), "s", 2.5, f"{min(starts):.1f} to {max(starts):.1f}")
        running = await lab.start()
        try:
            await lab.settled(10)
            await asyncio.sleep(REST)
            async for row in _at_rest(lab, running, 10, 95):
                yield row
            yield await _status(lab, running)
            for row in answered([await _edit(lab, 7 + number) for number in range(1, COMMITS + 1)]):
                yield row
        finally:
            await running.end()


async def _at_rest(lab: Stand, running: Daemon, machines: int, budget: float) -> AsyncIterator[Row]:
    """Yield what a minute of rest costs, tick by tick."""
    (main, every), cpu, calls = running.wakes(), running.cpu(), [lab.calls()]
    for _ in range(round(MINUTE / TICK)):
        await asyncio.sleep(TICK)
        calls.append(lab.calls())
    woke, all_woke = (now - before for now, before in zip(running.wakes(), (main, every), strict=True))
    bulk, others = zip(*calls, strict=True)
    who = f"at rest, {machines} machines"
    ticks = [after - before for before, after in zip(bulk, bulk[1:], strict=False)]
    yield Row(f"bulk calls to Proxmox a tick, {who}", median(ticks), "calls", 2, "median of 6 ticks of 10 s")
    mean = (others[-1] - others[0]) / len(ticks)
    yield Row(
        f"other calls to Proxmox a tick, {who}",
        mean,
        "calls",
        None,
        "mean: each VM looked at in 10 min, privileges each min",
    )
    loop = "of the event loop"
    yield Row(f"wake-ups {who}", woke / MINUTE, "a second", 2 if machines == 10 else None, loop)
    threads = (
        "with watchfiles' thread, which looks each 20 ms whether something happened: an edit is to be seen at once"
    )
    yield Row(f"wake-ups of all threads {who}", all_woke / MINUTE, "a second", None, threads)
    yield Row(f"CPU {who}", (running.cpu() - cpu) / MINUTE * 1000, "ms a second", None)
    yield Row(f"RSS {who}", running.rss(), "MB", budget, "the daemon's process, over sockets")


async def _status(lab: Stand, running: Daemon) -> Row:
    command = [sys.executable, "-m", "cpcd", "--socket", lab.socket, "status"]
    before = running.cpu()
    spent = [await asyncio.to_thread(_spent, command) for _ in range(CALLS)]
    served = (running.cpu() - before) / CALLS * 1000
    cpu, wall = zip(*spent, strict=True)
    note = f"{min(wall):.0f} to {max(wall):.0f}, CPU {median(cpu) + served:.0f}, {served:.0f} of it in the daemon"
    return Row(f"cpcd status, median of {CALLS}", median(wall), "ms", 110, note)


def answered(samples: Sequence[tuple[float, float]]) -> Iterator[Row]:
    """Yield what commits of one worker more took, from samples of `_edit`.

    The budget is for all of them: who crowds the processors may be the daemon itself. Those on a quiet machine are told
    beside, if there are enough.
    """
    name, busy = "commit to first write to Proxmox, p95", median(share for share, _ in samples)
    delays = [delay for _, delay in samples]
    quiet = [delay for share, delay in samples if share <= QUIET]
    waited = f"others waited for a processor {busy:.0%} of the time, in {len(quiet)} of them {QUIET:.0%} or less"
    yield Row(name, _p95(delays), "ms", 150, f"{_spread(delays)}; {waited}")
    if len(quiet) >= ENOUGH:
        yield Row(f"{name} of those on a quiet machine", _p95(quiet), "ms", None, _spread(quiet))


def _p95(delays: list[float]) -> float:
    return quantiles(delays, n=20)[-1]


def _spread(delays: list[float]) -> str:
    return f"{len(delays)} commits, {min(delays):.0f} to {max(delays):.0f}, median {median(delays):.0f}"


async def _edit(lab: Stand, workers: int) -> tuple[float, float]:
    """Commit one worker more; return how busy the machine was, and the milliseconds until its clone was asked for."""
    await asyncio.sleep(1.5)  # what the commit before brought about is asked for
    lab.spec(masters=3, workers=workers)
    since, name = pressure(), f"bench-general-{workers}"
    committed = await asyncio.to_thread(lab.commit)
    end = time.monotonic() + 20
    while name not in lab.clones:
        await asyncio.sleep(0.001)
        if time.monotonic() > end:
            raise TimeoutError(f"{name} is not cloned within 20 s of its commit")
    return pressed(since), (lab.clones[name] - committed) * 1000


def thousand_machines() -> Iterator[Row]:
    """Yield what a daemon with a thousand machines is at rest: processes, sockets, ledger and all."""
    return told(_thousand)


async def _thousand() -> AsyncIterator[Row]:
    async with stand() as lab:
        await settle(lab, masters=3, workers=997)
        lab.commit()
        await asyncio.sleep(LISTED)
        running = await lab.start()
        try:
            yield Row("READY, 1000 machines", running.ready, "s", None, "one start")
            await lab.settled(1000)
            await asyncio.sleep(REST)
            async for row in _at_rest(lab, running, 1000, 125):
                yield row
        finally:
            await running.end()


def told(rows: Callable[[], AsyncIterator[Row]]) -> Iterator[Row]:
    """Yield rows as they come, out of an event loop that goes on in between."""
    with asyncio.Runner() as runner:
        found = rows()
        while (row := runner.run(_next(found))) is not None:
            yield row


async def _next(rows: AsyncIterator[Row]) -> Row | None:
    return await anext(rows, None)
