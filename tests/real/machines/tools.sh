#!/bin/sh
# Install the Debian packages that the machine tier drives, where one of its programs is missing.
set -eu
for program in qemu-img mmdebstrap genisoimage mkfs.ext4 ip setpriv git gcc apt-ftparchive gpg gpg-agent \
    rpmbuild createrepo_c debugfs journalctl; do
  command -v "$program" > /dev/null || missing="${missing:-} $program"
done
[ -n "${missing:-}" ] || exit 0
echo "missing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends \
  qemu-utils mmdebstrap genisoimage e2fsprogs iproute2 util-linux git gcc libc6-dev \
  debian-archive-keyring apt-utils gpg gpg-agent rpm createrepo-c systemd
