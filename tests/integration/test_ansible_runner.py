"""Playbooks by the real ansible-runner over a real sshd: every end that a run can have, and the daemon's death."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.playbooks import Playbooks
from cpcd.adapters.playbooks.traces import marked, start_time
from cpcd.model.errors import Code, Failure
from cpcd.ports.guests import Host
from tests.integration.sshd import Sshd, running, write_key

SECRET = "s3cret-value"
GIVEN = {"word": SECRET}


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a short directory: ssh's control socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="cp") as path:
        yield Path(path)


@pytest.fixture
def sshd(directory: Path) -> Iterator[Sshd]:
    """Return a running server."""
    (directory / "sshd").mkdir()
    with running(directory / "sshd") as server:
        yield server


def playbook(directory: Path, tasks: list[dict[str, Any]]) -> Path:
    """Write a playbook of these tasks."""
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    (directory / "play.yml").write_text(json.dumps([play]))
    return directory / "play.yml"


def shell(script: str, **more: object) -> dict[str, Any]:
    """Return a task that runs a script."""
    return {"name": f"run {script.split(maxsplit=1)[0]}", "ansible.builtin.shell": script, **more}


def runner(directory: Path, sshd: Sshd, tasks: list[dict[str, Any]], *, keep: int = 50) -> Playbooks:
    """Return the adapter with a playbook of these tasks."""
    path = playbook(directory, tasks)
    return Playbooks(directory / "runs", key=sshd.key, playbook=path, keep=keep)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, 60 s at most."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def end_of(playbooks: Playbooks, op: str = "op1") -> Mapping[str, Any]:
    """Return a run's state once it is no longer running."""
    async with asyncio.timeout(60):
        while (state := await playbooks.poll(op))["state"] == "running":
            await asyncio.sleep(0.05)
    return state


def left(directory: Path, op: str = "op1") -> set[str]:
    """Return the names of what a run left."""
    return {path.name for path in (directory / "runs" / op).iterdir()}


def remains(directory: Path) -> list[int]:
    """Return the processes of the run that live: marked ones, and any that has its directory in its command line."""
    run = directory / "runs" / "op1"
    lines = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted({*marked(run), *(int(line.split()[0]) for line in lines if str(run) in line)})


async def test_a_run_that_succeeds_is_done_and_leaves_no_input(directory: Path, sshd: Sshd) -> None:
    """It counts changes; inventory, variables, key path and log are gone, and no process stays."""
    out = directory / "out"
    tasks = [shell(f"echo {{{{ word }}}} > {out}"), shell("true", changed_when=False)]
    playbooks = runner(directory, sshd, tasks)

    await playbooks.submit(sshd.host(), "op1", GIVEN)

    assert await end_of(playbooks) == {"state": "done", "boot_id": "", "rc": 0, "output": {"changed": 1}, "error": {}}
    assert out.read_text() == f"{SECRET}\n"
    assert SECRET not in "".join(path.read_text() for path in (directory / "runs/op1").iterdir())
    assert left(directory) == {"run.json", "pid.json", "result.json", "log"}
    assert remains(directory) == []


async def test_a_run_whose_events_are_lost_is_no_success(directory: Path, sshd: Sshd) -> None:
    """As on a full disk: the task was well, and its event cannot be written (`failures.md` R06)."""
    events, out = directory / "runs/op1/artifacts/run/job_events", directory / "out"
    playbooks = runner(directory, sshd, [shell(f"touch {out}; rm -r {events}; touch {events}")])

    await playbooks.submit(sshd.host(), "op1", GIVEN)
    state = await end_of(playbooks)

    assert ("failed", "Failed") == (state["state"], state["error"]["reason"])
    assert out.exists()
    assert remains(directory) == []


async def test_a_failing_task_is_named_with_its_words_and_reason(directory: Path, sshd: Sshd) -> None:
    """The same reasons as for verbs over SSH; an ignored failure before it is none."""
    words = "echo 'E: Could not get lock /var/lib/dpkg/lock-frontend' >&2; exit 100"
    playbooks = runner(directory, sshd, [shell("false", ignore_errors=True), shell(words)])

    await playbooks.submit(sshd.host(), "op1", GIVEN)

    state = await end_of(playbooks)
    assert (state["state"], state["error"]["reason"]) == ("failed", "PackageManagerLocked")
    assert "task 'run echo'" in state["error"]["message"]
    assert left(directory) == {"run.json", "pid.json", "result.json", "log"}


