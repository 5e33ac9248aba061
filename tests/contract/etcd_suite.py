"""What cpcd asks of etcd's members: one suite, for the lab's model here and for real processes in `tests/real/etcd_port.py`.

Each test begins with three members that are healthy. START HERE: `Site`.
"""

from collections.abc import Callable
from typing import Any, Protocol

NAMES = ("cp1", "cp2", "cp3")


class Site(Protocol):
    """Three control planes' members of etcd, and hands on them."""

    def call(self, name: str, verb: str, **given: str) -> tuple[str, dict[str, Any]]:
        """Run a short verb on a machine; return the reason of its no and nothing, or "" and its output."""

    def address(self, name: str) -> str:
        """Return where a machine is."""

    def kill(self, name: str) -> None:
        """Cut a machine's power."""

    def start(self, name: str) -> None:
        """Give it back."""

    def learner(self) -> str:
        """Let a fourth control plane be listed as a learner that never starts, as a join that was killed leaves it.

        Returns its address.
        """

    def wait(self, seconds: float) -> None:
        """Let time pass."""


def eventually(site: Site, holds: Callable[[], bool], *, within: float = 60.0) -> None:
    """Wait until something holds; fails when it does not in time."""
    for _ in range(int(within * 2)):
        if holds():
            return
        site.wait(0.5)
    raise AssertionError("it never came true")


def members(site: Site, name: str) -> dict[str, dict[str, Any]]:
    """Return the members by name, and under "" who leads, as a machine tells them."""
    reason, told = site.call(name, "etcd_members")
    assert reason == "", reason
    return {each["name"]: each for each in told["members"]} | {"": {"leader": told["leader"]}}


def healthy(site: Site, name: str) -> set[str]:
    """Return the names of the members that are healthy, as a machine tells them."""
    return {each for each, member in members(site, name).items() if member.get("healthy")}


def leader(site: Site, name: str) -> str:
    """Return the leader's name, as a machine tells it."""
    told = members(site, name)
    return next((each for each, member in told.items() if member.get("id") == told[""]["leader"]), "")


def test_every_member_tells_the_same(site: Site) -> None:
    """Names, addresses and ids as text of digits; one of them leads."""
    told = [members(site, name) for name in NAMES]

    assert told[0] == told[1] == told[2]
    assert {*NAMES, ""} == told[0].keys()
    assert told[0][""]["leader"] in {told[0][name]["id"] for name in NAMES}
    for name in NAMES:
        member = told[0].pop(name)
        assert member.pop("id").isdigit()
        assert member == {
            "name": name, "peer_urls": [f"https://{site.address(name)}:2380"],
            "client_urls": [f"https://{site.address(name)}:2379"], "learner": False, "started": True, "healthy": True,
        }  # fmt: skip


def test_leadership_moves_whoever_is_asked(site: Site) -> None:
    """To a member that does not lead, asked of the third one; and again, which changes nothing."""
    before = leader(site, "cp1")
    heir, third = (name for name in NAMES if name != before)
    to = members(site, third)[heir]["id"]
    answers = [site.call(third, "etcd_move_leader", to=to) for _ in range(2)]

    assert [("", {"leader": to})] * 2 == answers
    assert {heir} == {leader(site, name) for name in NAMES}


def test_member_that_is_removed_is_gone_and_answers_no_more(site: Site) -> None:
    """By a peer, and by it again; the one that is out refuses whatever it is asked."""
    own = members(site, "cp1")["cp3"]["id"]
    site.call("cp1", "etcd_move_leader", to=members(site, "cp1")["cp1"]["id"])  # or the second answer is NoQuorum
    answers = [site.call("cp1", "etcd_remove", id=own) for _ in range(2)]
    eventually(site, lambda: site.call("cp3", "etcd_members")[0] != "")

    assert [("", {"removed": True})] * 2 == answers
    assert {"cp1", "cp2"} == healthy(site, "cp2")
    assert "EtcdDown" == site.call("cp3", "etcd_members")[0] == site.call("cp3", "etcd_remove", id=own)[0]


def test_leader_can_be_removed(site: Site) -> None:
    """Another one leads then; once it does, a second removal changes nothing."""
    before = leader(site, "cp1")
    friend = next(name for name in NAMES if name != before)
    own = members(site, friend)[before]["id"]
    answer = site.call(friend, "etcd_remove", id=own)
    eventually(site, lambda: site.call(friend, "etcd_members")[0] == "" and leader(site, friend) not in {"", before})
    again = site.call(friend, "etcd_remove", id=own)

    assert [("", {"removed": True})] * 2 == [answer, again]
    assert set(NAMES) - {before} == healthy(site, friend)


def test_member_that_is_dead_is_told_and_the_only_one_that_may_go(site: Site) -> None:
    """To remove one that lives would leave two members of which one is dead."""
    site.kill("cp3")
    eventually(site, lambda: site.call("cp1", "etcd_members")[0] == "" and healthy(site, "cp1") == {"cp1", "cp2"})
    told = members(site, "cp1")
    no = site.call("cp1", "etcd_remove", id=told["cp2"]["id"])
    yes = site.call("cp1", "etcd_remove", id=told["cp3"]["id"])

    assert ("EtcdUnhealthy", ("", {"removed": True})) == (no[0], yes)
    assert {"cp1", "cp2"} == healthy(site, "cp1") == members(site, "cp2").keys() - {""}


def test_learner_that_never_started_is_told_and_can_go(site: Site) -> None:
    """It has no name and no address for clients yet, costs no quorum, and is removed by its id."""
    address = site.learner()
    _, told = site.call("cp1", "etcd_members")
    (learner,) = (each for each in told["members"] if each["name"] not in NAMES)
    own = learner.pop("id")
    others = healthy(site, "cp2")
    answers = [site.call("cp2", "etcd_remove", id=own) for _ in range(2)]

    assert learner == {
        "name": "", "peer_urls": [f"https://{address}:2380"], "client_urls": [], "learner": True, "started": False,
        "healthy": False,
    }  # fmt: skip
    assert set(NAMES) == others
    assert [("", {"removed": True})] * 2 == answers
    assert {*NAMES, ""} == members(site, "cp3").keys()


def test_without_quorum_nothing_is_answered_and_with_it_all_is_as_before(site: Site) -> None:
    """One member of three never tells from its own memory who the members are."""
    before = members(site, "cp1")
    site.kill("cp2")
    site.kill("cp3")
    asked = {
        verb: site.call("cp1", verb, **given)[0]
        for verb, given in (("etcd_members", {}), ("etcd_remove", {"id": before["cp3"]["id"]}))
    }
    site.start("cp2")
    site.start("cp3")
    eventually(site, lambda: site.call("cp1", "etcd_members")[0] == "" and healthy(site, "cp1") == set(NAMES))

    assert {"etcd_members": "NoQuorum", "etcd_remove": "NoQuorum"} == asked
    assert {name: before[name] for name in NAMES} == {name: members(site, "cp1")[name] for name in NAMES}
