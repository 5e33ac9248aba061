"""The second use: the lab's machines are put into the recorded situation and asked for the same verb's result.

`SCENARIOS` has one entry for each name in `deserved.Rule.lab`; each builds its own world. Joins and logins have files
of their own; states that are only looked at are `observed.py`'s. Must not look at what is deserved.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from cpcd.lab.guests import Guest, VerbFailed
from cpcd.lab.kube import MANIFESTS
from tests.contract.guest_replay.deserved import OK
from tests.contract.guest_replay.ended import called, ended
from tests.contract.guest_replay.joins import JOINS
from tests.contract.guest_replay.logins import LOGINS
from tests.contract.guest_replay.states import (
    Place,
    control_plane_killed,
    half_joined,
    init_killed,
    one_of_two,
    one_voter,
    refused_worker,
    two_voters,
    worker_killed,
)
from tests.unit.lab_guests.conftest import Rack

__all__ = ["SCENARIOS"]


def _init(change: Callable[[Guest, dict[str, Any]], None] = lambda _guest, _given: None) -> Callable[[], str]:
    """Return an init of a fresh machine after a change to the machine or to the configuration."""

    def scenario() -> str:
        rack = Rack()
        guest = rack.machine(301, "cp1")
        given = rack.init_given(guest)
        change(guest, given)
        return ended(rack.do(guest, "init", **given))

    return scenario


def _configured(**changes: Any) -> Callable[[], str]:
    """Return an init whose ClusterConfiguration has these fields."""

    def change(_guest: Guest, given: dict[str, Any]) -> None:
        documents = [json.loads(text) for text in given["config"].split("\n---\n")]
        given["config"] = "\n---\n".join(json.dumps(documents[0] if n == 0 else {**each, **(changes if n == 1 else {})}) for n, each in enumerate(documents))  # fmt: skip

    return _init(change)


def _version(guest: Guest, given: dict[str, Any]) -> None:
    given["config"] = given["config"].replace("v1beta4", "v1beta5")


def _ports(guest: Guest, _given: dict[str, Any]) -> None:
    guest.listening |= {6443, 10250}


def _runtime(guest: Guest, _given: dict[str, Any]) -> None:
    guest.containerd = False


def _images(guest: Guest, _given: dict[str, Any]) -> None:
    guest.registry = False


def _leftovers(guest: Guest, _given: dict[str, Any]) -> None:
    for name in ("manifests/kube-apiserver.yaml", "manifests/etcd.yaml", "admin.conf"):
        guest.disk.write(name, "", guest.now)


def _killed(state: Callable[[], Place], name: str) -> Callable[[], str]:
    """Return what became of the op that was killed in a state."""

    def scenario() -> str:
        rack, machines = state()
        return ended(machines[name].poll(f"op{rack.serial}"))

    return scenario


def _reset(state: Callable[[], Place], name: str) -> Callable[[], str]:
    def scenario() -> str:
        rack, machines = state()
        return ended(rack.do(machines[name], "reset"))

    return scenario


def _clean() -> str:
    rack = Rack()
    return ended(rack.do(rack.machine(301, "cp1"), "reset"))


def _again() -> str:
    """An init over what an earlier one of ours left, with its preflight findings ignored."""
    rack, machines = init_killed("wait-control-plane", 300)
    return ended(rack.do(machines["cp1"], "init", **rack.init_given(machines["cp1"])))


def _after_certs() -> str:
    rack, machines = init_killed("certs")
    return ended(rack.do(machines["cp1"], "init", **rack.init_given(machines["cp1"])))


def _over(state: Callable[[], Place]) -> Callable[[], str]:
    """Return an init over what is there and is not known for an init of ours: its findings are obeyed."""

    def scenario() -> str:
        rack, machines = state()
        machines["cp1"].disk.ops.clear()
        return ended(rack.do(machines["cp1"], "init", **rack.init_given(machines["cp1"])))

    return scenario


def _api_away() -> str:
    """An init whose API server goes away before the addons."""
    rack = Rack()
    guest = rack.machine(301, "cp1")
    op = rack.submit(guest, "init", **rack.init_given(guest))
    rack.until(lambda: guest.stage == "addon")
    del guest.disk.files[f"{MANIFESTS}/kube-apiserver.yaml"]
    rack.until(lambda: guest.poll(op)["state"] != "running")
    return ended(guest.poll(op))


def _removed(times: int) -> Callable[[], str]:
    def scenario() -> str:
        _, machines = half_joined()
        stale = next(m for m in machines["cp1"].call("etcd_members", {})[0]["members"] if not m["started"])
        return [called(machines["cp1"], "etcd_remove", id=stale["id"]) for _ in range(times)][-1]

    return scenario


def _asked(state: Callable[[], Place], verb: str, **given: Any) -> Callable[[], str]:
    return lambda: called(state()[1]["cp1"], verb, **given)


def _submitted() -> str:
    rack, machines = one_voter()
    op = rack.submit(machines["cp1"], "etcd_snapshot", path="/var/lib/cpcd/s.db")
    return OK if machines["cp1"].poll(op)["state"] == "running" else "not running"


def _saved() -> str:
    rack, machines = one_voter()
    return ended(rack.do(machines["cp1"], "etcd_snapshot", path="/var/lib/cpcd/s.db"))


def _held() -> str:
    rack, machines = one_voter()
    rack.submit(machines["cp1"], "etcd_snapshot", path="/var/lib/cpcd/s.db")
    try:
        rack.submit(machines["cp1"], "reset")
    except VerbFailed as no:
        return no.reason
    return OK


SCENARIOS: Final[Mapping[str, Callable[[], str]]] = {
    **JOINS,
    **LOGINS,
    "init": _init(),
    "init after certs": _after_certs,
    "init repeated": _again,
    "init killed: certs": _killed(lambda: init_killed("certs"), "cp1"),
    "init killed: wait-control-plane": _killed(lambda: init_killed("wait-control-plane"), "cp1"),
    "init killed: bootstrap-token": _killed(lambda: init_killed("bootstrap-token"), "cp1"),
    "init: version too old": _configured(kubernetesVersion="v1.31.0"),
    "init: version is a number": _configured(kubernetesVersion=1.35),
    "init: unknown field": _configured(networkings={}),
    "init: bad CIDR": _configured(networking={"podSubnet": "10.244.0.0/33"}),
    "init: api version": _init(_version),
    "init: runtime down": _init(_runtime),
    "init: images absent": _init(_images),
    "init: ports in use": _init(_ports),
    "init: API away": _api_away,
    "init: manifests present": _init(_leftovers),
    "init: after a kill": _over(lambda: init_killed("wait-control-plane")),
    "init: second time": _over(one_voter),
    "reset: clean": _clean,
    "reset: refused": _reset(refused_worker, "w1"),
    "reset: killed worker": _reset(worker_killed, "w1"),
    "reset: half-joined": _reset(control_plane_killed, "cp2"),
    "reset: second control plane": _reset(two_voters, "cp2"),
    "reset: no quorum": _reset(one_of_two, "cp1"),
    "reset: control plane": _reset(one_voter, "cp1"),
    "secrets: control plane": _asked(one_voter, "join_secrets", ttl="15m", control_plane=True),
    "secrets: worker": _asked(one_voter, "join_secrets", ttl="15m", control_plane=False),
    "member removed": _removed(1),
    "member removed twice": _removed(2),
    "member id empty": _asked(one_voter, "etcd_remove", id=""),
    "remove: no quorum": _asked(one_of_two, "etcd_remove", id="1"),
    "snapshot saved": _saved,
    "submitted": _submitted,
    "held": _held,
}
