"""What survives a power cut: files, packages, results of ops, and kubeadm's traces.

Plain state without behaviour in time. Everything else about a machine is `guest.py`'s and ends with the power.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from cpcd.lab.guests.hostkey import HostKey
from cpcd.lab.kube import MANIFESTS, Cluster, File, Kubelet

__all__ = ["KUBERNETES", "Disk", "Op"]

KUBERNETES: Final = "/etc/kubernetes"


@dataclass(slots=True)
class Op:
    """What `/var/lib/cpcd/ops/<op>` holds; `rc` stays None until there is a result."""

    verb: str
    boot_id: str
    rc: int | None = None
    output: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Disk:
    """One disk; a clone of a template begins with a fresh one."""

    machine_id: str
    host_key: HostKey
    root_gib: int = 0  # its file system, which boots make as large as the disk
    instance: str = ""
    instance_at: float = 0.0  # boot that met this instance first
    hostname: str = "localhost"
    users: list[str] = field(default_factory=lambda: ["root"])
    authorized_keys: list[str] = field(default_factory=list)
    files: dict[str, File] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    prepared: str = ""
    timezone: str = "UTC"
    ops: dict[str, Op] = field(default_factory=dict)
    certificates: dict[str, float] = field(default_factory=dict)
    cluster: Cluster | None = None  # whose CA is in pki
    kubelet: Kubelet | None = None  # this machine as the cluster sees it; etcd's data directory too

    def write(self, path: str, text: str, now: float) -> None:
        """Write a file; below /etc/kubernetes a relative path will do."""
        full = path if path.startswith("/") else f"{KUBERNETES}/{path}"
        self.files[full] = File(text, now)

    def has(self, name: str) -> bool:
        """Tell whether a file below /etc/kubernetes is there."""
        return f"{KUBERNETES}/{name}" in self.files

    def manifest(self, name: str) -> bool:
        """Tell whether a static pod's manifest is there."""
        return f"{MANIFESTS}/{name}.yaml" in self.files
