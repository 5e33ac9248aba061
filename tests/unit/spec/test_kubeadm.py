"""What may be added to kubeadm's configuration: its own words, checked before a machine is made for them."""

import pytest

from cpcd.model.desired import Cluster
from cpcd.spec import read_spec
from cpcd.spec.compile import compile_spec

PLACE = "spec.controlPlane.kubeadmConfigSpec"


def with_addition(valid: str, addition: str) -> bytes:
    """Return a file whose control plane tells kubeadm more."""
    return valid.replace("controlPlane: {", f"controlPlane: {{kubeadmConfigSpec: {{{addition}}}, ").encode()


def wanted(text: bytes) -> Cluster:
    """Return the only cluster of a file without mistakes."""
    reading = read_spec({"c.yaml": text})
    assert reading.mistakes == ()
    (cluster,) = compile_spec(reading, operator_key="ssh-ed25519 AAAA").clusters.values()
    return cluster


def test_what_is_added_is_wanted_as_it_was_written(valid: str) -> None:
    """In kubeadm's words, and nothing besides."""
    added = (
        "encryptionAlgorithm: ECDSA-P256, certificateValidityPeriod: 8760h, featureGates: {NodeLocalCRISocket: true}, "
        "apiServer: {extraArgs: [{name: v, value: '2'}], extraVolumes: [{name: a, hostPath: /a, mountPath: /b}]}, "
        "etcd: {local: {serverCertSANs: [e.example]}}"
    )
    patches = "kube-apiserver: {spec: {priority: 1}}, kubeletconfiguration: {maxPods: 50}"
    cluster = wanted(with_addition(valid, f"clusterConfiguration: {{{added}}}, patches: {{{patches}}}"))

    assert {
        "encryptionAlgorithm": "ECDSA-P256",
        "certificateValidityPeriod": "8760h",
        "featureGates": {"NodeLocalCRISocket": True},
        "apiServer": {
            "extraArgs": [{"name": "v", "value": "2"}],
            "extraVolumes": [{"name": "a", "hostPath": "/a", "mountPath": "/b"}],
        },
        "etcd": {"local": {"serverCertSANs": ["e.example"]}},
    } == cluster.kubeadm
    assert {"kube-apiserver": {"spec": {"priority": 1}}, "kubeletconfiguration": {"maxPods": 50}} == cluster.patches


def test_without_additions_nothing_is_wanted(valid: str) -> None:
    """Defaults are kubeadm's."""
    cluster = wanted(valid.encode())

    assert ({}, {}, {}) == (cluster.kubeadm, cluster.patches, cluster.additions)


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        ("networking: {podSubnet: 10.1.0.0/16}", "networking: "),
        ("kubernetesVersion: v1.33.0", "kubernetesVersion: "),
        ("certificatesDir: /a", "certificatesDir: "),
        ("apiServer: {certSANs: [a]}", "apiServer.certSANs: "),
        ("apiServer: {extraArg: []}", "apiServer.extraArg: unknown key; did you mean extraArgs?"),
        ("apiServer: {extraArgs: {v: 2}}", "apiServer.extraArgs: "),
        ("apiServer: {extraArgs: [{name: v, value: 2}]}", "apiServer.extraArgs[0].value: "),
        ("apiServer: null", "apiServer: must be a mapping, not null"),
        ("etcd: {external: {}}", "etcd.external: "),
        ("etcd: {local: {dataDir: /a}}", "etcd.local.dataDir: "),
        ("encryptionAlgorithm: ECDSA-P999", "encryptionAlgorithm: "),
        ("certificateValidityPeriod: 1y", "certificateValidityPeriod: "),
        ("featureGate: {}", "featureGate: unknown key; did you mean featureGates?"),
    ],
)
def test_what_the_file_says_elsewhere_and_what_kubeadm_does_not_know_is_refused(
    valid: str, addition: str, said: str
) -> None:
    """It passes over some of it and refuses the rest on the machine."""
    mistakes = read_spec({"c.yaml": with_addition(valid, f"clusterConfiguration: {{{addition}}}")}).mistakes

    assert [True] == [f"{PLACE}.clusterConfiguration.{said}" in str(one) for one in mistakes], mistakes


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("kube-proxy: {}", "kube-proxy: unknown key"),
        ("kube-apiserver: [a]", "kube-apiserver: must be a mapping, not a list"),
        ("etcd: {a: .nan}", "etcd: "),
    ],
)
def test_a_patch_is_a_mapping_for_something_that_kubeadm_patches(valid: str, patch: str, said: str) -> None:
    """A file of another name would be passed over by kubeadm."""
    (mistake,) = read_spec({"c.yaml": with_addition(valid, f"patches: {{{patch}}}")}).mistakes

    assert f"{PLACE}.patches.{said}" in str(mistake)
