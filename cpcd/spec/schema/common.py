"""What all models of the file share: the base, the spelling of field names, labels, taints and secret references.

Unknown keys are refused, values are not coerced, models are frozen. A field cpcd cannot act on yet is still modelled
here, defaults to nothing, and is refused by `support.py` when it is set.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from cpcd.spec.paths import Path
from cpcd.spec.quantities import Worded, refuse

if TYPE_CHECKING:
    from cpcd.model.desired import SecretRef

__all__ = [
    "Finding",
    "Labels",
    "Metadata",
    "Model",
    "Reference",
    "SOPSReference",
    "Taint",
    "findings",
    "unique",
]

# Where the field's own word is not plain camelCase.
_SPELLED: Final = {
    "ca_file": "caFile",
    "default_ipv4": "defaultIPv4",
    "extra_sans": "extraSANs",
    "ipv4_config": "ipv4Config",
    "ipv6_config": "ipv6Config",
    "kube_apiserver": "kube-apiserver",
    "kube_controller_manager": "kube-controller-manager",
    "kube_scheduler": "kube-scheduler",
    "kubelet_csr": "kubeletCSR",
    "memory_mib": "memoryMiB",
    "peer_cert_sans": "peerCertSANs",
    "repo_url": "repoURL",
    "server_cert_sans": "serverCertSANs",
    "template_id": "templateID",
    "vm_id_range": "vmIDRange",
}


def spelled(name: str) -> str:
    """Return the file's word for a Python attribute."""
    first, *others = name.split("_")
    return _SPELLED.get(name) or first + "".join(map(str.capitalize, others))


class Model(BaseModel):
    """Base of every model of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=spelled, defer_build=True)


class Finding(NamedTuple):
    """A mistake found by looking at several fields; `path` is relative to the model that looked."""

    path: Path
    message: str
    hint: str = ""


def findings(found: Iterable[Finding]) -> None:
    """Raise all findings of a model as one error, if there are any; `refusals.py` takes them apart again."""
    if listed := [tuple(finding) for finding in found]:
        raise PydanticCustomError("cpcd_findings", "several mistakes", {"findings": listed})


def unique(items: Iterable[str], what: str, *, key: str = "") -> Iterator[Finding]:
    """Yield a finding for each item that was there before; `key` is the field that holds the item."""
    seen: dict[str, int] = {}
    for at, item in enumerate(items):
        if item in seen:
            yield Finding((at, key) if key else (at,), f'another {what} is called "{item}"', "names are unique")
        seen.setdefault(item, at)


_NAME: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY: Final = rf"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_NAME}"
LabelKey = Annotated[str, Worded(_KEY, "a label key such as example.org/tier", 317)]
LabelValue = Annotated[str, Worded(rf"({_NAME})?", "a label value: letters, digits, dash, dot, underscore", 63)]

# https://kubernetes.io/docs/reference/labels-annotations-taints/ ; a name that ends in a slash is all below it.
# Other roles than kubeadm's, such as node-role.kubernetes.io/worker, are nobody's: people name them for `kubectl get`.
_ROLES: Final = {f"node-role.kubernetes.io/{role}": "kubeadm" for role in ("control-plane", "master")}
_LABELS: Final = {
    "cpcd.dev/": "cpcd", **_ROLES,
    **{f"{group}kubernetes.io/{name}": "the kubelet" for group in ("", "beta.") for name in ("hostname", "os", "arch")},
}  # fmt: skip
_ANNOTATIONS: Final = {
    "cpcd.dev/": "cpcd",
    "csi.volume.kubernetes.io/nodeid": "the kubelet",
    "kubeadm.alpha.kubernetes.io/cri-socket": "kubeadm",
    "node.alpha.kubernetes.io/ttl": "the node controller",
    "volumes.kubernetes.io/controller-managed-attach-detach": "the kubelet",
}
_TAINTS: Final = {
    "cpcd.dev/": "cpcd", **_ROLES,
    "node.kubernetes.io/": "the node controller", "node.cloudprovider.kubernetes.io/": "the cloud controller",
}  # fmt: skip


def _unkept(keepers: Mapping[str, str]) -> AfterValidator:
    """Refuse what somebody else keeps on a Node: two that write one key write it for ever, or take it away."""

    def check(key: str) -> str:
        for name, keeper in keepers.items():
            if key == name or (name.endswith("/") and key.startswith(name)):
                raise refuse(f"{key[:60]} is kept by {keeper}", "choose a key of your own")
        return key

    return AfterValidator(check)


Labels = Mapping[Annotated[LabelKey, _unkept(_LABELS)], LabelValue]


class Metadata(Model):
    """What is kept equal on the Node objects; what cpcd, kubelet, kubeadm or a controller keeps there is refused."""

    labels: Labels = {}
    """Labels of the nodes; a label removed here is removed there."""
    annotations: Mapping[Annotated[LabelKey, _unkept(_ANNOTATIONS)], str] = {}
    """Annotations of the nodes."""


class Taint(Model):
    """A taint of the nodes, in Kubernetes' own words."""

    key: Annotated[LabelKey, _unkept(_TAINTS)]
    """The taint's key."""
    value: LabelValue = ""
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    """What it does to pods that do not tolerate it."""


class SOPSReference(Model):
    """One key of a file encrypted by SOPS."""

    file: str
    """The encrypted file."""
    key: str
    """The key in it."""


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise refuse("must be an absolute path")
    return path


class Reference(Model):
    """Where a secret is kept: exactly one of the kinds. The secret itself is never written into the spec."""

    file: Annotated[str, AfterValidator(_absolute)] | None = None
    """Absolute path of a file that only cpcd can read."""
    systemd_credential: Annotated[str, Worded(r"[A-Za-z0-9_.@-]+", "a credential's name")] | None = None
    """Name of a systemd credential (`LoadCredential=` in the unit)."""
    env: Annotated[str, Worded(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name")] | None = None
    """Name of an environment variable of the daemon."""
    sops: SOPSReference | None = None
    """A key of a SOPS file."""

    @model_validator(mode="after")
    def _one_kind(self) -> "Reference":
        given = [kind for kind in Reference.model_fields if getattr(self, kind) is not None]
        if len(given) != 1:
            kinds = "file, systemdCredential or env"
            findings([Finding((), f"must name exactly one of {kinds}", "such as {file: /etc/cpcd/pve-token}")])
        return self

    @property
    def ref(self) -> "SecretRef":
        """The reference as the rest of cpcd knows it; `support.py` has refused sops before."""
        from cpcd.model.desired import SecretRef  # a tenth of the start of `cpcd validate`, which needs none of it

        if self.file is not None:
            return SecretRef("file", self.file)
        if self.systemd_credential is not None:
            return SecretRef("systemdCredential", self.systemd_credential)
        return SecretRef("env", self.env or "")
