"""The stand-in for flannel's CNI plugin on its own, without a machine: a pod's network as flanneld's subnet wants it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real import binaries
from tests.real.machines.report import Report

# What a real flanneld writes: of its own subnet the gateway's address.
SUBNET = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"


@pytest.fixture
def pod() -> Iterator[int]:
    """Return the pid of a process in a network namespace of its own."""
    with subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) as process:
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{process.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        yield process.pid
        process.kill()
    subprocess.run(["ip", "link", "delete", "cni0"], capture_output=True, check=False)  # what the plugin made out here


def asked(command: str, pod: int, config: dict[str, Any]) -> Any:
    """Return what the plugin answers to CNI's verb, nothing to one without an answer."""
    own = binaries.made(binaries.OWN)
    environment = {
        **os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": "pod", "CNI_NETNS": f"/proc/{pod}/ns/net",
        "CNI_IFNAME": "eth0", "CNI_PATH": f"{binaries.made(binaries.CNI)}:{own}",
    }  # fmt: skip
    done = subprocess.run(
        [own / "flannel"], input=json.dumps(config).encode(), env=environment, capture_output=True, check=False
    )
    return json.loads(done.stdout) if done.stdout else {}


def inside(pod: int, *words: str) -> Any:
    """Return what `ip` shows in the pod."""
    argv = ["nsenter", "--target", str(pod), "--net", "ip", "-json", *words]
    return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)


def test_pod_gets_an_address_of_the_subnet_and_gives_it_back(pod: int, tmp_path: Path, report: Report) -> None:
    """The network's own routes lead through the bridge, with room for vxlan's header; nothing is left at the end."""
    (tmp_path / "subnet.env").write_text(SUBNET)
    config = {
        "cniVersion": "0.3.1", "name": "cbr0", "type": "flannel", "subnetFile": str(tmp_path / "subnet.env"),
        "ipam": {"dataDir": str(tmp_path / "leases")}, "delegate": {"hairpinMode": True, "isDefaultGateway": True},
    }  # fmt: skip
    added = asked("ADD", pod, config)
    (link,) = inside(pod, "link", "show", "eth0")
    routes = {route["dst"]: route.get("gateway") for route in inside(pod, "route")}
    removed = asked("DEL", pod, config)
    report.add(
        "a pod has had an address of its own, and its routes, and nothing of them is left",
        time.monotonic() - report.began,
    )

    assert ["10.244.1.2/24"] == [each["address"] for each in added["ips"]]
    assert 1450 == link["mtu"]
    assert {"default": "10.244.1.1", "10.244.0.0/16": "10.244.1.1", "10.244.1.0/24": None} == routes
    assert {} == removed
    assert ["lo"] == [each["ifname"] for each in inside(pod, "link")]


def test_plugin_says_why_it_cannot(pod: int, tmp_path: Path) -> None:
    """Before flanneld has written anything down there is an error as CNI wants it."""
    told = asked(
        "ADD", pod, {"cniVersion": "0.3.1", "name": "cbr0", "type": "flannel", "subnetFile": str(tmp_path / "none")}
    )

    assert 100 == told["code"]
    assert "no such file" in told["msg"]
