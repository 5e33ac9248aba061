"""The facts verb: what a decision needs to know about a machine, in one round trip.

Only observes. What is not there is empty; what is there and cannot be understood fails the verb, for unknown is not
absent.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cpcd.guest.kubeadm import ca_hash
from cpcd.guest.machine import JSON, KUBERNETES, STATE, Machine, Refused, boot_id


def cloud_init(machine: Machine) -> JSON:
    """Return `{status, detail}`; rc is ignored, it is 2 for a mere deprecation and while running (recorded [1006]).

    What it leaves at the end of its work in this boot is read first: the command is a program of half a second.
    """
    with contextlib.suppress(ValueError, KeyError, TypeError):
        if json.loads(machine.read("/run/cloud-init/result.json"))["v1"]["errors"] == []:
            return {"status": "done", "detail": ""}
    ran = machine.run(["cloud-init", "status", "--format", "json"])
    if ran.rc == 127:
        return {"status": "absent", "detail": ""}
    try:
        report = json.loads(ran.out)
    except ValueError:  # before cloud-init 22.3 there is no --format
        text = machine.run(["cloud-init", "status", "--long"]).out
        report = dict(re.findall(r"^(status|detail): *(.*)$", text, re.MULTILINE))
    status = report.get("status", "error")
    # `not run` and `not started`: it will.
    status = "running" if status.startswith("not ") else status
    return {"status": status, "detail": "; ".join(report.get("errors") or []) or report.get("detail", "")}


def modules(machine: Machine) -> list[str]:
    """Return which of the modules that Kubernetes needs are loaded or built in."""
    loaded = {line.split()[0] for line in machine.read("/proc/modules").splitlines()}
    names = ("overlay", "br_netfilter")
    return [name for name in names if name in loaded or machine.path(f"/sys/module/{name}").is_dir()]


def packages(machine: Machine) -> dict[str, str]:
    """Return the versions that the programs themselves report (baked images have no packages), empty where absent."""
    asked = {
        "kubelet": ["kubelet", "--version"],
        "kubeadm": ["kubeadm", "version", "-o", "short"],
        "kubectl": ["kubectl", "version", "--client"],
        "containerd": ["containerd", "--version"],
    }
    found = {name: re.search(r"\bv?(\d+\.\d+\.\d+)", machine.run(argv).out) for name, argv in asked.items()}
    return {name: match.group(1) if match else "" for name, match in found.items()}


def services(machine: Machine) -> dict[str, dict[str, bool]]:
    """Return `{active, enabled}` of kubelet and containerd."""
    result = {}
    for name in ("kubelet", "containerd"):
        text = machine.run(["systemctl", "show", name, "-p", "ActiveState,UnitFileState"]).out
        result[name] = {"active": "ActiveState=active" in text, "enabled": "UnitFileState=enabled" in text}
    return result


def kubeadm(machine: Machine) -> dict[str, JSON]:
    """Return which files of kubeadm are there; they are no proof of a finished init (recorded [173])."""
    files = {
        "admin_conf": "admin.conf",
        "kubelet_conf": "kubelet.conf",
        "bootstrap_conf": "bootstrap-kubelet.conf",
        "pki": "pki/ca.crt",
    }
    found: dict[str, JSON] = {name: machine.path(f"{KUBERNETES}/{file}").exists() for name, file in files.items()}
    found["ca_hash"] = authority(machine)
    found["etcd_data"] = machine.path("/var/lib/etcd/member").exists()
    found["manifests"] = sorted(file.stem for file in machine.path(f"{KUBERNETES}/manifests").glob("*.yaml"))
    return found


def authority(machine: Machine) -> str:
    """Return the hash of the CA that is here, empty where none is whole: init may be writing it, or was killed."""
    try:
        return ca_hash(machine)
    except (Refused, ValueError):
        return ""


def certificates(machine: Machine) -> dict[str, float]:
    """Return when each certificate ends (epoch seconds), by kubeadm's own names."""
    base = machine.path(f"{KUBERNETES}/pki")
    texts = {
        "-".join(file.relative_to(base).with_suffix("").parts): file.read_text(errors="replace")
        for file in base.rglob("*.crt")
    }
    for name in ("admin", "super-admin", "controller-manager", "scheduler"):
        kubeconfig = machine.read(f"{KUBERNETES}/{name}.conf")
        found = re.search(r"client-certificate-data: *(\S+)", kubeconfig)
        texts[f"{name}.conf"] = base64.b64decode(found.group(1)).decode() if found else ""
    for name in ("client", "server"):
        # Links that the kubelet turns to the newest pair when it rotates.
        texts[f"kubelet-{name}"] = machine.read(f"/var/lib/kubelet/pki/kubelet-{name}-current.pem")
    ends = {name: end_of(text) for name, text in texts.items()}
    return {name: end for name, end in ends.items() if end is not None}


