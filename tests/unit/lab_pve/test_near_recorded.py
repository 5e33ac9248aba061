"""Calls beside the recorded ones: what another recorder would have asked, answered as the sources of Proxmox VE 9.2 do.

Each docstring names the file, or the recording that lies next to it.
"""

from typing import Any

import pytest

from cpcd.lab.pve import PROFILES, Storage
from cpcd.lab.pve.settings import ADMINISTRATOR, AUDITOR, Token

VM = "/nodes/pve1/qemu/100"
NOWHERE = "unable to find configuration file for VM 9999 on node 'pve1'"


@pytest.fixture
def vm(lab) -> str:
    """The path of a stopped clone with a mark of its own."""
    lab.clone(100, name="first", description="mine")
    return VM


def pools(lab) -> dict[str, Any]:
    """Pool -> its members' ids."""
    return {
        name: [each["id"] for each in lab.get("/pools", poolid=name).data[0]["members"]]
        for name in lab.pve.cluster.pools
    }


# --- power -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["reboot", "reset", "suspend", "resume"])
def test_what_needs_a_process_is_refused_at_once_for_a_vm_that_is_not_there(lab, verb: str) -> None:
    """QemuConfig.pm assert_config_exists_on_node, beside recorded 339 and 514."""
    answer = lab.post(f"/nodes/pve1/qemu/9999/status/{verb}")

    assert (500, NOWHERE) == (answer.status, answer.reason)


@pytest.mark.parametrize("verb", ["stop", "shutdown"])
def test_stop_of_a_vm_that_is_not_there_is_a_task_that_fails(lab, verb: str) -> None:
    """QemuServer.pm _do_vm_stop: other words than those of a start (recorded 400)."""
    assert NOWHERE == lab.outcome(lab.post(f"/nodes/pve1/qemu/9999/status/{verb}"))


def test_a_paused_vm_cannot_be_asked_to_shut_down(lab) -> None:
    """Qemu.pm vm_shutdown, vm_reboot: it would hear of it when it goes on; by force it is stopped without asking."""
    lab.started(100)
    lab.outcome(lab.post(f"{VM}/status/suspend"))
    refused = [lab.post(f"{VM}/status/{verb}") for verb in ("shutdown", "reboot")]
    forced = lab.outcome(lab.post(f"{VM}/status/shutdown", forceStop=1))

    assert [(500, "VM is paused - cannot shutdown")] * 2 == [(each.status, each.reason) for each in refused]
    assert ("OK", "stopped") == (forced, lab.get(f"{VM}/status/current").data["status"])


def test_resume_of_what_runs_is_no_error_whatever_holds_it(lab) -> None:
    """RunState.pm vm_resume: it looks at QEMU before it looks at the lock."""
    lab.started(100)
    lab.pve.set_lock(100, "backup")

    assert "OK" == lab.outcome(lab.post(f"{VM}/status/resume"))
    lab.pve.set_lock(100, "migrate")
    assert "OK" == lab.outcome(lab.post(f"{VM}/status/resume"))
    assert "VM is locked (migrate)" == lab.outcome(lab.post(f"{VM}/status/suspend"))


def test_the_startup_option_says_how_long_a_shutdown_waits(lab) -> None:
    """QemuServer.pm _do_vm_stop: `down` of `startup`, where the call says nothing."""
    lab.guests.obedient = False
    lab.started(100)
    lab.put(f"{VM}/config", startup="order=1,down=7")
    began = lab.time

    assert "VM quit/powerdown failed - got timeout" == lab.outcome(lab.post(f"{VM}/status/shutdown"))
    assert 6 < lab.time - began < 9


@pytest.mark.parametrize("name", ["stateuri", "migratedfrom", "targetstorage", "force-cpu"])
def test_parameters_of_migrations_are_roots(lab, name: str) -> None:
    """Qemu.pm vm_start; skiplock alone was recorded (463)."""
    value = {"targetstorage": "local", "migratedfrom": "pve2"}.get(name, "x")
    answer = lab.call("POST", f"{VM}/status/start", **{name: value})

    assert {name: "Only root may use this option."} == answer.body["errors"]


