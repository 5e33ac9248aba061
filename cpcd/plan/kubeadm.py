"""The texts that kubeadm is given: init and join configuration, and kube-vip's static pod.

JSON is YAML, so the documents are JSON; API version v1beta4, which kubeadm speaks from 1.31 on (`parity.md` 5.4).
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from cpcd.model.desired import Cluster
from cpcd.model.keys import Map
from cpcd.model.ledger import Machine
from cpcd.model.view import View

__all__ = ["KUBE_VIP_IMAGE", "files", "init_config", "join_config", "profile", "sans"]

API: Final = "kubeadm.k8s.io/v1beta4"
PATCHES: Final = "/etc/kubernetes/patches"
CRI_SOCKET: Final = "unix:///run/containerd/containerd.sock"
KUBE_VIP_IMAGE: Final = "ghcr.io/kube-vip/kube-vip:v0.9.2"


def init_config(cluster: Cluster, machine: Machine, sans: Sequence[str]) -> str:
    """Return the configuration of `kubeadm init` on the elected machine; `sans` as its first init was given them."""
    port = cluster.endpoint.port
    initial = {
        "apiVersion": API,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": machine.address, "bindPort": port},
        "nodeRegistration": _registration(machine),
        **_patched(cluster),
    }
    added = dict(cluster.kubeadm)
    whole = {
        "apiVersion": API,
        "kind": "ClusterConfiguration",
        "clusterName": cluster.name,
        "kubernetesVersion": cluster.version,
        "controlPlaneEndpoint": f"{cluster.endpoint.host}:{port}",
        "apiServer": {**added.pop("apiServer", {}), "certSANs": list(sans)},
        "networking": {
            "dnsDomain": cluster.service_domain,
            "podSubnet": cluster.pods,
            "serviceSubnet": cluster.services,
        },
        **added,  # nothing of the above: `spec/checks.py` refuses what is cpcd's own
    }
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        # So that a kubelet asks the cluster for its serving certificate, which `reconcilers/nodes.py` approves; else it
        # signs one itself, which nobody can trust.
        "serverTLSBootstrap": True,
    }
    return _documents(initial, whole, kubelet)


def join_config(cluster: Cluster, machine: Machine, secrets: Map[str, Any]) -> str:
    """Return the configuration of `kubeadm join`; it holds the token and must only travel on stdin."""
    join: dict[str, Any] = {
        "apiVersion": API,
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "token": secrets["token"],
                "apiServerEndpoint": f"{cluster.endpoint.host}:{cluster.endpoint.port}",
                "caCertHashes": [secrets["ca_hash"]],
            }
        },
        "nodeRegistration": _registration(machine),
    }
    if secrets.get("certificate_key"):
        join |= _patched(cluster)
        join["controlPlane"] = {
            "localAPIEndpoint": {"advertiseAddress": machine.address, "bindPort": cluster.endpoint.port},
            "certificateKey": secrets["certificate_key"],
        }
    return _documents(join)


def files(cluster: Cluster, *, first: bool) -> dict[str, str]:
    """Return path -> text of what a control plane has beside kubeadm's own: patches, and kube-vip.

    On the first machine it needs super-admin.conf: admin.conf's rights come only in a later phase of init
    (`failures.md` K07).
    """
    found = {f"{PATCHES}/{target}+strategic.json": json.dumps(patch) for target, patch in cluster.patches.items()}
    if cluster.endpoint.provider == "kube-vip":
        found["/etc/kubernetes/manifests/kube-vip.yaml"] = json.dumps(_kube_vip(cluster, first=first), indent=1)
    return found


def profile(cluster: Cluster, timezone: str) -> str:
    """Return the name of the baseline that `prepare` leaves on a machine; a new name means preparing again."""
    return f"2 {cluster.version} {timezone}"


def _patched(cluster: Cluster) -> dict[str, Any]:
    return {"patches": {"directory": PATCHES}} if cluster.patches else {}


def _registration(machine: Machine) -> dict[str, Any]:
    arguments = [{"name": "node-ip", "value": machine.address}]
    return {"name": machine.name, "criSocket": CRI_SOCKET, "kubeletExtraArgs": arguments}


def sans(view: View, cluster: Cluster) -> list[str]:
    """Return the names and addresses that the API server's certificate is made for (`parity.md` row 115)."""
    machines = [m for m in view.rows(cluster.name) if m.group == "control-plane"]
    own = [name for m in machines for name in (m.address, m.name)]
    full = [f"{m.name}.{cluster.domain}" for m in machines if cluster.domain]
    return sorted({cluster.endpoint.host, *own, *full, *cluster.extra_sans, "localhost", "127.0.0.1"})


def _documents(*documents: dict[str, Any]) -> str:
    return "---\n".join(json.dumps(document, indent=1) + "\n" for document in documents)


def _kube_vip(cluster: Cluster, *, first: bool) -> dict[str, Any]:
    environment = {
        "vip_arp": "true", "port": str(cluster.endpoint.port), "vip_subnet": "32", "cp_enable": "true",
        "cp_namespace": "kube-system", "vip_leaderelection": "true", "vip_leasename": "plndr-cp-lock",
        # For so long nobody answers at the address when its holder dies without giving it up (ADR 0014).
        "vip_leaseduration": "15", "vip_renewdeadline": "10", "vip_retryperiod": "2",
        "address": cluster.endpoint.host,
    }  # fmt: skip
    # Mounted at the place of admin.conf, so that only the source is another one later (ADR 0007).
    source = "/etc/kubernetes/super-admin.conf" if first else "/etc/kubernetes/admin.conf"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube-vip", "namespace": "kube-system"},
        "spec": {
            "hostNetwork": True,
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["kubernetes"]}],
            "containers": [
                {
                    "name": "kube-vip",
                    "image": KUBE_VIP_IMAGE,
                    "args": ["manager"],
                    "env": [{"name": name, "value": value} for name, value in environment.items()],
                    "securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
                    "volumeMounts": [{"mountPath": "/etc/kubernetes/admin.conf", "name": "kubeconfig"}],
                }
            ],
            "volumes": [{"name": "kubeconfig", "hostPath": {"path": source, "type": "File"}}],
        },
    }
