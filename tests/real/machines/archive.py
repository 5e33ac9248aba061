"""What a plain machine installs from: Debian's packages that it lacks, and Kubernetes' own, each a repository for apt.

Debian's are fetched by this host's apt, which verifies their signatures; Kubernetes' are made here of the programs that
`binaries` builds, laid out as its release team lays them out. Each repository is signed with a key of its own, which
nobody has afterwards. Needs root and what `tools.sh` installs. Next: `mirror.py`, which serves them; `rpm_archive.py`, the same
for dnf and zypper.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.real import binaries
from tests.real.cache import alone, cache, say
from tests.real.machines import payload

__all__ = ["KEY", "debian", "digest", "kubernetes", "output", "repository", "signing"]

KEY: Final = "Release.key"  # what verifies a repository, beside its packages
WANTED: Final = ("ca-certificates", "containerd", "curl", "gnupg", "openssl", "tzdata")
_REVISION: Final = "1.1"
_NEWER: Final = "1.35.99"  # what nobody asks for, and apt would take if it was let
# This host's own trust, mirrors and proxies; everything that changes is in the directory. No path of it may have a `"`.
_APT: Final = """
Dir::State "{0}"; Dir::State::status "{0}/status"; Dir::Cache "{0}";
Dir::Etc::SourceList "{0}/sources.list"; Dir::Etc::SourceParts "/dev/null";
APT::Sandbox::User "root"; APT::Install-Recommends "false"; Acquire::Languages "none";
"""


@dataclass(frozen=True, slots=True)
class _Package:
    """One package: where its files come from, by where they go to."""

    name: str
    version: str
    depends: str = ""
    files: tuple[tuple[str, Path | str], ...] = ()


def debian(disk: Path, suite: str) -> Path:
    """Return a repository with what `prepare` wants from Debian and a disk's root has not, with its dependencies."""
    recipe = repr((disk.parent.name, WANTED, _APT))
    return repository(f"{suite}-{digest(recipe)}", lambda place: _fetch(place, disk))


def kubernetes() -> Path:
    """Return a repository with kubelet, kubeadm, kubectl and the CNI plugins, and a newer version of them without files.

    After kubernetes/release, cmd/krel/templates/latest: names, files and, as of 1.32, dependencies. There is no crictl,
    which cannot be built, and nothing of it depends on one.
    """
    packages = _packages()
    return repository(f"kubernetes-{digest(repr(packages))}", lambda place: _pack(place, packages))


def digest(recipe: str) -> str:
    """Return what a repository's name in the cache ends with: it changes with what it is made of, and how."""
    return hashlib.sha256((recipe + Path(__file__).read_text(encoding="utf-8")).encode()).hexdigest()[:16]


def repository(name: str, fill: Callable[[Path], None]) -> Path:
    """Return a directory of the cache, of which `fill` makes a signed repository first where it is not there yet."""
    place = cache() / f"packages-{name}"
    with alone(place):
        if not (place / "repository").exists():
            say(f"making a repository: {name} …")
            with tempfile.TemporaryDirectory(dir=place) as scratch:
                made = Path(scratch) / "made"
                made.mkdir(mode=0o755)
                fill(made)
                made.replace(place / "repository")
    return place / "repository"


def _fetch(place: Path, disk: Path) -> None:
    """Let apt find what a root lacks, as if it were that root, and fetch it from where the root came from."""
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch)
        for name, original in (("status", "/var/lib/dpkg/status"), ("sources.list", "/etc/apt/sources.list")):
            (state / name).write_bytes(output("debugfs", "-R", f"cat {original}", str(disk)))
        for name in ("lists/partial", "archives/partial"):
            (state / name).mkdir(parents=True)
        (state / "apt.conf").write_text(_APT.format(state))
        environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf")}
        for words in (("update",), ("install", "--yes", "--download-only", *WANTED)):
            output("apt-get", "--quiet", *words, env=environment)
        for package in (state / "archives").glob("*.deb"):
            shutil.move(package, place)
    _sign(place)


def _packages() -> tuple[_Package, ...]:
    machine, plugins = binaries.made(binaries.MACHINE), binaries.made(binaries.CNI)
    version, systemd = f"{binaries.KUBERNETES}-{_REVISION}", "usr/lib/systemd/system"
    own = {
        "kubelet": ("kubelet.service", "kubernetes-cni (>= 1.2.0), mount, util-linux"),
        "kubeadm": ("kubelet.service.d/10-kubeadm.conf", ""),
        "kubectl": ("", ""),
    }
    made = [
        _Package(name, version, depends, (
            (f"usr/bin/{name}", machine / name), *([(f"{systemd}/{unit}", payload.UNITS[unit])] if unit else []),
        ))
        for name, (unit, depends) in own.items()
    ]  # fmt: skip
    cni = tuple((f"opt/cni/bin/{name}", plugins / name) for name in binaries.CNI.programs)
    newer = [_Package(name, f"{_NEWER}-{_REVISION}") for name in own]
    return (*made, *newer, _Package("kubernetes-cni", f"1.8.0-{_REVISION}", files=cni))


def _pack(place: Path, packages: tuple[_Package, ...]) -> None:
    for package in packages:
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            root = Path(scratch) / package.name
            for target, source in package.files:
                (root / target).parent.mkdir(parents=True, exist_ok=True)
                if isinstance(source, Path):
                    shutil.copy(source, root / target)
                else:
                    (root / target).write_text(source)
            (root / "DEBIAN").mkdir(parents=True)
            (root / "DEBIAN" / "control").write_text(_control(package))
            output("dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", str(root), str(place))
    _sign(place)


def _control(package: _Package) -> str:
    fields = {
        "Package": package.name, "Version": package.version, "Architecture": "amd64", "Section": "admin",
        "Maintainer": "cpcd's tests <root@localhost>", "Depends": package.depends, "Description": package.name,
    }  # fmt: skip
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def _sign(place: Path) -> None:
    """Make a flat repository of a directory of packages: its index, signed, and the key that verifies it."""
    sha256 = [word for each in ("MD5", "SHA1", "SHA512") for word in ("-o", f"APT::FTPArchive::{each}=false")]
    for verb in ("packages", "release"):
        index = output("apt-ftparchive", *sha256, verb, ".", cwd=place)
        (place / verb.title()).write_bytes(index)
    with signing("ed25519") as (gpg, _):
        output(*gpg, "--clearsign", "--output", "InRelease", "Release", cwd=place)
        (place / KEY).write_bytes(output(*gpg, "--armor", "--export"))


@contextmanager
def signing(algorithm: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Make a key that exists in this block alone; return how gpg is called, and gpg's home."""
    with tempfile.TemporaryDirectory() as home:
        gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback")
        output(*gpg, "--quick-generate-key", "packages", algorithm, "sign", "never")
        try:
            yield gpg, home
        finally:
            output("gpgconf", "--homedir", home, "--kill", "all")


def output(*argv: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> bytes:
    """Return what a program printed; raises RuntimeError with its words where it failed."""
    done = subprocess.run(argv, capture_output=True, check=False, cwd=cwd, env=env)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {done.stderr.decode(errors='replace')[-4000:].strip()}")
    return done.stdout
