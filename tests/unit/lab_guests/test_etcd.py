"""Members, leadership, quorum, and what reset does to them."""

import pytest

from cpcd.lab.guests import VerbFailed


@pytest.fixture
def three(rack):
    """Three control planes."""
    first = rack.first()
    return rack, [first, *(rack.join(first, 301 + n, f"cp{1 + n}", control_plane=True) for n in (1, 2))]


def _members(guest):
    return {member["name"]: member for member in guest.call("etcd_members", {})[0]["members"]}


def test_a_released_endpoint_is_taken_over_at_once(rack) -> None:
    """kube-vip that is told to end releases its lease; one that dies keeps it for its 15 s."""
    first = rack.first()
    rack.join(first, 302, "cp2", control_plane=True)
    began = rack.time

    first.call("release_endpoint", {"address": "10.0.0.4"})
    gone = rack.cluster.virtual()
    rack.until(lambda: rack.cluster.virtual() is not None)

    assert gone is None
    assert rack.cluster.virtual().node == "cp2"
    assert rack.time - began < 5


def test_without_quorum_reads_end_in_the_timeout(rack) -> None:
    """Recorded 343-348: 1 of 2 voters; etcdctl waits 10 s, readyz is 500, the API can still be connected to."""
    first = rack.first()
    rack.join(first, 302, "cp2", control_plane=True)
    rack.power(302, "stop")
    rack.run(5)

    with pytest.raises(VerbFailed) as no:
        first.call("etcd_members", {})

    assert ("NoQuorum", 10.0) == (no.value.reason, no.value.seconds)
    assert first.call("facts", {})[0]["readyz"] == 500
    assert ("10.0.0.101", 6443) in rack.world.apis()
    assert ("10.0.0.4", 6443) not in rack.world.apis()


def test_quorum_returns_with_the_second_machine(rack) -> None:
    """Nobody is blamed for the outage: no Node turns Unknown because of it."""
    first = rack.first()
    second = rack.join(first, 302, "cp2", control_plane=True)
    rack.power(302, "stop")
    rack.run(300)
    rack.power(302)
    took = rack.until(rack.cluster.serving)
    rack.run(60)

    assert took > 20
    assert (rack.ready("cp1"), rack.ready("cp2")) == ("True", "True")
    assert rack.node("cp2")["status"]["nodeInfo"]["bootID"] == second.boot_id
    assert ("10.0.0.4", 6443) in rack.world.apis()


def test_one_of_three_may_go(three) -> None:
    """The API goes on, the dead member is listed as unhealthy, the virtual address moves after the lease."""
    rack, (first, second, _) = three
    rack.power(301, "stop")
    rack.run(30)

    assert not _members(second)["cp1"]["healthy"]
    assert ("10.0.0.4", 6443) in rack.world.apis()
    assert rack.cluster.virtual().node != "cp1"
    assert first.booted is None


def test_leadership_moves_and_stays(three) -> None:
    """The verb hides that only the leader can be asked (recorded 337)."""
    _, guests = three
    members = _members(guests[0])
    target = members["cp3"]["id"]

    guests[1].call("etcd_move_leader", {"to": target})

    assert {target} == {guest.call("etcd_members", {})[0]["leader"] for guest in guests}


def test_removal_is_repeatable(three) -> None:
    """Recorded 272: an id that is not listed is removed already; ids are decimal text, hexadecimal is taken too."""
    rack, (first, second, _) = three
    rack.power(303, "stop")
    gone = _members(first)["cp3"]["id"]

    answers = [first.call("etcd_remove", {"id": text})[0] for text in (gone, gone, f"{int(gone):x}")]

    assert answers == [{"removed": True}] * 3
    assert {"cp1", "cp2"} == _members(second).keys()


def test_reset_of_a_healthy_control_plane_removes_its_member(rack) -> None:
    """Recorded 380-386: quorum returns to 1 of 1, the Node stays."""
    first = rack.first()
    second = rack.join(first, 302, "cp2", control_plane=True)

    assert rack.do(second, "reset")["rc"] == 0
    assert {"cp1"} == _members(first).keys()
    assert rack.cluster.serving()
    assert rack.node("cp2")


def test_reset_without_quorum_says_zero_and_deletes_the_data(three) -> None:
    """Recorded 370: rc 0 says nothing about the member, which stays listed."""
    rack, (first, second, third) = three
    rack.power(302, "stop")
    rack.power(303, "stop")

    assert rack.do(first, "reset")["rc"] == 0
    assert not first.call("facts", {})[0]["kubeadm"]["etcd_data"]
    rack.power(302)
    rack.power(303)
    rack.until(lambda: rack.cluster.readyz(third.disk.kubelet) == 200)
    assert not _members(second)["cp1"]["healthy"]


def test_a_snapshot_needs_a_running_etcd(rack) -> None:
    """A worker has none; a control plane's is verified and named."""
    first = rack.first()
    worker = rack.join(first, 302, "w1")

    good = rack.do(first, "etcd_snapshot", path="/var/lib/cpcd/s.db")
    bad = rack.do(worker, "etcd_snapshot", path="/var/lib/cpcd/s.db")

    assert {"path", "hash", "revision", "size"} == good["output"].keys()
    assert "/var/lib/cpcd/s.db" in first.disk.files
    assert bad["error"]["reason"] == "EtcdDown"
