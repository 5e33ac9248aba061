"""Reasons: recorded texts of kubeadm, etcdctl, apt and dpkg come out as one closed list."""

import pytest

from cpcd.guest.machine import Ran
from cpcd.guest.reasons import REASONS, classify, words
from tests.unit.guest.recorded import recorded

RECORDED = [
    (61, "init", "InvalidConfig"),
    (63, "init", "InvalidConfig"),
    (64, "init", "InvalidConfig"),
    (72, "init", "InvalidConfig"),
    (73, "init", "VersionUnsupported"),
    (78, "init", "InvalidConfig"),
    (87, "init", "PreflightPortInUse"),
    (109, "init", "RuntimeDown"),
    (111, "prepare", "PackageManagerLocked"),
    (113, "prepare", "PackageManagerLocked"),
    (114, "prepare", "PackageManagerLocked"),
    (117, "init", "PreflightFilesPresent"),
    (125, "prepare", "DpkgInterrupted"),
    (127, "init", "NotRoot"),
    (130, "prepare", "PackageMissing"),
    (132, "prepare", "MirrorUnreachable"),
    (141, "init", "ImagePull"),
    (162, "etcd_members", "EtcdUnhealthy"),
    (189, "init", "PreflightFilesPresent"),
    (194, "etcd_members", "EtcdDown"),
    (212, "init", "ApiTimeout"),
    (234, "join_secrets", "InvalidInput"),
    (241, "join", "CertificatesMissing"),
    (242, "join", "CertificateSecretAbsent"),
    (248, "join", "TokenUnknown"),
    (249, "join", "TokenWrong"),
    (261, "etcd_members", "LearnerNotReady"),
    (265, "join", "EndpointUnreachable"),
    (272, "etcd_remove", "MemberNotFound"),
    (278, "join", "EndpointUnreachable"),
    (280, "join", "EndpointUnreachable"),
    (289, "join", "InvalidConfig"),
    (312, "join", "KubeletBootstrap"),
    (319, "join", "KubeletBootstrap"),
    (340, "join", "NoQuorum"),
    (343, "etcd_members", "NoQuorum"),
    (357, "upgrade", "ApiUnreachable"),
    (430, "join", "PreflightFilesPresent"),
]


