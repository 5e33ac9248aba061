"""Real programs for tests, built from their published Go modules: Kubernetes, etcd, CoreDNS, flannel, CNI plugins.

What is built is pinned by the `go.mod` and `go.sum` beside this file, every module by its checksum. The programs stand
in a cache under a name that follows from those files, the flags and the compiler, so nothing stale is ever used, and
a second call finds them made. `python -m tests.real.binaries` builds those of Kubernetes and etcd and says which
versions they are. Go itself is the machine's, or comes from the package that `go.txt` pins.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.real.cache import alone, cache, say

__all__ = [
    "CNI", "CONTROL_PLANE", "COREDNS", "ETCD", "ETCD_TOOLS", "FLANNEL", "FLANNELD", "KUBERNETES", "MACHINE", "OWN",
    "Family", "made",
]  # fmt: skip

HERE: Final = Path(__file__).parent
KUBERNETES: Final = "1.35.4"
FLANNEL: Final = "0.28.9"  # what `cpcd/vendor/flannel` names
_GO: Final = (1, 25)  # what Kubernetes' own go.mod asks for


@dataclass(frozen=True)
class Family:
    """Programs that are built from one go.mod: name -> package; with `cgo`, C is part of them, linked statically."""

    module: str
    programs: dict[str, str]
    ldflags: str = "-s -w"
    cgo: bool = False


def _stamp(version: str) -> str:
    """Return the linker's flags that make a Kubernetes program know its version, which its modules do not carry."""
    package, (major, minor, _) = "k8s.io/component-base/version", version.split(".")
    values = {
        "gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitCommit": "unknown",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
    }  # fmt: skip
    own = [f"-X {package}.{name}={value}" for name, value in values.items()]
    return " ".join(["-s -w", *own, f"-X k8s.io/client-go/pkg/version.gitVersion=v{version}"])


def _commands(*names: str) -> dict[str, str]:
    return {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}


CONTROL_PLANE: Final = Family(
    "kubernetes",
    _commands("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    _stamp(KUBERNETES),
)
MACHINE: Final = Family("kubernetes", _commands("kubeadm", "kubelet", "kubectl", "kube-proxy"), CONTROL_PLANE.ldflags)
ETCD: Final = Family("etcd", {"etcd": "go.etcd.io/etcd/server/v3"})
ETCD_TOOLS: Final = Family("etcd", {"etcdctl": "go.etcd.io/etcd/etcdctl/v3", "etcdutl": "go.etcd.io/etcd/etcdutl/v3"})
_PLUGINS: Final = "github.com/containernetworking/plugins/plugins"
CNI: Final = Family("cni", {
    "bridge": f"{_PLUGINS}/main/bridge", "loopback": f"{_PLUGINS}/main/loopback",
    "host-local": f"{_PLUGINS}/ipam/host-local", "portmap": f"{_PLUGINS}/meta/portmap",
})  # fmt: skip
COREDNS: Final = Family("coredns", {"coredns": "github.com/coredns/coredns"})
FLANNELD: Final = Family(
    "flannel",
    {"flanneld": "github.com/flannel-io/flannel", "install-conf": "github.com/flannel-io/flannel/cmd/install_conf"},
    f"-s -w -linkmode external -extldflags -static -X github.com/flannel-io/flannel/pkg/version.Version=v{FLANNEL}",
    cgo=True,
)
OWN: Final = Family("programs", {"pause": "./pause", "flannel": "./flannel"})
"""Stands in for what is no Go module; each program says what for."""


def made(family: Family) -> Path:
    """Return the directory with a family's programs, built first where they are not there yet.

    Takes some five minutes for Kubernetes on two cores, the first time. Raises RuntimeError when Go cannot be fetched or
    the build fails, with pip's or the compiler's words.
    """
    go = _go()
    place = cache() / f"{family.module}-{_digest(family, go)}"
    with alone(place):
        for name, package in family.programs.items():
            if not (place / name).exists():
                _build(go, family, package, place / name)
    return place


def _go() -> str:
    """Return a Go that is new enough: the machine's own, else one fetched into the cache."""
    if (own := shutil.which("go")) and _version(own) >= _GO:
        return own
    pinned = HERE / "go.txt"
    place = cache() / f"go-{hashlib.sha256(pinned.read_bytes()).hexdigest()[:16]}"
    with alone(place):
        if not (place / "go").exists():
            _fetch(pinned, place)
    return str(place / "go" / "bin" / "go")


def _version(go: str) -> tuple[int, ...]:
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


def _fetch(pinned: Path, place: Path) -> None:
    """Install what is pinned, whole or not at all."""
    say("fetching Go …")
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        argv = ["-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes", "--target", scratch]
        done = subprocess.run([sys.executable, *argv, "-r", str(pinned)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"fetching Go failed: {done.stderr[-4000:].strip()}")
        (Path(scratch) / "go").replace(place / "go")


def _digest(family: Family, go: str) -> str:
    version = subprocess.run([go, "version"], capture_output=True, check=True).stdout
    place = HERE / family.module
    pinned = [path.read_bytes() for path in (place / "go.mod", place / "go.sum", *sorted(place.rglob("*.go")))]
    return hashlib.sha256(b"\0".join([version, family.ldflags.encode(), *pinned])).hexdigest()[:16]


def _build(go: str, family: Family, package: str, target: Path) -> None:
    """Build one program and put it in place whole, or not at all."""
    began = time.monotonic()
    say(f"building {target.name} …")
    tags = " -tags=netgo,osusergo" if family.cgo else ""  # no resolver in C as well
    flags = f"-mod=readonly -buildvcs=false{tags}"
    environment = {**os.environ, "CGO_ENABLED": str(int(family.cgo)), "GOTOOLCHAIN": "local", "GOFLAGS": flags}
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        out = Path(scratch) / target.name
        argv = [go, "build", "-trimpath", "-ldflags", family.ldflags, "-o", str(out), package]
        place = HERE / family.module
        done = subprocess.run(argv, cwd=place, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"building {target.name} failed: {done.stderr[-4000:].strip()}")
        out.replace(target)
    say(f"built {target.name} in {time.monotonic() - began:.0f} s")


def main() -> None:
    """Build everything, and let each program say its version."""
    for family in (ETCD, CONTROL_PLANE):
        try:
            place = made(family)
        except RuntimeError as error:
            sys.exit(str(error))
        for name in family.programs:
            done = subprocess.run([place / name, "--version"], capture_output=True, text=True, check=True)
            say(f"{place / name}: {done.stdout.splitlines()[0]}")
    made(ETCD_TOOLS)


if __name__ == "__main__":
    main()
