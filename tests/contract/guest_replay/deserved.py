"""What class a situation deserves: the one table, written from the recordings' own evidence and not from cpcd's code.

Evidence is the command line, the exit status, the note's words, and the keys that kubeadm and etcd print: where those
alone tell, they are the texts that cpcd looks for as well, and what is shown is that it finds them. Values that
cpcd only reads off (members, files, units) have their own rules in `evidence.py`. Classes are cpcd's reasons, `ok` and
`interrupted`. The command line comes first where it tells (which verb and phase, what is ignored, at what a kubeadm is
killed). Mostly it cannot: `kubeadm join --config /root/j.yaml` is the same line for a wrong token, a dead endpoint and
a Node that was deleted, the file's content is not recorded, and neither is every command that came before. There the
recorder's note is the one evidence of the situation that is not the output under test; the report counts how many
uses rest on which (`Rule.ground`).
"""

import re
from dataclasses import dataclass
from typing import Final

from tests.contract.guest_replay.transcript import Transcript

__all__ = ["ANY", "INTERRUPTED", "OK", "Rule", "deserved"]

OK: Final = "ok"
INTERRUPTED: Final = "interrupted"
ANY: Final = "any failure"  # it failed, and nothing in the evidence says more


@dataclass(frozen=True, slots=True)
class Rule:
    """Kinds (by comma), the class they deserve if note, argv and output match, and how the lab is put into that."""

    kinds: str
    deserves: str
    note: str = ""
    said: str = ""
    argv: str = ""
    lab: str = ""

    @property
    def ground(self) -> str:
        """What tells this situation from its neighbours: the weakest evidence that the rule looks at."""
        return "note" if self.note else "output" if self.said else "command line"

    def holds(self, kind: str, transcript: Transcript) -> bool:
        """Tell whether the evidence is this rule's."""
        if kind not in self.kinds.split(","):
            return False
        read = ((self.note, transcript.note), (self.said, transcript.said), (self.argv, transcript.argv))
        return all(not pattern or re.search(pattern, text, re.IGNORECASE | re.MULTILINE) for pattern, text in read)


# A kubeadm that was killed: SIGKILL leaves status 137, whatever had been done. The moment is what the command line
# waits for before it kills; the note is asked where that does not say it.
KILLED: Final[tuple[Rule, ...]] = (
    Rule("killed", INTERRUPTED, argv=r"kubeadm init.*until \[ -e /etc/kubernetes/pki/", lab="init killed: certs"),
    Rule("killed", INTERRUPTED, argv=r"kubeadm init.*wait-control-plane", lab="init killed: wait-control-plane"),
    Rule(
        "killed",
        INTERRUPTED,
        argv=r"kubeadm init.*until.*(?:upload-|bootstrap-token|addons)",
        lab="init killed: bootstrap-token",
    ),
    Rule("killed", INTERRUPTED, argv=r"kubeadm join.*until.*etcd", lab="control plane killed"),
    Rule("killed", INTERRUPTED, argv=r"kubeadm init", note=r"during certs", lab="init killed: certs"),
    Rule(
        "killed", INTERRUPTED, argv=r"kubeadm init", note=r"upload-config|bootstrap", lab="init killed: bootstrap-token"
    ),
    Rule("killed", INTERRUPTED, argv=r"kubeadm init", lab="init killed: wait-control-plane"),
    Rule("killed", INTERRUPTED, argv=r"kubeadm join", note=r"control-plane", lab="control plane killed"),
    Rule("killed", INTERRUPTED, argv=r"kubeadm join", lab="worker killed"),
    Rule("killed", INTERRUPTED),
)

ENDED_WELL: Final[tuple[Rule, ...]] = (
    Rule("init", OK, argv=r"kubeadm init\b.*--ignore-preflight-errors=all", lab="init repeated"),
    Rule("init", OK, note=r"after kill during certs", lab="init after certs"),
    Rule("init", OK, lab="init"),
    Rule("join", OK, note=r"control[- ]plane", lab="control plane joins"),
    Rule("join", OK, lab="worker joins"),
    Rule("reset", OK, note=r"clean machine", lab="reset: clean"),
    Rule("reset", OK, note=r"whose join failed", lab="reset: refused"),
    Rule("reset", OK, note=r"half-joined", lab="reset: half-joined"),
    Rule("reset", OK, note=r"killed join", lab="reset: killed worker"),
    Rule("reset", OK, note=r"healthy second", lab="reset: second control plane"),
    Rule("reset", OK, note=r"quorum|1 of 2|unreachable", lab="reset: no quorum"),
    Rule("reset", OK, lab="reset: control plane"),
    Rule("secrets", OK, argv=r"upload-certs", lab="secrets: control plane"),
    Rule("secrets", OK, lab="secrets: worker"),
    Rule("remove", OK, lab="member removed"),
    Rule("snapshot", OK, lab="snapshot saved"),
    Rule("unit start", OK, lab="submitted"),
    Rule("lock", OK, lab="submitted"),
    Rule("ssh", OK, note=r"reboot", lab="ssh: rebooted"),
    Rule("ssh", OK, lab="ssh"),
    Rule("config,upgrade,certs,packages,etcd read,promote", OK),
)

