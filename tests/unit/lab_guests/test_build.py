"""A cluster built by hand, from an empty Proxmox to Ready nodes."""

import base64

import yaml
from cryptography import x509

from cpcd.lab.kube import MANIFESTS
from cpcd.lab.kube.objects import Object
from cpcd.ports.guests import SHORT_VERBS
from cpcd.ports.kube import GVK


def test_one_control_plane_and_one_worker_become_ready(rack) -> None:
    """Clone, start, prepare, init, join: two Ready nodes with the facts that cpcd compares."""
    first = rack.first()
    worker = rack.join(first, 302, "w1")
    rack.until(lambda: rack.ready("cp1") == "True")

    info = rack.node("w1")["status"]["nodeInfo"]
    assert (worker.system_uuid, worker.boot_id, "v1.34.2") == (
        info["systemUUID"],
        info["bootID"],
        info["kubeletVersion"],
    )
    assert {"10.0.0.4", "10.0.0.101"} == {host for host, _ in rack.world.apis()}
    assert "node-role.kubernetes.io/control-plane" in rack.node("cp1")["metadata"]["labels"]
    assert "node-role.kubernetes.io/control-plane" not in rack.node("w1")["metadata"]["labels"]
    assert rack.node("cp1")["spec"]["podCIDR"] != rack.node("w1")["spec"]["podCIDR"]


def test_a_finished_init_leaves_the_evidence_that_cpcd_reads(rack) -> None:
    """Recorded 185: kubeadm-config and cluster-info exist, CoreDNS and kube-proxy run, the facts say so."""
    first = rack.first()
    rack.join(first, 302, "w1")
    rack.until(lambda: rack.running("k8s-app=kube-dns") == 2)

    facts, _ = first.call("facts", {})
    names = {(o["metadata"].get("namespace"), o["metadata"]["name"]) for o in rack.cluster.store.objects.everything()}
    assert {("kube-system", "kubeadm-config"), ("kube-public", "cluster-info")} <= names
    assert (200, True, True) == (facts["readyz"], facts["kubeadm"]["admin_conf"], facts["kubeadm"]["etcd_data"])
    assert [*sorted(facts["kubeadm"]["manifests"])] == [
        "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-vip",
    ]  # fmt: skip
    assert rack.running("k8s-app=kube-proxy") == 2


def test_facts_have_exactly_the_keys_of_the_catalogue(rack) -> None:
    """`ports/guests.py` says which keys; certificates end in the future."""
    first = rack.first()
    rack.cluster.store.approve(
        rack.cluster.store.list(GVK("certificates.k8s.io/v1", "CertificateSigningRequest"))[0][0]["metadata"]["name"]
    )
    rack.run(5)

    facts, _ = first.call("facts", {})

    assert set(SHORT_VERBS["facts"][1]) == set(facts)
    assert {"apiserver", "etcd-server", "admin.conf", "kubelet-server"} <= facts["certificates"].keys()
    assert min(facts["certificates"].values()) > facts["clock"] + 364 * 86400


def test_init_switches_kube_vip_to_admin_conf(rack) -> None:
    """`failures.md` K07: super-admin.conf only until RBAC is there."""
    first = rack.first()

    assert "super-admin.conf" not in first.disk.files[f"{MANIFESTS}/kube-vip.yaml"].text


def test_kubeconfig_and_serving_certificate_belong_together(rack) -> None:
    """The written kubeconfig's CA verifies what the API server shows, and pins the join's hash."""
    first = rack.first()

    output, _ = first.call("kubeconfig", {})

    document = yaml.safe_load(output["kubeconfig"])
    ca, user = (
        x509.load_pem_x509_certificate(base64.b64decode(text))
        for text in (
            document["clusters"][0]["cluster"]["certificate-authority-data"],
            document["users"][0]["user"]["client-certificate-data"],
        )
    )
    server = x509.load_pem_x509_certificate(rack.cluster.serving_certificate()[0].encode())
    for certificate in (user, server):
        certificate.verify_directly_issued_by(ca)
    assert document["clusters"][0]["cluster"]["server"] == "https://10.0.0.4:6443"
    assert output["ca_hash"] == rack.secrets(first)["ca_hash"]


def test_the_same_seed_builds_the_same_world(make_rack) -> None:
    """Ids, keys, objects and their revisions repeat: nothing but the seed steers the world."""
    worlds = [make_rack(), make_rack()]
    for rack in worlds:
        rack.join(rack.first(), 302, "w1")

    def told(rack) -> object:
        objects = rack.cluster.store.objects.everything()
        public = [o["metadata"] for o in objects]
        keys = [guest.host_key for guest in rack.world.guests.values()]
        return rack.time, public, keys, rack.cluster.ca_hash

    assert told(worlds[0]) == told(worlds[1])


def test_an_idle_cluster_plans_nothing_but_reports(rack) -> None:
    """Kubelets write their Node every five minutes, with new times alone; simulated hours are all but free."""
    rack.join(rack.first(), 302, "w1")
    rack.run(1000)  # past the life of the join's token
    objects = rack.cluster.store.objects
    revision, before = objects.revision, {uid(one): meaning(one) for one in objects.everything()}

    rack.run(300)
    due = rack.world.events.next_due()

    assert {uid(one): meaning(one) for one in objects.everything()} == before
    assert revision + 2 == objects.revision
    assert due is None or due > rack.time + 60


def uid(obj: Object) -> str:
    """Return an object's UID."""
    return str(obj["metadata"]["uid"])


def meaning(obj: Object) -> Object:
    """Return an object without what a kubelet's report moves."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    status = dict(obj.get("status", {}))
    conditions = [
        {name: value for name, value in one.items() if name != "lastHeartbeatTime"}
        for one in status.pop("conditions", [])
    ]
    return {**obj, "metadata": metadata, "status": {**status, "conditions": conditions}}
