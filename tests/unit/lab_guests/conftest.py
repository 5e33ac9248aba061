"""Modelled machines driven by hand, and what tests do with them beyond making a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cpcd.lab import rack as lab
from cpcd.lab.guests import Durations, Guest
from cpcd.lab.kube import Lags
from cpcd.lab.rack import ADMIN as TOKEN
from cpcd.lab.rack import KUBE_VIP, VERSION, VIP
from cpcd.ports.kube import GVK

__all__ = ["KUBE_VIP", "NODE", "TOKEN", "VERSION", "VIP", "Rack"]

NODE = GVK("v1", "Node")


@dataclass
class Rack(lab.Rack):
    """A rack whose machines become members of a cluster with pods on it."""

    def first(self, vmid: int = 301, name: str = "cp1", *, cni: bool = True) -> Guest:
        """Make a machine and initialise a cluster on it, and apply flannel there."""
        guest = self.machine(vmid, name)
        ended = self.do(guest, "init", **self.init_given(guest))
        assert ended["state"] == "done", ended
        if cni:
            self.apply_cni()
        return guest

    def join(self, peer: Guest, vmid: int, name: str, *, control_plane: bool = False) -> Guest:
        """Make a machine and join it, until its Node is Ready."""
        guest = self.machine(vmid, name)
        secrets = self.secrets(peer, control_plane=control_plane)
        ended = self.do(guest, "join", **self.join_given(guest, secrets, control_plane=control_plane))
        assert ended["state"] == "done", ended
        self.until(lambda: self.ready(name) == "True")
        return guest

    def node(self, name: str) -> dict[str, Any]:
        """Read a Node."""
        return self.cluster.store.get(NODE, name)

    def pods(self, labels: str = "", **wanted: str) -> list[dict[str, Any]]:
        """List pods by label; `node` narrows to one node."""
        fields = f"spec.nodeName={wanted['node']}" if "node" in wanted else ""
        return self.cluster.store.list(GVK("v1", "Pod"), labels=labels, fields=fields)[0]

    def deploy(self, replicas: int) -> None:
        """Apply a Deployment `web` and wait until its pods run."""
        labels = {"app": "web"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
        metadata = {"name": "web", "namespace": "default"}
        self.cluster.store.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
        self.until(lambda: self.running("app=web") == replicas)

    def running(self, labels: str) -> int:
        """Count running pods that are not on their way out."""
        pods = [pod for pod in self.pods(labels) if "deletionTimestamp" not in pod["metadata"]]
        return sum(pod["status"]["phase"] == "Running" for pod in pods)


@pytest.fixture
def rack() -> Rack:
    """A world with a template and nothing else."""
    return Rack()


@pytest.fixture
def make_rack() -> Callable[..., Rack]:
    """Make a world with other durations, for example `make_rack(register=30)`."""

    def make(**lags: Any) -> Rack:
        return Rack(Durations(kube=Lags(**lags)))

    return make
