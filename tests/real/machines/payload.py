"""What makes a Debian root a Kubernetes machine: programs, units, and the images that kubeadm wants, imported.

Nothing of it can be fetched by a machine, which has no way out. The programs are built from Go modules; pause and
flannel's CNI plugin stand in for what is no module. Next: `image.py`, which calls this; `oci.py`.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.real import binaries
from tests.real.cache import say
from tests.real.machines import oci, patience

__all__ = ["PACKAGES", "install"]

PACKAGES: Final = (
    "containerd", "runc", "iptables", "nftables", "conntrack", "ebtables", "ethtool", "socat", "curl", "gnupg", "openssl",
)  # fmt: skip
REGISTRY: Final = "registry.k8s.io"
PAUSE, COREDNS, ETCD = f"{REGISTRY}/pause:3.10.1", f"{REGISTRY}/coredns/coredns:v1.13.1", f"{REGISTRY}/etcd:3.6.6-0"
FLANNEL: Final = f"ghcr.io/flannel-io/flannel:v{binaries.FLANNEL}"
PLUGIN: Final = "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3"
_TABLES: Final = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
_PROXY: Final = tuple(f"/usr/sbin/{name}" for name in (*_TABLES, "nft", "conntrack"))
_MATCHES: Final = "usr/lib/x86_64-linux-gnu/xtables"  # iptables loads them by name, so that no linker tells of them


def _environment(**given: str) -> str:
    """Return a unit's drop-in; a percent sign is systemd's own."""
    return "[Service]\n" + "".join(
        f'Environment="{name}={value.replace("%", "%%")}"\n' for name, value in given.items()
    )


# The packages' own units, and one line more: an emulated processor has better to do than to start, each 10 s, a
# kubelet that has no configuration yet.
UNITS: Final = {
    "kubelet.service": """[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10
[Install]
WantedBy=multi-user.target
""",
    "kubelet.service.d/10-kubeadm.conf": """[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
""",
    "kubelet.service.d/20-configured.conf": "[Unit]\nConditionPathExists=/var/lib/kubelet/config.yaml\n",
    "kubelet.service.d/30-patience.conf": _environment(
        KUBELET_EXTRA_ARGS=" ".join(f"--{name}={value}" for name, value in patience.KUBELET.items()), **patience.GO
    ),
    "containerd.service.d/30-patience.conf": _environment(**patience.GO),
}
# containerd runs in the root as it will in the machine; it and its mounts end with the namespaces.
IMPORT: Final = """
set -e
mount -t proc proc "$1/proc"; mount -t sysfs sysfs "$1/sys"; mount --rbind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/run"
chroot "$1" containerd --log-level warn &
for turn in $(seq 300); do chroot "$1" ctr version > /dev/null 2>&1 && break; sleep 0.2; done
for image in "$1"/var/tmp/images/*.tar; do
  chroot "$1" ctr --namespace k8s.io images import "/var/tmp/images/${image##*/}"
done
kill $!; wait $! || true
"""


def install(root: Path) -> None:
    """Put everything in place. Raises RuntimeError when something cannot be built."""
    machine, cni = binaries.made(binaries.MACHINE), binaries.made(binaries.CNI)
    for name in ("kubeadm", "kubelet", "kubectl"):
        shutil.copy(machine / name, root / "usr/bin" / name)
    (root / "opt/cni/bin").mkdir(parents=True)
    for name in binaries.CNI.programs:
        shutil.copy(cni / name, root / "opt/cni/bin" / name)
    for name, text in UNITS.items():
        unit = root / "etc/systemd/system" / name
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.write_text(text)
    _import(root)


def _import(root: Path) -> None:
    place = root / "var/tmp/images"
    place.mkdir()
    for number, (name, files) in enumerate(_images(root).items()):
        say(f"image {name}")
        entrypoint = (f"/{next(iter(files))}",) if name in {PAUSE, COREDNS} else ()
        oci.write(place / f"{number}.tar", name, files, entrypoint)
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", IMPORT, "import", str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"importing images failed: {done.stderr[-4000:]}")
    shutil.rmtree(place)


def _images(root: Path) -> dict[str, Mapping[str, Path]]:
    """Return what is in each image; kubeadm's manifests start programs by their names."""
    plane, machine = binaries.made(binaries.CONTROL_PLANE), binaries.made(binaries.MACHINE)
    kubernetes = {name: plane / name for name in binaries.CONTROL_PLANE.programs}
    images: dict[str, Mapping[str, Path]] = {
        f"{REGISTRY}/{name}:v{binaries.KUBERNETES}": {f"usr/local/bin/{name}": path}
        for name, path in kubernetes.items()
    }
    tables = oci.needed(root, _PROXY) | {f"{_MATCHES}/{one.name}": one for one in (root / _MATCHES).glob("*.so")}
    images[f"{REGISTRY}/kube-proxy:v{binaries.KUBERNETES}"] = {
        **tables,
        "usr/local/bin/kube-proxy": machine / "kube-proxy",
    }
    flannel = binaries.made(binaries.FLANNELD)
    images[FLANNEL] = {**tables, **{f"opt/bin/{name}": flannel / name for name in binaries.FLANNELD.programs}}
    images[PLUGIN] = {**oci.needed(root, ["/usr/bin/cp"]), "flannel": binaries.made(binaries.OWN) / "flannel"}
    images[ETCD] = {
        f"usr/local/bin/{name}": binaries.made(family) / name
        for family in (binaries.ETCD, binaries.ETCD_TOOLS)
        for name in family.programs
    }
    images[COREDNS] = {"coredns": binaries.made(binaries.COREDNS) / "coredns"}
    images[PAUSE] = {"pause": binaries.made(binaries.OWN) / "pause"}
    return images
