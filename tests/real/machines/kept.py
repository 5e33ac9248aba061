"""What a run that failed leaves of its machines besides their consoles: journals, pods' logs, what cpcd's jobs said."""

import asyncio
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

__all__ = ["PASSED", "address", "collect", "host", "went_well"]

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
    """Keep what each machine that runs can tell, beside its console; one that tells nothing is passed by, with a word."""
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
        except (OSError, asyncssh.Error, asyncssh.KeyImportError, Refused) as error:
            say(f"{vm.name} tells nothing: {error!r}")
