"""The same cluster by hand: what the daemon's seconds stand beside, on the same host and with the same template.

A control plane and a worker are made, and the worker is replaced, by bare commands: Proxmox's API, ansible-playbook with
cpcd's playbook, kubeadm, kubectl; with a hand for each machine, so that as much goes on at once as with the daemon.
Nobody looks, remembers or waits for anything else. Next: `beside.py`.
"""

import asyncio
import json
import shlex
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from tests.real.machines.report import Figures
from tests.real.machines.stage import routed
from tests.real.machines.upkeep import budget, workload

__all__ = ["Bare", "standing"]

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

    async def build(self) -> Figures:
        """Make the cluster: the worker is made beside the control plane, and joins once both are there."""
        began = time.time()
        async with asyncio.TaskGroup() as hands:
            making = hands.create_task(self.machine(112, "worker-1", cores=1, memory=2048))
            plane = await self.machine(111, PLANE, cores=2, memory=4096)
            init = await self.init()
            hands.create_task(self.apply(*flannel(PODS, ENDPOINT, 6443)))
            worker = await making
            join = await self.join("worker-1")
        await self.ready(PLANE, "worker-1")
        whole = Span(began, time.time())
        return {
            "clone → SSH": [plane[0], worker[0]],
            "prepare": [plane[1], worker[1]],
            "init": [init],
            "join": [join],
            "build": [whole],
        }

    async def occupy(self) -> None:
        """Have two pods run on the one worker, with a budget that lets both go."""
        await self.apply(budget(0), *workload()[1:])
        await self.kubectl("wait", "--for=condition=Available", "--timeout=30m", "deployment/kept")

    async def replace(self) -> Figures:
        """Replace the worker: its successor is Ready before it is drained, and two pods move to it."""
        began = time.time()
        trusted, prepare = await self.machine(113, "worker-2", cores=1, memory=2048)
        join = await self.join("worker-2")
        await self.ready(PLANE, "worker-1", "worker-2")
        await self.leave(112, "worker-1")
        await self.ready(PLANE, "worker-2")
        whole = Span(began, time.time())
        pods = await self.kubectl("get", "pods", "--no-headers", "--output=wide", "--selector=app=kept")
        assert 2 == pods.count(" worker-2 "), pods
        return {"clone → SSH": [trusted], "prepare": [prepare], "join": [join], "replace": [whole]}


@asynccontextmanager
async def standing(place: Path, *, failed: Callable[[], bool]) -> AsyncIterator[Bare]:
    """Return what it is made with, in a lab of its own; of a run that `failed` what machines can tell is kept."""
    public = new_key(place / "key")
    async with Lab(place, image.made(kubernetes=True)).running() as lab, routed(lab):
        transport = AiohttpTransport([lab.url], ca_file="", fingerprint=lab.fingerprint)
        guests = GuestsOverSsh(key=place / "key")
        try:
            yield Bare(lab, Hand(ProxmoxApi(transport, "machines", lambda: lab.token), guests), place, public)
        finally:
            if failed():
                await kept.collect(lab, place / "key", USER)
            await guests.close()
            await transport.close()
