"""Rows of `failures.md` that demand something of their own: what is not ours, what a person must allow, what must not be guessed."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cpcd.lab.faults import Fault, named
from cpcd.lab.faults.mechanisms import Edit, Fails, Partial
from cpcd.lab.pve.cluster import Destructive
from cpcd.lab.simloop import SimLoop, simulate
from cpcd.ports.kube import GVK
from tests.sim.fault_stage import Stage, staged
from tests.sim.house import House, spec
from tests.sim.known import known
from tests.sim.play import quieted

NODE = GVK("v1", "Node")
SMALL = spec(masters=1, workers=1)
TWO = spec(masters=1, workers=2, destroy="Auto")

Tale = Callable[[Stage], Coroutine[Any, Any, None]]


def tell(directory: Path, tale: Tale, *, text: str = SMALL, found: Callable[[House], None] | None = None) -> Stage:
    """Play a tale on a stage of its own and return it as it was at the end; raises the first breach of an invariant."""
    stages: list[Stage] = []

    async def main(loop: SimLoop) -> None:
        stages.append(staged(loop, directory, text, found=found))
        await tale(stages[0])

    with quieted():
        simulate(main, seed=1)
        for invariant in stages[0].watch.invariants:
            invariant.over()
    assert [one for one in stages[0].watch.breaches if not known(one)] == []
    return stages[0]


async def built(stage: Stage) -> None:
    """Build the first cluster."""
    await stage.house.start()
    await stage.house.converged(limit=1500)


async def well(stage: Stage, limit: float = 2500) -> None:
    """Let a minute pass and then time until all is as wanted."""
    await asyncio.sleep(60)
    await stage.house.until(stage.house.settled, limit=limit, what="well again")


def vmid(stage: Stage, name: str) -> int:
    """Return the VMID of our machine of a name."""
    rows = stage.house.gate.ledger.machines.values()
    return next(row.vmid for row in rows if row.name == name)


def said(stage: Stage, pattern: str) -> bool:
    """Whether a report or the daemon's sentence matches."""
    return any(re.search(pattern, line) for line in stage.told)


def history(stage: Stage, number: int) -> list[str]:
    """Return the destructive calls about one VMID."""
    calls: list[Destructive] = stage.house.world.pve.history
    return [call.verb for call in calls if call.vmid == number]


def test_a_protected_machine_is_destroyed_only_when_a_person_lifts_that(tmp_path: Path) -> None:
    """P38: the protection is named and never cleared; lifted, the retirement goes on by itself."""
    there: list[bool] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        number = vmid(stage, "demo-general-2")
        stage.house.faults.arm(named("protected"))
        stage.house.file.commit(TWO.replace("replicas: 2", "replicas: 1"))
        await asyncio.sleep(900)
        vms = stage.house.world.pve.vms
        there.append(number in vms and vms[number].config.get("protection") == 1)
        stage.house.faults.befall(Edit({"protection": None}), vmid=number)
        await well(stage)
        there.append(number in vms)

    stage = tell(tmp_path, tale, text=TWO)

    assert [True, False] == there
    assert said(stage, "Protected: VM .* is protected in Proxmox")


def test_a_vmid_that_went_to_somebody_else_is_theirs(tmp_path: Path) -> None:
    """P06: our VM was deleted and its VMID given to another; theirs is said and left, and when it goes ours comes back."""
    theirs: list[Any] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        number, pve = vmid(stage, "demo-general-1"), stage.house.world.pve
        pve.delete_vm(number)
        stage.house.plant(number, "pve2", "demo-general-1", running=True)
        await asyncio.sleep(1800)
        theirs.extend([pve.vms[number].status, history(stage, number)])
        pve.delete_vm(number)
        await well(stage)

    stage = tell(tmp_path, tale)

    assert ["running", []] == theirs
    assert said(stage, "ForeignVm: VM .* does not carry the marks of demo-general-1; it is not touched")
    assert {"demo-cp-1", "demo-general-1"} == {row.name for row in stage.house.gate.ledger.machines.values()}


