"""Which story each fault of the lab meets, and what has to come of it besides what always has to.

Values only; `test_faults.py` plays them. Always: the fault struck, no invariant was broken, what is wanted is there in
the end, each machine once, and nothing was destroyed that the story does not destroy.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from tests.sim.house import spec

__all__ = ["SCENARIOS", "Scenario", "Story"]


class Story(Enum):
    """What happens while the fault is there: what is given first ("" is nothing), and what is then asked for."""

    BUILD = ("", spec(masters=1, workers=1))
    BUILD_THREE = ("", spec(masters=3, workers=1))
    GROW = (spec(masters=1, workers=1), spec(masters=1, workers=2))
    CHANGE = (spec(masters=1, workers=1), spec(masters=1, workers=1, memory=3072))
    ENLARGE = (spec(masters=1, workers=1), spec(masters=1, workers=1, disk=40))
    SHRINK = (spec(masters=1, workers=2, destroy="Auto"), spec(masters=1, workers=1, destroy="Auto"))
    LABEL = (spec(masters=1, workers=1), spec(masters=1, workers=1, labels="{tier: gold}"))
    REST = (spec(masters=1, workers=1), spec(masters=1, workers=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One fault in one story; `lasts` is in seconds of lab time.

    `said` is a pattern that a pass's report or the daemon's own sentence must match while the fault lasts, and that none
    does in the story without it. `quiet`: no pass fails. Each has one of these two. `still`: nothing is written to Proxmox. `most`: the fault is met at most
    so often. `replaced` counts machines that others take the place of, `left` VMs that stay for a person, `gone` VMs
    that others destroyed. `once`: no task of Proxmox is begun twice for one VM. `nodes` are as many as have joined
    when the fault ends. `open` says what is wrong still.
    """

    fault: str
    story: Story
    said: str = ""
    lasts: float = 300.0
    quiet: bool = False
    still: bool = False
    most: int | None = None
    replaced: int = 0
    left: int = 0
    gone: int = 0
    once: bool = False
    nodes: int | None = None
    open: str = ""


B, B3, G, C, E, S, L, R = (
    Story.BUILD, Story.BUILD_THREE, Story.GROW, Story.CHANGE, Story.ENLARGE, Story.SHRINK, Story.LABEL, Story.REST,
)  # fmt: skip

