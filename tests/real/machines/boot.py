"""One real machine, cradle to grave, through the adapters that the daemon uses: Proxmox's API and SSH."""

from pathlib import Path

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.ports.guests import Host
from tests.real.machines.hand import Hand, new_key, shell
from tests.real.machines.lab import NODE, Lab

UUID = "6f1f5f0e-8c1a-5d7e-9a1b-0c2d3e4f5a6b"


async def test_machine_is_cloned_booted_reached_and_destroyed(lab: Lab, proxmox: ProxmoxApi, tmp_path: Path) -> None:
    """It is what its configuration says, trusted by the key that its agent told, and nothing is left of it."""
    public = new_key(tmp_path / "key")
    hand = Hand(proxmox, GuestsOverSsh(key=tmp_path / "key"))
    host = await hand.machine(100, "m1", public, smbios1=f"uuid={UUID}", cores=2, memory=1024)
    interfaces = await proxmox.agent_interfaces(NODE, 100)
    facts = await hand.guests.call(host, "facts", {})
    await hand.guests.close()
    size = await root_bytes(host, tmp_path / "key")
    shut = await hand.ended(await proxmox.power(NODE, 100, "shutdown", {"timeout": 180}))
    running = dict(lab.machines.running)
    destroyed = await hand.ended(await proxmox.destroy(NODE, 100))

    assert ("OK", "OK") == (shut, destroyed)
    assert ("m1", UUID) == (facts["hostname"], facts["system_uuid"])
    assert host.address in {ip["ip-address"] for each in interfaces for ip in each["ip-addresses"]}
    assert 5 * 1024**3 < size
    assert not running
    assert not (lab.machines.place / "100").exists()


async def root_bytes(host: Host, key: Path) -> int:
    """Return the size of the root's file system, which cloud-init grows to the disk's."""
    done = await shell(host, key, "stat --file-system --format '%S %b' /")
    block, blocks = str(done.stdout).split()
    return int(block) * int(blocks)
