"""The stage: nobody else on it, a sentence where it cannot be laid out, and nothing that outlives it."""

import asyncio
import errno
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cpcd.lab.demo import stage as module
from cpcd.lab.demo.stage import Stage
from cpcd.model.errors import Code, Failure


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the demo claim a free port, ask for none, and work in a directory of this test."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(module, "CLAIM", probe.getsockname())
    monkeypatch.setattr(module, "USED", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


async def raised(stage: Stage) -> Failure:
    """Return why a stage cannot be put up."""
    with pytest.raises(Failure) as caught:
        async with stage.up():
            raise AssertionError("it was put up")
    return caught.value


async def stubborn(*, ignoring: bool) -> asyncio.subprocess.Process:
    """Start a process that sleeps, and may not want to end."""
    code = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_{'IGN' if ignoring else 'DFL'}); print(flush=True); time.sleep(60)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def test_a_second_demo_is_refused_while_the_first_one_stands() -> None:
    """They would answer for each other's machines; afterwards the place is free."""
    with module._alone():
        failure = await raised(Stage())
    with module._alone():
        pass

    assert (Code.DEPENDENCY, True) == (failure.code, "another lab or demo runs on these addresses" in failure.what)


async def test_a_lab_that_is_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machines listen where the demo's would."""
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        monkeypatch.setattr(module, "USED", (theirs.getsockname(),))

        assert Code.DEPENDENCY is (await raised(Stage())).code


async def test_without_git_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is started or left behind."""
    monkeypatch.setenv("PATH", str(tmp_path))

    failure = await raised(Stage())

    assert (Code.DEPENDENCY, "there is no git on the PATH") == (failure.code, failure.what)
    assert "Install git" in failure.hint
    assert [] == list(tmp_path.iterdir())


async def test_without_room_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no bug."""

    def full(**_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)

    failure = await raised(Stage())

    assert (Code.DEPENDENCY, True, True) == (failure.code, "No space left" in failure.what, "TMPDIR" in failure.hint)


async def test_the_log_of_a_lab_that_does_not_start_is_kept_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It says why."""
    program = shutil.which("false")
    monkeypatch.setattr(sys, "executable", program)

    failure = await raised(Stage())

    (directory,) = tmp_path.iterdir()
    assert (Code.EXECUTION, True) == (failure.code, str(directory / "lab.log") in failure.hint)
    assert (directory / "lab.log").is_file()


@pytest.mark.parametrize("kept", [True, False])
async def test_the_end_ends_both_processes_and_the_directory_unless_it_is_kept(kept: bool, tmp_path: Path) -> None:
    """Those that obey are not killed."""
    stage = Stage()
    stage.directory, stage.kept = tmp_path / "cpcd-demo-x", kept
    stage.directory.mkdir()
    stage.lab, stage.daemon = await stubborn(ignoring=False), await stubborn(ignoring=False)

    await stage._close()

    assert ([-15, -15], kept) == ([stage.lab.returncode, stage.daemon.returncode], stage.directory.exists())


async def test_what_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, or at once by a second signal."""
    stage = Stage()
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    stage.lab = await stubborn(ignoring=True)
    await stage._close()
    late = stage.lab.returncode
    monkeypatch.setattr(module, "PATIENCE", 600.0)
    stage.lab = await stubborn(ignoring=True)
    asyncio.get_running_loop().call_soon(stage.slay)

    await stage._close()

    assert (-9, -9) == (late, stage.lab.returncode)


async def test_what_is_cancelled_at_its_end_leaves_nothing_running() -> None:
    """A cancellation there hurries it, and no more."""
    stage = Stage()
    stage.lab = await stubborn(ignoring=True)
    ending = asyncio.create_task(stage._close())
    await asyncio.sleep(0.01)

    ending.cancel()
    await asyncio.wait({ending})

    assert -9 == await stage.lab.wait()
