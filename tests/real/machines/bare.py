"""The same cluster by hand: what the daemon's seconds stand beside, on the same host and with the same template.

A control plane and a worker are made, and the worker is replaced, by bare commands: Proxmox's API, ansible-playbook with
cpcd's playbook, kubeadm, kubectl; with a hand for each machine, so that as much goes on at once as with the daemon.
Nobody looks, remembers or waits for anything else. Named before `build` and `replace` in one run, their reports say how
many times as long the daemon took for the same.
"""

import asyncio
import json
import shlex
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.http import AiohttpTransport
from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.ports.guests import Host
from cpcd.spec.presets import flannel
from tests.real import binaries
from tests.real.cache import say
from tests.real.machines import image, kept, patience
from tests.real.machines.hand import USER, Hand, logged_in, new_key
from tests.real.machines.lab import NODE, Lab
from tests.real.machines.network import ENDPOINT
from tests.real.machines.pace import Span
from tests.real.machines.plain import played
from tests.real.machines.report import Report
from tests.real.machines.stage import routed
from tests.real.machines.upkeep import budget, workload

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLANE = "hand-cp-1"  # routed to by its name
PODS = "10.244.0.0/16"
GIVEN = {"version": binaries.KUBERNETES, "packages": [], "timezone": "", "profile": "by hand"}
API = "kubeadm.k8s.io/v1beta4"
TRIES = 5


@dataclass(frozen=True, slots=True)
class Bare:
    """A cluster that is made by hand; `place` is where its private key is, `public` the other one."""

    lab: Lab
    hand: Hand
    place: Path
    public: str
    hosts: dict[str, Host] = field(default_factory=dict)

    async def root(self, name: str, script: str) -> str:
        """Let root run a script and return what it printed; raises RuntimeError with its words."""
        printed, _ = await self.timed(name, script)
        return printed

    async def timed(self, name: str, script: str) -> tuple[str, Span]:
        """Return when, too: the script alone, as the daemon tells of a job when it is on its way."""
        async with logged_in(self.hosts[name], self.place / "key") as line:
            began = time.time()
            done = await line.run(f"sudo sh -c {shlex.quote(script)}")
            span = Span(began, time.time())
        if done.exit_status:
            raise RuntimeError(f"{name}: {done.stderr!s}{done.stdout!s}")
        return str(done.stdout).strip(), span

    async def kubectl(self, *words: str, stdin: str = "") -> str:
        """Let kubectl run here, as a person does, again when the API was too busy; raises RuntimeError with its words."""
        argv = [
            str(binaries.made(binaries.MACHINE) / "kubectl"),
            "--kubeconfig",
            str(self.place / "kubeconfig"),
            *words,
        ]
        for _ in range(TRIES):
            done = await asyncio.to_thread(
                subprocess.run, argv, input=stdin, capture_output=True, text=True, check=False
            )
            if not done.returncode:
                return done.stdout
            say(f"kubectl {words[0]}: {done.stderr.strip()}")
        raise RuntimeError(f"kubectl {words[0]}: {done.stderr}")

    async def apply(self, *objects: Any) -> None:
        """Let kubectl apply objects; to describe every field to it, an emulated API server takes longer than it waits."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        await self.kubectl("apply", "--validate=false", "-f", "-", stdin=text)

    async def machine(self, vmid: int, name: str, *, cores: int, memory: int) -> tuple[Span, Span]:
        """Clone, configure, start and prepare one; return the time until it was trusted, and that of prepare."""
        began = time.time()
        self.hosts[name] = await self.hand.trusted(vmid, name, self.public, cores=cores, memory=memory)
        trusted = Span(began, time.time())
        await self.root(name, "cloud-init status --wait || [ $? = 2 ]")  # 2: done, with a word of warning
        return trusted, await self.prepare(name)

    async def prepare(self, name: str) -> Span:
        """Play cpcd's playbook on one; return when that was."""
        host, directory = self.hosts[name], self.place / f"prepare-{name}"
        directory.mkdir()
        (directory / "known_hosts").write_text(f"{host.address} {host.host_key}\n")
        (directory / "given.json").write_text(json.dumps(GIVEN))
        own = {
            "ansible_host": host.address, "ansible_user": host.users[0], "ansible_become": True,
            "ansible_ssh_private_key_file": str(self.place / "key"),
            "ansible_ssh_args": f"-F /dev/null -o UserKnownHostsFile={directory}/known_hosts -o ControlMaster=auto"
            " -o ControlPersist=60s",
            "ansible_python_interpreter": "/usr/bin/python3",
        }  # fmt: skip
        (directory / "hosts.json").write_text(json.dumps({"all": {"hosts": {name: own}}}))
        began = time.time()
        _, told = await played(directory)
        assert "failed=0 " in told, told
        return Span(began, time.time())

    async def init(self) -> Span:
        """Make the control plane, as cpcd configures it; return the time until its kubeconfig is here."""
        host = self.hosts[PLANE]
        first = {
            "apiVersion": API, "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": host.address, "bindPort": 6443},
            "nodeRegistration": {"name": host.name, "criSocket": "unix:///run/containerd/containerd.sock"},
            "patches": {"directory": "/root/patches"},
        }  # fmt: skip
        whole = {
            "apiVersion": API, "kind": "ClusterConfiguration", "kubernetesVersion": f"v{binaries.KUBERNETES}",
            "controlPlaneEndpoint": f"{ENDPOINT}:6443", "networking": {"podSubnet": PODS},
            **patience.CLUSTER,
        }  # fmt: skip
        config = shlex.quote(f"{json.dumps(first)}\n---\n{json.dumps(whole)}\n")
        patches = [f"echo {shlex.quote(text)} > /root/patches/{name}" for name, text in patience.files().items()]
        await self.root(PLANE, " && ".join(["mkdir -p /root/patches", *patches, f"echo {config} > /root/init.yaml"]))
        printed, span = await self.timed(
            PLANE, "kubeadm init --config /root/init.yaml >&2 && cat /etc/kubernetes/admin.conf"
        )
        (self.place / "kubeconfig").write_text(printed)
        return span

    async def join(self, name: str) -> Span:
        """Join a worker; return when that was, without the token that it needs."""
        _, span = await self.timed(name, await self.root(PLANE, "kubeadm token create --print-join-command"))
        return span

    async def ready(self, *names: str) -> None:
        """Wait until these Nodes are Ready, by a watch as the daemon does, and see that there are no others."""
        await self.kubectl("wait", "--for=condition=Ready", "--timeout=30m", *(f"node/{name}" for name in names))
        lines = (await self.kubectl("get", "nodes", "--no-headers")).splitlines()
        assert {tuple(line.split()[:2]) for line in lines} == {(name, "Ready") for name in names}, lines

    async def leave(self, vmid: int, name: str) -> None:
        """Drain a worker, stop it as the daemon does, delete its Node and destroy it."""
        await self.kubectl("drain", name, "--ignore-daemonsets", "--delete-emptydir-data")
        assert await self.hand.ended(await self.hand.proxmox.power(NODE, vmid, "stop")) == "OK"
        await self.kubectl("delete", "node", name)
        assert await self.hand.ended(await self.hand.proxmox.destroy(NODE, vmid)) == "OK"
        del self.hosts[name]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bare(place: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bare]:
    """Return what it is made with, in a lab of its own."""
    own = place / "by-hand"
    own.mkdir()
    public = new_key(own / "key")
    async with Lab(own, image.made(kubernetes=True)).running() as lab, routed(lab):
        transport = AiohttpTransport([lab.url], ca_file="", fingerprint=lab.fingerprint)
        guests = GuestsOverSsh(key=own / "key")
        try:
            yield Bare(lab, Hand(ProxmoxApi(transport, "machines", lambda: lab.token), guests), own, public)
        finally:
            if not kept.went_well(request):
                await kept.collect(lab, own / "key", USER)
            await guests.close()
            await transport.close()


