"""The cloud-init drive that a VM's configuration describes, as Proxmox VE writes it for Linux: NoCloud.

Texts are Proxmox's to the byte, held to what one dumped (`tests/contract/test_seed.py`). Next: `qemu.py`.
"""

import hashlib
import ipaddress
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cpcd.lab.pve.properties import parse, parse_net

__all__ = ["network", "user", "write"]


def write(config: Mapping[str, Any], vmid: int, target: Path) -> None:
    """Write the drive as an ISO image labelled `cidata`; needs genisoimage."""
    said = {"user-data": user(config, vmid), "network-config": network(config)}
    instance = hashlib.sha1("".join(said.values()).encode(), usedforsecurity=False).hexdigest()
    with tempfile.TemporaryDirectory() as place:
        for name, text in {**said, "meta-data": f"instance-id: {instance}\n", "vendor-data": ""}.items():
            (Path(place) / name).write_text(text)
        argv = ["genisoimage", "-quiet", "-rock", "-joliet", "-volid", "cidata", "-output", str(target), place]
        subprocess.run(argv, check=True)


def user(config: Mapping[str, Any], vmid: int) -> str:
    """Return the user-data."""
    name, domain = str(config.get("name") or f"VM{vmid}"), str(config.get("searchdomain", ""))
    keys = [key for key in unquote(str(config.get("sshkeys", ""))).splitlines() if key.strip()]
    lines = ["#cloud-config", f"hostname: {name}", "manage_etc_hosts: true"]
    lines.append(f"fqdn: {name}.{domain}" if domain else f"fqdn: {name}")
    lines += [f"user: {config['ciuser']}"] if config.get("ciuser") else []
    lines += [f"password: {config['cipassword']}"] if config.get("cipassword") else []
    lines += ["ssh_authorized_keys:", *(f"  - {key}" for key in keys)] if keys else []
    lines += ["chpasswd:", "  expire: False", "users:", "  - default"]
    lines += ["package_upgrade: true"] if str(config.get("ciupgrade", 1)) == "1" else []
    return "".join(f"{line}\n" for line in lines)


def network(config: Mapping[str, Any]) -> str:
    """Return the network configuration, version 1; one without an address is left out, IPv6 too."""
    lines = ["version: 1", "config:"]
    for number in range(32):
        card, said = (str(config.get(f"{kind}{number}", "")) for kind in ("net", "ipconfig"))
        if card and said:
            lines += _card(number, parse_net(card)["macaddr"], parse(said, "ip"))
    servers, domains = (str(config.get(key, "")).split() for key in ("nameserver", "searchdomain"))
    if servers or domains:
        lines += ["    - type: nameserver"]
        lines += ["      address:", *(f"      - '{each}'" for each in servers)] if servers else []
        lines += ["      search:", *(f"      - '{each}'" for each in domains)] if domains else []
    return "".join(f"{line}\n" for line in lines)


def _card(number: int, mac: str, said: Mapping[str, str]) -> list[str]:
    lines = [
        "    - type: physical",
        f"      name: eth{number}",
        f"      mac_address: '{mac.lower()}'",
        "      subnets:",
    ]
    if said.get("ip", "dhcp") == "dhcp":
        return [*lines, "      - type: dhcp4"]
    own = ipaddress.ip_interface(said["ip"])
    lines += ["      - type: static", f"        address: '{own.ip}'", f"        netmask: '{own.netmask}'"]
    return [*lines, f"        gateway: '{said['gw']}'"] if "gw" in said else lines
