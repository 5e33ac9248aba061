"""What cpcd may do by itself, how often it tries, and how it heals: `healthCheck`, `changePolicy`, `policy` and kin."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cpcd.spec.quantities import Bool, Count, Duration, Int, Number, Share, refuse
from cpcd.spec.schema.common import Model

__all__ = [
    "Adopt",
    "BlastRadius",
    "ChangePolicy",
    "HealthCheck",
    "KubeletCSR",
    "Maintenance",
    "OnFailure",
    "Policy",
    "Remediation",
    "Retry",
    "Task",
    "TimeWindow",
    "Timeouts",
    "UnhealthyNodeCondition",
]

Rung = Literal["Start", "Reset", "Rejoin", "Replace"]
Consent = Literal["Auto", "Approve", "Never"]
Failures = Annotated[Int, Field(ge=1, le=1000)]
Limit = Annotated[Duration, Field(gt=0)]


def _brief(seconds: float) -> float:
    """A pass may connect to several machines one after the other, and must end before it counts as stuck."""
    if seconds > 120:
        raise refuse("must be at most 2m")
    return seconds


class UnhealthyNodeCondition(Model):
    """A node condition that makes a machine unhealthy when it lasts."""

    type: Annotated[str, Field(min_length=1)]
    """Type, such as Ready."""
    status: Literal["True", "False", "Unknown"]
    """Status; quote it, else YAML reads a boolean. What a healthy node says is refused: Ready True, a pressure False."""
    timeout: Limit
    """How long it must last, more than 0."""


def _softest_first(ladder: tuple[Rung, ...]) -> tuple[Rung, ...]:
    order = [rung for rung in ("Start", "Reset", "Rejoin", "Replace") if rung in ladder]
    if list(ladder) != order:
        raise refuse("must go from soft to hard", f"write [{', '.join(order)}]")
    return ladder


class Remediation(Model):
    """What is done about an unhealthy machine."""

    ladder: Annotated[tuple[Rung, ...], AfterValidator(_softest_first)] = ("Start", "Reset", "Replace")
    """Measures, softest first; leave out what must not be done."""
    unhealthy_less_than_or_equal_to: Share = 0.4
    """No machine is reset or replaced while more than this share of the cluster's is unhealthy."""
    max_in_flight: Count = 1
    """How many machines are healed at once."""
    max_retry: Count = 3
    """How many joins of a machine may fail, and how many machines of a group may be replaced as a remedy within six hours;
    after that a person has to look."""


class HealthCheck(Model):
    """When a machine counts as broken, and what is done then."""

    unhealthy_node_conditions: tuple[UnhealthyNodeCondition, ...] = (
        UnhealthyNodeCondition.model_construct(type="Ready", status="False", timeout=300.0),
        UnhealthyNodeCondition.model_construct(type="Ready", status="Unknown", timeout=300.0),
    )
    """Node conditions that make a machine unhealthy."""
    node_startup_timeout: Limit = 900.0
    """How long a new machine may take to become a node, more than 0."""
    remediation: Remediation = Remediation.model_construct()
    """What is done."""


class ChangePolicy(Model):
    """Which class of change is made by itself (Auto), after `cpcd approve` (Approve), or not at all (Never)."""

    in_place: Consent = Field(default="Auto", alias="InPlace")
    """Nothing is interrupted."""
    reboot: Consent = Field(default="Auto", alias="Reboot")
    """A machine is drained and restarted."""
    replace: Consent = Field(default="Auto", alias="Replace")
    """A machine is replaced within the rollout's limits; consent is asked before its successor is made."""
    destroy: Consent = Field(default="Approve", alias="Destroy")
    """A machine goes and none takes its place; one that has never joined its cluster goes without consent."""


class BlastRadius(Model):
    """How much may be disturbed at once, whatever the reason."""

    max_unavailable: Annotated[Int, Field(ge=1, le=10_000)] = 1
    """Machines disturbed at once by changes that interrupt; a deployment's rollout may take more by its own `maxUnavailable`."""
    max_destroys_per_hour: Count = 2
    """Machines destroyed in an hour; more wait until it is over."""
    max_destroy_percent: Annotated[Int, Field(ge=0, le=100)] = 20
    """Share of the machines that may be leaving at once, rounded up, so that one may unless it is 0."""


