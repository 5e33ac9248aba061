"""`controlPlane` and `workers`: how many machines there are and how they are replaced. Words of Cluster API."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from cpcd.spec.quantities import Bool, Count, Duration, Int, Label, refuse
from cpcd.spec.schema.common import Metadata, Model, Reference, Taint
from cpcd.spec.schema.kubeadm import KubeadmConfigSpec
from cpcd.spec.schema.machine import Machine

__all__ = [
    "S3",
    "Backup",
    "Before",
    "ControlPlane",
    "ControlPlaneRollingUpdate",
    "ControlPlaneRollout",
    "Deletion",
    "Drill",
    "Etcd",
    "MachineDeployment",
    "Retention",
    "RollingUpdate",
    "Rollout",
    "Workers",
]

Free = Mapping[str, Any]


def _odd(replicas: int) -> int:
    if replicas not in (1, 3, 5):
        why = "etcd needs a majority, and an even member adds risk but no tolerance"
        raise refuse(f"must be odd (1, 3 or 5), not {replicas}", why)
    return replicas


class Before(Model):
    """What starts a rollout by itself."""

    certificates_expiry_days: Int | None = None
    """Replace a machine whose certificates expire within so many days."""


class ControlPlaneRollingUpdate(Model):
    """Limits of a rolling replacement of control planes."""

    max_surge: Annotated[Int, Field(ge=0, le=1)] = 1
    """How many machines there may be above `replicas`; 0 replaces without a spare address and needs 3 replicas."""


class RollingUpdate(Model):
    """Limits of a rolling replacement of workers."""

    max_surge: Count = 1
    """How many machines there may be above `replicas`."""
    max_unavailable: Count = 0
    """How many machines may be missing below `replicas`."""


class ControlPlaneStrategy(Model):
    """How control planes are replaced."""

    rolling_update: ControlPlaneRollingUpdate = ControlPlaneRollingUpdate.model_construct()
    """Limits."""


class Strategy(Model):
    """How workers are replaced."""

    rolling_update: RollingUpdate = RollingUpdate.model_construct()
    """Limits."""


InPlace = Literal["Preferred", "Only", "Never"]


class ControlPlaneRollout(Model):
    """How a change reaches the control planes."""

    strategy: ControlPlaneStrategy = ControlPlaneStrategy.model_construct()
    """Strategy of replacement."""
    in_place: InPlace = "Preferred"
    """Change machines in place where that is possible (Preferred), never replace (Only), always replace, but for tags and onBoot (Never)."""
    before: Before | None = None
    """What starts a rollout by itself."""


class Rollout(Model):
    """How a change reaches the workers."""

    strategy: Strategy = Strategy.model_construct()
    """Strategy of replacement."""
    in_place: InPlace = "Preferred"
    """Change machines in place where that is possible (Preferred), never replace (Only), always replace, but for tags and onBoot (Never)."""
    before: Before | None = None
    """What starts a rollout by itself."""


class Retention(Model):
    """How many snapshots are kept."""

    hourly: Count = 24
    """Hourly ones."""
    daily: Count = 7
    """Daily ones."""


class S3(Model):
    """A bucket for snapshots."""

    endpoint: str
    """The service."""
    bucket: str
    """The bucket."""
    prefix: str = ""
    """Prefix of the objects."""
    credentials_ref: Reference | None = None
    """Access key."""


class Drill(Model):
    """Restores that prove the snapshots."""

    interval: Duration
    """Time between two restores."""


class Backup(Model):
    """Snapshots of etcd."""

    interval: Duration = 3600.0
    """Time between two snapshots."""
    retention: Retention = Retention.model_construct()
    """How many are kept."""
    s3: S3 | None = None
    """Bucket they go to."""
    directory: str | None = None
    """Directory they go to."""
    drill: Drill | None = None
    """Restores that prove them."""


class Etcd(Model):
    """The members of etcd."""

    backup: Backup | None = None
    """Snapshots."""


class ControlPlane(Model):
    """The control planes; each runs a stacked etcd member."""

    replicas: Annotated[Int, AfterValidator(_odd), Field(json_schema_extra={"enum": [1, 3, 5]})] = 1
    """How many: 1, 3 or 5."""
    machine: Machine = Machine.model_construct()
    """What differs from machineDefaults."""
    kubeadm_config_spec: KubeadmConfigSpec = KubeadmConfigSpec.model_construct()
    """Additions to what kubeadm is told."""
    metadata: Metadata = Metadata.model_construct()
    """Labels and annotations of the nodes."""
    taints: tuple[Taint, ...] = ()
    """Taints besides kubeadm's own on control planes, one for each key and effect."""
    rollout: ControlPlaneRollout = ControlPlaneRollout.model_construct()
    """How changes reach them."""
    etcd: Etcd = Etcd.model_construct()
    """The members of etcd."""


class Deletion(Model):
    """How a machine leaves."""

    order: Literal["Newest", "Oldest", "Random"] = "Newest"
    """Which machine goes first when replicas are taken away."""
    node_drain_timeout: Duration = 600.0
    """How long evictions may take; past it the machine is Stalled, never forced."""
    node_volume_detach_timeout: Duration = 300.0
    """How long volumes may take to detach; then the machine goes all the same."""


class MachineOverride(Model):
    """Something about one machine."""

    locked: Bool = False
    """Change nothing on it."""
    maintenance: Literal["Drain", "Stop"] | None = None
    """Drain it, or drain and stop it."""
    replace: Int | None = None
    """Raise the number to have it replaced."""


class Autoscale(Model):
    """Bounds of automatic scaling."""

    min: Count
    """Fewest machines."""
    max: Count
    """Most machines."""


class MachineDeployment(Model):
    """Workers of one kind."""

    name: Label
    """Name, part of the machines' names."""
    replicas: Count = 1
    """How many."""
    machine: Machine = Machine.model_construct()
    """What differs from machineDefaults."""
    metadata: Metadata = Metadata.model_construct()
    """Labels and annotations of the nodes."""
    taints: tuple[Taint, ...] = ()
    """Taints of the nodes, one for each key and effect."""
    failure_domain: Label | None = None
    """Zone that new ones are made in, and replacements; spread over all zones when there is none."""
    rollout: Rollout = Rollout.model_construct()
    """How changes reach them."""
    deletion: Deletion = Deletion.model_construct()
    """How they leave."""
    autoscale: Autoscale | None = None
    """Bounds of automatic scaling."""
    machines: Mapping[str, MachineOverride] = {}
    """Single machines by name."""


class Workers(Model):
    """The workers."""

    machine_deployments: tuple[MachineDeployment, ...] = ()
    """Kinds of workers."""
