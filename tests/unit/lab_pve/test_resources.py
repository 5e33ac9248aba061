"""The cluster's views: late, not monotonic, but right about what exists."""

import itertools


def entry(lab, vmid: int, **params) -> dict:
    """Return a VM's line in the cluster's resources, empty without one."""
    found = lab.get("/cluster/resources", type="vm", **params).data
    return next((each for each in found if each["vmid"] == vmid), {})


def test_new_vm_first_has_no_name(lab) -> None:
    """Recorded 1366, 1369: tags are at once, everything else is late."""
    lab.run(30)
    lab.outcome(lab.post("/nodes/pve1/qemu", vmid=970, name="lag", tags="one"))
    first = entry(lab, 970)
    lab.put("/nodes/pve1/qemu/970/config", name="lag2", tags="two")
    second = entry(lab, 970)
    lab.run(12)
    third = entry(lab, 970)

    expected = {"vmid": 970, "id": "qemu/970", "node": "pve1", "type": "qemu", "status": "unknown"}
    assert expected | {"tags": "one"} == first
    assert expected | {"tags": "two"} == second
    assert (third["name"], third["status"], third["template"]) == ("lag2", "stopped", 0)


def test_node_list_is_complete_at_once(lab) -> None:
    """Recorded 1367."""
    lab.outcome(lab.post("/nodes/pve1/qemu", vmid=970, name="lag"))

    assert [(each["name"], each.get("template")) for each in lab.get("/nodes/pve1/qemu").data] == [
        ("debian-13", 1),
        ("lag", None),
    ]


def test_start_shows_up_late_and_deletion_at_once(lab) -> None:
    """Recorded 1374, 1383."""
    lab.clone(200)
    lab.run(12)
    lab.outcome(lab.post("/nodes/pve1/qemu/200/status/start"))
    late = [entry(lab, 200)["status"] for _ in range(5)]
    lab.run(12)
    running = entry(lab, 200)["status"]
    lab.outcome(lab.post("/nodes/pve1/qemu/200/status/stop"))
    lab.outcome(lab.delete("/nodes/pve1/qemu/200"))

    assert (late, running, entry(lab, 200)) == (["stopped"] * 5, "running", {})


def test_reads_go_back_in_time(lab) -> None:
    """pve/README.md: three proxies cache for two seconds each, so that a newer answer may be older."""
    lab.clone(200)
    seen = []
    for verb in ["start", "stop"] * 6:
        lab.outcome(lab.post(f"/nodes/pve1/qemu/200/status/{verb}"))
        for _ in range(45):
            lab.run(0.31)
            seen.append(entry(lab, 200)["status"])

    changes = sum(before != after for before, after in itertools.pairwise(seen))
    assert changes > 12
    assert seen[-5:] == ["stopped"] * 5


def test_lock_and_pool_are_at_once(lab) -> None:
    """Recorded 447, 894."""
    lab.post("/pools", poolid="k8s")
    lab.put("/pools", poolid="k8s", vms="9000")
    lab.pve.set_lock(9000, "backup")

    assert (entry(lab, 9000)["lock"], entry(lab, 9000)["pool"]) == ("backup", "k8s")


def test_kinds_of_entries(lab) -> None:
    """Recorded 77, 361-363, 895."""
    lab.post("/pools", poolid="k8s")

    def ids(**params) -> list[str]:
        return sorted(each["id"] for each in lab.get("/cluster/resources", **params).data)

    assert ids(type="node") == ["node/pve1", "node/pve2", "node/pve3"]
    assert ids(type="sdn") == []
    assert {"/pool/k8s", "network/pve1/zone/localnetwork", "qemu/9000", "storage/pve3/local-lvm"} <= set(ids())


