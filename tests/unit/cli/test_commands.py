"""The commands that talk to a daemon, against a real control socket."""

import contextlib
import json
import socket
from pathlib import Path

import pytest
import yaml

from cpcd.model.keys import Key, Kind, Wall
from cpcd.model.report import Outcome
from tests.unit.cli.conftest import Run, as_nobody
from tests.unit.cli.daemon import HELD, STEPS, Daemon
from tests.unit.status import scene


@pytest.mark.parametrize(("shape", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_what_is_printed_for_machines_is_what_the_daemon_said(run: Run, busy: Daemon, shape: str, read: object) -> None:
    """`-o json` and `-o yaml` leave nothing out and add nothing."""
    _, out, _ = run("plan", "-o", shape)

    assert callable(read)
    assert {"generation": "abc123", "steps": STEPS, "held": HELD, "silent": [], "warnings": []} == read(out)


@pytest.mark.parametrize(("args", "code"), [(["plan"], 0), (["plan", "--detailed-exitcode"], 3)])
def test_pending_changes_are_an_exit_code_when_asked(run: Run, busy: Daemon, args: list[str], code: int) -> None:
    """A plan with steps is a success unless the caller wants to know."""
    assert code == run(*args)[0]


def test_nothing_to_do_is_zero_even_when_asked(run: Run, quiet: Daemon) -> None:
    """Exit code 0 says that what is observed is what is wanted."""
    code, out, _ = run("plan", "--detailed-exitcode")

    assert (0, "Nothing to do: what is observed is what is wanted.\n") == (code, out)


def test_what_cannot_be_told_is_not_nothing_to_do(run: Run, quiet: Daemon) -> None:
    """Without a step, too, an object whose steps cannot be told is named, and the exit code is that of changes."""
    quiet.held = HELD
    code, out, _ = run("plan", "--detailed-exitcode")
    quiet.held, quiet.silent = [], ["CPCD-100 pve:home: no answer, since 08:00:00 UTC"]
    stale, said, _ = run("plan", "--detailed-exitcode")

    assert (3, False, True) == (stale, "Nothing to do" in said, "seen before: CPCD-100 pve:home" in said)

    assert (3, False, True) == (code, "Nothing to do" in out, "addon extras cannot be read now" in out)


def test_a_plan_begins_with_its_warnings(run: Run, busy: Daemon) -> None:
    """What the file does, and is perhaps not what was meant, comes before all the steps of it."""
    busy.warnings = ["home: general is no longer in the file"]
    _, out, _ = run("plan")

    assert "warning: home: general is no longer in the file" == out.splitlines()[0]


@pytest.mark.parametrize(
    ("args", "verb", "value"),
    [
        (["approve", "d4f1"], "approve", "d4f1"),
        (["pause", "home"], "pause", "home"),
        (["resume", "home"], "resume", "home"),
        (["reconcile", "home"], "reconcile", "home"),
        (["reconcile", "machine/home-general-1"], "reconcile", "home/machine/uid-home-general-1"),
        (["reconcile", "home-general-1"], "reconcile", "home/machine/uid-home-general-1"),
    ],
)
def test_an_input_reaches_the_daemon(run: Run, busy: Daemon, args: list[str], verb: str, value: str) -> None:
    """Names that people type become keys; the answer is printed."""
    code, out, _ = run(*args)

    assert (0, value, f"{verb} {value}: done\n") == (code, busy.inputs[verb], out)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["approve", "zzz"], "nothing waits for approval under zzz"),
        (["status", "general-1"], "machine/home-general-1"),
        (["reconcile", "machine/zzz"], "there is no object called machine/zzz"),
        (["kubeconfig", "zzz"], "there is no cluster called zzz"),
        (["events", "zzz"], "there is no object called zzz"),
    ],
)
def test_a_name_that_nobody_knows_is_a_misuse(run: Run, busy: Daemon, args: list[str], words: str) -> None:
    """Whether the command or the daemon finds out, it is exit code 2 with a sentence and the nearest names."""
    code, _, err = run(*args)

    assert (2, True, True) == (code, err.startswith("CPCD-107"), words in err)


@pytest.fixture
def twice(quiet: Daemon) -> Daemon:
    """A daemon of two clusters that have an addon of the same name."""
    for cluster in ("home", "work"):
        done = scene.done(Key(cluster, Kind.ADDON, "flannel"), Outcome.SETTLED, "addon flannel is applied")
        quiet.board.note(done, Wall(scene.NOW))
    return quiet


