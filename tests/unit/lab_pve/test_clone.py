"""Clones: what they copy, when they appear, how two of them meet."""

import re

import pytest


def test_linked_clone_copies_everything_but_identity(lab) -> None:
    """Recorded 314-318: tags come along; MAC, smbios uuid and vmgenid are new; the disk rests on the base."""
    base = lab.config(9000)

    assert lab.clone(200, name="linked-200") == "OK"

    made = lab.config(200)
    assert made["scsi0"] == "local:9000/base-9000-disk-0.raw/200/vm-200-disk-0.qcow2,size=2560M"
    assert made["ide2"] == "local:200/vm-200-cloudinit.qcow2,media=cdrom,size=4M"
    assert ("linked-200", "k8s;template", base["meta"]) == (made["name"], made["tags"], made["meta"])
    assert "template" not in made
    assert "lock" not in made
    changed = {key for key in made if made[key] != base.get(key)}
    assert {"digest", "ide2", "name", "net0", "scsi0", "smbios1", "vmgenid"} == changed


def test_clone_log_names_source_and_target(lab) -> None:
    """Recorded 317: the UPID carries the source's VMID, only the log has the target's (`failures.md` P22)."""
    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=200, name="linked-200")
    lab.outcome(answer)

    assert re.fullmatch(r"UPID:pve1:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:qmclone:9000:admin@pve!full:", answer.data)
    log = lab.log(answer.data)
    assert log[0] == "creating a clone of VM 9000 with ID 200"
    assert "create linked clone of drive scsi0 (local:9000/base-9000-disk-0.raw)" in log
    assert log[-1] == "TASK OK"


def test_full_clone_has_a_log_longer_than_one_page(lab) -> None:
    """Recorded 322: the end of the log is not among the first 50 lines."""
    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=201, full=1, name="full-201", description="a clone")

    assert lab.outcome(answer) == "OK"

    assert len(lab.log(answer.data)) == 50
    assert lab.log(answer.data, limit=500)[-1] == "TASK OK"
    assert (lab.config(201)["name"], lab.config(201)["description"]) == ("full-201", "a clone")
    assert lab.config(201)["scsi0"] == "local:201/vm-201-disk-0.raw,size=2560M"


def test_target_has_no_name_until_its_first_disk_is_copied(lab) -> None:
    """`failures.md` P22: the configuration begins as `lock: clone` alone, then has name and lock (recorded 746)."""
    lab.post("/nodes/pve1/qemu/9000/clone", newid=430, name="slow", description="mark", full=1)
    lab.run(0.1)
    first = lab.config(430)
    lab.run(0.5)
    second = lab.config(430)
    status = lab.get("/nodes/pve1/qemu/430/status/current").data

    assert {"digest", "lock"} == set(first)
    assert ("clone", "slow", "mark", "scsi0" in second) == (
        second["lock"],
        second["name"],
        second["description"],
        False,
    )
    assert (status["lock"], status["maxdisk"]) == ("clone", 0)


def test_update_of_a_vm_being_cloned_is_refused_at_once(lab) -> None:
    """Recorded 749, 752."""
    lab.post("/nodes/pve1/qemu/9000/clone", newid=430, full=1)
    lab.run(1)

    update = lab.put("/nodes/pve1/qemu/430/config", name="early")

    assert (update.status, update.reason, update.seconds) == (500, "VM is locked (clone)", 0)
    assert lab.get("/cluster/nextid", vmid=430).body["errors"] == {"vmid": "VM 430 already exists"}


def test_template_cannot_be_changed_while_a_long_clone_runs(lab) -> None:
    """Recorded 754, 769: 10 s, then the lock file's text."""
    lab.post("/nodes/pve1/qemu/9000/clone", newid=430, full=1, bwlimit=24000)
    lab.run(1)

    update = lab.put("/nodes/pve1/qemu/9000/config", description="during clone")
    removal = lab.delete("/nodes/pve1/qemu/9000")

    text = "can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout"
    assert (500, text, 10.0) == (update.status, update.reason, update.seconds)
    assert text == lab.outcome(removal)


