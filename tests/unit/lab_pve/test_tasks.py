"""Task lists, status and log in their three shapes."""

import pytest

UNKNOWN = "UPID:pve1:00000001:00000001:60000000:qmstart:100:root@pam:"


def test_status_while_running_and_after(lab) -> None:
    """Recorded 284, 285."""
    upid = lab.post("/nodes/pve1/qemu/9000/clone", newid=200, full=1).data
    running = lab.status(upid)
    lab.run(60)
    stopped = lab.status(upid)

    assert tuple(running[key] for key in ("status", "id", "type", "user", "tokenid")) == (
        "running",
        "9000",
        "qmclone",
        "admin@pve",
        "full",
    )
    assert "exitstatus" not in running
    assert (stopped["status"], stopped["exitstatus"]) == ("stopped", "OK")


def test_unknown_task_is_a_400_but_its_log_is_a_200(lab) -> None:
    """Recorded 727-729 (`failures.md` T15)."""
    status = lab.get(f"/nodes/pve1/tasks/{UNKNOWN}/status")
    log = lab.get(f"/nodes/pve1/tasks/{UNKNOWN}/log")
    garbage = lab.get("/nodes/pve1/tasks/garbage/status")

    assert (status.status, status.body["errors"]) == (400, {"upid": "no such task"})
    assert log.data == [{"n": 1, "t": "unable to open file - No such file or directory"}]
    assert garbage.body["errors"] == {"upid": "unable to parse worker upid"}


def test_log_of_a_fresh_task_has_no_content(lab) -> None:
    """Recorded 713."""
    upid = lab.post("/nodes/pve1/qemu/9000/clone", newid=200).data

    answer = lab.get(f"/nodes/pve1/tasks/{upid}/log")

    assert (answer.data, answer.body["total"]) == ([{"n": 1, "t": "no content"}], 1)


def test_log_window(lab) -> None:
    """Recorded 732."""
    upid = lab.post("/nodes/pve1/qemu/100/status/start").data
    lab.run(5)

    answer = lab.get(f"/nodes/pve1/tasks/{upid}/log", start=1, limit=1)

    assert (answer.data, answer.body["total"]) == ([], 1)


def test_active_tasks_are_only_listed_when_asked_for(lab) -> None:
    """Recorded 714: in that list the user is the whole token id."""
    upid = lab.post("/nodes/pve1/qemu/9000/clone", newid=200, full=1).data
    lab.run(1)

    archive = lab.get("/nodes/pve1/tasks").data
    active = lab.get("/nodes/pve1/tasks", source="active").data
    everything = lab.get("/nodes/pve1/tasks", source="all").data

    assert archive == []
    assert [(upid, "RUNNING", "admin@pve!full", "0")] == [
        (t["upid"], t["status"], t["user"], t["saved"]) for t in active
    ]
    assert [upid] == [task["upid"] for task in everything]


def test_filters_and_order(lab) -> None:
    """Recorded 724-726: newest first; a clone is found under its source's VMID; `errors` keeps what is not OK."""
    lab.started(200)
    lab.outcome(lab.post("/nodes/pve1/qemu/9999/status/start"))

    def kinds(**params) -> list[str]:
        return [task["type"] + task["id"] for task in lab.get("/nodes/pve1/tasks", **params).data]

    assert kinds() == ["qmstart9999", "qmstart200", "qmclone9000"]
    assert kinds(vmid=9000) == ["qmclone9000"]
    assert kinds(vmid=200, typefilter="qmstart") == ["qmstart200"]
    assert kinds(errors=1) == ["qmstart9999"]
    assert lab.get("/nodes/pve2/tasks").data == []


def test_cluster_tasks_of_a_running_one_has_no_status(lab) -> None:
    """Recorded 715."""
    lab.post("/nodes/pve1/qemu/9000/clone", newid=200, full=1)
    lab.outcome(lab.post("/nodes/pve2/qemu", vmid=300))

    finished, running = lab.get("/cluster/tasks").data

    assert (finished["status"], finished["saved"], finished["node"]) == ("OK", "1", "pve2")
    assert ("status" not in running, "0", "full") == (True, running["saved"], running["tokenid"])


def test_worker_that_ignores_the_signal_is_killed(lab) -> None:
    """Recorded 716-719: five seconds, `unexpected status`; stopping it again is no error."""
    lab.started(100)
    lab.guests.obedient = False
    upid = lab.post("/nodes/pve1/qemu/100/status/shutdown", timeout=60).data
    lab.run(1)

    first, second = (lab.delete(f"/nodes/pve1/tasks/{upid}") for _ in range(2))

    assert ((first.status, first.seconds), (second.status, second.seconds)) == ((200, 5.0), (200, 0))
    assert lab.status(upid)["exitstatus"] == "unexpected status"


@pytest.mark.parametrize("seed", range(3))
def test_same_requests_give_the_same_world(seed) -> None:
    """The lab is deterministic for one seed."""
    import random

    from cpcd.lab.events import Events
    from cpcd.lab.pve import Pve, Settings

    def story() -> dict:
        pve = Pve(Events(lambda: 0.0), None, Settings(), random.Random(seed))
        return dict(pve.add_template(9000, "pve1", "t").config)

    assert story() == story()
