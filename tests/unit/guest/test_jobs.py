"""submit and poll: begun once, never lost from sight, whatever dies in between."""

import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpcd.guest import jobs
from cpcd.guest.jobs import LOOK, poll, submit
from cpcd.guest.machine import Machine, Ran, Refused
from cpcd.guest.ops import answer, execute, told
from tests.unit.guest.recorded import Programs, machine, put

GIVEN = {"config": "token: abcdef.0123456789abcdef"}
RUNNING = {"systemd-run": Ran(0), "systemctl show cpcd-op1": Ran(0, "ActiveState=active\n")}
GONE = {"systemd-run": Ran(0), "systemctl show": Ran(0, "ActiveState=inactive\n")}  # recorded [74]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a machine's root in its first boot."""
    put(tmp_path, "/proc/sys/kernel/random/boot_id", "boot-1\n")
    return tmp_path


def unit(machine_: Machine) -> None:
    """Be the unit that systemd would have started."""
    execute(machine_, machine_.path("/run/cpcd/op1.json"))


def test_an_op_nobody_began_is_absent(root: Path) -> None:
    """The proof that it may be begun."""
    assert poll(machine(root, {}), {}, "op1")["state"] == "absent"


def test_submit_starts_a_unit_and_hands_secrets_over_in_a_private_file(root: Path) -> None:
    """The unit's argv names files, which are 0600 and on tmpfs."""
    fresh = machine(root, RUNNING)

    assert submit(fresh, "join", GIVEN, "op1") == {"state": "running", "boot_id": "boot-1"}
    assert isinstance(fresh.run, Programs)
    assert f"--unit cpcd-op1 {sys.executable} -I" in fresh.run.calls[0]
    assert "abcdef" not in " ".join(fresh.run.calls)
    job = root / "run/cpcd/op1.json"
    assert [0o600] * 2 == [path.stat().st_mode & 0o777 for path in (job, job.with_suffix(".pyc"))]
    assert json.loads(job.read_text())["given"] == GIVEN


def test_two_submits_of_one_op_begin_it_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first comes and goes while the second waits for the lock: its files are not the second's to take away."""
    taken = {
        "systemd-run": Ran(1, "", "Unit cpcd-op1.service already exists."),
        "systemctl show cpcd-op1": RUNNING["systemctl show cpcd-op1"],
    }
    lock = jobs.host_lock

    @contextlib.contextmanager
    def late(waiting: Machine) -> Iterator[None]:
        monkeypatch.setattr(jobs, "host_lock", lock)
        submit(machine(root, RUNNING), "join", GIVEN, "op1")
        with lock(waiting):
            yield

    monkeypatch.setattr(jobs, "host_lock", late)

    assert "running" == submit(machine(root, taken), "join", GIVEN, "op1")["state"]


def test_a_finished_op_is_done_and_its_secrets_are_gone(root: Path) -> None:
    """The unit deletes the job once read and leaves a result."""
    submit(machine(root, RUNNING), "join", GIVEN, "op1")

    unit(machine(root, {"kubeadm join": Ran(0)}))

    state = poll(machine(root, GONE), {}, "op1")
    assert (state["state"], state["rc"], state["output"]) == ("done", 0, {})
    assert list((root / "run/cpcd").iterdir()) == []


def test_a_failed_op_has_its_reason(root: Path) -> None:
    """The result is the verb's own refusal."""
    submit(machine(root, RUNNING), "reset", {}, "op1")

    unit(machine(root, {"kubeadm reset": Ran(1, err="error: No space left on device")}))

    state = poll(machine(root, GONE), {}, "op1")
    assert (state["state"], state["error"]["reason"]) == ("failed", "DiskFull")


def test_a_bug_in_a_job_is_a_result_too(root: Path) -> None:
    """Nothing ends in a trace that nobody reads."""
    submit(machine(root, RUNNING), "join", {}, "op1")  # no config

    unit(machine(root, {"kubeadm join": Ran(0)}))

    assert poll(machine(root, GONE), {}, "op1")["error"]["reason"] == "Internal"


@pytest.mark.parametrize("later", [RUNNING, GONE])
def test_a_known_op_is_not_started_twice(root: Path, later: dict[str, Ran]) -> None:
    """Whether its unit lives or is gone: a repeated submit only reports."""
    submit(machine(root, RUNNING), "join", GIVEN, "op1")
    again = machine(root, later)

    submit(again, "join", GIVEN, "op1")

    assert isinstance(again.run, Programs)
    assert not any(call.startswith("systemd-run") for call in again.run.calls)


