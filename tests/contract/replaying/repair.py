"""Light what a hole in the recording left dark: bring the lab's VMs to the state that later reads show.

In a hole (missing `seq`, or an accepted call out of scope on that VM) anything may have become of a VM. What it was at
the end of the hole is taken from the reads that follow, up to the next hole, minus what calls in between have set
themselves. A read that had to be used so is setup: it is sent, but counts neither as matched nor as mismatch.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpcd.lab.pve import Pve, Vm
from tests.contract.replaying.matching import Bindings, alike
from tests.contract.replaying.recording import PREFIX, UPID, Entry, Exchange

__all__ = ["Known", "empty", "known", "light", "made"]

CONTROL = frozenset(("delete", "revert", "digest", "force", "skiplock", "background_delay"))
ALL = frozenset(("ticket:root@pam", "token:root@pam!t1", "token:admin@pve!full"))  # who sees every VM
MASK = "**********"
DRIVE = re.compile(r"(?:ide|sata|scsi|virtio|efidisk|tpmstate|unused)\d+")
UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@dataclass(slots=True)
class Known:
    """What the reads after a hole tell of one VM: there or not, running or not, options; `by` says which told what.

    `touched` are options that calls in between have set; after a power action the read options are no more those that
    the VM had at the end of the hole, for a cold start applies what was pending.
    """

    node: str = "pve1"
    there: bool | None = None
    running: bool | None = None
    options: dict[str, Any] | None = None
    touched: set[str] = field(default_factory=set)
    power: bool = False
    by: dict[str, int] = field(default_factory=dict)

    def exists(self, exchange: Exchange, *, there: bool = True) -> None:
        """Note the first that tells whether the VM is there."""
        if self.there is None:
            self.there = there
            self.by["there"] = exchange.seq

    def runs(self, exchange: Exchange, status: str) -> None:
        """Note the first that tells whether the VM runs, unless somebody has switched it since."""
        if self.running is None and not self.power:
            self.running = status == "running"
            self.by["running"] = exchange.seq


def known(entries: Sequence[Entry], vmid: int, unheard: Callable[[Exchange], bool], node: str = "pve1") -> Known:
    """Read forward until the VM's configuration was shown, or until what happens to it is the lab's to know.

    `node` is where the lab has the VM. An `unheard` call (accepted, out of scope, not followed) makes what comes after it worthless for what was before.
    """
    told = Known(node)
    for exchange in _until_next_hole(entries):
        if _lists(exchange):
            _from_list(told, exchange, vmid)
        elif made(exchange) == vmid:
            told.exists(exchange, there=False)
            return told
        if exchange.vmid != vmid:
            continue
        told.node = exchange.path.split("/")[4]
        if exchange.write and unheard(exchange):
            return told
        if _ends(told, exchange):
            return told
    return told


def _until_next_hole(entries: Sequence[Entry]) -> Iterator[Exchange]:
    before = None
    for entry in entries:
        if before is not None and entry.seq != before + 1:
            return
        before = entry.seq
        if isinstance(entry, Exchange):
            yield entry


def _lists(exchange: Exchange) -> bool:
    listing = exchange.call == "GET /cluster/resources" or re.fullmatch(r"GET /nodes/[^/]+/qemu", exchange.call)
    whole = exchange.params.get("type") in {None, "vm"}
    return bool(listing) and whole and exchange.status == 200 and exchange.auth in ALL


def _from_list(told: Known, exchange: Exchange, vmid: int) -> None:
    """A list tells who is there; the node's own also who runs, which the cluster's tells late."""
    rows = {row["vmid"]: row for row in exchange.data if "vmid" in row}
    if exchange.path.endswith("/qemu") and exchange.path.split("/")[4] != told.node:
        return
    told.exists(exchange, there=vmid in rows)
    if vmid in rows:
        told.node = rows[vmid].get("node", told.node)
        if exchange.path.endswith("/qemu"):
            told.runs(exchange, rows[vmid]["status"])


def made(exchange: Exchange) -> int | None:
    """The VMID that an accepted create or clone makes."""
    if not exchange.write or exchange.method != "POST":
        return None
    if re.fullmatch(rf"{PREFIX}/nodes/[^/]+/qemu", exchange.path):
        return int(exchange.params["vmid"])
    return int(exchange.params["newid"]) if exchange.path.endswith("/clone") else None


def _ends(told: Known, exchange: Exchange) -> bool:
    """Take what a call on the VM shows; True when there is no more to learn."""
    if exchange.status == 500 and exchange.reason.startswith("Configuration file"):
        told.exists(exchange, there=False)
        return True
    if exchange.status != 200:
        _refused(told, exchange)
        return False
    if exchange.method == "DELETE":
        told.exists(exchange)
        return True
    if exchange.method == "GET":
        return _shown(told, exchange)
    _wrote(told, exchange)
    return False


def _refused(told: Known, exchange: Exchange) -> None:
    """A refusal can speak of the VM's state."""
    if re.search(r"^VM \d+ (?:is )?not running", exchange.reason):
        told.exists(exchange)
        told.runs(exchange, "stopped")
    if re.search(r"^VM \d+ is running|if VM is running", exchange.reason):
        told.exists(exchange)
        told.runs(exchange, "running")


