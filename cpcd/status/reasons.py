"""The closed lists of conditions and of reasons, theirs and events': every CamelCase word that is shown, explained once.

The docs page is made from them, and tests look for words in the code that are missing here.
"""

from collections.abc import Mapping
from typing import Final

from cpcd.model.errors import TABLE
from cpcd.status.words import camel

__all__ = ["CONDITIONS", "REASONS", "STEPS"]

_PASSES: Final = {
    "Settled": "The object is as wanted; nothing is left to do.",
    "Acting": "One step towards what is wanted was started.",
    "Waiting": "An operation is on its way or something else has to happen first.",
    "Refused": "Only a change of an input can help.",
    "Failed": "The last pass failed; it is tried again.",
    "AwaitingApproval": "The change needs consent: in the file's `changePolicy`, or by `cpcd approve`.",
}

_OBJECTS: Final = {
    "ApiUnavailable": "The cluster's API cannot be asked now.",
    "BlastRadius": "As much was destroyed within the hour, or is unavailable, as `blastRadius` allows.",
    "BootDiskLarger": "The system disk is larger than `sizeGb` asks for, and disks cannot shrink.",
    "BootDiskMissing": "The template, or the VM, has no disk at the slot that `bootVolume.disk` names.",
    "Booting": "The machine was started; its sshd or its guest agent does not answer yet.",
    "Bootstrapping": "kubeadm makes or joins the machine.",
    "Busy": "Another operation on the same target has to end first.",
    "ClockSkew": "The machine's clock is too far off for certificates; time synchronisation is awaited.",
    "CloudInit": "cloud-init is still at work in the machine.",
    "ControlPlaneInitializing": "The first control plane has to exist before.",
    "ControlPlaneUnclear": "A control plane may exist already; none is made before that is known.",
    "DrainStalled": "Pods cannot be evicted within `nodeDrainTimeout`; nothing is forced, a person has to look.",
    "Draining": "Pods leave the machine, as their disruption budgets allow.",
    "EndpointTaken": "Something answers at the endpoint of a cluster that is not there yet; none is made beside it.",
    "EndpointUnknown": "Whether anything answers at the cluster's endpoint is not known yet.",
    "EtcdUnhealthy": "Not every member of etcd is healthy, which this step needs.",
    "EtcdUnknown": "The members of etcd cannot be listed now.",
    "ForeignVm": "The VM of that number is not ours: mark, name or UUID differ. It is never touched.",
    "Gone": "The object is no more.",
    "GuestSilent": "The machine does not answer on SSH.",
    "HostnameWrong": "The machine does not have its name yet.",
    "NetworkNotReady": "The Node waits for a CNI's pod; its machine is not to blame, so it is neither reset nor replaced.",
    "LoginRefused": "The machine answers, and it or cpcd refuses the login, so that what was begun on it cannot be followed; the message says who.",
    "MachineIdShared": "The machine has the machine-id of another one: its template must have an empty /etc/machine-id.",
    "MachinesUnknown": "VMs bear the marks of the cluster and are in no row: another cpcd's, or the ledger was lost.",
    "NameTaken": "The cluster has a Node of that name which is another machine; it is never deleted while it is Ready.",
    "NoCloudInitDrive": "The template has no cloud-init drive, so that its clones would get neither name nor address.",
    "NoNode": "None of the allowed Proxmox nodes is online.",
    "NodeNotReady": "The Node is not Ready, or its machine is off and not to be started.",
    "NodeOffline": "The machine's Proxmox node is offline, or was taken out of the Proxmox cluster; the machine waits for it.",
    "NodeSick": "The Node is still not Ready after its machine was reset; replacement is the last rung.",
    "NodeUnknown": "The Kubernetes Node cannot be read now.",
    "NotJoined": "The machine has not joined its cluster yet.",
    "NotRetired": "A destruction was asked for a machine that is wanted: a bug in cpcd, and refused.",
    "ObjectDoubled": "An object stands in two addons, or twice in one: its kind is in no namespace, whatever is written.",
    "PolicyNever": "`changePolicy` says Never for this class of change.",
    "PoolExhausted": "No VMID or address of the pool is free.",
    "Preparing": "The operating system of the machine is made ready for Kubernetes.",
    "Protected": "Proxmox protects the VM against removal; a person has to lift that.",
    "Provisioning": "The VM is cloned, configured or started.",
    "ProxmoxUnknown": "Proxmox cannot be asked now.",
    "Queued": "All permits for such an operation are taken, or as many machines of the group as may be do not serve.",
    "QuorumKept": "The step would leave etcd without a majority.",
    "Ready": "The object is as wanted.",
    "Rebooting": "The machine restarts, and its Node and etcd member are awaited.",
    "Recovering": "The ledger is made again from the machines' marks; a control plane that serves is awaited.",
    "RequestsUnknown": "The cluster's certificate requests cannot be listed now.",
    "Retained": "The document is gone and `deletionPolicy` is Retain: the machine is left as it is.",
    "RemediesSpent": "What does not come up was replaced as often as `maxRetry` allows within six hours; an edit is tried at once.",
    "Running": "An operation is on its way.",
    "Scaling": "Machines are on their way or leaving.",
    "TemplateAmbiguous": "More than one template fits.",
    "TemplateMissing": "No template fits.",
    "TemplateUnknown": "The template was not looked up yet.",
    "Terminating": "Objects that were pruned are on their way out; what holds them, a finalizer say, is awaited.",
    "TooManyUnhealthy": "More machines are unhealthy than `unhealthyLessThanOrEqualTo` allows to be replaced.",
    "Unresolved": "What became of an operation cannot be told yet; nothing else touches its target.",
    "Updating": "The machine is changed in place, or is about to be rebooted for what cannot be.",
    "VmGone": "The VM was there and is no more.",
    "VmLocked": "Proxmox holds a lock on the VM.",
    "VmUnknown": "The VM cannot be read now.",
    "VolumesAttached": "Volumes are still attached to the machine; they are awaited before it is stopped.",
}

