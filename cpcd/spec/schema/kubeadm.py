"""What is added to kubeadm's own configuration, in the words of kubeadm.k8s.io/v1beta4 (apis/kubeadm/v1beta4/types.go).

What the file says elsewhere is no field here (version, networks, endpoint, names in certificates), nor is what cpcd
looks for where kubeadm has it by default (certificates, etcd's data). kubeadm itself passes over what it does not know.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from cpcd.spec.quantities import Bool, refuse
from cpcd.spec.schema.common import Model

__all__ = ["KubeadmConfigSpec"]

Free = Mapping[str, Any]


def _written(patch: Free) -> Free:
    try:
        json.dumps(patch, allow_nan=False)
    except ValueError:
        raise refuse("holds a number that is none (.nan, .inf)") from None
    return patch


Patch = Annotated[Free, AfterValidator(_written)]
# A duration in Go's words.
Validity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(h|m|s)([0-9]+(h|m|s))*$")]


class Argument(Model):
    """One argument of a component."""

    name: Annotated[str, Field(min_length=1)]
    """Its name, without dashes."""
    value: str
    """Its value, as text."""


class HostMount(Model):
    """A directory or file of the machine that a component sees."""

    name: Annotated[str, Field(min_length=1)]
    """Its name."""
    host_path: Annotated[str, Field(min_length=1)]
    """Where it is on the machine."""
    mount_path: Annotated[str, Field(min_length=1)]
    """Where the component sees it."""
    read_only: Bool = False
    """Whether the component may only read it."""
    path_type: Literal[
        "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"
    ] = ""
    """What it has to be, in the words of a hostPath."""


class Component(Model):
    """A static pod of the control plane."""

    extra_args: tuple[Argument, ...] = ()
    """Arguments besides kubeadm's."""
    extra_volumes: tuple[HostMount, ...] = ()
    """What it sees of the machine besides."""
    extra_envs: tuple[Argument, ...] = ()
    """Variables of its environment."""


class LocalEtcd(Model):
    """The etcd member of a control plane."""

    image_repository: str | None = None
    """Where its image is."""
    image_tag: str | None = None
    """The image's tag."""
    extra_args: tuple[Argument, ...] = ()
    """Arguments besides kubeadm's."""
    extra_envs: tuple[Argument, ...] = ()
    """Variables of its environment."""
    server_cert_sans: tuple[str, ...] = ()
    """More names in its serving certificate."""
    peer_cert_sans: tuple[str, ...] = ()
    """More names in its peer certificate."""


class StackedEtcd(Model):
    """The members of etcd, one on each control plane."""

    local: LocalEtcd = LocalEtcd.model_construct()
    """What each is told."""


class Dns(Model):
    """CoreDNS."""

    image_repository: str | None = None
    """Where its image is."""
    image_tag: str | None = None
    """The image's tag."""
    disabled: Bool = False
    """Whether kubeadm leaves it out."""


class Proxy(Model):
    """kube-proxy."""

    disabled: Bool = False
    """Whether kubeadm leaves it out."""


class ClusterConfiguration(Model):
    """Additions to kubeadm's ClusterConfiguration; once the cluster is initialised they cannot change."""

    api_server: Component = Component.model_construct()
    """The API server."""
    controller_manager: Component = Component.model_construct()
    """The controller manager."""
    scheduler: Component = Component.model_construct()
    """The scheduler."""
    etcd: StackedEtcd = StackedEtcd.model_construct()
    """etcd."""
    dns: Dns = Dns.model_construct()
    """CoreDNS."""
    proxy: Proxy = Proxy.model_construct()
    """kube-proxy."""
    image_repository: str | None = None
    """Where Kubernetes' images are."""
    feature_gates: Mapping[str, Bool] = {}
    """kubeadm's own feature gates."""
    encryption_algorithm: Literal["RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256", "ECDSA-P384"] | None = None
    """What the cluster's keys are made with; kubeadm's default is RSA-2048."""
    certificate_validity_period: Validity | None = None
    """How long certificates are good, as `8760h`."""
    ca_certificate_validity_period: Validity | None = None
    """How long those of authorities are good."""


class Patches(Model):
    """Strategic merge patches that kubeadm applies on control planes; once there is a cluster they cannot change."""

    etcd: Patch = Field(default={})
    """Of etcd's static pod."""
    kube_apiserver: Patch = Field(default={})
    """Of the API server's static pod."""
    kube_controller_manager: Patch = Field(default={})
    """Of the controller manager's static pod."""
    kube_scheduler: Patch = Field(default={})
    """Of the scheduler's static pod."""
    kubeletconfiguration: Patch = Field(default={})
    """Of the kubelet's configuration on control planes."""
    corednsdeployment: Patch = Field(default={})
    """Of CoreDNS's Deployment."""


class KubeadmConfigSpec(Model):
    """Additions to what kubeadm is told."""

    cluster_configuration: ClusterConfiguration = ClusterConfiguration.model_construct()
    """Additions to kubeadm's ClusterConfiguration."""
    init_configuration: Free = Field(default={})
    """Additions to kubeadm's InitConfiguration."""
    join_configuration: Free = Field(default={})
    """Additions to kubeadm's JoinConfiguration."""
    files: tuple[Free, ...] = ()
    """Files written before kubeadm runs."""
    pre_kubeadm_commands: tuple[str, ...] = ()
    """Commands before kubeadm."""
    post_kubeadm_commands: tuple[str, ...] = ()
    """Commands after kubeadm."""
    patches: Patches = Patches.model_construct()
    """Patches of what kubeadm writes."""