def test_clones_of_one_template_share_its_lock(lab) -> None:
    """Recorded 733-740, 755, 759: linked and full clones go on together."""
    full = [lab.post("/nodes/pve1/qemu/9000/clone", newid=410 + n, full=1) for n in range(3)]
    linked = [lab.post("/nodes/pve1/qemu/9000/clone", newid=400 + n) for n in range(5)]

    assert [lab.outcome(answer) for answer in (*full, *linked)] == ["OK"] * 8


def test_two_clones_to_one_vmid_both_get_a_upid_and_one_wins(lab) -> None:
    """Recorded 741, 742 and pve/README.md: the loser is a failing task, and its log does not claim the VMID."""
    one = lab.post("/nodes/pve1/qemu/9000/clone", newid=420, name="same0")
    two = lab.post("/nodes/pve1/qemu/9000/clone", newid=420, name="same1")

    assert (one.status, two.status) == (200, 200)
    assert lab.outcome(one) == "OK"
    assert lab.outcome(two) == "unable to create VM 420: config file already exists"
    assert lab.config(420)["name"] == "same0"
    assert "creating a clone of VM 9000 with ID 420" not in lab.log(two.data)


def test_loser_against_a_long_clone_gives_up_on_the_targets_lock(lab) -> None:
    """The target's lock is waited for one second (`failures.md` section 0)."""
    lab.post("/nodes/pve1/qemu/9000/clone", newid=420, full=1)
    loser = lab.post("/nodes/pve1/qemu/9000/clone", newid=420, full=1)

    assert lab.outcome(loser) == "can't lock file '/var/lock/qemu-server/lock-420.conf' - got timeout"


def test_existing_vmid_is_refused_at_once(lab) -> None:
    """Recorded 329."""
    lab.clone(200)

    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=200, full=1)

    assert (answer.status, answer.reason) == (500, "unable to create VM 200: config file already exists")


def test_vmid_of_another_node_passes_the_check_and_fails_the_task(lab) -> None:
    """pve/README.md, Locks and concurrency."""
    lab.outcome(lab.post("/nodes/pve2/qemu", vmid=700))

    outcome = lab.clone(700)

    path = "/etc/pve/nodes/pve1/qemu-server/700.conf"
    assert f"close (rename) atomic file '{path}' failed: File exists" == outcome


@pytest.mark.parametrize(
    ("params", "status", "reason"),
    [
        ({"storage": "local"}, 500, "parameter 'storage' not allowed for linked clones"),
        ({"full": 1, "storage": "nosuch"}, 500, "storage 'nosuch' does not exist"),
        ({"full": 1, "target": "nosuch"}, 500, "no such cluster node 'nosuch'"),
        ({"full": 1, "target": "pve2"}, 500, "can't clone VM to node 'pve2' (VM uses local storage)"),
        ({"full": 1, "target": "pve2", "storage": "local"}, 500, "can't clone to non-shared storage 'local'"),
        ({"snapname": "nosuch"}, 500, "snapshot 'nosuch' does not exist"),
        ({"pool": "nosuch"}, 403, "Permission check failed (pool 'nosuch' does not exist)"),
        ({"name": "Bad_Name"}, 400, "Parameter verification failed."),
    ],
)
def test_refusals(lab, params, status, reason) -> None:
    """Recorded 330-336; the two about another node are `failures.md` P12."""
    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=203, **params)

    assert (status, reason) == (answer.status, answer.reason)


def test_missing_source_has_its_own_text(lab) -> None:
    """Recorded 337."""
    answer = lab.post("/nodes/pve1/qemu/9999/clone", newid=203)

    assert answer.reason == "unable to find configuration file for VM 9999 on node 'pve1'"


def test_only_a_template_can_be_cloned_linked(lab) -> None:
    """Recorded 338, 339: `full` defaults to 1 for other VMs."""
    lab.clone(200, full=1)

    linked = lab.post("/nodes/pve1/qemu/200/clone", newid=203, full=0)
    default = lab.post("/nodes/pve1/qemu/200/clone", newid=203)

    assert linked.reason == "Linked clone feature is not supported for 'local:200/vm-200-disk-0.raw' (scsi0)"
    assert lab.outcome(default) == "OK"
    assert lab.config(203)["scsi0"] == "local:203/vm-203-disk-0.raw,size=2560M"