@pytest.mark.parametrize("command", ["status", "events", "reconcile"])
@pytest.mark.parametrize("name", ["addon/flannel", "flannel"])
def test_a_name_that_two_clusters_have_is_asked_back(run: Run, twice: Daemon, command: str, name: str) -> None:
    """Nothing is shown or done of the one that happens to come first."""
    code, out, err = run(command, name)

    words = f"CPCD-107 {name} could be any of home/addon/flannel, work/addon/flannel"
    assert (2, "", words) == (code, out, err.split("\n")[0])


def test_what_is_offered_instead_means_one_object(run: Run, twice: Daemon) -> None:
    """A hint is there to be typed, so no name is in it twice and none that would be asked back."""
    hint = run("status", "addon/flan")[2].split("\n")[1]

    assert "  do: Known are, among others: home/addon/flannel, work/addon/flannel." == hint


def test_only_near_words_are_called_near(run: Run) -> None:
    """What is like nothing is answered with what the codes are."""
    hints = [run("explain", word)[2].splitlines()[1] for word in ("CPCD-999", "Nonsense")]

    assert [True, True] == [
        hints[0].startswith("  do: There are, near to it: CPCD-"),
        hints[1].startswith("  do: Codes are CPCD-100, "),
    ]


def test_events_are_shown_oldest_first_by_the_names_that_people_know(run: Run, quiet: Daemon) -> None:
    """The newest line stands above the prompt, and no uid is in the way."""
    _, out, _ = run("events", "machine/home-general-2")
    lines = out.splitlines()[2::2]

    assert [True, True] == ["clone" in lines[0], any("start" in line for line in lines[1:])]
    assert "uid-" not in out


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["status"], 1, "CPCD-103 {path}: no daemon answers here"),
        (["plan", "--detailed-exitcode"], 1, "CPCD-103 {path}: no daemon answers here"),
        (["doctor"], 1, ""),
    ],
)
def test_without_a_daemon_the_sentence_says_how_to_start_one(
    run: Run, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    """No traceback, no silence: a code, the socket, and what to do."""
    path = tmp_path / "none.sock"
    found, _, err = run("--socket", str(path), *args)

    assert (code, words.format(path=path)) == (found, err.split("\n")[0])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file", "CPCD-107 {path}: that is no socket"),
        (".", "CPCD-107 {path}: that is no socket"),
        ("x" * 108, "CPCD-107 {path}: that cannot be a socket: AF_UNIX path too long"),
        ("left-over", "CPCD-103 {path}: no daemon answers here"),
        ("forbidden", "CPCD-101 {path}: you may not use the control socket"),
    ],
)
def test_a_path_where_no_daemon_can_be_asked_says_why(run: Run, tmp_path: Path, place: str, words: str) -> None:
    """A file, a directory, a name too long, a dead daemon's socket and a closed one are five different things."""
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as left, socket.socket(socket.AF_UNIX) as forbidden:
        left.bind(str(tmp_path / "left-over"))
        forbidden.bind(str(tmp_path / "forbidden"))
        forbidden.listen()
        with as_nobody(tmp_path / "forbidden") if place == "forbidden" else contextlib.nullcontext():
            _, _, err = run("--socket", str(tmp_path / place), "status")

    assert words.format(path=tmp_path / place) == err.split("\n")[0]


def test_a_stranger_on_the_socket_is_noticed(run: Run, tmp_path: Path) -> None:
    """Something that speaks, but not as cpcd does, is not believed."""
    import asyncio
    import threading

    path, loop, opened = tmp_path / "x.sock", asyncio.new_event_loop(), threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()
        await writer.wait_closed()

    async def serve() -> None:
        server = await asyncio.start_unix_server(answer, path)
        opened.set()
        await asyncio.get_running_loop().run_in_executor(None, asked.wait)
        server.close()

    asked = threading.Event()
    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.close()))
    thread.start()
    opened.wait(5)
    code, _, err = run("--socket", str(path), "status")
    asked.set()
    thread.join()

    assert (1, True) == (code, "what answers there is not cpcd" in err)


def test_doctor_tells_what_is_wrong_and_what_it_cannot_tell(run: Run, quiet: Daemon) -> None:
    """An absent spec is an error; a daemon that cannot answer is unknown, and both say what to do."""
    code, out, _ = run("doctor", "-o", "json")
    checks = {check["name"]: check["ok"] for check in json.loads(out)["checks"]}

    assert (1, False, None) == (code, checks["spec"], checks["daemon"])
