"""`prepare` where dnf or zypper is the package manager: what it installs, what goes wrong in it, and what is told.

The machines are Debian's and say they are Rocky Linux and openSUSE Leap (`systems.py`). The stories are told on both at
once, one after the other in this order. Next: `ansible.py`, whose stories are Debian's own.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.real.machines.kept import went_well
from tests.real.machines.plain import BOUND_S, FIT, GIVEN, WANTED, Plain, Played, each, note, standing
from tests.real.machines.report import Report
from tests.real.machines.systems import rocky_and_leap

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What a person does: an upgrade of everything, and one newer kubelet; and the first task that wants the lock then.
UPGRADE: Final = {"dnf": "dnf --assumeyes upgrade", "zypper": "zypper --non-interactive update"}
NEWER: Final = {
    "dnf": "dnf --assumeyes --disableexcludes=main install kubelet-1.35.99",
    "zypper": "zypper removelock kubelet && zypper --non-interactive install kubelet=1.35.99",
}
FIRST: Final = {"dnf": "Install kubelet, kubeadm and kubectl", "zypper": "Fetch its index"}
# As both lock: a file names the process that has it. zypper asks whether that one is one of its own, by its name.
HOLDER: Final = {
    "dnf": "sleep 3600 & for each in /var/cache/dnf/metadata_lock.pid /var/lib/dnf/rpmdb_lock.pid; do echo $! > $each; done",
    "zypper": "cp /bin/sleep /tmp/zypper; /tmp/zypper 3600 & echo $! > /run/zypp.pid",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def machines(place: Path, request: pytest.FixtureRequest) -> AsyncIterator[list[Plain]]:
    """Return the two machines."""
    async with standing(place, rocky_and_leap(), failed=lambda: not went_well(request)) as made:
        yield made


async def test_machine_without_network_is_told_in_bounded_time(machines: list[Plain], report: Report) -> None:
    """The mirror's address leads nowhere for it."""
    told = await each(machines, lambda machine: machine.unreached("no-network"))
    note(report, "no way to the mirror", told)

    assert {"MirrorUnreachable"} == {played.reason for played in told.values()}, told
    assert max(played.seconds for played in told.values()) < BOUND_S, told


async def test_it_converges_to_what_kubeadm_wants_and_stays(machines: list[Plain], report: Report) -> None:
    """The next run changes nothing, and an upgrade of everything leaves Kubernetes' packages alone."""

    async def story(machine: Plain) -> tuple[Played, Played, str]:
        first = await machine.prepare("first")
        again = await machine.prepare("again") if first.state == "done" else first
        await machine.root(UPGRADE[machine.name])
        return first, again, await machine.root(FIT)

    told = await each(machines, story)
    note(report, "all that it wants", {name: ended[0] for name, ended in told.items()})
    note(report, "one more run", {name: ended[1] for name, ended in told.items()})

    assert {"done"} == {ended[0].state for ended in told.values()}, told
    assert {("done", 0)} == {(ended[1].state, ended[1].changed) for ended in told.values()}, told
    assert {WANTED} == {ended[2] for ended in told.values()}, told
    assert {GIVEN["profile"]} == {(await machine.facts())["prepared"] for machine in machines}


async def test_newer_version_goes_back_when_the_lock_is_free(machines: list[Plain], report: Report) -> None:
    """Somebody installed another kubelet, and holds the package manager's lock when that is mended."""

    async def story(machine: Plain) -> tuple[str, Played, str]:
        await machine.root(NEWER[machine.name])
        await machine.root(f"systemd-run --quiet --unit=holder sh -c '{HOLDER[machine.name]}; wait'; sleep 2")
        began = time.monotonic()
        await machine.begin("back")
        await machine.reaches("back", FIRST[machine.name])
        await asyncio.sleep(20)
        held = machine.tasks("back")[-1]
        await machine.root("systemctl stop holder")
        back = await machine.end("back", began)
        await machine.root(UPGRADE[machine.name])  # for they are held anew
        return held, back, await machine.root(FIT)

    told = await each(machines, story)
    note(report, "a newer kubelet back, the lock held before", {name: ended[1] for name, ended in told.items()})

    assert FIRST == {name: ended[0] for name, ended in told.items()}, told
    assert {"done"} == {ended[1].state for ended in told.values()}, told
    assert {WANTED} == {ended[2] for ended in told.values()}, told
