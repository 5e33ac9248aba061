"""What a run that failed leaves of its machines besides their consoles: journals, pods' logs, what cpcd's jobs said."""

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import asyncssh
import pytest

from cpcd.lab.pve import Vm
from cpcd.lab.pve.errors import Refused
from cpcd.lab.pve.properties import parse
from cpcd.ports.guests import Host
from tests.real.cache import say
from tests.real.machines.hand import HOST_KEY, shell
from tests.real.machines.lab import Lab

__all__ = ["PASSED", "address", "collect", "host", "read", "went_well"]

PASSED: Final = pytest.StashKey[list[pytest.Item]]()
_PATIENCE_S: Final = 120.0
_ASKED: Final = {
    "journal.log": "sudo journalctl --no-pager --output short-precise",
    "containers.log": "sudo ctr --namespace k8s.io containers list; sudo ctr --namespace k8s.io tasks list; ip address; ip route",
    # Of one that still runs: what has ended is in the journal, or went well.
    "kubeadm.log": "for each in $(pgrep -x kubeadm); do sudo timeout 5 cat /proc/$each/fd/1 /proc/$each/fd/2; done",
    "left.tar.gz.b64": "sudo tar -C / -cz --ignore-failed-read var/log/pods var/lib/cpcd/ops etc/cni etc/kubernetes/manifests"
    " 2> /dev/null | base64",
}
_ON_DISK: Final = "/var/log/journal /var/log/pods /var/lib/cpcd/ops /etc/cni /etc/kubernetes/manifests"


def went_well(request: pytest.FixtureRequest) -> bool:
    """Tell whether every test that a fixture serves has passed: what was interrupted did not."""
    served = [item for item in request.session.items if request.node in item.listchain()]
    return set(served) <= set(request.config.stash.get(PASSED, []))


def address(vm: Vm) -> str:
    """Return the address that a machine's configuration gives it, without its prefix."""
    return parse(str(vm.config.get("ipconfig0", "")), "ip").get("ip", "").partition("/")[0]


def host(lab: Lab, vm: Vm, user: str) -> Host:
    """Return how a machine is reached, with the key that its agent tells."""
    key = (lab.machines.agent_file(vm, HOST_KEY) or "").rsplit(" ", 1)[0]
    return Host(str(vm.vmid), vm.name, address(vm), 22, (user,), key)


async def collect(lab: Lab, key: Path, user: str) -> None:
    """Keep what each machine can tell, beside its console: of one that is off, destroyed or silent what its disk holds."""
    for vmid in list(lab.machines.running):
        vm = lab.pve.vms[vmid]
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reached = await asyncio.to_thread(host, lab, vm, user)
                for name, command in _ASKED.items():
                    done = await shell(reached, key, command)
                    kept = lab.machines.console(vmid).with_name(name)
                    kept.write_text(f"{done.stdout}{done.stderr}")
                    say(f"kept: {kept}")
        except (
            OSError,
            asyncssh.Error,
            asyncssh.KeyImportError,
            Refused,
            KeyError,
        ) as error:  # KeyError: it has just ended
            say(f"{vm.name} tells nothing: {error!r}")
            lab.machines.power_off(vm)
    for disk in sorted(lab.machines.place.glob("*/scsi0.qcow2")):
        if disk.parent.name not in map(str, lab.machines.running):
            try:
                await asyncio.to_thread(read, disk)
            except (OSError, subprocess.CalledProcessError) as error:
                say(f"{disk} tells nothing: {error!r}")


def read(disk: Path) -> None:
    """Keep what lies on the disk of a machine that is off, beside it: its journal, and an archive with all else.

    As far as it came to the disk: Linux writes it half a minute later, which a machine that was killed has lost. Raises
    OSError, and CalledProcessError when it cannot be read or has no journal.
    """
    with tempfile.TemporaryDirectory(dir=disk.parent) as scratch:
        raw, left = Path(scratch) / "raw", Path(scratch) / "left"
        left.mkdir()
        subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
        subprocess.run(["e2fsck", "-fy", raw], stdout=subprocess.DEVNULL, check=False)  # as its next boot would
        subprocess.run(["debugfs", "-R", f"rdump {_ON_DISK} {left}", raw], check=True)
        say(f"kept: {shutil.make_archive(str(disk.with_suffix('')), 'gztar', left)}")
        told = ["journalctl", "--directory", left / "journal", "--no-pager", "--output", "short-precise"]
        with disk.with_suffix(".journal.log").open("w") as journal:
            subprocess.run(told, stdout=journal, check=True)
        say(f"kept: {disk.with_suffix('.journal.log')}")
