"""Clusters of the lab in the states that the recorder's machines were in, driven through the catalogue's verbs alone.

Each function builds one state from an empty world; what is then asked of it is in `scenarios.py`. A state that is only
looked at is built once (`state_of`).
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from cpcd.lab.guests import Guest
from tests.contract.guest_replay.transcript import Transcript
from tests.unit.lab_guests.conftest import Rack

__all__ = [
    "STATES", "Machines", "Place", "control_plane_killed", "control_plane_slow", "fresh_state", "half_joined", "init_killed",
    "joining", "machine_of", "named", "one_of_two", "one_voter", "prepared", "rebooted", "refused_worker", "slow", "state_of",
    "two_voters", "worker", "worker_killed",
]  # fmt: skip

Machines = dict[str, Guest]
Place = tuple[Rack, Machines]


def one_voter() -> Place:
    """A finished init."""
    rack = Rack()
    return rack, {"cp1": rack.first()}


def init_killed(stage: str, later: float = 0.0) -> Place:
    """An init that was killed in a stage, some seconds ago."""
    rack = Rack()
    first = rack.machine(301, "cp1")
    rack.submit(first, "init", **rack.init_given(first))
    rack.until(lambda: first.stage == stage)
    first.kill_job()
    rack.run(later)
    return rack, {"cp1": first}


def _reset() -> Place:
    rack, machines = one_voter()
    rack.do(machines["cp1"], "reset")
    return rack, machines


def refused_worker() -> Place:
    """A worker whose join was refused in discovery."""
    rack, machines = one_voter()
    machines["w1"] = rack.machine(303, "w1")
    secrets = rack.secrets(machines["cp1"]) | {"token": "zzzzzz.0123456789abcdef"}
    rack.do(machines["w1"], "join", **rack.join_given(machines["w1"], secrets))
    return rack, machines


def worker() -> Place:
    """A joined worker."""
    rack, machines = one_voter()
    machines["w1"] = rack.join(machines["cp1"], 303, "w1")
    return rack, machines


def worker_killed(stage: str = "kubelet-start") -> Place:
    """A worker whose join was killed after its first files were written."""
    rack, machines = one_voter()
    machines["w1"] = rack.machine(303, "w1")
    rack.submit(machines["w1"], "join", **rack.join_given(machines["w1"], rack.secrets(machines["cp1"])))
    rack.until(lambda: machines["w1"].stage == stage)
    machines["w1"].kill_job()
    rack.run(60)
    return rack, machines


def joining(rack: Rack, machines: Machines, *, vmid: int = 302, name: str = "cp2") -> str:
    """Submit a control plane's join and return its op."""
    machines[name] = rack.machine(vmid, name)
    secrets = rack.secrets(machines["cp1"], control_plane=True)
    return rack.submit(machines[name], "join", **rack.join_given(machines[name], secrets, control_plane=True))


def control_plane_killed(stage: str = "etcd-manifest") -> Place:
    """A second control plane whose join was killed when its member was listed and etcd.yaml not written."""
    rack, machines = one_voter()
    joining(rack, machines)
    rack.until(lambda: machines["cp2"].stage == stage)
    machines["cp2"].kill_job()
    rack.run(2)
    return rack, machines


def refused_control_plane() -> Place:
    """A control plane whose join was refused for want of a certificate key."""
    rack, machines = one_voter()
    machines["cp2"] = rack.machine(302, "cp2")
    secrets = rack.secrets(machines["cp1"])
    rack.do(machines["cp2"], "join", **rack.join_given(machines["cp2"], secrets, control_plane=True))
    return rack, machines


def half_joined() -> Place:
    """The same after `kubeadm reset` of the newcomer: its member is still listed."""
    rack, machines = control_plane_killed()
    rack.do(machines["cp2"], "reset")
    return rack, machines


def member_removed() -> Place:
    """The same after the stale member was removed by id."""
    rack, machines = half_joined()
    stale = next(m for m in machines["cp1"].call("etcd_members", {})[0]["members"] if not m["started"])
    machines["cp1"].call("etcd_remove", {"id": stale["id"]})
    return rack, machines


def control_plane_slow() -> Place:
    """A second control plane whose join ended in the TLS bootstrap's time-out, its member a voter."""
    rack, machines = one_voter()
    slow(rack)
    op = joining(rack, machines)
    rack.until(lambda: machines["cp2"].poll(op)["state"] != "running", 2000)
    return rack, machines


