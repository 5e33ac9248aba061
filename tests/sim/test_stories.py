"""The stories in virtual time: build, scale, change, repair, replace, silence, and crashes anywhere."""

import asyncio
import random
import re
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest

from cpcd.lab.simloop import SimLoop, simulate
from cpcd.model.keys import Key
from cpcd.model.ledger import DropFact, PutFact
from cpcd.plan.fold import Step, fold
from cpcd.plan.guards import FORESEEN
from cpcd.plan.resolve import resolve
from cpcd.ports.kube import GVK
from cpcd.reconcilers import RECONCILERS
from tests.sim.gate import MemoryDisk
from tests.sim.house import EPOCH, House, spec
from tests.sim.invariant import BreachError

Tale = Callable[[House], Coroutine[Any, Any, None]]


def tell(directory: Path, tale: Tale, *, seed: int = 1, text: str = "") -> House:
    """Play a tale in a house of its own and return the house as it was at the end."""
    houses: list[House] = []

    async def main(loop: SimLoop) -> None:
        house = House(loop, directory, text or spec(), seed=seed, disk=MemoryDisk())
        houses.append(house)
        await house.start()
        await tale(house)

    simulate(main, seed=seed)
    return houses[0]


def uids(house: House) -> list[str]:
    """Return the machine uid in the mark of every VM."""
    vms = (vm for vm in house.world.pve.vms.values() if not vm.template)
    return [str(vm.config["description"]).split()[3] for vm in vms]


def destroyed(house: House) -> list[int]:
    """Return the VMIDs that were destroyed."""
    return [call.vmid for call in house.world.pve.history if call.verb == "destroy"]


def members(house: House) -> list[str]:
    """Return the names of etcd's started voters."""
    return sorted(m.name for m in house.world.clusters[0].etcd.members if not m.learner)


def nodes(house: House) -> dict[str, Any]:
    """Return the Nodes by name."""
    listed, _ = house.world.clusters[0].store.list(GVK("v1", "Node"))
    return {node["metadata"]["name"]: node for node in listed}


async def built(house: House) -> None:
    """Build the first cluster."""
    await house.converged(limit=1500)


def test_a_broken_promise_fails_the_test_that_does_not_look_for_it(tmp_path: Path) -> None:
    """Every house is watched: whatever a tale is about, an invariant that is broken in it is told."""

    async def tale(house: House) -> None:
        house.plant(200, "pve3", "somebody")
        assert house.daemon is not None
        await house.daemon.ports.proxmox("127.0.0.1").power("pve3", 200, "start")

    with pytest.raises(BreachError, match="VM 200 \\(somebody\\) does not carry our mark"):
        tell(tmp_path, tale)


@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_is_built_from_nothing(tmp_path: Path, seed: int) -> None:
    """From an empty Proxmox: every object Ready, five marked VMs, three voters, the addon applied."""
    house = tell(tmp_path, built, seed=seed)

    assert len(house.vms()) == 5
    assert len(set(uids(house))) == 5
    assert members(house) == ["demo-cp-1", "demo-cp-2", "demo-cp-3"]
    assert house.world.clusters[0].store.get(GVK("v1", "ConfigMap"), "hello", "hello")["data"] == {"greeting": "hello"}
    assert destroyed(house) == []


def test_a_settled_cluster_is_left_alone(tmp_path: Path) -> None:
    """Converged means zero writes: half an hour later nothing but reads has happened."""
    writes: list[dict[str, int]] = []

    def count(house: House) -> dict[str, int]:
        return {call: n for call, n in house.world.pve.calls.items() if not call.startswith("GET")}

    async def tale(house: House) -> None:
        await built(house)
        writes.append(count(house))
        await asyncio.sleep(1800)
        writes.append(count(house))

    tell(tmp_path, tale)

    assert writes[0] == writes[1]


def test_an_edit_is_carried_out_as_planned(tmp_path: Path) -> None:
    """Workers 2 → 4, more memory, a label: no machine replaced, and the steps applied are the steps printed."""
    house, before, foreseen, applied = carried_out(tmp_path, spec(workers=4, memory=4096, labels="{tier: gold}"))

    assert set(before) <= set(uids(house))
    assert {vm.config["memory"] for vm in house.world.pve.vms.values() if not vm.template} <= {"4096", 4096}
    assert {n["metadata"]["labels"].get("tier") for name, n in nodes(house).items() if "general" in name} == {"gold"}
    assert foreseen == applied


