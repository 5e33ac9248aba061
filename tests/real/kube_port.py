"""The contract suite of the Kubernetes port on a real Kubernetes: the very tests that the lab has to pass.

Whatever differs here is mended in the lab, or in the adapter.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cpcd.adapters.kube import KubeApi
from cpcd.model.errors import Code
from tests.contract.test_kube_port import *  # noqa: F403 - the suite is what this module is
from tests.contract.test_kube_port import SPACE, Site, config, failure
from tests.real.conftest import NODES
from tests.real.plane import Plane

QUICK = 0.1  # real seconds for one of the suite's: these controllers act at once


@asynccontextmanager
async def outage(plane: Plane) -> AsyncIterator[None]:
    """Kill the API server and start another, which begins with an empty watch cache."""
    plane.kill("kube-apiserver")
    try:
        yield
    finally:
        plane.run("kube-apiserver")
        await asyncio.to_thread(plane.wait_ready)


@pytest.fixture
async def site(kube: KubeApi, plane: Plane) -> AsyncIterator[Site]:
    """Return the real thing, with the namespace that tests use."""
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    yield Site(kube, lambda seconds: asyncio.sleep(seconds * QUICK), lambda: outage(plane), NODES[0])
    for _ in range(300):
        if not (left := leave(plane)):
            return
        await asyncio.sleep(QUICK)
    raise AssertionError(left)


async def test_missing_right_is_a_matter_of_credentials(plane: Plane, site: Site, tmp_path: Path) -> None:
    """It is told from what the API forbids to everybody; the lab knows no rights."""
    scheduler = KubeApi(plane.kubeconfig("scheduler"), endpoint="kube:real", cache_dir=tmp_path)
    error = await failure(scheduler.apply(config(a="1")))
    await scheduler.close()

    assert Code.AUTH is error.code
    assert "loading RBAC" in error.what


async def test_api_that_is_silent_is_unreachable_in_time(plane: Plane, site: Site, tmp_path: Path) -> None:
    """A process that hangs accepts connections and says nothing: the client's limit ends that, here a tenth of it."""
    hasty = KubeApi(plane.kubeconfig(), endpoint="kube:real", cache_dir=tmp_path, scale=10)
    plane.running["kube-apiserver"].send_signal(signal.SIGSTOP)
    try:
        error = await failure(hasty.version())
    finally:
        plane.running["kube-apiserver"].send_signal(signal.SIGCONT)
        await hasty.close()

    assert Code.NETWORK is error.code
    assert (await site.kube.version()).startswith("v1.")


def leave(plane: Plane) -> list[str]:
    """Take away what a test left, and return what is still there; the namespace goes on, since its end takes seconds."""
    core, group = f"/api/v1/namespaces/{SPACE}", "/apis/{}/namespaces/" + SPACE
    left = []
    for path in (
        f"{group.format('apps/v1')}/deployments", f"{group.format('apps/v1')}/replicasets", f"{core}/pods",
        f"{group.format('policy/v1')}/poddisruptionbudgets", f"{core}/configmaps",
    ):  # fmt: skip
        plane.ask("DELETE", path)
        left += [item["metadata"]["name"] for item in plane.ask("GET", path)[1]["items"]]
    return [name for name in left if name != "kube-root-ca.crt"]  # every namespace gets it anew
