"""Worlds as `GET /lab/state` and `GET /lab/history` tell them, made by hand so that each can be spoiled in one place."""

import copy
from typing import Any

from cpcd.lab.demo.proofs import FOREIGN, Ledger

World = dict[str, Any]


def uuid(number: int) -> str:
    """Return a machine's SMBIOS UUID."""
    return f"00000000-0000-0000-0000-{number:012d}"


def vm(number: int, name: str, **changes: Any) -> World:
    """Return a VM of ours; its number makes VMID, mark and UUID."""
    made = {
        "vmid": 10_000 + number, "node": f"pve{number % 3 + 1}", "name": name, "status": "running", "template": False,
        "lock": "", "pool": "", "since": 0.0, "pid": number, "description": f"cpcd/1 here demo uid-{number} op",
        "tags": "cpcd", "smbios1": f"uuid={uuid(number)}", "memory": "4096", "cores": 2,
    }  # fmt: skip
    return {**made, **changes}


def node(number: int, name: str, **changes: Any) -> World:
    """Return the Node of the machine of that number."""
    made = {
        "name": name, "uid": f"node-{number}", "ready": True, "unschedulable": False, "labels": {},
        "memory": f"{4096 * 1024}Ki", "systemUUID": uuid(number), "version": "v1.34.2",
    }  # fmt: skip
    return {**made, **changes}


def member(name: str, **changes: Any) -> World:
    """Return a healthy voter."""
    return {"name": name, "peer": f"https://{name}:2380", "learner": False, "up": True, **changes}


def guest(number: int, name: str, **changes: Any) -> World:
    """Return a machine that is prepared and idle."""
    made = {
        "vmid": 10_000 + number,
        "hostname": name,
        "address": "127.77.0.9",
        "ssh": True,
        "prepared": True,
        "job": "",
    }
    return {**made, **changes}


def volume(number: int, **changes: Any) -> World:
    """Return the disk of the machine of that number."""
    made = {"volid": f"local-lvm:vm-{10_000 + number}-disk-0", "node": "pve1", "vmid": 10_000 + number, "used": True}
    return {**made, **changes}


def task(kind: str = "qmclone", **changes: Any) -> World:
    """Return a task that has ended well."""
    return {"type": kind, "id": "9000", "node": "pve1", "start": 0.0, "end": 1.0, "exit": "OK", **changes}


def world(masters: int = 3, workers: int = 2, *, first: int = 11) -> World:
    """Return a world that is as wanted; machines are numbered from `first`."""
    names = [f"demo-cp-{n}" for n in range(1, masters + 1)] + [f"demo-general-{n}" for n in range(1, workers + 1)]
    numbered = list(enumerate(names, first))
    theirs = vm(2, "theirs", vmid=FOREIGN, template=True, description="", tags="not-ours")
    return {
        "time": 100.0,
        "vms": [theirs, *(vm(number, name) for number, name in numbered)],
        "volumes": [volume(number) for number, _ in numbered],
        "guests": [guest(number, name) for number, name in numbered],
        "clusters": [
            {
                "name": "demo",
                "healthy": True,
                "members": [member(name) for name in names[:masters]],
                "nodes": [node(number, name) for number, name in numbered],
            }
        ],
        "apis": ["127.77.0.4:6443"],
        "destructive": [],
        "tasks": [task()],
    }


def but(whole: World, part: str, index: int, **changes: Any) -> World:
    """Return a world in which one VM, volume, guest, task, node or member is another; the first world stays."""
    found = copy.deepcopy(whole)
    (found["clusters"][0] if part in {"nodes", "members"} else found)[part][index].update(changes)
    return found


def without(whole: World, part: str, index: int) -> World:
    """Return a world that lacks one part."""
    found = copy.deepcopy(whole)
    del (found["clusters"][0] if part in {"nodes", "members"} else found)[part][index]
    return found


def ledger(whole: World) -> Ledger:
    """Return the ledger that fits a world."""
    return Ledger({vm["description"].split()[3]: vm["vmid"] for vm in whole["vms"] if vm["description"]})