def test_a_vmid_that_went_to_somebody_else_in_a_retirement_is_not_destroyed(tmp_path: Path) -> None:
    """P06: between stop and destroy the VM is another's; the destroy is not sent."""
    theirs: list[Any] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        number, house = vmid(stage, "demo-general-2"), stage.house
        house.file.commit(TWO.replace("replicas: 2", "replicas: 1"))
        await house.until(lambda: history(stage, number) == ["stop"], limit=300)
        house.world.pve.delete_vm(number)
        house.plant(number, "pve3", "demo-general-2")
        await asyncio.sleep(900)
        theirs.extend([number in house.world.pve.vms, history(stage, number)])
        house.world.pve.delete_vm(number)
        await well(stage)

    stage = tell(tmp_path, tale, text=TWO)

    assert [True, ["stop"]] == theirs
    assert said(stage, "ForeignVm: .*it is not destroyed")


def test_a_vmid_that_the_token_does_not_see_is_somebodys(tmp_path: Path) -> None:
    """P02: in no list, and taken all the same; the machine is made under another one."""
    hidden = Fault(
        row="P02", name="hidden", port="proxmox", call="/resources", does=Partial('"vmid": 10000,'), times=None
    )

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(hidden)
        await stage.house.start()
        await stage.house.until(stage.house.settled, limit=1500, what="another VMID")

    stage = tell(tmp_path, tale, found=lambda house: house.plant(10_000, "pve3", "hidden"))

    assert stage.house.world.pve.vms[10_000].name == "hidden"
    assert {"demo-cp-1", "demo-general-1"} == set(stage.machines()) - {"hidden"}


def test_a_node_of_that_name_which_is_not_our_machine_is_not_deleted(tmp_path: Path) -> None:
    """K12: somebody's Ready Node has the name; ours waits and says so, and joins when it is gone."""
    there: list[bool] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        objects = stage.house.world.clusters[0].store.objects
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"conditions": [ready], "nodeInfo": {"systemUUID": "ffffffff-0000-0000-0000-000000000000"}}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "demo-general-2"},
            "spec": {},
            "status": status,
        }
        uid = objects.put(node)["metadata"]["uid"]
        stage.house.file.commit(TWO)
        await asyncio.sleep(600)
        found = objects.find("Node", "demo-general-2")
        there.append(found is not None and found["metadata"]["uid"] == uid)
        stage.house.world.clusters[0].store.delete(NODE, "demo-general-2")
        await well(stage)

    stage = tell(tmp_path, tale)

    assert [True] == there
    assert said(stage, "demo-general-2.*Node")


def test_a_disruption_budget_is_waited_for_and_never_forced(tmp_path: Path) -> None:
    """K13: the pod stays as long as its budget says so, the wait names it, and relaxing the budget is enough."""
    ran: list[int] = []
    labels = {"app": "web"}

    def budget(stage: Stage, least: int) -> None:
        whole = {"selector": {"matchLabels": labels}, "minAvailable": least}
        metadata = {"name": "web", "namespace": "default"}
        stage.house.world.clusters[0].store.apply(
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": whole}
        )

    async def tale(stage: Stage) -> None:
        await built(stage)
        store = stage.house.world.clusters[0].store
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
        whole = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
        metadata = {"name": "web", "namespace": "default"}
        store.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": whole})
        budget(stage, 1)
        await asyncio.sleep(30)
        stage.house.file.commit(spec(masters=1, workers=1, memory=3072))
        await asyncio.sleep(900)
        pods, _ = store.list(GVK("v1", "Pod"), labels="app=web")
        ran.append(
            sum(one["status"]["phase"] == "Running" and "deletionTimestamp" not in one["metadata"] for one in pods)
        )
        budget(stage, 0)
        await well(stage)

    stage = tell(tmp_path, tale)

    assert [1] == ran
    assert said(stage, "Draining: demo-general-1: waiting for .* pods to leave .*default/web")
    assert {"3072"} == {str(stage.house.world.pve.vms[vmid(stage, name)].config["memory"]) for name in stage.machines()}


def test_a_reset_that_is_cut_short_is_made_again(tmp_path: Path) -> None:
    """K18, K02: a join fails half-way, and the reset after it is killed; the next one finishes."""

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(named("half-a-join"), named("reset-cut-short"))
        await stage.house.start()
        await stage.house.until(stage.house.settled, limit=3000, what="joined in the end")

    stage = tell(tmp_path, tale)

    assert {"half-a-join": 1, "reset-cut-short": 1} == dict(stage.house.faults.struck)
    assert said(stage, "CPCD-106 .*kubeadm-reset on .* was interrupted")
    assert [] == stage.house.world.pve.history


