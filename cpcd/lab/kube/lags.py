"""How long Kubernetes takes for what it does by itself.

Values only, in seconds of lab time, each with its source. Machines have theirs in `lab/guests/durations.py`.
"""

from dataclasses import dataclass

__all__ = ["Lags"]


@dataclass(frozen=True, slots=True)
class Lags:
    """One set of delays."""

    register: float = 3.0  # kubelet up until its Node exists (recorded 400: kubelet up at 17, end of join at 19)
    ready: float = 11.0  # Node registered until Ready, where a CNI is (recorded 424, 427: kubelet started 14 s before)
    report: float = 300.0  # between two reports of a Node that nothing changed (kubelet: nodeStatusReportFrequency)
    back: float = 3.0  # heartbeat again until Ready (recorded 450)
    grace: float = 48.0  # last heartbeat until Ready=Unknown (recorded 448)
    static_pod: float = (
        25.0  # kubelet up until its static pods run (recorded 319: etcd started 43 s after its manifest)
    )
    api_ready: float = 5.0  # apiserver listens until /readyz is 200 (recorded 169, 329: long on a slow host)
    controller: float = 0.5  # a write until the controllers have seen it
    pod_start: float = 4.0  # bound until Running (guess)
    pod_stop: float = 2.0  # deleted until gone (guess)
    orphan: float = 40.0  # a pod's Node gone until the pod is collected (podgc quarantine)
    evict: float = 300.0  # unreachable until pods are deleted (default tolerationSeconds)
    vip_lease: float = 15.0  # kube-vip's lease (failures.md section 0)
    vip_retry: float = 2.0  # its candidates' retry period, when the lease was released