def _shown(told: Known, exchange: Exchange) -> bool:
    if exchange.path.endswith("/status/current"):
        told.exists(exchange)
        told.runs(exchange, exchange.data["status"])
    if not exchange.path.endswith("/config") or exchange.params:
        return False
    told.exists(exchange)
    told.options = {key: value for key, value in exchange.data.items() if key != "digest"}
    told.by["options"] = exchange.seq
    return True


def _wrote(told: Known, exchange: Exchange) -> None:
    """Note the options that a call in between has set itself; where the answer proves it, the VM is there."""
    params = exchange.params
    told.power = told.power or "/status/" in exchange.path
    if exchange.path.endswith("/config"):
        told.touched |= set(params) - CONTROL
        told.touched |= set(re.split(r"[,; ]+", f"{params.get('delete', '')},{params.get('revert', '')}"))
    if exchange.path.endswith("/resize"):
        told.touched.add(params["disk"])
    if exchange.path.endswith("/template"):
        told.power = True
    if not UPID.match(str(exchange.data)):
        told.exists(exchange)


def empty(pve: Pve, pool: str, entries: Sequence[Entry]) -> int:
    """Take out of a pool who was in it no more, where its removal was accepted after the hole.

    Left were only those whom calls in between have taken out. Returns the number of the removal if the lab had to be
    changed, else 0.
    """
    members: set[int] = set()
    for exchange in filter(lambda each: _about(each, pool), _until_next_hole(entries)):
        vmids = {int(vmid) for vmid in str(exchange.params.get("vms", "")).split(",") if vmid}
        if exchange.method == "DELETE" and pve.cluster.pools[pool].vms != members:
            pve.cluster.pools[pool].vms = members
            return exchange.seq
        if exchange.method == "DELETE" or (vmids and not exchange.params.get("delete")):
            return 0
        members |= vmids
    return 0


def _about(exchange: Exchange, pool: str) -> bool:
    named = exchange.params.get("poolid") or exchange.path.partition("/pools/")[2]
    return exchange.write and exchange.path.startswith(f"{PREFIX}/pools") and named == pool


def light(pve: Pve, vmid: int, told: Known, bindings: Bindings) -> set[int]:
    """Bring one VM to what is known of it; return the numbers of the reads that the lab had to be changed by."""
    if told.there:
        return {told.by[what] for what in _adopted(pve, vmid, told, bindings)}
    if told.there is False and vmid in pve.vms:
        pve.delete_vm(vmid)
        return {told.by["there"]}
    return set()


def _adopted(pve: Pve, vmid: int, told: Known, bindings: Bindings) -> set[str]:
    if told.node not in pve.cluster.hosts:
        return set()
    used = set() if vmid in pve.vms else {"there"}
    vm = pve.adopt(vmid, told.node, {}) if used else pve.vms[vmid]
    if (used or not told.power) and _options(pve, vm, told, bindings):
        used.add("options")
    if told.running is not None and told.running != vm.running:
        pve.start_vm(vmid) if told.running else pve.stop_vm(vmid)
        used.add("running")
    return used


def _options(pve: Pve, vm: Vm, told: Known, bindings: Bindings) -> bool:
    if told.options is None:
        return False
    wanted = {key: value for key, value in told.options.items() if key not in told.touched}
    shown = {key: MASK if key == "cipassword" else value for key, value in vm.shown.items()}
    wrong = {key: value for key, value in wanted.items() if not alike(value, shown.get(key), bindings)}
    gone = shown.keys() - told.options.keys() - told.touched
    before = {str(vm.config.get(key, "")).partition(",")[0] for key in gone | wrong.keys() if DRIVE.fullmatch(key)}
    for key in gone | wrong.keys():
        vm.pending.pop(key, None)
        vm.config.pop(key, None)
    vm.config |= wrong
    _volumes(pve, vm, wrong)
    _forget(pve, vm, before)
    return bool(gone or wrong)


def _volumes(pve: Pve, vm: Vm, options: Mapping[str, Any]) -> None:
    """Make the volumes that adopted drives name."""
    for key, value in options.items():
        volid = str(value).partition(",")[0]
        found = re.search(r"size=(\d+)([KMGT]?)", str(value))
        if DRIVE.fullmatch(key) and ":" in volid and pve.cluster.volumes.find(vm.node, volid) is None:
            size = int(found[1]) * UNITS[found[2]] if found else 0
            blank = "serial0" not in vm.config  # the recorded machines with a system have a serial console
            pve.add_volume(volid, vm.node, size=size, form=volid.rpartition(".")[2], blank=blank)


def _forget(pve: Pve, vm: Vm, before: set[str]) -> None:
    """Free what the configuration named and names no more: a moved disk's old volume is gone."""
    named = {str(value).partition(",")[0] for key, value in vm.config.items() if DRIVE.fullmatch(key)}
    for volume in pve.cluster.volumes.of(vm.vmid, vm.node):
        if volume.volid in before - named:
            pve.cluster.volumes.free(volume)
