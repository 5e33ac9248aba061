"""Nodes: silence, return, deletion, cordon, certificates."""

from cpcd.ports.kube import GVK

CSR = GVK("certificates.k8s.io/v1", "CertificateSigningRequest")
NODE = GVK("v1", "Node")


def _taints(rack, name):
    return {(taint["key"].rpartition("/")[2], taint["effect"]) for taint in rack.node(name)["spec"].get("taints", ())}


def test_a_silent_node_turns_unknown_after_the_grace_period_and_back(rack) -> None:
    """Recorded 447-450: nothing for 40 s and more, then Unknown with both taints; Ready 3 s after the kubelet."""
    rack.join(rack.first(), 302, "w1")
    rack.power(302, "stop")
    rack.run(35)
    assert (rack.ready("w1"), _taints(rack, "w1")) == ("True", set())

    rack.run(15)
    assert (rack.ready("w1"), _taints(rack, "w1")) == (
        "Unknown",
        {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")},
    )

    rack.power(302)
    rack.until(lambda: rack.ready("w1") == "True", limit=30)
    rack.run(2)
    assert _taints(rack, "w1") == set()


def test_a_cut_cable_is_silence_too(rack) -> None:
    """The machine goes on; nobody reaches it, and it comes back without a boot."""
    worker = rack.join(rack.first(), 302, "w1")
    boot = worker.boot_id
    worker.unplug()
    rack.run(60)
    assert (rack.ready("w1"), rack.world.guest_at("10.0.0.102")) == ("Unknown", None)

    worker.unplug(cut=False)
    rack.run(10)
    assert (rack.ready("w1"), worker.boot_id) == ("True", boot)


def test_a_deleted_node_comes_back_only_with_its_kubelet(rack) -> None:
    """Recorded 414-427: not while the kubelet runs; after a restart as a new object with another podCIDR."""
    worker = rack.join(rack.first(), 302, "w1")
    before = rack.node("w1")
    rack.cluster.store.delete(NODE, "w1", uid=before["metadata"]["uid"])
    rack.run(75)
    assert rack.ready("w1") == ""

    worker.reboot()
    rack.until(lambda: rack.ready("w1") == "True")
    after = rack.node("w1")
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert before["spec"]["podCIDR"] != after["spec"]["podCIDR"]


def _why(rack, name):
    return next(c["message"] for c in rack.node(name)["status"]["conditions"] if c["type"] == "Ready")


def test_a_node_is_ready_only_with_a_cni(rack) -> None:
    """`failures.md` K22, recorded 219: NotReady in the kubelet's words until flannel's pod has run on it."""
    rack.first(cni=False)
    rack.run(600)
    assert rack.ready("cp1") == "False"
    assert _why(rack, "cp1") == (
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
        "message:Network plugin returns error: cni plugin not initialized"
    )

    rack.apply_cni()
    rack.until(lambda: rack.ready("cp1") == "True", limit=30)
    found = rack.cluster.store.get(GVK("apps/v1", "DaemonSet"), "kube-flannel-ds", "kube-flannel")
    rack.run(5)
    assert {1} == {found["status"][key] for key in ("desiredNumberScheduled", "currentNumberScheduled")}


def test_a_daemon_set_that_brings_no_cni_makes_no_node_ready(rack) -> None:
    """It is the directory of CNIs that a pod must mount; kube-proxy, on every node from the start, does not."""
    rack.first(cni=False)
    rack.run(60)

    assert ("False", 1) == (rack.ready("cp1"), rack.running("k8s-app=kube-proxy"))


def test_what_a_cni_wrote_outlives_its_pod_and_a_reboot(rack) -> None:
    """The configuration is a file on the machine: deleting the DaemonSet does not take it away."""
    worker = rack.join(rack.first(), 302, "w1")
    rack.cluster.store.delete(GVK("apps/v1", "DaemonSet"), "kube-flannel-ds", namespace="kube-flannel")
    rack.until(lambda: rack.running("app=flannel") == 0)
    boot = worker.boot_id
    worker.reboot()
    rack.until(lambda: rack.node("w1")["status"]["nodeInfo"]["bootID"] != boot)
    rack.run(10)

    assert "True" == rack.ready("w1")


def test_cordon_adds_the_taint_and_keeps_foreign_ones(rack) -> None:
    """Recorded 440."""
    rack.join(rack.first(), 302, "w1")
    own = [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]
    rack.cluster.store.patch(NODE, "w1", {"spec": {"unschedulable": True, "taints": own}})
    rack.run(2)
    assert _taints(rack, "w1") == {("dedicated", "NoSchedule"), ("unschedulable", "NoSchedule")}

    rack.cluster.store.patch(NODE, "w1", {"spec": {"unschedulable": None}})
    rack.run(2)
    assert _taints(rack, "w1") == {("dedicated", "NoSchedule")}


def test_a_kubelet_asks_for_its_serving_certificate_until_it_has_one(rack) -> None:
    """Requests are pending until somebody approves; then the certificate is there, and no restart asks again."""
    worker = rack.join(rack.first(), 302, "w1")

    def mine():
        listed, _ = rack.cluster.store.list(CSR)
        return [each for each in listed if each["spec"]["username"] == "system:node:w1"]

    assert len(mine()) == 1
    worker.reboot()
    rack.until(lambda: len(mine()) == 2)
    for each in mine():
        rack.cluster.store.approve(each["metadata"]["name"])
    rack.run(2)
    assert all(each["status"]["certificate"] for each in mine())
    boot = worker.boot_id
    worker.reboot()
    rack.until(lambda: rack.node("w1")["status"]["nodeInfo"]["bootID"] not in {boot, ""})
    rack.run(10)
    assert len(mine()) == 2
    assert {"digital signature", "server auth"} == set(mine()[0]["spec"]["usages"])


def test_more_memory_is_seen_by_the_node(rack) -> None:
    """A hot-plugged change reaches the Node's capacity."""
    rack.join(rack.first(), 302, "w1")
    rack.pve("PUT", "302/config", hotplug="network,disk,memory,cpu")
    rack.power(302, "stop")
    rack.power(302)
    rack.run(60)
    rack.pve("PUT", "302/config", memory=4096)
    rack.run(2)

    assert rack.node("w1")["status"]["capacity"]["memory"] == f"{4096 * 1024}Ki"


def test_a_rebuilt_machine_takes_over_the_node_of_its_name(rack) -> None:
    """`failures.md` K12: once the old Node is not Ready any more, the new machine's UUID is in it."""
    first = rack.first()
    rack.join(first, 302, "w1")
    uid = rack.node("w1")["metadata"]["uid"]
    rack.world.pve.delete_vm(302)
    rack.run(60)
    twin = rack.join(first, 303, "w1")

    assert rack.node("w1")["status"]["nodeInfo"]["systemUUID"] == twin.system_uuid
    assert rack.node("w1")["metadata"]["uid"] == uid
    assert twin.disk.kubelet.networked  # the pod of that name was Running all the time, and still it works anew
