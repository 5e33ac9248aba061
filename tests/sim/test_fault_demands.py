"""Rows of `failures.md` that demand something of their own: what is not ours, what a person must allow, what must not be guessed."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpcd.lab.faults import Fault, named
from cpcd.lab.faults.mechanisms import Edit, Exit, Hang
from cpcd.lab.pve.cluster import Destructive
from cpcd.lab.simloop import SimLoop, simulate
from cpcd.ports.kube import GVK
from tests.sim.fault_stage import Stage, staged
from tests.sim.house import House, spec
from tests.sim.test_commands import commands

SMALL = spec(masters=1, workers=1)
TWO = spec(masters=1, workers=2, destroy="Auto")
WEDGED = Fault(
    row="D14", name="takes-no-reset", port="proxmox", call="POST /nodes/.*/status/reset$", times=None,
    does=Exit("VM 10002 qmp command 'system_reset' failed - got timeout"),
)  # fmt: skip

Tale = Callable[[Stage], Coroutine[Any, Any, None]]


def tell(directory: Path, tale: Tale, *, text: str = SMALL, found: Callable[[House], None] | None = None) -> Stage:
    """Play a tale on a stage of its own and return it as it was at the end; raises the first breach of an invariant."""
    stages: list[Stage] = []

    async def main(loop: SimLoop) -> None:
        stages.append(staged(loop, directory, text, found=found))
        await tale(stages[0])

    simulate(main, seed=1)
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


def test_a_vmid_that_the_token_does_not_see_is_somebodys(tmp_path: Path) -> None:
    """P02: in no list, and taken all the same; the machine is made under another one."""

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(named("vmid-of-the-unseen"))
        await stage.house.start()
        await stage.house.until(stage.house.settled, limit=1500, what="another VMID")

    stage = tell(tmp_path, tale, found=lambda house: house.plant(10_000, "pve3", "hidden"))

    assert stage.house.world.pve.vms[10_000].name == "hidden"
    assert {"demo-cp-1", "demo-general-1"} == set(stage.machines()) - {"hidden"}


def test_a_node_of_that_name_which_is_not_our_machine_is_not_deleted(tmp_path: Path) -> None:
    """K12: somebody's Ready Node has the name; ours waits and says so, and joins when it is gone."""
    uids: list[str] = []

    def uid(stage: Stage) -> str:
        found = stage.house.world.clusters[0].store.objects.find("Node", "demo-general-2")
        return str(found["metadata"]["uid"]) if found is not None else "none"

    async def tale(stage: Stage) -> None:
        await built(stage)
        stage.house.faults.arm(named("node-of-that-name"))
        await stage.house.until(lambda: uid(stage) != "none", limit=60)
        uids.append(uid(stage))
        stage.house.file.commit(TWO)
        await asyncio.sleep(600)
        uids.append(uid(stage))
        stage.house.faults.clear()
        await well(stage)
        uids.append(uid(stage))

    stage = tell(tmp_path, tale)

    assert uids[0] == uids[1] != uids[2]
    assert said(stage, "NameTaken: demo-general-2 waits: .*Node of that name which is another machine")


def test_an_init_that_never_succeeds_is_degraded_until_it_does(tmp_path: Path) -> None:
    """K20: what is cleaned up between two tries forgives nothing."""
    degraded: list[bool] = []

    async def tale(stage: Stage) -> None:
        house, fault = stage.house, replace(named("no-images"), times=None)
        house.listeners = (*house.listeners, lambda one: degraded.append(one.degraded))
        house.faults.arm(fault)
        await house.start()
        await house.until(lambda: house.faults.struck[fault.name] > 5, limit=1500)
        house.faults.clear()
        await well(stage)

    tell(tmp_path, tale)

    assert any(degraded)
    assert not degraded[-1]


