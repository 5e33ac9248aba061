"""The words of a failure: from the texts of kubeadm, etcdctl, package managers and ssh to one closed list of reasons.

Most of these have no codes (rc is 1 for everything), so that the stable texts are the codes. Travels in the bundle, and
is used by `adapters/playbooks` for Ansible's messages. It must never let a secret into a message.
"""

from __future__ import annotations

import re
from typing import Final

# kubeadm, etcdctl and apt have no codes (rc is 1 for everything), so their stable texts are the codes. First match wins;
# the texts are recorded (a number is the line's), stand in `failures.md` or, of dnf and zypper, in the tests. `|` before a
# reason: for etcd verbs only.
_RULES: Final = (
    ("busy", r"another operation holds the machine"),
    ("DiskFull", r"[Nn]o space left on device|don't have enough free space|No usable temporary directory found"),
    ("DiskFull", r"Failure writing output to destination|more space on the \S+ filesystem"),  # curl's, and rpm's
    (
        "PackageManagerLocked",
        r"Could not get lock|Unable to acquire the dpkg frontend lock|dpkg frontend lock was locked",
    ),
    ("PackageManagerLocked", r"System management is locked"),  # zypper's
    ("DpkgInterrupted", r"dpkg was interrupted"),
    ("PackageMissing", r"Unable to locate package|Version '.*' for '.*' was not found|[Nn]o package matching"),
    ("PackageHeld", r"held broken packages|Held packages were changed"),
    (
        "RepositoryKey",
        r"EXPKEYSIG|NO_PUBKEY|is not signed|[Ss]ignature verification (?:error|failed)|Failed to validate GPG signature",
    ),
    (
        "MirrorUnreachable",
        r"Failed to fetch|Temporary failure resolving|does not have a Release file|urlopen error (?:\[Errno|timed out)",
    ),
    ("MirrorUnreachable", r"Failed to download |Download \(curl\) error|Valid metadata not found"),
    ("MirrorUnreachable", r"not found on medium|Timeout exceeded when accessing"),  # zypper's
    (
        "PackageMissing",
        r"No package \S+ available|No provider of |nothing provides ",
    ),  # as zypper says, too, of what it could not fetch
    (
        "NotRoot",
        r"\[ERROR IsPrivilegedUser\]|Missing sudo password|sudo: (?:a \w+ is required|not found)|not in the sudoers file",
    ),
    ("ImagePull", r"\[ERROR ImagePull\]"),
    ("RuntimeDown", r"\[ERROR CRI\]"),
    ("PreflightFilesPresent", r"\[ERROR (?:File|Dir)Available--"),
    ("PreflightPortInUse", r"\[ERROR Port-"),
    ("ApiUnreachable", r"\[ERROR \w+\]: .*\"https://\S+: dial tcp \S+ connect: "),  # upgrade plan, [357]
    ("Preflight", r"\[ERROR \w"),
    ("TokenUnknown", r"could not find a JWS signature|there is no JWS signed token"),
    ("TokenWrong", r"failed to verify JWS signature"),
    ("CaHashWrong", r"none of the public keys .* are pinned"),
    ("CertificateKeyWrong", r"cipher: message authentication failed"),
    ("CertificateSecretAbsent", r"secrets? \"kubeadm-certs\" (?:is forbidden|(?:was )?not found)"),
    ("CertificatesMissing", r"hosting a new control plane instance is not satisfied"),
    ("NameTaken", r"a Node with name .* already exists"),
    ("TooManyLearners", r"too many learner members"),
    ("PeerExists", r"Peer URLs already exists"),
    ("LearnerNotReady", r"can only promote a learner member which is in sync|the etcd member \w+ is not started"),
    ("EtcdUnhealthy", r"etcd cluster is not healthy|unhealthy cluster"),
    ("MemberNotFound", r"etcdserver: member not found"),
    ("NotLeader", r"no leader endpoint given"),
    ("SnapshotCorrupt", r"snapshot missing hash|fatal error: fault|snapshot file integrity check failed"),
    ("ClockSkew", r"certificate has expired or is not yet valid"),
    ("EtcdUnhealthy", r"phase check-etcd: "),  # also where it says no more than "context deadline exceeded"
    ("EndpointUnreachable", r"failed to request the cluster-info ConfigMap"),
    ("KubeletBootstrap", r"failed while waiting for TLS bootstrap"),
    ("KubeletUnhealthy", r"[Tt]he kubelet is not (?:running|healthy)|:10248/healthz' (?:returned|failed)"),
    ("VersionUnsupported", r"only supports deploying clusters with the control plane version"),
    ("InvalidConfig", r"strict decoding error|cannot unmarshal|unable to read config|couldn't load config"),
    ("InvalidConfig", r": Invalid value: |unknown configuration APIs|uses an old API spec"),
    ("InvalidInput", r"unknown (?:shorthand )?flag|unknown command|bad member ID arg|member ID is not provided"),
    ("NoQuorum", r"phase etcd-join: .*context deadline exceeded"),  # etcd gave no answer, [340]
    ("|EtcdDown", r":2379: connect: connection refused|no running etcd|open /etc/kubernetes/pki/etcd/\S+ no such file"),
    ("|NoQuorum", r"context deadline exceeded|etcdserver: no leader|etcdserver: request timed out"),
    ("ApiTimeout", r"context deadline exceeded|i/o timeout|Client\.Timeout exceeded|TLS handshake timeout"),
    (
        "ApiUnreachable",
        r"connect: connection refused|connect: no route to host|connect: network is unreachable|dial tcp: lookup |was refused",
    ),
)
_BY_RC: Final = {124: "Timeout", 127: "CommandMissing", 137: "Killed", -9: "Killed"}
_SIGKILL: Final = frozenset({137, -9})
_CAUSE: Final = re.compile(
    r"^\s*(?:[\d.]+ )?(?:error:|\[ERROR |\w*Error|E:|dpkg: error|fatal"
    r"|Download \(curl\) error|System management is locked|\[.*\] Valid metadata|- Signature|No provider of |Problem: |- nothing provides "
    r"|File '.*' not found on medium|installing package .* needs )"
)
_WARNING: Final = re.compile(r"^\s*(?:[\d.]+\s+)?(?:W\d{4} |\[WARNING )")
REASONS: Final = frozenset({"busy", "InvalidInput", "UnitFailed", "Internal", "Failed"}).union(
    _BY_RC.values(), (reason.lstrip("|") for reason, _ in _RULES)
)


