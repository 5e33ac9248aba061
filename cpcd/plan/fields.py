"""What a VM's options should be, what differs, and which of it needs which rung of the ladder.

In place → reboot → replace: options are written to the running VM; Proxmox says which of them stay pending until a
cold restart (recorded: pending changes); what only a new clone can have is in the row's `revision`.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from cpcd.model.desired import Cluster, Group, MachineSpec
from cpcd.model.errors import Code
from cpcd.model.keys import Role, Uid, Wall, system_uuid
from cpcd.model.ledger import Machine
from cpcd.model.plan import Refusal
from cpcd.model.seen import Claim, Vm

__all__ = [
    "MARK",
    "boot_disk_gb",
    "delta",
    "first_options",
    "foreign",
    "foreign_vm",
    "group_revision",
    "has_uuid",
    "late",
    "mark",
    "ours",
    "outdated",
    "owner",
    "recalled",
    "revision",
    "strange",
    "unfit_boot_disk",
]

MARK: Final = "cpcd/1"
# Applied at once even on a running VM (recorded: pending changes); everything else may stay pending.
HOT: Final = frozenset({"tags", "description", "onboot", "name"})
# What `delta` keeps equal and a running VM takes only at a cold restart; for nothing else is a machine rebooted.
COLD: Final = frozenset({"cores", "sockets", "cpu", "memory", "balloon"})
DISK: Final = re.compile(r"(scsi|virtio|sata|ide)\d+")
EXTENT: Final = 1 / 64  # GiB; storages round a disk up to whole extents, which is no wish to shrink it


@lru_cache(maxsize=256)  # each pass over a machine asks, and deployments are few
def revision(spec: MachineSpec, *, in_place: bool = True) -> str:
    """Hash what can only change by replacement: template, clone mode, disk slot, network, cloud-init access.

    A template is its VMID or tags: what it is called, and what system it is said to hold, makes no other machine.
    SSH keys are not in it: they reach new machines, and neither a colleague's key nor a new one of cpcd's own is worth
    a fleet. Without `in_place` everything changes by replacement.
    """
    parts: list[Any] = [
        spec.template.vmid,
        spec.template.tags,
        spec.full,
        spec.boot_disk,
        spec.bridge,
        spec.nic_model,
        spec.vlan,
        spec.mtu,
        spec.firewall,
        spec.ssh_users,
    ]
    if not in_place:
        parts += [spec.sockets, spec.cores, spec.cpu_type, spec.memory_mib, spec.balloon, spec.boot_disk_gb]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def group_revision(group: Group) -> str:
    """Return the revision that a group's machines should have."""
    return revision(group.machine, in_place=group.in_place != "Never")


def outdated(group: Group, machine: Machine) -> bool:
    """Whether only a replacement can give a machine what is wanted now, and `rollout.inPlace` lets it be replaced."""
    return group.in_place != "Only" and machine.revision != group_revision(group)


def mark(installation: str, machine: Machine, op: str) -> str:
    """Return the description: a line that proves ownership from the first disk on (`failures.md` P22), and the row.

    The second line is for the day on which the ledger is lost: `recalled` makes the row from it.
    """
    row = {
        "role": machine.role.value,
        "group": machine.group,
        "index": machine.index,
        "address": machine.address,
        "template": f"{machine.template_node}/{machine.template}",
        "revision": machine.revision,
        "created": int(machine.created),
    }
    words = " ".join(f"{name}={value}" for name, value in row.items())
    return f"{MARK} {installation} {machine.cluster} {machine.uid} {op}\n{words}"


def recalled(claim: Claim, site: str) -> Machine | None:
    """Return the row that a VM's own description tells of, None when it does not.

    The row counts as started, not as joined: what it is a member of shows by itself.
    """
    lines = str(claim.config.get("description", "")).strip().split("\n")
    words = dict(word.partition("=")[::2] for word in " ".join(lines[1:2]).split())
    try:
        node, _, template = words["template"].partition("/")
        return Machine(
            uid=claim.uid, cluster=claim.cluster, role=Role(words["role"]), group=words["group"], index=int(words["index"]),
            name=str(claim.config["name"]), site=site, node=claim.node, vmid=claim.vmid, address=words["address"],
            template=int(template), template_node=node, revision=words["revision"],
            created=Wall(float(words["created"])), started=True,
        )  # fmt: skip
    except (KeyError, ValueError):
        return None