def slow(rack: Rack) -> None:
    """From now on a kubelet needs longer to register than kubeadm waits."""
    rack.cluster.lags = replace(rack.cluster.lags, register=1000.0)


def two_voters() -> Place:
    """Two control planes."""
    rack, machines = one_voter()
    machines["cp2"] = rack.join(machines["cp1"], 302, "cp2", control_plane=True)
    return rack, machines


def one_of_two() -> Place:
    """Two control planes, the second without power."""
    rack, machines = two_voters()
    rack.power(302, "stop")
    rack.run(5)
    return rack, machines


def second_reset() -> Place:
    """Two control planes, the second of them reset in health."""
    rack, machines = two_voters()
    rack.do(machines["cp2"], "reset")
    return rack, machines


def rebooted(later: float = 200.0) -> Place:
    """A control plane that was rebooted from inside some seconds ago."""
    rack, machines = one_voter()
    machines["cp1"].reboot()
    rack.run(later)
    return rack, machines


def _power_cut() -> Place:
    rack, machines = one_voter()
    rack.power(301, "stop")
    rack.power(301)
    rack.run(200)
    return rack, machines


def _runtime_down() -> Place:
    rack, machines = one_voter()
    machines["cp1"].containerd = False
    return rack, machines


def prepared() -> Place:
    """Machines that were prepared and nothing else."""
    rack = Rack()
    return rack, {"cp1": rack.machine(301, "cp1")}


# A note's words -> the state; the first that matches. What a note says stands before its colon or after "after".
STATES: Final[Mapping[str, Callable[[], Place]]] = {
    r"^fresh prepared machine": prepared,
    r"after kill during certs": lambda: init_killed("certs"),
    r"just after kill in wait-control-plane": lambda: init_killed("wait-control-plane"),
    r"after kill in wait-control-plane": lambda: init_killed("wait-control-plane", 300),
    r"after (?:the )?(?:later )?kill (?:in|during) (?:upload|bootstrap|addon)": lambda: init_killed(
        "bootstrap-token", 60
    ),
    r"after reset -f|what reset leaves": _reset,
    r"^after init\b|^one member|^before a reboot": one_voter,
    r"failed joins left": refused_worker,
    r"refused joins": refused_control_plane,
    r"unstarted member|after the killed control-plane join": control_plane_killed,
    r"after reset of the half-joined": half_joined,
    r"after the removal(?! of (?:a|the) healthy)": member_removed,
    r"after (?:the )?kill(?:ed)?.* join|after kill.* join|after kill(?:ing)? .*bootstrap-kubelet": worker_killed,
    r"after the (?:failed )?control-plane join|two voters \(the join itself": control_plane_slow,
    r"^two members|both again|after quorum": two_voters,
    r"1 of 2 voters|without quorum": one_of_two,
    r"after reset of cp2": second_reset,
    r"^(?:just )?after join:": worker,
    r"while the second control plane joins": two_voters,
    r"after the reboot|^reboot of the control plane": rebooted,
    r"^power cut": _power_cut,
    r"containerd just stopped": _runtime_down,
}


@functools.cache
def _built(words: str) -> Place:
    return STATES[words]()


def named(transcript: Transcript) -> str | None:
    """Return the words of `STATES` that a note contains, if that state has the machine: a kill may be another's."""
    words = next((words for words in STATES if re.search(words, transcript.note)), None)
    return words if words and _name(transcript) in _built(words)[1] else None


def state_of(transcript: Transcript) -> Place | None:
    """Return the state that a note names, built once: only look at it."""
    words = named(transcript)
    return _built(words) if words else None


def fresh_state(transcript: Transcript) -> Place | None:
    """Return the state that a note names, built anew: do with it what you like."""
    words = named(transcript)
    return STATES[words]() if words else None


def _name(transcript: Transcript) -> str:
    """Return the lab's name of a machine: the recorder had a second cluster (u1, w2) and machines that play no part."""
    return {"u1": "cp1", "w2": "w1", "m1": "cp1", "ci1": "cp1"}.get(transcript.machine, transcript.machine)


def machine_of(transcript: Transcript, machines: Mapping[str, Guest]) -> Guest:
    """Return the lab's machine for the recorder's."""
    return machines.get(_name(transcript)) or machines["cp1"]
