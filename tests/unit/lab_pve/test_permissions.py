"""Least privilege: each missing right is its own 403, lists are filtered."""

import pytest

ROLE = frozenset((
    "VM.Allocate", "VM.Clone", "VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network",
    "VM.Config.Cloudinit", "VM.Config.Options", "VM.Config.CDROM", "VM.Config.HWType", "VM.PowerMgmt", "VM.Audit",
    "Pool.Audit", "VM.GuestAgent.Audit",
))  # fmt: skip


def test_rights_for_a_clone_are_asked_one_by_one(least, bare) -> None:
    """Recorded 918-924, in the recorded order."""
    granted = [
        {"/pool/k8s": ROLE},
        {"/vms/9000": frozenset({"VM.Clone", "VM.Audit"})},
        {"/storage/local": frozenset({"Datastore.AllocateSpace"})},
        {"/sdn/zones/localnetwork": frozenset({"SDN.Use"})},
    ]
    reasons = []
    for acl in granted:
        least.acl.update(acl)
        answer = least.post("/nodes/pve1/qemu/9000/clone", newid=502, pool="k8s", token=bare)
        reasons.append((answer.status, answer.reason))

    assert reasons == [
        (403, "Permission check failed (/vms/9000, VM.Clone)"),
        (403, "Permission check failed (/storage/local, Datastore.AllocateSpace)"),
        (403, "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)"),
        (200, "OK"),
    ]


def test_clone_outside_of_the_pool_is_a_bare_403(least, bare) -> None:
    """Recorded 942: the pool was the only way in."""
    least.acl.update({"/pool/k8s": ROLE, "/vms/9000": frozenset({"VM.Clone"})})

    answer = least.post("/nodes/pve1/qemu/9000/clone", newid=503, token=bare)

    assert (answer.status, answer.body) == (403, {"data": None, "message": "Permission check failed\n"})


def test_create_rights(least, bare) -> None:
    """Recorded 905, 915-917, 251."""

    def reason(**params) -> str:
        return least.post("/nodes/pve1/qemu", vmid=502, token=bare, **params).reason

    nothing = reason(pool="k8s")
    least.acl["/pool/k8s"] = ROLE

    assert "Permission check failed" == nothing == reason(name="nopool")
    assert reason(pool="k8s", scsi0="local:1") == "Permission check failed (/storage/local, Datastore.AllocateSpace)"
    assert (
        reason(pool="k8s", net0="virtio,bridge=vmbr0")
        == "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)"
    )
    assert reason(pool="nosuch") == "Permission check failed (pool 'nosuch' does not exist)"
    assert reason(pool="k8s", args="-foo") == "only root can set 'args' config"
    assert reason(pool="k8s") == "OK"


def test_lists_are_filtered_instead_of_refused(least, bare) -> None:
    """Recorded 50, 51, 903, 907-910."""
    paths = ("/nodes/pve1/qemu", "/nodes/pve1/storage", "/pools", "/cluster/tasks", "/nodes/pve1/tasks")

    assert [least.get(path, token=bare).data for path in paths] == [[]] * 5
    assert {"node"} == {each["type"] for each in least.get("/cluster/resources", token=bare).data}
    node = least.get("/nodes", token=bare).data[0]
    assert {"id", "node", "type", "level", "status", "ssl_fingerprint"} == set(node)


EIGHT = (
    "VM.Config.Disk|VM.Config.CDROM|VM.Config.CPU|VM.Config.Memory|VM.Config.Network"
    "|VM.Config.HWType|VM.Config.Options|VM.Config.Cloudinit"
)


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/nodes/pve1/status", "/nodes/pve1, Sys.Audit"),
        ("GET", "/nodes/pve1/qemu/9000/config", "/vms/9000, VM.Audit"),
        ("GET", "/nodes/pve1/qemu/900/config", "/vms/900, VM.Audit"),
        ("POST", "/nodes/pve1/qemu/9000/status/start", "/vms/9000, VM.PowerMgmt"),
        ("DELETE", "/nodes/pve1/qemu/9000", "/vms/9000, VM.Allocate"),
        ("POST", "/nodes/pve1/qemu/9000/agent/ping", "/vms/9000, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted"),
        ("GET", "/cluster/status", "/, Sys.Audit"),
        (
            "PUT",
            "/nodes/pve1/qemu/900/config",
            f"/vms/900, {EIGHT}",
        ),
    ],
)
def test_refusals_name_path_and_privilege(least, bare, method, path, reason) -> None:
    """Recorded 49, 62, 904: a missing VM looks the same to who has no rights there."""
    answer = least.call(method, path, token=bare)

    assert (403, f"Permission check failed ({reason})") == (answer.status, answer.reason)


