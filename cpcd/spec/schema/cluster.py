"""The document: `apiVersion`, `kind`, `metadata` and `spec`; the rest of this package is what `spec` is made of."""

import re
from ipaddress import IPv4Network
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from cpcd.spec.quantities import CIDR, Bool, DNSName, Label, Port, Version, refuse
from cpcd.spec.schema.common import Model
from cpcd.spec.schema.machine import Machine, Template
from cpcd.spec.schema.policy import (
    Adopt,
    BlastRadius,
    ChangePolicy,
    HealthCheck,
    KubeletCSR,
    Maintenance,
    Policy,
    Task,
)
from cpcd.spec.schema.proxmox import Infrastructure
from cpcd.spec.schema.roles import ControlPlane, Workers
from cpcd.spec.schema.services import DNS, Addon, Certificates, Containerd, Kubeconfig, Registry, with_cni

__all__ = [
    "ClusterDocument",
    "ClusterNetwork",
    "ClusterSpec",
    "ControlPlaneEndpoint",
    "Naming",
    "NetworkRanges",
    "ObjectMeta",
]

_PLACE: Final = re.compile(r"\{([^{}]*)\}")


def _hostname(text: str) -> str:
    places = _PLACE.findall(text)
    if strange := sorted(set(places) - {"cluster", "role", "index"}):
        raise refuse(f"{{{strange[0]}}} is no placeholder", "there are {cluster}, {role} and {index}")
    if "index" not in places or "role" not in places:
        raise refuse("must hold {role} and {index}", "else two machines would share a name")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", _PLACE.sub("x", text), re.ASCII):
        raise refuse(f'"{text[:60]}" makes no host names', "besides placeholders: lower-case letters, digits, dashes")
    return text


class ObjectMeta(Model):
    """Who the cluster is."""

    name: Annotated[Label, Field(max_length=40)]
    """The cluster's name; it never changes."""


class ControlPlaneEndpoint(Model):
    """Where the API is reached; it never changes."""

    host: DNSName | None = None
    """Address or name; without one, an address of the pool is reserved."""
    port: Port = 6443
    """TCP port."""
    provider: Literal["kube-vip", "external", "none"] = "kube-vip"
    """Who holds the address: kube-vip on the control planes, or a load balancer that is there already."""


class NetworkRanges(Model):
    """Networks inside the cluster."""

    cidr_blocks: tuple[CIDR, ...] = Field(min_length=1, max_length=1)
    """One network, such as `10.42.0.0/16`."""


class ClusterNetwork(Model):
    """Networks inside the cluster; they never change."""

    pods: NetworkRanges = NetworkRanges.model_construct(cidr_blocks=(IPv4Network("10.42.0.0/16"),))
    """Of pods."""
    services: NetworkRanges = NetworkRanges.model_construct(cidr_blocks=(IPv4Network("10.43.0.0/16"),))
    """Of services."""
    service_domain: DNSName = "cluster.local"
    """Domain of services."""


class Naming(Model):
    """Names of machines."""

    domain: DNSName | None = None
    """Domain of the host names."""
    hostname: Annotated[str, AfterValidator(_hostname)] = "{cluster}-{role}-{index}"
    """Host names; `{role}` is `cp` or the deployment's name, `{index}` the lowest that is free. Machines keep the name that they were made with."""
    release_letter: str | None = None
    """Letter of the short names of CPC, such as ck1 and wk1."""


class ClusterSpec(Model):
    """The cluster as it should be."""

    paused: Bool = False
    """Observe and report, change nothing."""
    version: Version
    """Kubernetes version."""
    deletion_protection: Bool = True
    """Refuse to destroy the cluster, whatever deletionPolicy says."""
    deletion_policy: Literal["Retain", "Destroy"] = "Retain"
    """What removing this document does: leave everything (Retain) or destroy it, with consent (Destroy)."""
    control_plane_endpoint: ControlPlaneEndpoint = ControlPlaneEndpoint.model_construct()
    """Where the API is reached."""
    cluster_network: ClusterNetwork = ClusterNetwork.model_construct()
    """Networks inside the cluster."""
    naming: Naming = Naming.model_construct()
    """Names of machines."""
    infrastructure: Infrastructure
    """Where the machines are."""
    templates: tuple[Template, ...] = ()
    """Templates that machines are cloned from; without any, the one tagged `cpcd-ubuntu` on each node."""
    machine_defaults: Machine = Machine.model_construct()
    """What every machine is made of."""
    control_plane: ControlPlane = ControlPlane.model_construct()
    """The control planes."""
    workers: Workers = Workers.model_construct()
    """The workers."""
    health_check: HealthCheck = HealthCheck.model_construct()
    """When a machine counts as broken, and what is done then."""
    registry: Registry | None = None
    """Where images come from."""
    containerd: Containerd = Containerd.model_construct()
    """The container runtime."""
    kubelet_csr: KubeletCSR = KubeletCSR.model_construct()
    """Serving certificates of kubelets."""
    certificates: Certificates = Certificates.model_construct()
    """Certificates of the control planes."""
    kubeconfig: Kubeconfig = Kubeconfig.model_construct()
    """The administrator's kubeconfig."""
    addons: Annotated[tuple[Addon, ...], AfterValidator(with_cni)] = with_cni(())
    """What is kept applied in the cluster; `{name: flannel, preset: flannel}` is added, unless one of these has the name, preset or chart of a CNI: antrea, calico, canal, cilium, cni, flannel, kube-ovn, kube-router, ovn-kubernetes, tigera-operator, weave-net. Beside a flannel that is added, an addon with a DaemonSet that writes `/etc/cni/net.d` is refused: call it `cni`, or list flannel too if it builds on one."""
    dns: DNS | None = None
    """Names of machines and endpoint."""
    tasks: tuple[Task, ...] = ()
    """Playbooks of the operator's own."""
    change_policy: ChangePolicy = ChangePolicy.model_construct()
    """What cpcd may do by itself."""
    blast_radius: BlastRadius = BlastRadius.model_construct()
    """How much may be disturbed at once."""
    maintenance: Maintenance | None = None
    """When cpcd may disturb."""
    adopt: Adopt | None = None
    """Machines that exist and are taken over."""
    policy: Policy = Policy.model_construct()
    """How often and how long cpcd tries."""


class ClusterDocument(Model):
    """One cluster."""

    api_version: Literal["cpcd.dev/v1alpha1"]
    """Version of this format."""
    kind: Literal["Cluster"]
    """Always Cluster."""
    metadata: ObjectMeta
    """Who the cluster is."""
    spec: ClusterSpec
    """The cluster as it should be."""

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.metadata.name
