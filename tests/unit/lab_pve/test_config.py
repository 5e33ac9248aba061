"""Configuration: normal forms, digest, pending values, refusals."""

import pytest

KEY = "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIHxYzq3l0z%2BKk%2F6p1mQYb7e9dQpR0o8s8m0Zk1h1dE5j%20test%40example%0A"


@pytest.fixture
def vm(lab) -> str:
    """The path of a stopped clone."""
    lab.clone(100, name="first")
    return "/nodes/pve1/qemu/100"


def test_types_are_those_of_a_real_config(lab, vm) -> None:
    """pve/README.md: memory, agent and boot are text; cores, onboot and protection are integers."""
    lab.put(f"{vm}/config", memory="640", cores="2", onboot="1", agent="1", cpulimit="1.5", balloon=0, ciupgrade=False)

    config = lab.config(100)
    found = {key: config[key] for key in ("memory", "cores", "onboot", "agent", "cpulimit", "balloon", "ciupgrade")}
    expected = {"memory": "640", "cores": 2, "onboot": 1, "agent": "1", "cpulimit": "1.5", "balloon": 0, "ciupgrade": 0}
    assert expected == found


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("zeta;alpha,Beta gamma", "alpha;beta;gamma;zeta"),
        ("Zeta,alpha ,UPPER", "alpha;upper;zeta"),
        ("b,a;c;a", "a;b;c"),
    ],
)
def test_tags_are_lowered_sorted_and_joined(lab, vm, given, kept) -> None:
    """Recorded 195, 366, 386."""
    lab.put(f"{vm}/config", tags=given)

    assert kept == lab.config(100)["tags"]


def test_bad_tag_and_no_tag(lab, vm) -> None:
    """Recorded 221; an empty value removes the option."""
    errors = lab.put(f"{vm}/config", tags="a b;-bad").body["errors"]
    lab.put(f"{vm}/config", tags="")

    assert errors == {"tags": "invalid format - invalid characters in tag\n"}
    assert "tags" not in lab.config(100)


def test_net_without_mac_gets_a_new_one_each_time(lab, vm) -> None:
    """Recorded 379, 380, 383: both spellings end in the same form."""
    lab.put(f"{vm}/config", net0="virtio,bridge=vmbr0,tag=5")
    first = lab.config(100)["net0"]
    lab.put(f"{vm}/config", net0="virtio,bridge=vmbr0,tag=5")
    lab.put(f"{vm}/config", net1="model=virtio,macaddr=bc:24:11:00:00:01,bridge=vmbr0,firewall=1")

    config = lab.config(100)
    assert first.startswith("virtio=BC:24:11:")
    assert first.endswith(",bridge=vmbr0,tag=5")
    assert first != config["net0"]
    assert config["net1"] == "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1"


def test_unknown_key_in_net(lab, vm) -> None:
    """Recorded 216."""
    errors = lab.put(f"{vm}/config", net0="virtio,bridge=vmbr0,frob=1").body["errors"]

    undefined = "property is not defined in schema and the schema does not allow additional properties"
    assert {"net0": f"invalid format - format error\nnet0.frob: {undefined}\n"} == errors


def test_sshkeys_must_be_encoded_once_more(lab, vm) -> None:
    """Recorded 289-293 (`failures.md` P13)."""
    plain = lab.put(f"{vm}/config", sshkeys="ssh-ed25519 AAAA test@example")
    plus = lab.put(f"{vm}/config", sshkeys=KEY.replace("%20", "+"))
    nonsense = lab.put(f"{vm}/config", sshkeys="not%20a%20key%20at%20all")
    good = lab.put(f"{vm}/config", sshkeys=KEY)

    assert plain.body["errors"] == {
        "sshkeys": "invalid format - invalid urlencoded string: ssh-ed25519 AAAA test@example\n"
    }
    assert plus.status == 400
    assert (nonsense.status, nonsense.reason) == (500, "SSH public key validation error")
    assert (good.status, lab.config(100)["sshkeys"]) == (200, KEY)


