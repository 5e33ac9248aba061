"""The machine tier's cloud-init drive says what a real Proxmox VE said for the same configuration."""

import json
from pathlib import Path
from typing import Any

from tests.real.machines import seed

RECORDED = Path(__file__).parents[1] / "recordings" / "pve.jsonl"
CONFIG, USER, NETWORK = 295, 300, 301  # the template's configuration, and two dumps of it


def recorded(seq: int) -> Any:
    """Return what was answered."""
    lines = map(json.loads, RECORDED.read_text().splitlines())
    return next(line["response"]["body"]["data"] for line in lines if line["seq"] == seq)


def test_user_data_is_what_proxmox_dumped() -> None:
    """Names, keys and the password, which the recording shows redacted, in Proxmox's order."""
    config = recorded(CONFIG) | {"cipassword": "$5$<redacted-hash>"}

    assert recorded(USER) == seed.user(config, 9000)


def test_network_is_what_proxmox_dumped() -> None:
    """A static address, its gateway and the resolver, by the MAC of the card."""
    assert recorded(NETWORK) == seed.network(recorded(CONFIG))


def test_upgrade_is_asked_for_unless_the_configuration_says_no() -> None:
    """Proxmox upgrades a new instance by default (recorded 1053)."""
    said = "#cloud-config\nhostname: x\nmanage_etc_hosts: true\nfqdn: x\nuser: x\nchpasswd:\n  expire: False\n"

    assert f"{said}users:\n  - default\npackage_upgrade: true\n" == seed.user({"name": "x", "ciuser": "x"}, 600)
