"""One lab with real machines for the tests of this directory, and what they leave when one fails: their consoles."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cpcd.adapters.http import AiohttpTransport
from cpcd.adapters.proxmox import ProxmoxApi
from tests.real.machines import image, network
from tests.real.machines.image import Image
from tests.real.machines.lab import Lab

KEPT = pytest.StashKey[Path]()


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return where machines are kept, in a network that is made here and ends with the tests' namespace."""
    network.bridge()
    made = request.config.stash[KEPT] = Path(tempfile.mkdtemp(prefix="cpcd-machines-"))
    yield made
    for disk in made.glob("*/*.qcow2"):
        disk.unlink()


@pytest.fixture(scope="session")
def template() -> Image:
    """Return the image of the lab's template: the plain one, where a module has no other."""
    return image.made()


@pytest.fixture
async def lab(place: Path, template: Image) -> AsyncIterator[Lab]:
    """Return the lab while it answers."""
    async with Lab(place, template).running() as running:
        yield running


@pytest.fixture
async def proxmox(lab: Lab) -> AsyncIterator[ProxmoxApi]:
    """Return the adapter that the daemon uses, on it."""
    transport = AiohttpTransport([lab.url], ca_file="", fingerprint=lab.fingerprint)
    yield ProxmoxApi(transport, "machines", lambda: lab.token)
    await transport.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Name the consoles of a run that failed, and leave nothing of one that did not."""
    kept = config.stash.get(KEPT, None)
    if kept is None:
        return
    if exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(kept)
        return
    for console in sorted(kept.glob("*/console.log")):
        terminalreporter.write_line(f"console kept: {console}")