def test_ipconfig_wants_a_prefix_and_known_keys(lab, vm) -> None:
    """Recorded 296, 297."""
    bare = lab.put(f"{vm}/config", ipconfig0="ip=10.99.0.50").body["errors"]
    unknown = lab.put(f"{vm}/config", ipconfig0="ip=10.99.0.50/24,gw=10.99.0.1,foo=1").body["errors"]

    why = "invalid format - value does not look like a valid ipv4 network configuration\n"
    undefined = "property is not defined in schema and the schema does not allow additional properties"
    assert {"ipconfig0": f"invalid format - format error\nipconfig0.ip: {why}\n"} == bare
    assert {"ipconfig0": f"invalid format - format error\nipconfig0.foo: {undefined}\n"} == unknown


def test_password_is_masked(lab, vm) -> None:
    """Recorded 295."""
    lab.put(f"{vm}/config", cipassword="x")

    assert lab.config(100)["cipassword"] == "**********"


def test_stale_digest_is_refused_sync_and_async(lab, vm) -> None:
    """Recorded 366-368 (`failures.md` P30)."""
    digest = lab.config(100)["digest"]
    right = lab.put(f"{vm}/config", name="renamed", digest=digest)
    sync = lab.put(f"{vm}/config", name="renamed2", digest=digest)
    later = lab.post(f"{vm}/config", name="renamed3", digest=digest)

    text = "checksum mismatch (file change by other user?)"
    assert (right.status, right.data) == (200, None)
    assert [(500, text)] * 2 == [(sync.status, sync.reason), (later.status, later.reason)]
    assert lab.config(100)["name"] == "renamed"


def test_same_content_has_the_same_digest(lab, vm) -> None:
    """Recorded 386, 394: the digest is of the content."""
    before = lab.config(100)["digest"]
    lab.put(f"{vm}/config", description="x")
    between = lab.config(100)["digest"]
    lab.put(f"{vm}/config", delete="description")

    assert before != between
    assert before == lab.config(100)["digest"]


def test_async_update_logs_its_options(lab, vm) -> None:
    """Recorded 369-371."""
    answer = lab.post(f"{vm}/config", name="renamed4", memory=640, cores=2)

    assert lab.outcome(answer) == "OK"
    assert lab.log(answer.data) == ["update VM 100: -cores 2 -memory 640 -name renamed4", "TASK OK"]


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({}, 500, "no options specified"),
        ({"memory": "1024", "balloon": 2048}, 500, "balloon value too large (must be smaller than assigned memory)"),
        ({"lock": "backup"}, 500, "only root can set 'lock' config"),
        ({"args": "-no-reboot"}, 500, "only root can set 'args' config"),
        ({"delete": "lock"}, 500, "only root can set 'lock' config"),
        ({"delete": "nosuchoption"}, 400, {"delete": "unknown option 'nosuchoption'"}),
        (
            {"delete": "cores", "cores": 2},
            400,
            {"delete": "you can't use '-cores' and -delete cores' at the same time"},
        ),
        ({"skiplock": 1, "name": "x"}, 400, {"skiplock": "Only root may use this option."}),
        (
            {"memory": 8},
            400,
            {"memory": "invalid format - format error\nmemory.current: value must have a minimum value of 16\n"},
        ),
    ],
)
def test_refusals(lab, vm, params, status, text) -> None:
    """Recorded 372, 373, 376, 377, 378, 443, 462, 464, 1206."""
    answer = lab.put(f"{vm}/config", **params)

    assert (status, text) == (answer.status, answer.body.get("errors", answer.reason))


def test_delete_of_an_unset_option_is_fine(lab, vm) -> None:
    """Recorded 374."""
    assert lab.put(f"{vm}/config", delete="balloon").status == 200


def test_replaced_disk_becomes_unused_and_can_be_removed(lab, vm) -> None:
    """Recorded 387-394."""
    lab.put(f"{vm}/config", scsi1="local:1")
    lab.put(f"{vm}/config", scsi1="local:1")
    replaced = lab.config(100)
    lab.put(f"{vm}/config", delete="scsi1")
    detached = lab.config(100)
    lab.put(f"{vm}/config", delete="unused0,unused1")

    assert (
        replaced["scsi1"],
        replaced["unused0"],
    ) == ("local:100/vm-100-disk-2.raw,size=1G", "local:100/vm-100-disk-1.raw")
    assert (detached["unused0"], detached["unused1"]) == ("local:100/vm-100-disk-1.raw", "local:100/vm-100-disk-2.raw")
    assert not [key for key in lab.config(100) if key.startswith("unused")]
    volumes = [entry["volid"] for entry in lab.get("/nodes/pve1/storage/local/content", vmid=100).data]
    assert not [volid for volid in volumes if volid.endswith(("disk-1.raw", "disk-2.raw"))]