# What dnf 4.14 (by Ansible's module) and zypper 1.14.59 said when they were put into each situation, in Debian 12.
SAID = {
    "PackageManagerLocked": [
        "System management is locked by the application with pid 22409 (/tmp/zypper).\nClose this application before trying again.",
    ],
    "PackageMissing": [
        "Failed to install some of the specified packages\nNo package nosuchpackage available.",
        "No provider of 'nosuchpackage' found.",
        "Problem: 1: nothing provides 'conntrack' needed by the to be installed kubelet-1.31.0-150500.1.1.x86_64",
    ],
    "MirrorUnreachable": [
        "Failed to download packages: gpg2-1-1.x86_64: Cannot download, all mirrors were already tried without success",
        "Failed to download metadata for repo 'base': Cannot download repomd.xml: All mirrors were tried",
        "File './gpg2-1-1.x86_64.rpm' not found on medium 'http://10.78.0.5/distribution'\nInstallation has been aborted.",
        (
            "Download (curl) error for 'http://nosuch.example/repodata/repomd.xml':\nError code: Connection failed\n"
            "Error message: Could not resolve host: nosuch.example\n\nError building the cache:\nNo provider of 'gpg2' found."
        ),
        (
            "Error building the cache:\n[base|http://10.78.0.5/nothing] Valid metadata not found at specified URL\nHistory:\n"
            " - [base|http://10.78.0.5/nothing] Repository type can't be determined.\n\nNo provider of 'gpg2' found."
        ),
    ],
    "RepositoryKey": [
        "Failed to validate GPG signature for openssl-1-1.x86_64: Public key for openssl-1-1.x86_64.rpm is not installed",
        "Failed to download metadata for repo 'base': repomd.xml GPG signature verification error: Bad GPG signature",
        (
            "Error building the cache:\n[base|http://10.78.0.5/distribution] Valid metadata not found at specified URL\n"
            "History:\n - Signature verification failed for repomd.xml\n - Can't provide /repodata/repomd.xml\n\n"
            "No provider of 'gpg2' found."
        ),
    ],
    "DiskFull": [
        (
            "Unknown Error occurred: Transaction test error:\n  installing package containerd-1.6.20-1.x86_64 needs 84MB more "
            "space on the / filesystem\n\nError Summary\n-------------"
        ),
        (
            "Installation of containerd-1.6.20-1.x86_64 failed:\nError: Subprocess failed. Error: RPM failed: rpm: \n"
            "\tinstalling package containerd-1.6.20-1.x86_64 needs 110MB more space on the / filesystem"
        ),
        (
            "Failed to download packages: containerd-1.6.20-1.x86_64: Download failed: Curl error (23): Failed writing "
            "received data to disk/application for http://10.78.0.5/containerd.rpm [Failure writing output to destination]"
        ),
        (
            "Download (curl) error for 'http://10.78.0.5/containerd.rpm':\nError code: Write error\n"
            "Error message: Failure writing output to destination"
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "text"), [(reason, text) for reason, texts in SAID.items() for text in texts])
def test_what_dnf_and_zypper_say_has_its_reason_and_its_words(reason: str, text: str) -> None:
    """After each failure zypper misses the package, too; what it would have asked a person is no cause."""
    asked = (
        "Continue? [y/n/v/...? shows all options] (y): y\nAbort, retry, ignore? [a/r/i/...? shows all options] (a): a"
    )
    said = text if text.startswith(("Failed to ", "Unknown Error ")) else f"{text}\n{asked}"

    assert reason == classify("prepare", 1, "", said)
    assert "Continue?" not in words(1, "", said)


@pytest.mark.parametrize(("seq", "verb", "reason"), RECORDED)
def test_a_recorded_failure_has_its_reason(seq: int, verb: str, reason: str) -> None:
    """The stable text decides, whatever warnings stand around it."""
    ran = recorded(seq)

    assert reason == classify(verb, ran.rc, ran.out, ran.err)
    assert reason in REASONS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("error downloading certs: cipher: message authentication failed", "CertificateKeyWrong"),
        ('secrets "kubeadm-certs" not found', "CertificateSecretAbsent"),
        ('none of the public keys "sha256:aa" are pinned', "CaHashWrong"),
        ('error: a Node with name "w1" and status "Ready" already exists in the cluster', "NameTaken"),
        ("etcdserver: too many learner members in cluster", "TooManyLearners"),
        ("etcdserver: Peer URLs already exists", "PeerExists"),
        ("[ERROR SystemVerification]: unsupported kernel", "Preflight"),
        ("Error: no leader endpoint given at [https://10.0.0.1:2379]", "NotLeader"),
        ("x509: certificate has expired or is not yet valid: current time", "ClockSkew"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "DiskFull"),
        ("FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/root']", "DiskFull"),
        ("E: The following held packages were changed: Held packages were changed and -y was used", "PackageHeld"),
        ("GPG error: EXPKEYSIG 234654DA9A296436", "RepositoryKey"),
        ("E:The repository 'http://a/b Release' does not have a Release file.", "MirrorUnreachable"),
        ("Request failed: <urlopen error [Errno 101] Network is unreachable>", "MirrorUnreachable"),
        ("Task failed: Missing sudo password", "NotRoot"),
        ("/bin/sh: 1: sudo: not found", "NotRoot"),
        ("Error: bad member ID arg (strconv.ParseUint), expecting ID in Hex", "InvalidInput"),
        ("dial tcp 10.0.0.9:6443: connect: no route to host", "ApiUnreachable"),
        # Go's words for errno, the resolver and TLS, as kubeadm quotes them (recorded [280] with its cluster-info).
        ("error: write /etc/kubernetes/pki/ca.crt: no space left on device", "DiskFull"),
        ('error: Get "https://api:6443/api": dial tcp: lookup api on 10.77.0.1:53: no such host', "ApiUnreachable"),
        ("error: dial tcp 10.0.0.9:6443: connect: network is unreachable", "ApiUnreachable"),
        ('error: Get "https://10.77.0.16:6443/api": net/http: TLS handshake timeout', "ApiTimeout"),
        # An API that goes away during upgrade's checks: each wraps the refused connection (`phases/upgrade/health.go`).
        (
            '[ERROR CreateJob]: could not create: Post "https://a:6443/b": dial tcp 10.0.0.9:6443: connect: x',
            "ApiUnreachable",
        ),
        # What check-etcd ends in where a member does not answer (`phases/join/checketcd.go`), or has an old certificate.
        (
            "error execution phase check-etcd: error syncing endpoints with etcd: context deadline exceeded",
            "EtcdUnhealthy",
        ),
        (
            "error execution phase check-etcd: tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
            "ClockSkew",
        ),
        # kubeadm promotes a learner that it has waited for in vain (`util/etcd/etcd.go` of 1.35).
        ("error: error execution phase etcd-join: the etcd member bec539dea97540a5 is not started", "LearnerNotReady"),
        ("another operation holds the machine", "busy"),
        ("something new", "Failed"),
    ],
)
def test_texts_from_the_failure_corpus_have_their_reason(text: str, reason: str) -> None:
    """What was not recorded but is documented is known too; the unknown is Failed, never something else."""
    assert reason == classify("join", 1, "", text)


