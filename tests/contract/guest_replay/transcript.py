"""One recorded command, and which of cpcd's commands it is.

Only observes: nothing here knows what cpcd makes of a text. What a transcript deserves is in `deserved.py`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["KINDS", "Transcript", "kinds", "load"]


def _as_json(asked: str) -> str:
    """Return the pattern of an etcdctl that answers in JSON, to nobody but the recorder."""
    flag = r"(?:-w|--write-out)[ =]json\b"
    words, unread = rf"\b{asked}\b", r"(?![^;|]*\|(?!\|))"
    return rf"{words}[^;|&]*{flag}{unread}|{flag}[^;|&]*{words}{unread}"


# What cpcd's guest code runs or reads, by the command line; `killed` is a kubeadm that was killed on the way.
KINDS: Final = {
    "killed": r"kubeadm (?:init|join|upgrade)\b.*\bkill -9",
    "init": r"kubeadm init(?! phase (?!preflight|addon))",
    "join": r"kubeadm join\b",
    "reset": r"kubeadm reset(?! phase)",
    "secrets": r"kubeadm token create|kubeadm init phase upload-certs",
    "config": r"kubeadm config (?:validate|migrate)",
    "upgrade": r"kubeadm upgrade\b",
    "certs": r"kubeadm certs (?:check-expiration|renew)",
    "members": _as_json("member list"),
    "leader": _as_json("endpoint status"),
    "health": _as_json("endpoint health"),
    "remove": r"\bmember remove\b",
    "promote": r"\bmember (?:promote|add)\b",
    "move-leader": r"\bmove-leader\b",
    "snapshot": r"\bsnapshot (?:save|status)\b",
    "etcd read": r"\b(?:ectl|etcdctl) get\b",
    "unit start": r"systemd-run (?:-q )?(?:-u|--unit)",
    "unit": r"systemctl show (?!(?:containerd|kubelet|qemu-guest-agent|ssh)\b)[\w@.-]+ .*\bActiveState",
    "service": r"systemctl show (?:containerd|kubelet)\b[\w ]*-p \S*ActiveState",
    "lock": r"(?:^|[;&|(\n])\s*flock\b",  # not what a unit runs
    "packages": r"\bapt-get\b|\bdpkg -(?:i|r)\b|\bdpkg --configure\b",
    "cloud-init": r"\bcloud-init status\b",
    "files": r"echo present|find /etc/kubernetes -type f",
    "readyz": r"https://127.0.0.1:6443/readyz",
    "machine-id": r"^cat /etc/machine-id",
    "product-uuid": r"^cat /sys/class/dmi/id/product_uuid",
    "ssh": r"^ssh ",
    "boot-id": r"cat /proc/sys/kernel/random/boot_id",
    "modules": r"^lsmod",
    "holds": r"^apt-mark showhold",
    "containerd": r"^containerd --version",
    "kubelet": r"^kubelet --version",
    "kubeadm": r"^kubeadm version",
    "kubectl": r"^kubectl version --client",
    "addresses": r"^ip -j addr",
}
_WRAPPED: Final = re.compile(r"\$\((?:[^()]|\([^()]*\))*\)")
_HIDES: Final = {
    "killed": ("init", "join", "upgrade"),
    "packages": ("unit start",),
    "lock": ("unit start",),
    "move-leader": ("leader",),
    "ssh": ("boot-id",),
}


@dataclass(frozen=True, slots=True)
class Transcript:
    """One line of a recording; `intervention` is what somebody did by hand, and then nothing else is there."""

    seq: int
    group: str
    note: str
    machine: str
    argv: str
    rc: int | None
    out: str
    err: str
    intervention: str

    @property
    def said(self) -> str:
        """Everything that was printed, errors first."""
        return f"{self.err}\n{self.out}"

    @property
    def statuses(self) -> tuple[int, ...]:
        """What each `echo rc=$?` of the command line printed."""
        return tuple(int(number) for number in re.findall(r"^rc=(\d+)$", self.out, re.MULTILINE))

    @property
    def failed(self) -> bool:
        """Whether the command failed, also where a later one in the same shell hides it."""
        told = re.search(r"^\s*(?:[\d.]+ )?(?:error: |E: |Error: |\[ERROR )", self.said, re.MULTILINE)
        return bool(told) or self.rc not in {0, None} or any(self.statuses)


def load(file: Path) -> Iterator[Transcript]:
    """Yield a recording's transcripts; what a line lacks is empty. ValueError for no JSON, TypeError for no object.

    Lines end with a newline alone: JSON may hold every other character that Python takes for a line's end.
    """
    for number, text in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not text.strip():
            continue
        line = json.loads(text)
        if not isinstance(line, dict):
            raise TypeError(f"{file}, line {number}: no JSON object")
        argv = line.get("argv") or ""
        yield Transcript(
            seq=line.get("seq") or 0,
            group=_text(line.get("group")),
            note=_text(line.get("note")),
            machine=_text(line.get("machine")),
            argv=" ".join(map(str, argv)) if isinstance(argv, list) else str(argv),
            rc=rc if isinstance(rc := line.get("rc"), int) else None,
            out=_text(line.get("stdout")),
            err=_text(line.get("stderr")),
            intervention=_text(line.get("intervention")),
        )


def _text(value: object) -> str:
    """Return a text that can be written anywhere: half characters, which JSON can hold, are not."""
    return "" if value is None else str(value).encode(errors="replace").decode()


def kinds(transcript: Transcript) -> tuple[str, ...]:
    """Return which of cpcd's commands a transcript shows; what runs inside `$(…)` only feeds another command."""
    line = _WRAPPED.sub("", transcript.argv)
    found = [kind for kind, pattern in KINDS.items() if re.search(pattern, line, re.DOTALL)]
    if 137 not in {*transcript.statuses, transcript.rc}:  # it ended before the kill
        found = [kind for kind in found if kind != "killed"]
    hidden = {other for kind in found for other in _HIDES.get(kind, ())}
    return tuple(kind for kind in found if kind not in hidden)