def test_root_with_a_ticket_starts_and_stops_what_is_locked(lab) -> None:
    """Qemu.pm: skiplock is for root@pam with a ticket (beside recorded 465, 1208)."""
    lab.pve.accounts["root@pam"] = Token("root@pam", "secret")
    root = "PVE:root@pam=secret"
    lab.clone(100)
    lab.pve.set_lock(100, "backup")

    assert "VM is locked (backup)" == lab.outcome(lab.post(f"{VM}/status/start"))
    assert "OK" == lab.outcome(lab.post(f"{VM}/status/start", skiplock=1, token=root))
    assert "VM is locked (backup)" == lab.outcome(lab.post(f"{VM}/status/stop"))
    assert "OK" == lab.outcome(lab.post(f"{VM}/status/stop", skiplock=1, token=root))


# --- configuration ---------------------------------------------------------------------------------------------------


def test_a_boot_order_names_devices_that_are_there(lab, vm) -> None:
    """Qemu.pm update_vm_api: on an update, not on a create (recorded 246-248)."""
    answers = [
        lab.put(f"{vm}/config", boot="order=scsi9"),
        lab.put(f"{vm}/config", boot="order=net1", delete="net1"),
        lab.put(f"{vm}/config", boot="order=scsi0;net5", net5="virtio,bridge=vmbr0"),
    ]

    assert [
        (500, "invalid bootorder: device 'scsi9' does not exist'"),
        (500, "invalid bootorder: device 'net1' does not exist'"),
        (200, "OK"),
    ] == [(each.status, each.reason) for each in answers]


def test_cdrom_is_another_name_of_ide2(lab, vm) -> None:
    """Qemu.pm resolve_cdrom_alias; a drive without a medium is a CD-ROM all the same (cleanup_drive_path)."""
    lab.put(f"{vm}/config", cdrom="none")
    first = lab.config(100)["ide2"]
    lab.put(f"{vm}/config", ide0="none", delete="cdrom")

    assert ("none,media=cdrom", "none,media=cdrom", None) == (
        first,
        lab.config(100)["ide0"],
        lab.config(100).get("ide2"),
    )


@pytest.mark.parametrize(
    ("options", "errors"),
    [
        ({"ide0": "local:iso/tiny.iso"}, {"ide0": "explicit 'media=cdrom' is required for iso images"}),
        ({"scsi1": "local:1,mbps=1,mbps_rd=1"}, {"scsi1": "unable to parse drive options"}),
        ({"ide0": "none,media=cdrom,snapshot=1"}, {"ide0": "unable to parse drive options"}),
        ({"virtio0": "none,media=cdrom"}, {"virtio0": "unable to parse drive options"}),
        (
            {"efidisk0": "local:0,import-from=local:import/tiny.qcow2"},
            {"efidisk0": "need to specify 'efitype' when using 'import-from'"},
        ),
        ({"revert": "cores", "cores": 2}, {"delete": "you can't use '-cores' and -revert cores' at the same time"}),
        (
            {"revert": "cores", "delete": "cores"},
            {"revert": "you can't use '-delete cores' and -revert cores' at the same time"},
        ),
        ({"revert": "nosuch"}, {"revert": "unknown option 'nosuch'"}),
        ({"hookscript": "local:iso/x.iso"}, {"hookscript": "'local:iso/x.iso' is not in the snippets directory\n"}),
    ],
)
def test_what_an_update_refuses_field_by_field(lab, vm, options: dict[str, Any], errors: dict[str, str]) -> None:
    """Qemu.pm check_drive_param, update_vm_api; GuestHelpers.pm check_hookscript."""
    answer = lab.put(f"{vm}/config", **{name.replace("-", "_"): value for name, value in options.items()})

    assert (400, errors) == (answer.status, answer.body["errors"])


