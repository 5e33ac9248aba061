"""A lab of one modelled Proxmox on a hand-moved clock, with guests that obey or not."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from cpcd.lab.events import Events
from cpcd.lab.pve import PROVISIONER, SECONDS, Pve, Settings, Token, Vm
from cpcd.ports.proxmox import Request

FULL = "admin@pve!full=secret"
BARE = "prov@pve!tk=secret"


class Guests:
    """Guests that shut down 2 s after they are asked, take every hot-plug, and have an agent at once."""

    def __init__(self) -> None:
        self.pve: Pve | None = None
        self.obedient = True
        self.pluggable = True
        self.agent = True
        self.seen: list[tuple[str, int]] = []

    def power_on(self, vm: Vm) -> None:
        """Note it."""
        self.seen.append(("power_on", vm.vmid))

    def shutdown(self, vm: Vm) -> None:
        """Obey after 2 s, or not at all."""
        if self.obedient:
            self.pve.events.at(2, lambda: self.pve.powered_off(vm.vmid))

    def power_off(self, vm: Vm) -> None:
        """Note it."""
        self.seen.append(("power_off", vm.vmid))

    def reset(self, vm: Vm) -> None:
        """Note it."""
        self.seen.append(("reset", vm.vmid))

    def destroyed(self, vm: Vm) -> None:
        """Note it."""
        self.seen.append(("destroyed", vm.vmid))

    def cloned(self, source: Vm, target: Vm) -> None:
        """Note it."""
        self.seen.append(("cloned", target.vmid))

    def agent_up(self, vm: Vm) -> bool:
        """Answer when running and wanted."""
        return self.agent and vm.running

    def agent_interfaces(self, vm: Vm) -> list[dict[str, Any]]:
        """Show one interface."""
        return [{"name": "eth0", "hardware-address": vm.mac.lower(), "ip-addresses": []}]

    def agent_file(self, vm: Vm, path: str) -> str | None:
        """Have two files."""
        return {"/etc/hostname": "node-a\n", "/tmp/x": "hello\nworld"}.get(path)

    def hotplug(self, vm: Vm, changes: Mapping[str, Any]) -> set[str]:
        """Take everything or nothing."""
        return set(changes) if self.pluggable else set()


@dataclass
class Answer:
    """One response, read."""

    status: int
    reason: str
    body: Any
    seconds: float

    @property
    def data(self) -> Any:
        """The answer proper."""
        return self.body["data"]


@dataclass
class Lab:
    """The modelled Proxmox, a clock to move, and short ways to call."""

    time: float = 0.0
    guests: Guests = field(default_factory=Guests)
    acl: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tokens = (Token("admin@pve!full", "secret"), Token("prov@pve!tk", "secret", self.acl))
        self.pve = Pve(Events(lambda: self.time), self.guests, Settings(tokens=tokens), random.Random(7))
        self.guests.pve = self.pve

    def call(self, method: str, path: str, /, *, token: str = FULL, **params: Any) -> Answer:
        """Send one request; `_` in a parameter's name stands for `-`, `__` for `_`."""
        named = {name.replace("_", "-").replace("--", "_"): value for name, value in params.items()}
        response = self.pve.handle(Request(method, f"/api2/json{path}", named, token))
        seconds = float(response.headers.get(SECONDS, 0))
        return Answer(response.status, response.reason, json.loads(response.body) if response.body else None, seconds)

    def get(self, path: str, /, **params: Any) -> Answer:
        """Send a GET."""
        return self.call("GET", path, **params)

    def post(self, path: str, /, **params: Any) -> Answer:
        """Send a POST."""
        return self.call("POST", path, **params)

    def put(self, path: str, /, **params: Any) -> Answer:
        """Send a PUT."""
        return self.call("PUT", path, **params)

    def delete(self, path: str, /, **params: Any) -> Answer:
        """Send a DELETE."""
        return self.call("DELETE", path, **params)

    def run(self, seconds: float) -> None:
        """Move the clock."""
        self.time += seconds
        self.pve.events.settle()

    def status(self, upid: str) -> dict[str, Any]:
        """Read a task's state."""
        return self.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/status").data

    def log(self, upid: str, **params: Any) -> list[str]:
        """Read a page of a task's log."""
        return [line["t"] for line in self.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log", **params).data]

    def outcome(self, answer: Answer) -> str:
        """Move the clock until the task has ended and return its exit status."""
        assert answer.status == 200, answer.reason
        while (state := self.status(answer.data))["status"] == "running":
            self.run(0.1)
        return state["exitstatus"]

    def config(self, vmid: int, **params: Any) -> dict[str, Any]:
        """Read a configuration on pve1."""
        return self.get(f"/nodes/pve1/qemu/{vmid}/config", **params).data

    def clone(self, newid: int, **params: Any) -> str:
        """Clone the template to the end."""
        return self.outcome(self.post("/nodes/pve1/qemu/9000/clone", newid=newid, **params))

    def started(self, vmid: int) -> int:
        """Clone and start a VM, return its VMID."""
        self.clone(vmid, name=f"vm-{vmid}")
        assert self.outcome(self.post(f"/nodes/pve1/qemu/{vmid}/status/start")) == "OK"
        return vmid


@pytest.fixture
def lab() -> Lab:
    """A three-node Proxmox with the template 9000 on pve1, on the directory storage as it was recorded."""
    made = Lab()
    made.pve.add_template(9000, "pve1", "debian-13", "template;k8s", disk="2.5", storage="local")
    return made


@pytest.fixture
def least() -> Lab:
    """The same with a token that has no right at all; tests grant into `least.acl`."""
    made = Lab()
    made.pve.add_template(9000, "pve1", "debian-13", "template;k8s", disk="2.5", storage="local")
    assert made.post("/pools", poolid="k8s").status == 200
    return made


@pytest.fixture
def bare() -> str:
    """The token without rights."""
    return BARE


@pytest.fixture
def provisioner() -> frozenset[str]:
    """The privileges of a provisioning role."""
    return PROVISIONER