def test_a_machine_that_hangs_for_good_is_reset_and_then_replaced(tmp_path: Path) -> None:
    """D14: what no reset brings back while its join is open goes like any machine that does not come up."""
    first: list[int] = []

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(named("hangs-for-good-in-join"))
        await stage.house.start()
        await stage.house.until(lambda: stage.house.faults.struck["hangs-for-good-in-join"] > 0, limit=900)
        first.append(vmid(stage, "demo-general-1"))
        await well(stage, limit=6000)

    stage = tell(tmp_path, tale)

    assert ["reset", "stop", "destroy"] == history(stage, first[0])
    assert said(stage, "reset demo-general-1, which answers nothing")
    assert {"demo-cp-1", "demo-general-2"} == set(stage.machines()) == set(stage.nodes())


def test_a_machine_that_hangs_is_reset_by_consent(tmp_path: Path) -> None:
    """D14: the consent that is asked for can be given for as long as it is asked for."""
    asked, answers = re.compile("waits for `cpcd approve (demo/reset/demo-general-1/[^`]+)`"), []

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(named("hangs-in-join"))
        await stage.house.start()
        await stage.house.until(lambda: said(stage, asked.pattern), limit=3000)
        await asyncio.sleep(60)
        request = next(found[1] for line in stage.told if (found := asked.search(line)))
        answers.append(await commands(stage.house).approve(request))
        await well(stage)

    stage = tell(tmp_path, tale, text=SMALL.replace("{Destroy: Approve}", "{Destroy: Approve, Reboot: Approve}"))

    assert ["reset"] == history(stage, vmid(stage, "demo-general-1"))
    assert 1 == len(answers)


def test_a_machine_that_hangs_is_replaced_where_no_reset_may_be(tmp_path: Path) -> None:
    """D14: it does not come up, whatever keeps its reset."""
    first: list[int] = []

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(named("hangs-for-good-in-join"))
        await stage.house.start()
        await stage.house.until(lambda: stage.house.faults.struck["hangs-for-good-in-join"] > 0, limit=900)
        first.append(vmid(stage, "demo-general-1"))
        await well(stage, limit=6000)

    stage = tell(tmp_path, tale, text=SMALL.replace("{Destroy: Approve}", "{Destroy: Approve, Reboot: Never}"))

    assert ["stop", "destroy"] == history(stage, first[0])
    assert said(stage, "PolicyNever|changePolicy.Reboot is Never")
    assert {"demo-cp-1", "demo-general-2"} == set(stage.machines())


def test_a_machine_that_hangs_is_replaced_where_no_reset_is_taken(tmp_path: Path) -> None:
    """D14: a QEMU that is wedged is asked once; what it runs goes like any machine that does not come up."""
    first: list[int] = []

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(named("hangs-for-good-in-join"))
        stage.house.faults.arm(WEDGED)
        await stage.house.start()
        await stage.house.until(lambda: stage.house.faults.struck["hangs-for-good-in-join"] > 0, limit=900)
        first.append(vmid(stage, "demo-general-1"))
        await well(stage, limit=8000)

    stage = tell(tmp_path, tale)

    assert ["reset", "stop", "destroy"] == history(stage, first[0])
    assert said(stage, "reset of demo-general-1 failed: .*got timeout")
    assert {"demo-cp-1", "demo-general-2"} == set(stage.machines()) == set(stage.nodes())


def test_a_reset_that_helps_is_no_join_that_failed(tmp_path: Path) -> None:
    """D14: who has two failed joins behind it and hangs in the third joins after its reset."""

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(replace(named("join-fails-thrice"), times=2))
        stage.house.faults.arm(named("hangs-in-join"))
        await stage.house.start()
        await stage.house.until(lambda: stage.house.faults.struck["hangs-in-join"] > 0, limit=1500)
        await well(stage, limit=6000)

    stage = tell(tmp_path, tale)

    assert ["reset"] == history(stage, vmid(stage, "demo-general-1"))
    assert {"demo-cp-1", "demo-general-1"} == set(stage.machines()) == set(stage.nodes())


