"""The long verbs that are not kubeadm's: prepare and etcd snapshots.

`prepare` is Ansible on real machines; modelled ones answer it as a verb.
"""

import hashlib
from pathlib import PurePosixPath
from typing import Any, Final

from cpcd.lab.guests.disk import Disk
from cpcd.lab.guests.failed import said
from cpcd.lab.guests.jobs import Program
from cpcd.lab.guests.kubeadm import until
from cpcd.lab.guests.machine import Machine
from cpcd.lab.provenance import recorded, source

__all__ = ["PROGRAMS", "etcd_running", "etcd_snapshot", "prepare"]

PROGRAMS: Final = ("kubeadm", "kubectl", "kubelet")
_KEPT: Final = 3
_CONTAINERD: Final = "1.7.27"  # parity.md 5.3 row 6


@source("parity.md 5.3")
def prepare(machine: Machine, given: dict[str, Any]) -> Program:
    """Install the packages of a version and leave the profile; output `{changed}`. Waits for cloud-init (G02)."""
    # cloud-init holds the lock of apt for as long as it installs (G02).
    yield from until(machine, "cloud-init", lambda: machine.cloud_init == "done", 600)
    packages = _packages(given)
    changed = machine.disk.prepared != given["profile"] or any(
        machine.disk.packages.get(name) != version for name, version in packages.items()
    )
    yield "packages", machine.durations.prepare if changed else machine.durations.prepared
    machine.disk.packages |= packages
    machine.disk.timezone = given["timezone"]
    yield "profile", 0.0
    machine.disk.prepared = str(given["profile"])
    return {"changed": changed}


def _packages(given: dict[str, Any]) -> dict[str, str]:
    """Return the versions that programs will report: those of kubeadm's trio are the cluster's."""
    version = str(given["version"]).removeprefix("v")
    wanted = given.get("packages") or {}
    named = dict(wanted) if isinstance(wanted, dict) else {}
    return {**dict.fromkeys(PROGRAMS, version), "containerd": str(named.get("containerd") or _CONTAINERD)}


@source("guest/etcd.py: in_etcd")
def etcd_running(machine: Machine, verb: str) -> None:
    """Refuse where no etcd runs."""
    disk: Disk = machine.disk
    if disk.cluster is None or disk.kubelet is None or not disk.cluster.etcd_up(disk.kubelet):
        raise said(verb, "no running etcd container and no etcdctl on this machine")


@recorded(415)
def etcd_snapshot(machine: Machine, given: dict[str, Any]) -> Program:
    """Save a snapshot on the machine; output `{path, hash, revision, size}`. It needs no quorum."""
    etcd_running(machine, "etcd_snapshot")
    yield "snapshot", machine.durations.snapshot
    # Again: it may have stopped while the snapshot was written.
    etcd_running(machine, "etcd_snapshot")
    assert machine.disk.cluster is not None, "etcd runs for a cluster"
    revision = machine.disk.cluster.store.objects.revision
    machine.disk.write(given["path"], f"snapshot of revision {revision}", machine.now)
    _thin_out(machine.disk, PurePosixPath(given["path"]))
    digest = hashlib.sha256(f"{machine.vmid}/{revision}".encode()).hexdigest()[:8]
    return {"path": given["path"], "hash": digest, "revision": revision, "size": 2_000_000 + revision * 900}


@source("guest/etcd.py: _thin_out")
def _thin_out(disk: Disk, newest: PurePosixPath) -> None:
    """Keep the newest of those that are named after the ops that made them."""
    made = {f"{name}.db" for name, op in disk.ops.items() if op.verb == "etcd_snapshot"}
    beside = [path for path in disk.files if (one := PurePosixPath(path)).parent == newest.parent and one.name in made]
    old = sorted((path for path in beside if path != str(newest)), key=lambda path: disk.files[path].written)
    for path in old[: -_KEPT + 1]:
        del disk.files[path]
