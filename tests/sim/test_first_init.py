"""The first control plane when luck is bad: lost in the middle, killed, spoilt, or not the first one at all."""

import asyncio
from pathlib import Path

from cpcd.lab.guests import Guest
from cpcd.model.ledger import Machine
from tests.sim.house import House, spec
from tests.sim.test_stories import tell

LIMIT = 3 * 3600.0
CERTIFICATE = "/etc/kubernetes/pki/apiserver.crt"


def elected(house: House) -> Machine:
    """Return the row that was elected to make the cluster."""
    assert house.daemon is not None
    view = house.daemon.state.view
    return view.machines[view.facts["elected/demo"]]


async def stage(house: House, name: str) -> Guest:
    """Wait until the elected machine is in a stage of kubeadm init, and return it."""

    def guest() -> Guest | None:
        known = house.daemon is not None and "elected/demo" in house.daemon.state.view.facts
        return house.world.guests.get(elected(house).vmid) if known else None

    await house.until(lambda: (found := guest()) is not None and found.stage == name, limit=LIMIT, what=name)
    found = guest()
    assert found is not None
    return found


def said(house: House, reason: str) -> bool:
    """Return whether any pass ended with this reason."""
    return any(done.reason == reason for done in house.passes)


def voters(house: House) -> list[str]:
    """Return the names of the voters of the cluster that was made last."""
    return sorted(member.name for member in house.world.clusters[-1].etcd.members if not member.learner)


def verbs(house: House) -> list[str]:
    """Return what was begun of kubeadm's own verbs, in order."""
    taken = [verb for done in house.passes for verb, _ in done.steps]
    return [verb for verb in taken if verb in {"init", "kubeadm-reset"}]


def test_a_first_init_that_is_lost_with_its_machine_leaves_no_kubeconfig_in_force(tmp_path: Path) -> None:
    """Another machine makes another cluster: over TLS nobody could ask it with the CA of the lost one."""
    hashes: list[str] = []

    def written(house: House) -> str:
        found = house.kubeconfigs.describe("demo") if house.kubeconfigs else None
        return found.ca_hash if found else ""

    async def tale(house: House) -> None:
        while not written(house):
            await asyncio.sleep(0.05)
        assert house.daemon is not None
        assert "identity/demo" not in house.daemon.state.view.facts
        lost = elected(house)
        hashes.append(written(house))
        house.world.pve.stop_vm(lost.vmid)
        house.world.pve.delete_vm(lost.vmid)
        await house.converged(limit=LIMIT)
        hashes.extend([written(house), house.daemon.state.view.facts["identity/demo"]["ca_hash"]])

    house = tell(tmp_path, tale)

    assert hashes[0] not in hashes[1:]
    assert hashes[1] == hashes[2]
    assert voters(house) == sorted(name for name in house.vms().values() if "-cp-" in name)
    assert len(house.vms()) == 5


def test_nothing_is_initialised_where_somebody_answers_at_the_endpoint(tmp_path: Path) -> None:
    """It may be a cluster that nobody remembers: it is waited for and named until the address is free."""

    async def tale(house: House) -> None:
        house.plant(777, "pve3", "squatter")
        vm = house.world.pve.vms[777]
        vm.config["ipconfig0"] = "ip=127.77.0.4/16"
        vm.booted = dict(vm.config)
        house.world.power_on(vm)
        await house.until(lambda: said(house, "EndpointTaken"), limit=LIMIT, what="it is named")
        await asyncio.sleep(600)
        assert verbs(house) == []
        house.world.guests[777].power_off()
        await house.converged(limit=LIMIT)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=1))

    assert verbs(house) == ["init"]


def test_an_init_that_is_repeated_asks_for_the_names_that_its_certificate_has(tmp_path: Path) -> None:
    """Killed with its certificates made, and meanwhile the file wants more control planes than before."""

    async def tale(house: House) -> None:
        guest = await stage(house, "etcd")
        house.file.commit(spec(masters=3, workers=1))
        await asyncio.sleep(5)
        guest.kill_job()
        await house.converged(limit=LIMIT)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=1))

    assert verbs(house) == ["init", "init"]
    assert len(house.world.clusters) == 1
    assert len(voters(house)) == 3


def test_an_init_whose_leftovers_are_spoilt_is_begun_anew(tmp_path: Path) -> None:
    """A power cut left an empty certificate (`failures.md` D02): kubeadm refuses it however often it is asked."""

    async def tale(house: House) -> None:
        guest = await stage(house, "etcd")
        guest.disk.write(CERTIFICATE, "", house.loop.time())
        guest.kill_job()
        await house.converged(limit=LIMIT)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=1))

    assert verbs(house) == ["init", "init", "kubeadm-reset", "init"]
    assert voters(house) == ["demo-cp-1"]
