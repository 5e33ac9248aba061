"""The models of `cluster.yaml`: every field of the file, with its default, its unit and its sentence.

`cluster.py` is the document; the others are its parts. Only shapes and what one part can judge by itself are checked
here; what needs several parts is in `cpcd.spec.checks`, what cpcd cannot act on yet in `cpcd.spec.support`.
"""

from cpcd.spec.schema.cluster import ClusterDocument, ClusterSpec, ControlPlaneEndpoint
from cpcd.spec.schema.machine import Machine, Template
from cpcd.spec.schema.policy import HealthCheck, Policy
from cpcd.spec.schema.proxmox import IPv4Config, Proxmox
from cpcd.spec.schema.roles import ControlPlane, MachineDeployment
from cpcd.spec.schema.services import Addon

__all__ = [
    "Addon",
    "ClusterDocument",
    "ClusterSpec",
    "ControlPlane",
    "ControlPlaneEndpoint",
    "HealthCheck",
    "IPv4Config",
    "Machine",
    "MachineDeployment",
    "Policy",
    "Proxmox",
    "Template",
]
