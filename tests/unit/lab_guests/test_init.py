"""`kubeadm init`: killed anywhere, repeated, refused."""

import pytest

STAGES = (
    "preflight", "certs", "kubeconfig", "etcd", "control-plane", "kubelet-start", "wait-control-plane",
    "upload-config", "mark-control-plane", "bootstrap-token", "addon",
)  # fmt: skip


def _killed(rack, stage):
    """Begin init, kill it in a stage, and return the machine."""
    guest = rack.machine(301, "cp1")
    op = rack.submit(guest, "init", **rack.init_given(guest))
    rack.until(lambda: guest.stage == stage)
    guest.kill_job()
    assert guest.poll(op)["state"] == "lost"
    return guest


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_init_is_finished_by_a_repeat(rack, stage) -> None:
    """Recorded 147-188: whatever was half done, a repeat keeps CA and data and ends in one healthy voter."""
    guest = _killed(rack, stage)
    before = [cluster.ca_hash for cluster in rack.world.clusters]

    ended = rack.do(guest, "init", **rack.init_given(guest))
    rack.apply_cni()
    rack.until(lambda: rack.ready("cp1") == "True")

    members, _ = guest.call("etcd_members", {})
    assert ended["state"] == "done", ended
    assert len(rack.world.clusters) == 1
    assert before in ([], [ended["output"]["ca_hash"]])
    assert [(False, True, True)] == [(m["learner"], m["started"], m["healthy"]) for m in members["members"]]
    assert rack.cluster.authorized()


def test_the_kubelet_brings_a_half_made_control_plane_up_alone(rack) -> None:
    """Recorded 156-173: readyz 200, a Node, admin.conf, and yet no kubeadm-config and no role label."""
    guest = _killed(rack, "wait-control-plane")
    rack.run(90)

    facts, _ = guest.call("facts", {})
    found = rack.cluster.store.objects.find
    assert (200, True, True) == (facts["readyz"], facts["kubeadm"]["admin_conf"], facts["kubeadm"]["etcd_data"])
    assert found("ConfigMap", "kubeadm-config", "kube-system") is None
    assert "node-role.kubernetes.io/control-plane" not in rack.node("cp1")["metadata"]["labels"]
    assert not rack.cluster.authorized()


def test_a_power_cut_in_the_middle_of_init_is_finished_by_a_repeat(rack) -> None:
    """The same through the power button, with a boot in between."""
    guest = rack.machine(301, "cp1")
    op = rack.submit(guest, "init", **rack.init_given(guest))
    rack.until(lambda: guest.stage == "upload-config")
    rack.power(301, "stop")
    rack.power(301)
    rack.until(lambda: guest.ssh_up)

    assert guest.poll(op)["state"] == "lost"
    assert rack.do(guest, "init", **rack.init_given(guest))["state"] == "done"
    assert len(rack.world.clusters) == 1


def test_init_over_a_joined_machine_is_refused(rack) -> None:
    """Only traces of an own init are ignored (`guest/kubeadm.py` half_made)."""
    first = rack.first()
    second = rack.join(first, 302, "cp2", control_plane=True)

    ended = rack.do(second, "init", **rack.init_given(second))

    assert ("failed", "PreflightFilesPresent") == (ended["state"], ended["error"]["reason"])
    assert len(rack.world.clusters) == 1


def test_kube_vip_with_admin_conf_never_gets_its_lease_in_init(rack) -> None:
    """`failures.md` K07: before RBAC admin.conf may do nothing, so the endpoint never answers and init gives up."""
    guest = rack.machine(301, "cp1")

    ended = rack.do(guest, "init", **rack.init_given(guest, credentials="admin.conf"))

    assert ("failed", "ApiTimeout") == (ended["state"], ended["error"]["reason"])


def test_a_configuration_of_another_version_is_refused(rack) -> None:
    """Recorded 72."""
    guest = rack.machine(301, "cp1")
    given = rack.init_given(guest)
    given["config"] = given["config"].replace("v1beta4", "v1beta2")

    ended = rack.do(guest, "init", **given)

    assert ("failed", "InvalidConfig") == (ended["state"], ended["error"]["reason"])


@pytest.mark.parametrize(
    ("first", "again", "wanted"),
    [("[a.x, b.x]", "[a.x, b.x]", "done"), ("[a.x, b.x]", "[a.x]", "done"), ("[a.x]", "[a.x, b.x]", "failed")],
)
def test_a_repeat_with_a_name_that_the_certificate_lacks_is_refused(rack, first, again, wanted) -> None:
    """As kubeadm compares an apiserver.crt that is there with its configuration: fewer names are as good, more are not."""
    guest = rack.machine(301, "cp1")
    given = {names: rack.init_given(guest) for names in (first, again)}
    for names, one in given.items():
        one["config"] = one["config"].replace(
            '"kind": "ClusterConfiguration"', f'"apiServer": {{"certSANs": {names}}}, "kind": "ClusterConfiguration"'
        )
    rack.submit(guest, "init", **given[first])
    rack.until(lambda: guest.stage == "kubeconfig")
    guest.kill_job()

    ended = rack.do(guest, "init", **given[again])

    assert ended["state"] == wanted
    assert ("certificate apiserver is invalid" in ended["error"].get("message", "")) is (wanted == "failed")


def test_reset_begins_anew_with_another_ca(rack) -> None:
    """Recorded 190-197: everything local goes, rc 0; an init after it makes another cluster."""
    guest = rack.first()
    old = rack.cluster.ca_hash

    ended = rack.do(guest, "reset")
    facts, _ = guest.call("facts", {})
    again = rack.do(guest, "init", **rack.init_given(guest))

    kept = {key: value for key, value in facts["kubeadm"].items() if value}
    assert ("done", {}, 0) == (ended["state"], kept, facts["readyz"])
    assert again["state"] == "done"
    assert again["output"]["ca_hash"] != old