# A validity: a SEQUENCE of two times, each a UTCTime or, from 2050 on, a GeneralizedTime (RFC 5280 4.1.2.5).
_VALIDITY: Final = re.compile(
    rb"\x30[\x1e\x20\x22](?:\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)"
)


def end_of(pem: str) -> float | None:
    """Return when the first certificate in a text ends, as epoch seconds, None where there is none that can be read.

    Not by openssl: a control plane has some seventeen, and to start a program for each took a busy machine ten seconds.
    """
    from datetime import datetime, timezone

    block = re.search(r"-----BEGIN CERTIFICATE-----(.+?)-----END", pem, re.DOTALL)
    try:
        found = _VALIDITY.search(base64.b64decode(block.group(1) if block else ""))
        short, long = found.groups() if found else (b"", b"")
        # Two digits of a year are of this century below 50, and of the last one from there on.
        text = long or (b"20" if short < b"50" else b"19") + short
        month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
        return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()  # noqa: UP017 - it is of 3.11
    except ValueError:
        return None


def addresses(machine: Machine) -> list[str]:
    """Return the global addresses of all interfaces but loopback."""
    listed = json.loads(machine.run(["ip", "-j", "addr"]).out or "[]")
    found = [entry for link in listed for entry in link.get("addr_info", ())]
    return [entry["local"] for entry in found if entry.get("scope") == "global"]


def prepared(machine: Machine) -> str:
    """Return the profile that the last successful prepare left here."""
    try:
        return str(json.loads(machine.read(f"{STATE}/prepared.json"))["profile"])
    except (ValueError, KeyError, TypeError):
        return ""


def root(machine: Machine) -> dict[str, int | None]:
    """Return the size in bytes of the root file system, and of the disk below it, None where that cannot be told."""
    place = machine.path("/")
    seen, device = os.statvfs(place), place.stat().st_dev
    known = machine.path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    return {"size": seen.f_blocks * seen.f_frsize, "disk": disk_of(known.resolve())}


def disk_of(device: Path) -> int | None:
    """Return the size in bytes of the whole disk below a block device of /sys, through partitions and device mapper.

    None where there is no such device (btrfs, ZFS, overlay), or where several are below it.
    """
    if (device / "partition").exists():
        return disk_of(device.parent)
    below = list((device / "slaves").glob("*"))
    if below:
        return disk_of(below[0].resolve()) if len(below) == 1 else None
    size = device / "size"
    return int(size.read_text()) * 512 if size.exists() else None  # in sectors of 512 bytes, whatever the disk's are


def api_port(manifest: str) -> int:
    """Return where the local API server listens: at the endpoint's port, as kubeadm writes into its manifest."""
    found = re.search(r"--secure-port=(\d+)", manifest)
    return int(found.group(1)) if found else 6443


def readyz(machine: Machine) -> int:
    """Return the HTTP status of the local API server's /readyz, 0 without an answer in 5 s, or where there is none."""
    manifest = machine.read(f"{KUBERNETES}/manifests/kube-apiserver.yaml")
    if not manifest:
        return 0
    import http.client  # with ssl a third of what the first call costs a small machine
    import ssl

    # Loopback on the machine itself, and only the number is used: the certificate proves nothing here.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", api_port(manifest), timeout=5, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


FACTS: Final[Mapping[str, Callable[[Machine], JSON]]] = {
    "hostname": lambda _: os.uname().nodename,
    "machine_id": lambda machine: machine.read("/etc/machine-id"),
    "boot_id": boot_id,
    "system_uuid": lambda machine: machine.read("/sys/class/dmi/id/product_uuid").lower(),
    "clock": lambda _: time.time(),
    "cloud_init": cloud_init,
    "swap": lambda machine: len(machine.read("/proc/swaps").splitlines()) > 1,
    "modules": modules,
    "packages": packages,
    "holds": lambda machine: machine.run(["apt-mark", "showhold"]).out.split(),
    "services": services,
    "kubeadm": kubeadm,
    "certificates": certificates,
    "prepared": prepared,
    "addresses": addresses,
    "readyz": readyz,
    "root": root,
}


def facts(machine: Machine, given: JSON, _op: str) -> JSON:
    """Return the facts that `names` names, or all there are; some start programs, which a busy machine feels."""
    return {name: FACTS[name](machine) for name in given.get("names") or FACTS}
