"""The verbs around kubeadm: init, join, reset and the secrets of a join.

A token, certificate key or private key never stands in argv: configurations go through 0600 files on tmpfs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cpcd.guest.etcd import member_list
from cpcd.guest.machine import JSON, KUBERNETES, STATE, VOLATILE, Machine, Refused

UPLOADED: Final = (("kube-system", "kubeadm-config"), ("kube-public", "cluster-info"))
CONTROL_PLANE: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")


def ca_hash(machine: Machine) -> str:
    """Return `sha256:…` of the CA's public key as kubeadm pins it (recorded [240])."""
    path = str(machine.path(f"{KUBERNETES}/pki/ca.crt"))
    pem = machine.checked("ca_hash", ["openssl", "x509", "-noout", "-pubkey", "-in", path])
    import hashlib

    body = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
    return "sha256:" + hashlib.sha256(base64.b64decode(body)).hexdigest()


def join_secrets(machine: Machine, given: JSON, _op: str) -> JSON:
    """Mint a bootstrap token and, for a control plane, upload the certificates: fresh for each join (K01, K08)."""
    token = machine.checked("join_secrets", ["kubeadm", "token", "create", "--ttl", str(given["ttl"])]).split()[-1]
    key = ""
    if given["control_plane"]:  # the key is the last line of stdout, recorded [244]
        key = machine.checked("join_secrets", ["kubeadm", "init", "phase", "upload-certs", "--upload-certs"]).split()[
            -1
        ]
    return {"token": token, "ca_hash": ca_hash(machine), "certificate_key": key}


def kubeconfig(machine: Machine, _given: JSON, _op: str) -> JSON:
    """Return the administrator's kubeconfig and the CA's hash."""
    text = machine.read(f"{KUBERNETES}/admin.conf")
    if not text:
        raise Refused("Failed", "there is no /etc/kubernetes/admin.conf")
    return {"kubeconfig": text + "\n", "ca_hash": ca_hash(machine)}


@contextlib.contextmanager
def secret_file(machine: Machine, text: str) -> Iterator[str]:
    """Yield the path of a 0600 file on tmpfs that is gone afterwards."""
    directory = machine.path(VOLATILE)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    import tempfile

    descriptor, path = tempfile.mkstemp(dir=directory, suffix=".yaml")
    try:
        os.write(descriptor, text.encode())
        os.close(descriptor)
        yield path
    finally:
        Path(path).unlink()


def place(machine: Machine, manifests: Mapping[str, str]) -> None:
    """Write static pods' manifests and kubeadm's patches; only below /etc/kubernetes."""
    for path, text in manifests.items():
        # The path comes over the wire, and root writes there.
        if os.path.normpath(path) != path or not path.startswith(f"{KUBERNETES}/"):
            raise Refused("InvalidInput", f"manifest {path} is not below {KUBERNETES}")
        machine.write(path, text)


def half_made(machine: Machine) -> bool:
    """Return whether an earlier init of ours, and nothing else, left traces here.

    Only then are preflight findings ignored: a repeated init keeps CA and data and finishes (recorded [177, 187, 188]).
    """
    begun = [file.read_text() for file in machine.path(f"{STATE}/ops").glob("*/verb")]
    traces = [f"{KUBERNETES}/manifests/{name}.yaml" for name in CONTROL_PLANE]
    traces += [f"{KUBERNETES}/admin.conf", f"{KUBERNETES}/kubelet.conf", "/var/lib/etcd/member"]
    ours = begun.count("init") > 1 and "join" not in begun  # this op is one of them
    return ours and any(machine.path(trace).exists() for trace in traces)


def init(machine: Machine, given: JSON) -> JSON:
    """Make the first control plane; may be repeated over what an init of ours left half made.

    A manifest that mounts super-admin.conf (kube-vip needs it until RBAC is there, `failures.md` K07) is switched to
    admin.conf at the end. Whether that made a cluster is for the caller to judge, by its voters and by the ConfigMaps
    of its late phases: an exit code is not enough (recorded [173, 185]).
    """
    ignore = ["--ignore-preflight-errors=all"] if half_made(machine) else []
    manifests = given.get("manifests") or {}
    # Before init, which waits for the endpoint: the address is kube-vip's to announce (docs/adr/0007).
    place(machine, manifests)
    with secret_file(machine, given["config"]) as config:
        # Without a limit of ours: kubeadm has its own for each phase (4 min for the control plane), and cut off it
        # leaves more to mend.
        machine.checked("init", ["kubeadm", "init", "--config", config, *ignore], timeout=None)
    # RBAC is there now. super-admin.conf goes past it, and this machine alone has one.
    place(machine, {path: text.replace("super-admin.conf", "admin.conf") for path, text in manifests.items()})
    config_maps: list[str] = []
    asking = threading.Thread(target=lambda: config_maps.extend(uploaded(machine)))
    asking.start()  # beside the rest: on a small machine each of these programs takes seconds to begin
    voters = [member for member in member_list(machine) if not member.get("isLearner")]
    result = {"ca_hash": ca_hash(machine), "voters": len(voters), "config_maps": config_maps}
    asking.join()
    return result


def uploaded(machine: Machine) -> list[str]:
    """Return which ConfigMaps of the late phases of init are there, none if they cannot be asked for.

    By their address: asked for by kind, a young API server first describes all its kinds, which takes it a second or two.
    """
    kubectl = ["kubectl", "--kubeconfig", f"{KUBERNETES}/admin.conf", "--request-timeout=30s"]
    ran = machine.run([*kubectl, "get", "--raw", "/api/v1/configmaps"])
    listed = json.loads(ran.out)["items"] if ran.rc == 0 else []
    found = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in listed}
    return [name for namespace, name in UPLOADED if (namespace, name) in found]


def join(machine: Machine, given: JSON) -> JSON:
    """Join as the given JoinConfiguration says; findings are never ignored, a half-joined machine is reset first."""
    place(machine, given.get("manifests") or {})
    with secret_file(machine, given["config"]) as config:
        machine.checked("join", ["kubeadm", "join", "--config", config], timeout=None)
    return {}


def reset(machine: Machine, _given: JSON) -> JSON:
    """Undo init or join, with what `kubeadm reset` leaves; destroys local etcd data, quorum or not (recorded [370])."""
    machine.checked("reset", ["kubeadm", "reset", "-f"], timeout=None)
    own = [f"{KUBERNETES}/{name}" for name in ("manifests", "tmp")]
    for left in ("/etc/cni/net.d", "/root/.kube", "/var/lib/etcd", *own):
        for entry in machine.path(left).glob("*"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return {}
