"""Long verbs outlive the connection and the daemon: submitted once as a transient unit, polled by op id.

`boot_id` is left before the unit starts and `result.json` by rename at its end, so a crash at any point reads as
`lost`, never as `absent`. Which verbs there are stands in `ops.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import marshal
import re
import shutil
import sys
import time
from collections.abc import Iterator
from types import CodeType
from typing import Final

from cpcd.guest.machine import JSON, STATE, VOLATILE, Machine, Refused, boot_id

LOOK: Final = 0.5  # seconds between two looks at what is waited for


@contextlib.contextmanager
def host_lock(machine: Machine, patience: float = 0) -> Iterator[None]:
    """Hold the machine: one lock covers kubeadm, snapshots and playbooks; the kernel frees it at death."""
    path = machine.path(f"{STATE}/lock")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Refused("busy", "another operation holds the machine") from None
                time.sleep(0.2)
        yield


def unit_of(op: str) -> str:
    """Return the transient unit's name; an op's id is part of paths, so its letters are limited."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", op):
        raise Refused("InvalidInput", f"{op!r} is no op id")
    return f"cpcd-{op}"


def submit(machine: Machine, verb: str, given: JSON, op: str) -> JSON:
    """Start a long verb once and for all: an op that was begun here is only reported."""
    # Before the lock: an op that was begun here is told, whoever holds the machine now.
    known = look(machine, op)
    if known["state"] == "absent":
        with host_lock(machine):
            # Again: another submit of it may have come and gone between the look and the lock.
            if look(machine, op)["state"] == "absent":
                begin(machine, verb, given, op)
        known = look(machine, op)
    return {"state": known["state"], "boot_id": known["boot_id"]}


def begin(machine: Machine, verb: str, given: JSON, op: str) -> None:
    """Leave boot_id first: from here on a crash reads as `lost`, never as `absent`."""
    job = f"{VOLATILE}/{op}"
    machine.write(f"{job}.json", json.dumps({"op": op, "verb": verb, "given": given}))
    machine.write(f"{job}.pyc", runnable(machine.code))
    machine.write(f"{STATE}/ops/{op}/verb", verb)
    # The last of the files: from here on the op is known, so all that its unit reads is there.
    machine.write(f"{STATE}/ops/{op}/boot_id", boot_id(machine))
    # -I: nothing from the environment, the working directory or a user's packages is imported as root.
    script = [sys.executable, "-I", str(machine.path(f"{job}.pyc")), str(machine.path(f"{job}.json"))]
    # --collect: an ended unit would keep its name (recorded [83, 86]); the result file is what tells the end.
    ran = machine.run(["systemd-run", "--quiet", "--collect", "--service-type=exec", "--unit", unit_of(op), *script])
    if ran.rc:
        # systemd took no unit, so nothing has begun: the op is absent again, and may be submitted anew.
        shutil.rmtree(machine.path(f"{STATE}/ops/{op}"))
        for suffix in (".json", ".pyc"):
            machine.path(job + suffix).unlink()
        raise Refused("UnitFailed", ran.refused("submit").message, ran.rc)


def runnable(code: CodeType | None) -> bytes:
    """Return what this machine's Python runs as a file; compiled anew, it would start in twice the time (PEP 552)."""
    from importlib.util import MAGIC_NUMBER

    return MAGIC_NUMBER + bytes(12) + marshal.dumps(code)  # no flags, and of no source: neither time nor size


def lives(machine: Machine, unit: str) -> bool:
    """Return whether a unit is at work.

    One that has processes is (cgroup v2 tells at once); else systemctl is asked, a program of half a second, to whom "no
    such unit" is a success (recorded [74]).
    """
    if machine.read(f"/sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs"):
        return True
    shown = machine.run(["systemctl", "show", unit, "-p", "ActiveState"]).out
    return bool(re.search(r"ActiveState=(?:active|activating|deactivating)\b", shown))


def poll(machine: Machine, given: JSON, op: str) -> JSON:
    """Return `{state, boot_id, rc, output, error}`; of what runs, once it has ended or after `patience` seconds.

    To be asked again costs a small machine more than to look by itself: polls were a fifth of a join's time (measured).
    """
    deadline = time.monotonic() + given.get("patience", 0)
    while (state := look(machine, op))["state"] == "running" and time.monotonic() < deadline:
        time.sleep(LOOK)
    return state


def look(machine: Machine, op: str) -> dict[str, JSON]:
    """Return the state of an op now."""
    unit = unit_of(op)
    began = machine.read(f"{STATE}/ops/{op}/boot_id")
    state: dict[str, JSON] = {"state": "absent", "boot_id": began, "rc": None, "output": {}, "error": {}}
    if not began:
        return state
    ended = began != boot_id(machine) or machine.read(f"{STATE}/ops/{op}/result.json") != ""
    if not ended and lives(machine, unit):
        return {**state, "state": "running"}
    result = machine.read(f"{STATE}/ops/{op}/result.json")  # again: the unit may have ended while we asked
    if not result:
        return {**state, "state": "lost"}
    done = json.loads(result)
    return {**state, **done, "state": "failed" if done["rc"] else "done"}
