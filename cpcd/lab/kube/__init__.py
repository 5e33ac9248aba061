"""Kubernetes without machines: one object store with the few controllers that cpcd can notice.

START HERE: `cluster.py` (who answers), `store.py` (the verbs), `controllers.py` (what happens by itself).
"""

from cpcd.lab.kube.cluster import Cluster, Plan
from cpcd.lab.kube.errors import ApiError, UnknownKindError
from cpcd.lab.kube.etcd import Etcd, EtcdRefused, Member
from cpcd.lab.kube.kinds import BUILTIN, Resource
from cpcd.lab.kube.kubelet import MANIFESTS, NETWORKS, File, Kubelet
from cpcd.lab.kube.lags import Lags
from cpcd.lab.kube.objects import Change
from cpcd.lab.kube.store import Store

__all__ = [
    "BUILTIN", "MANIFESTS", "NETWORKS", "ApiError", "Change", "Cluster", "Etcd", "EtcdRefused", "File", "Kubelet",
    "Lags", "Member", "Plan", "Resource", "Store", "UnknownKindError",
]  # fmt: skip
