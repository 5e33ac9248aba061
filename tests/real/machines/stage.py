"""A cluster of real machines and the daemon that keeps it: what the stories of this tier are played on.

The daemon is never asked whether it did right: that the lab, the machines and their Kubernetes tell. What it says of
itself is shown as it goes on, and its history is the report's table. Next: `build.py`.
"""

import asyncio
import re
import shlex
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from cpcd.adapters.kube import KubeApi
from cpcd.lab.pve import Vm
from cpcd.ports.guests import Host
from cpcd.ports.kube import GVK
from cpcd.status.reasons import STEPS
from tests.real import binaries
from tests.real.cache import say
from tests.real.machines import kept, patience
from tests.real.machines.daemon import Daemon
from tests.real.machines.endpoint import endpoint
from tests.real.machines.hand import shell, until
from tests.real.machines.image import Image
from tests.real.machines.lab import TEMPLATE, Lab
from tests.real.machines.network import ENDPOINT, NETWORK

__all__ = ["NODE", "TEMPLATES", "Stage", "is_ready", "routed"]

NAME: Final = "real"
TEMPLATES: Final = ("first", "second")  # of one image; to cpcd two of their own
NODE: Final = GVK("v1", "Node")
USER: Final = "debian"
# An emulated processor on a busy host: what takes a minute elsewhere may take ten here, and is no sickness yet.
_PATIENT: Final = {
    "nodeStartupTimeout": "2h",
    "unhealthyNodeConditions": [
        {"type": "Ready", "status": status, "timeout": "30m"} for status in ("False", "Unknown")
    ],
}
_JOBS: Final = """cd /var/lib/cpcd/ops && for job in *; do
echo "$(cat $job/verb) $(($(stat -c %Y $job/result.json) - $(stat -c %Y $job/verb)))"
done"""
_BUILT_S: Final = 7200.0


class Stage:
    """One lab, one daemon, one cluster of one control plane and one worker."""

    def __init__(self, lab: Lab, daemon: Daemon) -> None:
        self.lab, self.daemon = lab, daemon
        self.began = time.monotonic()
        self.document: dict[str, Any] = _document(lab)
        self._clients: dict[str, KubeApi] = {}

    @contextmanager
    def edit(self) -> Iterator[dict[str, Any]]:
        """Commit what the block makes of the spec."""
        yield self.document["spec"]
        self.daemon.commit(self.document)

    def vms(self) -> dict[str, Vm]:
        """Return the machines that exist, by name."""
        return {vm.name: vm for vm in self.lab.pve.vms.values() if not vm.template}

    def host(self, name: str) -> Host:
        """Return how a machine is reached, with the key that its agent tells."""
        return kept.host(self.lab, self.vms()[name], USER)

    @property
    def key(self) -> Path:
        """The daemon's own SSH key."""
        return self.daemon.state / "ssh" / "id_ed25519"

    @asynccontextmanager
    async def kube(self) -> AsyncIterator[KubeApi]:
        """Yield the cluster's API, asked with the kubeconfig that the daemon wrote; FileNotFoundError before that.

        By one client as long as that is the same: to shake hands with a new one at each look costs what is looked at most.
        """
        text = (self.daemon.state / "kubeconfigs" / f"{NAME}.yaml").read_text()
        if text not in self._clients:
            self._clients[text] = KubeApi(text, endpoint="kube:real", cache_dir=self.daemon.directory)
        yield self._clients[text]

    async def nodes(self) -> dict[str, Any]:
        """Return the Nodes by name, none before there is an API."""
        try:
            async with self.kube() as api:
                return {node["metadata"]["name"]: node for node in (await api.list(NODE))[0]}
        except FileNotFoundError:
            return {}

    async def ready(self, *names: str) -> dict[str, Any]:
        """Wait until exactly these Nodes are there and Ready, and return them."""

        async def look() -> Any:
            if not set(names) <= await self.told("Ready"):
                return None
            nodes = await self.nodes()
            return nodes if nodes.keys() == set(names) and all(map(is_ready, nodes.values())) else None

        found: dict[str, Any] = await until(look, f"Ready: {', '.join(names)}", patience=_BUILT_S)
        return found

    async def node(self, name: str, holds: Callable[[Any], bool], what: str) -> Any:
        """Wait until a Node is as `holds` says, and return it."""

        async def look() -> Any:
            node = (await self.nodes()).get(name)
            return node if node is not None and holds(node) else None

        return await until(look, what)

    async def history(self) -> list[dict[str, Any]]:
        """Return what the daemon says it did, the oldest first."""
        events: list[dict[str, Any]] = await self.daemon.get("/events", key="", limit=10_000)
        return events[::-1]

    async def told(self, reason: str) -> set[str]:
        """Return the machines of which the daemon ever gave this reason: when to look, and not whether it is so.

        Until then nobody asks an API that has enough to do, as nobody does by hand before a machine has joined.
        """
        return {
            each["name"] for each in await self.history() if each["reason"] == reason and "/machine/" in each["key"]
        }

    async def steps(self) -> list[tuple[str, str]]:
        """Return what the daemon says it began, as (object, verb in CamelCase)."""
        return [(each["name"], each["reason"]) for each in await self.history() if each["reason"] in STEPS]

    async def killed_in(self, name: str, step: str) -> None:
        """Wait until the daemon has begun a step of a machine, kill it a moment later, and start another one."""
        await until(lambda: self._begun(name, step), f"{step} of {name} is begun", patience=_BUILT_S)
        await asyncio.sleep(3)  # a step is told when its job is on its way
        self.daemon.kill()
        assert await self._at_work(name), f"the {step} of {name} was over before the daemon was killed"
        say(f"the daemon is killed in the {step} of {name}")
        await asyncio.sleep(3)
        self.daemon.start()

    async def _begun(self, name: str, step: str) -> bool:
        return (name, step) in await self.steps()

    async def _at_work(self, name: str) -> list[str]:
        """Return the jobs on a machine that have not left a result."""
        script = "cd /var/lib/cpcd/ops && for job in *; do [ -e $job/result.json ] || echo $job; done"
        done = await shell(await asyncio.to_thread(self.host, name), self.key, f"sudo sh -c {shlex.quote(script)}")
        return str(done.stdout).split()

    async def jobs(self, name: str) -> list[tuple[str, int]]:
        """Return the long jobs that ever ended on a machine, as it remembers them itself: (verb, seconds)."""
        done = await shell(await asyncio.to_thread(self.host, name), self.key, f"sudo sh -c {shlex.quote(_JOBS)}")
        return sorted((verb, int(seconds)) for verb, seconds in re.findall(r"(\S+) (\d+)\n", str(done.stdout)))

    @classmethod
    @asynccontextmanager
    async def playing(cls, place: Path, image: Image, *, failed: Callable[[], bool]) -> AsyncIterator["Stage"]:
        """Start everything, end it at the end of the block; of a run that `failed` what machines can tell is kept."""
        async with Lab(place, *[image] * len(TEMPLATES)).running() as lab:
            stage = cls(lab, Daemon(place / "daemon", lab.token))
            stage.daemon.commit(stage.document)
            stage.daemon.start()
            async with routed(lab):
                follower = asyncio.create_task(stage._follow())
                try:
                    yield stage
                finally:
                    stage.daemon.kill()  # first: what is kept is to stand still
                    if failed():
                        await kept.collect(lab, stage.key, USER)
                    follower.cancel()
                    for client in stage._clients.values():
                        await client.close()

    async def _follow(self) -> None:
        """Tell what is new in the daemon's log, each second, but not the passes without news."""
        with self.daemon.log.open(errors="replace") as stream:
            while True:
                for line in (line for line in stream if "[debug" not in line):
                    say(f"{time.monotonic() - self.began:6.0f} s  {line.rstrip()}")
                await asyncio.sleep(1)


