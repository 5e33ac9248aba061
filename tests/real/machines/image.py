"""The machines' operating system: a Debian root made by mmdebstrap, as a disk image with its kernel and initrd beside.

Everything comes from Debian's archive, verified by its signatures; what it is made of is below, and its digest is part
of the cache's name. Needs root and the programs that `tools.sh` installs. `python -m tests.real.machines.image` makes it.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.real import binaries
from tests.real.cache import alone, cache, say
from tests.real.machines import oci, payload
from tests.real.machines.network import NETWORK

__all__ = ["GIB", "PACKAGE_MANAGERS", "SUITES", "Image", "made"]

SUITES: Final = ("bookworm", "trixie")
SUITE: Final = "trixie"  # where nothing else is said
GIB: Final = 4  # size of the disk, most of which is a hole
PACKAGES: Final = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "mount", "util-linux", "e2fsprogs",  # a system
    "linux-image-cloud-amd64", "initramfs-tools", "iproute2", "iputils-ping", "netbase", "ca-certificates", "less",
    "cloud-init", "cloud-guest-utils", "qemu-guest-agent", "openssh-server", "sudo", "python3", "python3-apt",  # a template
)  # fmt: skip
PACKAGE_MANAGERS: Final = (
    "dnf",
    "zypper",
    "gpg",
    "openssl",
    "curl",
)  # what makes of a Debian a machine that packages for rpm go on
# An initrd with the disk's driver alone: unpacking one with every driver takes an emulated processor seconds.
BEFORE: Final = """
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
echo MODULES=list > "$1/etc/initramfs-tools/conf.d/machine"
printf '%s\\n' virtio_pci virtio_scsi sd_mod > "$1/usr/share/initramfs-tools/modules.d/machine"
"""
# One type of host key, since RSA takes an emulated processor seconds; no timers, since there is nobody to fetch from; and
# what systemd does at the first boot after an update (ldconfig, the journal's catalog) is done, as on any disk in use.
AFTER: Final = """
: > "$1/etc/machine-id"
rm -f "$1"/etc/ssh/ssh_host_*
echo localhost > "$1/etc/hostname"
echo 'LABEL=root / ext4 defaults 0 1' > "$1/etc/fstab"
printf '%s\\n' 'datasource_list: [NoCloud, None]' 'ssh_genkeytypes: [ed25519]' > "$1/etc/cloud/cloud.cfg.d/90_machine.cfg"
touch "$1/etc/.updated" "$1/var/.updated"
chroot "$1" systemctl enable systemd-networkd
chroot "$1" systemctl disable systemd-networkd-wait-online
chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
"""
# What is done besides: Debian 12's cloud-init calls it an error that there is no program to set a locale with.
BESIDES: Final = {"bookworm": """echo 'locale: false' > "$1/etc/cloud/cloud.cfg.d/91_locale.cfg"\n"""}
RESOLVER: Final = f"nameserver {NETWORK}.1\n"  # refuses at once, where one that is out of reach is waited for


@dataclass(frozen=True, slots=True)
class Image:
    """What a machine boots from; `disk` is raw."""

    disk: Path
    kernel: Path
    initrd: Path


def made(*, suite: str = SUITE, kubernetes: bool = False, besides: tuple[str, ...] = ()) -> Image:
    """Return the plain image of a Debian, or the one with Kubernetes in it, made first where it is not there yet.

    `besides` are packages that the plain one has, too.

    Some two minutes, and ten more to build Kubernetes. Raises RuntimeError with the reason.
    """
    packages = (*PACKAGES, *payload.PACKAGES) if kubernetes else (*PACKAGES, *besides)
    recipe = repr((suite, GIB, packages, BEFORE, _after(suite), RESOLVER)) + (_contents() if kubernetes else "")
    place = cache() / f"debian-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    image = Image(place / "disk.raw", place / "vmlinuz", place / "initrd")
    with alone(place):
        if not image.disk.exists():
            _make(place, image, suite, packages, payload.install if kubernetes else lambda _: None)
    return image


def _after(suite: str) -> str:
    return AFTER + BESIDES.get(suite, "")


def _contents() -> str:
    """Return what the second image depends on: how it is made and, by their names, the programs in it."""
    families = (binaries.CONTROL_PLANE, binaries.ETCD, binaries.CNI, binaries.COREDNS, binaries.FLANNELD, binaries.OWN)
    how = [Path(module.__file__ or "").read_text() for module in (oci, payload)]
    return "".join([*how, repr(payload.UNITS), *(binaries.made(family).name for family in families)])


def _make(place: Path, image: Image, suite: str, packages: tuple[str, ...], install: Callable[[Path], None]) -> None:
    """Make all three; the disk, which comes last, is put in place whole."""
    began = time.monotonic()
    say(f"making a root of Debian {suite} …")
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        root, disk = Path(scratch) / "root", Path(scratch) / "disk.raw"
        # In a mount namespace: what it mounts below the root goes with it, however it ends.
        _run("unshare", "--mount", "mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", f"--essential-hook={BEFORE}",
             f"--customize-hook={_after(suite)}", suite, str(root))  # fmt: skip
        (root / "etc/resolv.conf").write_text(RESOLVER)
        install(root)
        for target, found in ((image.kernel, "vmlinuz-*"), (image.initrd, "initrd.img-*")):
            shutil.copyfile(next((root / "boot").glob(found)), target)
        say(f"a root after {time.monotonic() - began:.0f} s; making a disk of it …")
        _run("mkfs.ext4", "-q", "-L", "root", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", str(root), str(disk),
             f"{GIB}G")  # fmt: skip
        disk.replace(image.disk)
    say(f"made {image.disk} in {time.monotonic() - began:.0f} s")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {done.stderr[-4000:].strip()}")


def main() -> None:
    """Make what the named parts of the tier boot, and install from, and have the emulator.

    `boot`, `ansible` and `rpm` have plain machines, `cni` none, and all others some with Kubernetes.
    """
    from tests.real.machines import emulator, systems  # which asks for images

    parts = set(sys.argv[1:])
    try:
        if parts - {"cni"}:
            emulator.made()
        if "boot" in parts:
            made()
        if "ansible" in parts:
            systems.debian()
        if "rpm" in parts:
            systems.rocky_and_leap()
        if parts - {"boot", "ansible", "rpm", "cni"}:
            made(kubernetes=True)
    except (OSError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