def test_firmware_has_disks_of_its_own_sizes(lab, vm) -> None:
    """OVMF.pm create_efidisk, Drive.pm TPMSTATE_DISK_SIZE: whatever size is asked for."""
    lab.put(f"{vm}/config", efidisk0="local:1,efitype=4m", tpmstate0="local:1,version=v2.0", scsi5="local:1,ssd=on")
    config = lab.config(100)

    assert config["efidisk0"].endswith("efitype=4m,size=528K")
    assert config["tpmstate0"].endswith("size=4M,version=v2.0")
    assert config["scsi5"].endswith("size=1G,ssd=1")


def test_a_disk_deleted_by_force_is_gone(lab, vm) -> None:
    """QemuServer.pm vmconfig_delete_or_detach_drive, beside recorded 390, 393."""
    lab.put(f"{vm}/config", scsi1="local:1")
    lab.put(f"{vm}/config", delete="scsi1", force=1)

    assert "unused0" not in lab.config(100)
    assert not [each for each in lab.pve.cluster.volumes.of(100, "pve1") if "disk-1" in each.volid]


def test_a_task_says_what_it_could_not_delete_and_hides_passwords(lab, vm) -> None:
    """Qemu.pm update_vm_api, beside recorded 371, 374."""
    answer = lab.post(f"{vm}/config", delete="balloon", cipassword="secret", digest=lab.config(100)["digest"])
    lab.outcome(answer)

    assert [
        "update VM 100: -cipassword <hidden> -delete balloon",
        "cannot delete 'balloon' - not set in current configuration!",
        "TASK OK",
    ] == lab.log(answer.data)


def test_an_update_can_be_waited_for(lab, vm) -> None:
    """Qemu.pm update_vm_api: with `background_delay` no task is named once it has ended; a held lock outlasts it."""
    done = lab.post(f"{vm}/config", name="second", background__delay=5)
    lab.run(1)
    lab.pve.hold_lock("pve1", "/var/lock/qemu-server/lock-100.conf", 8)
    waiting = lab.post(f"{vm}/config", name="third", background__delay=5)

    assert (None, 0.1, "second") == (done.data, done.seconds, lab.config(100)["name"])
    assert (True, 5.0) == (waiting.data.startswith("UPID:"), waiting.seconds)
    assert "OK" == lab.outcome(waiting)


def test_balloon_is_held_against_the_memory_that_is_there(lab, vm) -> None:
    """Qemu.pm update_vm_api: either may be in the call (recorded 378 has both)."""
    reason = "balloon value too large (must be smaller than assigned memory)"
    answers = [lab.put(f"{vm}/config", balloon=4096), lab.put(f"{vm}/config", balloon=1024)]
    answers.append(lab.put(f"{vm}/config", memory=512))

    assert [reason, "OK", reason] == [each.reason for each in answers]


def test_a_snapshot_is_not_the_current_configuration(lab, vm) -> None:
    """Qemu.pm vm_config."""
    text = "cannot use 'snapshot' parameter with 'current'"
    answer = lab.get(f"{vm}/config", snapshot="before", current=1)

    assert {"snapshot": text, "current": text} == answer.body["errors"]
    assert "snapshot 'before' does not exist" == lab.get(f"{vm}/config", snapshot="before").reason


# --- a running machine -----------------------------------------------------------------------------------------------


def test_a_link_is_taken_down_from_outside(lab) -> None:
    """QemuServer.pm vmconfig_update_net: with its MAC a device stays plugged; recorded 558 had none and was another."""
    lab.started(100)
    lab.guests.pluggable = False
    lab.put(f"{VM}/config", net0=f"{lab.config(100)['net0']},link_down=1")
    kept = lab.config(100, current=1)["net0"]
    refused = lab.put(f"{VM}/config", net0="virtio,bridge=vmbr0")

    assert kept.endswith("link_down=1")
    assert (400, 6.0) == (refused.status, refused.seconds)


