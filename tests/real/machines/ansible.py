"""`prepare` on plain machines of Debian 12 and 13, as it is: what it installs, what goes wrong in it, and what is told.

The stories are told on both machines at once, one after the other in this order, and each begins with what the one
before has left. Next: `plain.py` for the machines, `systems.py` for what they start with; `rpm.py`.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cpcd.adapters.playbooks.traces import marked
from tests.real.cache import say
from tests.real.machines.hand import until
from tests.real.machines.kept import went_well
from tests.real.machines.plain import BOUND_S, FIT, GIVEN, PERSON, WANTED, Plain, Played, each, note, played, standing
from tests.real.machines.report import Report
from tests.real.machines.systems import debian

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
MOMENTS = (5.0, 100.0)  # seconds of a run, or of what is left of one, that takes longer on any emulated processor
APT = "pgrep --full '[a]pt-get .*install' || true"  # asks for the lock before anything else
# A package whose script kills dpkg in the middle of its configuration, once.
TRAP = r"""
mkdir -p /tmp/trap/DEBIAN
printf 'Package: trap\nVersion: 1\nArchitecture: all\nMaintainer: tests <root@localhost>\nDescription: kills\n' > /tmp/trap/DEBIAN/control
printf '#!/bin/sh\n[ -e /var/trapped ] || { touch /var/trapped; kill -9 $PPID; }\n' > /tmp/trap/DEBIAN/postinst
chmod 755 /tmp/trap /tmp/trap/DEBIAN /tmp/trap/DEBIAN/postinst
dpkg-deb --build /tmp/trap > /dev/null
until [ -e /var/trapped ]; do dpkg --install /tmp/trap.deb > /dev/null 2>&1 || sleep 1; done
dpkg-query --show --showformat '${db:Status-Status}' trap
"""
# As apt and dpkg lock: fcntl's, not flock's.
HOLDER = (
    'systemd-run --quiet --unit=holder python3 -c \'import fcntl, time; file = open("/var/lib/dpkg/lock-frontend", "w");'
    ' fcntl.lockf(file, fcntl.LOCK_EX); print("held", flush=True); time.sleep(3600)\';'
    " until journalctl --boot --unit=holder --output=cat | grep -q held; do sleep 0.2; done"
)
UNFINISHED = "Finish what an interrupted dpkg left"  # the first task that wants the lock then
LEFT = f"{FIT}; apt-mark showhold | xargs"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def machines(place: Path, request: pytest.FixtureRequest) -> AsyncIterator[list[Plain]]:
    """Return the two machines."""
    async with standing(place, debian(), failed=lambda: not went_well(request)) as made:
        yield made


async def test_user_without_sudo_is_told_and_nothing_changes(machines: list[Plain], report: Report) -> None:
    """It is refused before the first task."""

    async def story(machine: Plain) -> tuple[Played, str]:
        await machine.root("touch /root/before")
        played = await machine.prepare("wrong-sudo", user=PERSON)
        return played, await machine.root(
            "find /etc /usr /boot /var/lib/cpcd /var/lib/dpkg -newer /root/before 2> /dev/null; true"
        )

    told = await each(machines, story)
    note(report, "a user without sudo", {name: played for name, (played, _) in told.items()})

    assert {"NotRoot"} == {played.reason for played, _ in told.values()}, told
    assert all("sudo" in played.message for played, _ in told.values()), told
    assert {""} == {changed for _, changed in told.values()}, told


async def test_machine_without_network_is_told_in_bounded_time(machines: list[Plain], report: Report) -> None:
    """The mirror's address leads nowhere for it."""
    told = await each(machines, lambda machine: machine.unreached("no-network"))
    note(report, "no way to the mirror", told)

    assert {"MirrorUnreachable"} == {played.reason for played in told.values()}, told
    assert max(played.seconds for played in told.values()) < BOUND_S, told


async def test_full_disk_is_told(machines: list[Plain], report: Report) -> None:
    """Nothing can be written."""

    async def story(machine: Plain) -> Played:
        await machine.root("fallocate --length $(($(stat --file-system --format '%f * %S' /))) /full || true")
        played = await machine.prepare("full-disk")
        await machine.root("rm /full")
        return played

    told = await each(machines, story)
    note(report, "a full disk", told)

    assert {"DiskFull"} == {played.reason for played in told.values()}, told


