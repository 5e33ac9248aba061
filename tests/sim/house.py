"""The whole daemon in virtual time against the lab: one function builds it, stories drive it.

The proxmoxer paths, the codec, the error table, the ledger's SQL and the kubeconfig files are the real ones; sockets,
threads and processes are refused by the loop.
"""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpcd.adapters.proxmox import ProxmoxApi, Slots
from cpcd.adapters.requests import names_of
from cpcd.daemon import Daemon, Parts
from cpcd.lab.faults import Faults
from cpcd.lab.guests import Durations
from cpcd.lab.inprocess import LabGuests, LabTransport
from cpcd.lab.pve import Settings, Storage
from cpcd.lab.simloop import SimClock, SimLoop
from cpcd.lab.world import World
from cpcd.model.errors import Unreachable
from cpcd.model.ledger import DropFact, Machine, PutFact
from cpcd.model.report import Pass
from cpcd.model.view import View
from cpcd.ports.bundle import Ports
from cpcd.ports.guests import Guests, Host
from cpcd.ports.proxmox import Transport
from cpcd.sources.specs import Specs
from tests.sim.gate import (
    Gate,
    GatedGuests,
    GatedJournal,
    GatedKube,
    GatedKubeconfigs,
    GatedTransport,
    MemoryDisk,
    PatientKube,
)
from tests.sim.invariant import Invariant
from tests.sim.watch import INVARIANTS, Watch

EPOCH = 1_795_000_000.0
TOKEN = "cpcd@pve!lab"

SPEC = """
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {{name: demo}}
spec:
  version: v1.34.2
  controlPlaneEndpoint: {{host: 127.77.0.4}}
  infrastructure:
    proxmox:
      url: https://127.0.0.1:8006
      credentialsRef: {{env: TOKEN}}
      availabilityZones: [{{name: a, nodes: [pve1]}}, {{name: b, nodes: [pve2]}}, {{name: c, nodes: [pve3]}}]
      ipv4Config: {{addresses: [127.77.0.10-127.77.0.60], prefix: 16, gateway: 127.77.0.1}}
  templates: [{{name: ubuntu, templateID: {template}}}]
  machineDefaults:
    numCores: 2
    memoryMiB: {memory}
    full: false
    disks: {{bootVolume: {{sizeGb: {disk}}}}}
  changePolicy: {{Destroy: {destroy}}}
  controlPlane: {{replicas: {masters}}}
  workers: {{machineDeployments: [{{name: general, replicas: {workers}, metadata: {{labels: {labels}}}}}]}}
  addons: [{{name: hello, manifests: [{{file: hello.yaml}}]}}]
"""

HELLO = b"""
apiVersion: v1
kind: Namespace
metadata: {name: hello}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hello, namespace: hello}
data: {greeting: hello}
"""


def spec(
    *, masters: int = 3, workers: int = 2, memory: int = 2048, template: int = 9000, labels: str = "{}",
    destroy: str = "Approve", disk: int = 20,
) -> str:  # fmt: skip
    """Return a cluster.yaml."""
    return SPEC.format(
        masters=masters,
        workers=workers,
        memory=memory,
        template=template,
        labels=labels,
        destroy=destroy,
        disk=disk,
    )


def settings_of() -> Settings:
    """Return an installation whose templates lie on storage that all nodes share."""
    shared = Storage("shared", "nfs", shared=True)
    return Settings(epoch=EPOCH, storages=(*Settings().storages, shared))


@dataclass
class Committed:
    """A spec that is committed by assignment; implements `sources.specs.Files`."""

    text: str
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    count: int = 0
    referred: Mapping[str, bytes] = field(default_factory=lambda: {"hello.yaml": HELLO})

    @property
    def files(self) -> Mapping[str, bytes]:
        return {"cluster.yaml": self.text.encode()}

    @property
    def generation(self) -> str:
        return f"commit-{self.count}"

    uncommitted = False
    source = "git HEAD"

    @property
    def place(self) -> str:
        return "/cluster.yaml"

    async def read(self, *, lying: bool = False) -> "Committed":
        return self

    async def watch(self) -> AsyncIterator[None]:
        while True:
            await self.changed.wait()
            self.changed.clear()
            yield

    def commit(self, text: str) -> None:
        self.text = text
        self.count += 1
        self.changed.set()