@pytest.mark.parametrize(
    ("options", "pending"),
    [
        ({"ipconfig0": "ip=10.0.0.9/24", "ciuser": "ops", "nameserver": "10.0.0.1"}, set()),
        ({"shares": 500, "cpulimit": "2", "cpuunits": 200, "startup": "order=2"}, set()),
        ({"hotplug": "disk,usb"}, set()),
        ({"hotplug": "disk,memory"}, {"hotplug"}),
        ({"balloon": 0}, {"balloon"}),
        ({"balloon": 512}, set()),
        ({"agent": "1,fstrim_cloned_disks=1"}, set()),
        ({"agent": "1,type=isa"}, {"agent"}),
        ({"cores": 4, "cpu": "host,flags=+aes"}, {"cores", "cpu"}),
        ({"bios": "ovmf", "machine": "q35"}, {"bios", "machine"}),
    ],
)
def test_what_takes_effect_at_once(lab, options: dict[str, Any], pending: set[str]) -> None:
    """QemuServer.pm fast_plug_option, vmconfig_hotplug_pending, vmconfig_update_agent."""
    lab.started(100)
    lab.put(f"{VM}/config", **options)
    shown = {each["key"] for each in lab.get(f"{VM}/pending").data if "pending" in each or "delete" in each}

    assert pending == shown


def test_a_disk_s_limits_are_set_from_outside_and_its_cache_is_not(lab) -> None:
    """QemuServer.pm vmconfig_update_disk; another medium is put in, a disk does not become a CD-ROM."""
    lab.started(100)
    lab.guests.pluggable = False
    disk = lab.config(100)["scsi0"]
    lab.put(f"{VM}/config", scsi0=f"{disk},iops=500")
    limited = lab.config(100, current=1)["scsi0"]
    lab.put(f"{VM}/config", scsi0=f"{disk},iops=500,cache=writeback")
    answer = lab.put(f"{VM}/config", scsi0="none,media=cdrom")

    assert "iops=500" in limited
    assert "cache" not in lab.config(100, current=1)["scsi0"]
    assert {"scsi0": "hotplug problem - unable to change media type\n"} == answer.body["errors"]


# --- clone -----------------------------------------------------------------------------------------------------------


def test_a_clone_s_storage_must_be_where_it_runs(lab) -> None:
    """Qemu.pm clone_vm, Storage.pm storage_check_enabled."""
    lab.pve.define_storages([*lab.pve.storages.values(), Storage("far", content=("images",), nodes=("pve2",))])
    path = "/nodes/pve1/qemu/9000/clone"
    answers = [
        lab.post(path, newid=100, full=1, storage="far"),
        lab.post(path, newid=100, full=1, storage="nosuch"),
        lab.post(path, newid=100, target="nosuch"),
        lab.post(path, newid=100, pool="nosuch"),
    ]

    assert [
        (500, "storage 'far' is not available on node 'pve1'"),
        (500, "storage 'nosuch' does not exist"),
        (500, "no such cluster node 'nosuch'"),
        (403, "Permission check failed (pool 'nosuch' does not exist)"),
    ] == [(each.status, each.reason) for each in answers]


def test_localhost_as_a_target_is_the_node_itself(lab) -> None:
    """Qemu.pm clone_vm."""
    assert "OK" == lab.clone(100, target="localhost")
    assert "pve1" == lab.pve.vms[100].node


def test_a_cloud_init_drive_asks_for_no_space(least, bare) -> None:
    """Qemu.pm check_storage_access_clone: a CD-ROM is simply allowed; the disk goes to the storage that is named."""
    least.acl["/"] = frozenset(("VM.Clone", "VM.Allocate", "SDN.Use"))
    least.acl["/storage/local-lvm"] = frozenset(("Datastore.AllocateSpace", "VM.Clone", "VM.Allocate"))
    path = "/nodes/pve1/qemu/9000/clone"

    assert 200 == least.post(path, newid=100, full=1, storage="local-lvm", token=bare).status
    assert 403 == least.post(path, newid=101, full=1, token=bare).status


# --- pools -----------------------------------------------------------------------------------------------------------