def test_clone_without_name_is_called_a_copy(lab) -> None:
    """Qemu.pm clone_vm."""
    lab.clone(200)

    assert lab.config(200)["name"] == "Copy-of-VM-debian-13"


def test_cancelled_clone_leaves_nothing(lab) -> None:
    """Recorded 776-780."""
    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=433, full=1)
    lab.run(3)

    stop = lab.delete(f"/nodes/pve1/tasks/{answer.data}")
    lab.run(stop.seconds)

    assert (stop.status, stop.seconds) == (200, 1.0)
    assert lab.status(answer.data)["exitstatus"].startswith("clone failed: copy failed: ")
    assert lab.status(answer.data)["exitstatus"].endswith("failed: interrupted by signal")
    assert lab.get("/nodes/pve1/qemu/433/config").status == 500
    assert lab.get("/nodes/pve1/storage/local/content", vmid=433).data == []


def test_killed_clone_leaves_its_lock_and_a_volume_that_nobody_knows(lab) -> None:
    """Recorded 782-797: neither start nor delete helps; the half-written volume is not in the configuration."""
    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=434, name="killed", full=1)
    lab.run(3)

    lab.pve.kill_worker(answer.data)

    assert lab.status(answer.data)["exitstatus"] == "unexpected status"
    assert (lab.config(434)["lock"], lab.config(434)["name"]) == ("clone", "killed")
    assert "scsi0" not in lab.config(434)
    volumes = [entry["volid"] for entry in lab.get("/nodes/pve1/storage/local/content", vmid=434).data]
    assert volumes == ["local:434/vm-434-cloudinit.qcow2", "local:434/vm-434-disk-0.raw"]
    assert lab.outcome(lab.post("/nodes/pve1/qemu/434/status/start")) == "VM is locked (clone)"
    assert lab.outcome(lab.delete("/nodes/pve1/qemu/434", purge=1)) == "VM is locked (clone)"


def test_full_storage_fails_the_clone_and_cleans_up(lab) -> None:
    """`failures.md` P29."""
    lab.pve.cluster.volumes.allocate("local", "pve1", 999, size=1018 * 1024**3)

    outcomes = [lab.clone(200 + n, full=1) for n in range(2)]

    assert outcomes == ["OK", "clone failed: unable to create image: qemu-img: No space left on device"]
    assert lab.get("/nodes/pve1/qemu/201/config").status == 500


def test_clone_on_lvm_thin_has_plain_volume_names(lab) -> None:
    """LvmThinPlugin.pm: a linked clone's volume does not name its base."""
    lab.pve.add_template(9001, "pve2", "debian-13")

    lab.outcome(lab.post("/nodes/pve2/qemu/9001/clone", newid=300))

    scsi0 = lab.get("/nodes/pve2/qemu/300/config").data["scsi0"]
    assert scsi0 == "local-lvm:vm-300-disk-0,size=10G"


def test_busy_template_fails_a_clone_after_one_second(lab) -> None:
    """`failures.md` P01: somebody holds the source's lock file."""
    lab.pve.hold_lock("pve1", "/var/lock/qemu-server/lock-9000.conf", 5)

    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=200)

    assert lab.outcome(answer) == "can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout"
    assert lab.log(answer.data)[0] == "trying to acquire lock..."
    assert 1.0 < lab.time < 1.5


def test_held_storage_lock_fails_a_clone_after_ten_seconds(lab) -> None:
    """`failures.md` P08; the text is that of recorded 835."""
    lab.pve.hold_lock("pve1", "/var/lock/pve-manager/pve-storage-local", 70)

    outcome = lab.clone(200, full=1)

    assert outcome == "clone failed: can't lock file '/var/lock/pve-manager/pve-storage-local' - got timeout"


def test_pool_is_joined_at_the_end(lab) -> None:
    """Qemu.pm clone_vm: the pool entry is the last thing a clone writes."""
    lab.post("/pools", poolid="k8s")
    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=200, pool="k8s", full=1)
    lab.run(2)
    during = lab.pve.cluster.pool_of(200)
    lab.outcome(answer)

    assert (during, lab.pve.cluster.pool_of(200)) == ("", "k8s")
