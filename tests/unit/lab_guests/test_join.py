"""`kubeadm join`: workers and control planes, and every way in which they are refused."""

import pytest

from cpcd.lab.guests import VerbFailed


def _joined(rack, guest, given):
    ended = rack.do(guest, "join", **given)
    return ended["state"], ended["error"].get("reason", "")


def test_a_control_plane_joins_as_learner_and_becomes_a_voter(rack) -> None:
    """Recorded 279-283: listed, started, promoted, in this order; then the quorum is 2 of 2."""
    first = rack.first()
    second = rack.machine(302, "cp2")
    op = rack.submit(
        second, "join", **rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True)
    )
    seen = []
    while second.poll(op)["state"] == "running":
        member = next((m for m in first.call("etcd_members", {})[0]["members"] if "102" in m["peer_urls"][0]), None)
        state = (member["learner"], member["started"]) if member else None
        seen += [state] if [state] != seen[-1:] else []
        rack.run(1)

    assert [None, (True, False), (True, True), (False, True)] == seen
    assert second.poll(op)["state"] == "done"
    assert len(rack.cluster.etcd.members) == 2
    assert {"10.0.0.4", "10.0.0.101", "10.0.0.102"} == {host for host, _ in rack.world.apis()}


def test_unknown_and_expired_tokens_fail_after_the_whole_discovery(rack) -> None:
    """Recorded 248, 284: one text for both, only after 5 minutes; nothing is left behind."""
    first = rack.first()
    worker = rack.machine(302, "w1")
    secrets = rack.secrets(first, ttl="30s")
    rack.run(60)
    began = rack.time

    refused = _joined(rack, worker, rack.join_given(worker, secrets))

    assert ("failed", "TokenUnknown") == refused
    assert rack.time - began >= 300
    assert not any(worker.call("facts", {})[0]["kubeadm"].values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"token": "aaaaaa"}, "TokenWrong"), ({"ca_hash": "sha256:" + "0" * 64}, "CaHashWrong")],
)
def test_a_wrong_secret_or_ca_hash_fails_at_once(rack, change, reason) -> None:
    """Recorded 249, 250."""
    first = rack.first()
    worker = rack.machine(302, "w1")
    secrets = rack.secrets(first)
    if "token" in change:
        change = {"token": secrets["token"].partition(".")[0] + ".0123456789abcdef"}
    began = rack.time

    refused = _joined(rack, worker, rack.join_given(worker, secrets | change))

    assert ("failed", reason) == refused
    assert rack.time - began < 30


def test_an_unreachable_endpoint_is_named_after_the_whole_discovery(rack) -> None:
    """Recorded 265."""
    first = rack.first()
    worker = rack.machine(302, "w1")

    ended = rack.do(worker, "join", **rack.join_given(worker, rack.secrets(first), endpoint="10.0.0.99:6443"))

    assert ended["error"]["reason"] == "EndpointUnreachable"
    assert "10.0.0.99:6443" in ended["error"]["message"]


@pytest.mark.parametrize(
    ("key", "reason"), [("", "CertificatesMissing"), ("f" * 64, "CertificateKeyWrong")],
)  # fmt: skip
def test_a_control_plane_needs_the_right_certificate_key(rack, key, reason) -> None:
    """Recorded 241, 246, 247: refused, and no file is left."""
    first = rack.first()
    second = rack.machine(302, "cp2")
    secrets = rack.secrets(first, control_plane=True) | {"certificate_key": key}

    refused = _joined(rack, second, rack.join_given(second, secrets, control_plane=True))

    kept = {k: v for k, v in second.call("facts", {})[0]["kubeadm"].items() if v}
    assert ("failed", reason) == refused
    assert kept == {"manifests": ["kube-vip"]}


def test_uploaded_certificates_expire_after_two_hours(rack) -> None:
    """Recorded 242: forbidden, not "not found"."""
    first = rack.first()
    second = rack.machine(302, "cp2")
    secrets = rack.secrets(first, control_plane=True, ttl="4h0m0s")
    rack.run(7201)

    refused = _joined(rack, second, rack.join_given(second, secrets, control_plane=True))

    assert ("failed", "CertificateSecretAbsent") == refused


