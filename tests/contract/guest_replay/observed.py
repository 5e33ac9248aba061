"""Looks at the lab in the state that a transcript's note names: files, members, units, facts.

Returns None where a note names no state. Must not look at what is deserved.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from cpcd.lab.guests import Guest, VerbFailed
from tests.contract.guest_replay.ended import called, ended
from tests.contract.guest_replay.evidence import FILES, shape, unit, value
from tests.contract.guest_replay.states import (
    fresh_state,
    joining,
    machine_of,
    one_voter,
    prepared,
    state_of,
    two_voters,
)
from tests.contract.guest_replay.transcript import Transcript
from tests.unit.lab_guests.conftest import Rack

__all__ = ["OBSERVED"]


def _observed(look: Callable[[Guest], str]) -> Callable[[Transcript], str | None]:
    """Return a look at the state that a note names, None where it names none."""

    def observe(transcript: Transcript) -> str | None:
        place = state_of(transcript)
        if place is None:
            return None
        try:
            return look(machine_of(transcript, place[1]))
        except VerbFailed as no:
            return no.reason

    return observe


def _facts(guest: Guest) -> Mapping[str, Any]:
    return guest.call("facts", {})[0]


def _files(guest: Guest) -> str:
    found = _facts(guest)["kubeadm"]
    there = {name for name in FILES if found.get(name) is True} | (set(found["manifests"]) & set(FILES))
    return " ".join(sorted(there)) or "none"


def _members(guest: Guest) -> str:
    listed = guest.call("etcd_members", {})[0]["members"]
    return shape([(member["started"], member["learner"]) for member in listed])


def _leader(transcript: Transcript) -> str | None:
    """The local member's view; `--cluster` lists the members first, as cpcd's verb does, and fails without quorum."""

    def look(guest: Guest) -> str:
        cluster, kubelet = guest.disk.cluster, guest.disk.kubelet
        running = cluster is not None and kubelet is not None and cluster.etcd_up(kubelet)
        if running and cluster is not None and not cluster.healthy() and "--cluster" not in transcript.argv:
            return "no leader"
        return "leader" if guest.call("etcd_members", {})[0]["leader"] else "no leader"

    return _observed(look)(transcript)


def _health(guest: Guest) -> str:
    """Without quorum the list of members fails, and with it everything that is asked about them."""
    try:
        members = guest.call("etcd_members", {})[0]["members"]
    except VerbFailed:
        return "0 healthy"
    return f"{sum(member['healthy'] for member in members)} healthy"


def _service(guest: Guest) -> str:
    return "active" if _facts(guest)["services"]["kubelet"]["active"] else "inactive"


def _services(transcript: Transcript) -> str | None:
    """One word for each unit that was asked for, in that order."""
    place = state_of(transcript)
    if place is None:
        return None
    seen = _facts(machine_of(transcript, place[1]))["services"]
    shown = re.search(r"systemctl show ((?:(?:containerd|kubelet) )+)-p", transcript.argv)
    named = shown[1].split() if shown else ["kubelet"]
    return " ".join("active" if seen[name]["active"] else "inactive" for name in named)


def _unit(transcript: Transcript) -> str | None:
    """A job that runs, is killed, ends, or is asked for after a reboot; or one that nobody began."""
    said = unit(transcript)
    if said is None:
        return None
    rack, machines = one_voter()
    guest = machines["cp1"]
    op = rack.submit(guest, "etcd_snapshot", path="/var/lib/cpcd/s.db") if said.begun else "nosuch"
    if said.result:
        rack.run(60)
    elif not said.same_boot:
        rack.power(301, "stop")
        rack.power(301)
        rack.until(lambda: guest.ssh_up)
    elif said.state != "running":
        guest.kill_job()
    return str(guest.poll(op)["state"])


def _cloud_init(transcript: Transcript) -> str:
    """A first boot, looked at as soon as ssh answers and a minute later: unless it was waited for, at either moment."""
    rack = Rack()
    rack.clone(301, "cp1")
    rack.power(301)
    guest = rack.world.guests[301]
    rack.until(lambda: guest.ssh_up)
    early = str(_facts(guest)["cloud_init"]["status"])
    rack.run(60)
    waited = "--wait" in transcript.argv or value("cloud-init", transcript) != early
    return str(_facts(guest)["cloud_init"]["status"]) if waited else early


def _snapshot(transcript: Transcript) -> str:
    rack, machines = fresh_state(transcript) or one_voter()
    made = rack.do(machines["cp1"], "etcd_snapshot", path="/var/lib/cpcd/s.db")
    return f"{made['output']['hash']} at {made['output']['revision']}" if made["state"] == "done" else ended(made)


def _transfer(_transcript: Transcript) -> str:
    _, machines = two_voters()
    members = machines["cp1"].call("etcd_members", {})[0]
    other = next(m["id"] for m in members["members"] if m["id"] != members["leader"])
    return called(machines["cp1"], "etcd_move_leader", to=other)


def _fact(name: str, package: str = "") -> Callable[[Transcript], str]:
    """Return a look at a fact that no state changes: where a note names none, a machine that is only prepared has it."""

    def look(transcript: Transcript) -> str:
        _, machines = state_of(transcript) or prepared()
        found = _facts(machine_of(transcript, machines))[name]
        found = found[package] if package else found
        return (" ".join(found) or "none") if isinstance(found, list) else str(found)

    return look


@functools.cache
def _passed() -> frozenset[str]:
    """Return what the list of members shows while a second control plane joins."""
    rack, machines = one_voter()
    op, seen = joining(rack, machines), set()
    while machines["cp2"].poll(op)["state"] == "running":
        seen.add(_members(machines["cp1"]))
        rack.run(1)
    return frozenset(seen)


def _listed(transcript: Transcript) -> str | None:
    """During a join the moments differ: then the lab must pass through what was seen."""
    if "while the second control plane joins" not in transcript.note:
        return _observed(_members)(transcript)
    recorded = value("members", transcript)
    return recorded if recorded in _passed() else f"only {sorted(_passed())}"


OBSERVED: Final[Mapping[str, Callable[[Transcript], str | None]]] = {
    "members": _listed,
    "leader": _leader,
    "health": _observed(_health),
    "files": _observed(_files),
    "service": _services,
    "readyz": _observed(lambda guest: str(_facts(guest)["readyz"])),
    "unit": _unit,
    "cloud-init": _cloud_init,
    "snapshot": _snapshot,
    "move-leader": _transfer,
    "machine-id": _fact("machine_id"),
    "product-uuid": _fact("system_uuid"),
    "boot-id": _fact("boot_id"),
    "modules": _fact("modules"),
    "holds": _fact("holds"),
    "addresses": _fact("addresses"),
    "containerd": _fact("packages", "containerd"),
    "kubelet": _fact("packages", "kubelet"),
    "kubeadm": _fact("packages", "kubeadm"),
    "kubectl": _fact("packages", "kubectl"),
}