_CLUSTERS: Final = {
    "AddonsApplied": "Every addon is applied.",
    "Available": "It answers and serves.",
    "CertificatesAvailable": "No certificate of the kubeconfig or of a machine ends within 30 days.",
    "CertificatesExpired": "A certificate has ended; what uses it is refused. `kubeadm certs renew all` renews a control plane's.",
    "CertificatesExpiring": "Certificates end within 30 days; the message names them. A replaced machine has new ones.",
    "Changing": "Machines are being changed in place or restarted.",
    "Deleting": "A machine is on its way out; or its cluster or deployment left the file: then it is kept as it is, and not looked after.",
    "EndpointDown": "An endpoint is silent, or refuses cpcd's token or certificate; what needs it goes on with it.",
    "EndpointUp": "An endpoint answers again.",
    "Healthy": "Every voter of etcd is healthy.",
    "Initialized": "The cluster exists and its identity is known.",
    "KubeconfigReady": "The kubeconfig is written and current.",
    "MemberUnhealthy": "A member of etcd is unhealthy; a majority is left.",
    "NoQuorum": "The Proxmox cluster has no quorum: it can be read, not changed.",
    "NodesOffline": "Nodes of the Proxmox cluster are offline; machines elsewhere go on.",
    "NotInitialized": "kubeadm init has not finished yet.",
    "NotReady": "It exists, but does not serve yet.",
    "ObjectsDegraded": "Objects failed their class's number of times in a row.",
    "ObjectsNotReady": "Objects are not as wanted yet; the message names them.",
    "Paused": "Observed and reported, nothing is changed.",
    "QuorumLost": "Etcd has lost its majority; only `cpcd` steps that cannot spend a voter go on.",
    "Remediating": "Machines are being repaired, softly first.",
    "RollingOut": "Machines are being replaced within the rollout's limits.",
    "ScalingDown": "There are more machines than wanted.",
    "ScalingUp": "There are fewer machines than wanted.",
    "SpecValid": "The file as it stands is in force.",
    "Uncommitted": "The file has an edit that is not committed; what is committed is in force.",
    "Unknown": "It could not be observed; unknown is never taken for absent.",
    "UpToDate": "Every machine has the configuration that is wanted.",
}

CONDITIONS: Final[Mapping[str, str]] = {
    "Ready": "The object is as wanted; a cluster is when it is available, up to date, and all of its objects are Ready.",
    "Progressing": "cpcd is at work on the object, or waits for what ends by itself.",
    "Stalled": "Only a person or the world can change it: it is looked at again every 5 minutes, and at once when an input changes.",
    "Degraded": "It failed several times in a row and goes on trying, or what it needs does not answer.",
    "Available": "Control plane and workers serve.",
    "UpToDate": "Every machine has the configuration that is wanted, and none is being changed.",
    "RollingOut": "Machines are to be replaced by ones of another configuration.",
    "ScalingUp": "Fewer machines have joined than are wanted.",
    "ScalingDown": "There are more machines than wanted, or some are leaving and none takes their place.",
    "Remediating": "Machines that failed are being repaired or replaced.",
    "Deleting": "The cluster's document is gone; its machines are kept as they are, and not looked after.",
    "Paused": "The cluster is observed and reported, and nothing is changed.",
    "SpecValid": "The file as it stands has no mistake.",
    "ProxmoxAvailable": "The cluster's Proxmox answers and can be written.",
    "ControlPlaneInitialized": "The first control plane was made; that is true for good.",
    "ControlPlaneAvailable": "The cluster's API answers and is ready.",
    "WorkersAvailable": "So many workers are Ready as each deployment's rollout must leave.",
    "EtcdClusterHealthy": "Every voter of etcd is healthy.",
    "CertificatesAvailable": "No certificate of the kubeconfig or of a machine ends within 30 days.",
    "AddonsApplied": "Every addon is applied.",
    "KubeconfigReady": "The administrator's kubeconfig is written and current.",
    "AwaitingApproval": "Something waits for `cpcd approve`, or for a word in `changePolicy`.",
}

_VERBS: Final = (
    "add-machine", "apply", "approve-csr", "clone", "configure", "delete-node", "destroy", "drain", "elect-init",
    "etcd-remove", "etcd-snapshot", "forget", "forget-addon", "forgive", "init", "join", "kubeadm-reset", "label",
    "mark-applied", "mark-joined", "pin-host-key", "prepare", "prune", "reboot", "relocate", "remove-addon", "renumber",
    "reset", "resize", "retire", "shutdown", "start", "stop", "uncordon", "write-kubeconfig",
)  # fmt: skip

STEPS: Final = {camel(verb): verb for verb in _VERBS}
"""The reasons of `cpcd events` that are no condition's: what was begun there, and the plan's verb for it."""

_TOLD: Final = (
    "RollingOut", "ScalingUp", "ScalingDown", "Remediating", "Deleting", "Paused", "ObjectsDegraded",
    "AwaitingApproval",
)  # fmt: skip

REASONS: Final[Mapping[str, str]] = dict(
    sorted(
        {
            **{row.reason: row.meaning for row in TABLE},
            **_PASSES,
            **_OBJECTS,
            **_CLUSTERS,
            **{step: f"The step `{verb}` was begun; the event says on what, and why." for step, verb in STEPS.items()},
            **{f"Not{name}": f"The opposite of {name}." for name in _TOLD},
        }.items()
    )
)