def test_an_address_that_somebody_else_has_is_given_up(tmp_path: Path) -> None:
    """G15, S02: another machine answers under another host key; nothing is run on it, and ours gets another address."""
    ran: list[dict[str, Any]] = []

    def squat(house: House) -> None:
        house.plant(10_050, "pve3", "squatter")
        squatter = house.world.pve.vms[10_050]
        squatter.config["ipconfig0"] = "ip=127.77.0.11/16,gw=127.77.0.1"
        squatter.booted = dict(squatter.config)
        house.world.power_on(squatter)

    async def tale(stage: Stage) -> None:
        house = stage.house
        await asyncio.sleep(60)
        await house.start()
        await house.until(house.settled, limit=4000, what="another address")
        ran.append(house.world.guests[10_050].disk.ops)

    stage = tell(tmp_path, tale, found=squat)
    addresses = {row.name: row.address for row in stage.house.gate.ledger.machines.values()}

    assert [{}] == ran
    assert said(stage, "the host key of demo-general-1 is not the pinned one")
    assert "127.77.0.11" not in addresses.values()
    assert ["control-plane", "worker"] == sorted(row.role.value for row in stage.house.gate.ledger.machines.values())


def test_a_machine_without_its_address_is_replaced_by_another(tmp_path: Path) -> None:
    """G04: it never answers at the address that it was given, and after `nodeStartupTimeout` another is made."""
    before: list[str] = []

    async def tale(stage: Stage) -> None:
        house = stage.house
        await house.start()
        await house.until(lambda: len(house.world.guests) == 4, limit=120)
        number = vmid(stage, "demo-general-1")
        house.world.guests[number].cut = True
        before.append(stage.machines()["demo-general-1"])
        await asyncio.sleep(900)
        await house.until(house.settled, limit=4000, what="replaced")

    stage = tell(tmp_path, tale)
    workers = {name: uid for name, uid in stage.machines().items() if "general" in name}

    assert len(workers) == 1
    assert before[0] not in workers.values()
    assert said(stage, "retire demo-general-1: it does not come up")


def test_a_template_that_has_no_cloud_init_drive_is_refused(tmp_path: Path) -> None:
    """P35: no clone of it would ever have its name and address, so that none is made."""

    async def tale(stage: Stage) -> None:
        await stage.house.start()
        await asyncio.sleep(300)

    stage = tell(tmp_path, tale, found=lambda house: house.faults.befall(Edit({"ide2": None}), vmid=9000))

    assert said(stage, "cloud-init drive")
    assert {} == stage.machines()


def test_a_join_that_fails_three_times_is_not_tried_for_ever(tmp_path: Path) -> None:
    """K05, D05: the machine is retired and another takes its place, once."""
    fails = Fails("kubelet-start", "error: timed out waiting for the condition")
    fault = Fault(row="K05", name="no-join", port="guests", call="general-1 submit join", does=fails, times=3)
    before: list[str] = []

    async def tale(stage: Stage) -> None:
        house = stage.house
        house.faults.arm(fault)
        await house.start()
        await house.until(lambda: len(stage.machines()) == 2, limit=120)
        before.append(stage.machines()["demo-general-1"])
        await house.until(lambda: house.faults.struck["no-join"] == 3, limit=1500)
        await house.until(house.settled, limit=4000, what="replaced")

    stage = tell(tmp_path, tale)

    assert before[0] not in stage.machines().values()
    assert said(stage, "retire demo-general-1: 3 joins failed")


@pytest.mark.parametrize("story", ["grow", "rest"])
def test_a_list_without_our_machines_makes_none(tmp_path: Path, story: str) -> None:
    """T05, F04: for half an hour the bulk list has lost one of ours; nothing is taken for gone or made twice."""
    partial = Fault(row="T05", name="lost", port="proxmox", call="/resources", does=Partial("general-1"), times=None)
    before: list[dict[str, str]] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        before.append(stage.machines())
        stage.house.faults.arm(partial)
        stage.house.file.commit(TWO if story == "grow" else SMALL)
        await asyncio.sleep(1800)
        stage.house.faults.clear()
        await well(stage)

    stage = tell(tmp_path, tale)

    assert before[0].items() <= stage.machines().items()
    assert [] == stage.house.world.pve.history