def test_a_machine_that_refuses_the_login_is_not_reset(tmp_path: Path) -> None:
    """S07: it does not hang, however long its join cannot be followed; that is a person's, and then goes on as it was."""
    refused = replace(named("login-refused"), call="general-1 ")

    async def tale(stage: Stage) -> None:
        house = stage.house
        await house.start()
        await house.until(lambda: any(op.verb == "join" for op in house.gate.ledger.ops.values()), limit=900)
        house.faults.arm(refused)
        await asyncio.sleep(5000)
        house.faults.clear()
        await well(stage)

    stage = tell(tmp_path, tale)

    assert [] == history(stage, vmid(stage, "demo-general-1"))
    assert said(
        stage, "LoginRefused: demo-general-1 cannot be asked about join, .*: the key is refused for ubuntu, root"
    )
    assert {"demo-cp-1", "demo-general-1"} == set(stage.machines()) == set(stage.nodes())


def test_a_member_that_no_reset_reached_is_replaced_though_its_node_is_gone(tmp_path: Path) -> None:
    """D14: a Node that somebody deleted says nothing, so its absence is timed, also once a reset was tried in vain."""

    async def tale(stage: Stage) -> None:
        await built(stage)
        stage.house.faults.arm(replace(WEDGED, times=1))
        stage.house.world.clusters[0].store.delete(GVK("v1", "Node"), "demo-general-1")
        await stage.house.until(lambda: stage.house.faults.struck["takes-no-reset"] > 0, limit=900)
        await stage.house.until(lambda: "demo-general-1" not in stage.machines(), limit=1800)
        await well(stage)

    stage = tell(tmp_path, tale, text=TWO)

    assert {"demo-cp-1", "demo-general-2", "demo-general-3"} == set(stage.machines()) == set(stage.nodes())


def test_a_voter_that_hangs_in_its_join_is_reset_without_the_quorum_that_it_takes(tmp_path: Path) -> None:
    """D14: promoted and then silent, the second of two leaves etcd without quorum, and is all that brings it back."""
    lost: list[bool] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        stage.house.faults.arm(replace(named("hangs-in-join"), call="demo-cp-2 submit join", does=Hang(41)))
        stage.house.file.commit(spec(masters=3, workers=1))
        await stage.house.until(lambda: said(stage, "GuestSilent: demo-cp-2 .*past its time"), limit=3000)
        lost.append(said(stage, "ApiUnavailable: demo-cp-3 waits for the cluster's API"))
        await well(stage)

    stage = tell(tmp_path, tale)

    assert ([True], ["reset"]) == (lost, history(stage, vmid(stage, "demo-cp-2")))
    assert {"demo-cp-1", "demo-cp-2", "demo-cp-3", "demo-general-1"} == set(stage.machines()) == set(stage.nodes())


def test_a_machine_that_hangs_can_be_given_up(tmp_path: Path) -> None:
    """D14: one that is no longer wanted goes, however silent it is about what was begun on it."""
    first: list[int] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        fault = replace(named("hangs-for-good-in-join"), call="general-2 submit join")
        stage.house.faults.arm(fault)
        stage.house.file.commit(TWO)
        await stage.house.until(lambda: stage.house.faults.struck[fault.name] > 0, limit=900)
        first.append(vmid(stage, "demo-general-2"))
        stage.house.file.commit(TWO.replace("replicas: 2", "replicas: 1"))
        await well(stage)

    stage = tell(tmp_path, tale)

    assert ["stop", "destroy"] == history(stage, first[0])
    assert said(stage, "join on demo-general-2 is given up")
    assert {"demo-cp-1", "demo-general-1"} == set(stage.machines()) == set(stage.nodes())