def owner(vm: Vm) -> tuple[str, str, str] | None:
    """Return (installation, cluster, uid) from the description's mark, None when there is none."""
    line = str(vm.config.get("description", "")).strip().split("\n")[0].split()
    return (line[1], line[2], line[3]) if len(line) >= 4 and line[0] == MARK else None


def ours(vm: Vm, machine: Machine, installation: str) -> bool:
    """Whether VMID, mark, name and SMBIOS UUID all agree (`failures.md` rule 16)."""
    named = vm.config.get("name") == machine.name
    marked = owner(vm) == (installation, machine.cluster, machine.uid)
    return named and marked and has_uuid(vm, machine.uid)


def has_uuid(vm: Vm, uid: Uid) -> bool:
    """Whether the SMBIOS UUID is that machine's: a copy made by hand repeats the description under another one."""
    return f"uuid={system_uuid(uid)}" in str(vm.config.get("smbios1", "")).split(",")


def strange(vm: Vm, machine: Machine, installation: str) -> bool:
    """Whether a VM is somebody else's by mark and UUID: another UUID, and not a word of the machine in its description.

    More than `not ours`, which one edit by hand makes of a VM that is. A name proves nothing: it may be of two VMs
    (`failures.md` P34). What is locked may be in the making, from a backup of ours too.
    """
    smbios, words = (str(vm.config.get(name, "")).lower() for name in ("smbios1", "description"))
    other = "uuid=" in smbios and system_uuid(machine.uid) not in smbios
    marked = machine.uid in words or owner(vm) == (installation, machine.cluster, machine.uid)
    return vm.exists and not vm.lock and other and not marked


def foreign_vm(vm: Vm, machine: Machine, installation: str) -> Refusal:
    """Return the refusal to touch a VM that is not proved to be the machine's: what differs, what belongs there.

    What is there instead is not repeated: it may be anything. Nor is anybody told to destroy it: after one edit by hand
    it is a machine that serves.
    """
    where = f"VM {machine.vmid} on {vm.node}"
    if strange(vm, machine, installation):
        sentence = f"{where} is another than that of {machine.name}, by mark and UUID; it is not touched"
        hint = (
            f"Leave it as it is: cpcd lets go of {machine.name} when Proxmox has quorum and the cluster's API says that "
            "its Node is not Ready."
        )
        return Refusal(Code.VALIDATION, "ForeignVm", sentence, hint)
    lacking = {option: value for option, (value, there) in _marks(vm, machine, installation).items() if not there}
    first = ", ".join(f"{option} {value.splitlines()[0]}" for option, value in lacking.items())
    sentence = f"{where} lacks marks of {machine.name} and is not touched: it should have {first}"
    # Bash's form of a text with a line end in it.
    options = " ".join(f"--{name} $'{value}'".replace("\n", r"\n") for name, value in lacking.items())
    hint = (
        f"If it is the VM of {machine.name}, put back what was edited: qm set {machine.vmid} {options} (on {vm.node}). "
        "If it is another's, leave it as it is."
    )
    return Refusal(Code.VALIDATION, "ForeignVm", sentence, hint)


def _marks(vm: Vm, machine: Machine, installation: str) -> dict[str, tuple[str, bool]]:
    """What a machine's VM has in each option that is a mark, and whether this one has it."""
    marked = owner(vm) == (installation, machine.cluster, machine.uid)
    return {
        "name": (machine.name, vm.config.get("name") == machine.name),
        "description": (mark(installation, machine, "restored"), marked),
        "smbios1": (f"uuid={system_uuid(machine.uid)}", has_uuid(vm, machine.uid)),
    }


