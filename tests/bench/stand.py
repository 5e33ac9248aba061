"""A lab that answers at once, in this process, and the daemon in another, on a git work tree.

Nothing in this lab takes time: no clone, no boot, no kubeadm. What is measured on it is cpcd's own.
"""

import asyncio
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from cpcd.cli.client import Client
from cpcd.lab.guests import Durations
from cpcd.lab.kube.lags import Lags
from cpcd.lab.pve import Settings, Storage
from cpcd.lab.pve.settings import Durations as Tasks
from cpcd.lab.servers.serve import Lab
from cpcd.lab.servers.settings import LabSettings, Template
from cpcd.ports.proxmox import Request, Response

__all__ = ["LISTED", "NAME", "Daemon", "Stand", "stand"]

NAME: Final = "bench"
LISTED: Final = 12.0  # seconds until the lab's statistics list what is there from the start
SSH_PORT: Final = 2231
FACTS: Final = "ssh facts"  # what the lab counts a machine's facts under
SPEC: Final = """
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {{name: bench}}
spec:
  version: v1.34.2
  controlPlaneEndpoint: {{host: 127.79.0.4}}
  clusterNetwork: {{pods: {{cidrBlocks: [10.128.0.0/12]}}}}
  infrastructure:
    proxmox:
      url: {url}
      credentialsRef: {{file: {token}}}
      tls: {{fingerprint: "{fingerprint}"}}
      ipv4Config: {{addresses: [127.79.0.10-127.79.4.250], prefix: 16, gateway: 127.79.0.1}}
  machineDefaults: {{full: false, memoryMiB: 512, ssh: {{port: {port}}}}}
  controlPlane: {{replicas: {masters}}}
  workers: {{machineDeployments: [{{name: general, replicas: {workers}}}]}}
"""
# Limits of what does not answer, and the statistics' lag, which is no duration of anybody's work, stay as they are.
_TASKS: Final = ("spawn", "cloudinit", "linked", "start", "stop", "reset", "resize", "configure", "destroy")
_GUESTS: Final = (
    "agent", "ssh", "users", "cloud_init", "kubelet", "shutdown", "short", "facts", "join_secrets", "prepare",
    "prepared", "init", "join_worker", "join_control_plane",
)  # fmt: skip
_LAGS: Final = ("register", "ready", "back", "static_pod", "api_ready", "controller", "pod_start", "pod_stop")


@dataclass(slots=True)
class Daemon:
    """A running daemon, and how many seconds it took to be ready."""

    process: asyncio.subprocess.Process
    ready: float

    def rss(self) -> float:
        """Return its resident memory in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu(self) -> float:
        """Return the seconds of CPU time that it has used, its threads and the system's work for it included."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def wakes(self) -> tuple[int, int]:
        """Return how often its main thread, and how often all its threads, have gone to sleep of their own will."""
        slept = [_slept(task) for task in self._tasks()]
        return slept[0], sum(slept)

    async def end(self) -> None:
        """Stop it and wait for it."""
        self.process.terminate()
        await self.process.wait()

    def _tasks(self) -> list[Path]:
        """Return its threads, the main one first."""
        return sorted(Path(f"/proc/{self.process.pid}/task").iterdir(), key=lambda task: int(task.name))


