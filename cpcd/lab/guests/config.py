"""kubeadm's configuration files, as far as they steer the model (v1beta4).

Reads what cpcd renders; a document of another version or a missing field is refused with kubeadm's own words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from cpcd.lab.guests.failed import kubeadm_failed
from cpcd.lab.kube import Plan
from cpcd.lab.provenance import recorded, source

__all__ = ["Configuration", "parse", "seconds"]

_VERSION: Final = "kubeadm.k8s.io/v1beta4"
_KUBELET: Final = "kubelet.config.k8s.io/v1beta1"
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Configuration:
    """One kubeadm run; `endpoint` is where a join discovers, `plan` what an init makes (a join has none)."""

    node: str
    address: str
    port: int
    labels: Mapping[str, str]
    taints: tuple[dict[str, str], ...] | None
    timeouts: Mapping[str, float]
    plan: Plan | None = None
    cluster: str = ""
    endpoint: tuple[str, int] = ("", 6443)
    token: str = ""
    hashes: tuple[str, ...] = ()
    control_plane: bool = False
    certificate_key: str = ""


@source("Go: time.ParseDuration")
def seconds(text: str) -> float:
    """Return a Go duration such as `1h15m30s` in seconds."""
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _endpoint(text: str, port: int = 6443) -> tuple[str, int]:
    host, _, number = text.rpartition(":")
    return (host, int(number)) if host else (text, port)


@recorded(61, 72)
def parse(verb: str, text: str) -> Configuration:
    """Return the configuration of `init` or `join`; VerbFailed(InvalidConfig) where kubeadm would refuse it."""
    documents = [each for each in yaml.safe_load_all(text) if each]
    kinds = {each.get("kind", ""): each for each in documents if each.get("apiVersion") in {_VERSION, _KUBELET}}
    wanted = "InitConfiguration" if verb == "init" else "JoinConfiguration"
    if wanted not in kinds:
        raise kubeadm_failed(verb, "preflight", f"couldn't load config: no kind {wanted!r} of version {_VERSION}")
    try:
        return _init(kinds) if verb == "init" else _join(kinds[wanted])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise kubeadm_failed(verb, "preflight", f"couldn't load config: {error!r}") from error


def _common(document: Mapping[str, Any], local: Mapping[str, Any]) -> dict[str, Any]:
    registration = document["nodeRegistration"]
    extra = {arg["name"]: arg["value"] for arg in registration.get("kubeletExtraArgs") or ()}
    pairs = filter(None, extra.get("node-labels", "").split(","))
    taints = registration.get("taints")
    timeouts = {key: seconds(str(value)) for key, value in (document.get("timeouts") or {}).items()}
    return {
        "node": registration["name"],
        "address": extra.get("node-ip") or local.get("advertiseAddress", ""),
        "port": int(local.get("bindPort", 6443)),
        "labels": dict(pair.partition("=")[::2] for pair in pairs),
        "taints": tuple(taints) if taints is not None else None,
        "timeouts": timeouts,
    }


def _init(kinds: Mapping[str, Any]) -> Configuration:
    document, cluster = kinds["InitConfiguration"], kinds.get("ClusterConfiguration") or {}
    local = document.get("localAPIEndpoint") or {}
    common = _common(document, local)
    default = f"{common['address']}:{common['port']}"
    host, port = _endpoint(cluster.get("controlPlaneEndpoint") or default)
    pods = (cluster.get("networking") or {}).get("podSubnet", "10.244.0.0/16")
    version = str(cluster.get("kubernetesVersion", "")).removeprefix("v")
    serving = bool((kinds.get("KubeletConfiguration") or {}).get("serverTLSBootstrap"))
    plan = Plan(cluster.get("clusterName", "kubernetes"), host, port, version, pods, serving)
    text = yaml.safe_dump(cluster, sort_keys=True)
    return Configuration(**common, plan=plan, cluster=text, endpoint=(host, port), control_plane=True)


def _join(document: Mapping[str, Any]) -> Configuration:
    control_plane = document.get("controlPlane")
    local = (control_plane or {}).get("localAPIEndpoint") or {}
    bootstrap = document["discovery"]["bootstrapToken"]
    return Configuration(
        **_common(document, local),
        endpoint=_endpoint(bootstrap["apiServerEndpoint"]),
        token=bootstrap["token"],
        hashes=tuple(bootstrap.get("caCertHashes") or ()),
        control_plane=control_plane is not None,
        certificate_key=(control_plane or {}).get("certificateKey", ""),
    )
