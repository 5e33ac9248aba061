"""One real machine, cradle to grave, through the adapters that the daemon uses: Proxmox's API and SSH."""

import time
from pathlib import Path

from cpcd.ports.guests import Host
from tests.real.machines import kept
from tests.real.machines.hand import Hand, new_key, shell
from tests.real.machines.lab import NODE, Lab
from tests.real.machines.report import Report

UUID = "6f1f5f0e-8c1a-5d7e-9a1b-0c2d3e4f5a6b"


async def test_machine_is_cloned_booted_reached_and_destroyed(
    lab: Lab, hand: Hand, place: Path, report: Report
) -> None:
    """It is what its configuration says, trusted by the key that its agent told, and gone in the end, not its journal."""
    public, began = new_key(place / "key"), time.monotonic()
    host = await hand.machine(100, "m1", public, smbios1=f"uuid={UUID}", cores=2, memory=1024)
    report.add(
        "cloned, configured, grown and started, until cloud-init is done and SSH answers", time.monotonic() - began
    )
    interfaces = await hand.proxmox.agent_interfaces(NODE, 100)
    facts = await hand.guests.call(host, "facts", {})
    size = await root_bytes(host, place / "key")
    began = time.monotonic()
    shut = await hand.ended(await hand.proxmox.power(NODE, 100, "shutdown", {"timeout": 180}))
    report.add("shut down", time.monotonic() - began)
    running = dict(lab.machines.running)
    destroyed = await hand.ended(await hand.proxmox.destroy(NODE, 100))
    [disk] = place.glob("100-m1-*/scsi0.qcow2")
    kept.read(disk)

    assert ("OK", "OK") == (shut, destroyed)
    assert ("m1", UUID) == (facts["hostname"], facts["system_uuid"])
    assert host.address in {ip["ip-address"] for each in interfaces for ip in each["ip-addresses"]}
    assert 5 * 1024**3 < size
    assert not running
    assert not (place / "100").exists()
    assert "m1 systemd[1]: Reached target" in disk.with_suffix(".journal.log").read_text()


async def root_bytes(host: Host, key: Path) -> int:
    """Return the size of the root's file system, which cloud-init grows to the disk's."""
    done = await shell(host, key, "stat --file-system --format '%S %b' /")
    block, blocks = str(done.stdout).split()
    return int(block) * int(blocks)
