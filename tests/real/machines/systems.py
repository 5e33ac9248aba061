"""The operating systems that `prepare` is played on: Debian as it is, and Debian with the package managers of two others.

Rocky Linux and openSUSE cannot be had here. What is tested of their part of the playbook is what dnf and zypper, as Debian
packages them, make of it, on a machine that says it is Rocky or Leap; SELinux and firewalld are not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.real import binaries
from tests.real.machines import archive, image, rpm_archive
from tests.real.machines.image import Image
from tests.real.machines.network import REPOSITORY

__all__ = ["System", "debian", "rocky_and_leap"]

_KUBERNETES: Final = f"core:/stable:/v{binaries.KUBERNETES.rpartition('.')[0]}"
_APT: Final = """
cat > /etc/apt/keyrings/tests.asc <<'END'
{key}END
rm -f /etc/apt/sources.list.d/*
echo 'deb [signed-by=/etc/apt/keyrings/tests.asc] http://{address}/{suite} ./' > /etc/apt/sources.list
"""
_RPM: Final = """
printf '%s\\n' '[main]' gpgcheck=1 best=True skip_if_unavailable=False > /etc/dnf/dnf.conf  # as Rocky's
mkdir -p /etc/rpm
echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros  # Debian's has one for each user
rm /etc/os-release
printf '%s\\n' 'NAME="{name}"' 'ID="{id}"' 'VERSION_ID="{version}"' > /etc/os-release
mkdir -p {directory}
printf '%s\\n' '[base]' 'name=base' 'baseurl=http://{address}/distribution' enabled=1 gpgcheck=1 repo_gpgcheck=1 \\
  'gpgkey=http://{address}/distribution/{key}' > {directory}/base.repo
cat > /tmp/base.key <<'END'
{trusted}END
rpm --import /tmp/base.key
"""


@dataclass(frozen=True, slots=True)
class System:
    """What a machine starts with; `repositories` and keys are served by path, `script` lets it install from them and no others."""

    image: Image
    repositories: Mapping[str, Path]
    script: str


def debian() -> dict[str, System]:
    """Return Debian 12 and 13, made first where they are not there yet."""
    made = {}
    for suite in image.SUITES:
        disk = image.made(suite=suite)
        packages = archive.debian(disk.disk, suite)
        script = _APT.format(key=(packages / archive.KEY).read_text(), address=REPOSITORY, suite=suite)
        made[suite] = System(disk, {suite: packages, f"{_KUBERNETES}/deb": archive.kubernetes()}, script)
    return made


def rocky_and_leap() -> dict[str, System]:
    """Return what says it is Rocky Linux, and openSUSE Leap, made first where it is not there yet."""
    suite = image.SUITES[0]
    disk, debs = (
        image.made(suite=suite, besides=image.PACKAGE_MANAGERS),
        archive.debian(image.made(suite=suite).disk, suite),
    )
    own, docker = rpm_archive.distribution(debs), rpm_archive.docker(debs)
    repositories = {
        "distribution": own, "linux/centos/9/x86_64/stable": docker, "linux/centos/gpg": docker / rpm_archive.KEY,
        f"{_KUBERNETES}/rpm": rpm_archive.kubernetes(),
    }  # fmt: skip

    def system(id_: str, name: str, version: str, directory: str) -> System:
        script = _RPM.format(
            id=id_, name=name, version=version, directory=directory, address=REPOSITORY, key=rpm_archive.KEY,
            trusted=(own / rpm_archive.KEY).read_text(),
        )  # fmt: skip
        return System(disk, repositories, script)

    return {
        "dnf": system("rocky", "Rocky Linux", "9.6", "/etc/yum.repos.d"),
        "zypper": system("opensuse-leap", "openSUSE Leap", "16.0", "/etc/zypp/repos.d"),
    }
