"""Objects that exist because of the API server itself or because kubeadm made them.

The ConfigMaps are evidence of how far an init came (recorded 185). Never is a secret in here but kubeadm's own.
"""

from typing import Any, Final

from cpcd.lab.kube.objects import Object, Objects
from cpcd.lab.provenance import recorded, source

__all__ = ["addons", "born", "bound", "cluster_info", "configured"]

_SYSTEM: Final = "kube-system"


def _named(kind: str, name: str, namespace: str = "", api_version: str = "v1", **parts: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts}


@source("apiserver: system namespaces")
def born(objects: Objects) -> None:
    """Make what every API server has."""
    for name in ("default", _SYSTEM, "kube-public", "kube-node-lease"):
        labels = {"kubernetes.io/metadata.name": name}
        space = _named("Namespace", name, status={"phase": "Active"})
        objects.put({**space, "metadata": {"name": name, "labels": labels}})
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
    spec = {"clusterIP": "10.96.0.1", "type": "ClusterIP", "ports": ports}
    objects.put(_named("Service", "kubernetes", "default", spec=spec))


@recorded(173, 185)
def bound(objects: Objects) -> None:
    """Let admin.conf do everything."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "kubeadm:cluster-admins"}
    rbac = "rbac.authorization.k8s.io/v1"
    name = "kubeadm:cluster-admins"
    objects.put(_named("ClusterRoleBinding", name, api_version=rbac, roleRef=role, subjects=[group]))


@recorded(185)
def configured(objects: Objects, configuration: str) -> None:
    """Upload kubeadm's and the kubelet's configuration."""
    objects.put(_named("ConfigMap", "kubeadm-config", _SYSTEM, data={"ClusterConfiguration": configuration}))
    objects.put(_named("ConfigMap", "kubelet-config", _SYSTEM, data={"kubelet": "kind: KubeletConfiguration\n"}))


@recorded(185)
def cluster_info(objects: Objects, kubeconfig: str) -> None:
    """Publish what a joining machine asks for first."""
    objects.put(_named("ConfigMap", "cluster-info", "kube-public", data={"kubeconfig": kubeconfig}))


@recorded(185, 212)
def addons(objects: Objects, version: str) -> None:
    """Make CoreDNS and kube-proxy."""
    dns = {"k8s-app": "kube-dns"}
    proxy = {"k8s-app": "kube-proxy"}
    anywhere = [{"operator": "Exists"}]
    control_plane = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
    objects.put(_named("ConfigMap", "coredns", _SYSTEM, data={"Corefile": ".:53 {\n}\n"}))
    objects.put(_named("ConfigMap", "kube-proxy", _SYSTEM, data={"config.conf": ""}))
    spec = _template(dns, "coredns", "registry.k8s.io/coredns/coredns:v1.13.1", tolerations=control_plane)
    objects.put(_named("Deployment", "coredns", _SYSTEM, "apps/v1", spec={"replicas": 2, **spec}))
    image = f"registry.k8s.io/kube-proxy:{version}"
    spec = _template(proxy, "kube-proxy", image, tolerations=anywhere, hostNetwork=True)
    objects.put(_named("DaemonSet", "kube-proxy", _SYSTEM, "apps/v1", spec=spec))
    spec = {"clusterIP": "10.96.0.10", "type": "ClusterIP", "selector": dns, "ports": [{"name": "dns", "port": 53}]}
    objects.put(_named("Service", "kube-dns", _SYSTEM, spec=spec))


def _template(labels: dict[str, str], name: str, image: str, **spec: Any) -> Object:
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": image}], **spec}}
    return {"selector": {"matchLabels": labels}, "template": pod}