def test_a_change_of_a_pool_is_made_whole_or_not_at_all(lab) -> None:
    """API2/Pool.pm update_pool: the file is written at the end."""
    lab.post("/pools", poolid="a")
    lab.post("/pools", poolid="b")
    lab.clone(100)
    lab.put("/pools", poolid="b", vms="100")
    answers = [
        lab.put("/pools", poolid="a", vms="9000,100"),
        lab.put("/pools", poolid="a", vms="9000", delete=1),
        lab.put("/pools", poolid="a", storage="local-lvm,local", delete=1),
        lab.put("/pools", poolid="a", vms="100 9000", allow_move=1, comment="both"),
    ]

    assert [
        "update pools failed: VM 100 belongs already to pool 'b' and 'allow-move' is not set",
        "update pools failed: VM 9000 is not a pool member",
        "update pools failed: Storage 'local-lvm' is not a pool member",
        "OK",
    ] == [each.reason for each in answers]
    assert {"a": ["qemu/100", "qemu/9000"], "b": []} == pools(lab)


@pytest.mark.parametrize("vms", ["100,abc", "1", "100;x", "-100"])
def test_a_malformed_list_of_members_is_a_bad_parameter(lab, vms: str) -> None:
    """Schema: pve-vmid-list."""
    lab.post("/pools", poolid="k8s")
    answer = lab.put("/pools", poolid="k8s", vms=vms)

    assert (400, {"vms": "invalid format - value does not look like a valid VM ID\n"}) == (
        answer.status,
        answer.body["errors"],
    )


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("p", 200, "OK"),
        ("K8s.prod-1_a", 200, "OK"),
        ("9lives", 500, "create pool failed: pool name must start with a letter"),
        ("k8s/-a", 500, "create pool failed: pool name must start with a letter"),
        ("a/b/c/d", 400, "Parameter verification failed."),
        ("a+b", 403, "Permission check failed (, Pool.Allocate)"),
    ],
)
def test_names_of_pools(lab, name: str, status: int, reason: str) -> None:
    """AccessControl.pm verify_poolname, API2/Pool.pm create_pool; what can be no path is a 403 first (recorded 874)."""
    lab.post("/pools", poolid="k8s")
    answer = lab.post("/pools", poolid=name)

    assert (status, reason) == (answer.status, answer.reason)


def test_a_right_that_is_missing_under_the_lock_is_a_500(least, bare) -> None:
    """AccessControl.pm lock_user_config: the code of the refusal becomes a part of the text."""
    least.acl["/pool/k8s"] = frozenset(("Pool.Allocate",))
    answer = least.put("/pools", poolid="k8s", vms="9000", token=bare)

    text = "update pools failed: 403 Permission check failed (/vms/9000, Permissions.Modify|VM.Allocate)"
    assert (500, text) == (answer.status, answer.reason)


def test_members_have_no_tags_and_a_storage_is_listed_once(lab) -> None:
    """API2/Pool.pm index: what only /cluster/resources adds is not there."""
    lab.post("/pools", poolid="k8s")
    lab.put("/pools", poolid="k8s", vms="9000", storage="local")
    lab.run(30)
    members = {each["id"]: each for each in lab.get("/pools", poolid="k8s").data[0]["members"]}

    assert {"qemu/9000", "storage/pve1/local"} == members.keys()
    assert {"tags", "lock", "pool"}.isdisjoint(members["qemu/9000"])


# --- lists and tasks -------------------------------------------------------------------------------------------------


def test_a_token_sees_its_own_tasks_only(lab) -> None:
    """API2/Tasks.pm check_task_user; of the cluster's list a token sees nothing without Sys.Audit (recorded 909)."""
    rights = {"/vms": ADMINISTRATOR, "/storage": ADMINISTRATOR, "/sdn": ADMINISTRATOR}
    for name in ("one", "two"):
        lab.pve.accounts[f"ops@pve!{name}"] = Token(f"ops@pve!{name}", "secret", rights)
    one, two = "ops@pve!one=secret", "ops@pve!two=secret"
    upid = lab.post("/nodes/pve1/qemu/9000/clone", newid=100, token=one).data
    lab.run(10)
    path = f"/nodes/pve1/tasks/{upid}"

    assert [upid] == [task["upid"] for task in lab.get("/nodes/pve1/tasks", token=one).data]
    assert [] == lab.get("/nodes/pve1/tasks", token=two).data
    assert (200, 403) == tuple(lab.get(f"{path}/status", token=each).status for each in (one, two))
    assert [] == lab.get("/cluster/tasks", token=one).data


