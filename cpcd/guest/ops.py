"""What cpcd runs on a machine, as root, left nowhere: the catalogue and its dispatch.

It travels with its sibling modules as one text (`wire.bundle`) on stdin of the one-liner `wire.COMMAND`, where the
wire format is documented. Python 3.9 standard library. START HERE: `VERBS` and `JOBS`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any, Final

from cpcd.guest.etcd import etcd_members, etcd_move_leader, etcd_remove, etcd_snapshot
from cpcd.guest.facts import addresses, facts
from cpcd.guest.jobs import host_lock, poll, submit
from cpcd.guest.kubeadm import init, join, join_secrets, kubeconfig, reset
from cpcd.guest.machine import JSON, KUBERNETES, STATE, Machine, Ran, Refused, run_command
from cpcd.guest.reasons import classify, masked

RELEASE: Final = 20.0  # seconds; a pod's grace is 30 s, and kube-vip needs a second
CODE: CodeType | None = globals().get("CODE")  # put here by `wire.COMMAND`: a submitted job runs the same


def release_endpoint(machine: Machine, given: JSON, _op: str) -> JSON:
    """Take kube-vip off this machine, so that it hands the address over instead of letting its lease end.

    kube-vip gives up lease and address when it is told to end, which a kubelet does whose manifest has gone. That is
    awaited for `RELEASE` seconds at most; without kube-vip or the address nothing happens.
    """
    machine.path(f"{KUBERNETES}/manifests/kube-vip.yaml").unlink(missing_ok=True)
    deadline = time.monotonic() + RELEASE
    while given["address"] in addresses(machine) and time.monotonic() < deadline:
        time.sleep(0.5)
    return {"released": given["address"] not in addresses(machine)}


def said(refused: Refused) -> dict[str, str]:
    """Return a refusal as JSON."""
    return {"reason": refused.reason, "message": refused.message}


def guarded(attempt: Callable[[], dict[str, JSON]], failed: Callable[[Refused], dict[str, JSON]]) -> dict[str, JSON]:
    """Return the attempt's reply or what it failed with: nothing ends in a trace that nobody reads."""
    try:
        return attempt()
    except Refused as no:
        return failed(no)
    except OSError as error:
        return failed(Refused(classify("", 1, "", str(error)), f"{type(error).__name__}: {error}"))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        return failed(Refused("Internal", f"{type(error).__name__}: {error}"))


def told(argv: list[str], **more: Any) -> Ran:
    """Run a command of a job; of one that fails the journal keeps all words but secrets, a result only the end."""
    ran = run_command(argv, **more)
    if ran.rc not in (0, 127):
        sys.stderr.write(masked(f"{' '.join(argv[:2])} ended with {ran.rc}\n{ran.out}{ran.err}"))
    return ran


def execute(machine: Machine, job: Path) -> None:
    """Be the unit: take the job (its file is deleted once read), do it under the lock, leave the result."""
    request = json.loads(job.read_text())
    # Before anything else: the secrets of a join are in it.
    job.unlink()
    job.with_suffix(".pyc").unlink()

    def attempt() -> dict[str, JSON]:
        with host_lock(machine, patience=30):  # the submitter still holds it while it starts us
            return {"rc": 0, "output": JOBS[request["verb"]](machine, request["given"]), "error": {}}

    reply = guarded(attempt, lambda no: {"rc": no.rc, "output": {}, "error": said(no)})
    machine.write(f"{STATE}/ops/{request['op']}/result.json", json.dumps(reply))


JOBS: Final[Mapping[str, Callable[[Machine, JSON], JSON]]] = {
    "init": init,
    "join": join,
    "reset": reset,
    "etcd_snapshot": etcd_snapshot,
}
VERBS: Final[Mapping[str, Callable[[Machine, JSON, str], JSON]]] = {
    "facts": facts,
    "join_secrets": join_secrets,
    "kubeconfig": kubeconfig,
    "etcd_members": etcd_members,
    "etcd_remove": etcd_remove,
    "etcd_move_leader": etcd_move_leader,
    "release_endpoint": release_endpoint,
    "poll": poll,
}


def answer(machine: Machine, request: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the reply to one request."""
    verb, given, op = request["verb"], request["given"], request.get("op", "")

    def attempt() -> dict[str, JSON]:
        if verb in VERBS:
            return {"ok": True, "output": VERBS[verb](machine, given, op)}
        if verb in JOBS:
            return {"ok": True, "output": submit(machine, verb, given, op)}
        raise Refused("InvalidInput", f"unknown verb {verb!r}")

    return guarded(attempt, lambda no: {"ok": False, **said(no)})


def main(argv: list[str]) -> None:
    """Run as the unit (one argument: the job's file) or answer requests on stdin, until there are no more."""
    if len(argv) > 1:
        execute(Machine(run=told), Path(argv[1]))
        return
    machine = Machine(code=CODE)
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(answer(machine, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv)