async def took(report: Report, what: str, step: Awaitable[Any]) -> None:
    """Take a step, and report how long it took."""
    began = time.time()
    await step
    report.figure(what, Span(began, time.time()))


def told(report: Report, *machines: tuple[Span, Span]) -> None:
    """Report what was done to several machines at once."""
    for what, spans in zip(("clone → SSH", "prepare"), zip(*machines, strict=True), strict=True):
        report.figure(what, *spans)


async def build(bare: Bare, report: Report) -> None:
    """Make the cluster: the worker is made beside the control plane, and joins once both are there."""
    async with asyncio.TaskGroup() as hands:
        worker = hands.create_task(bare.machine(112, "worker-1", cores=1, memory=2048))
        plane = await bare.machine(111, PLANE, cores=2, memory=4096)
        report.figure("init", await bare.init())
        hands.create_task(bare.apply(*flannel(PODS, ENDPOINT, 6443)))
        told(report, plane, await worker)
        report.figure("join", await bare.join("worker-1"))
    await bare.ready(PLANE, "worker-1")


async def change(bare: Bare, report: Report) -> None:
    """Replace the worker: its successor is Ready before it is drained."""
    told(report, await bare.machine(113, "worker-2", cores=1, memory=2048))
    report.figure("join", await bare.join("worker-2"))
    await bare.ready(PLANE, "worker-1", "worker-2")
    await bare.leave(112, "worker-1")
    await bare.ready(PLANE, "worker-2")


async def test_cluster_is_built_by_hand(bare: Bare, report: Report) -> None:
    """Both Nodes are Ready."""
    await took(report, "build", build(bare, report))


async def test_worker_is_replaced_by_hand(bare: Bare, report: Report) -> None:
    """Two pods move with it."""
    await bare.apply(budget(0), *workload()[1:])
    await took(report, "replace", change(bare, report))
    pods = await bare.kubectl("get", "pods", "--no-headers", "--output=wide", "--selector=app=kept")

    assert 2 == pods.count(" worker-2 "), pods
