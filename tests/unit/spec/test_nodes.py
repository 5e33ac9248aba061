"""What a spec may say of Node objects: labels, annotations and taints that nobody else keeps."""

from collections.abc import Callable

import pytest

Complaints = Callable[..., list[str]]
GROUP = "spec.workers.machineDeployments[0]"


def of_workers(complaints: Complaints, words: str) -> list[str]:
    """Return the mistakes of a deployment with these words, less the file and its place."""
    return [said.split(": ", 1)[1] for said in complaints("replicas: 2}", f"replicas: 2, {words}}}")]


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("metadata: {annotations: {cpcd.dev/applied: x}}", 'metadata.annotations["cpcd.dev/applied"]'),
        ("metadata: {labels: {cpcd.dev/applied: x}}", 'metadata.labels["cpcd.dev/applied"]'),
        ("taints: [{key: cpcd.dev/applied, effect: NoSchedule}]", "taints[0].key"),
    ],
)
def test_what_cpcd_keeps_on_a_node_is_refused(complaints: Complaints, words: str, path: str) -> None:
    """It remembers there what it set, and would overwrite the file's value and want it back for ever."""
    assert of_workers(complaints, words) == [
        f"{GROUP}.{path}: cpcd.dev/applied is kept by cpcd; choose a key of your own"
    ]


@pytest.mark.parametrize(
    ("words", "keeper"),
    [
        ("metadata: {labels: {kubernetes.io/hostname: same}}", "kubernetes.io/hostname is kept by the kubelet"),
        ("metadata: {labels: {beta.kubernetes.io/arch: arm}}", "beta.kubernetes.io/arch is kept by the kubelet"),
        ('metadata: {labels: {node-role.kubernetes.io/control-plane: ""}}', "node-role.kubernetes.io/control-plane is kept by kubeadm"),
        ("metadata: {annotations: {node.alpha.kubernetes.io/ttl: '0'}}", "node.alpha.kubernetes.io/ttl is kept by the node controller"),
        ("taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule}]", "node.kubernetes.io/unschedulable is kept by the node controller"),
        ("taints: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]", "node-role.kubernetes.io/control-plane is kept by kubeadm"),
        (
            "taints: [{key: a, value: b, effect: NoSchedule}, {key: a, value: c, effect: NoSchedule}]",
            'taints[1]: another taint is called "a:NoSchedule"; names are unique',
        ),
    ],
)  # fmt: skip
def test_what_others_keep_on_a_node_is_refused(complaints: Complaints, words: str, keeper: str) -> None:
    """A label taken out of the file again is taken off the Node: its host name would go with it."""
    (said,) = of_workers(complaints, words)

    assert keeper in said


@pytest.mark.parametrize(
    "words",
    [
        'metadata: {labels: {node-role.kubernetes.io/worker: "", topology.kubernetes.io/region: r, topology.kubernetes.io/zone: z}}',
        'metadata: {labels: {node.kubernetes.io/exclude-from-external-load-balancers: ""}}',
        "taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoExecute}, {key: b, effect: NoSchedule}]",
    ],
)
def test_what_nobody_else_keeps_may_be_set(complaints: Complaints, words: str) -> None:
    """A role for `kubectl get nodes`, a zone where the file has none, one taint with two effects."""
    assert of_workers(complaints, words) == []


def test_the_zone_is_kept_by_cpcd_where_the_file_has_zones(complaints: Complaints) -> None:
    """On every Node."""
    (said,) = complaints(
        "  controlPlane: {replicas: 1}",
        "      availabilityZones: [{name: a, nodes: [pve1]}]\n"
        "  controlPlane: {replicas: 1, metadata: {labels: {topology.kubernetes.io/zone: z}}}",
    )

    assert "topology.kubernetes.io/zone is kept by cpcd, from availabilityZones" in said


def test_what_kubeadm_keeps_on_control_planes_is_refused_there(complaints: Complaints) -> None:
    """A worker may be left out by a load balancer; on a control plane the label is kubeadm's."""
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    (said,) = complaints("{replicas: 1}", f'{{replicas: 1, metadata: {{labels: {{{label}: ""}}}}}}')

    assert f"{label} is kept by kubeadm; choose a key of your own" in said


def test_a_node_is_allowed_once(complaints: Complaints) -> None:
    """The second one is a slip of the pen."""
    found = complaints("      credentialsRef", "      allowedNodes: [pve1, pve1]\n      credentialsRef")

    assert ['spec.infrastructure.proxmox.allowedNodes[1]: another node is called "pve1"; names are unique'] == [
        said.split(": ", 1)[1] for said in found
    ]
