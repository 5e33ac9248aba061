"""What cpcd must read off a transcript that shows a value: members, files, units, versions.

Each value is taken from another part of the evidence than cpcd reads where there is one (etcdctl's table beside its
JSON, `SubState` beside `ActiveState`, `extended_status` beside `status`), else by a plain pattern.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.contract.guest_replay.transcript import Transcript

__all__ = ["FILES", "UNITS", "Unit", "json_line", "paths", "shape", "unit", "value"]

# cpcd's fact -> the file that kubeadm writes
FILES: Final = {
    "admin_conf": "/etc/kubernetes/admin.conf",
    "kubelet_conf": "/etc/kubernetes/kubelet.conf",
    "bootstrap_conf": "/etc/kubernetes/bootstrap-kubelet.conf",
    "pki": "/etc/kubernetes/pki/ca.crt",
    "etcd_data": "/var/lib/etcd/member",
    "etcd": "/etc/kubernetes/manifests/etcd.yaml",
    "kube-apiserver": "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "kube-controller-manager": "/etc/kubernetes/manifests/kube-controller-manager.yaml",
    "kube-scheduler": "/etc/kubernetes/manifests/kube-scheduler.yaml",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """What a note says of a transient unit: was it begun, did its program leave a result, is this the same boot."""

    note: str
    state: str
    result: bool = False
    begun: bool = True
    same_boot: bool = True


# `RemainAfterExit`, `--collect` and `stop` change what systemctl shows, not what became of the job.
UNITS: Final = (
    Unit(r"while it runs|before a reboot", "running"),
    Unit(r"unknown unit", "absent", begun=False),
    Unit(r"after the reboot", "lost", same_boot=False),
    Unit(r"killed|exceeded|failing|fails|reset-failed", "lost"),
    Unit(r"ended|stop clears", "done", result=True),
)


def unit(transcript: Transcript) -> Unit | None:
    """Return what the note says of the unit."""
    return next((row for row in UNITS if re.search(row.note, transcript.note)), None)


def shape(members: list[tuple[bool, bool]]) -> str:
    """Return how many voters and learners have started and have not, from pairs (started, learner)."""
    names = {(True, False): "voters", (False, False): "unstarted voters", (True, True): "learners", (False, True): "unstarted learners"}  # fmt: skip
    counts = {name: members.count(pair) for pair, name in names.items()}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def json_line(transcript: Transcript, key: str) -> str:
    """Return the line of stdout that is whole JSON with this key, empty where there is none."""
    lines = (line for line in transcript.out.splitlines() if line[:1] in {"[", "{"} and f'"{key}"' in line)
    return next(filter(_whole, lines), "")


def _whole(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _members(transcript: Transcript) -> str | None:
    rows = re.findall(r"^\| [0-9a-f]+ \| +(started|unstarted) \|.*\| +(true|false) \|$", transcript.out, re.MULTILINE)
    if rows:
        return shape([(started == "started", learner == "true") for started, learner in rows])
    listed = json_line(transcript, "members")
    if not listed:
        return None
    return shape([("name" in member, member.get("isLearner") is True) for member in json.loads(listed)["members"]])


def _leader(transcript: Transcript) -> str | None:
    status = json_line(transcript, "Status")
    if not status:
        return None
    return "leader" if re.search(r'"leader":[1-9]', status) else "no leader"


def _health(transcript: Transcript) -> str:
    healthy = transcript.out.count('"health":true')
    return f"{healthy} healthy"


def _snapshot(transcript: Transcript) -> str | None:
    row = re.search(r"^\| ([0-9a-f]+) +\| +(\d+) \|", transcript.out, re.MULTILINE)
    if row:
        return f"{row[1]} at {row[2]}"
    status = re.search(r'^{"hash":(\d+),"revision":(\d+)', transcript.out, re.MULTILINE)
    return f"{int(status[1]):08x} at {status[2]}" if status else None


def _transfer(transcript: Transcript) -> str | None:
    """Whoever asked first and was no leader: it is what came of it that counts, for cpcd names all endpoints."""
    return "ok" if re.search(r"^Leadership transferred", transcript.out, re.MULTILINE) else None


def _service(transcript: Transcript) -> str:
    """`SubState`, else (cpcd does not ask for it) `ActiveState`."""
    seen = re.findall(r"SubState=(\S+)", transcript.out) or re.findall(
        r"^ActiveState=(\S+)", transcript.out, re.MULTILINE
    )
    return " ".join("active" if state in {"running", "active"} else "inactive" for state in seen)


def _cloud_init(transcript: Transcript) -> str | None:
    """The extended status, else (it has none where it is plain text) the status; `not started` and `not run` will run."""
    found = re.search(r'"?extended_status"?: "?([^"\n]+)', transcript.out)
    found = found or re.search(r'^ *"?status"?: "?([^"\n]+)', transcript.out, re.MULTILINE)
    words = ["running" if word == "not" else word for word in found[1].split()] if found else []
    return next((word for word in ("error", "running", "done", "disabled") if word in words), None)


def paths(transcript: Transcript) -> set[str]:
    """Return the files that are there: named as present, or found."""
    if "echo present" in transcript.argv:
        return set(re.findall(r"^present (\S+)$", transcript.out, re.MULTILINE))
    return set(re.findall(r"^(/etc/kubernetes/\S+)$", transcript.out, re.MULTILINE))


def _files(transcript: Transcript) -> str:
    there = paths(transcript)
    return " ".join(sorted(name for name, path in FILES.items() if path in there)) or "none"


def _readyz(transcript: Transcript) -> str | None:
    """Return what curl was told to print, else what /readyz says itself."""
    found = re.search(r"http=(\d+)|^(\d{3})$", transcript.out, re.MULTILINE)
    if found:
        return str(int(found[1] or found[2]))
    said = re.search(r"^(?:ok|readyz check (?:passed|failed))$", transcript.out, re.MULTILINE)
    return ("500" if said[0].endswith("failed") else "200") if said else None


def _unit(transcript: Transcript) -> str | None:
    said = unit(transcript)
    return said.state if said else None


def _first(pattern: str) -> Callable[[Transcript], str | None]:
    def find(transcript: Transcript) -> str | None:
        found = re.search(pattern, transcript.out, re.MULTILINE)
        return found[1] if found else None

    return find


def _modules(transcript: Transcript) -> str:
    names = ("overlay", "br_netfilter")
    return " ".join(name for name in names if re.search(rf"^{name}\b", transcript.out, re.MULTILINE)) or "none"


def _addresses(transcript: Transcript) -> str | None:
    """Every global one, as the links stand."""
    return " ".join(re.findall(r'"local": ?"([0-9a-f.:]+)"[^}]*"scope": ?"global"', transcript.out)) or None


_VERSION: Final = _first(r"v?(\d+\.\d+\.\d+)")
_UUID: Final = _first(r"^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")
_VALUES: Final[Mapping[str, Callable[[Transcript], str | None]]] = {
    "members": _members,
    "leader": _leader,
    "health": _health,
    "snapshot": _snapshot,
    "move-leader": _transfer,
    "unit": _unit,
    "service": _service,
    "cloud-init": _cloud_init,
    "files": _files,
    "readyz": _readyz,
    "machine-id": _first(r"^([0-9a-f]{32})$"),
    "product-uuid": _UUID,
    "boot-id": _UUID,
    "modules": _modules,
    "holds": lambda transcript: " ".join(transcript.out.split()) or "none",
    "containerd": _VERSION,
    "kubelet": _VERSION,
    "kubeadm": _VERSION,
    "kubectl": _VERSION,
    "addresses": _addresses,
}


def value(kind: str, transcript: Transcript) -> str | None:
    """Return the value that a transcript shows, None for a kind that shows none or when there is none to see."""
    try:
        return _VALUES[kind](transcript) if kind in _VALUES else None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # JSON of another form shows none
        return None