@dataclass(slots=True)
class Stand:
    """The lab, the work tree, and the arrivals of clones by the name of the new machine (Unix seconds)."""

    directory: Path
    lab: Lab
    clones: dict[str, float] = field(default_factory=dict)
    told: int = 0  # how often machines had told their facts before the daemon was started

    def spec(self, *, masters: int = 1, workers: int) -> str:
        """Write the spec and return it."""
        about = self.lab.about()
        text = SPEC.format(
            url=about["proxmox"], token=self.directory / "token", fingerprint=about["fingerprint"], port=SSH_PORT,
            masters=masters, workers=workers,
        )  # fmt: skip
        (self.directory / "tree" / "cluster.yaml").write_text(text, encoding="utf-8")
        return text

    def commit(self) -> float:
        """Commit everything; return when the branch came to mean the new commit (Unix seconds)."""
        tree = self.directory / "tree"
        git = ["git", "-C", str(tree), "-c", "user.name=b", "-c", "user.email=b@localhost"]
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "edit"], check=True)
        return (tree / ".git" / "refs" / "heads" / "main").stat().st_mtime

    @property
    def socket(self) -> str:
        """The daemon's control socket."""
        return str(self.directory / "sock")

    async def start(self) -> Daemon:
        """Start the daemon and wait until it says READY."""
        began, self.told = time.perf_counter(), self.lab.calls[FACTS]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            address = self.directory / "notify"
            address.unlink(missing_ok=True)
            told.bind(str(address))
            told.setblocking(False)
            log = (self.directory / "log").open("ab")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cpcd", "--socket", self.socket, "run",
                "--spec", str(self.directory / "tree" / "cluster.yaml"), "--state-dir", str(self.directory / "state"),
                "--listen", f"127.0.0.1:{_free_port()}", "--lab", self.lab.about()["control"],
                stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": str(address)},
            )  # fmt: skip
            loop = asyncio.get_running_loop()
            while b"READY=1" not in await asyncio.wait_for(loop.sock_recv(told, 4096), 120):
                pass
        return Daemon(process, time.perf_counter() - began)

    async def settled(self, count: int, *, limit: float = 1800) -> None:
        """Wait until so many machines and everything else are as wanted, and each has told its facts."""
        client, end = Client(self.socket), time.monotonic() + limit
        while True:
            document = await asyncio.to_thread(client.get, "/status")
            ready = [entry for entry in document["objects"] if _is_ready(entry)]
            machines = sum(entry["kind"] == "machine" for entry in ready)
            told, rest = self.lab.calls[FACTS] - self.told, len(document["objects"]) - len(ready)
            if machines == count <= told and not rest and not document["operations"]:
                return
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{machines} of {count} machines, {told} asked, after {limit:.0f} s: {document['sentence']}"
                )
            await asyncio.sleep(2)

    def calls(self) -> tuple[int, int]:
        """Return how many bulk calls, and how many others, Proxmox has answered."""
        bulk = sum(self.lab.world.pve.calls[f"GET /cluster/{each}"] for each in ("resources", "status"))
        return bulk, sum(self.lab.world.pve.calls.values()) - bulk


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    """Open a lab with one template for all nodes, and a work tree without a commit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the lab of a thousand machines listens for each
    with tempfile.TemporaryDirectory(prefix="cpcd-bench-") as name:
        directory = Path(name)
        large = tuple(replace(node, memory=2**42) for node in Settings().nodes)
        storages = (*Settings().storages, Storage("shared", "nfs", shared=True, total=2**50))
        pve = Settings(nodes=large, storages=storages, durations=_none(Tasks(), _TASKS))
        template = Template(9000, pve.nodes[0].name, "ubuntu", "cpcd-ubuntu", storage="shared")
        lab = Lab(LabSettings(rate=1.0, ssh_port=SSH_PORT, templates=(template,), pve=pve))
        lab.world.durations = _none(Durations(kube=_none(Lags(), _LAGS)), _GUESTS)
        found = Stand(directory, lab)
        lab.world.pve.handle = _noting(lab.world.pve.handle, found.clones)  # type: ignore[method-assign] # their arrival is the figure
        (directory / "tree").mkdir()
        (directory / "token").write_text(lab.about()["token"], encoding="utf-8")
        (directory / "token").chmod(0o600)
        subprocess.run(["git", "init", "-q", "-b", "main", str(directory / "tree")], check=True)  # noqa: ASYNC221 - nothing else runs yet
        async with lab.running():
            yield found


def _none(durations: Any, names: tuple[str, ...]) -> Any:
    known = {each.name for each in fields(durations)}
    assert known.issuperset(names), "a duration has another name now"
    return replace(durations, **dict.fromkeys(names, 0.0))


def _noting(answer: Callable[[Request], Response], clones: dict[str, float]) -> Callable[[Request], Response]:
    def noted(request: Request) -> Response:
        if request.method == "POST" and request.path.endswith("/clone"):
            clones.setdefault(str(request.params["name"]), time.time())
        return answer(request)

    return noted


def _is_ready(entry: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in entry["conditions"])


def _slept(task: Path) -> int:
    lines = (task / "status").read_text(encoding="ascii", errors="replace").splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt")).split()[1])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