def test_options_need_their_own_privileges(least, bare) -> None:
    """Qemu.pm check_vm_modify_config_perm: any of the eight opens the call, each option asks for its own."""
    least.acl["/vms/9000"] = frozenset({"VM.Config.Options"})

    name = least.put("/nodes/pve1/qemu/9000/config", name="x", token=bare)
    memory = least.put("/nodes/pve1/qemu/9000/config", memory=512, token=bare)
    address = least.put("/nodes/pve1/qemu/9000/config", ipconfig0="ip=dhcp", token=bare)

    assert name.status == 200
    assert memory.reason == "Permission check failed (/vms/9000, VM.Config.Memory)"
    assert address.reason == "Permission check failed (/vms/9000, VM.Config.Cloudinit|VM.Config.Network)"


def test_403_comes_before_400(least, bare) -> None:
    """Privileges are checked before parameters (recorded 874 shows it)."""
    answer = least.put("/nodes/pve1/qemu/9000/config", foo=1, token=bare)

    assert answer.status == 403


def test_pool_rights_reach_its_members(least, bare) -> None:
    """Recorded 944, 961: rights from a pool are shown with 0."""
    least.acl["/pool/k8s"] = ROLE
    least.put("/pools", poolid="k8s", vms="9000")

    permissions = least.get("/access/permissions", token=bare).data
    one = least.get("/access/permissions", path="/vms/9000", token=bare).data

    assert dict.fromkeys(sorted(ROLE), 1) == permissions["/pool/k8s"]
    assert dict.fromkeys(sorted(ROLE), 0) == permissions["/vms/9000"]
    assert {"/vms/9000": dict.fromkeys(sorted(ROLE), 0)} == one
    assert [each["vmid"] for each in least.get("/nodes/pve1/qemu", token=bare).data] == [9000]


def test_deeper_entry_replaces_the_one_above(least, bare) -> None:
    """AccessControl.pm roles: the deepest entry wins."""
    least.acl.update({"/": ROLE, "/vms/9000": frozenset({"VM.Audit"})})

    answer = least.post("/nodes/pve1/qemu/9000/status/start", token=bare)

    assert answer.reason == "Permission check failed (/vms/9000, VM.PowerMgmt)"


def test_task_of_another_user_is_hidden(least, bare) -> None:
    """Recorded 952, 953: one's own tasks are always readable."""
    upid = least.post("/nodes/pve1/qemu/9000/config", description="by admin").data
    least.run(1)

    answers = [least.get(f"/nodes/pve1/tasks/{upid}/{what}", token=bare) for what in ("status", "log")]

    assert [answer.reason for answer in answers] == ["Permission check failed (/nodes/pve1, Sys.Audit)"] * 2


def test_nextid_sees_what_the_token_cannot(least, bare) -> None:
    """Recorded 947."""
    answer = least.get("/cluster/nextid", vmid=9000, token=bare)

    assert answer.body["errors"] == {"vmid": "VM 9000 already exists"}


def test_provisioning_role_is_enough_for_a_machine_s_life(least, bare, provisioner) -> None:
    """The shipped least-privilege set clones, configures, grows, starts, stops and destroys."""
    least.acl["/"] = provisioner
    vm = "/nodes/pve1/qemu/100"
    clone = least.post("/nodes/pve1/qemu/9000/clone", newid=100, name="a", token=bare)
    least.outcome(clone)
    change = least.put(
        f"{vm}/config",
        cores=2,
        tags="x",
        ipconfig0="ip=dhcp",
        smbios1="uuid=da553691-1836-499e-89ea-368e5f9b9490",
        token=bare,
    )
    tasks = [
        least.outcome(least.put(f"{vm}/resize", disk="scsi0", size="8G", token=bare)),
        least.outcome(least.post(f"{vm}/status/start", token=bare)),
        least.outcome(least.post(f"{vm}/status/stop", token=bare)),
        least.outcome(least.delete(vm, purge=1, token=bare)),
    ]

    assert (change.status, tasks) == (200, ["OK"] * 4)