def carried_out(directory: Path, edit: str) -> tuple[House, list[str], dict[str, list[str]], dict[str, list[str]]]:
    """Make an edit of the first cluster; return the house, who was there before, and steps as printed and as applied."""
    printed: list[Step] = []
    since: list[int] = []
    before: list[list[str]] = []

    async def tale(house: House) -> None:
        await built(house)
        assert house.daemon is not None
        before.append(sorted(uids(house)))
        await house.daemon.state.commit((PutFact("paused/demo", 1.0),))
        house.file.commit(edit)
        await asyncio.sleep(30)
        view = house.daemon.state.view
        printed.extend(fold(view, reconcilers=RECONCILERS, guards=FORESEEN, resolve=resolve))
        since.append(len(house.passes))
        await house.daemon.state.commit((DropFact("paused/demo"),))
        for key in house.daemon.keys():
            house.daemon.dispatcher.reset(key)
        await asyncio.sleep(1)
        await house.converged(limit=3000)

    house = tell(directory, tale)
    assert house.daemon is not None
    names: dict[str, str] = {row.uid: row.name for row in house.daemon.state.view.machines.values()}
    names |= {step.key.name: step.sentence.split()[-1] for step in printed if step.verb == "pin-host-key"}
    applied = by_object(((done.key, said) for done in house.passes[since[0] :] for _, said in done.steps), names)
    foreseen = by_object(((step.key, step.sentence) for step in printed), names)
    return house, before[0], foreseen, applied


def by_object(steps: Iterable[tuple[Key, str]], names: dict[str, str]) -> dict[str, list[str]]:
    """Return each object's sentences in order; repetitions of one step (a drain's sweeps) count as one."""
    found: dict[str, list[str]] = {}
    for key, sentence in steps:
        said = found.setdefault(f"{key.kind}/{names.get(key.name, key.name)}", [])
        said += [sentence] if said[-1:] != [sentence] else []
    return found


def test_taints_reach_nodes_whose_kubelets_have_reported_since(tmp_path: Path) -> None:
    """A report moves a Node's revision and nothing that is decided on: taints are written with the one of now (C14)."""

    async def tale(house: House) -> None:
        await house.converged(limit=3600)
        before = {name: node["metadata"]["resourceVersion"] for name, node in nodes(house).items()}
        await asyncio.sleep(700)
        since = {name: node["metadata"]["resourceVersion"] for name, node in nodes(house).items()}
        assert all(since[name] != version for name, version in before.items())
        taints = "taints: [{key: dedicated, value: gold, effect: NoSchedule}]"
        house.file.commit(spec().replace("replicas: 2, metadata", f"replicas: 2, {taints}, metadata"))
        await asyncio.sleep(5)
        await house.converged(limit=600)

    house = tell(tmp_path, tale)

    keys = {name: [taint["key"] for taint in node["spec"].get("taints", [])] for name, node in nodes(house).items()}
    assert {"demo-general-1": ["dedicated"], "demo-general-2": ["dedicated"]}.items() <= keys.items()
    assert not [one.failure for one in house.passes if one.failure and "409" in one.failure.what]


def test_a_deleted_and_a_stopped_worker_are_repaired(tmp_path: Path) -> None:
    """The stopped VM is started and stays the same machine, the deleted one gets a successor."""
    before: list[set[str]] = []

    async def tale(house: House) -> None:
        await built(house)
        before.append(set(uids(house)))
        ids = {name: vmid for vmid, name in house.vms().items()}
        house.world.pve.delete_vm(ids["demo-general-1"])
        house.world.pve.stop_vm(ids["demo-general-2"])
        await asyncio.sleep(60)
        await house.converged(limit=3000)

    house = tell(tmp_path, tale)

    assert len(house.vms()) == 5
    assert len(before[0] & set(uids(house))) == 4
    assert sorted(nodes(house)) == sorted(house.vms().values())
    assert destroyed(house) == []