def test_a_disruption_budget_is_waited_for_and_never_forced(tmp_path: Path) -> None:
    """K13: the pod stays as long as its budget says so, the wait names it, and relaxing the budget is enough."""
    ran: list[int] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        store = stage.house.world.clusters[0].store
        stage.house.faults.arm(named("budget-refuses"))
        await asyncio.sleep(60)
        stage.house.file.commit(spec(masters=1, workers=1, memory=3072))
        await asyncio.sleep(900)
        pods, _ = store.list(GVK("v1", "Pod"), labels="app=guarded")
        ran.append(
            sum(one["status"]["phase"] == "Running" and "deletionTimestamp" not in one["metadata"] for one in pods)
        )
        stage.house.faults.clear()
        await well(stage)

    stage = tell(tmp_path, tale)

    assert [1] == ran
    assert said(stage, "Draining: demo-general-1: waiting for .* pods to leave .*default/guarded")
    assert {"3072"} == {str(stage.house.world.pve.vms[vmid(stage, name)].config["memory"]) for name in stage.machines()}
    assert {} == stage.waiting()


@pytest.mark.parametrize(
    ("failing", "text"),
    [("half-a-join", SMALL), ("learner-not-in-sync", spec(masters=3, workers=1))],
    ids=["worker", "learner"],
)
def test_a_reset_that_is_cut_short_is_made_again(tmp_path: Path, failing: str, text: str) -> None:
    """K18, K02: a join fails half-way, and the reset after it is killed; no member is left behind by either."""

    async def tale(stage: Stage) -> None:
        stage.house.faults.arm(named(failing), named("reset-cut-short"))
        await stage.house.start()
        await stage.house.until(stage.house.settled, limit=3000, what="joined in the end")

    stage = tell(tmp_path, tale, text=text)
    members = stage.house.world.clusters[0].etcd.members

    assert {failing: 1, "reset-cut-short": 1} == dict(stage.house.faults.struck)
    assert said(stage, "CPCD-106 .*kubeadm-reset on .* was interrupted")
    assert sorted(name for name in stage.machines() if "-cp-" in name) == sorted(member.name for member in members)
    assert [] == [member.name for member in members if member.learner]
    assert [] == stage.house.world.pve.history


def test_an_address_that_somebody_else_has_is_given_up(tmp_path: Path) -> None:
    """G15, S02: another machine answers under another host key; nothing is run on it, and ours gets another address."""
    ran: list[dict[str, Any]] = []

    async def tale(stage: Stage) -> None:
        house = stage.house
        house.faults.arm(named("address-taken"))
        await house.start()
        await asyncio.sleep(60)
        squatter = next(vmid for vmid, vm in house.world.pve.vms.items() if vm.name == "squatter")
        await house.until(house.settled, limit=4000, what="another address")
        ran.append(house.world.guests[squatter].disk.ops)
        house.faults.clear()

    stage = tell(tmp_path, tale)
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


def test_a_file_system_that_never_follows_its_disk_costs_one_reboot(tmp_path: Path) -> None:
    """G14: the disk grew and growpart is skipped: one reboot, whichever daemon looks; then it is said, and that is all."""
    reboots: list[list[str]] = []

    async def tale(stage: Stage) -> None:
        house = stage.house
        await built(stage)
        house.faults.arm(named("growpart-skipped"))
        house.file.commit(spec(masters=1, workers=1, disk=40))
        for _ in range(8):
            await asyncio.sleep(37)
            await house.crash()
            await house.start()
        await house.until(house.settled, limit=3000, what="Ready all the same")
        await asyncio.sleep(3600)
        tasks = house.world.pve.cluster.tasks.tasks.values()
        reboots.append(sorted(one.id for one in tasks if one.kind == "qmshutdown"))

    stage = tell(tmp_path, tale)

    assert [sorted(str(vmid(stage, name)) for name in stage.machines())] == reboots
    assert {} == stage.house.gate.ledger.ops
    assert all(said(stage, f"Ready: {name} is a Ready .*look at its partitions") for name in stage.machines())


