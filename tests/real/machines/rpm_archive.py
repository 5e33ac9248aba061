"""The repositories that dnf and zypper install from: packages with the files of Debian's and of Kubernetes' own.

Rocky's and openSUSE's packages cannot be had here, so that what stands in them is Debian's, and some have a name alone,
for files that the machine has already. Packages and indexes are signed, as on the real mirrors. Needs root and what
`tools.sh` installs. Next: `mirror.py`, which serves them; `archive.py` for where the files come from.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.real.machines import archive
from tests.real.machines.archive import digest, output, repository, signing

__all__ = ["KEY", "distribution", "docker", "kubernetes"]

KEY: Final = "repodata/repomd.xml.key"  # what verifies a repository, below it
NAMES: Final = ("ca-certificates", "gpg2", "openssl", "tzdata")  # whose files the machine has
_RUNTIME: Final = ("containerd", "runc")
# Nothing is looked for in the files: no dependency, no debug symbol.
_SPEC: Final = """
Name: {name}
Version: {version}
Release: {release}
Summary: {name}, for cpcd's tests
License: Apache-2.0
AutoReqProv: no
{requires}
%global debug_package %{{nil}}
%define _build_id_links none
%global __os_install_post %{{nil}}
%define _binary_payload w1.zstdio
%description
{name}
%install
cp -a {files}/. %{{buildroot}}/
%files
{listed}
"""


@dataclass(frozen=True, slots=True)
class _Package:
    """One package, and the Debian ones whose files it has."""

    name: str
    version: str
    release: str
    requires: str = ""
    debs: tuple[Path, ...] = ()


def kubernetes() -> Path:
    """Return a repository with the same packages and versions as that for apt, released as Kubernetes does."""
    made = []
    for deb in sorted(archive.kubernetes().glob("*.deb")):
        name, version = (
            output("dpkg-deb", "--field", str(deb), field).decode().strip() for field in ("Package", "Version")
        )
        requires = "kubernetes-cni" if name == "kubelet" else ""
        made.append(_Package(name, version.partition("-")[0], "150500.1.1", requires, (deb,)))
    return _made("kubernetes-rpm", made)


def distribution(debs: Path) -> Path:
    """Return what a distribution has of its own: names, and containerd with the files of Debian's, found in `debs`."""
    return _made("distribution-rpm", [*(_Package(name, "1", "1") for name in NAMES), _runtime("containerd", debs)])


def docker(debs: Path) -> Path:
    """Return Docker's, of which one package is wanted, with the files of Debian's, found in `debs`."""
    return _made("docker-rpm", [_runtime("containerd.io", debs)])


def _runtime(name: str, debs: Path) -> _Package:
    found = tuple(deb for each in _RUNTIME for deb in debs.glob(f"{each}_*.deb"))
    return _Package(name, found[0].name.split("_")[1].partition("~")[0], "1", debs=found)


def _made(name: str, packages: list[_Package]) -> Path:
    recipe = digest(repr(packages) + Path(__file__).read_text(encoding="utf-8"))
    return repository(f"{name}-{recipe}", lambda place: _fill(place, packages))


def _fill(place: Path, packages: list[_Package]) -> None:
    for package in packages:
        with tempfile.TemporaryDirectory() as scratch:
            _build(package, Path(scratch))
            for made in Path(scratch).glob("RPMS/*/*.rpm"):
                shutil.move(made, place)
    with signing("rsa3072") as (gpg, home):
        defined = [
            word
            for each in ("__gpg /usr/bin/gpg", "_gpg_name packages", f"_gpg_path {home}")
            for word in ("--define", each)
        ]
        output("rpmsign", *defined, "--addsign", *map(str, place.glob("*.rpm")))
        output("createrepo_c", "--quiet", str(place))
        output(*gpg, "--armor", "--detach-sign", "repomd.xml", cwd=place / "repodata")
        (place / KEY).write_bytes(output(*gpg, "--armor", "--export"))


def _build(package: _Package, scratch: Path) -> None:
    files = scratch / "files"
    files.mkdir()
    for deb in package.debs:
        output("dpkg-deb", "--extract", str(deb), str(files))
    if (files / "lib").is_dir():  # which is a link to that of usr on any system that installs it
        shutil.copytree(files / "lib", files / "usr" / "lib", dirs_exist_ok=True)
        shutil.rmtree(files / "lib")
    listed = "\n".join(f"/{path.relative_to(files)}" for path in sorted(files.rglob("*")) if not path.is_dir())
    spec = scratch / f"{package.name}.spec"
    spec.write_text(_SPEC.format(
        name=package.name, version=package.version, release=package.release, files=files, listed=listed,
        requires=f"Requires: {package.requires}" if package.requires else "",
    ))  # fmt: skip
    output("rpmbuild", "--quiet", "-bb", "--target", "x86_64", "--define", f"_topdir {scratch}", str(spec))