def test_whose_a_task_is_stands_in_its_upid(least, bare) -> None:
    """API2/Tasks.pm read_task_log: the log of somebody's task is refused whether it is there or not."""
    theirs = "UPID:pve1:00000001:00000001:60000000:qmstart:100:root@pam:"
    mine = "UPID:pve1:00000001:00000001:60000000:qmstart:100:prov@pve!tk:"

    assert 403 == least.get(f"/nodes/pve1/tasks/{theirs}/log", token=bare).status
    assert 200 == least.get(f"/nodes/pve1/tasks/{mine}/log", token=bare).status
    assert {"upid": "no such task"} == least.get(f"/nodes/pve1/tasks/{theirs}/status", token=bare).body["errors"]


def test_filters_of_the_task_list(lab) -> None:
    """API2/Tasks.pm node_tasks: warnings are no errors by name, but `errors` shows them; a limit of 0 shows nothing."""
    lab.started(100)
    lab.put(f"{VM}/config", bios="ovmf")
    lab.outcome(lab.post(f"{VM}/status/stop"))
    assert "WARNINGS: 1" == lab.outcome(lab.post(f"{VM}/status/start"))
    lab.outcome(lab.post("/nodes/pve1/qemu/9999/status/start"))

    def exits(**params: Any) -> list[str]:
        return [task["status"] for task in lab.get("/nodes/pve1/tasks", **params).data]

    missing = "Configuration file 'nodes/pve1/qemu-server/9999.conf' does not exist"
    assert [missing, "WARNINGS: 1"] == exits(errors=1)
    assert ["WARNINGS: 1"] == exits(statusfilter="warning")
    assert [missing] == exits(statusfilter="Error,unknown")
    assert {"OK"} == set(exits(statusfilter="ok"))
    assert (0, 5) == (len(exits(limit=0)), lab.get("/nodes/pve1/tasks", limit=0).body["total"])
    assert exits(userfilter="ADMIN") == exits()
    assert [] == exits(userfilter="full")


def test_no_more_processors_are_shown_than_the_host_has(lab, vm) -> None:
    """QemuServer.pm vmstatus; a balloon shows its minimum and its share."""
    lab.put(f"{vm}/config", cores=64, balloon=512)
    shown = lab.get(f"{vm}/status/current").data
    lab.put(f"{vm}/config", vcpus=20)

    assert (16, 512 * 1024**2, 1000) == (shown["cpus"], shown["balloon_min"], shown["shares"])
    assert 20 == lab.get(f"{vm}/status/current").data["cpus"]
    assert "MAX 16 vcpus allowed per VM on this node" == lab.outcome(lab.post(f"{vm}/status/start"))


def test_a_full_list_has_what_qemu_says(lab) -> None:
    """QemuServer.pm vmstatus: `full=1` is status/current for all, without agent, spice and high availability."""
    lab.started(100)
    lab.put(f"{VM}/config", vga="qxl")
    lab.outcome(lab.post(f"{VM}/status/stop"))
    lab.outcome(lab.post(f"{VM}/status/start"))
    rows = {row["vmid"]: row for row in lab.get("/nodes/pve1/qemu", full=1).data}

    assert {"agent", "ha", "clipboard", "spice"} == lab.get(f"{VM}/status/current").data.keys() - rows[100].keys()
    assert "qmpstatus" in rows[9000]


def test_the_range_of_vmids_can_be_used_up(lab) -> None:
    """API2/Cluster.pm nextid."""
    lab.pve.cluster.next_id = (9000, 9001)

    assert (500, "unable to get any free VMID in range [9000, 9001]") == (
        lab.get("/cluster/nextid").status,
        lab.get("/cluster/nextid").reason,
    )


