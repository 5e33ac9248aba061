"""The processes: how soon the daemon is ready and writes after a commit, how large it is, how soon commands answer."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from cpcd.lab.pve import Settings, Storage
from cpcd.lab.servers.serve import Lab
from cpcd.lab.servers.settings import LabSettings, Template
from cpcd.ports.proxmox import Request, Response
from tests.bench.row import Row

__all__ = ["commands", "daemon", "thousand_machines"]

COMMITS: Final = 25
STARTS: Final = 5
CALLS: Final = 11
SSH_PORT: Final = 2231
SPEC: Final = """
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {{name: bench}}
spec:
  version: v1.34.2
  controlPlaneEndpoint: {{host: 127.79.0.4}}
  infrastructure:
    proxmox:
      url: {url}
      credentialsRef: {{file: {token}}}
      tls: {{fingerprint: "{fingerprint}"}}
      ipv4Config: {{addresses: [127.79.0.10-127.79.0.99], prefix: 16, gateway: 127.79.0.1}}
  machineDefaults: {{full: false, memoryMiB: 512, ssh: {{port: {port}}}}}
  controlPlane: {{replicas: 1}}
  workers: {{machineDeployments: [{{name: general, replicas: {workers}}}]}}
"""


@dataclass
class Bench:
    """A lab in this process that notes when writes arrive, and a work tree for a daemon in another."""

    directory: Path
    lab: Lab
    writes: list[float]

    def spec(self, workers: int) -> None:
        """Write the spec."""
        about = self.lab.about()
        text = SPEC.format(
            url=about["proxmox"], token=self.directory / "token", fingerprint=about["fingerprint"], port=SSH_PORT,
            workers=workers,
        )  # fmt: skip
        (self.directory / "tree" / "cluster.yaml").write_text(text, encoding="utf-8")

    def commit(self) -> None:
        """Commit everything."""
        git = ["git", "-C", str(self.directory / "tree"), "-c", "user.name=b", "-c", "user.email=b@localhost"]
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "edit"], check=True)

    async def start(self) -> tuple[asyncio.subprocess.Process, float]:
        """Start the daemon; return it and the seconds until it said READY."""
        began = time.perf_counter()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            address = self.directory / "notify"
            address.unlink(missing_ok=True)
            told.bind(str(address))
            told.setblocking(False)
            log = (self.directory / "log").open("ab")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cpcd", "--socket", str(self.directory / "sock"), "run",
                "--spec", str(self.directory / "tree" / "cluster.yaml"), "--state-dir", str(self.directory / "state"),
                "--listen", f"127.0.0.1:{_free_port()}", "--lab", self.lab.about()["control"],
                stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": str(address)},
            )  # fmt: skip
            loop = asyncio.get_running_loop()
            while b"READY=1" not in await asyncio.wait_for(loop.sock_recv(told, 4096), 20):
                pass
        return process, time.perf_counter() - began


@asynccontextmanager
async def _bench() -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="cpcd-bench-") as name:
        directory = Path(name)
        shared = Storage("shared", "nfs", shared=True)
        pve = Settings()
        large = tuple(replace(node, memory=2**42) for node in pve.nodes)
        pve = replace(pve, nodes=large, storages=(*pve.storages, shared))
        template = Template(9000, pve.nodes[0].name, "ubuntu", "cpcd-ubuntu", storage="shared")
        lab = Lab(LabSettings(rate=1.0, ssh_port=SSH_PORT, templates=(template,), pve=pve))
        writes: list[float] = []
        answer = lab.world.pve.handle

        def noted(request: Request) -> Response:
            if request.method != "GET":
                writes.append(time.perf_counter())
            return answer(request)

        lab.world.pve.handle = noted  # type: ignore[method-assign] # the time of arrival is the figure
        (directory / "tree").mkdir()
        (directory / "token").write_text(lab.about()["token"], encoding="utf-8")
        (directory / "token").chmod(0o600)
        subprocess.run(["git", "init", "-q", str(directory / "tree")], check=True)  # noqa: ASYNC221 - nothing else runs yet
        async with lab.running():
            bench = Bench(directory, lab, writes)
            bench.spec(0)
            bench.commit()
            yield bench


def daemon() -> Iterator[Row]:
    """Yield what is measured of a running daemon."""
    yield from asyncio.run(_daemon())


async def _daemon() -> list[Row]:
    async with _bench() as bench:
        await asyncio.sleep(12)  # until the lab's statistics list the template
        ready = []
        for _ in range(STARTS):
            process, took = await bench.start()
            ready.append(took)
            process.kill()
            await process.wait()
        process, _ = await bench.start()
        try:
            await asyncio.sleep(3)
            delays = [await _edit(bench, number) for number in range(1, COMMITS + 1)]
            await asyncio.sleep(2)
            size = _rss(process.pid)
            status = await asyncio.to_thread(_command, "--socket", str(bench.directory / "sock"), "status")
        finally:
            process.terminate()
            await process.wait()
    p95 = quantiles(delays, n=20)[-1]
    note = f"median {median(delays):.0f}, {COMMITS} commits, git's own time included"
    return [
        Row("READY", median(ready), "s", 2.5),
        Row("commit to first write to Proxmox, p95", p95, "ms", 150, note),
        Row(f"RSS with {COMMITS + 1} machines under way", size, "MB", 95),
        Row("cpcd status", status, "ms", 110),
    ]


async def _edit(bench: Bench, workers: int) -> float:
    """Commit one worker more and return the milliseconds until Proxmox was asked for something."""
    await asyncio.sleep(1.5)
    bench.spec(workers)
    seen, began = len(bench.writes), time.perf_counter()
    await asyncio.to_thread(bench.commit)
    while len(bench.writes) == seen or bench.writes[seen] < began:
        await asyncio.sleep(0.001)
        if time.perf_counter() - began > 10:
            raise TimeoutError("no write within 10 s of a commit")
    return (bench.writes[seen] - began) * 1000


def commands() -> Iterator[Row]:
    """Yield how soon commands without a daemon answer."""
    yield Row("cpcd --help", _command("--help"), "ms", 80)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        text = _large()
        file.write(text)
        file.flush()
        yield Row(f"cpcd validate, {text.count(chr(10))} lines", _command("validate", file.name), "ms", 130)


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
    return f"{head}  workers:\n    machineDeployments:\n{''.join(pools)}"


def _command(*arguments: str, ok: tuple[int, ...] = (0,)) -> float:
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "cpcd", *arguments], capture_output=True, check=False)
        times.append((time.perf_counter() - began) * 1000)
        if done.returncode not in ok:
            raise RuntimeError(f"cpcd {' '.join(arguments)}: {done.stderr.decode()[-400:]}")
    return median(times)


def thousand_machines() -> Iterator[Row]:
    """Yield the size of a process with the daemon's imports that has planned a thousand machines at rest."""
    code = (
        "import cpcd.wiring, resource\n"
        "from tests.bench.engine import thousand\n"
        "from cpcd.reconcilers import RECONCILERS\n"
        "view = thousand()\n"
        "plans = [(k, m.plan(k, view)) for m in RECONCILERS for k in m.keys(view)]\n"
        "print(open('/proc/self/statm').read().split()[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    size = int(done.stdout) * os.sysconf("SC_PAGE_SIZE") / 1e6
    yield Row(
        "RSS with 1000 machines", size, "MB", 125, "view and plans of 1000 machines in a process with all imports"
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _rss(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