def test_second_cloudinit_drive_is_refused(lab, vm) -> None:
    """Recorded 1065."""
    answer = lab.put(f"{vm}/config", ide3="local:cloudinit")

    assert answer.reason == "ide3 - cloud-init drive is already attached at 'ide2'"


def test_locked_vm_is_refused_sync_and_async(lab, vm) -> None:
    """Recorded 445-449, 456, 461."""
    lab.pve.set_lock(100, "backup")

    answers = [
        lab.put(f"{vm}/config", name="x"),
        lab.post(f"{vm}/config", name="x"),
        lab.post(f"{vm}/clone", newid=300),
        lab.post(f"{vm}/template"),
    ]

    assert [(answer.status, answer.reason) for answer in answers] == [(500, "VM is locked (backup)")] * 4
    assert "backup" == lab.config(100)["lock"] == lab.get(f"{vm}/status/current").data["lock"]


def test_held_lock_file_blocks_a_put_for_ten_seconds(lab, vm) -> None:
    """Recorded 827."""
    lab.pve.hold_lock("pve1", "/var/lock/qemu-server/lock-100.conf", 25)

    answer = lab.put(f"{vm}/config", name="waits")

    text = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
    assert (500, text, 10.0) == (answer.status, answer.reason, answer.seconds)


def test_put_waits_for_a_short_holder(lab, vm) -> None:
    """A resize holds the lock for a moment: the update happens after it, its answer takes that long."""
    lab.put(f"{vm}/resize", disk="scsi0", size="4G")
    lab.run(0.1)

    answer = lab.put(f"{vm}/config", description="after")
    before = lab.config(100).get("description")
    lab.run(answer.seconds)

    assert (answer.status, 0 < answer.seconds < 1, before) == (200, True, None)
    assert lab.config(100)["description"] == "after"


def test_memory_and_cores_of_a_running_vm_are_pending(lab) -> None:
    """Recorded 537-546: a plain GET shows the new value, `current=1` the running one."""
    lab.started(100)

    lab.put("/nodes/pve1/qemu/100/config", memory=700, cores=1, delete="agent")
    lab.put("/nodes/pve1/qemu/100/config", tags="hot", description="hot", name="hotname")

    shown, running = lab.config(100), lab.config(100, current=1)
    assert (shown["memory"], shown["cores"], shown.get("agent"), shown["tags"]) == ("700", 1, None, "hot")
    assert (running["memory"], running["cores"], running["agent"], running["tags"]) == ("2048", 2, "enabled=1", "hot")
    waiting = [e for e in lab.get("/nodes/pve1/qemu/100/pending").data if {"pending", "delete"} & e.keys()]
    assert waiting == [
        {"key": "agent", "value": "enabled=1", "delete": 1},
        {"key": "cores", "value": 2, "pending": 1},
        {"key": "memory", "value": "2048", "pending": "700"},
    ]


def test_revert_drops_one_pending_value(lab) -> None:
    """Recorded 541, 542."""
    lab.started(100)
    lab.put("/nodes/pve1/qemu/100/config", memory=700)

    lab.put("/nodes/pve1/qemu/100/config", revert="memory")

    assert lab.config(100)["memory"] == "2048"


def test_pending_values_apply_at_a_cold_restart(lab) -> None:
    """Recorded 594, 600: not by a reset, but by stop and start."""
    lab.started(100)
    lab.put("/nodes/pve1/qemu/100/config", memory=4096)
    lab.outcome(lab.post("/nodes/pve1/qemu/100/status/reset"))
    after_reset = lab.config(100, current=1)["memory"]
    lab.outcome(lab.post("/nodes/pve1/qemu/100/status/stop"))

    lab.outcome(lab.post("/nodes/pve1/qemu/100/status/start"))

    assert (after_reset, lab.config(100, current=1)["memory"]) == ("2048", "4096")
    assert lab.pve.vms[100].booted["memory"] == "4096"