FAILED: Final[tuple[Rule, ...]] = (
    # configuration and arguments
    Rule("config,init", "VersionUnsupported", note=r"older than the minimum", lab="init: version too old"),
    Rule("config,init", "InvalidConfig", note=r"not semver", lab="init: version is a number"),
    Rule("config,init", "InvalidConfig", note=r"unknown field", lab="init: unknown field"),
    Rule("config,init", "InvalidConfig", note=r"bad (?:CIDR )?value", lab="init: bad CIDR"),
    Rule("config,init", "InvalidConfig", note=r"api version|v1beta\d", lab="init: api version"),
    Rule("join", "InvalidConfig", note=r"malformed", lab="join: malformed token"),
    Rule("secrets,certs,remove,reset", "InvalidInput", said=r"unknown (?:shorthand )?flag|unknown command"),
    # preflight: the note names what was put in the way
    Rule("init,join", "NotRoot", note=r"not root"),
    Rule("init,join", "RuntimeDown", note=r"runtime down", lab="init: runtime down"),
    Rule("init,join", "ImagePull", note=r"images absent", lab="init: images absent"),
    Rule("init,join", "PreflightPortInUse", note=r"ports? \d.*in use", lab="init: ports in use"),
    Rule("init", "PreflightFilesPresent", note=r"directory present", lab="init: manifests present"),
    Rule("init", "PreflightFilesPresent", note=r"without cleaning", said=r"\[ERROR", lab="init: after a kill"),
    Rule("init", "PreflightFilesPresent", note=r"second time|over a", said=r"\[ERROR", lab="init: second time"),
    Rule("join", "PreflightFilesPresent", note=r"again on a joined", lab="join: again"),
    Rule("join", "PreflightFilesPresent", note=r"Node was deleted", lab="join: Node deleted"),
    Rule("join", "PreflightFilesPresent", note=r"control-plane", said=r"\[ERROR File", lab="join: half-joined"),
    Rule("join", "PreflightFilesPresent", said=r"\[ERROR File", lab="join: after a kill"),
    Rule("init", "PreflightFilesPresent", said=r"\[ERROR (?:File|Dir)Available", lab="init: second time"),
    Rule("init,join", "NotRoot", said=r"\[ERROR IsPrivilegedUser\]"),
    Rule("init,join", "RuntimeDown", said=r"\[ERROR CRI\]", lab="init: runtime down"),
    Rule("init,join", "ImagePull", said=r"\[ERROR ImagePull\]", lab="init: images absent"),
    Rule("init,join", "PreflightPortInUse", said=r"\[ERROR Port-", lab="init: ports in use"),
    # a certificate that is no longer valid, or a clock that is wrong: whoever meets it says the same
    Rule(
        "init,join,reset,secrets,upgrade,members,leader,health,remove,promote,move-leader,etcd read,snapshot",
        "ClockSkew",
        said=r"certificate has expired or is not yet valid",
    ),
    # discovery
    Rule("join", "TokenUnknown", note=r"id unknown", lab="join: token unknown"),
    Rule("join", "TokenUnknown", note=r"token.*expired|expired.*token|ttl|after its end", lab="join: token expired"),
    Rule("join", "TokenUnknown", said=r"could not find a JWS signature", lab="join: token unknown"),
    Rule("join", "TokenWrong", note=r"secret wrong|wrong secret", lab="join: token wrong"),
    Rule("join", "TokenWrong", said=r"failed to verify JWS signature", lab="join: token wrong"),
    Rule("join", "CaHashWrong", note=r"CA.*hash|hash.*CA|wrong hash", lab="join: CA hash wrong"),
    Rule("join", "CaHashWrong", said=r"none of the public keys", lab="join: CA hash wrong"),
    Rule("join", "EndpointUnreachable", note=r"without a machine", lab="join: no machine"),
    Rule("join", "EndpointUnreachable", note=r"port closed", lab="join: port closed"),
    Rule("join", "EndpointUnreachable", note=r"cannot be resolved", lab="join: no such name"),
    Rule("join", "EndpointUnreachable", said=r"cluster-info ConfigMap: .*dial tcp: lookup", lab="join: no such name"),
    Rule("join", "EndpointUnreachable", said=r"cluster-info ConfigMap: .*refused", lab="join: port closed"),
    Rule("join", "EndpointUnreachable", said=r"request the cluster-info ConfigMap: ", lab="join: no machine"),
    # control plane
    Rule("join", "CertificatesMissing", note=r"without certificate key", lab="join: no key"),
    Rule("join", "CertificateSecretAbsent", note=r"kubeadm-certs|Secret absent", lab="join: no Secret"),
    Rule("join", "CertificateKeyWrong", note=r"certificate key", lab="join: key wrong"),
    Rule("join", "CertificatesMissing", said=r"hosting a new control plane instance", lab="join: no key"),
    Rule("join", "CertificateSecretAbsent", said=r'secrets "kubeadm-certs" is forbidden', lab="join: no Secret"),
    Rule("join", "CertificateKeyWrong", said=r"cipher: message authentication failed", lab="join: key wrong"),
    Rule("join", "NameTaken", note=r"\bname\b", said=r"phase kubelet-start", lab="join: name taken"),
    Rule("join", "NameTaken", said=r"phase kubelet-start: a Node with name", lab="join: name taken"),
    Rule(
        "join",
        "KubeletBootstrap",
        note=r"control-plane",
        said=r"phase kubelet-wait-bootstrap",
        lab="control plane slow",
    ),
    Rule("join", "KubeletBootstrap", said=r"phase kubelet-wait-bootstrap", lab="worker slow"),
    Rule("join", "EtcdUnhealthy", said=r"phase check-etcd", lab="join: dead voter"),
    Rule("join", "NoQuorum", said=r"phase etcd-join.*deadline", lab="join: quorum lost"),
    Rule("init,join,upgrade", "ApiUnreachable", said=r"(?:FATAL|\[ERROR \w+\]).*:\d+: connect: "),
    Rule("upgrade", "ApiTimeout", said=r"FATAL.*Client\.Timeout"),
    Rule("init", "ApiTimeout", said=r"phase addon.*context deadline exceeded", lab="init: API away"),
    Rule("init,join,upgrade", "Preflight", said=r"\[ERROR \w+\]"),
    # etcd; without certificates there is no etcd of kubeadm's here
    Rule("members,leader,etcd read", "NoQuorum", note=r"1 of 2 voters|without quorum"),
    Rule("members,leader,health", "EtcdDown", note=r"kill in wait", said=r":2379: connect: connection refused"),
    Rule("members,leader,health", "EtcdDown", said=r"open /etc/kubernetes/pki/etcd/\S+ no such file"),
    Rule("members,leader,health,etcd read,snapshot", "EtcdDown", said=r":2379: connect: connection refused"),
    Rule("remove", OK, note=r"unknown id", lab="member removed twice"),
    Rule("remove", OK, said=r"etcdserver: member not found", lab="member removed twice"),
    Rule("remove", "InvalidInput", said=r"bad member ID|ID is not provided", lab="member id empty"),
    Rule("promote", "LearnerNotReady", note=r"unstarted learner"),
    Rule("promote", "TooManyLearners", note=r"second learner|another learner", lab="join: second learner"),
    Rule("promote", "PeerExists", note=r"peer URL", lab="join: peer exists"),
    Rule("promote", "TooManyLearners", said=r"too many learner", lab="join: second learner"),
    Rule("promote", "PeerExists", said=r"Peer URLs already exists", lab="join: peer exists"),
    Rule("move-leader", "NotLeader", said=r"no leader endpoint"),
    Rule("remove", "NoQuorum", note=r"1 of 2|quorum", lab="remove: no quorum"),
    Rule("remove", "NoQuorum", said=r"context deadline exceeded", lab="remove: no quorum"),
    Rule("members,leader,etcd read,snapshot,promote", "NoQuorum", said=r"context deadline exceeded|no leader"),
    Rule("snapshot", "SnapshotCorrupt", note=r"truncated|blank"),
    # packages
    Rule("packages", "DiskFull", note=r"full disk|disk full|disk is full"),
    Rule("packages", "PackageManagerLocked", note=r"holds the lock|while held|lock.*held|another holds"),
    Rule("packages", "DpkgInterrupted", note=r"interrupted"),
    Rule("packages", "PackageMissing", note=r"unknown package"),
    Rule("packages", "MirrorUnreachable", note=r"without (?:any )?network"),
    Rule("packages", "PackageHeld", note=r"held package"),
    # units and locks
    Rule("unit start", OK, said=r"^Running as unit: ", lab="submitted"),  # what failed came after it
    Rule("unit start", "UnitFailed"),
    Rule("lock", "busy", lab="held"),
    Rule("ssh", "AuthFailed", said=r"Host key verification failed", lab="ssh: other host key"),
    Rule("ssh", "AuthFailed", said=r"Permission denied"),
    Rule("ssh", "Unreachable", note=r"reboot", lab="ssh: rebooting"),
    Rule("ssh", "Unreachable", said=r"Connection refused|No route|timed out|reset by peer", lab="ssh: no machine"),
    Rule("init,join,reset,secrets,config,upgrade,certs,remove,promote,etcd read,packages,snapshot", ANY),
    Rule("members,leader,ssh", ANY),
)


_SHOWN: Final = frozenset({"members", "leader", "move-leader"})  # no value was seen, so it failed


def deserved(kind: str, transcript: Transcript) -> Rule | None:
    """Return the first rule that holds for one of a transcript's kinds, None where a value is read instead."""
    ended = FAILED if transcript.failed or kind in _SHOWN else ENDED_WELL
    table = KILLED if kind == "killed" else ended
    return next((rule for rule in table if rule.holds(kind, transcript)), None)