class House:
    """A lab and, while one lives, a daemon; `crash` kills the daemon, `start` starts another on the same disk.

    All that the daemon does goes through `gate`. `disk` is the ledger's file, or a `MemoryDisk`, which a fork copies.
    Every invariant is watched, and a breach fails the simulation at its end, whatever the test asserts; `kinds` is the
    way out, for who says why. `strangers` are the VMs of others, templates aside.
    """

    def __init__(
        self,
        loop: SimLoop,
        directory: Path,
        text: str,
        *,
        seed: int = 1,
        disk: MemoryDisk | None = None,
        installation: Settings | None = None,
        kinds: Iterable[type[Invariant]] = INVARIANTS,
    ) -> None:
        self.loop, self.directory, self.seed = loop, directory, seed
        directory.mkdir(parents=True, exist_ok=True)
        self.clock = SimClock(loop, EPOCH)
        self.gate = Gate(loop.time)
        self.disk: Path | MemoryDisk = disk or directory / "ledger.db"
        self.sleep = asyncio.sleep
        settings = installation or settings_of()
        self.world = World(now=loop.time, seed=seed, settings=settings, durations=Durations())
        for vmid in (9000, 9010):
            self.world.pve.add_template(
                vmid, settings.nodes[0].name, f"tpl-{vmid}", "cpcd-ubuntu", disk="10", storage="shared"
            )
        self.faults = Faults(self.world, self._sleep)
        self.token = next(f"{t.id}={t.secret}" for t in settings.tokens if t.id == TOKEN)
        self.file = Committed(text)
        self.passes: list[Pass] = []
        self.strangers: set[int] = set()
        self.daemon: Daemon | None = None
        self.lives = 0
        self.listeners: tuple[Callable[[Pass], None], ...] = ()
        self.kubeconfigs: GatedKubeconfigs | None = None
        self._described: dict[str, Any] = {}
        self._starting: asyncio.Future[None] | None = None
        self._hands: set[asyncio.Future[None]] = set()
        self.watch = Watch(self, kinds)
        loop.judges.append(self.watch.over)

    async def start(self) -> Daemon:
        """Start a daemon on the state directory; one that dies while it starts never returns from here."""
        self.lives += 1
        life = self.gate.born()
        rng = random.Random(self.seed * 1000 + self.lives)
        parts = Parts(
            clock=self.clock, journal=GatedJournal(self.gate, life, self.disk),
            ports=self._ports, specs=lambda view: Specs(self.file, view=view, operator_key="ssh-ed25519 AAAAC3Nz cpcd"),
            names_of=names_of, rng=rng, new_id=lambda: f"{rng.getrandbits(48):012x}",
            listeners=(self.passes.append, *self.listeners),
        )  # fmt: skip
        self.daemon = Daemon(parts)
        self._announce_passes(self.daemon, life)
        self._starting = asyncio.ensure_future(self.daemon.start())
        await self._starting
        return self.daemon

    async def crash(self) -> None:
        """Kill the daemon: nothing is flushed, nothing is said."""
        assert self.daemon is not None
        if not self.gate.dead.is_set():
            self.gate.kill()
        daemon, self.daemon = self.daemon, None
        if self._starting is not None:
            self._starting.cancel()
        await daemon.supervisor.stop()

    async def _sleep(self, seconds: float) -> None:
        await self.sleep(seconds)

    def move(self, directory: Path) -> None:
        """Go on in a copy of the directory: a fork must not write its parent's files."""
        assert isinstance(self.disk, MemoryDisk), "a ledger in a file cannot be forked"
        shutil.copytree(self.directory, directory)
        self.directory = directory
        if self.kubeconfigs is not None:
            self.kubeconfigs._directory = directory / "kubeconfigs"

    def plant(self, vmid: int, node: str, name: str, description: str = "", *, running: bool = False) -> None:
        """Put somebody else's VM beside ours."""
        pve = self.world.pve
        self.strangers.add(vmid)
        vm = pve.add_template(vmid, node, name, "somebody", storage="shared")
        del vm.config["template"]
        if description:
            vm.config["description"] = description
        if running:
            vm.booted = dict(vm.config)
            self.world.power_on(vm)

    def operate(self, doing: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Let somebody do something beside the daemon, whatever becomes of it."""
        hand = asyncio.ensure_future(doing)
        self._hands.add(hand)
        hand.add_done_callback(self._hands.discard)
        return hand

    async def command(self, change: PutFact | DropFact) -> None:
        """Try once to change a fact as a command does: a daemon that is dead, or dies over it, gives no answer."""
        daemon = self.daemon
        if daemon is not None and daemon.state.view.installation:
            asking = asyncio.ensure_future(daemon.state.commit((change,)))
            await asyncio.wait({asking}, timeout=5)
            asking.cancel()

    def _announce_passes(self, daemon: Daemon, life: int) -> None:
        runner = daemon.dispatcher._runner
        run = runner.run

        async def announced(key: Any, found: Any) -> None:
            with self.gate.passing(key, life):
                await run(key, found)

        runner.run = announced  # type: ignore[method-assign]

    async def until(self, holds: Callable[[], bool], *, limit: float = 7200, what: str = "") -> float:
        """Let time pass until something holds; return when it did. Fails at the limit with the board's words."""
        end = self.loop.time() + limit
        while not holds():
            if self.loop.time() > end:
                raise AssertionError(f"not within {limit:.0f} s: {what}\n{self.picture()}")
            await asyncio.sleep(1)
        return self.loop.time()

    async def converged(self, *, limit: float = 7200) -> float:
        """Let time pass until every object is settled and nothing is open."""
        return await self.until(self.settled, limit=limit, what="converged")

    def settled(self) -> bool:
        """Whether every object's last pass found nothing to do, and no op is open."""
        daemon = self.daemon
        if daemon is None or daemon.state._view.ops or daemon.queue.depth():
            return False
        if daemon.board.spec.generation != self.file.generation:
            return False
        keys = daemon.keys()
        reports = [daemon.board.objects.get(key) for key in keys]
        return bool(keys) and all(r is not None and r.last.outcome == "settled" and r.ready for r in reports)

    def picture(self) -> str:
        """Return what every object last said."""
        if self.daemon is None:
            return "no daemon"
        view = self.daemon.state.view
        names = {row.uid: row.name for row in view.machines.values()}
        lines = [
            f"{names.get(key.name, str(key)):32} {report.last.outcome:9} {report.last.sentence[:150]}"
            for key, report in self.daemon.board.objects.items()
        ]
        ops = [
            f"op {op.verb} {names.get(op.key.name, op.key)} since {op.opened - EPOCH:.0f}" for op in view.ops.values()
        ]
        return "\n".join([f"t={self.loop.time():.0f}", *lines, *ops, *self.daemon.troubles()])

    def vms(self) -> dict[int, str]:
        """Return VMID -> name of every VM in the lab that is no template."""
        return {vmid: vm.name for vmid, vm in self.world.pve.vms.items() if not vm.template}

    def _transport(self) -> Transport:
        return self.faults.transport(LabTransport(self.world, self._sleep))

    def _guests(self) -> Guests:
        return self.faults.guests(LabGuests(self.world, self._sleep))

    def _ports(self, view: Callable[[], View]) -> Ports:
        gate, life = self.gate, self.gate.life
        sleep = self._sleep
        transport = Slots(GatedTransport(gate, life, self._transport()))
        guests = GatedGuests(gate, life, self._guests())
        kubeconfigs = GatedKubeconfigs(gate, life, self.directory / "kubeconfigs", self._described)
        self.kubeconfigs = kubeconfigs

        def proxmox(site: str) -> ProxmoxApi:
            return ProxmoxApi(transport, site, lambda: self.token)

        def kube(cluster: str) -> Any:
            written = kubeconfigs.describe(cluster)
            if written is None:
                raise Unreachable(f"kube:{cluster}", "there is no kubeconfig yet")
            host, _, port = written.server.removeprefix("https://").partition(":")
            api = PatientKube(self.world, host, int(port), sleep, ca_hash=written.ca_hash)
            return GatedKube(gate, life, self.faults.kube(api))

        def host(row: Machine) -> Host:
            key = str(view().facts.get(f"hostkey/{row.uid}", ""))
            return Host(row.uid, row.name, row.address, 2222, ("ubuntu", "root"), key)

        return Ports(proxmox, kube, host, guests, kubeconfigs, lambda: view().installation)