def test_dead_node_is_noticed_after_a_while(lab) -> None:
    """Recorded 70, 1292-1294, 1322: 595 at once; the cluster knows a little later, its VMs lose their names last."""
    lab.run(30)
    lab.pve.node_down("pve1")

    call = lab.get("/nodes/pve1/qemu")
    lab.run(5)
    soon, nodes = entry(lab, 9000), {each["node"]: each for each in lab.get("/nodes").data}
    lab.run(300)
    later = {each["node"]: each for each in lab.get("/nodes").data}

    assert (call.status, call.reason, call.body, call.seconds) == (595, "No route to host", None, 3.0)
    assert (soon["status"], soon["name"], nodes["pve1"]["status"]) == ("stopped", "debian-13", "offline")
    expected = {
        "vmid": 9000,
        "id": "qemu/9000",
        "node": "pve1",
        "type": "qemu",
        "status": "unknown",
        "tags": "k8s;template",
    }
    assert expected == entry(lab, 9000)
    bare = {"id": "node/pve1", "node": "pve1", "type": "node", "status": "offline", "ssl_fingerprint": None}
    assert nodes["pve1"].keys() - bare.keys() == {"level", "maxcpu", "maxmem", "maxdisk"}
    assert later["pve1"] == bare
    online = {each["name"]: (each["online"], each["local"]) for each in lab.get("/cluster/status").data[1:]}
    assert online == {"pve1": (0, 0), "pve2": (1, 1), "pve3": (1, 0)}


def test_majority_lost_is_no_quorum(lab) -> None:
    """One of three nodes is no majority; a returning node brings quorum back."""
    lab.pve.node_down("pve1")
    lab.pve.node_down("pve2")
    lab.run(5)
    lost = lab.get("/cluster/status").data[0]["quorate"]
    lab.pve.node_up("pve2")

    assert (lost, lab.get("/cluster/status").data[0]["quorate"]) == (0, 1)


def test_without_quorum_reads_work_and_writes_do_not(lab) -> None:
    """Recorded 1292-1319 (`failures.md` P15)."""
    lab.started(100)
    lab.pve.set_quorum(False)

    sync = [
        lab.post("/nodes/pve1/qemu", vmid=710).reason,
        lab.post("/nodes/pve1/qemu/9000/clone", newid=711).reason,
        lab.post("/nodes/pve1/qemu/100/status/start").reason,
    ]
    update = lab.put("/nodes/pve1/qemu/100/config", description="x")
    pool = lab.post("/pools", poolid="nq")
    stop = lab.outcome(lab.post("/nodes/pve1/qemu/100/status/stop"))
    removal = lab.outcome(lab.delete("/nodes/pve1/qemu/100"))
    resize = lab.outcome(lab.put("/nodes/pve1/qemu/100/resize", disk="scsi0", size="4G"))

    assert sync == ["cluster not ready - no quorum?"] * 3
    for text in (update.reason, removal, resize):
        assert text.startswith("unable to open file '/etc/pve/nodes/pve1/qemu-server/100.conf.tmp.")
        assert text.endswith("' - Permission denied")
    assert pool.reason == "create pool failed: cfs-lock 'file-user_cfg' error: no quorum!"
    assert (stop, lab.get("/nodes/pve1/qemu/100/config").status) == ("OK", 200)
    sizes = [each["size"] for each in lab.get("/nodes/pve1/storage/local/content", vmid=100).data]
    assert 4 * 1024**3 in sizes
    assert "size=2560M" in lab.config(100)["scsi0"]


def test_pool_calls(lab) -> None:
    """Recorded 870-897, 1006, 1007."""
    answers = [
        lab.post("/pools", poolid="k8s", comment="cluster pool"),
        lab.post("/pools", poolid="k8s"),
        lab.post("/pools", poolid="k8s/sub"),
        lab.post("/pools", poolid="nosuch/sub"),
        lab.put("/pools", poolid="k8s", vms="9000"),
        lab.put("/pools", poolid="k8s", vms="9000"),
        lab.put("/pools", poolid="k8s/sub", vms="9000"),
        lab.put("/pools", poolid="k8s/sub", vms="9000", allow_move=1),
        lab.get("/pools/nosuch"),
        lab.delete("/pools/k8s"),
    ]

    assert [answer.reason for answer in answers] == [
        "OK",
        "create pool failed: pool 'k8s' already exists",
        "OK",
        "create pool failed: parent 'nosuch' of pool 'nosuch/sub' does not exist",
        "OK",
        "update pools failed: VM 9000 is already a pool member",
        "update pools failed: VM 9000 belongs already to pool 'k8s' and 'allow-move' is not set",
        "OK",
        "pool 'nosuch' does not exist",
        "delete pool failed: pool 'k8s' is not empty (contains pool 'k8s/sub')",
    ]
    assert lab.get("/pools").data == [{"poolid": "k8s", "comment": "cluster pool"}, {"poolid": "k8s/sub"}]
    assert [each["vmid"] for each in lab.get("/pools", poolid="k8s/sub").data[0]["members"]] == [9000]
