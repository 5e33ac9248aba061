"""One real machine, cradle to grave, through the adapters that the daemon uses: Proxmox's API and SSH."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncssh

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.model.errors import Failure
from cpcd.ports.guests import Host
from tests.real.cache import say
from tests.real.machines.lab import NODE, TEMPLATE, Lab
from tests.real.machines.network import NETWORK

VMID, NAME, ADDRESS, USER = 100, "m1", f"{NETWORK}.10", "cpcd"
UUID = "6f1f5f0e-8c1a-5d7e-9a1b-0c2d3e4f5a6b"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
BOOT_S = 900.0  # seconds; some 25 on an idle machine


async def until(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Look each second until there is something, and return it; says how long that took."""
    began, last = time.monotonic(), ""
    while time.monotonic() < began + BOOT_S:
        try:
            if found := await look():
                say(f"{what}: after {time.monotonic() - began:.1f} s")
                return found
        except Failure as failure:
            last = str(failure)
        await asyncio.sleep(1)
    raise TimeoutError(f"{what}: {last}")


async def test_machine_is_cloned_booted_reached_and_destroyed(lab: Lab, proxmox: ProxmoxApi, tmp_path: Path) -> None:
    """It is what its configuration says, trusted by the key that its agent told, and nothing is left of it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "key").write_bytes(key.export_private_key())
    (tmp_path / "key").chmod(0o600)
    guests = GuestsOverSsh(key=tmp_path / "key")

    async def ended(upid: str) -> str:
        status = await until(lambda: _stopped(proxmox, upid), upid.split(":")[5])
        return str(status["exitstatus"])

    cloned = await ended(await proxmox.clone(
        NODE, TEMPLATE, newid=VMID, name=NAME, description="", pool="", full=False, target=NODE,
    ))  # fmt: skip
    before = await proxmox.config(NODE, VMID)
    assert before is not None
    await proxmox.configure(NODE, VMID, {
        "ciuser": USER, "sshkeys": quote(key.export_public_key().decode().strip(), safe=""), "ciupgrade": 0,
        "ipconfig0": f"ip={ADDRESS}/24,gw={NETWORK}.1", "nameserver": f"{NETWORK}.1", "searchdomain": "lab.test",
        "smbios1": f"uuid={UUID}", "cores": 2, "memory": 1024,
    }, digest=before["digest"])  # fmt: skip
    grown = await ended(await proxmox.resize(NODE, VMID, "scsi0", "6G"))
    started = await ended(await proxmox.power(NODE, VMID, "start"))
    public = await until(lambda: proxmox.agent_file_read(NODE, VMID, HOST_KEY), "its host key by the agent")
    interfaces = await proxmox.agent_interfaces(NODE, VMID)
    host = Host("uid", NAME, ADDRESS, 22, (USER,), public.rsplit(" ", 1)[0])
    facts = await until(lambda: _done(guests, host), "cloud-init done, by SSH with that key")
    await guests.close()
    size = await _root_bytes(host, tmp_path / "key")
    shut = await ended(await proxmox.power(NODE, VMID, "shutdown", {"timeout": 180}))
    pids = lab.machines.running
    destroyed = await ended(await proxmox.destroy(NODE, VMID))

    assert ["OK"] * 5 == [cloned, grown, started, shut, destroyed]
    assert (NAME, UUID) == (facts["hostname"], facts["system_uuid"].lower())
    assert ADDRESS in {ip["ip-address"] for each in interfaces for ip in each["ip-addresses"]}
    assert 5 * 1024**3 < size
    assert not pids
    assert not (lab.machines.place / str(VMID)).exists()


async def _stopped(proxmox: ProxmoxApi, upid: str) -> Any:
    status = await proxmox.task_status(NODE, upid)
    return status if status and status["status"] == "stopped" else None


async def _done(guests: GuestsOverSsh, host: Host) -> Any:
    facts = await guests.call(host, "facts", {})
    return facts if facts["cloud_init"]["status"] == "done" else None


async def _root_bytes(host: Host, key: Path) -> int:
    """Return the size of the root's file system, which cloud-init grows to the disk's."""
    pinned = asyncssh.import_public_key(host.host_key)
    async with asyncssh.connect(
        host.address, username=host.users[0], client_keys=[str(key)], known_hosts=([pinned], [], []), agent_path=None
    ) as line:
        done = await line.run("sudo stat --file-system --format '%S %b' /", check=True)
    block, blocks = str(done.stdout).split()
    return int(block) * int(blocks)