def test_memory_is_hotplugged_when_the_vm_says_so(lab) -> None:
    """QemuServer.pm: `hotplug` must name memory; then the guest takes it at once."""
    lab.clone(100)
    lab.put("/nodes/pve1/qemu/100/config", hotplug="disk,network,memory", numa=1)
    lab.outcome(lab.post("/nodes/pve1/qemu/100/status/start"))

    lab.put("/nodes/pve1/qemu/100/config", memory=4096)

    assert lab.config(100, current=1)["memory"] == "4096"


def test_device_that_the_guest_does_not_let_go(lab) -> None:
    """Recorded 558: a 400 after six seconds, and the change stays pending."""
    lab.started(100)
    lab.guests.pluggable = False

    answer = lab.put("/nodes/pve1/qemu/100/config", net0="virtio,bridge=vmbr0,link_down=1")

    text = "hotplug problem - error on hot-unplugging device 'net0' - still busy in guest?\n"
    assert (400, {"net0": text}, 6.0) == (answer.status, answer.body["errors"], answer.seconds)
    assert "link_down=1" in lab.config(100)["net0"]
    assert "link_down=1" not in lab.config(100, current=1)["net0"]


def test_create_begins_as_a_lock_and_gets_what_proxmox_adds(lab) -> None:
    """Recorded 1214-1217, 262, 199: the start that was sent early goes through when the create has ended."""
    answer = lab.post("/nodes/pve1/qemu", vmid=961, scsi0="local:1,format=qcow2,ssd=1,discard=on")
    at_once, update = lab.config(961), lab.put("/nodes/pve1/qemu/961/config", name="early")
    status = lab.get("/nodes/pve1/qemu/961/status/current").data
    start = lab.post("/nodes/pve1/qemu/961/status/start")

    assert ({"lock", "digest"}, "VM is locked (create)", "VM 961") == (set(at_once), update.reason, status["name"])
    assert (lab.outcome(answer), lab.outcome(start)) == ("OK", "OK")
    config = lab.config(961)
    assert config["scsi0"] == "local:961/vm-961-disk-0.qcow2,discard=on,size=1G,ssd=1"
    assert {"boot", "digest", "meta", "scsi0", "smbios1", "vmgenid"} == set(config)
    assert lab.log(start.data) == ["trying to acquire lock...", " OK", "TASK OK"]


def test_create_of_a_taken_vmid(lab) -> None:
    """Recorded 207, and with the id on another node as pve/README.md has it."""
    answer = lab.post("/nodes/pve2/qemu", vmid=9000)

    assert answer.reason == "unable to create VM 9000 - VM 9000 already exists on node 'pve1'"


def test_create_under_a_held_storage_lock_fails_and_leaves_nothing(lab) -> None:
    """Recorded 833-837."""
    lab.pve.hold_lock("pve1", "/var/lock/pve-manager/pve-storage-local", 70)

    outcome = lab.outcome(lab.post("/nodes/pve1/qemu", vmid=440, name="waits", scsi0="local:1"))

    text = "can't lock file '/var/lock/pve-manager/pve-storage-local' - got timeout"
    assert f"unable to create VM 440 - {text}" == outcome
    assert lab.get("/nodes/pve1/qemu/440/config").status == 500


def test_template_is_made_once_and_only_when_stopped(lab) -> None:
    """Recorded 303-310, 562."""
    lab.started(100)
    running = lab.post("/nodes/pve1/qemu/100/template")
    lab.outcome(lab.post("/nodes/pve1/qemu/100/status/stop"))

    made = lab.outcome(lab.post("/nodes/pve1/qemu/100/template"))
    twice = lab.post("/nodes/pve1/qemu/100/template")

    assert running.reason == "you can't convert a VM to template if VM is running"
    assert (made, twice.reason) == ("OK", "you can't convert a template to a template")
    assert 1 == lab.config(100)["template"] == lab.get("/nodes/pve1/qemu/100/status/current").data["template"]
    assert "base-100-disk-0" in lab.config(100)["scsi0"]
