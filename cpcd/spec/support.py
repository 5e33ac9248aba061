"""What cpcd cannot act on yet, in one table: such a field is refused by name, never accepted and ignored.

A row goes when the code that acts on the field comes. Values that mean "nothing" are harmless, so that what
`--show-defaults` prints is itself a valid file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cpcd.spec.load import Document
from cpcd.spec.mistakes import Mistake, seen
from cpcd.spec.paths import MACHINES, Path, children, pattern, secret
from cpcd.spec.presets import PRESETS

__all__ = ["UNSUPPORTED", "Unsupported", "unsupported"]

_NOTHING: Final[tuple[Any, ...]] = (None, False, "", [], {})


@dataclass(frozen=True, slots=True)
class Unsupported:
    """One field: refused when it is in the file with a value that is not in `harmless`."""

    path: str
    reason: str
    harmless: tuple[Any, ...] = _NOTHING


_RUNGS: Final = ("Start", "Reset", "Replace")
_BUILDING: Final = "templates are not built yet: make one and name it by templateID or tag"
_KUBEADM: Final = "kubeadm is told more by clusterConfiguration and patches alone"
_CHARTS: Final = "addons are plain manifests: render the chart and name the files"
_PRESETS: Final = "cpcd brings no other manifests along; name the files"
_DEPLOYMENT: Final = "spec.workers.machineDeployments.*"
_ROLLOUTS: Final = ("spec.controlPlane.rollout", f"{_DEPLOYMENT}.rollout")
_PROXMOX: Final = "spec.infrastructure.proxmox"


def _below(parent: str, fields: str, reason: str) -> tuple[Unsupported, ...]:
    return tuple(Unsupported(f"{parent}.{field}", reason) for field in fields.split())


def _machine(parent: str) -> tuple[Unsupported, ...]:
    return (
        Unsupported(f"{parent}.templateSelector.matchPolicy", "a template is chosen by having all tags", ("subset",)),
        Unsupported(f"{parent}.disks.additionalVolumes", "machines have one disk"),
        *(
            Unsupported(f"{parent}.network.networkDevices.{at}", "machines have one network device, net0", ())
            # Proxmox VE has net0 to net31.
            for at in range(1, 32)
        ),
        Unsupported(f"{parent}.network.networkDevices.0.defaultIPv4", "net0 carries the address", (True,)),
        Unsupported(f"{parent}.pciDevices", "devices are not passed through"),
        Unsupported(f"{parent}.numa", "NUMA is not shown to guests"),
        Unsupported(f"{parent}.highAvailability.enabled", "cpcd itself starts its machines again"),
        Unsupported(f"{parent}.highAvailability.state", "cpcd itself starts its machines again", ("started",)),
    )


UNSUPPORTED: Final[tuple[Unsupported, ...]] = (
    Unsupported("spec.controlPlaneEndpoint.provider", "an endpoint is held by kube-vip or is external",
                ("kube-vip", "external")),
    Unsupported("spec.changePolicy.InPlace", "what interrupts nothing is done by itself", ("Auto",)),
    Unsupported("spec.deletionPolicy", "a cluster whose document goes is kept as it is", ("Retain",)),
    Unsupported("spec.deletionProtection", "nothing destroys a whole cluster", (True,)),
    Unsupported("spec.policy.timeouts.kubernetes", "a request to Kubernetes has 30s, and nothing waits for it alone", ("2m",)),
    Unsupported("spec.kubeconfig.server", "the kubeconfig names the control plane's endpoint", ("auto",)),
    Unsupported("spec.healthCheck.remediation.ladder.*", "the rungs are Start, Reset and Replace", _RUNGS),
    Unsupported("spec.naming.releaseLetter", "host names follow naming.hostname"),
    Unsupported(f"{_PROXMOX}.credentialsRef.sops", "secrets are read from file, systemdCredential or env"),
    Unsupported(f"{_PROXMOX}.storage.images", _BUILDING),
    Unsupported(f"{_PROXMOX}.ipv4Config.metric", "there is one default route"),
    Unsupported(f"{_PROXMOX}.ipv6Config", "machines have IPv4 addresses"),
    Unsupported(f"{_PROXMOX}.dhcp4", "addresses are static, from ipv4Config.addresses"),
    *_below("spec.templates.*", "image storage cpuType packages test keep", _BUILDING),
    *(row for parent in MACHINES for row in _machine(parent)),
    *(Unsupported(f"{parent}.ssh.keyRef", "cpcd makes a key of its own in the state directory") for parent in MACHINES),
    *_below("spec.controlPlane.kubeadmConfigSpec",
            "initConfiguration joinConfiguration files preKubeadmCommands postKubeadmCommands", _KUBEADM),
    *(row for rollout in _ROLLOUTS for row in _below(rollout, "before", "nothing but a change starts a rollout")),
    Unsupported("spec.controlPlane.etcd.backup", "etcd is not backed up by cpcd"),
    Unsupported(f"{_DEPLOYMENT}.autoscale", "replicas are what the file says"),
    Unsupported(f"{_DEPLOYMENT}.machines", "all machines of a deployment are alike"),
    Unsupported("spec.registry", "images come from where the manifests say"),
    Unsupported("spec.containerd.version", "containerd is what the machine's repositories have"),
    Unsupported("spec.certificates.renewBefore", "certificates are not renewed by cpcd"),
    *(row for parent in ("spec.addons.*",)
      for row in _below(parent, "chart repoURL values version namespace", _CHARTS)),
    Unsupported("spec.addons.*.preset", _PRESETS, (*_NOTHING, *PRESETS)),
    Unsupported("spec.dns", "records are not kept by cpcd"),
    Unsupported("spec.policy.onFailure.dns", "records are not kept by cpcd", ("Warn",)),
    Unsupported("spec.tasks", "own playbooks are not run"),
    Unsupported("spec.maintenance", "changes begin when they are found"),
    Unsupported("spec.adopt", "machines that exist are not taken over"),
)  # fmt: skip


@dataclass(slots=True)
class _Branch:
    """Rows by the parts of their paths, so that a document is walked once and not once a row."""

    rows: list[Unsupported]
    parts: dict[str, "_Branch"]


def _grown() -> _Branch:
    root = _Branch([], {})
    for row in UNSUPPORTED:
        branch = root
        for part in pattern(row.path):
            branch = branch.parts.setdefault(part, _Branch([], {}))
        branch.rows.append(row)
    return root


_ROOT: Final = _grown()


def unsupported(document: Document) -> Iterator[Mistake]:
    """Yield a mistake for each field of a document that cpcd cannot act on yet; it need not be valid otherwise."""
    for path, value, row in _found(document.value, _ROOT, ()):
        yield document.mistake(path, f"not supported yet ({_named(path, value)}): {row.reason}", key=True)


def _named(path: Path, value: Any) -> str:
    """Return the field's name, and its value where that can be said in a word and is no secret."""
    name = next(str(key) for key in reversed(path) if isinstance(key, str))
    if isinstance(value, str | int | float) and not secret(path):
        name += ": " + seen(value).strip('"')
    return name


def _found(value: Any, branch: _Branch, path: Path) -> Iterator[tuple[Path, Any, Unsupported]]:
    for row in branch.rows:
        # With its type, since in Python 0 is False and 1 is True.
        if not any(type(value) is type(harmless) and value == harmless for harmless in row.harmless):
            yield path, value, row
    for key, child in children(value) if branch.parts else ():
        for part in (str(key), "*"):
            if part in branch.parts:
                yield from _found(child, branch.parts[part], (*path, key))