@pytest.mark.parametrize("name", ["demo-general-1", "demo-cp-1"])
def test_a_machine_whose_vmid_is_another_vms_by_now_is_replaced(tmp_path: Path, name: str) -> None:
    """Its VM was deleted and somebody's new one got the number: that one runs on as it is."""
    theirs: list[tuple[int, str, dict[str, Any]]] = []

    async def tale(house: House) -> None:
        await built(house)
        pve = house.world.pve
        vmid = next(vmid for vmid, called in house.vms().items() if called == name)
        node = pve.vms[vmid].node
        pve.delete_vm(vmid)
        house.plant(vmid, node, "nextcloud", running=True)
        theirs.append((vmid, node, dict(pve.vms[vmid].config)))
        await asyncio.sleep(120)
        await house.converged(limit=3000)

    house = tell(tmp_path, tale)

    vmid, node, config = theirs[0]
    other = house.world.pve.vms[vmid]
    assert ("nextcloud", node, "running", config) == (other.name, other.node, other.status, other.config)
    ours = sorted(name for name in house.vms().values() if name != "nextcloud")
    assert len(ours) == 5
    assert ours == sorted(nodes(house))
    assert [name for name in ours if "-cp-" in name] == members(house)
    assert destroyed(house) == []


def test_a_lost_control_plane_is_replaced(tmp_path: Path) -> None:
    """The member of the lost machine leaves etcd before its successor joins."""

    async def tale(house: House) -> None:
        await built(house)
        ids = {name: vmid for vmid, name in house.vms().items()}
        house.world.pve.delete_vm(ids["demo-cp-1"])
        await asyncio.sleep(60)
        await house.converged(limit=3000)

    house = tell(tmp_path, tale)

    assert members(house) == sorted(name for name in house.vms().values() if "-cp-" in name)
    assert len(members(house)) == 3


def test_a_new_template_replaces_every_machine(tmp_path: Path) -> None:
    """All machines are new, the first control plane too; at no moment fewer than three voters were up."""
    low: list[int] = []
    before: list[set[str]] = []

    async def watch(house: House) -> None:
        while True:
            etcd = house.world.clusters[0].etcd
            low.append(sum(etcd.up(m) for m in etcd.members if not m.learner))
            await asyncio.sleep(1)

    async def tale(house: House) -> None:
        await built(house)
        before.append(set(uids(house)))
        watcher = asyncio.ensure_future(watch(house))
        house.file.commit(spec(template=9010))
        await asyncio.sleep(1)
        await house.converged(limit=9000)
        watcher.cancel()

    house = tell(tmp_path, tale)

    assert set(uids(house)).isdisjoint(before[0])
    assert len(house.vms()) == 5
    assert min(low) >= 3
    assert len(destroyed(house)) == 5


def test_control_planes_scale_down_and_up_again(tmp_path: Path) -> None:
    """3 → 1 → 3 with consent given in the file; members follow."""
    seen: list[list[str]] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(masters=1, destroy="Auto"))
        await asyncio.sleep(1)
        await house.converged(limit=9000)
        seen.append(members(house))
        house.file.commit(spec(masters=3, destroy="Auto"))
        await asyncio.sleep(1)
        await house.converged(limit=9000)
        seen.append(members(house))

    tell(tmp_path, tale)

    assert seen == [["demo-cp-1"], ["demo-cp-1", "demo-cp-2", "demo-cp-3"]]


def test_destruction_waits_for_approval(tmp_path: Path) -> None:
    """Scaling down asks by default and says which command consents."""
    waiting: list[str] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.commit(spec(workers=1))
        await asyncio.sleep(600)
        waiting.extend(done.sentence for done in house.passes if done.reason == "AwaitingApproval")

    house = tell(tmp_path, tale)

    assert "cpcd approve demo/retire/demo-general-2/" in waiting[-1]
    assert len(house.vms()) == 5


def test_a_silent_proxmox_parks_its_keys(tmp_path: Path) -> None:
    """Five minutes of silence: shown within 30 s, no pass fails twice, and everything is well again afterwards.

    However many objects wait, history has its beginning and its end, and systemd's line says it though nobody asks.
    """
    shown: list[float] = []
    failures: list[int] = []
    said: list[str] = []
    events: list[tuple[str, str]] = []

    async def tale(house: House) -> None:
        await built(house)
        assert house.daemon is not None
        began = house.loop.time()
        house.world.pve.silence(True)
        await house.until(lambda: house.daemon is not None and house.daemon.endpoints.why("pve:127.0.0.1"))
        shown.append(house.loop.time() - began)
        await asyncio.sleep(300 - shown[0])
        failures.extend(done.failures for done in house.passes if done.outcome == "failed")
        said.append(house.daemon.sentence())
        house.world.pve.silence(False)
        await asyncio.sleep(15)
        await house.converged(limit=600)
        events.extend((e.key, e.reason) for e in await house.daemon.journal.history() if e.at > EPOCH + began)

    tell(tmp_path, tale)

    assert shown[0] <= 30
    assert max(failures, default=0) <= 1
    assert re.match(r"CPCD-100 pve:127\.0\.0\.1: .*, since \d\d:\d\d:\d\d UTC; what needs it goes on when it ", said[0])
    assert events == [("demo/cluster/demo", "EndpointUp"), ("demo/cluster/demo", "EndpointDown")]


