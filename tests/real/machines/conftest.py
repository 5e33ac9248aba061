"""Labs with real machines for the tests of this directory, and what they leave when one fails: all that machines told."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.http import AiohttpTransport
from cpcd.adapters.playbooks import Playbooks
from cpcd.adapters.proxmox import ProxmoxApi
from tests.real.machines import image, kept, network
from tests.real.machines.hand import USER, Hand
from tests.real.machines.image import Image
from tests.real.machines.lab import Lab
from tests.real.machines.report import OVER, Report
from tests.real.machines.stage import Stage

KEPT = pytest.StashKey[Path]()


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return where machines are kept, in a network that is made here and ends with the tests' namespace."""
    network.bridge()
    made = request.config.stash[KEPT] = Path(tempfile.mkdtemp(prefix="cpcd-machines-"))
    yield made
    if kept.went_well(request):  # else a disk may hold what nobody asked for
        for disk in made.rglob("*.qcow2"):
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
async def hand(lab: Lab, place: Path, request: pytest.FixtureRequest) -> AsyncIterator[Hand]:
    """Return what makes machines by hand, with the adapters that the daemon uses; its private key is `place / "key"`."""
    key = place / "key"
    transport = AiohttpTransport([lab.url], ca_file="", fingerprint=lab.fingerprint)
    guests = GuestsOverSsh(key=key, playbooks=Playbooks(place / "playbooks", key=key))
    try:
        yield Hand(ProxmoxApi(transport, "machines", lambda: lab.token), guests)
    finally:
        if not kept.went_well(request):
            await kept.collect(lab, key, USER)
        await guests.close()
        await transport.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(place: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Return the cluster that the parts from `build` on are played on, one after the other, from its very beginning."""
    ground = image.made(kubernetes=True)
    async with Stage.playing(place, ground, failed=lambda: not kept.went_well(request)) as playing:
        yield playing


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Return what a part tells of itself, written to the docs when all of it went well, and was not interrupted."""
    made = Report(request.path.stem)
    yield made
    if kept.went_well(request) and not (request.config.getoption("keyword") or request.config.getoption("deselect")):
        made.write()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which tests went well."""
    told = yield
    if told.when == "call" and told.passed:
        item.config.stash.setdefault(kept.PASSED, []).append(item)
    return told


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Let a run fail in which something took too long beside the same by hand; its reports say what."""
    if OVER and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Name the consoles and disks of a run that failed, and leave nothing of one that did not."""
    for each in OVER.values():
        terminalreporter.write_line(f"over: {each}")
    made = config.stash.get(KEPT, None)
    if made is None:
        return
    if exitstatus == pytest.ExitCode.OK and not OVER:
        shutil.rmtree(made)
        return
    for told in sorted(one for one in made.rglob("*") if one.name.endswith((".log", ".b64", ".gz", ".qcow2"))):
        terminalreporter.write_line(f"kept: {told}")
