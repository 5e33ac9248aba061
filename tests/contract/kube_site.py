"""The sites that the suite of the Kubernetes port runs on: the lab's store in process, and the adapter over HTTPS.

A real Kubernetes is one more: `tests/real/kube_port.py`. Tests use the port alone, and of a site what is said here.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from cpcd.adapters.kube import KubeApi
from cpcd.lab.guests import Durations
from cpcd.lab.inprocess import LabKube
from cpcd.lab.kube import MANIFESTS, NETWORKS, Cluster, File, Kubelet, Plan
from cpcd.lab.kube.tokens import token_refused
from cpcd.lab.pve import Settings
from cpcd.lab.servers.clock import FastClock
from cpcd.lab.servers.listeners import Listeners
from cpcd.lab.world import World
from cpcd.model.errors import Failure
from cpcd.ports.kube import GVK, Kube, Object

SPACE = "contract"
CONFIG = GVK("v1", "ConfigMap")
NODE = GVK("v1", "Node")
EVENT = GVK("v1", "Event")
ADDRESS = "127.66.0.1"
RATE = 200.0
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


@dataclass
class Site:
    """A cluster to test on, with one Node; `wait` lets its time pass.

    Within an `outage` its only API server is gone; the one that comes after it has forgotten the history. `compact`
    lets etcd forget it while everything goes on. `refuses` says why a machine with a bootstrap token is not let in,
    empty when it is. `place` and `kubeconfig` are where connections lead that may be bad.
    """

    kube: Kube
    wait: Sleep
    outage: Callable[[], AbstractAsyncContextManager[None]]
    compact: Callable[[], Awaitable[None]]
    refuses: Callable[[str], Awaitable[str]]
    node: str
    place: tuple[str, int] = ("", 0)
    kubeconfig: str = ""


def cluster_of(world: World, port: int) -> Cluster:
    """Return a cluster of one control plane, made and up long ago."""
    cluster = world.new_cluster(Plan("home", "127.66.0.9", port, "v1.34.2"))
    manifests = {f"{MANIFESTS}/{name}.yaml": File("", -900) for name in ("etcd", "kube-apiserver")}
    manifests[f"{NETWORKS}/10-flannel.conflist"] = File("", -900)
    kubelet = Kubelet("cp1", ADDRESS, manifests, port=port, version="1.34.2")
    kubelet.member = cluster.etcd.found(kubelet).id
    binding = {"name": "kubeadm:cluster-admins"}
    cluster.store.create({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": binding,
    })  # fmt: skip
    kubelet.start(-900, "boot")
    cluster.join(kubelet)
    return cluster


@asynccontextmanager
async def outage(cluster: Cluster, sleep: Sleep, follow: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Cut the control plane's machine off, and let it come back."""

    async def turn(*, cut: bool) -> None:
        cluster.kubelets[0].cut = cut
        cluster.poke()
        for _ in range(10):
            await sleep(1)
        await follow()

    await turn(cut=True)
    yield
    await turn(cut=False)


def of_lab(cluster: Cluster, kube: Kube, sleep: Sleep, follow: Callable[[], Awaitable[None]], port: int = 0) -> Site:
    """Return a cluster of the lab as a site."""

    async def compact() -> None:
        cluster.store.objects.compact()

    async def refuses(token: str) -> str:
        return token_refused(cluster, token)

    return Site(
        kube, sleep, lambda: outage(cluster, sleep, follow), compact, refuses, "cp1", (ADDRESS, port),
        cluster.admin_kubeconfig(f"https://{ADDRESS}:{port}"),
    )  # fmt: skip


async def in_process(_: Path) -> AsyncIterator[Site]:
    """The store, called directly; time passes when somebody sleeps."""
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        world.events.settle()
        await asyncio.sleep(0)

    world = World(now=lambda: now, seed=1, settings=Settings(), durations=Durations())
    cluster = cluster_of(world, 6443)
    kube = LabKube(world, ADDRESS, 6443, sleep)
    yield of_lab(cluster, kube, sleep, lambda: asyncio.sleep(0))


async def over_https(private: Path) -> AsyncIterator[Site]:
    """The adapter over the lab's HTTPS server, 200 times as fast as real time."""
    clock = FastClock(RATE)
    world = World(now=clock.now, seed=1, settings=Settings(), durations=Durations())
    with socket.create_server((ADDRESS, 0)) as probe:
        port: int = probe.getsockname()[1]
    cluster = cluster_of(world, port)
    listeners = Listeners(world, clock, 2222, Counter())
    await listeners.follow()
    assert listeners.troubles == {}

    async def tick() -> None:
        while True:
            world.events.settle()
            await asyncio.sleep(0.005)

    ticker = asyncio.create_task(tick())
    text = cluster.admin_kubeconfig(f"https://{ADDRESS}:{port}")
    api = KubeApi(text, endpoint="kube:home", cache_dir=private, scale=10)
    yield of_lab(cluster, api, clock.sleep, listeners.follow, port)
    await api.close()
    ticker.cancel()
    await listeners.close()


def config(name: str = "c", labels: dict[str, str] | None = None, **data: str) -> Object:
    """Return a ConfigMap."""
    metadata = {"name": name, "namespace": SPACE, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def event(number: int) -> Object:
    """Return an Event about nothing."""
    about = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": SPACE}
    metadata = {"name": f"contract.{number}", "namespace": SPACE}
    return {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": about, "reason": "Contract"}


async def failure(call: Awaitable[object]) -> Failure:
    """Return the Failure that a call ends in."""
    with pytest.raises(Failure) as caught:
        await call
    return caught.value


async def eventually(site: Site, look: Callable[[], Awaitable[T | None]]) -> T:
    """Return what `look` finds, as soon as it finds something."""
    for _ in range(300):
        if found := await look():
            return found
        await site.wait(1)
    raise AssertionError


async def gone(site: Site, gvk: GVK, name: str, namespace: str = "") -> bool:
    """Tell whether an object is not there."""
    return await site.kube.get(gvk, name, namespace) is None