def test_a_silent_api_is_a_series_of_its_own_and_one_event(tmp_path: Path) -> None:
    """All control planes off at once: it is down until they are back, and no Node says for itself that it is unread."""
    shown: list[str] = []
    events: list[tuple[str, str]] = []

    async def tale(house: House) -> None:
        await built(house)
        assert house.daemon is not None
        began = house.clock.wall()
        for vmid, name in house.vms().items():
            if "-cp-" in name:
                house.world.pve.stop_vm(vmid)
        await house.until(lambda: house.daemon is not None and house.daemon.endpoints.why("kube:demo"), limit=60)
        shown.append(house.daemon.scrape().decode())
        await house.converged(limit=1800)
        shown.append(house.daemon.scrape().decode())
        events.extend((e.key, e.reason) for e in await house.daemon.journal.history(limit=1000) if e.at > began)

    tell(tmp_path, tale)
    series = [re.findall(r'^cpcd_endpoint_up\{endpoint="kube:demo"\} (\S+)$', page, re.MULTILINE) for page in shown]

    assert [["0.0"], ["1.0"]] == series
    assert {"EndpointDown", "EndpointUp"} <= {reason for key, reason in events if key == "demo/cluster/demo"}
    assert [] == [event for event in events if "/nodes/" in event[0]]


@pytest.mark.parametrize("seed", range(3))
def test_crashes_anywhere_leave_nothing_double_and_nothing_behind(tmp_path: Path, seed: int) -> None:
    """Killed every few seconds during a build, the daemon ends with the same cluster, each machine once."""
    dice = random.Random(seed)

    async def tale(house: House) -> None:
        for _ in range(12):
            await asyncio.sleep(dice.uniform(0.01, 40))
            await house.crash()
            await asyncio.sleep(dice.uniform(0.01, 5))
            await house.start()
        await house.converged(limit=4000)

    house = tell(tmp_path, tale, seed=seed)

    assert sorted(house.vms().values()) == [
        f"demo-{name}" for name in ("cp-1", "cp-2", "cp-3", "general-1", "general-2")
    ]
    assert len(set(uids(house))) == 5
    assert members(house) == ["demo-cp-1", "demo-cp-2", "demo-cp-3"]
    assert destroyed(house) == []


@pytest.mark.parametrize("seed", range(2))
def test_crashes_during_a_rollout_spend_nothing(tmp_path: Path, seed: int) -> None:
    """Killed again and again while every machine is replaced: the same end, only outdated machines destroyed."""
    dice = random.Random(seed)
    before: list[set[int]] = []

    async def tale(house: House) -> None:
        await built(house)
        before.append(set(house.vms()))
        house.file.commit(spec(template=9010))
        for _ in range(20):
            await asyncio.sleep(dice.uniform(0.01, 60))
            await house.crash()
            await house.start()
        await house.converged(limit=9000)

    house = tell(tmp_path, tale, seed=seed)

    assert len(house.vms()) == 5
    assert len(set(uids(house))) == 5
    assert set(destroyed(house)) <= before[0]
    assert len(members(house)) == 3


def test_a_removed_document_is_no_longer_watched(tmp_path: Path) -> None:
    """Its machines are retained; neither its Proxmox nor its API is asked any more."""
    running: list[tuple[str, ...]] = []

    async def tale(house: House) -> None:
        await built(house)
        assert house.daemon is not None
        house.file.commit(spec().replace("name: demo}", "name: other}").replace("127.77.0", "127.77.1"))
        await asyncio.sleep(5)
        running.append(house.daemon.supervisor.running())

    tell(tmp_path, tale)

    followed = {name for name in running[0] if name.endswith((" demo", " other"))}
    assert followed == {"inside other", "nodes other", "requests other"}