def test_storages_are_listed_for_what_they_take_and_whom_they_are_shared_with(lab) -> None:
    """API2/Storage/Status.pm index."""
    shared = Storage("nas", plugin="nfs", content=("images", "iso"), shared=True)
    lab.pve.define_storages([*lab.pve.storages.values(), shared])

    def names(**params: Any) -> list[str]:
        return [each["storage"] for each in lab.get("/nodes/pve1/storage", **params).data]

    assert (["local", "nas"], ["nas"]) == (names(content="iso,backup"), names(target="pve2"))
    assert names() == names(target="localhost")
    assert {"storage": "No such storage."} == lab.get("/nodes/pve1/storage", storage="nosuch").body["errors"]


def test_resources_show_a_storage_to_who_may_audit_it(least, bare) -> None:
    """API2/Cluster.pm resources: space to allocate is not enough there, but is in the node's own list."""
    least.acl["/storage/local"] = frozenset(("Datastore.AllocateSpace",))

    assert [] == least.get("/cluster/resources", type="storage", token=bare).data
    assert ["local"] == [each["storage"] for each in least.get("/nodes/pve1/storage", token=bare).data]


def test_a_pool_s_line_sums_its_running_machines(lab) -> None:
    """API2/Cluster.pm resources."""
    lab.started(100)
    lab.post("/pools", poolid="k8s")
    lab.put("/pools", poolid="k8s", vms="100,9000")
    lab.run(30)
    line = next(each for each in lab.get("/cluster/resources").data if each["id"] == "/pool/k8s")

    assert (2, 2048 * 1024**2) == (line["maxcpu"], line["maxmem"])
    assert line["uptime"] > 10


def test_permissions_of_others_are_for_who_may_audit_access(lab) -> None:
    """API2/AccessControl.pm permissions; of a user that is not there nothing is granted."""
    lab.pve.accounts["ops@pve!ab"] = Token("ops@pve!ab", "secret", {"/vms": AUDITOR})
    own = lab.get("/access/permissions", token="ops@pve!ab=secret").data
    refused = lab.get("/access/permissions", userid="admin@pve!full", token="ops@pve!ab=secret")

    assert {"/vms": dict.fromkeys(sorted(AUDITOR), 1)} == own
    assert (403, "Permission check failed (/access, Sys.Audit)") == (refused.status, refused.reason)
    assert {} == lab.get("/access/permissions", userid="no@pve!one").data
    assert {"/vms/1": dict.fromkeys(sorted(AUDITOR), 1)} == lab.get(
        "/access/permissions", userid="ops@pve!ab", path="/vms/1"
    ).data


def test_a_path_in_an_url_may_have_empty_parts(lab) -> None:
    """RESTHandler.pm find_handler skips them; a parameter that says another component is refused before any right."""
    assert 200 == lab.get("//nodes/pve1//qemu").status
    answer = lab.get("/nodes/pve1/qemu/100/config", vmid=101)

    text = "duplicate parameter (already defined in URI) with conflicting values!"
    assert {"vmid": text} == answer.body["errors"]


def test_a_file_is_read_in_parts(lab) -> None:
    """API2/Qemu/Agent.pm file-read, beside recorded 685."""
    lab.started(100)
    path = f"{VM}/agent/file-read"

    assert {"content": "world", "bytes-read": 5} == lab.get(path, file="/tmp/x", offset=6).data
    assert {"content": "he", "bytes-read": 2, "truncated": 1} == lab.get(path, file="/tmp/x", count=2).data
    assert "aGVsbG8Kd29ybGQ=" == lab.get(path, file="/tmp/x", decode=0).data["content"]


def test_profiles_are_whole_installations() -> None:
    """`--profile recorded` begins where the recording did: one node, no cluster."""
    assert {"default", "recorded"} == PROFILES.keys()
    assert ("", ["pve1"]) == (PROFILES["recorded"].name, [node.name for node in PROFILES["recorded"].nodes])
