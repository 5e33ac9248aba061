"""A machine by hand: what the daemon does until it has one, through the daemon's own adapters, and said step by step."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import asyncssh

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.lab.pve.errors import Refused
from cpcd.model.errors import Failure
from cpcd.plan.case import LEISURE
from cpcd.ports.guests import Host
from tests.real.cache import say
from tests.real.machines.lab import NODE, TEMPLATE
from tests.real.machines.network import NETWORK

__all__ = ["HOST_KEY", "USER", "Hand", "logged_in", "new_key", "shell", "until"]

USER: Final = "cpcd"
PATIENCE_S: Final = 1800.0  # what takes half a minute on an idle machine may take long on a busy one
HOST_KEY: Final = "/etc/ssh/ssh_host_ed25519_key.pub"


async def until(look: Callable[[], Awaitable[Any]], what: str, *, patience: float = PATIENCE_S) -> Any:
    """Look until there is something, and return it; says how long that took.

    A second passes between two looks, and more where a look takes long: who looks may be what it waits for. As the daemon
    waits (`plan/case.py`), so that nobody is the faster for it.

    Whoever is asked may be starting, or too busy to answer: that is looked at again. Raises TimeoutError with the last word.
    """
    began, last = time.monotonic(), ""
    while (looked := time.monotonic()) < began + patience:
        try:
            if found := await look():
                say(f"{what}: after {time.monotonic() - began:.1f} s")
                return found
        except (Failure, Refused, asyncssh.Error, asyncssh.KeyImportError, OSError) as error:
            last = str(error)
        await asyncio.sleep(max(1.0, LEISURE * (time.monotonic() - looked)))
    raise TimeoutError(f"{what}: {last}")


def new_key(path: Path) -> str:
    """Make a key pair, write the private key and return the public one's line."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.write_bytes(key.export_private_key())
    path.chmod(0o600)
    return key.export_public_key().decode().strip()


def logged_in(host: Host, key: Path) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    """Return a connection to a machine as its user."""
    pinned = asyncssh.import_public_key(host.host_key)
    return asyncssh.connect(
        host.address, username=host.users[0], client_keys=[str(key)], known_hosts=([pinned], [], []), agent_path=None
    )


async def shell(host: Host, key: Path, command: str) -> asyncssh.SSHCompletedProcess:
    """Run a command on a machine as its user, whatever becomes of it."""
    async with logged_in(host, key) as line:
        return await line.run(command)


@dataclass(frozen=True, slots=True)
class Hand:
    """What it works with."""

    proxmox: ProxmoxApi
    guests: GuestsOverSsh

    async def ended(self, upid: str) -> str:
        """Return how a task ended."""
        status = await until(lambda: self._stopped(upid), upid.split(":")[5])
        return str(status["exitstatus"])

    async def machine(self, vmid: int, name: str, public: str, **more: Any) -> Host:
        """Clone, configure, grow and start a machine; return it when cloud-init is done, its host key pinned."""
        host = await self.trusted(vmid, name, public, **more)
        await until(lambda: self._done(host), "cloud-init done, by SSH with that key")
        return host

    async def trusted(
        self, vmid: int, name: str, public: str, *, template: int = TEMPLATE, gib: int = 6,
        **config: Any,
    ) -> Host:  # fmt: skip
        """Clone, configure, grow and start a machine; return it when its sshd listens and its host key is known."""
        address = f"{NETWORK}.{vmid % 200}"
        cloned = await self.proxmox.clone(
            NODE, template, newid=vmid, name=name, description="", pool="", full=False, target=NODE
        )
        assert await self.ended(cloned) == "OK"
        before = await self.proxmox.config(NODE, vmid)
        assert before is not None
        network = {
            "ipconfig0": f"ip={address}/24,gw={NETWORK}.1",
            "nameserver": f"{NETWORK}.1",
            "searchdomain": "lab.test",
        }
        person = {"ciuser": USER, "sshkeys": quote(public, safe=""), "ciupgrade": 0}
        await self.proxmox.configure(NODE, vmid, {**network, **person, **config}, digest=before["digest"])
        assert await self.ended(await self.proxmox.resize(NODE, vmid, "scsi0", f"{gib}G")) == "OK"
        assert await self.ended(await self.proxmox.power(NODE, vmid, "start")) == "OK"
        host = Host(str(vmid), name, address, 22, (USER,), "")
        await until(lambda: self.guests.listens(host), "its sshd")
        key = await until(lambda: self.proxmox.agent_file_read(NODE, vmid, HOST_KEY), "its host key by the agent")
        return replace(host, host_key=key.rsplit(" ", 1)[0])

    async def _stopped(self, upid: str) -> Any:
        status = await self.proxmox.task_status(NODE, upid)
        return status if status and status["status"] == "stopped" else None

    async def _done(self, host: Host) -> bool:
        facts = await self.guests.call(host, "facts", {"names": ["cloud_init"]})
        return facts["cloud_init"]["status"] == "done"
