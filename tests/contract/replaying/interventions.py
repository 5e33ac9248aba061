"""What was done on the recorded node by hand, done to the lab: one pattern of a shell command a row.

A command that no row knows is not performed, and the report says so: a new fault must not pass unnoticed.
Next: `hands.py`, for what was done through calls that are out of scope.
"""

import re
from collections.abc import Callable, Mapping

from cpcd.lab.pve import Node, Pve
from tests.contract.replaying.matching import Bindings
from tests.contract.replaying.recording import Intervention

__all__ = ["perform"]

Act = Callable[[Pve, Bindings, Mapping[str, str]], None]


class _GoneError(LookupError):
    """What a command is about is not in the lab: a hole in the recording has it. So is any other LookupError."""


def _hold(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
    pve.hold_lock("pve1", found["path"], float(found["seconds"]))


def _kill(pve: Pve, bound: Bindings, found: Mapping[str, str]) -> None:
    """The worker is named by its process id, which is in its UPID."""
    heads = [lab for recorded, lab in bound.lab.items() if recorded.split(":")[2:3] == [f"{int(found['pid']):08X}"]]
    tasks = [upid for upid in pve.cluster.tasks.tasks if heads and upid.startswith(heads[-1])]
    if not tasks:
        raise _GoneError
    pve.kill_worker(tasks[-1])


def _unlock(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
    vmid = int(found["vmid"] or found["id"])
    if vmid not in pve.vms:
        raise _GoneError
    pve.set_lock(vmid, "")


def _extra_disk(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
    volid = f"local:{found['vmid']}/{found['name']}"
    pve.add_volume(volid, "pve1", size=int(found["mib"]) * 1024**2, form=found["form"])


def _snippet(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
    text = found["text"].encode().decode("unicode_escape")
    pve.add_volume(f"local:snippets/{found['name']}", "pve1", size=len(text), form="snippet", content="snippets")


def _reach(how: str) -> Act:
    def act(pve: Pve, _bound: Bindings, _found: Mapping[str, str]) -> None:
        pve.set_reach("pve2", how)

    return act


def _service(*, running: bool) -> Act:
    def act(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
        pve.set_service(found["name"], running=running)

    return act


def _join(pve: Pve, _bound: Bindings, _found: Mapping[str, str]) -> None:
    pve.join_node("lab", Node("pve2", "10.99.0.77"))


def _leave(pve: Pve, _bound: Bindings, _found: Mapping[str, str]) -> None:
    pve.leave_node("pve2")


def _removed(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
    """A configuration file was removed; its volumes stay."""
    pve.cluster.vms.pop(int(found["vmid"]), None)


def _votes(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
    pve.expect_votes(int(found["votes"]))


def _foreign(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
    """A configuration file was written below another node's directory."""
    lines = re.findall(r"\b([a-z]+\d*): ([^\n\"']+)", found["text"].replace("\\n", "\n"))
    pve.adopt(int(found["vmid"]), found["node"], {key: value.strip() for key, value in lines})


def _copied(pve: Pve, _bound: Bindings, found: Mapping[str, str]) -> None:
    """A configuration file was copied, or moved, below another node's directory."""
    source = pve.vms[int(found["of"])]
    pve.adopt(int(found["vmid"]), found["node"], source.config)
    if found["how"] == "mv" and source.vmid != int(found["vmid"]):
        pve.cluster.vms.pop(source.vmid)


def _nothing(_pve: Pve, _bound: Bindings, _found: Mapping[str, str]) -> None:
    """The end of a process whose effect another row takes away, or nothing that the API shows."""


CONFIGS = r"/etc/pve/(?:nodes/\w+/)?qemu-server/"
FOREIGN = r"/etc/pve/nodes/(?P<node>\w+)/qemu-server/(?P<vmid>\d+)\.conf"
ACTS: tuple[tuple[str, Act], ...] = (
    (r"exec 9>>(?P<path>/var/lock/\S+); flock (?:-[xs] )?9; sleep (?P<seconds>\d+)", _hold),
    (r"kill -9 -?(?P<pid>\d+)$", _kill),
    (r"sed -i /\^lock/d /etc/pve/qemu-server/(?P<vmid>\d+)\.conf|\bqm unlock (?P<id>\d+)$", _unlock),
    (r"qemu-img create -q -f (?P<form>\w+) /var/lib/vz/images/(?P<vmid>\d+)/(?P<name>\S+) (?P<mib>\d+)M", _extra_disk),
    (r'printf "(?P<text>[^"]*)" > /var/lib/vz/snippets/(?P<name>\S+)', _snippet),
    (rf"\brm (?:-f )?{CONFIGS}(?P<vmid>\d+)\.conf", _removed),
    (rf"\b(?P<how>cp|mv) (?:-\w+ )?{CONFIGS}(?P<of>\d+)\.conf {FOREIGN}", _copied),
    (rf"(?P<text>.*){FOREIGN}", _foreign),
    (r"ip addr add \S+ dev lo", _reach("refused")),
    (r"\bnc -l\b", _reach("silent")),
    (r"openssl s_server", _reach("certificate")),
    (r"pkill -x (?:nc|openssl)", _reach("refused")),
    (r"ip addr del \S+ dev lo", _reach("no route")),
    (r"pvecm expected (?P<votes>\d+)", _votes),
    (r"rm -rf /etc/pve/nodes/pve2|rm -f /etc/pve/corosync\.conf", _leave),
    (r"cp \S+ /etc/pve/corosync\.conf", _join),
    (r"systemctl stop (?P<name>pvedaemon|pve-cluster|pvestatd)$", _service(running=False)),
    (r"systemctl (?:re)?start (?P<name>pvedaemon|pve-cluster|pvestatd)$", _service(running=True)),
    (r"^systemctl (?:re)?start \S+$|^sleep \d+$|^true$", _nothing),
)


def perform(pve: Pve, step: Intervention, bound: Bindings) -> bool:
    """Do to the lab what was done to the node; False where nobody has said how."""
    for pattern, act in ACTS:
        if found := re.search(pattern, step.command, re.DOTALL):
            try:
                act(pve, bound, found.groupdict())
            except LookupError:
                return False
            return True
    return False