async def test_a_machine_that_does_not_answer_is_unreachable(directory: Path, sshd: Sshd) -> None:
    """Told from a failed task (`failures.md` R01)."""
    host = sshd.host()
    sshd.process.terminate()
    sshd.process.wait()
    playbooks = runner(directory, sshd, [shell("true")])

    await playbooks.submit(host, "op1", GIVEN)

    state = await end_of(playbooks)
    assert (state["state"], state["error"]["reason"]) == ("failed", "Unreachable")
    # Ansible's words where ssh had ended before it was given anything.
    assert re.search("Connection refused|could not be sent", state["error"]["message"])


async def test_a_machine_is_waited_for_as_long_as_is_said(directory: Path, sshd: Sshd) -> None:
    """One that takes connections and says nothing is unreachable after `connect` seconds, and not after Ansible's 30."""
    playbooks = runner(directory, sshd, [shell("true")])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = replace(sshd.host(), port=silent.getsockname()[1], connect=1.0, play=25.0)
        await playbooks.submit(host, "op1", GIVEN)
        state = await end_of(playbooks)

    assert "Unreachable" == state["error"]["reason"], state["error"]


async def test_a_machine_with_another_host_key_is_not_played_on(directory: Path, sshd: Sshd) -> None:
    """Ansible's ssh obeys the pinned key."""
    out = directory / "out"
    playbooks = runner(directory, sshd, [shell(f"touch {out}")])

    await playbooks.submit(sshd.host(host_key=write_key(directory / "other")), "op1", GIVEN)

    state = await end_of(playbooks)
    assert (state["error"]["reason"], out.exists()) == ("Unreachable", False)
    assert "Host key verification failed" in state["error"]["message"]


async def test_a_canceled_run_ends_with_its_children(directory: Path, sshd: Sshd) -> None:
    """Ansible's processes are in sessions of their own (`failures.md` R03)."""
    begun = directory / "begun"
    playbooks = runner(directory, sshd, [shell(f"touch {begun}; sleep 60")])
    await playbooks.submit(sshd.host(), "op1", GIVEN)
    await until(begun.exists)

    await playbooks.cancel("op1")

    state = await end_of(playbooks)
    assert (state["state"], state["error"]["reason"]) == ("failed", "Canceled")
    assert remains(directory) == []


async def test_a_run_is_ended_at_its_deadline(directory: Path, sshd: Sshd) -> None:
    """ansible-runner's own time-outs use the wall clock (`failures.md` R02, R07)."""
    playbooks = runner(directory, sshd, [shell("sleep 60")])

    await playbooks.submit(replace(sshd.host(), play=8.0), "op1", GIVEN)

    state = await end_of(playbooks)
    assert (state["state"], state["error"]["reason"]) == ("failed", "DeadlineExceeded")
    assert remains(directory) == []


async def test_a_known_op_is_not_started_twice(directory: Path, sshd: Sshd) -> None:
    """Neither while it runs nor afterwards, nor by a second daemon."""
    out = directory / "out"
    playbooks = runner(directory, sshd, [shell(f"echo x >> {out}")])
    await playbooks.submit(sshd.host(), "op1", GIVEN)
    await playbooks.submit(sshd.host(), "op1", GIVEN)
    await end_of(playbooks)

    await runner(directory, sshd, [shell(f"echo x >> {out}")]).submit(sshd.host(), "op1", GIVEN)

    assert (await end_of(playbooks))["state"] == "done"
    assert out.read_text() == "x\n"


def test_a_run_survives_the_daemon_and_the_next_daemon_awaits_it(directory: Path, sshd: Sshd) -> None:
    """After `kill -9` the run is recognised: no second one on that machine, and its result is read (R04, D10)."""
    gate, out = directory / "gate", directory / "out"
    tasks = [shell(f"echo x >> {out}; until [ -e {gate} ]; do sleep 0.1; done")]
    _die_after_submit(directory, sshd, tasks, out)

    async def story() -> tuple[Mapping[str, Any], Failure, Mapping[str, Any]]:
        playbooks = runner(directory, sshd, tasks)
        found = await playbooks.poll("op1")
        with pytest.raises(Failure) as refused:
            await playbooks.submit(sshd.host(), "op2", GIVEN)
        await asyncio.to_thread(gate.touch)
        return found, refused.value, await end_of(playbooks)

    found, refused, ended = asyncio.run(story())
    assert (found["state"], refused.what, ended["state"]) == ("running", "busy", "done")
    assert out.read_text() == "x\n"


