"""The `cluster.yaml` of a town: three zones, full clones, consent to destroy given in the file.

Values and text only; who commits it is `town.py`.
"""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["HELLO", "Wanted", "text"]

SPEC = """\
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {{name: chaos}}
spec:
  version: v1.34.2
  controlPlaneEndpoint: {{host: 127.{net}.0.4}}
  infrastructure:
    proxmox:
      url: https://127.0.0.1:{port}
      credentialsRef: {{file: {token}}}
      tls: {{fingerprint: "{fingerprint}"}}
      availabilityZones: [{{name: a, nodes: [pve1]}}, {{name: b, nodes: [pve2]}}, {{name: c, nodes: [pve3]}}]
      ipv4Config: {{addresses: [127.{net}.0.10-127.{net}.0.60], prefix: 16, gateway: 127.{net}.0.1}}
  machineDefaults:
    numCores: 2
    memoryMiB: {memory}
    full: true
    disks: {{bootVolume: {{sizeGb: 20}}}}
    ssh: {{port: {ssh}}}
    templateSelector: {{matchTags: [{template}]}}
  changePolicy: {{Destroy: Auto}}
  blastRadius: {{maxDestroysPerHour: 100}}
  controlPlane: {{replicas: {masters}}}
  workers:
    machineDeployments:
      - {{name: general, replicas: {workers}, rollout: {{strategy: {{rollingUpdate: {{maxSurge: 2}}}}}}}}
  addons: [{{name: hello, manifests: [{{file: hello.yaml}}]}}]
"""

HELLO = """\
apiVersion: v1
kind: Namespace
metadata: {name: hello}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hello, namespace: hello}
data: {greeting: hello}
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the spec asks for; `memory` in MiB, `template` is a tag."""

    masters: int = 3
    workers: int = 2
    memory: int = 2048
    template: str = "cpcd-ubuntu"

    @property
    def machines(self) -> int:
        """How many machines there are in the end."""
        return self.masters + self.workers


def text(wanted: Wanted, **place: Any) -> str:
    """Return the document; `place` is the town's network, ports, token file and Proxmox's fingerprint."""
    return SPEC.format(**asdict(wanted), **place)
