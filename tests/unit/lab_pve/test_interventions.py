"""What happens behind the API's back."""


def test_vm_stopped_by_hand_leaves_no_task(lab) -> None:
    """A crashed QEMU looks like this."""
    lab.started(100)
    before = len(lab.get("/cluster/tasks").data)

    lab.pve.stop_vm(100)

    assert lab.get("/nodes/pve1/qemu/100/status/current").data["status"] == "stopped"
    assert before == len(lab.get("/cluster/tasks").data)
    assert ("power_off", 100) in lab.guests.seen


def test_vm_deleted_by_hand_is_gone_with_its_disks(lab) -> None:
    """`qm destroy` at the node's shell."""
    lab.started(100)

    lab.pve.delete_vm(100)

    assert lab.get("/nodes/pve1/qemu/100/config").status == 500
    assert lab.get("/nodes/pve1/storage/local/content", vmid=100).data == []
    assert ("destroyed", 100) in lab.guests.seen


def test_guest_that_powers_itself_off(lab) -> None:
    """`poweroff` inside the guest; a second word about it is no error, nor one about a VM that is gone."""
    lab.started(100)

    for vmid in (100, 100, 999):
        lab.pve.powered_off(vmid)

    assert lab.get("/nodes/pve1/qemu/100/status/current").data["status"] == "stopped"


def test_dead_node_takes_workers_and_guests_with_it(lab) -> None:
    """`failures.md` P21, P22: a clone in flight leaves its lock, guests are off."""
    lab.started(100)
    upid = lab.post("/nodes/pve1/qemu/9000/clone", newid=200, full=1).data
    lab.run(1)

    lab.pve.node_down("pve1")
    lab.run(60)
    lab.pve.node_up("pve1")

    assert lab.status(upid)["exitstatus"] == "unexpected status"
    assert lab.config(200)["lock"] == "clone"
    assert lab.get("/nodes/pve1/qemu/100/status/current").data["status"] == "stopped"
    assert lab.put("/nodes/pve1/qemu/9000/config", description="lock is free").status == 200


def test_onboot_vms_start_with_their_node(lab) -> None:
    """API schema: `onboot` starts a VM when its node has booted."""
    lab.started(100)
    lab.put("/nodes/pve1/qemu/100/config", onboot=1)
    lab.pve.node_down("pve1")
    lab.run(30)

    lab.pve.node_up("pve1")
    lab.run(90)

    assert lab.get("/nodes/pve1/qemu/100/status/current").data["status"] == "running"


def test_template_looks_like_an_administrator_s(lab) -> None:
    """Recorded 307 has these options, and those that Proxmox adds."""
    config = lab.config(9000)

    assert {
        "agent", "boot", "cores", "cpu", "digest", "ide2", "memory", "meta", "name", "net0", "ostype", "scsi0", "scsihw",
        "serial0", "smbios1", "tags", "template", "vga", "vmgenid",
    } == set(config)  # fmt: skip
    assert config["scsi0"] == "local:9000/base-9000-disk-0.raw,size=2560M"
    assert config["ide2"] == "local:9000/vm-9000-cloudinit.qcow2,media=cdrom"
