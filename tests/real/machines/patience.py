"""What an emulated control plane needs to live on half a processor: cheap keys, and probes that have patience.

In the words of `spec.controlPlane.kubeadmConfigSpec`; the cluster by hand is given the same. Ten to twenty times slower
than a real processor, one spends minutes on the RSA keys of a cluster and most of its time on a readiness probe a second
for each of three components, each of them a TLS handshake.
"""

import json
from typing import Any, Final

__all__ = ["CLUSTER", "GO", "KUBELET", "PATCHES", "SPEC", "files"]

# Who cannot renew its lease in time ends itself, and is started anew: ten seconds are nothing here.
_LEASE: Final = {
    "leader-elect-lease-duration": "90s", "leader-elect-renew-deadline": "60s", "leader-elect-retry-period": "20s",
}  # fmt: skip
# To /readyz an etcd that takes more than two seconds to answer is none.
_ETCD: Final = {"etcd-readycheck-timeout": "30s", "etcd-healthcheck-timeout": "30s"}
_AT_ONCE: Final = {"kube-api-qps": "200", "kube-api-burst": "400"}


def _args(given: dict[str, str]) -> dict[str, Any]:
    return {"extraArgs": [{"name": name, "value": value} for name, value in given.items()]}


CLUSTER: Final[dict[str, Any]] = {
    "encryptionAlgorithm": "ECDSA-P256",
    "etcd": {
        "local": _args({"unsafe-no-fsync": "true", "heartbeat-interval": "1000", "election-timeout": "10000"}),
    },
    "apiServer": _args(_ETCD),
    "controllerManager": _args(_AT_ONCE | _LEASE),
    "scheduler": _args(_LEASE),
}
_PROBES: Final = {
    "startupProbe": {"timeoutSeconds": 30, "failureThreshold": 60},
    "livenessProbe": {"periodSeconds": 60, "timeoutSeconds": 30, "failureThreshold": 10},
    "readinessProbe": {"periodSeconds": 30, "timeoutSeconds": 30, "failureThreshold": 3},
}
# Of every machine: what a kubelet counts and measures each ten seconds though nobody wants to know it.
KUBELET: Final = {
    "housekeeping-interval": "60s", "node-status-update-frequency": "30s", "volume-stats-agg-period": "1h",
    "eviction-hard": "memory.available<0%,nodefs.available<0%,nodefs.inodesFree<0%,imagefs.available<0%",
}  # fmt: skip
# There is memory to spare, and no time to collect it often; and to be interrupted by signals, so that goroutines take
# turns, is a tenth of what an idle API server does. On one processor a program's threads neither wake nor look for one
# another; the machine has a second one for the other programs.
GO: Final = {"GOGC": "400", "GODEBUG": "asyncpreemptoff=1", "GOMAXPROCS": "1"}


# All others wait for these, which by kubeadm get a tenth and a quarter of a processor where there is not enough: less
# than the kubelet that probes them. An etcd that answered a list in five seconds did so in a fifth of one.
_FIRST: Final = {"resources": {"requests": {"cpu": "600m"}}}


def _patient(component: str, *probes: str, **more: Any) -> dict[str, Any]:
    environment = [{"name": name, "value": value} for name, value in GO.items()]
    container = {"name": component, "env": environment, **{name: _PROBES[name] for name in probes}, **more}
    return {"spec": {"containers": [container]}}


PATCHES: Final[dict[str, Any]] = {
    **{name: _patient(name, *_PROBES, **_FIRST) for name in ("etcd", "kube-apiserver")},
    "kube-scheduler": _patient("kube-scheduler", *_PROBES),
    # The one that kubeadm gives no readiness probe.
    "kube-controller-manager": _patient("kube-controller-manager", "startupProbe", "livenessProbe"),
    "kubeletconfiguration": {"runtimeRequestTimeout": "10m"},
    "corednsdeployment": {"spec": {"replicas": 1}},
}
SPEC: Final = {"clusterConfiguration": CLUSTER, "patches": PATCHES}


def files() -> dict[str, str]:
    """Return the patches as kubeadm reads them from a directory: name -> text."""
    return {f"{target}+strategic.json": json.dumps(patch) for target, patch in PATCHES.items()}
