"""kubeadm's configuration files, as far as they steer the model (v1beta4).

Reads what cpcd renders; a document of another version or a missing field is refused with kubeadm's own words.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from cpcd.lab.guests.failed import kubeadm_failed, said
from cpcd.lab.kube import Plan
from cpcd.lab.provenance import recorded, source

__all__ = ["Configuration", "parse", "seconds"]

_VERSION: Final = "kubeadm.k8s.io/v1beta4"
_KUBELET: Final = "kubelet.config.k8s.io/v1beta1"
_FIELDS: Final = frozenset(
    {
        "apiVersion", "kind", "etcd", "networking", "kubernetesVersion", "controlPlaneEndpoint", "apiServer",
        "controllerManager", "scheduler", "dns", "proxy", "certificatesDir", "imageRepository", "featureGates",
        "clusterName", "encryptionAlgorithm", "certificateValidityPeriod", "caCertificateValidityPeriod",
    }
)  # of a ClusterConfiguration in v1beta4  # fmt: skip
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Configuration:
    """One kubeadm run; `endpoint` is where a join discovers, `plan` and `sans` what an init makes (a join has none)."""

    node: str
    address: str
    port: int
    labels: Mapping[str, str]
    taints: tuple[dict[str, str], ...] | None
    timeouts: Mapping[str, float]
    plan: Plan | None = None
    cluster: str = ""
    sans: tuple[str, ...] = ()
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


@recorded(61, 63, 64, 72, 78, 289)
def parse(verb: str, text: str) -> Configuration:
    """Return the configuration of `init` or `join`; VerbFailed(InvalidConfig) where kubeadm would refuse it."""
    documents = [each for each in yaml.safe_load_all(text) if each]
    kinds = {each.get("kind", ""): each for each in documents if each.get("apiVersion") in {_VERSION, _KUBELET}}
    wanted = "InitConfiguration" if verb == "init" else "JoinConfiguration"
    if wanted not in kinds:
        raise kubeadm_failed(verb, "preflight", f"couldn't load config: no kind {wanted!r} of version {_VERSION}")
    try:
        return _init(kinds) if verb == "init" else _join(kinds[wanted])
    except _Invalid as no:
        raise said(verb, f"error: {no}") from no
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise kubeadm_failed(verb, "preflight", f"couldn't load config: {error!r}") from error


class _Invalid(Exception):  # noqa: N818 - kubeadm's own words about a value
    """A document that kubeadm understands and does not accept."""


@recorded(61, 63, 78)
def _checked(cluster: Mapping[str, Any]) -> None:
    """Refuse what kubeadm refuses in a ClusterConfiguration: unknown fields, a version that is a number, a bad CIDR."""
    if unknown := next(iter(cluster.keys() - _FIELDS), None):
        raise _Invalid(f'error unmarshaling configuration: strict decoding error: unknown field "{unknown}"')
    if not isinstance(cluster.get("kubernetesVersion", ""), str):
        raise _Invalid("json: cannot unmarshal number into Go struct field ClusterConfiguration.kubernetesVersion")
    pods = (cluster.get("networking") or {}).get("podSubnet", "")
    try:
        [ipaddress.ip_network(part) for part in pods.split(",") if part]
    except ValueError:
        raise _Invalid(f'networking.podSubnet: Invalid value: "{pods}": couldn\'t parse subnet') from None


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
    _checked(cluster)
    local = document.get("localAPIEndpoint") or {}
    common = _common(document, local)
    default = f"{common['address']}:{common['port']}"
    host, port = _endpoint(cluster.get("controlPlaneEndpoint") or default)
    pods = (cluster.get("networking") or {}).get("podSubnet", "10.244.0.0/16")
    version = str(cluster.get("kubernetesVersion", "")).removeprefix("v")
    serving = bool((kinds.get("KubeletConfiguration") or {}).get("serverTLSBootstrap"))
    plan = Plan(cluster.get("clusterName", "kubernetes"), host, port, version, pods, serving)
    text = yaml.safe_dump(cluster, sort_keys=True)
    own = (common["node"], common["address"], host)  # kubeadm adds these by itself
    sans = sorted({*own, *((cluster.get("apiServer") or {}).get("certSANs") or ())})
    return Configuration(**common, plan=plan, cluster=text, endpoint=(host, port), control_plane=True, sans=tuple(sans))


@recorded(289)
def _join(document: Mapping[str, Any]) -> Configuration:
    control_plane = document.get("controlPlane")
    local = (control_plane or {}).get("localAPIEndpoint") or {}
    bootstrap = document["discovery"]["bootstrapToken"]
    if not re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", bootstrap["token"]):
        value = f'Invalid value: "{bootstrap["token"]}": the bootstrap token is invalid'
        raise _Invalid(f"[discovery.bootstrapToken.token: {value}]")
    return Configuration(
        **_common(document, local),
        endpoint=_endpoint(bootstrap["apiServerEndpoint"]),
        token=bootstrap["token"],
        hashes=tuple(bootstrap.get("caCertHashes") or ()),
        control_plane=control_plane is not None,
        certificate_key=(control_plane or {}).get("certificateKey", ""),
    )