def test_a_unit_that_has_processes_runs_whatever_systemd_would_say(root: Path) -> None:
    """Without a program; once it has none systemd is asked."""
    submit(machine(root, RUNNING), "join", GIVEN, "op1")
    group = "/sys/fs/cgroup/system.slice/cpcd-op1.service/cgroup.procs"

    put(root, group, "4711\n")
    assert poll(machine(root, {}), {}, "op1")["state"] == "running"
    put(root, group)
    assert poll(machine(root, GONE), {}, "op1")["state"] == "lost"


def test_a_poll_waits_for_the_end_of_what_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it was told to, then what runs still runs."""
    submit(machine(root, RUNNING), "join", GIVEN, "op1")
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    assert poll(machine(root, RUNNING), {"patience": 0.01}, "op1")["state"] == "running"
    assert LOOK in slept

    monkeypatch.setattr(time, "sleep", lambda _: unit(machine(root, {"kubeadm join": Ran(0)})))
    assert poll(machine(root, RUNNING), {"patience": 60}, "op1")["state"] == "done"


def test_a_unit_that_is_gone_without_a_result_is_lost(root: Path) -> None:
    """Killed: "no such unit" looks like success to systemctl (recorded [74, 99])."""
    submit(machine(root, RUNNING), "join", GIVEN, "op1")

    assert poll(machine(root, GONE), {}, "op1")["state"] == "lost"


def test_an_op_of_an_earlier_boot_is_lost_even_if_a_unit_has_its_name(root: Path) -> None:
    """Transient units do not survive a reboot (recorded [163])."""
    submit(machine(root, RUNNING), "join", GIVEN, "op1")
    put(root, "/proc/sys/kernel/random/boot_id", "boot-2\n")

    state = poll(machine(root, RUNNING), {}, "op1")

    assert (state["state"], state["boot_id"]) == ("lost", "boot-1")


def test_a_result_outlives_a_reboot(root: Path) -> None:
    """It lies on disk, not in systemd."""
    submit(machine(root, RUNNING), "join", GIVEN, "op1")
    unit(machine(root, {"kubeadm join": Ran(0)}))
    put(root, "/proc/sys/kernel/random/boot_id", "boot-2\n")

    assert poll(machine(root, GONE), {}, "op1")["state"] == "done"


def test_a_unit_that_could_not_be_started_was_never_begun(root: Path) -> None:
    """Recorded [95]: systemd-run fails, there is no unit; the op stays absent and no secret stays."""
    refusing = machine(root, {"systemd-run": Ran(1, err="Failed to find executable python3")})

    with pytest.raises(Refused) as refused:
        submit(refusing, "join", GIVEN, "op1")

    assert refused.value.reason == "UnitFailed"
    assert poll(machine(root, GONE), {}, "op1")["state"] == "absent"
    assert list((root / "run/cpcd").iterdir()) == []


def test_a_held_machine_is_busy(root: Path) -> None:
    """One lock covers kubeadm and playbooks."""
    put(root, "/var/lib/cpcd/lock")
    held = machine(root, RUNNING)
    with (root / "var/lib/cpcd/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        reply = answer(held, {"verb": "reset", "given": {}, "op": "op1"})

    assert (reply["ok"], reply["reason"]) == (False, "busy")
    assert isinstance(held.run, Programs)
    assert not any(call.startswith("systemd-run") for call in held.run.calls)


@pytest.mark.parametrize("op", ["", "../x", "a b", ".hidden", "x" * 101])
def test_an_op_id_that_could_leave_its_directory_is_refused(root: Path, op: str) -> None:
    """Ids are parts of paths and unit names."""
    reply = answer(machine(root, RUNNING), {"verb": "reset", "given": {}, "op": op})

    assert reply["reason"] == "InvalidInput"
    assert not (root / "var/lib/cpcd/ops").exists()


@pytest.mark.parametrize("verb", ["prepare", "nonsense", "execute"])
def test_a_verb_that_a_machine_does_not_have_is_refused(root: Path, verb: str) -> None:
    """The catalogue is closed; prepare is a playbook."""
    assert answer(machine(root, {}), {"verb": verb, "given": {}, "op": "op1"})["reason"] == "InvalidInput"


def test_all_words_of_a_command_that_failed_are_the_journals(capsys: pytest.CaptureFixture[str]) -> None:
    """A result has only their end. Of one that went well there are none, and no token of one that failed after it."""
    failed = told(["sh", "-c", "seq 2000; echo no >&2; exit 3"])
    told(["sh", "-c", "echo '[bootstrap-token] Using token: abcdef.0123456789abcdef'; exit 1"])
    told(["sh", "-c", "echo token"])
    told(["no-such-program"])

    assert (3, "no\n") == (failed.rc, failed.err)
    said = [f"sh -c ended with 3\n{failed.out}no\n", "sh -c ended with 1\n[bootstrap-token] Using token: <masked>\n"]
    assert "".join(said) == capsys.readouterr().err
