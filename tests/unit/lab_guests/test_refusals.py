"""What the modelled kubeadm refuses as the real one does, before or while it works."""

import dataclasses
import json

import pytest


def _initialised(rack, guest, **fields):
    """Run init with these fields in its ClusterConfiguration and return its state and reason."""
    given = rack.init_given(guest)
    documents = [json.loads(text) for text in given["config"].split("\n---\n")]
    documents[1] |= fields
    ended = rack.do(guest, "init", **given | {"config": "\n---\n".join(map(json.dumps, documents))})
    return ended["state"], ended["error"].get("reason", "")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"networkings": {}}, "InvalidConfig"),
        ({"kubernetesVersion": 1.35}, "InvalidConfig"),
        ({"networking": {"podSubnet": "10.244.0.0/33"}}, "InvalidConfig"),
        ({"kubernetesVersion": "v1.31.0"}, "VersionUnsupported"),
    ],
)
def test_a_configuration_that_kubeadm_refuses_is_refused(rack, fields, reason) -> None:
    """Recorded 61, 63, 73, 78: nothing is left on the machine."""
    guest = rack.machine(301, "cp1")

    assert ("failed", reason) == _initialised(rack, guest, **fields)
    assert not any(guest.call("facts", {})[0]["kubeadm"].values())


@pytest.mark.parametrize("version", ["v1.33.9", "v1.36.1"])
def test_a_neighbouring_minor_is_accepted(rack, version) -> None:
    """Recorded 73, 77: one older is supported, a newer one is only warned about."""
    guest = rack.machine(301, "cp1")

    assert _initialised(rack, guest, kubernetesVersion=version) == ("done", "")


def test_a_held_port_a_stopped_runtime_and_absent_images_are_found_in_this_order(rack) -> None:
    """Recorded 87, 109, 141: images are pulled when nothing else is in the way."""
    guest = rack.machine(301, "cp1")
    guest.listening, guest.containerd, guest.registry = {6443, 10250}, False, False

    reasons = [_initialised(rack, guest)[1]]
    stopped = guest.call("facts", {})[0]["services"]["containerd"]
    guest.containerd = True
    reasons.append(_initialised(rack, guest)[1])

    assert (["RuntimeDown", "PreflightPortInUse"], False) == (reasons, stopped["active"])


def test_images_that_cannot_be_had_stop_an_init(rack) -> None:
    """Recorded 141; a worker pulls none before it joins."""
    guest = rack.machine(301, "cp1")
    guest.registry = False

    assert _initialised(rack, guest) == ("failed", "ImagePull")


def test_a_malformed_token_is_refused_at_once(rack) -> None:
    """Recorded 289: before anything is looked at."""
    first = rack.first()
    worker = rack.machine(302, "w1")
    given = rack.join_given(worker, rack.secrets(first) | {"token": "abc"})
    began = rack.time

    ended = rack.do(worker, "join", **given)

    assert ("failed", "InvalidConfig") == (ended["state"], ended["error"]["reason"])
    assert rack.time - began < 1


def test_a_joining_control_plane_has_its_kubeconfig_before_its_kubelet_is_known(rack) -> None:
    """Recorded 257, 264: both files of the kubelet are there, and a repeat stumbles over both."""
    first = rack.first()
    second = rack.machine(302, "cp2")
    given = rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True)
    rack.submit(second, "join", **given)
    rack.until(lambda: second.stage == "etcd-join")
    second.kill_job()

    files = second.call("facts", {})[0]["kubeadm"]
    ended = rack.do(second, "join", **given)

    assert (True, True) == (files["kubelet_conf"], files["bootstrap_conf"])
    assert "kubelet.conf" in ended["error"]["message"]
    assert ended["error"]["reason"] == "PreflightFilesPresent"


def test_the_bootstrap_file_is_gone_when_the_bootstrap_never_came(rack) -> None:
    """Recorded 319, 327: the member is a voter, the kubelet has no certificate."""
    first = rack.first()
    second = rack.machine(302, "cp2")
    rack.cluster.lags = dataclasses.replace(rack.cluster.lags, register=1000.0)
    op = rack.submit(
        second, "join", **rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True)
    )
    rack.until(lambda: second.poll(op)["state"] != "running", 1000)

    files = second.call("facts", {})[0]["kubeadm"]

    assert second.poll(op)["error"]["reason"] == "KubeletBootstrap"
    assert (True, False) == (files["kubelet_conf"], files["bootstrap_conf"])
    assert [False, False] == [member["learner"] for member in first.call("etcd_members", {})[0]["members"]]


def test_an_etcd_that_loses_quorum_under_a_join_is_blamed(rack) -> None:
    """Recorded 340: it is etcd that gave no answer in time, not the API server."""
    first = rack.first()
    rack.join(first, 302, "cp2", control_plane=True)
    third = rack.machine(303, "cp3")
    given = rack.join_given(third, rack.secrets(first, control_plane=True), control_plane=True)
    op = rack.submit(third, "join", **given)
    rack.until(lambda: third.stage == "kubelet-start")
    rack.power(302, "stop")
    rack.until(lambda: third.poll(op)["state"] != "running")

    assert third.poll(op)["error"]["reason"] == "NoQuorum"
