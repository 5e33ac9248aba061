"""The ports without sockets: how what machines and clusters answer becomes a `Failure`."""

import pytest

from cpcd.lab.inprocess import LabGuests, LabKube
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.ports.guests import Host
from cpcd.ports.kube import GVK

NODE = GVK("v1", "Node")


@pytest.fixture
def sleep(rack):
    """A sleep that moves the rack's clock."""

    async def pass_by(seconds: float) -> None:
        rack.run(seconds)

    return pass_by


def _host(guest, **changed):
    fields = {"uid": "u1", "name": "cp1", "address": guest.address, "port": 22, "users": ("cpcd",)}
    return Host(**{**fields, "host_key": guest.host_key, **changed})


async def test_a_verb_takes_its_seconds(rack, sleep) -> None:
    """Latency on both sides and the verb's own time."""
    first = rack.first()
    began = rack.time

    facts = await LabGuests(rack.world, sleep).call(_host(first), "facts", {})

    assert facts["hostname"] == "cp1"
    assert rack.time - began >= rack.durations.facts


async def test_a_machine_that_is_off_is_unreachable(rack, sleep) -> None:
    """Its endpoint is its own, so that its keys alone park."""
    first = rack.first()
    rack.power(301, "stop")

    with pytest.raises(Unreachable) as no:
        await LabGuests(rack.world, sleep).call(_host(first), "facts", {})

    assert no.value.endpoint == "guest:u1"


@pytest.mark.parametrize("key", ["", "ssh-ed25519 AAAA"])
async def test_an_unpinned_or_foreign_host_key_is_no_connection(rack, sleep, key) -> None:
    """`failures.md` S02."""
    first = rack.first()

    with pytest.raises(Failure) as no:
        await LabGuests(rack.world, sleep).call(_host(first, host_key=key), "facts", {})

    assert no.value.code == Code.AUTH


async def test_a_held_machine_is_busy_and_a_failed_op_has_its_reason(rack, sleep) -> None:
    """The words of the port."""
    first = rack.first()
    guests, host = LabGuests(rack.world, sleep), _host(first)
    await guests.submit(host, "a", "reset", {})
    with pytest.raises(Failure, match="busy"):
        await guests.submit(host, "b", "reset", {})
    rack.run(60)

    assert (await guests.poll(host, "a"))["state"] == "done"
    with pytest.raises(Failure, match="EtcdDown: "):
        await guests.call(host, "etcd_members", {})


async def test_reads_without_quorum_hang_until_the_client_gives_up(rack, sleep) -> None:
    """Recorded 348, 349: not ready, connected, and no answer."""
    first = rack.first()
    rack.join(first, 302, "cp2", control_plane=True)
    kube = LabKube(rack.world, "10.0.0.101", 6443, sleep, endpoint="kube:home")
    assert await kube.readyz()
    rack.power(302, "stop")
    began = rack.time

    assert not await kube.readyz()
    with pytest.raises(Unreachable):
        await kube.list(NODE)
    assert rack.time - began >= 30


async def test_absence_and_replacement_are_no_failures(rack, sleep) -> None:
    """404 is None or nothing, another uid is nobody's business; a stale patch is a 409."""
    rack.join(rack.first(), 302, "w1")
    kube = LabKube(rack.world, "10.0.0.4", 6443, sleep)

    assert await kube.get(NODE, "nobody") is None
    await kube.delete(NODE, "w1", uid="another")
    assert await kube.evict("default", "nobody", "x")
    with pytest.raises(Failure, match="409 Conflict"):
        await kube.patch(NODE, "w1", {"metadata": {"resourceVersion": "1"}})
    assert (await kube.get(NODE, "w1"))["metadata"]["name"] == "w1"


async def test_a_watch_tells_changes_and_ends_with_its_time(rack, sleep) -> None:
    """From the list's revision on; nothing is missed in between."""
    rack.join(rack.first(), 302, "w1")
    kube = LabKube(rack.world, "10.0.0.4", 6443, sleep)
    _, since = await kube.list(NODE)
    await kube.patch(NODE, "w1", {"metadata": {"labels": {"a": "b"}}})

    seen = [(kind, node["metadata"]) async for kind, node in kube.watch(NODE, since=since, timeout=5)]

    assert ("MODIFIED", "b") == (seen[0][0], seen[0][1]["labels"]["a"])
    # So that the next watch misses nothing and is told nothing twice.
    assert ("BOOKMARK", seen[-2][1]["resourceVersion"]) == (seen[-1][0], seen[-1][1]["resourceVersion"])


async def test_an_expired_watch_says_so(rack, sleep) -> None:
    """`failures.md` C02: the reason is in the text."""
    rack.first()
    kube = LabKube(rack.world, "10.0.0.4", 6443, sleep)
    rack.cluster.store.objects.compact()

    with pytest.raises(Failure, match="410 Expired"):
        await anext(kube.watch(NODE, since="1"))