def routed(lab: Lab) -> AbstractAsyncContextManager[None]:
    """Lead to a control plane that runs, whatever comes to the cluster's endpoint."""

    def planes() -> list[str]:
        return [kept.address(vm) for vm in lab.pve.vms.values() if vm.running and "-cp-" in vm.name]

    return endpoint(ENDPOINT, 6443, planes)


def _document(lab: Lab) -> dict[str, Any]:
    proxmox = {
        "url": lab.url, "credentialsRef": {"env": "LAB_TOKEN"}, "tls": {"fingerprint": lab.fingerprint},
        "dnsServers": [f"{NETWORK}.1"],
        "ipv4Config": {"addresses": [f"{NETWORK}.10-{NETWORK}.60"], "prefix": 24, "gateway": f"{NETWORK}.1"},
    }  # fmt: skip
    machine = {
        "template": TEMPLATES[0], "full": False, "numCores": 1, "memoryMiB": 2048, "disks": {"bootVolume": {"sizeGb": 6}},
        "ssh": {"users": [USER]},
    }  # fmt: skip
    return {
        "apiVersion": "cpcd.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": NAME},
        "spec": {
            "version": f"v{binaries.KUBERNETES}",
            "controlPlaneEndpoint": {"host": ENDPOINT, "provider": "external"},
            "infrastructure": {"proxmox": proxmox},
            "templates": [{"name": name, "templateID": vmid} for vmid, name in enumerate(TEMPLATES, TEMPLATE)],
            "machineDefaults": machine,
            "controlPlane": {
                "replicas": 1, "machine": {"numCores": 2, "memoryMiB": 4096}, "kubeadmConfigSpec": patience.SPEC,
            },
            "workers": {"machineDeployments": [{"name": "general", "replicas": 1}]},
            "healthCheck": _PATIENT,
            "policy": {"timeouts": {"network": "2m"}},
        },
    }  # fmt: skip


def is_ready(node: Mapping[str, Any]) -> bool:
    """Tell whether a Node says so."""
    return any((each["type"], each["status"]) == ("Ready", "True") for each in node["status"].get("conditions", ()))