def test_a_taken_name_is_refused_after_files_were_written(rack) -> None:
    """Recorded 411, 412: the machine needs a reset before anything else."""
    first = rack.first()
    rack.join(first, 302, "w1")
    twin = rack.machine(303, "w1")
    given = rack.join_given(twin, rack.secrets(first))

    assert _joined(rack, twin, given) == ("failed", "NameTaken")
    assert twin.call("facts", {})[0]["kubeadm"]["bootstrap_conf"]
    assert _joined(rack, twin, given) == ("failed", "PreflightFilesPresent")
    assert rack.do(twin, "reset")["state"] == "done"
    assert _joined(rack, twin, given) == ("failed", "NameTaken")


def test_a_worker_killed_before_its_kubelet_started_needs_a_reset(rack) -> None:
    """Recorded 388-397: no Node appears; the repeat fails until `reset`."""
    first = rack.first()
    worker = rack.machine(302, "w1")
    given = rack.join_given(worker, rack.secrets(first))
    rack.submit(worker, "join", **given)
    rack.until(lambda: worker.stage == "kubelet-start")
    worker.kill_job()
    rack.run(60)

    assert rack.ready("w1") == ""
    assert _joined(rack, worker, given) == ("failed", "PreflightFilesPresent")
    assert rack.do(worker, "reset")["state"] == "done"
    assert _joined(rack, worker, given) == ("done", "")


def test_a_second_learner_is_refused(rack) -> None:
    """Recorded 262: a join that was killed between listing and start blocks the next one."""
    first = rack.first()
    second, third = rack.machine(302, "cp2"), rack.machine(303, "cp3")
    rack.submit(second, "join", **rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True))
    rack.until(lambda: second.stage == "etcd-manifest")
    rack.power(302, "stop")

    refused = _joined(rack, third, rack.join_given(third, rack.secrets(first, control_plane=True), control_plane=True))

    assert ("failed", "TooManyLearners") == refused
    assert rack.cluster.healthy()


@pytest.mark.parametrize("stage", ["etcd-manifest", "etcd-sync", "etcd-promote", "mark-control-plane"])
def test_a_killed_control_plane_join_is_mended_by_remove_reset_join(rack, stage) -> None:
    """`design.md` 5: remove the member through a peer, then reset, then join; quorum is never lost on the way."""
    first = rack.first()
    second = rack.machine(302, "cp2")
    rack.submit(second, "join", **rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True))
    rack.until(lambda: second.stage == stage)
    second.kill_job()
    rack.run(2)

    stale = [m["id"] for m in first.call("etcd_members", {})[0]["members"] if "102" in m["peer_urls"][0]]
    assert len(stale) == 1
    assert first.call("etcd_remove", {"id": stale[0]})[0] == {"removed": True}
    assert rack.do(second, "reset")["state"] == "done"
    given = rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True)
    rack.until(lambda: rack.ready("cp2") != "True")
    assert _joined(rack, second, given) == ("done", "")
    assert [False, False] == [m["learner"] for m in first.call("etcd_members", {})[0]["members"]]


def test_a_dead_voter_stops_the_next_join(rack) -> None:
    """`failures.md` K04: a VM destroyed without removing its member."""
    first = rack.first()
    rack.join(first, 302, "cp2", control_plane=True)
    rack.join(first, 303, "cp3", control_plane=True)
    fourth = rack.machine(304, "cp4")
    given = rack.join_given(fourth, rack.secrets(first, control_plane=True), control_plane=True)
    rack.world.pve.delete_vm(303)

    assert _joined(rack, fourth, given) == ("failed", "EtcdUnhealthy")


def test_a_join_can_fail_with_its_member_already_a_voter(make_rack) -> None:
    """Recorded 319: the TLS bootstrap comes after the promotion."""
    rack = make_rack(register=3.0)
    first = rack.first()
    second = rack.machine(302, "cp2")
    given = rack.join_given(second, rack.secrets(first, control_plane=True), control_plane=True)
    second.jobs.faults["join", "mark-control-plane"] = VerbFailed("KubeletBootstrap", "context deadline exceeded")

    refused = _joined(rack, second, given)

    assert ("failed", "KubeletBootstrap") == refused
    assert [False, False] == [m["learner"] for m in first.call("etcd_members", {})[0]["members"]]


def test_join_secrets_need_a_working_admin_conf(rack) -> None:
    """A worker has none; a half-made control plane's is forbidden everything."""
    first = rack.first()
    worker = rack.join(first, 302, "w1")

    with pytest.raises(VerbFailed) as no:
        rack.secrets(worker)
    assert "admin" in no.value.message
