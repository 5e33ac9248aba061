"""Power, boot and what survives them."""

import pytest

from cpcd.lab.guests import VerbFailed


@pytest.fixture
def vm(rack):
    """A machine that was cloned and started just now."""
    rack.clone(301, "cp1")
    rack.power(301)
    return rack.world.guests[301]


def test_agent_answers_before_ssh_and_ssh_before_cloud_init_ends(rack, vm) -> None:
    """Recorded 1005, 1007: the agent comes some seconds before sshd, cloud-init goes on after it."""
    rack.until(lambda: vm.agent_up)
    assert rack.world.guest_at("10.0.0.101") is None

    rack.until(lambda: rack.world.guest_at("10.0.0.101") is vm)
    assert vm.cloud_init == "running"
    rack.run(10)
    assert vm.cloud_init == "done"


def test_cloud_init_gives_name_user_keys_and_identity(rack, vm) -> None:
    """What the configuration says is what the machine is."""
    rack.until(lambda: vm.ssh_up)
    facts, _ = vm.call("facts", {})
    smbios = rack.pve("GET", "301/config")["smbios1"]

    assert ("cp1", ["10.0.0.101"]) == (facts["hostname"], facts["addresses"])
    assert facts["system_uuid"] in smbios.lower()
    assert ["root", "cpcd"] == vm.users
    assert [line.split()[-1] for line in vm.authorized_keys] == ["operator"]


def test_every_boot_has_another_id_and_the_disk_stays(rack, vm) -> None:
    """Recorded 142-161: reboot from inside, reset and stop/start keep machine-id and host key."""
    rack.until(lambda: vm.ssh_up)
    seen = [vm.boot_id]
    kept = (vm.disk.machine_id, vm.host_key)

    vm.reboot()
    rack.until(lambda: vm.boot_id != seen[-1])
    seen.append(vm.boot_id)
    rack.power(301, "reset")
    seen.append(vm.boot_id)
    rack.power(301, "stop")
    assert rack.world.guest_at("10.0.0.101") is None
    rack.power(301)
    seen.append(vm.boot_id)

    assert len(set(seen)) == len(seen)
    assert kept == (vm.disk.machine_id, vm.host_key)


def test_a_first_boot_that_upgrades_takes_longer(rack, vm) -> None:
    """`ciupgrade` is on where nobody says otherwise (`apischema.json`), and only at an instance's first boot."""
    rack.power(301, "stop")
    rack.pve("PUT", "301/config", delete="ciupgrade")
    rack.power(301)
    rack.run(vm.durations.cloud_init + 1)

    assert vm.cloud_init == "running"
    rack.run(vm.durations.upgrade)
    assert vm.cloud_init == "done"


def test_another_cloud_init_instance_has_new_host_keys(rack, vm) -> None:
    """`failures.md` G10: any change of cloud-init's configuration is a new instance at the next cold start."""
    before = (vm.host_key, vm.disk.machine_id)
    rack.pve("PUT", "301/config", ciuser="other")
    rack.power(301, "stop")
    rack.power(301)

    assert vm.host_key != before[0]
    assert vm.disk.machine_id == before[1]
    rack.until(lambda: vm.ssh_up)
    assert vm.users == ["root", "cpcd", "other"]


def test_a_clone_is_another_machine(rack, vm) -> None:
    """Machine-id and host key are the clone's own."""
    rack.clone(302, "w1")
    rack.power(302)
    other = rack.world.guests[302]

    assert vm.disk.machine_id != other.disk.machine_id
    assert vm.host_key != other.host_key


def test_shutdown_ends_in_a_stopped_vm(rack, vm) -> None:
    """The guest powers itself off, and Proxmox notices."""
    rack.until(lambda: vm.ssh_up)
    rack.power(301, "shutdown")
    rack.run(5)

    assert rack.pve("GET", "301/status/current")["status"] == "stopped"
    assert vm.booted is None


def test_of_two_machines_with_one_address_the_first_answers(rack, vm) -> None:
    """`failures.md` G15."""
    rack.clone(302, "w1")
    rack.pve("PUT", "302/config", ipconfig0="ip=10.0.0.101/24")
    rack.power(302)
    rack.run(60)

    assert rack.world.guest_at("10.0.0.101") is vm


def test_prepare_waits_for_cloud_init_and_is_convergent(rack, vm) -> None:
    """A second prepare with the same profile changes nothing and is quick."""
    rack.until(lambda: vm.ssh_up)
    given = {"version": "v1.34.2", "packages": {}, "timezone": "UTC", "profile": "p1"}
    began = rack.time
    first = rack.do(vm, "prepare", **given)
    middle = rack.time
    second = rack.do(vm, "prepare", **given)

    facts, _ = vm.call("facts", {})
    assert (True, False) == (first["output"]["changed"], second["output"]["changed"])
    assert rack.time - middle < middle - began
    assert ("p1", "1.34.2", ["kubeadm", "kubectl", "kubelet"]) == (
        facts["prepared"],
        facts["packages"]["kubelet"],
        facts["holds"],
    )


def test_a_power_cut_loses_the_running_op(rack, vm) -> None:
    """Its boot id differs and there is no result: lost, never absent, and not begun again by a repeat."""
    rack.until(lambda: vm.ssh_up)
    given = {"version": "1.34.2", "packages": {}, "timezone": "UTC", "profile": "p1"}
    op = rack.submit(vm, "prepare", **given)
    assert vm.poll(op)["state"] == "running"
    rack.power(301, "stop")
    rack.power(301)
    rack.until(lambda: vm.ssh_up)
    vm.submit(op, "prepare", given)
    rack.run(120)

    lost = vm.poll(op)
    assert ("lost", None) == (lost["state"], lost["rc"])
    assert lost["boot_id"] != vm.boot_id
    assert vm.disk.prepared == ""
    assert vm.poll("never")["state"] == "absent"


def test_one_long_op_at_a_time(rack, vm) -> None:
    """The host lock: a second op is refused, the same op is not."""
    rack.until(lambda: vm.ssh_up)
    given = {"version": "1.34.2", "packages": {}, "timezone": "UTC", "profile": "p1"}
    op = rack.submit(vm, "prepare", **given)
    vm.submit(op, "prepare", given)

    with pytest.raises(VerbFailed) as no:
        rack.submit(vm, "reset")
    assert no.value.reason == "busy"


def test_init_without_kubeadm_is_a_missing_command(rack, vm) -> None:
    """A machine that was not prepared says so."""
    rack.until(lambda: vm.ssh_up)

    ended = rack.do(vm, "init", **rack.init_given(vm))

    assert ("failed", "CommandMissing") == (ended["state"], ended["error"]["reason"])


def test_without_a_cloud_init_drive_nobody_tells_a_machine_anything(rack) -> None:
    """`failures.md` P35: no name, no user, no address; what it was told before it keeps."""
    rack.clone(301, "cp1")
    told = rack.world.pve.vms[301].config.pop("ide2")
    rack.power(301)
    fresh = rack.world.guests[301]
    before = (fresh.address, fresh.hostname, fresh.authorized_keys)
    rack.power(301, "stop")
    rack.world.pve.vms[301].config["ide2"] = told
    rack.power(301)
    seen = (fresh.address, fresh.hostname)
    rack.power(301, "stop")
    del rack.world.pve.vms[301].config["ide2"]
    rack.power(301)

    assert before == ("", "localhost", [])
    assert seen == ("10.0.0.101", "cp1") == (fresh.address, fresh.hostname)
