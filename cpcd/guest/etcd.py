"""The verbs around etcd: members, removal, leadership, snapshots.

Reads are linearizable: without quorum they fail, they never answer from one member's memory (recorded [343, 364]).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cpcd.guest.machine import JSON, KUBERNETES, STATE, Machine, Ran, Refused

_PKI: Final = f"{KUBERNETES}/pki/etcd"
_ETCD: Final = [f"--cacert={_PKI}/ca.crt", f"--cert={_PKI}/server.crt", f"--key={_PKI}/server.key"]
_LOCAL: Final = "https://127.0.0.1:2379"
_DATA: Final = "/var/lib/etcd"  # kubeadm's
_SNAPSHOT_S: Final = 3600.0  # a large database on a slow disk; past `policy.timeouts.command` it is only called late
_KEPT: Final = 3


def in_etcd(machine: Machine, argv: list[str], *, timeout: float = 120) -> Ran:
    """Run a tool of etcd: the machine's or, where it has none, the one that came with the etcd that runs.

    kubeadm installs no etcdctl; its etcd image has etcdctl and etcdutl and mounts pki/etcd and /var/lib/etcd.
    """
    ran = machine.run(argv, timeout=timeout)
    for place in tools(machine) if ran.rc == 127 else ():
        ran = machine.run([f"{place}/{argv[0]}", *argv[1:]], timeout=timeout)
        if ran.rc != 127:
            return ran
    return Ran(1, err="no running etcd container and no etcdctl on this machine") if ran.rc == 127 else ran


def tools(machine: Machine) -> Iterator[str]:
    """Yield where the tools of this machine's etcd are: beside its program, in the root of its process.

    Their files and their network are the machine's, and they are static: to enter the container instead takes two
    programs more, seconds each on a busy machine. Any pod may have an etcd of its own, and anybody may call a process
    so: kubeadm's is root's, and its data directory is the machine's own (recorded [145]).
    """
    for process in machine.path("/proc").glob("[0-9]*"):
        if machine.read(f"/proc/{process.name}/comm") == "etcd":
            with contextlib.suppress(OSError):  # it has ended, or has no such directory
                own = os.path.samestat(directory(process / "root", _DATA), machine.path(_DATA).stat())
                if own and process.stat().st_uid == os.getuid():
                    yield f"/proc/{process.name}/root{(process / 'exe').readlink().parent}"


def directory(root: Path, absolute: str) -> os.stat_result:
    """Return what a directory in a process's root is; OSError for a link, which in a pod may lead to the machine's own."""
    with contextlib.ExitStack() as held:
        place = os.open(root, os.O_PATH | os.O_DIRECTORY)
        held.callback(os.close, place)
        for part in absolute.split("/")[1:]:
            place = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            held.callback(os.close, place)
        return os.fstat(place)


def etcdctl(machine: Machine, *argv: str, endpoints: str = _LOCAL) -> Ran:
    """Ask etcd, 10 s at most."""
    return in_etcd(machine, ["etcdctl", *_ETCD, f"--endpoints={endpoints}", "--command-timeout=10s", *argv])


def answered(verb: str, ran: Ran) -> str:
    """Return stdout of what etcd answered; Refused otherwise."""
    if ran.rc:
        raise ran.refused(verb)
    return ran.out


def member_list(machine: Machine) -> list[dict[str, JSON]]:
    """Return the raw members of a linearizable list: it fails without quorum, so it never lies (recorded [343])."""
    listed = json.loads(answered("etcd_members", etcdctl(machine, "member", "list", "-w", "json")))
    return list(listed["members"])


def leader_of(machine: Machine) -> str:
    """Return the leader's id as the local member sees it, empty where it sees none."""
    status = json.loads(answered("etcd_members", etcdctl(machine, "endpoint", "status", "-w", "json")))
    return str(status[0]["Status"].get("leader", ""))


def etcd_members(machine: Machine, _given: JSON, _op: str) -> JSON:
    """Return members with decimal ids (uint64, so as text) and the leader; unstarted ones have no name."""
    members = member_list(machine)
    health = etcdctl(machine, "endpoint", "health", "--cluster", "-w", "json").out  # rc 1 if one is ill, recorded [162]
    healthy = {entry["endpoint"] for entry in json.loads(health or "[]") if entry.get("health")}
    return {"members": [member_of(member, healthy) for member in members], "leader": leader_of(machine)}


