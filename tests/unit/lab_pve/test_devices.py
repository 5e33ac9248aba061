"""Drives, network devices and firmware of a VM where the recording stops: read in Proxmox's source, not seen."""

import pytest

VM = "/nodes/pve1/qemu/100"


@pytest.mark.parametrize(("delete", "order"), [("net0", "order=scsi0"), ("scsi0", "order=net0"), ("net0,scsi0", " ")])
def test_what_is_deleted_leaves_the_boot_order(lab, delete: str, order: str) -> None:
    """Qemu.pm update_vm_api: network devices too; a boot order of nothing is a blank (recorded 1067)."""
    lab.clone(100)
    lab.put(f"{VM}/config", boot="order=scsi0;net0")
    lab.put(f"{VM}/config", delete=delete)

    assert order == lab.config(100)["boot"]


def test_a_running_vm_keeps_its_boot_order_until_it_is_off(lab) -> None:
    """QemuServer.pm vmconfig_hotplug_pending: nothing plugs a boot order."""
    lab.clone(100)
    lab.put(f"{VM}/config", boot="order=scsi0;net0")
    lab.outcome(lab.post(f"{VM}/status/start"))
    lab.put(f"{VM}/config", delete="net0")

    assert "order=scsi0" == lab.config(100)["boot"]
    assert "order=scsi0;net0" == lab.config(100, current=1)["boot"]


def test_protection_is_against_deletion_not_against_replacement(lab) -> None:
    """Qemu.pm update_vm_api: asked of what is deleted, with a medium or without; a replaced disk is kept as unused."""
    lab.clone(100)
    lab.put(f"{VM}/config", protection=1, scsi1="local:1", ide0="none,media=cdrom")
    replaced = lab.put(f"{VM}/config", scsi1="local:2")
    refused = [lab.put(f"{VM}/config", delete=name).reason for name in ("scsi1", "ide0", "unused0")]
    unused = lab.config(100)["unused0"]

    assert 200 == replaced.status
    assert [
        "can't remove drive 'scsi1' - protection mode enabled",
        "can't remove drive 'ide0' - protection mode enabled",
        f"can't remove unused disk '{unused}' - protection mode enabled",
    ] == refused


def test_the_variables_of_the_firmware_are_copied_into_their_disk(lab) -> None:
    """OVMF.pm create_efidisk: the log of a create tells it as that of any copy."""
    answer = lab.post("/nodes/pve1/qemu", vmid=100, bios="ovmf", efidisk0="local:1,efitype=4m")
    lab.outcome(answer)

    assert "transferred 528.0 KiB of 528.0 KiB (100.00%)" in lab.log(answer.data, limit=500)


@pytest.mark.parametrize(
    ("machine", "running"),
    [("pc", "pc-i440fx-10.0+pve1"), ("q35", "pc-q35-10.0+pve1"), ("pc-q35-9.2+pve1", "pc-q35-9.2+pve1")],
)
def test_the_machine_that_runs_is_of_the_configured_kind(lab, machine: str, running: str) -> None:
    """Machine.pm current_from_query_machines, beside recorded 530: the newest, unless a version is named."""
    lab.clone(100)
    lab.put(f"{VM}/config", machine=machine)
    lab.outcome(lab.post(f"{VM}/status/start"))

    assert running == lab.get(f"{VM}/status/current").data["running-machine"]


def test_blanks_around_a_value_are_not_kept(lab) -> None:
    """QemuServer.pm parse_vm_config: the file is read line by line, a description is trimmed at its end."""
    lab.clone(100)
    lab.put(f"{VM}/config", ciuser=" ops ", description="  first\n\nlast \n\n")
    config = lab.config(100)

    assert ("ops", "  first\n\nlast") == (config["ciuser"], config["description"])


def test_an_object_is_no_value(lab) -> None:
    """JSONSchema.pm check_type: JSON can have more than text in a parameter, beside recorded 258."""
    lab.clone(100)
    answer = lab.put(f"{VM}/config", net0={"model": "virtio"}, name=["a", "b"])

    assert {
        "net0": "type check ('string') failed - got HASH",
        "name": "type check ('string') failed - got ARRAY",
    } == answer.body["errors"]