def test_a_template_that_has_no_cloud_init_drive_is_refused(tmp_path: Path) -> None:
    """P35: no clone of it would ever have its name and address, so that none is made."""

    async def tale(stage: Stage) -> None:
        await stage.house.start()
        await asyncio.sleep(300)

    stage = tell(tmp_path, tale, found=lambda house: house.faults.befall(Edit({"ide2": None}), vmid=9000))

    assert said(stage, "cloud-init drive")
    assert {} == stage.machines()


@pytest.mark.parametrize(
    "fault", [named("cloud-init-drive-gone"), named("agent-option-gone")], ids=lambda one: one.name
)
def test_a_machine_that_nobody_can_reach_is_replaced_by_another(tmp_path: Path, fault: Fault) -> None:
    """P35, P33: without the drive it has neither name nor address, without an agent nobody tells its host key."""
    before: list[str] = []

    async def tale(stage: Stage) -> None:
        house = stage.house
        house.faults.arm(fault)
        await house.start()
        await house.until(lambda: house.faults.struck[fault.name] == 1, limit=120)
        before.extend(uid for name, uid in stage.machines().items() if "general" in name)
        await house.until(house.settled, limit=4000, what="replaced")

    stage = tell(tmp_path, tale)
    workers = [uid for name, uid in stage.machines().items() if "general" in name]

    assert [1, 1] == [len(before), len(workers)]
    assert before != workers
    assert said(stage, "retire demo-general-1: it does not come up")
    assert ["demo-cp-1", *(name for name in stage.machines() if "general" in name)] == stage.nodes()


def test_a_member_whose_machine_is_lost_leaves_etcd_before_another_joins(tmp_path: Path) -> None:
    """K04: with it listed kubeadm lets nobody join; it is removed, and three voters are there again."""
    before: list[dict[str, str]] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        before.append(stage.machines())
        stage.house.faults.arm(named("member-of-a-lost-machine"))
        await stage.house.until(lambda: len(stage.machines()) == 3, limit=60)
        await well(stage, limit=4000)

    stage = tell(tmp_path, tale, text=spec(masters=3, workers=1))
    etcd = stage.house.world.clusters[0].etcd
    masters = {name: uid for name, uid in stage.machines().items() if "-cp-" in name}

    assert sorted(masters) == sorted(member.name for member in etcd.members if etcd.up(member) and not member.learner)
    assert len(masters) == 3
    assert 2 == len(set(masters.values()) & set(before[0].values()))
    assert [] == stage.house.world.pve.history


def test_a_join_that_fails_three_times_is_not_tried_for_ever(tmp_path: Path) -> None:
    """D05: the machine is retired and another takes its place, once."""
    before: list[str] = []

    async def tale(stage: Stage) -> None:
        house = stage.house
        house.faults.arm(named("join-fails-thrice"))
        await house.start()
        await house.until(lambda: len(stage.machines()) == 2, limit=120)
        before.append(stage.machines()["demo-general-1"])
        await house.until(lambda: house.faults.struck["join-fails-thrice"] == 3, limit=1500)
        await house.until(house.settled, limit=4000, what="replaced")

    stage = tell(tmp_path, tale)

    assert before[0] not in stage.machines().values()
    assert said(stage, "retire demo-general-1: 3 joins failed")


@pytest.mark.parametrize("story", ["grow", "rest"])
def test_a_list_without_our_machines_makes_none(tmp_path: Path, story: str) -> None:
    """T05, F04: for half an hour the bulk list has lost one of ours; nothing is taken for gone or made twice."""
    before: list[dict[str, str]] = []

    async def tale(stage: Stage) -> None:
        await built(stage)
        before.append(stage.machines())
        stage.house.faults.arm(named("one-of-ours-is-not-listed"))
        stage.house.file.commit(TWO if story == "grow" else SMALL)
        await asyncio.sleep(1800)
        stage.house.faults.clear()
        await well(stage)

    stage = tell(tmp_path, tale)

    assert before[0].items() <= stage.machines().items()
    assert [] == stage.house.world.pve.history