@pytest.mark.parametrize(("rc", "reason"), [(124, "Timeout"), (127, "CommandMissing"), (137, "Killed"), (-9, "Killed")])
def test_without_words_the_exit_status_decides(rc: int, reason: str) -> None:
    """A killed or absent program says nothing itself."""
    assert reason == classify("init", rc, "", "")


@pytest.mark.parametrize(
    "failed", ["error: Get {}: dial tcp 127.0.0.1:10248: connect: connection refused", "status 500"]
)
def test_a_kubelet_that_does_not_get_healthy_is_not_an_api_that_is_away(failed: str) -> None:
    """Kubeadm waits for its health on loopback, and quotes the refused connection (`apiclient/wait.go` of 1.35)."""
    health = "http://127.0.0.1:10248/healthz"
    cause = f"failed while waiting for the kubelet to start: The HTTP call equal to 'curl -sSL {health}' returned"

    text = f"error: error execution phase wait-control-plane: {cause} {failed.format(health)}\n"

    assert classify("init", 1, "", text) == "KubeletUnhealthy"


def test_a_wait_for_the_kubelet_is_not_its_illness() -> None:
    """Each init and join prints that it waits for the kubelet, whatever it fails of later (recorded [154])."""
    ran = recorded(154)

    assert "http://127.0.0.1:10248/healthz" in ran.out
    assert classify("init", 1, ran.out, "error: something new") == "Failed"


@pytest.mark.parametrize("rc", [137, -9])
@pytest.mark.parametrize("seq", [154, 177, 251, 340, 351])
def test_what_was_killed_did_not_fail_of_what_it_had_printed(seq: int, rc: int) -> None:
    """A repeated try that kubeadm or etcd's client mentioned is older than the kill (recorded [340] has one)."""
    ran = recorded(seq)

    assert classify("join", rc, ran.out.partition("error: ")[0], ran.err) == "Killed"


def test_no_quorum_is_a_word_of_etcd_verbs_alone() -> None:
    """The same text from kubeadm is a slow API."""
    text = "Error: context deadline exceeded"

    assert (classify("etcd_members", 1, "", text), classify("join", 1, "", text)) == ("NoQuorum", "ApiTimeout")


def test_an_etcd_that_does_not_listen_is_down_rather_than_without_quorum() -> None:
    """Etcdctl quotes the refused connection in its warning and then only says that time is up (recorded [159])."""
    text = 'dial tcp 127.0.0.1:2379: connect: connection refused"}\nError: context deadline exceeded'

    assert classify("etcd_members", 1, "", text) == "EtcdDown"


def test_words_are_the_lines_that_carry_the_cause() -> None:
    """Findings and the error line stay, advice and warnings go."""
    ran = recorded(87)

    assert words(ran.rc, ran.out, ran.err) == (
        "[ERROR Port-6443]: Port 6443 is in use; [ERROR Port-10250]: Port 10250 is in use; "
        "error: error execution phase preflight: preflight checks failed"
    )


def test_words_of_a_module_that_broke_are_its_last_line() -> None:
    """Python puts the way there first."""
    text = 'Traceback (most recent call last):\n  File "/a.py", line 4, in b\n    raise OSError\nOSError: [Errno 28] full\n'

    assert "OSError: [Errno 28] full" == words(1, "", text)


def test_words_of_dpkg_go_on_below() -> None:
    """It names the package first, and what is wrong with it on the next line, which begins with a space."""
    wrong = "cannot copy extracted data for './usr/bin/runc': failed to write (No space left on device)"
    text = f"E: Sub-process returned an error code (1)\ndpkg: error processing archive /a.deb (--unpack):\n {wrong}\n"

    told = f"E: Sub-process returned an error code (1); dpkg: error processing archive /a.deb (--unpack): {wrong}"
    assert told == words(100, "", text)


def test_words_never_carry_a_token_or_a_key() -> None:
    """Tokens and certificate keys are masked, a CA hash is public."""
    ran = Ran(1, err=f"error: join --token abcdef.0123456789abcdef --key {'a1' * 32} sha256:{'b2' * 32}")

    assert words(1, ran.out, ran.err) == f"error: join --token <masked> --key <masked> sha256:{'b2' * 32}"
