"""What runs on or beside the cluster: addons, registry, DNS, certificates, kubeconfig."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from cpcd.spec.quantities import Bool, DNSName, Duration, IPv4, Label, SpecPath
from cpcd.spec.schema.common import Model, Reference

__all__ = [
    "CNIS",
    "DNS",
    "RFC2136",
    "Addon",
    "Certificates",
    "Containerd",
    "CoreDNSForward",
    "Kubeconfig",
    "ManifestSource",
    "PiHole",
    "Records",
    "Registry",
    "with_cni",
]

CNIS: Final = (
    "antrea", "calico", "canal", "cilium", "cni", "flannel", "kube-ovn", "kube-router", "ovn-kubernetes",
    "tigera-operator", "weave-net",
)  # fmt: skip
"""What an addon is called, by name, preset or chart, that makes a cluster's pod network."""


class ManifestSource(Model):
    """Manifests beside the spec."""

    file: Annotated[SpecPath, Field(min_length=1)]
    """File, or pattern such as `extras/*.yaml`, relative to the spec's directory; part of its generation."""


class Addon(Model):
    """Something kept applied in the cluster."""

    name: Label
    """Name, which marks its objects; that of a CNI, or `cni`, says that it makes the pods' network."""
    manifests: tuple[ManifestSource, ...] = ()
    """Manifests, applied in this order."""
    mode: Literal["full", "oneTime"] = "full"
    """Corrected and pruned for ever (full), or applied once (oneTime)."""
    namespace: str | None = None
    """Namespace of a chart."""
    chart: str | None = None
    """A Helm chart."""
    repo_url: str | None = None
    """Where the chart is."""
    version: str | None = None
    """The chart's version."""
    preset: str | None = None
    """Manifests that cpcd brings along: `flannel`, with the cluster's own pod network in it."""
    values: Mapping[str, Any] = {}
    """The chart's values."""

    @property
    def cni(self) -> bool:
        """Whether its name, preset or chart is that of a CNI."""
        chart = (self.chart or "").rpartition("/")[2]
        return not {self.name, self.preset, chart}.isdisjoint(CNIS)


def with_cni(addons: tuple[Addon, ...]) -> tuple[Addon, ...]:
    """Return the addons, and flannel after them when none of them is a CNI: without one no Node becomes Ready."""
    if any(addon.cni for addon in addons):
        return addons
    return (*addons, Addon.model_construct(name="flannel", preset="flannel"))


class Registry(Model):
    """Where images come from."""

    mirrors: Mapping[str, str] = {}
    """Mirror of each registry."""
    auth_ref: Reference | None = None
    """Credentials."""
    pull_secrets: tuple[Mapping[str, Any], ...] = ()
    """Pull secrets."""


class Containerd(Model):
    """The container runtime."""

    version: str | None = None
    """Its version; the distribution's when there is none."""


class Certificates(Model):
    """Certificates of the control planes."""

    renew_before: Duration | None = None
    """Renew them so long before they expire."""
    extra_sans: tuple[DNSName, ...] = ()
    """More names and addresses in the API server's certificate."""


class Kubeconfig(Model):
    """The administrator's kubeconfig, kept in the state directory."""

    context: Annotated[str, Field(min_length=1)] | None = None
    """Name of its context; the cluster's when there is none."""
    server: DNSName = "auto"
    """Host in it: `auto` takes the endpoint."""


class PiHole(Model):
    """A Pi-hole."""

    url: str
    """Its address."""
    password_ref: Reference | None = None
    """Its password."""


class RFC2136(Model):
    """A name server that takes updates."""

    server: str
    """Its address."""
    zone: str
    """The zone."""
    key_ref: Reference | None = None
    """The TSIG key."""


class Records(Model):
    """Which records are kept."""

    nodes: Bool = True
    """One for each node."""
    endpoint: Bool = True
    """One for the endpoint."""
    extra: tuple[Mapping[str, Any], ...] = ()
    """Others."""


class CoreDNSForward(Model):
    """Domains that CoreDNS forwards."""

    domains: tuple[DNSName, ...]
    """The domains."""
    servers: tuple[IPv4, ...]
    """Where they are forwarded to."""


class DNS(Model):
    """Names of machines and endpoint."""

    pihole: PiHole | None = None
    """A Pi-hole."""
    rfc2136: RFC2136 | None = None
    """A name server that takes updates."""
    records: Records = Records.model_construct()
    """Which records are kept."""
    coredns_forward: tuple[CoreDNSForward, ...] = ()
    """Domains that CoreDNS forwards."""
