"""Power: tasks that fail, tasks that wait, what the guest sees."""

import pytest

VM = "/nodes/pve1/qemu/100"


def test_start_stop_and_status(lab) -> None:
    """Recorded 523-530, 608-614."""
    lab.started(100)
    running = lab.get(f"{VM}/status/current").data
    again = lab.outcome(lab.post(f"{VM}/status/start"))
    stopped = [lab.outcome(lab.post(f"{VM}/status/stop")) for _ in range(2)]

    assert (
        running["status"], running["qmpstatus"], running["cpus"], running["maxmem"],
    ) == ("running", "running", 2, 2048 * 1024**2)  # fmt: skip
    assert again == "VM 100 already running"
    assert stopped == ["OK", "OK"]
    assert lab.get(f"{VM}/status/current").data["status"] == "stopped"


def test_start_of_a_missing_vm_is_a_failing_task(lab) -> None:
    """Recorded 399-401: HTTP 200 and a UPID say nothing."""
    answer = lab.post("/nodes/pve1/qemu/9999/status/start")

    text = "Configuration file 'nodes/pve1/qemu-server/9999.conf' does not exist"
    assert text == lab.outcome(answer)
    assert [f"TASK ERROR: {text}"] == lab.log(answer.data)


def test_template_cannot_start(lab) -> None:
    """Recorded 311-313."""
    outcome = lab.outcome(lab.post("/nodes/pve1/qemu/9000/status/start"))

    assert outcome == "you can't start a vm if it's a template"


@pytest.mark.parametrize("verb", ["reboot", "reset"])
def test_verbs_of_a_running_vm_are_refused_at_once_on_a_stopped_one(lab, verb) -> None:
    """Recorded 514, 515; shutdown and stop are `OK` instead (505, 508)."""
    lab.clone(100)

    assert lab.post(f"{VM}/status/{verb}").reason == "VM 100 not running"
    assert lab.outcome(lab.post(f"{VM}/status/shutdown")) == "OK"


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"net0": "virtio,bridge=vmbr9"}, "bridge 'vmbr9' does not exist"),
        ({"memory": 9_999_999}, "start failed: QEMU exited with code 1"),
        ({"cores": 64}, "MAX 16 vcpus allowed per VM on this node"),
        ({"cicustom": "user=local:snippets/nosuch.yaml"}, "volume 'local:snippets/nosuch.yaml' does not exist"),
    ],
)
def test_start_finds_out_what_the_config_call_accepted(lab, change, outcome) -> None:
    """Recorded 618, 624, 636, 1060."""
    lab.clone(100)

    assert lab.put(f"{VM}/config", **change).status == 200
    assert outcome == lab.outcome(lab.post(f"{VM}/status/start"))


def test_shutdown_waits_for_the_guest(lab) -> None:
    """Recorded 702-706: the guest obeys after a while, the task is `OK` then."""
    lab.started(100)
    before = lab.time

    assert lab.outcome(lab.post(f"{VM}/status/shutdown", timeout=90)) == "OK"
    assert 2 <= lab.time - before < 3


def test_shutdown_that_the_guest_ignores(lab) -> None:
    """Recorded 580-582, 584: the VM is still running (`failures.md` P25)."""
    lab.started(100)
    lab.guests.obedient = False

    outcome = lab.outcome(lab.post(f"{VM}/status/shutdown", timeout=4))

    assert outcome == "VM quit/powerdown failed - got timeout"
    assert lab.get(f"{VM}/status/current").data["status"] == "running"


def test_shutdown_with_force_ends_in_a_power_off(lab) -> None:
    """Recorded 589-593."""
    lab.started(100)
    lab.guests.obedient = False

    answer = lab.post(f"{VM}/status/shutdown", timeout=3, forceStop=1)

    assert lab.outcome(answer) == "OK"
    assert lab.log(answer.data) == ["VM still running - terminating now with SIGTERM", "TASK OK"]
    assert lab.get(f"{VM}/status/current").data["status"] == "stopped"


def test_shutdown_with_a_dead_agent_says_so_first(lab) -> None:
    """Recorded 604-607."""
    lab.started(100)
    lab.guests.obedient = lab.guests.agent = False

    answer = lab.post(f"{VM}/status/shutdown", timeout=3)

    assert lab.outcome(answer) == "VM quit/powerdown failed - got timeout"
    assert (
        lab.log(answer.data)[0]
        == "QEMU Guest Agent is not running - VM 100 qga command 'guest-ping' failed - got timeout"
    )


