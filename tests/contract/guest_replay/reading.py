"""The first use: `cpcd/guest` is fed what the machine printed, through the verb or fact that would run the command.

Returns what cpcd makes of it, in the words of `deserved.py` and `evidence.py`. Must not look at what is deserved.
"""

import fcntl
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cpcd.guest import etcd, facts
from cpcd.guest.jobs import host_lock, poll, submit
from cpcd.guest.kubeadm import init, join, join_secrets, reset
from cpcd.guest.machine import Machine, Ran, Refused
from tests.contract.guest_replay.deserved import INTERRUPTED, OK
from tests.contract.guest_replay.evidence import FILES, json_line, paths, shape, unit
from tests.contract.guest_replay.transcript import Transcript
from tests.unit.guest.recorded import machine, put

__all__ = ["READINGS"]

_KEY: Final = Ran(0, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
_TOKEN: Final = Ran(0, "abcdef.0123456789abcdef\n")
_BOOT: Final = "/proc/sys/kernel/random/boot_id"
_OP: Final = "/var/lib/cpcd/ops/op1"
_MEMBER: Final = '{"members":[{"ID":1,"name":"cp1","clientURLs":["https://10.0.0.1:2379"]}]}'
_STATUS: Final = Ran(0, '[{"Status":{"leader":1}}]')


def _ended(transcript: Transcript) -> Ran:
    """Return how the command ended: the shell around it may have hidden its status."""
    rc = next((rc for rc in (*transcript.statuses, transcript.rc) if rc), 1 if transcript.failed else 0)
    return Ran(rc, transcript.out, transcript.err)


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except Refused as no:
        return no.reason
    return OK


def _verb(verb: Callable[[Machine, Any], object], command: str) -> Callable[[Transcript, Path], str]:
    """Return a reading through one of kubeadm's verbs."""

    def read(transcript: Transcript, root: Path) -> str:
        real = machine(root, {command: _ended(transcript), "openssl": _KEY, "etcdctl": Ran(0, _MEMBER)})
        return _outcome(lambda: verb(real, {"config": "", "manifests": {}}))

    return read


def _checked(verb: str) -> Callable[[Transcript, Path], str]:
    """Return a reading of a command that no verb wraps yet, by what every verb does with its commands."""

    def read(transcript: Transcript, root: Path) -> str:
        return _outcome(lambda: machine(root, {"asked": _ended(transcript)}).checked(verb, ["asked"]))

    return read


def _killed(transcript: Transcript, root: Path) -> str:
    verb = join if "kubeadm join" in transcript.argv else init
    read = _verb(verb, "kubeadm")(transcript, root)
    return INTERRUPTED if read == "Killed" else read


def _secrets(transcript: Transcript, root: Path) -> str:
    upload = "upload-certs" in transcript.argv
    answers = {"kubeadm token": _TOKEN, "kubeadm init phase": Ran(0, "key\n"), "openssl": _KEY}
    answers["kubeadm init phase" if upload else "kubeadm token"] = _ended(transcript)
    given = {"ttl": "15m", "control_plane": upload}
    return _outcome(lambda: join_secrets(machine(root, answers), given, ""))


def _ectl(root: Path, answers: Mapping[str, Ran]) -> Machine:
    """Return a machine whose etcdctl answers by the first of these sub-commands that is asked."""

    def answer(argv: list[str]) -> Ran:
        line = " ".join(argv)
        return next((ran for words, ran in answers.items() if words in line), Ran(1))

    return machine(root, {"etcdctl": answer, "etcdutl": answer})


def _answer(transcript: Transcript, key: str) -> Ran:
    """Return one sub-command's end: its JSON line, else its failure."""
    line = json_line(transcript, key)
    return Ran(0, line, transcript.err) if line else Ran(transcript.rc or 1, transcript.out, transcript.err)


def _members(transcript: Transcript, root: Path) -> str:
    listed = _answer(transcript, "members")
    asked = _ectl(root, {"member list": listed, "endpoint status": _STATUS, "endpoint health": Ran(1)})
    try:
        members = etcd.etcd_members(asked, {}, "")["members"]
    except Refused as no:
        return no.reason
    return shape([(member["started"], member["learner"]) for member in members])


def _leader(transcript: Transcript, root: Path) -> str:
    asked = _ectl(root, {"endpoint status": _answer(transcript, "Status")})
    try:
        return "leader" if etcd.leader_of(asked) not in {"", "0"} else "no leader"
    except Refused as no:
        return no.reason


def _health(transcript: Transcript, root: Path) -> str:
    """Each endpoint of the health report is taken for a member's."""
    found = dict.fromkeys(re.findall(r'"endpoint":"([^"]+)"', transcript.out))
    members = ",".join(f'{{"ID":{n},"name":"m","clientURLs":["{url}"]}}' for n, url in enumerate(found, 1))
    listed = Ran(0, f'{{"members":[{members}]}}')
    health = Ran(transcript.rc or 0, json_line(transcript, "health"), transcript.err)
    asked = _ectl(root, {"member list": listed, "endpoint status": _STATUS, "endpoint health": health})
    seen = etcd.etcd_members(asked, {}, "")["members"]
    return f"{sum(member['healthy'] for member in seen)} healthy"


def _remove(transcript: Transcript, root: Path) -> str:
    asked = _ectl(root, {"member remove": _ended(transcript)})
    return _outcome(lambda: etcd.etcd_remove(asked, {"id": "1"}, ""))


def _transfer(transcript: Transcript, root: Path) -> str:
    """Feed one answer for each `echo rc=$?` of the line; who is asked and is no leader must read as that."""
    read = []
    for rc in transcript.statuses or (transcript.rc or 0,):
        answers = {"move-leader": Ran(rc, "", transcript.err if rc else ""), "member list": Ran(0, _MEMBER)}
        asked = _ectl(root, {**answers, "endpoint status": _STATUS})
        read.append(_outcome(functools.partial(etcd.etcd_move_leader, asked, {"to": "7"}, "")))
    return next((reason for reason in read if reason not in {OK, "NotLeader"}), read[-1])


def _snapshot(transcript: Transcript, root: Path) -> str:
    if "snapshot status" not in transcript.argv:
        return _checked("etcd_snapshot")(transcript, root)
    status = next((line for line in transcript.out.splitlines() if line.startswith('{"hash"')), "")
    saved = "snapshot save" in transcript.argv
    failure = Ran(next(filter(None, (*transcript.statuses, transcript.rc)), 1), transcript.out, transcript.err)
    put(root, "/var/lib/etcd/cpcd-snapshot.db", "snapshot")
    judged = Ran(0, status) if status else failure
    asked = _ectl(root, {"snapshot save": Ran(0) if status else failure, "snapshot status": judged})
    try:
        if not saved:
            made = etcd.snapshot_status(asked, "/root/s.db")
            return f"{int(str(made['hash'])):08x} at {made['revision']}"
        made = etcd.etcd_snapshot(asked, {"path": "/var/backups/s.db"})
    except Refused as no:
        return no.reason
    return f"{made['hash']} at {made['revision']}"


def _unit_start(transcript: Transcript, root: Path) -> str:
    """What follows in the same shell may fail: systemd-run says itself that it has begun a unit."""
    put(root, _BOOT, "boot-1")
    ran = Ran(0, err=transcript.err) if "Running as unit: " in transcript.err else _ended(transcript)
    begun = machine(root, {"systemd-run": ran, "systemctl": Ran(0, "ActiveState=active\n")})
    return _outcome(lambda: submit(begun, "reset", {}, "op1"))


def _unit(transcript: Transcript, root: Path) -> str:
    """Lay out what the note says was left on disk; the rest is what systemctl printed."""
    said = unit(transcript)
    put(root, _BOOT, "boot-1" if said is None or said.same_boot else "boot-2")
    if said is None or said.begun:
        put(root, f"{_OP}/boot_id", "boot-1")
    if said is not None and said.result:
        put(root, f"{_OP}/result.json", '{"rc": 0, "output": {}, "error": {}}')
    return str(poll(machine(root, {"systemctl show": Ran(0, transcript.out)}), {}, "op1")["state"])


def _service(transcript: Transcript, root: Path) -> str:
    """Each block of the answer is one unit; cpcd asks for one at a time."""
    blocks = [block for block in transcript.out.split("\n\n") if "ActiveState=" in block]
    read = [facts.services(machine(root, {"systemctl show": Ran(0, block)}))["kubelet"]["active"] for block in blocks]
    return " ".join("active" if active else "inactive" for active in read)


def _lock(transcript: Transcript, root: Path) -> str:
    """The kernel's lock has no text: it is held here as it was there."""
    real = machine(root, {})
    put(root, "/var/lib/cpcd/lock")
    with (root / "var/lib/cpcd/lock").open() as held:
        if transcript.failed:
            fcntl.flock(held, fcntl.LOCK_EX)
        return _outcome(lambda: _take(real))


def _take(real: Machine) -> None:
    with host_lock(real):
        pass


def _cloud_init(transcript: Transcript, root: Path) -> str:
    """`--format json` was recorded, or the older `--long`, which cpcd asks where there is no JSON."""
    end = transcript.out.find("\n}")
    document = transcript.out[: end + 2] if transcript.out.startswith("{") else transcript.out
    answer = Ran(transcript.rc or 0, document, transcript.err)
    return str(facts.cloud_init(machine(root, {"cloud-init": answer}))["status"])


def _files(transcript: Transcript, root: Path) -> str:
    for path in paths(transcript):
        put(root, path)
    found = facts.kubeadm(machine(root, {}))
    there = {name for name in FILES if found.get(name) is True} | set(found["manifests"])
    return " ".join(sorted(there)) or "none"


def _fact(name: str, path: str = "", command: str = "") -> Callable[[Transcript, Path], str]:
    """Return a reading of one fact, fed by a file or by a command."""

    def read(transcript: Transcript, root: Path) -> str:
        if path:
            put(root, path, transcript.out if name == "modules" else transcript.out.partition("\n")[0])
        found = facts.FACTS[name](machine(root, {command: Ran(0, transcript.out)} if command else {}))
        return (" ".join(found) or "none") if isinstance(found, list) else str(found)

    return read


def _version(program: str) -> Callable[[Transcript, Path], str]:
    def read(transcript: Transcript, root: Path) -> str:
        return facts.packages(machine(root, {program: Ran(0, transcript.out)}))[program]

    return read


def _boot_id(transcript: Transcript, root: Path) -> str:
    found = re.search(r"^[0-9a-f]{8}-[0-9a-f-]{27}$", transcript.out, re.MULTILINE)
    put(root, _BOOT, f"{found[0]}\n" if found else "")
    return str(facts.FACTS["boot_id"](machine(root, {})))


READINGS: Final[Mapping[str, Callable[[Transcript, Path], str]]] = {
    "killed": _killed,
    "init": _verb(init, "kubeadm init"),
    "join": _verb(join, "kubeadm join"),
    "reset": _verb(reset, "kubeadm reset"),
    "secrets": _secrets,
    "config": _checked("init"),
    "upgrade": _checked("upgrade"),
    "certs": _checked("certs"),
    "members": _members,
    "leader": _leader,
    "health": _health,
    "remove": _remove,
    "promote": _checked("etcd_members"),
    "move-leader": _transfer,
    "snapshot": _snapshot,
    "etcd read": _checked("etcd_members"),
    "unit start": _unit_start,
    "unit": _unit,
    "service": _service,
    "lock": _lock,
    "packages": _checked("prepare"),
    "cloud-init": _cloud_init,
    "files": _files,
    "machine-id": _fact("machine_id", path="/etc/machine-id"),
    "product-uuid": _fact("system_uuid", path="/sys/class/dmi/id/product_uuid"),
    "boot-id": _boot_id,
    "modules": _fact("modules", path="/proc/modules"),
    "holds": _fact("holds", command="apt-mark showhold"),
    "containerd": _version("containerd"),
    "kubelet": _version("kubelet"),
    "kubeadm": _version("kubeadm"),
    "kubectl": _version("kubectl"),
    "addresses": _fact("addresses", command="ip -j addr"),
}