def test_what_a_killed_run_left_alive_is_ended_before_another_begins(directory: Path, sshd: Sshd) -> None:
    """The run's own process was killed too: its Ansible goes on unwatched, is found by its mark and killed."""
    out = directory / "out"
    _die_after_submit(directory, sshd, [shell(f"echo x >> {out}; sleep 60")], out)
    pid = json.loads((directory / "runs/op1/pid.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    asyncio.run(until(lambda: not start_time(pid)))  # a signal is sent before it is obeyed
    assert remains(directory) != []

    async def story() -> Mapping[str, Any]:
        playbooks = runner(directory, sshd, [shell("true")])
        await playbooks.submit(sshd.host(), "op2", GIVEN)
        lost = await playbooks.poll("op1")
        assert (await end_of(playbooks, "op2"))["state"] == "done"
        return lost

    assert asyncio.run(story())["state"] == "lost"
    asyncio.run(until(lambda: not remains(directory)))
    assert "inventory" not in left(directory)


def _die_after_submit(directory: Path, sshd: Sshd, tasks: list[dict[str, Any]], begun: Path) -> None:
    """Submit from a daemon of its own, wait until the playbook works on the machine, and kill the daemon."""
    script = (
        "import asyncio, sys, time; from pathlib import Path\n"
        "from cpcd.adapters.playbooks import Playbooks; from cpcd.ports.guests import Host\n"
        "state, key, play, port, line, user = sys.argv[1:]\n"
        "host = Host('u1', 'm1', '127.0.0.1', int(port), (user,), line)\n"
        "asyncio.run(Playbooks(Path(state), key=Path(key), playbook=Path(play)).submit(host, 'op1', {}))\n"
        "time.sleep(300)\n"
    )
    host = sshd.host()
    arguments = [directory / "runs", sshd.key, playbook(directory, tasks), str(host.port), host.host_key, host.users[0]]
    with subprocess.Popen([sys.executable, "-c", script, *arguments]) as daemon:
        asyncio.run(until(begun.exists))
        daemon.kill()


async def test_old_runs_are_dropped(directory: Path, sshd: Sshd) -> None:
    """Disks and inodes do not fill (`failures.md` R05)."""
    playbooks = runner(directory, sshd, [shell("true")], keep=1)

    for op in ("op1", "op2", "op3"):
        await playbooks.submit(sshd.host(), op, GIVEN)
        await end_of(playbooks, op)

    assert [playbooks.knows(op) for op in ("op1", "op2", "op3")] == [False, True, True]
    assert (await playbooks.poll("op1"))["state"] == "absent"


async def test_without_a_pinned_host_key_nothing_is_run(directory: Path, sshd: Sshd) -> None:
    """Trust on first use is not an option."""
    playbooks = runner(directory, sshd, [shell("true")])

    with pytest.raises(Failure) as refused:
        await playbooks.submit(sshd.host(host_key=""), "op1", GIVEN)

    assert (refused.value.code, playbooks.knows("op1")) == (Code.AUTH, False)


async def test_the_port_sends_prepare_to_ansible_as_the_user_that_is_let_in(directory: Path, sshd: Sshd) -> None:
    """While it runs, other work on that machine is busy."""
    gate, begun = directory / "gate", directory / "begun"
    playbooks = runner(directory, sshd, [shell(f"touch {begun}; until [ -e {gate} ]; do sleep 0.1; done")])
    guests = GuestsOverSsh(key=sshd.key, playbooks=playbooks)
    host: Host = sshd.host(users=("nobody-of-that-name", *sshd.host().users))

    await guests.submit(host, "op1", "prepare", GIVEN)
    await until(begun.exists)
    with pytest.raises(Failure) as refused:
        await guests.submit(host, "op2", "reset", {})
    gate.touch()

    state = await end_of(playbooks)
    assert (refused.value.code, refused.value.what) == (Code.EXECUTION, "busy")
    assert (state["state"], await guests.poll(host, "op1")) == ("done", state)
    await guests.close()
