"""What an administrator or a fault does to the installation itself: services, nodes, votes, storages, tickets."""

from cpcd.lab.pve import PROFILES, Storage
from cpcd.lab.pve.settings import ADMINISTRATOR, Node, Token

TICKET = "PVE:root@pam=secret"


def test_without_pvedaemon_only_what_needs_no_root_is_answered(lab) -> None:
    """Recorded 1193-1196, and the schema's `protected`: what is not comes from pveproxy itself; who may is asked first."""
    lab.pve.set_service("pvedaemon", running=False)
    paths = ("/version", "/nodes", "/cluster/resources", "/nodes/pve1/qemu", "/cluster/status", "/nosuch")

    assert [200, 200, 200, 595, 595, 501] == [lab.get(path).status for path in paths]
    assert (401, "No ticket") == (lab.get("/cluster/status", token="").status, lab.get("/nosuch", token="").reason)


def test_without_pmxcfs_nothing_is_answered_until_it_is_back(lab) -> None:
    """Recorded 1200-1204: even the version needs the access control list."""
    lab.pve.set_service("pve-cluster", running=False)
    refused = lab.get("/version")
    lab.pve.set_service("pve-cluster", running=True)

    assert (refused.status, refused.body) == (500, None)
    assert lab.get("/version").status == 200


def test_a_node_fails_in_the_way_that_was_chosen(lab) -> None:
    """Recorded 1183-1189: refused at once, silent for 30 s, with a wrong certificate."""
    answers = []
    for how in ("refused", "silent", "certificate", "answers"):
        lab.pve.set_reach("pve2", how)
        answer = lab.get("/nodes/pve2/status")
        answers.append((answer.status, answer.seconds))

    assert answers == [(595, 0.01), (596, 30.0), (596, 0.01), (200, 0.0)]


def test_a_node_that_joins_and_never_answers_takes_quorum_until_fewer_votes_are_expected(lab) -> None:
    """Two of four members are no majority; three votes expected make them one, which the status tells later than it acts."""

    def quorate() -> int:
        return lab.get("/cluster/status").data[0]["quorate"]

    lab.pve.join_node("lab", Node("pve4"))
    lab.pve.node_down("pve3")
    lab.run(10)
    refused = lab.post("/nodes/pve1/qemu/9000/clone", newid=100)
    lab.pve.expect_votes(3)
    stale, cloned = quorate(), lab.outcome(lab.post("/nodes/pve1/qemu/9000/clone", newid=100))
    lab.pve.node_up("pve3")

    assert (refused.status, refused.reason) == (500, "cluster not ready - no quorum?")
    assert (stale, cloned, quorate()) == (0, "OK", 1)


def test_a_node_that_leaves_takes_its_machines_along(lab) -> None:
    """Recorded 1359: what is not in /etc/pve is not there."""
    lab.pve.adopt(700, "pve3", {"name": "other"})
    lab.pve.leave_node("pve3")

    assert [each["name"] for each in lab.get("/cluster/status").data if each["type"] == "node"] == ["pve1", "pve2"]
    assert 700 not in lab.pve.vms


def test_a_storage_can_be_on_some_nodes_only(lab) -> None:
    """Recorded 101: the text names storage and node."""
    lab.pve.define_storages([*lab.pve.storages.values(), Storage("fast", nodes=("pve2",))])

    answer = lab.get("/nodes/pve1/storage/fast/content")

    assert (answer.status, answer.reason) == (500, "storage 'fast' is not available on node 'pve1'")


def test_root_with_a_ticket_may_what_no_token_may(lab) -> None:
    """Recorded 444, 465, 793: set a lock, skip it, destroy in spite of it."""
    lab.pve.accounts["root@pam"] = Token("root@pam", "secret", {"/": ADMINISTRATOR})
    lab.clone(100)
    lock = lab.call("PUT", "/nodes/pve1/qemu/100/config", token=TICKET, lock="backup")

    token = lab.delete("/nodes/pve1/qemu/100", skiplock=1)
    ticket = lab.call("DELETE", "/nodes/pve1/qemu/100", token=TICKET, skiplock=1)

    assert (lock.status, token.status) == (200, 400)
    assert lab.outcome(ticket) == "OK"


def test_a_name_without_a_token_is_no_token(lab) -> None:
    """Recorded 47: a user's name is only good in a ticket."""
    lab.pve.accounts["root@pam"] = Token("root@pam", "secret", {"/": ADMINISTRATOR})

    assert lab.call("GET", "/version", token="root@pam=secret").status == 401


def test_start_of_ovmf_without_its_disk_is_a_success_with_a_warning(lab) -> None:
    """`failures.md` P09: `WARNINGS: 1` is no failure."""
    made = lab.post("/nodes/pve1/qemu", vmid=600, bios="ovmf", kvm=0)
    assert lab.outcome(made) == "OK"

    start = lab.post("/nodes/pve1/qemu/600/status/start")

    assert lab.outcome(start) == "WARNINGS: 1"
    assert lab.pve.vms[600].running


def test_pause_is_no_stop(lab) -> None:
    """Recorded 570-574: a paused VM is running, and says so in two words."""
    lab.started(100)
    assert lab.outcome(lab.post("/nodes/pve1/qemu/100/status/suspend")) == "OK"
    paused = lab.get("/nodes/pve1/qemu/100/status/current").data
    assert lab.outcome(lab.post("/nodes/pve1/qemu/100/status/resume")) == "OK"

    assert (paused["status"], paused["qmpstatus"]) == ("running", "paused")
    assert lab.get("/nodes/pve1/qemu/100/status/current").data["qmpstatus"] == "running"


def test_import_copies_an_image_and_keeps_its_format(lab) -> None:
    """Recorded 283-287: the size is the image's own, a fresh VM boots from it."""
    lab.pve.add_volume("local:import/small.qcow2", "pve1", size=64 * 1024**2, form="qcow2", content="import")

    made = lab.post("/nodes/pve1/qemu", vmid=601, scsi0="local:0,import-from=local:import/small.qcow2")

    assert lab.outcome(made) == "OK"
    assert lab.config(601)["scsi0"] == "local:601/vm-601-disk-0.qcow2,size=64M"
    assert lab.config(601)["boot"] == "order=scsi0"


def test_recorded_profile_is_one_node_outside_of_any_cluster() -> None:
    """Recorded 71: no cluster line, so no quorum to speak of."""
    recorded = PROFILES["recorded"]

    assert ([node.name for node in recorded.nodes], recorded.name) == (["pve1"], "")
