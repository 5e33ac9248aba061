"""A real Kubernetes for the tests of this directory: one control plane a session, two nodes that stand in.

What the directory holds is named without `test_`, so that `pytest tests` passes it by and builds nothing.
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cpcd.adapters.kube import KubeApi
from tests.real.nodes import standing
from tests.real.plane import Plane

NODES = ("node-1", "node-2")
PLACE = pytest.StashKey[Path]()


@pytest.fixture(scope="session")
def plane(request: pytest.FixtureRequest) -> Iterator[Plane]:
    """Return the control plane, started once; where it stands is in the configuration for the end."""
    made = Plane(Path(tempfile.mkdtemp(prefix="cpcd-kube-")))
    request.config.stash[PLACE] = made.directory
    try:
        made.start()
        with standing(made, NODES):
            yield made
    finally:
        made.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Name the logs of a run that failed, and leave nothing of one that did not."""
    place = config.stash.get(PLACE, None)
    if place is None:
        return
    if exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(place)
        return
    for log in sorted(place.glob("*.log")):
        terminalreporter.write_line(f"log kept: {log}")


@pytest.fixture
async def kube(plane: Plane, tmp_path: Path) -> AsyncIterator[KubeApi]:
    """Return the adapter that the daemon uses, on it as the administrator."""
    api = KubeApi(plane.kubeconfig(), endpoint="kube:real", cache_dir=tmp_path)
    yield api
    await api.close()
