"""What may be added to kubeadm's ClusterConfiguration, and what the file says elsewhere."""

import pytest

from cpcd.spec import read_spec
from cpcd.spec.compile import compile_spec

PLACE = "spec.controlPlane.kubeadmConfigSpec.clusterConfiguration"


def with_addition(valid: str, addition: str) -> bytes:
    """Return a file whose control plane adds to kubeadm's configuration."""
    added = f"controlPlane: {{kubeadmConfigSpec: {{clusterConfiguration: {{{addition}}}}}, "
    return valid.replace("controlPlane: {", added).encode()


def test_what_is_added_is_wanted_as_it_was_written(valid: str) -> None:
    """Arguments of a component, and what only kubeadm knows."""
    text = with_addition(
        valid,
        "encryptionAlgorithm: ECDSA-P256, apiServer: {extraArgs: [{name: v, value: '2'}]}, etcd: {local: {dataDir: /e}}",
    )
    reading = read_spec({"c.yaml": text})
    assert reading.mistakes == ()
    (cluster,) = compile_spec(reading, operator_key="ssh-ed25519 AAAA").clusters.values()

    assert {
        "encryptionAlgorithm": "ECDSA-P256",
        "apiServer": {"extraArgs": [{"name": "v", "value": "2"}]},
        "etcd": {"local": {"dataDir": "/e"}},
    } == cluster.kubeadm


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        ("networking: {podSubnet: 10.1.0.0/16}", ".networking: is written by cpcd; spec.clusterNetwork says it"),
        ("kubernetesVersion: v1.33.0", ".kubernetesVersion: is written by cpcd; spec.version says it"),
        (
            "apiServer: {certSANs: [a]}",
            ".apiServer.certSANs: is written by cpcd; spec.certificates.extraSANs adds names",
        ),
        ("etcd: {external: {}}", ".etcd.external: is written by cpcd; each control plane has a member of its own"),
        ("etcd: [a]", ".etcd: must be a map, not a list"),
        ("featureGate: {}", ".featureGate: is no field of kubeadm's ClusterConfiguration; did you mean featureGates?"),
    ],
)
def test_what_the_file_says_elsewhere_and_what_kubeadm_does_not_know_is_refused(
    valid: str, addition: str, said: str
) -> None:
    """Before a machine is made for it."""
    (mistake,) = read_spec({"c.yaml": with_addition(valid, addition)}).mistakes

    assert f"{PLACE}{said}" in str(mistake)


def test_a_patch_is_of_something_that_kubeadm_patches(valid: str) -> None:
    """A file of another name would be refused by kubeadm on the machine."""
    patches = "patches: {etcd: {spec: {priority: 1}}, kube-proxy: {}, kube-apiserver: [a]}"
    text = valid.replace("controlPlane: {", f"controlPlane: {{kubeadmConfigSpec: {{{patches}}}, ")
    mistakes = [str(one).partition("patches.")[2] for one in read_spec({"c.yaml": text.encode()}).mistakes]

    targets = "corednsdeployment, etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubeletconfiguration"
    assert [
        f"kube-proxy: is nothing that kubeadm patches; {targets}", "kube-apiserver: must be a map, not a list",
    ] == mistakes  # fmt: skip
