"""One machine as its cluster sees it: the kubelet, its static pods, the etcd member on its disk.

The guest model starts and stops it; the cluster only looks. What survives a reboot is the guest's disk, of which
`files` is a part. Never does anything here plan an event: times follow from when things were started.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cpcd.lab.provenance import recorded

__all__ = ["MANIFESTS", "NETWORKS", "File", "Kubelet"]

MANIFESTS: Final = "/etc/kubernetes/manifests"
NETWORKS: Final = "/etc/cni/net.d"


class File(NamedTuple):
    """A file's text and when it was written (lab time)."""

    text: str
    written: float


@dataclass(slots=True, eq=False)
class Kubelet:
    """A configured kubelet; `started` is None while it does not run, `cut` while its network is gone.

    `registered` is the start for which it made or took over its Node: it does that once for each start.
    """

    node: str
    address: str
    files: dict[str, File]
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    serving_csr: bool = True
    port: int = 6443
    version: str = ""
    containerd: str = ""
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    cores: int = 2
    memory_mib: int = 2048
    disk_gib: int = 20
    started: float | None = None
    registered: float | None = None
    back: float = 0.0  # since when it reaches the API again
    ready_from: float = 0.0
    certificate: str = ""  # serving certificate, PEM
    member: int | None = None
    etcd_data: bool = False
    cut: bool = False

    @property
    def alive(self) -> bool:
        """Tell whether the cluster hears of it."""
        return self.started is not None and not self.cut

    @property
    @recorded(405, 427)
    def networked(self) -> bool:
        """Whether a CNI left its configuration here: it outlives the pod that wrote it, and the kubelet."""
        return any(path.startswith(f"{NETWORKS}/") for path in self.files)

    def start(self, now: float, boot_id: str) -> None:
        """Start or restart the service."""
        self.started, self.boot_id, self.back = now, boot_id, now

    @recorded(319)
    def static_since(self, pod: str, lag: float) -> float | None:
        """Return when a static pod runs or ran first since the kubelet's start, None without kubelet or manifest."""
        manifest = self.files.get(f"{MANIFESTS}/{pod}.yaml")
        if self.started is None or manifest is None:
            return None
        return max(self.started, manifest.written) + lag

    @property
    def static_pods(self) -> list[str]:
        """Names of all manifests."""
        names = (path for path in self.files if path.startswith(MANIFESTS + "/"))
        return sorted(path.rpartition("/")[2].removesuffix(".yaml") for path in names)