def test_stop_waits_for_a_shutdown_unless_it_overrules_it(lab) -> None:
    """`failures.md` P25: the shutdown holds the lock for all its time."""
    lab.started(100)
    lab.guests.obedient = False
    shutdown = lab.post(f"{VM}/status/shutdown", timeout=60)
    lab.run(1)

    plain = lab.outcome(lab.post(f"{VM}/status/stop"))
    overruling = lab.post(f"{VM}/status/stop", overrule_shutdown=1)

    assert plain == "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
    assert lab.outcome(overruling) == "OK"
    assert f"overruled qmshutdown tasks: {shutdown.data}" == lab.log(overruling.data)[0]
    assert lab.status(shutdown.data)["exitstatus"] == "unexpected status"


def test_reboot_is_a_shutdown_and_a_cold_start_by_root(lab) -> None:
    """Recorded 697-701, 725: pending values apply."""
    lab.started(100)
    lab.put(f"{VM}/config", memory=4096)

    assert lab.outcome(lab.post(f"{VM}/status/reboot", timeout=120)) == "OK"
    lab.run(5)

    assert tuple(lab.get(f"{VM}/status/current").data[key] for key in ("status", "maxmem")) == (
        "running",
        4096 * 1024**2,
    )
    users = [task["user"] for task in lab.get("/nodes/pve1/tasks", vmid=100, typefilter="qmstart").data]
    assert users == ["root@pam", "admin@pve"]


def test_reboot_that_the_guest_ignores_leaves_it_running(lab) -> None:
    """Recorded 585-588; a later power-off is not taken for the reboot."""
    lab.started(100)
    lab.guests.obedient = False

    assert lab.outcome(lab.post(f"{VM}/status/reboot", timeout=4)) == "VM quit/powerdown failed - got timeout"

    lab.pve.powered_off(100)
    lab.run(10)
    assert lab.get(f"{VM}/status/current").data["status"] == "stopped"


def test_guest_sees_the_configuration_of_its_power_on(lab) -> None:
    """What was changed later is not what the guest booted with."""
    lab.started(100)

    lab.put(f"{VM}/config", name="later", cores=1)

    assert (lab.pve.vms[100].booted["name"], lab.pve.vms[100].booted["cores"]) == ("vm-100", 2)


def test_history_has_the_destructive_calls(lab) -> None:
    """Time, verb, VMID and token of what was accepted."""
    lab.started(100)
    lab.outcome(lab.post(f"{VM}/status/stop"))
    lab.outcome(lab.delete(VM))
    lab.delete(VM)

    assert [(entry.verb, entry.vmid, entry.token) for entry in lab.pve.history] == [
        ("stop", 100, "admin@pve!full"),
        ("destroy", 100, "admin@pve!full"),
    ]


def test_agent_tells_four_different_things(lab) -> None:
    """Recorded 518, 533, 601, 654 (`failures.md` P03, P33)."""
    lab.clone(100)
    stopped = lab.post(f"{VM}/agent/ping")
    lab.outcome(lab.post(f"{VM}/status/start"))
    lab.guests.agent = False
    dead = lab.get(f"{VM}/agent/network-get-interfaces")
    lab.guests.agent = True
    up = lab.post(f"{VM}/agent/ping")
    lab.outcome(lab.post(f"{VM}/status/stop"))
    lab.put(f"{VM}/config", delete="agent")
    absent = lab.post(f"{VM}/agent/ping")

    assert stopped.reason == "VM 100 is not running"
    assert (dead.status, dead.reason, dead.seconds) == (500, "QEMU guest agent is not running", 3.0)
    assert up.data == {"result": {}}
    assert absent.reason == "No QEMU guest agent configured"


def test_agent_answers(lab) -> None:
    """Recorded 655, 657, 685, 686: results are wrapped, a file is not."""
    lab.started(100)

    interfaces = lab.get(f"{VM}/agent/network-get-interfaces").data["result"]
    missing = lab.get(f"{VM}/agent/file-read", file="/nosuch")

    assert [lab.pve.vms[100].mac.lower()] == [each["hardware-address"] for each in interfaces]
    assert lab.get(f"{VM}/agent/get-host-name").data == {"result": {"host-name": "node-a"}}
    assert lab.get(f"{VM}/agent/file-read", file="/tmp/x").data == {"content": "hello\nworld", "bytes-read": 11}
    assert missing.reason == "Agent error: failed to open file '/nosuch' (mode: 'r'): No such file or directory"