async def test_third_run_converges_after_two_that_were_cut(machines: list[Plain], report: Report) -> None:
    """The machine is reset in the first and the daemon's side killed in the second, at moments of chance.

    The first has waited for apt's lock before. The third finds a dpkg that was killed while it configured a package, and
    the lock held once more: dpkg, which has no patience of its own, is asked until it is free.
    """
    chance = random.Random(SEED)
    moments = {machine.name: (chance.uniform(*MOMENTS), chance.uniform(*MOMENTS)) for machine in machines}
    say(f"SEED={SEED}: {moments}")

    async def story(machine: Plain) -> tuple[Played, Played, str, str, Played, str]:
        waited, reset = await cut_by_reset(machine, moments[machine.name][0])
        killed = await cut_by_kill(machine, moments[machine.name][1])
        trapped = await machine.root(TRAP)
        await machine.root(HOLDER)
        began = time.monotonic()
        await machine.begin("third")
        await machine.reaches("third", UNFINISHED)
        await asyncio.sleep(15)
        held = f"{waited}, {machine.tasks('third')[-1]}"
        await machine.root("systemctl stop holder")
        third = await machine.end("third", began)
        left = await machine.root(LEFT) if third.state == "done" else ""
        return reset, killed, trapped, held, third, left

    told = await each(machines, story)
    for number, what in ((0, "apt's lock waited for, and reset"), (1, "its run killed")):
        for name, ended in told.items():
            note(report, f"{what} after {moments[name][number]:.0f} s", {name: ended[number]})
    note(report, "the third run, the lock held for its first part", {name: ended[4] for name, ended in told.items()})

    assert {("failed", "Unreachable")} == {(ended[0].state, ended[0].reason) for ended in told.values()}, told
    assert {"lost"} == {ended[1].state for ended in told.values()}, told
    assert {("half-configured", f"running, {UNFINISHED}")} == {ended[2:4] for ended in told.values()}, told
    assert {"done"} == {ended[4].state for ended in told.values()}, told
    assert {f"{WANTED}\nkubeadm kubectl kubelet"} == {ended[5] for ended in told.values()}, told


async def cut_by_reset(machine: Plain, moment: float) -> tuple[str, Played]:
    """Press the reset button in the middle of a run that has waited for apt's lock; return what it did then and how it ended.

    The moment is counted from when somebody let go of the lock and apt went on.
    """
    boot, began = str((await machine.facts())["boot_id"]), time.monotonic()
    await machine.root(HOLDER)
    await machine.begin("reset")
    apt = await until(lambda: machine.root(APT), "apt-get wants the lock")
    await asyncio.sleep(15)
    waited = (await machine.poll("reset"))["state"] if apt == await machine.root(APT) else "not locked"
    await machine.root("systemctl stop holder")
    await machine.reaches("reset", "Install containerd")  # the next task
    await asyncio.sleep(moment)
    await machine.reset()
    await machine.booted(boot)
    return waited, await machine.end("reset", began)


async def cut_by_kill(machine: Plain, moment: float) -> Played:
    """Kill the daemon's side in the middle of a run; return how it ended, when nothing of it is left there."""
    began = time.monotonic()
    await machine.begin("killed")
    await asyncio.sleep(moment)
    machine.kill("killed")
    ended = await machine.end("killed", began)
    assert not list(marked(machine.run("killed")))
    return ended


async def test_next_run_changes_nothing_and_is_as_fast_as_without_cpcd(
    machines: list[Plain], report: Report, place: Path
) -> None:
    """The same playbook, inventory and settings by ansible-playbook alone take at most a tenth less."""

    async def story(machine: Plain) -> tuple[Played, float, str, Any]:
        began = time.monotonic()
        await machine.begin("again")
        directory = place / f"bare-{machine.name}"
        machine.keep("again", directory)
        again = await machine.end("again", began)
        seconds, told = await played(directory)
        return again, seconds, told, (await machine.facts())["prepared"]

    told = await each(machines, story)
    note(report, "one more run", {name: ended[0] for name, ended in told.items()})
    ours, bare = (
        sum(seconds) for seconds in zip(*((ended[0].seconds, ended[1]) for ended in told.values()), strict=True)
    )
    for name, ended in told.items():
        report.add(f"{name}: the same by a bare ansible-playbook", ended[1])
    report.versions["prepare against bare ansible-playbook"] = f"{ours / bare:.2f} ×"

    assert {("done", 0)} == {(ended[0].state, ended[0].changed) for ended in told.values()}, told
    assert all("changed=0 " in ended[2] and "failed=0 " in ended[2] for ended in told.values()), told
    assert {GIVEN["profile"]} == {ended[3] for ended in told.values()}, told
    assert ours / bare <= 1.10, told