def classify(verb: str, rc: int, stdout: str, stderr: str) -> str:
    """Return one of `REASONS` for a failed command's texts.

    The lines that name the cause come first: kubeadm also prints what it overcame (recorded [319]); etcdctl's cause
    stands in a warning (recorded [159]). Then everything but warnings. What was killed had no time to name its cause:
    whatever it printed is older.
    """
    if rc in _SIGKILL:
        return "Killed"
    etcd = verb.startswith("etcd")
    lines = [line for line in (stderr + "\n" + stdout).splitlines() if not _WARNING.match(line)]
    causes = [line for line in lines if _CAUSE.match(line)]
    for text in ("\n".join(lines),) if etcd else ("\n".join(causes), "\n".join(lines)):
        for reason, pattern in _RULES:
            if (etcd or reason[0] != "|") and re.search(pattern, text):
                return reason.lstrip("|")
    return _BY_RC.get(rc, "Failed")


_REST: Final = re.compile(r"(?m)^(dpkg: error .*:)\n\s+")  # dpkg says what is wrong on the line below
_SECRET: Final = re.compile(r"(?<!sha256:)\b(?:[0-9a-f]{64}|[a-z0-9]{6}\.[a-z0-9]{16})\b")


def words(rc: int, stdout: str, stderr: str) -> str:
    """Return the lines of a failure that carry its cause, without secrets, at most 2,000 characters."""
    lines = [line.strip() for line in _REST.sub(r"\1 ", stderr + "\n" + stdout).splitlines() if line.strip()]
    causes = [line for line in lines if _CAUSE.match(line)]
    return masked("; ".join(causes or lines[-5:] or [f"rc {rc}"]))[:2000]


def masked(text: str) -> str:
    """Return a text without bootstrap tokens, certificate keys and the like; kubeadm prints its token as it goes on."""
    return _SECRET.sub("<masked>", text)