SCENARIOS: Final = (
    # --- the way to Proxmox
    Scenario(fault="slow-reads", story=B, quiet=True),
    Scenario(fault="clone-times-out", story=B, once=True, said="CPCD-100 .*clone of template 9000 .*no answer"),
    Scenario(fault="start-596-and-done", story=B, once=True, said="CPCD-100 .*start of VM .*does not answer .596"),
    Scenario(fault="config-596-and-not-done", story=B, said="CPCD-100 .*configuring VM .*596"),
    Scenario(fault="start-599-and-done", story=B, once=True, said="CPCD-100 .*599"),
    Scenario(fault="clone-599-and-not-done", story=B, said="CPCD-100 .*599"),
    Scenario(fault="no-bridge-right", lasts=320, story=B, said="CPCD-101 .*lacks SDN.Use on /sdn/zones/localnetwork/vmbr0", most=8),
    Scenario(fault="token-expired", lasts=120, story=G, said="CPCD-101 pve:127.0.0.1: .*refused the token", still=True),
    Scenario(fault="no-words-for-a-config", story=R, said="CPCD-106 .*Internal Server Error", lasts=700, still=True),
    Scenario(fault="clone-without-response", story=B, once=True, said="CPCD-100 .*clone"),
    Scenario(fault="reads-reset", story=B, quiet=True),
    Scenario(fault="node-unreachable", story=R, lasts=600, still=True, said="VmUnknown: .*node pve1 does not answer .595"),
    Scenario(fault="nobody-listens", story=C, said="CPCD-100 pve:127.0.0.1: ", lasts=60, still=True),
    Scenario(fault="html-with-200", lasts=120, story=G, said="CPCD-100 .*not the Proxmox API's JSON", still=True),
    Scenario(fault="redirect-with-html", story=B, said="CPCD-100 .*not the Proxmox API's JSON"),
    Scenario(fault="node-without-workers", story=G, said="node pve1 does not answer", lasts=300),
    Scenario(fault="root-only", lasts=320, story=B, said="CPCD-101 .*only root can set", most=6),
    Scenario(fault="bad-parameter", lasts=320, story=B, said="CPCD-1.. .*memory: value must be at least 16", most=8),
    Scenario(fault="task-not-listed-yet", story=B, once=True, quiet=True, lasts=40),
    Scenario(fault="certificate-expired", story=G, said="CPCD-101 .*certificate has expired", lasts=120, still=True),
    # --- Proxmox: tasks, locks, clones, storage, agent
    Scenario(fault="config-lock-held", story=B, said="CPCD-106 .*got timeout"),
    Scenario(fault="config-lock-held-for-put", story=B, said="CPCD-106 .*got timeout"),
    Scenario(fault="vmid-taken-meanwhile", story=B, said="CPCD-106 .*already exists"),
    Scenario(fault="vmid-lost-in-the-task", story=B, said="CPCD-106 .*config file already exists"),
    Scenario(fault="agent-not-running", story=B, quiet=True, lasts=180),
    Scenario(fault="resize-too-slow", story=B, said="CPCD-106 .*resize of .*got timeout", lasts=120),
    Scenario(fault="deleted-before-destroy", lasts=120, story=S, said="CPCD-106 .*does not exist", gone=1),
    Scenario(fault="vmid-given-away", story=R, said="CPCD-105 .*is another than that of demo-general-1", lasts=900, replaced=1, gone=1),
    Scenario(fault="vmid-given-away-in-a-retirement", story=S, said="forget demo-general-2, .* whose VMID is another VM's", lasts=900, gone=1),
    Scenario(fault="started-before-destroy", lasts=200, story=S, said="CPCD-106 .*is running - destroy failed"),
    Scenario(fault="storage-lock-held", story=B, said="CPCD-106 .*pve-storage-shared' - got timeout"),
    Scenario(fault="clone-with-warnings", story=B, quiet=True),
    Scenario(fault="start-later-than-its-task", story=B, quiet=True),
    Scenario(fault="stop-that-does-nothing", lasts=200, story=S, quiet=True),
    Scenario(fault="locked-by-a-backup", story=C, said="locked .backup", lasts=120),
    Scenario(fault="template-on-local-storage", story=B, said="CPCD-106 .*VM uses local storage"),
    Scenario(fault="disk-not-visible-yet", story=B, said="CPCD-106 .*does not exist"),
    Scenario(fault="no-quorum", story=B, said="CPCD-100 .*the Proxmox cluster has no quorum", lasts=300),
    Scenario(fault="cluster-lock-not-had", story=B, said="CPCD-106 .*got lock request timeout"),
    Scenario(fault="start-fails-and-runs", story=B, once=True, quiet=True),
    Scenario(fault="clone-of-forty-minutes", story=B, once=True, said="DeadlineExceeded: .*limit 30", quiet=True, lasts=1900),
    Scenario(fault="every-write-loses-its-reply", story=B, once=True, said="CPCD-100 ", lasts=420),
    Scenario(fault="start-worker-killed", story=B, said="CPCD-106 .*unexpected status"),
    Scenario(fault="node-dies-in-a-start", story=B, lasts=300, said="CPCD-100 .*start of VM .* failed: node pve2 does not answer"),
    Scenario(fault="clone-worker-killed-before-the-mark", story=B, said=r"CPCD-106 .*qm unlock \d+ && qm destroy \d+", left=1),
    Scenario(fault="clone-worker-killed-after-the-mark", story=B, said=r"CPCD-106 .*qm unlock \d+ && qm destroy \d+", left=1),
    Scenario(fault="agent-busy", story=B, quiet=True, lasts=180),
    Scenario(fault="guest-ignores-the-power-button", story=C, lasts=400, quiet=True),
    Scenario(fault="no-worker", story=B, said="CPCD-106 .*got no worker upid"),
    Scenario(fault="qemu-exits", story=B, said="CPCD-106 .*QEMU exited with code 1"),
    Scenario(fault="volume-in-use-elsewhere", story=B, quiet=True),
    Scenario(fault="storage-full", story=B, said="CPCD-103 .*No space left on device", lasts=400),
    Scenario(fault="edited-between-read-and-write", story=B, said="CPCD-106 .*the config was changed meanwhile"),
    Scenario(fault="shutdown-that-does-nothing", story=C, said="Unresolved: whether shutdown of", quiet=True),
    Scenario(fault="storage-offline", story=B, said="CPCD-1.. .*is not online"),
    Scenario(fault="namesake-appears", story=B, quiet=True),
    Scenario(fault="no-zvol-link", story=B, said="CPCD-106 .*no zvol device link"),
    Scenario(fault="starts-take-minutes", story=B, once=True, quiet=True, lasts=600),
    Scenario(fault="destroy-fails", lasts=200, story=S, said="CPCD-106 .*unable to destroy VM"),
    Scenario(fault="silence-of-a-quarter-of-an-hour", story=R, said="CPCD-100 pve:127.0.0.1", lasts=900, still=True),
    Scenario(fault="resources-from-yesterday", story=G, lasts=120, quiet=True),
    Scenario(fault="state-disk-full", story=B, said="CPCD-108 .*nothing is changed", nodes=0),
    Scenario(fault="clock-steps-ahead", story=B, quiet=True),
    Scenario(fault="clock-steps-back", story=B, quiet=True),
    # --- machines
    Scenario(fault="one-machine-id", story=B, said="MachineIdShared: demo-general-1 .*demo-cp-1", quiet=True, nodes=1),
    Scenario(fault="apt-is-locked", story=B, said="CPCD-106 .*PackageManagerLocked"),
    Scenario(fault="cloud-init-degraded", story=B, quiet=True),
    Scenario(fault="cloud-init-hangs", story=B, quiet=True, lasts=180, nodes=0),
    Scenario(fault="no-address", story=B, said="GuestSilent", quiet=True, lasts=180),
    Scenario(fault="users-come-late", story=B, said="Permission denied", quiet=True, lasts=180),
    Scenario(fault="system-is-booting", story=B, said="System is booting up", quiet=True, lasts=180),
    Scenario(fault="hostname-comes-late", story=B, said="HostnameWrong", quiet=True, lasts=180),
    Scenario(fault="cloud-init-data-edited", story=C, said="the host key of demo-general-1 is not the pinned one", lasts=1800),
    Scenario(fault="agent-installed-at-first-boot", story=B, quiet=True, lasts=600),
    Scenario(fault="cloud-init-failed", story=B, said="cloud-init ended with an error"),
    Scenario(fault="growpart-skipped", story=E, said="Ready: demo-general-1 .* has 20.0 GiB of the 40 GiB of its disk and did not grow", quiet=True, lasts=900),
    Scenario(fault="reboot-in-prepare", story=B, said="CPCD-106 .*prepare on .*was interrupted"),
    Scenario(fault="reboot-in-init", story=B, said="CPCD-106 .*init on .*was interrupted"),
    Scenario(fault="reboot-in-join", story=B, said="CPCD-106 .*join on .*was interrupted"),
    Scenario(fault="ssh-refused", story=B, quiet=True),
    Scenario(fault="host-key-changed", story=C, said="EtcdUnknown: .*the host key of demo-cp-1 is not the pinned one"),
    Scenario(fault="facts-never-return", story=B, said="GuestSilent"),
    Scenario(fault="cut-in-submit", story=B, once=True, said="CPCD-100 guest:.*connection to .*was lost"),
    Scenario(fault="cut-in-poll", story=B, said="Unresolved"),
    Scenario(fault="cut-in-join-secrets", story=B, said="CPCD-100 .*was lost"),
    Scenario(fault="login-refused", story=G, said="EtcdUnknown: .*the key is refused for ubuntu, root", nodes=2),
    Scenario(fault="sudo-wants-a-password", story=B, said="sudo: a password is required", quiet=True, lasts=180, nodes=0),
    Scenario(fault="handshakes-dropped", story=B, once=True, quiet=True),
    Scenario(fault="machine-gone-in-prepare", story=B, said="CPCD-100 "),
    Scenario(fault="prepare-of-forty-minutes", story=B, said="DeadlineExceeded: prepare runs on .*limit 30", quiet=True, lasts=2600),
    Scenario(fault="sudo-is-slow", story=B, said="CPCD-106 .*privilege escalation"),
    Scenario(fault="unit-killed", story=B, said="CPCD-106 .*was interrupted"),
    Scenario(fault="one-machine-hangs", story=B, said="GuestSilent: demo-general-1 cannot be asked over SSH", lasts=600),
    Scenario(fault="hangs-in-prepare", story=B, said="reset demo-general-1, which answers nothing", lasts=2600),
    Scenario(fault="hangs-in-join", story=B, said="reset demo-general-1, which answers nothing", lasts=2600),
    # --- kubeadm and etcd
    Scenario(fault="token-not-signed-yet", story=B, said="CPCD-106 .*TokenUnknown"),
    Scenario(fault="half-a-join", story=B, said="CPCD-106 .*join on "),
    Scenario(fault="half-a-control-plane", story=B3, said="CPCD-106 .*join on "),
    Scenario(fault="kubelet-not-healthy", story=B, said="CPCD-106 .*KubeletUnhealthy"),
    Scenario(fault="learner-not-in-sync", story=B3, said="CPCD-106 .*LearnerNotReady"),
    Scenario(fault="certificate-key-expired", story=B3, said="CPCD-106 .*CertificateSecretAbsent"),
    Scenario(fault="runtime-without-cri", story=B, said="CPCD-106 .*RuntimeDown"),
    Scenario(fault="second-learner", story=B3, said="CPCD-106 .*TooManyLearners"),
    Scenario(fault="clock-behind", story=B, said="ClockSkew", quiet=True, lasts=180),
    Scenario(fault="repository-key-expired", story=B, said="CPCD-106 .*RepositoryKey"),
    Scenario(fault="no-images", story=B, said="CPCD-106 .*ImagePull"),
    Scenario(fault="bootstrap-hangs", story=B, said="CPCD-106 .*KubeletBootstrap"),
    Scenario(fault="cni-not-taken", story=B, said="CPCD-106 .*failed calling webhook", lasts=900, nodes=2),
    # --- the Kubernetes API
    Scenario(fault="credentials-expired", story=R, said="CPCD-101 kube:demo: 401 Unauthorized", lasts=900, still=True),
    Scenario(fault="endpoint-without-route", story=B, lasts=400, quiet=True),
    Scenario(fault="watch-is-silent", story=B, quiet=True),
    Scenario(fault="watch-expired", story=B, quiet=True),
    Scenario(fault="stream-cut-again-and-again", story=B, quiet=True),
    Scenario(fault="events-lost", story=B, quiet=True),
    Scenario(fault="watch-ends-at-once", story=B, quiet=True, lasts=180, most=100),
    Scenario(fault="watch-expired-always", story=B, quiet=True, lasts=180, most=100),
    Scenario(fault="too-many-requests", story=L, said="429 Too Many Requests"),
    Scenario(fault="changed-meanwhile", story=L, said="409 Conflict"),
    Scenario(fault="etcd-has-no-leader", story=G, said="leader changed", quiet=True, lasts=120),
)  # fmt: skip
