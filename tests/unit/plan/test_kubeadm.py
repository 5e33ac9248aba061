"""The texts that kubeadm is given, read back as the YAML that they are."""

import json
from dataclasses import replace
from typing import Any

import yaml

from cpcd.plan import kubeadm
from tests.unit.plan.build import CP, WORKERS, cluster, group, row, view

ROW = row("u1")
WANTED = cluster(group(CP, 3), domain="lab.example", extra_sans=("api.example",))
SECRETS = {"token": "abcdef.0123456789abcdef", "ca_hash": "sha256:aa", "certificate_key": ""}


def documents(text: str) -> dict[str, Any]:
    """Return a text's documents by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def test_init_says_who_where_and_under_which_endpoint() -> None:
    """API version v1beta4, the machine's own address, the shared endpoint."""
    found = documents(kubeadm.init_config(WANTED, ROW, ["api.example"]))

    initial, whole, kubelet = found["InitConfiguration"], found["ClusterConfiguration"], found["KubeletConfiguration"]
    assert {"kubeadm.k8s.io/v1beta4"} == {initial["apiVersion"], whole["apiVersion"]}
    assert {"advertiseAddress": "10.0.0.11", "bindPort": 6443} == initial["localAPIEndpoint"]
    assert ("lab-cp-1", [{"name": "node-ip", "value": "10.0.0.11"}]) == (
        initial["nodeRegistration"]["name"], initial["nodeRegistration"]["kubeletExtraArgs"],
    )  # fmt: skip
    assert ("10.0.0.5:6443", "v1.34.2", "lab") == (
        whole["controlPlaneEndpoint"], whole["kubernetesVersion"], whole["clusterName"],
    )  # fmt: skip
    network = {"dnsDomain": "cluster.local", "podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12"}
    assert (network, {"certSANs": ["api.example"]}) == (whole["networking"], whole["apiServer"])
    assert ("systemd", True) == (kubelet["cgroupDriver"], kubelet["serverTLSBootstrap"])


def test_init_says_what_the_file_adds_beside_what_is_cpcds_own() -> None:
    """Arguments of the API server stand beside its names."""
    added = {"encryptionAlgorithm": "ECDSA-P256", "apiServer": {"extraArgs": [{"name": "v", "value": "2"}]}}
    whole = documents(kubeadm.init_config(replace(WANTED, kubeadm=added), ROW, ["api.example"]))["ClusterConfiguration"]
    plain = documents(kubeadm.init_config(WANTED, ROW, ["api.example"]))["ClusterConfiguration"]

    assert {**plain, **added, "apiServer": {**added["apiServer"], "certSANs": ["api.example"]}} == whole


def test_patches_lie_beside_the_manifests_and_kubeadm_is_told_where() -> None:
    """On control planes, at init and at each join; workers have none of what is patched."""
    patched = replace(WANTED, patches={"etcd": {"spec": {"priority": 1}}})
    first, more = (kubeadm.files(patched, first=first) for first in (True, False))
    init = documents(kubeadm.init_config(patched, ROW, []))["InitConfiguration"]
    master, worker = (
        documents(kubeadm.join_config(patched, ROW, {**SECRETS, "certificate_key": key}))["JoinConfiguration"]
        for key in ("k", "")
    )

    path = "/etc/kubernetes/patches/etcd+strategic.json"
    assert [{"spec": {"priority": 1}}] * 2 == [json.loads(files[path]) for files in (first, more)]
    assert [{"directory": "/etc/kubernetes/patches"}] * 2 == [one["patches"] for one in (init, master)]
    assert "patches" not in worker
    assert "patches" not in documents(kubeadm.init_config(WANTED, ROW, []))["InitConfiguration"]


def test_the_certificate_names_every_control_plane_the_endpoint_and_what_the_file_adds() -> None:
    """Workers are not the API."""
    rows = [ROW, row("u2", CP, 2), row("u3", WORKERS, 3)]

    wanted = {
        "10.0.0.5", "10.0.0.11", "10.0.0.12", "lab-cp-1", "lab-cp-2", "lab-cp-1.lab.example", "lab-cp-2.lab.example",
        "api.example", "localhost", "127.0.0.1",
    }  # fmt: skip
    assert sorted(wanted) == kubeadm.sans(view(WANTED, rows=rows), WANTED)


def test_a_worker_joins_with_a_token_and_the_ca_it_has_to_see() -> None:
    """Never blindly: discovery without a CA hash is not written."""
    found = documents(kubeadm.join_config(WANTED, row("u4", WORKERS, 4), SECRETS))["JoinConfiguration"]

    wanted = {
        "token": "abcdef.0123456789abcdef", "apiServerEndpoint": "10.0.0.5:6443", "caCertHashes": ["sha256:aa"],
    }  # fmt: skip
    assert wanted == found["discovery"]["bootstrapToken"]
    assert ("lab-general-4", False) == (found["nodeRegistration"]["name"], "controlPlane" in found)


def test_a_control_plane_joins_with_the_certificate_key_at_its_own_address() -> None:
    """The key decrypts what the peer uploaded."""
    found = documents(kubeadm.join_config(WANTED, row("u2", CP, 2), {**SECRETS, "certificate_key": "k" * 64}))

    wanted = {"localAPIEndpoint": {"advertiseAddress": "10.0.0.12", "bindPort": 6443}, "certificateKey": "k" * 64}
    assert wanted == found["JoinConfiguration"]["controlPlane"]


def test_kube_vip_holds_the_endpoint_and_uses_the_stronger_kubeconfig_on_the_first_machine() -> None:
    """admin.conf's rights come only in a later phase of init (`failures.md` K07)."""
    pods = {first: _kube_vip(first=first) for first in (True, False)}

    paths = {first: pod["spec"]["volumes"][0]["hostPath"]["path"] for first, pod in pods.items()}
    environment = {one["name"]: one["value"] for one in pods[True]["spec"]["containers"][0]["env"]}
    assert {True: "/etc/kubernetes/super-admin.conf", False: "/etc/kubernetes/admin.conf"} == paths
    assert ("10.0.0.5", "6443", "true") == (environment["address"], environment["port"], environment["cp_enable"])
    assert all(isinstance(value, str) for value in environment.values())


def test_an_external_endpoint_needs_no_static_pod() -> None:
    """Somebody else's load balancer."""
    external = cluster(endpoint=kubeadm_endpoint())

    assert {} == kubeadm.files(external, first=True)


def test_the_baseline_changes_with_version_and_time_zone() -> None:
    """A new name means preparing again."""
    names = {
        kubeadm.profile(cluster(), "Etc/UTC"), kubeadm.profile(cluster(version="v1.35.0"), "Etc/UTC"),
        kubeadm.profile(cluster(), "Europe/Berlin"),
    }  # fmt: skip

    assert 3 == len(names)


def kubeadm_endpoint() -> Any:
    """Return an endpoint that cpcd does not provide."""
    return type(WANTED.endpoint)("lb.example", 6443, "external")


def _kube_vip(*, first: bool) -> Any:
    return yaml.safe_load(kubeadm.files(WANTED, first=first)["/etc/kubernetes/manifests/kube-vip.yaml"])
