"""How long machines and kubeadm take.

Values only, in seconds of lab time, each with its source: guest/README.md "Measured durations" (recorded numbers are
of emulated processors, so shares are taken from them and whole times from unloaded hosts).
"""

from dataclasses import dataclass, field

from cpcd.lab.kube import Lags

__all__ = ["Durations"]


@dataclass(frozen=True, slots=True)
class Durations:
    """One set of durations; those of Kubernetes itself are in `kube`."""

    agent: float = 13.0  # power to guest agent: 7 s before ssh (recorded 1007, 1069)
    ssh: float = 20.0  # power to sshd
    users: float = 0.0  # sshd to cloud-init's user on a first boot (failures.md G07); 0: not seen
    cloud_init: float = 25.0  # power to cloud-init's end on a first boot (recorded 1005: after ssh)
    upgrade: float = 60.0  # what cloud-init takes longer where it upgrades packages, as `prepare` from a near mirror
    kubelet: float = 15.0  # power to kubelet on later boots (recorded 1109, 1116: API 92 s after ssh when crowded)
    shutdown: float = 5.0  # power button to power off
    short: float = 0.3  # any short verb but the ones below
    facts: float = 0.5
    release: float = 2.0  # kubelet ends a static pod whose manifest has gone
    join_secrets: float = 3.0  # kubeadm token create, upload-certs (recorded 231, 244)
    prepare: float = 60.0  # packages from a near mirror
    prepared: float = 12.0  # the same with nothing to change
    init: float = 65.0  # unloaded host (measured durations)
    join_worker: float = 17.0  # recorded 200, 400: 15 and 19
    join_control_plane: float = 45.0  # shares of recorded 279-283
    reset: float = 6.0  # nothing but a kubelet
    reset_control_plane: float = 34.0  # recorded 190, 380
    reset_no_quorum: float = 27.0  # recorded 370
    snapshot: float = 3.0  # recorded 415
    etcd_timeout: float = 10.0  # etcdctl's command timeout (recorded 159, 369)
    discovery: float = 300.0  # kubeadm v1beta4 timeouts.discovery (failures.md section 0)
    control_plane: float = 240.0  # timeouts.controlPlaneComponentHealthCheck
    api_call: float = 60.0  # timeouts.kubernetesAPICall
    etcd_call: float = 120.0  # timeouts.etcdAPICall
    tls_bootstrap: float = 300.0  # timeouts.tlsBootstrap (recorded 319)
    kube: Lags = field(default_factory=Lags)