class TimeWindow(Model):
    """When changes that interrupt may begin."""

    begin: str
    """Begin, such as "22:00"."""
    end: str
    """End, such as "02:00"."""
    timezone: str = "Etc/UTC"
    """Time zone."""
    days: tuple[str, ...] = ()
    """Days of the week; all when empty."""


class Maintenance(Model):
    """When cpcd may disturb."""

    time_window: TimeWindow | None = None
    """The window."""


class AdoptSelector(Model):
    """Which machines to adopt."""

    tags: tuple[str, ...] = ()
    """Those with all these tags."""


class Adopt(Model):
    """Machines that exist and are taken over."""

    vmids: tuple[Int, ...] = ()
    """By VMID."""
    selector: AdoptSelector = AdoptSelector.model_construct()
    """By tags."""
    source: str | None = Field(default=None, alias="from")
    """From what another tool left."""


class Task(Model):
    """A playbook of the operator's own."""

    id: str
    """Name of the task."""
    playbook: str
    """The playbook, relative to the spec."""
    hosts: str
    """Which machines."""
    run: Literal["Once", "OnChange"] = "OnChange"
    """When it runs."""


class DefaultRetry(Model):
    """Backoff of everything without a class of its own."""

    base: Limit = 2.0
    """First wait."""
    multiplier: Number = 2.0
    """Growth from one wait to the next."""
    max: Limit = 60.0
    """Longest wait."""
    degraded_after: Failures = 3
    """Failures in a row after which the object is Degraded."""


class NetworkRetry(Model):
    """Backoff of connections; what is not said is the default's."""

    base: Limit = 5.0
    """First wait."""
    multiplier: Number | None = None
    """Growth from one wait to the next."""
    max: Limit | None = None
    """Longest wait."""
    degraded_after: Failures = 5
    """Failures in a row after which the object is Degraded."""


class AnsibleRetry(Model):
    """Backoff of playbooks; what is not said is the default's."""

    base: Limit | None = None
    """First wait."""
    multiplier: Number | None = None
    """Growth from one wait to the next."""
    max: Limit | None = None
    """Longest wait."""
    degraded_after: Failures = 2
    """Failures in a row after which the object is Degraded."""


class Retry(Model):
    """Backoff by class of operation."""

    default: DefaultRetry = DefaultRetry.model_construct()
    """Everything else."""
    network: NetworkRetry = NetworkRetry.model_construct()
    """Connections."""
    ansible: AnsibleRetry = AnsibleRetry.model_construct()
    """Playbooks."""

    def effective(self) -> dict[str, DefaultRetry]:
        """Return each class with what it does not say taken from the default."""
        base = self.default.model_dump()
        own = {"default": base, "network": self.network.model_dump(), "ansible": self.ansible.model_dump()}
        return {
            name: self.default.model_copy(update={key: value for key, value in given.items() if value is not None})
            for name, given in own.items()
        }


class Timeouts(Model):
    """Limits of long operations; they raise visibility and never authorise destruction."""

    command: Limit = 300.0
    """To stop, reset or destroy a VM, or to save etcd; a single call to a machine ends then too, after 3m at the latest."""
    network: Annotated[Limit, AfterValidator(_brief)] = 30.0
    """An SSH connection; at most 2m."""
    ansible: Limit = 1800.0
    """A playbook; one that takes twice as long, and more than 1h, is ended."""
    kubernetes: Limit = 120.0
    """A wait for Kubernetes."""
    clone: Limit = 1800.0
    """A clone."""
    start: Limit = 1800.0
    """A VM's start by Proxmox; until its machine answers and joins it has `healthCheck.nodeStartupTimeout`."""
    bootstrap: Limit = 1800.0
    """kubeadm init or join."""


class OnFailure(Model):
    """What a failure of something that is not critical does to the cluster's Ready."""

    addon: Literal["Block", "Warn"] = "Warn"
    """An addon's failure."""
    dns: Literal["Block", "Warn"] = "Warn"
    """A DNS record's failure."""


class Policy(Model):
    """How often and how long cpcd tries."""

    retry: Retry = Retry.model_construct()
    """Backoff."""
    timeouts: Timeouts = Timeouts.model_construct()
    """Limits of long operations."""
    on_failure: OnFailure = OnFailure.model_construct()
    """What is not critical."""


class KubeletCSR(Model):
    """Serving certificates of kubelets."""

    approve: Bool = True
    """Approve them, but only for names and addresses of our own machines."""
