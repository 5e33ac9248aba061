"""`cpcd plan --offline`, and what `cpcd run` refuses before it begins: each ends in one sentence with a code."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from cpcd.adapters.journal import SqliteJournal
from cpcd.adapters.operator_key import operator_key
from cpcd.model.errors import Failure
from cpcd.model.ledger import PutMachine
from cpcd.settings import Settings
from cpcd.wiring import _daemon
from tests.unit.cli.conftest import Run
from tests.unit.spec.test_files import git
from tests.unit.status.scene import CP, SPEC, W1


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was found."""
    handlers, level, logs = logging.root.handlers[:], logging.root.level, structlog.get_config()
    yield
    logging.root.handlers, logging.root.level = handlers, level
    structlog.configure(**logs)


def nothing(_path: Path) -> None:
    """Leave the place empty."""


def mistaken(path: Path) -> None:
    """Write a file with two mistakes."""
    path.write_bytes(SPEC.replace(b"replicas: 1", b"replicas: 2").replace(b"version:", b"versoin:"))


def linked(path: Path) -> None:
    """Make it a directory in a work tree, with a link for a document."""
    path.mkdir()
    (path.parent / "other.yaml").write_bytes(SPEC)
    (path / "link.yaml").symlink_to("../other.yaml")
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        git(path.parent, *words)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (linked, "CPCD-102 {path}/link.yaml is a symbolic link, and in a git work tree none is followed"),
        (nothing, "CPCD-102 {path} does not exist"),
        (Path.mkdir, "CPCD-102 {path} holds no *.yaml"),
        (mistaken, "CPCD-102 cluster.yaml:5:1: spec.version: is missing (and 2 more)"),
    ],
    ids=["link", "absent", "empty directory", "mistakes"],
)
def test_a_spec_that_cannot_be_planned_is_one_sentence(
    run: Run, tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    """Told as by every command: one code, what to do, no line of a journal, and nothing is made on the disk."""
    spec, state = tmp_path / "cluster.yaml", tmp_path / "state"
    make(spec)
    code, out, err = run("plan", "--offline", "--spec", str(spec), "--state-dir", str(state))
    told, do, more, *rest = err.splitlines()

    assert (1, "", sentence.format(path=spec), []) == (code, out, told, rest)
    assert ("  do: ", "  more: cpcd explain CPCD-102") == (do[:6], more)
    assert not state.exists()


def ledger(state: Path) -> Path:
    """Write a ledger that knows two machines."""

    async def write() -> None:
        journal = SqliteJournal(state / "ledger.db", threaded=False)
        await journal.load()
        await journal.commit((PutMachine(CP), PutMachine(W1)))
        await journal.close()

    state.mkdir()
    asyncio.run(write())
    return state / "ledger.db"


def test_a_damaged_ledger_is_never_planned_as_an_empty_one(run: Run, tmp_path: Path) -> None:
    """The plan of an empty ledger would build everything anew; the file is named as it lies there."""
    path = ledger(tmp_path / "state")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE machines SET sum = 0")
    db.close()
    (tmp_path / "cluster.yaml").write_bytes(SPEC)
    code, _, err = run("plan", "--offline", "--spec", "cluster.yaml", "--state-dir", str(path.parent))

    assert code == 1
    assert err.startswith(f"CPCD-108 {path}: the ledger is corrupt (")


def test_a_state_directory_that_may_not_be_read_says_so(run: Run, tmp_path: Path) -> None:
    """Without a right to look there is no plan, and no traceback either."""
    (tmp_path / "cluster.yaml").write_bytes(SPEC)
    state, me = tmp_path / "state", os.geteuid()
    state.mkdir(0o000)
    if me == 0:
        os.seteuid(65534)
    try:
        code, _, err = run("plan", "--offline", "--spec", "cluster.yaml", "--state-dir", str(state))
    finally:
        os.seteuid(me)

    assert (1, f"CPCD-101 {state}: you may not read the state directory") == (code, err.splitlines()[0])


@pytest.mark.parametrize("command", [["run"], ["plan", "--offline"]], ids=["run", "plan"])
def test_a_lost_key_is_not_replaced_while_machines_know_it(run: Run, tmp_path: Path, command: list[str]) -> None:
    """A new one would put them out of reach in silence; what to restore, and how to go on without, is said."""
    path = ledger(tmp_path / "state")
    (tmp_path / "cluster.yaml").write_bytes(SPEC)
    code, _, err = run(*command, "--spec", "cluster.yaml", "--state-dir", str(path.parent))
    private = path.parent / "ssh" / "id_ed25519"
    sentence = "cpcd's SSH key is gone, and 2 machines of the ledger let cpcd in by no other; no new one is made"

    assert (1, f"CPCD-108 {private}: {sentence}") == (code, err.splitlines()[0])
    assert all(words in err for words in ("Restore the file from a backup", "ssh-keygen", "ssh.keys"))
    assert not private.exists()


def test_a_corrupt_ledger_without_a_key_stops_changes_and_not_the_daemon(tmp_path: Path) -> None:
    """The spec is in force to be observed by; no key is made, and a mended ledger asks for a restart, which finds one."""
    path = ledger(tmp_path / "state")
    sound = path.read_bytes()
    path.write_bytes(b"damaged" + sound[7:])
    (tmp_path / "cluster.yaml").write_bytes(SPEC)
    settings = Settings(spec=tmp_path / "cluster.yaml", worktree=True, state_dir=path.parent)

    async def live() -> tuple[list[str], str]:
        daemon, links = _daemon(settings, path, path.parent / "ssh")
        said = []
        try:
            await daemon.memory.load()
            await daemon.look_at_spec(first=True)
            said += [str(daemon.state.frozen)]
            path.write_bytes(sound)
            with pytest.raises(Failure) as caught:
                await daemon.state.thaw()
            said += [str(caught.value)]
        finally:
            await daemon.stop()
            await links.close()
        return said, daemon.board.spec.generation

    (corrupt, mended), generation = asyncio.run(live())

    assert "the ledger is corrupt" in corrupt
    assert "CPCD-108 the ledger can be read again, and cpcd has no SSH key yet" == mended
    assert generation
    assert not (path.parent / "ssh").exists()


def test_a_key_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    """Who uses it is only asked while there is none, and nobody else may read it."""
    first = operator_key(tmp_path / "ssh", used_by=lambda: 0)
    again = operator_key(tmp_path / "ssh", used_by=lambda: 3)

    assert (first, 0o600) == (again, first[0].stat().st_mode & 0o777)
