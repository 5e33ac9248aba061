"""Joins of the lab's machines, by the names that `deserved.Rule.lab` gives them."""

from collections.abc import Callable, Mapping
from typing import Final

from cpcd.ports.kube import GVK
from tests.contract.guest_replay.ended import ended
from tests.contract.guest_replay.states import (
    Place,
    control_plane_killed,
    control_plane_slow,
    half_joined,
    joining,
    one_voter,
    slow,
    two_voters,
    worker,
    worker_killed,
)

__all__ = ["JOINS"]


def _killed(state: Callable[[], Place], name: str) -> Callable[[], str]:
    """Return what became of the op that was killed in a state."""

    def scenario() -> str:
        rack, machines = state()
        return ended(machines[name].poll(f"op{rack.serial}"))

    return scenario


def _join(*, control_plane: bool = False, endpoint: str = "10.0.0.4:6443", **changes: str) -> Callable[[], str]:
    """Return a join of a fresh machine with these secrets changed."""

    def scenario() -> str:
        rack, machines = one_voter()
        guest = rack.machine(303, "w1")
        secrets = rack.secrets(machines["cp1"], control_plane=control_plane)
        if "secret" in changes:
            secrets["token"] = f"{secrets['token'].partition('.')[0]}.{changes['secret']}"
        secrets |= {key: text for key, text in changes.items() if key != "secret"}
        given = rack.join_given(guest, secrets, control_plane=control_plane, endpoint=endpoint)
        return ended(rack.do(guest, "join", **given))

    return scenario


def _expired() -> str:
    rack, machines = one_voter()
    guest = rack.machine(303, "w1")
    secrets = rack.secrets(machines["cp1"], ttl="3s")
    rack.run(30)
    return ended(rack.do(guest, "join", **rack.join_given(guest, secrets)))


def _no_secret() -> str:
    """The certificates were never uploaded; the key is one that was made up."""
    rack, machines = one_voter()
    guest = rack.machine(302, "cp2")
    secrets = rack.secrets(machines["cp1"]) | {"certificate_key": "f" * 64}
    return ended(rack.do(guest, "join", **rack.join_given(guest, secrets, control_plane=True)))


def _rejoin(state: Callable[[], Place], name: str) -> Callable[[], str]:
    """Return a join, in whatever role the machine had, over what is there."""

    def scenario() -> str:
        rack, machines = state()
        role = name != "w1"
        given = rack.join_given(machines[name], rack.secrets(machines["cp1"], control_plane=role), control_plane=role)
        return ended(rack.do(machines[name], "join", **given))

    return scenario


def _deleted() -> Place:
    rack, machines = worker()
    rack.cluster.store.delete(GVK("v1", "Node"), "w1")
    rack.run(75)
    return rack, machines


def _stale() -> Place:
    """A control plane that was half joined and reset: its member is listed, its Node no longer Ready."""
    rack, machines = half_joined()
    rack.until(lambda: rack.ready("cp2") != "True")
    return rack, machines


def _taken() -> str:
    rack, machines = worker()
    twin = rack.machine(304, "w1")
    return ended(rack.do(twin, "join", **rack.join_given(twin, rack.secrets(machines["cp1"]))))


def _slow_worker() -> str:
    rack, machines = one_voter()
    guest = rack.machine(303, "w1")
    slow(rack)
    op = rack.submit(guest, "join", **rack.join_given(guest, rack.secrets(machines["cp1"])))
    rack.until(lambda: guest.poll(op)["state"] != "running", 2000)
    return ended(guest.poll(op))


def _slow_control_plane() -> str:
    rack, machines = control_plane_slow()
    return ended(machines["cp2"].poll(f"op{rack.serial}"))


def _third(stage: str) -> Callable[[], str]:
    """Return the join of a third control plane that loses the second one at a stage, `""` for beforehand."""

    def scenario() -> str:
        rack, machines = two_voters()
        if not stage:
            machines["cp3"] = rack.join(machines["cp1"], 304, "cp3", control_plane=True)
            rack.world.pve.delete_vm(304)
        op = joining(rack, machines, vmid=305, name="cp4")
        if stage:
            rack.until(lambda: machines["cp4"].stage == stage)
            rack.power(302, "stop")
        rack.until(lambda: machines["cp4"].poll(op)["state"] != "running", 2000)
        return ended(machines["cp4"].poll(op))

    return scenario


def _second_learner() -> str:
    rack, machines = control_plane_killed()
    op = joining(rack, machines, vmid=305, name="cp4")
    rack.until(lambda: machines["cp4"].poll(op)["state"] != "running", 2000)
    return ended(machines["cp4"].poll(op))


JOINS: Final[Mapping[str, Callable[[], str]]] = {
    "worker joins": _join(),
    "worker killed": _killed(worker_killed, "w1"),
    "worker slow": _slow_worker,
    "control plane joins": _join(control_plane=True),
    "control plane killed": _killed(control_plane_killed, "cp2"),
    "control plane slow": _slow_control_plane,
    "join: malformed token": _join(token="abc"),
    "join: token unknown": _join(token="zzzzzz.0123456789abcdef"),
    "join: token expired": _expired,
    "join: token wrong": _join(secret="0123456789abcdef"),
    "join: CA hash wrong": _join(ca_hash="sha256:" + "0" * 64),
    "join: no machine": _join(endpoint="10.0.0.99:6443"),
    "join: port closed": _join(endpoint="10.0.0.101:6444"),
    "join: no such name": _join(endpoint="nosuch-api:6443"),
    "join: no key": _join(control_plane=True, certificate_key=""),
    "join: no Secret": _no_secret,
    "join: key wrong": _join(control_plane=True, certificate_key="f" * 64),
    "join: again": _rejoin(worker, "w1"),
    "join: after a kill": _rejoin(worker_killed, "w1"),
    "join: half-joined": _rejoin(control_plane_killed, "cp2"),
    "join: peer exists": _rejoin(_stale, "cp2"),
    "join: Node deleted": _rejoin(_deleted, "w1"),
    "join: name taken": _taken,
    "join: dead voter": _third(""),
    "join: quorum lost": _third("kubelet-start"),
    "join: second learner": _second_learner,
}
