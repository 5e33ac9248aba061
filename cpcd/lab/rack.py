"""Modelled machines driven by hand on a hand-moved clock: clones through the Proxmox API, then verbs of the catalogue.

A hand waits for nothing but the lab, so what it takes is what the lab itself takes (`path.py`); tests drive one too.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from cpcd.lab.guests import Durations, Guest
from cpcd.lab.kube import Cluster
from cpcd.lab.pve import Settings, Token
from cpcd.lab.world import World
from cpcd.ports.proxmox import Request
from cpcd.spec.presets import flannel

__all__ = ["ADMIN", "KUBE_VIP", "VERSION", "VIP", "Rack"]

ADMIN = "admin@pve!full=secret"
VIP = "10.0.0.4"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFmE operator"
VERSION = "1.34.2"
KUBE_VIP = "/etc/kubernetes/manifests/kube-vip.yaml"
API = "kubeadm.k8s.io/v1beta4"


def _registration(name: str, address: str) -> dict[str, Any]:
    return {"name": name, "kubeletExtraArgs": [{"name": "node-ip", "value": address}]}


@dataclass
class Rack:
    """One world, a clock to move, and short ways to do what cpcd does."""

    durations: Durations = field(default_factory=Durations)
    settings: Settings = field(default_factory=Settings)
    seed: int = 7
    time: float = 0.0
    serial: int = 0

    def __post_init__(self) -> None:
        settings = replace(self.settings, tokens=(Token("admin@pve!full", "secret"),))
        self.world = World(now=lambda: self.time, seed=self.seed, settings=settings, durations=self.durations)
        self.world.pve.add_template(9000, "pve1", "debian-13")

    def run(self, seconds: float) -> None:
        """Move the clock from event to event."""
        end = self.time + seconds
        while (due := self.world.events.next_due()) is not None and due <= end:
            self.time = max(due, self.time)
            self.world.events.settle()
        self.time = end

    def until(self, condition: Callable[[], bool], limit: float = 900) -> float:
        """Move the clock until a condition holds and return the seconds that took."""
        began = self.time
        while not condition():
            assert self.time - began < limit, "it never came true"
            self.run(0.5)
        return self.time - began

    def pve(self, method: str, path: str, **params: Any) -> Any:
        """Send one request to Proxmox and return its answer's data."""
        response = self.world.pve.handle(Request(method, f"/api2/json/nodes/pve1/qemu/{path}", params, ADMIN))
        assert response.status == 200, response.reason
        return json.loads(response.body)["data"]

    def clone(self, vmid: int, name: str, **config: Any) -> None:
        """Clone the template and configure the VM; its address ends in the VMID's last digits."""
        self.pve("POST", "9000/clone", newid=vmid, name=name)
        self.run(3)
        network = {"ipconfig0": f"ip=10.0.0.{vmid % 200}/24,gw=10.0.0.1", "ciuser": "cpcd", "ciupgrade": 0}
        keys = {"sshkeys": quote(KEY, safe="")}
        self.pve("PUT", f"{vmid}/config", **network, **keys, **config)

    def power(self, vmid: int, verb: str = "start") -> None:
        """Send a power verb and let its task begin."""
        self.pve("POST", f"{vmid}/status/{verb}")
        self.run(3)

    def machine(self, vmid: int, name: str) -> Guest:
        """Make a machine that is up and prepared."""
        self.clone(vmid, name)
        self.power(vmid)
        guest = self.world.guests[vmid]
        self.until(lambda: guest.ssh_up)
        assert self.do(guest, "prepare", version=VERSION, packages={}, timezone="UTC", profile="p1")["state"] == "done"
        return guest

    def submit(self, guest: Guest, verb: str, **given: Any) -> str:
        """Start a long verb and return its op."""
        self.serial += 1
        guest.submit(f"op{self.serial}", verb, given)
        return f"op{self.serial}"

    def do(self, guest: Guest, verb: str, **given: Any) -> dict[str, Any]:
        """Run a long verb to its end and return its state."""
        op = self.submit(guest, verb, **given)
        self.until(lambda: guest.poll(op)["state"] != "running")
        return guest.poll(op)

    def init_given(self, guest: Guest, credentials: str = "super-admin.conf") -> dict[str, Any]:
        """Return what init is given."""
        documents = [
            {
                "apiVersion": API,
                "kind": "InitConfiguration",
                "localAPIEndpoint": {"advertiseAddress": guest.address, "bindPort": 6443},
                "nodeRegistration": _registration(guest.hostname, guest.address),
            },
            {
                "apiVersion": API,
                "kind": "ClusterConfiguration",
                "clusterName": "home",
                "kubernetesVersion": f"v{VERSION}",
                "controlPlaneEndpoint": f"{VIP}:6443",
            },
            {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "serverTLSBootstrap": True},
        ]
        config = "\n---\n".join(map(json.dumps, documents))
        return {"config": config, "manifests": {KUBE_VIP: f"address: {VIP}\npath: /etc/kubernetes/{credentials}\n"}}

    def join_given(
        self, guest: Guest, secrets: dict[str, Any], *, control_plane: bool = False, endpoint: str = f"{VIP}:6443"
    ) -> dict[str, Any]:
        """Return what join is given."""
        bootstrap = {
            "token": secrets["token"], "apiServerEndpoint": endpoint, "caCertHashes": [secrets["ca_hash"]],
        }  # fmt: skip
        document: dict[str, Any] = {
            "apiVersion": API,
            "kind": "JoinConfiguration",
            "discovery": {"bootstrapToken": bootstrap},
            "nodeRegistration": _registration(guest.hostname, guest.address),
        }
        manifests = {}
        if control_plane:
            local = {"advertiseAddress": guest.address, "bindPort": 6443}
            document["controlPlane"] = {"localAPIEndpoint": local, "certificateKey": secrets["certificate_key"]}
            manifests = {KUBE_VIP: f"address: {VIP}\npath: /etc/kubernetes/admin.conf\n"}
        return {"config": json.dumps(document), "manifests": manifests}

    def secrets(self, guest: Guest, *, control_plane: bool = False, ttl: str = "15m0s") -> dict[str, Any]:
        """Mint what a join needs."""
        return guest.call("join_secrets", {"ttl": ttl, "control_plane": control_plane})[0]

    def apply_cni(self) -> None:
        """Apply what cpcd applies to a cluster without a CNI of its own."""
        for obj in flannel(self.cluster.plan.pods, VIP, 6443):
            self.cluster.store.apply(dict(obj))

    @property
    def cluster(self) -> Cluster:
        """The newest cluster."""
        return self.world.clusters[-1]

    def ready(self, name: str) -> str:
        """Return a Node's Ready condition, empty without Node or condition."""
        node = self.cluster.store.objects.find("Node", name)
        listed = (node or {}).get("status", {}).get("conditions", ())
        return next((each["status"] for each in listed if each["type"] == "Ready"), "")