def delta(cluster: Cluster, spec: MachineSpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options to write so that the VM's config is as wanted; None means delete."""
    wanted = _upkeep(cluster, spec)
    return {name: value for name, value in wanted.items() if _text(config.get(name)) != _text(value)}


def late(vm: Vm) -> tuple[str, ...]:
    """Return what is kept equal and waits for a cold restart."""
    return tuple(name for name in vm.pending if name in COLD)


def foreign(vm: Vm) -> tuple[str, ...]:
    """Return what waits for a cold restart and is somebody else's: it is theirs to say when."""
    return tuple(name for name in vm.pending if name not in COLD)


def first_options(cluster: Cluster, machine: Machine, spec: MachineSpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is written before the first start, cloud-init included; frozen after it (G10)."""
    infra = cluster.infrastructure
    options: dict[str, Any] = dict(delta(cluster, spec, config))
    options |= {
        "smbios1": f"uuid={system_uuid(machine.uid)}",
        # Proxmox asks no agent that is not enabled (P33), and through it the host key is read.
        "agent": "1",
        "net0": _net0(spec, str(config.get("net0", ""))),
        "ipconfig0": f"ip={machine.address}/{infra.prefix},gw={infra.gateway}",
        "ciuser": spec.ssh_users[0],
        "ciupgrade": 0,  # the default upgrades the whole system at the first boot, to whatever there is that day
        # Encoded once more than the form that carries it (P13).
        "sshkeys": quote("\n".join(spec.ssh_keys), safe=""),
    }
    options |= {"nameserver": " ".join(infra.dns_servers)} if infra.dns_servers else {}
    options |= {"searchdomain": cluster.domain} if cluster.domain else {}
    return options


def boot_disk_gb(config: Mapping[str, Any], slot: str) -> float | None:
    """Return a disk's size in GiB from its property string, None when the VM has no such disk."""
    for part in str(config.get(slot, "")).split(","):
        if part.startswith("size="):
            return _gib(part.removeprefix("size="))
    return None


def unfit_boot_disk(spec: MachineSpec, config: Mapping[str, Any], *, who: str, whose: str) -> Refusal | None:
    """Return why the boot volume that `who` wants cannot come from these disks of `whose`, None when it can.

    A slot that is not there would be ignored, and disks cannot shrink. Nothing is said where no disk is known.
    """
    size = boot_disk_gb(config, spec.boot_disk)
    wanted = f"disks.bootVolume of {who}"
    if not _is_disk(str(config.get(spec.boot_disk, ""))):
        slots = sorted(slot for slot, value in config.items() if DISK.fullmatch(slot) and _is_disk(str(value)))
        sentence = f"{wanted}: {whose} has no disk {spec.boot_disk}; it has {', '.join(slots)}"
        missing = Refusal(Code.CONFIG, "BootDiskMissing", sentence, "Name the disk that the system is on.")
        return missing if slots else None
    if size is not None and size > spec.boot_disk_gb + EXTENT:
        sentence = f"{wanted}: {spec.boot_disk} of {whose} has {size:g} GiB and cannot shrink to {spec.boot_disk_gb}"
        return Refusal(Code.CONFIG, "BootDiskLarger", sentence, f"Set sizeGb to {math.ceil(size)} or more.")
    return None


def _is_disk(value: str) -> bool:
    return "size=" in value and "media=cdrom" not in value


def _upkeep(cluster: Cluster, spec: MachineSpec) -> dict[str, Any]:
    # As Proxmox keeps them (recorded [195, 385]): in another form they would differ at every look.
    tags = sorted({tag.lower() for tag in (*spec.tags, "cpcd", cluster.name)})
    return {
        "cores": spec.cores,
        "sockets": spec.sockets,
        "cpu": spec.cpu_type,
        "memory": spec.memory_mib,
        "balloon": None if spec.balloon else 0,
        "onboot": 1 if spec.on_boot else 0,
        "tags": ";".join(tags),
    }


def _text(value: Any) -> str:
    # Proxmox makes a number of text that looks like one (`sources/decode.py`).
    return "" if value is None else str(value)


def _net0(spec: MachineSpec, present: str) -> str:
    """Keep the MAC: a PUT without one makes a new one each time (recorded: encoding and types)."""
    mac = present.split(",", maxsplit=1)[0].partition("=")[2]
    parts = [f"{spec.nic_model}={mac}" if mac else spec.nic_model, f"bridge={spec.bridge}"]
    parts += [f"firewall={int(spec.firewall)}"] if spec.firewall else []
    parts += [f"mtu={spec.mtu}"] if spec.mtu else []
    parts += [f"tag={spec.vlan}"] if spec.vlan else []
    return ",".join(parts)


def _gib(size: str) -> float:
    unit = {"K": 2**-20, "M": 2**-10, "G": 1.0, "T": 1024.0}
    return float(size[:-1]) * unit[size[-1]] if size[-1:] in unit else float(size) / 2**30