def member_of(raw: Mapping[str, JSON], healthy: set[str]) -> dict[str, JSON]:
    """Return a member in the catalogue's shape; etcd leaves out what is empty or false (recorded [253])."""
    clients = raw.get("clientURLs", [])
    return {
        "id": str(raw["ID"]),
        "name": raw.get("name", ""),
        "peer_urls": raw.get("peerURLs", []),
        "client_urls": clients,
        "learner": raw.get("isLearner", False),
        "started": bool(raw.get("name")),
        "healthy": any(url in healthy for url in clients),
    }


def hexadecimal(member: str) -> str:
    """Return an id as etcdctl wants it; digits alone are decimal, as `etcd_members` gives them."""
    try:
        return f"{int(member, 10 if member.isdigit() else 16):x}"
    except ValueError:  # an empty or wrong id would reach etcdctl as a usage error, recorded [350]
        raise Refused("InvalidInput", f"{member!r} is no etcd member id") from None


def etcd_remove(machine: Machine, given: JSON, _op: str) -> JSON:
    """Remove a member by id; one that is not listed is removed already."""
    ran = etcdctl(machine, "member", "remove", hexadecimal(str(given["id"])))
    if ran.rc and ran.refused("etcd_remove").reason != "MemberNotFound":
        raise ran.refused("etcd_remove")
    return {"removed": True}


def etcd_move_leader(machine: Machine, given: JSON, _op: str) -> JSON:
    """Make `to` the leader; only the leader itself can be asked, so all are named (recorded [337])."""
    to = str(given["to"])
    if leader_of(machine) != to:
        clients = [url for member in member_list(machine) for url in member.get("clientURLs", [])]
        answered("etcd_move_leader", etcdctl(machine, "move-leader", hexadecimal(to), endpoints=",".join(clients)))
    return {"leader": to}


def etcd_snapshot(machine: Machine, given: JSON) -> JSON:
    """Save a snapshot, verify it, and only then give it its name; beside it the two before it are kept.

    It is made inside /var/lib/etcd, which is the same for a tool on the machine and one in the etcd container.
    """
    fresh = f"{_DATA}/cpcd-snapshot.db"
    source, target = machine.path(fresh), machine.path(given["path"])
    try:
        # Not by `etcdctl`: told of a time, it would end there in the middle of a save, which has none by itself.
        save = ["etcdctl", *_ETCD, f"--endpoints={_LOCAL}", "snapshot", "save", fresh]
        answered("etcd_snapshot", in_etcd(machine, save, timeout=_SNAPSHOT_S))
        status = snapshot_status(machine, fresh)
        size = source.stat().st_size
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(source, f"{target}.part")
        # Every Secret of the cluster is in it.
        Path(f"{target}.part").chmod(0o600)
        Path(f"{target}.part").replace(target)
    finally:
        source.unlink(missing_ok=True)
        Path(f"{target}.part").unlink(missing_ok=True)
    _thin_out(machine, target)
    return {"path": given["path"], "hash": f"{status['hash']:08x}", "revision": status["revision"], "size": size}


def _thin_out(machine: Machine, newest: Path) -> None:
    """Keep the newest of cpcd's own snapshots: those named after an op that made one. Whatever else is there stays."""
    named = [(one, re.fullmatch(r"(.+)\.db(\.part)?", one.name)) for one in newest.parent.iterdir()]
    own = [(one, match[2]) for one, match in named if match and _made(machine, match[1])]
    whole = sorted((one for one, part in own if not part and one != newest), key=lambda one: one.stat().st_mtime)
    # One without its name was cut off by a crash: whoever makes one holds the machine's lock.
    for old in (*whole[: -_KEPT + 1], *(one for one, part in own if part)):
        with contextlib.suppress(OSError):  # the new one is there, whatever becomes of these
            old.unlink()


def _made(machine: Machine, op: str) -> bool:
    return machine.read(f"{STATE}/ops/{op}/verb") == "etcd_snapshot"


def snapshot_status(machine: Machine, path: str) -> dict[str, JSON]:
    """Return `{hash, revision, …}` of a whole snapshot; etcdutl crashes on a cut one (recorded [416])."""
    ran = Ran(127)
    for tool in ("etcdutl", "etcdctl"):  # etcdctl had this verb before 3.6
        ran = in_etcd(machine, [tool, "snapshot", "status", path, "-w", "json"], timeout=_SNAPSHOT_S)
        with contextlib.suppress(ValueError):
            return dict(json.loads(ran.out))
    raise Refused("SnapshotCorrupt", ran.refused("etcd_snapshot").message, ran.rc)
