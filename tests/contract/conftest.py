"""The site that a test of the Kubernetes port gets: each of the lab's in turn."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.kube_site import SPACE, Site, in_process, over_https


@pytest.fixture(params=[in_process, over_https], ids=["in process", "https"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Return each site in turn, with a namespace for the test."""
    async for opened in request.param(tmp_path / "private"):
        await opened.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        yield opened
