"""The machines' network: bridges in a network namespace that nobody else uses, so that nothing has to be removed.

Whoever drives the machines runs in it too and reaches them at their own addresses; there is no way out of it.
"""

import json
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["ENDPOINT", "NETWORK", "REPOSITORY", "bridge", "plug"]

NETWORK: Final = "10.78.0"  # /24; .1 is the bridge, where the tests are
ENDPOINT: Final = f"{NETWORK}.4"  # of a cluster's control plane, at the bridge too
REPOSITORY: Final = f"{NETWORK}.5"  # where packages come from, at the bridge too


_ADDRESSES: Final = (f"{NETWORK}.1/24", f"{ENDPOINT}/24", f"{REPOSITORY}/24")


def bridge(name: str = "vmbr0", addresses: tuple[str, ...] = _ADDRESSES) -> None:
    """Make a bridge with addresses; raises RuntimeError outside of a namespace of our own."""
    links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
    if strangers := [link["ifname"] for link in links if link.get("link_type") != "loopback"]:
        raise RuntimeError(f"this needs a network namespace of its own (unshare --net), not one with {strangers}")
    for argv in (
        ("link", "set", "lo", "up"), ("link", "add", name, "type", "bridge"),
        *(("address", "add", address, "dev", name) for address in addresses), ("link", "set", name, "up"),
    ):  # fmt: skip
        subprocess.run(["ip", *argv], check=True)
    # Who knows no way says so, as routers do: what is sent into nothing, such as a Service's address before kube-proxy has
    # begun, is waited for in vain for 30 s otherwise.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n", encoding="ascii")
    # A machine that gets no processor for 3 s is no machine that is gone: Linux says "No route to host" after that.
    for patience in ("mcast_solicit", "ucast_solicit"):
        Path(f"/proc/sys/net/ipv4/neigh/{name}/{patience}").write_text("60\n", encoding="ascii")


def plug(place: Path, name: str) -> Path:
    """Return a program that puts a tap, its argument, on a bridge, as QEMU wants one; the tap ends with QEMU."""
    script = place / f"plug-{name}"
    script.write_text(f'#!/bin/sh\nexec ip link set "$1" master {name} up\n')
    script.chmod(0o755)
    return script
