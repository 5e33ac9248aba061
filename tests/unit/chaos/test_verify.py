"""The checks of `make chaos` can fail: for each of them a world, a ledger or a log in which only that is wrong."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.keys import Key, Kind, OpId, Role, Scope, Uid, Wall
from cpcd.model.ledger import Ledger, Machine, Op
from tests.chaos.spec import Wanted
from tests.chaos.town import FOREIGN
from tests.chaos.verify import CHECKS, Asked, Before, Case

THEIRS = {"vmid": FOREIGN, "name": "theirs", "status": "running", "template": False, "pid": 77}
TOKEN = "00000000-0000-0000-0000-000000000002"


def row(number: int, role: Role, name: str) -> Machine:
    """Return a ledger row."""
    return Machine(
        uid=Uid(f"uid{number}"), cluster="chaos", role=role, group="g", index=number, name=name, site="s", node="pve1",
        vmid=100 + number, address="127.0.0.1", template=9000, template_node="pve1", revision="r", created=Wall(number),
    )  # fmt: skip


ROWS = [row(1, Role.CONTROL_PLANE, "chaos-cp-1"), row(2, Role.WORKER, "chaos-general-1")]


def vm(machine: Machine) -> dict[str, Any]:
    """Return a row's VM as the lab tells it."""
    return {
        "vmid": machine.vmid, "name": machine.name, "template": False, "status": "running", "memory": "2048",
        "lock": "", "description": f"cpcd/1 abc chaos {machine.uid} op1",
    }  # fmt: skip


def good() -> Case:
    """Return a case in which nothing is wrong: two machines, one of which replaced another one."""
    nodes = [{"name": each.name, "ready": True, "unschedulable": False} for each in ROWS]
    cluster = {"members": [{"name": "chaos-cp-1", "up": True, "learner": False}], "nodes": nodes}
    world = {
        "vms": [*(vm(each) for each in ROWS), THEIRS],
        "clusters": [cluster],
        "volumes": [{"volid": f"local-lvm:vm-{each.vmid}-disk-0", "node": "pve1", "used": True} for each in ROWS],
        "destructive": [
            {"verb": "shutdown", "vmid": 99},
            {"verb": "destroy", "vmid": 99},
            {"verb": "reboot", "vmid": 101},
        ],
    }
    before = Before({"chaos-general-1": {"vmid": 99}}, Ledger(), 0, 0)
    asked = Asked(Wanted(1, 1), destroyed=frozenset({99}), restarted=frozenset({101}), kept=frozenset({"uid1"}))
    ledger = Ledger({each.uid: each for each in ROWS})
    return Case(world, ledger, "ok", '{"event": "all is well"}', TOKEN, THEIRS, before, asked)


def world(change: Callable[[dict[str, Any]], object]) -> Case:
    """Return the good case with a change in the world."""
    case = good()
    changed = deepcopy(dict(case.world))
    change(changed)
    return replace(case, world=changed)


def opened() -> Case:
    """Return the good case with an operation left over."""
    op = Op(OpId("op2"), Key("chaos", Kind.MACHINE, "uid1"), "start", Scope("vm", "s", "101"), Wall(1.0))
    return replace(good(), ledger=replace(good().ledger, ops={op.id: op}))


PLANTED: Mapping[str, Case] = {
    "each machine is one VM": world(
        lambda w: w["vms"][1].update(description=w["vms"][0]["description"], name="chaos-general-1")
    ),
    "rows and VMs are the same": replace(good(), ledger=Ledger({ROWS[0].uid: ROWS[0]})),
    "no operation is open": opened(),
    "what is not ours is as it was": world(lambda w: w["vms"][2].update(pid=78)),
    "each volume is a VM's": world(
        lambda w: w["volumes"].append({"volid": "local-lvm:vm-98-disk-0", "node": "pve1", "used": False})
    ),
    "destroyed is what the story asked for": world(lambda w: w["destructive"].append({"verb": "destroy", "vmid": 98})),
    "taken down is what the story asked for, once": world(
        lambda w: w["destructive"].append({"verb": "reboot", "vmid": 102})
    ),
    "machines that were to stay are there": replace(good(), asked=replace(good().asked, kept=frozenset({"uid0"}))),
    "the world is as wanted": world(lambda w: w["vms"][1].update(memory="1024")),
    "one Kubernetes cluster of exactly these machines": world(
        lambda w: w["clusters"][0]["nodes"][1].update(ready=False)
    ),
    "the ledger passes PRAGMA integrity_check": replace(good(), integrity="row 1 missing from index"),
    "no traceback and no bug in the daemon's log": replace(
        good(), log='"exception": "Traceback (most recent call last):'
    ),
    "no secret in the daemon's log": replace(good(), log=f"Authorization: PVEAPIToken=cpcd@pve!lab={TOKEN}"),
}


def wrong(case: Case) -> list[str]:
    """Return the names of the checks that object."""
    return [name for name, check in CHECKS.items() if check(case)]


def test_nothing_is_wrong_in_a_good_world() -> None:
    """No check objects to what is in order."""
    assert wrong(good()) == []


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_can_fail(name: str) -> None:
    """What is planted for a check is found by it, and by others only where a machine is marked as another."""
    found = wrong(PLANTED[name])

    assert name in found
    assert len(found) == 1 or name == "each machine is one VM"


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["destructive"].clear(),
        lambda w: w["destructive"].append({"verb": "destroy", "vmid": 99}),
        lambda w: w["destructive"].append({"verb": "shutdown", "vmid": 99}),
        lambda w: w["destructive"].append({"verb": "reboot", "vmid": 101}),
        lambda w: w["destructive"].append({"verb": "stop", "vmid": 103}),
        lambda w: w["vms"].pop(1),
        lambda w: w["vms"][1].update(description=""),
        lambda w: w["vms"].pop(2),
        lambda w: w["clusters"].append(w["clusters"][0]),
        lambda w: w["clusters"][0]["members"].append({"name": "chaos-cp-2", "up": False, "learner": True}),
        lambda w: w["clusters"][0]["nodes"].append({"name": "left", "ready": True, "unschedulable": False}),
        lambda w: w["vms"][0].update(lock="clone"),
    ],
    ids=[
        "not destroyed", "destroyed twice", "shut down twice", "restarted twice", "new VM stopped", "forgotten", "unmarked", "foreign gone", "two clusters", "member left",
        "Node left", "locked",
    ],
)  # fmt: skip
def test_what_is_left_missing_or_double_is_found(change: Callable[[dict[str, Any]], object]) -> None:
    """Each leftover makes at least one check object."""
    assert wrong(world(change)) != []


@pytest.mark.parametrize("secret", ["abcdef.0123456789abcdef", "ab" * 32, "-----BEGIN OPENSSH PRIVATE KEY-----"])
def test_kubeadm_s_secrets_are_recognised(secret: str) -> None:
    """Bootstrap tokens, certificate keys and private keys are secrets wherever they stand in a line."""
    assert wrong(replace(good(), log=f'{{"event": "join {secret} now"}}')) == ["no secret in the daemon's log"]
