"""The ledger on disk: what was committed comes back, and damage is said and never read as empty."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpcd.adapters import journal as module
from cpcd.adapters.journal import RETAINED_EVENTS, SqliteJournal, StateLock
from cpcd.model.errors import Bug, Code, Failure
from cpcd.model.keys import Key, Kind, OpId, Role, Scope, Uid, Wall
from cpcd.model.ledger import (
    CloseOp,
    DropFact,
    DropMachine,
    Event,
    Ledger,
    Machine,
    Op,
    OpenOp,
    PutFact,
    PutMachine,
    SetHandle,
)

Opened = Callable[..., SqliteJournal]
TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.builds(Key, TEXT, st.sampled_from(Kind), TEXT)
SCOPES = st.builds(Scope, TEXT, TEXT, TEXT)
WALLS = st.floats(0, 4e9).map(Wall)
MACHINES = st.builds(Machine, created=WALLS)
OPS = st.builds(
    Op,
    key=KEYS,
    target=SCOPES,
    opened=WALLS,
    before=st.dictionaries(TEXT, JSON, max_size=3),
    disrupts=st.none() | st.sampled_from(Role),
    slots=st.lists(TEXT, max_size=2).map(tuple),
    handle=st.none() | TEXT,
)
CHANGES = st.lists(
    st.builds(PutMachine, MACHINES)
    | st.builds(OpenOp, OPS)
    | st.builds(PutFact, TEXT, JSON)
    | st.builds(DropMachine, TEXT.map(Uid))
    | st.builds(CloseOp, TEXT.map(OpId))
    | st.builds(DropFact, TEXT),
    max_size=8,
).map(tuple)

OP = Op(OpId("op-1"), Key("home", Kind.MACHINE, "u1"), "Clone", Scope("vm", "pve.home", "301"), Wall(1.5))


def event(number: int, key: str = "home/machine/u1") -> Event:
    """One distinguishable event."""
    return Event(Wall(number), key, f"run-{number}", "Normal", "Acted", f"message {number}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger of this test lives."""
    return tmp_path / "ledger.db"


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Open a journal at a path; all of them are closed after the test, whatever it did to the disk."""
    journals: list[SqliteJournal] = []

    def opened(path: Path | Literal[":memory:"], *, threaded: bool = False) -> SqliteJournal:
        journals.append(SqliteJournal(path, threaded=threaded))
        return journals[-1]

    yield opened
    for journal in journals:
        with contextlib.suppress(Failure):
            await journal.close()


async def stored(path: Path, *changes: module.Change) -> None:
    """Leave a ledger with these changes on disk, closed."""
    journal = SqliteJournal(path, threaded=False)
    await journal.load()
    await journal.commit(changes)
    await journal.close()


def on_disk(path: Path, content: bytes) -> None:
    """Put bytes where the ledger belongs."""
    path.write_bytes(content)


def now(path: Path) -> bytes:
    """What is there, empty when nothing is."""
    return path.read_bytes() if path.exists() else b""


def removed(path: Path) -> None:
    """Remove the file."""
    path.unlink()


def torn(path: Path) -> None:
    """Overwrite two pages in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    path.write_bytes(content)


def edited(path: Path, statement: str) -> None:
    """Change the file behind the journal's back."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


@given(changes=CHANGES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
async def test_what_is_loaded_equals_what_the_changes_make(changes: tuple[module.Change, ...]) -> None:
    """Any sequence of changes gives the same ledger through SQL as it does in memory."""
    journal = SqliteJournal(":memory:", threaded=False)

    await journal.commit(changes)
    loaded = await journal.load()
    await journal.close()

    assert Ledger().after(changes) == loaded


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_commit_survives_the_process(opened: Opened, path: Path, threaded: bool) -> None:
    """A second connection reads what was committed, although the first was never closed."""
    journal = opened(path, threaded=threaded)
    await journal.load()
    await journal.commit((OpenOp(OP), SetHandle(OP.id, "UPID:pve1")))

    loaded = await opened(path).load()

    assert "UPID:pve1" == loaded.ops[OP.id].handle


async def test_a_failed_transaction_leaves_nothing(opened: Opened, path: Path) -> None:
    """When one change cannot be stored, none of its transaction is."""
    journal = opened(path)

    with pytest.raises(Bug):
        await journal.commit((PutFact("a", 1), SetHandle(OpId("none"), "x")))

    assert Ledger() == await journal.load()


async def test_evidence_that_is_not_json_is_a_bug(opened: Opened) -> None:
    """What could not be read back is refused before the effect that it belongs to."""
    journal = opened(":memory:")

    with pytest.raises(Bug, match="cannot be stored as JSON"):
        await journal.commit((PutFact("set", {1, 2}),))


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8192, b"not a database, but a text of some length" * 200], ids=["empty", "nul", "text"]
)
async def test_a_damaged_file_is_an_error_and_stays(opened: Opened, path: Path, content: bytes) -> None:
    """Zero bytes, NULs after power loss and foreign content are corrupt, never a new ledger."""
    on_disk(path, content)

    with pytest.raises(Failure, match="corrupt") as caught:
        await opened(path).load()

    assert (Code.STATE, content) == (caught.value.code, now(path))


async def test_a_changed_row_is_noticed(opened: Opened, path: Path) -> None:
    """A row that still parses but is not what was written is corrupt."""
    await stored(path, PutFact("vmid", 301))
    edited(path, "UPDATE facts SET row = '302'")

    with pytest.raises(Failure, match="checksum of facts/vmid"):
        await opened(path).load()


async def test_a_torn_page_is_noticed(opened: Opened, path: Path) -> None:
    """Garbage in the middle of the file is found at load, before anything is decided on it."""
    await stored(path, *(PutFact(f"fact/{n}", "x" * 500) for n in range(100)))
    torn(path)

    with pytest.raises(Failure, match="corrupt"):
        await opened(path).load()


async def test_a_log_without_its_file_is_no_new_ledger(opened: Opened, path: Path) -> None:
    """A ledger that vanished while its write-ahead log stayed is a loss, not a first start."""
    on_disk(path.with_name("ledger.db-wal"), b"left")

    with pytest.raises(Failure, match="write-ahead log"):
        await opened(path).load()

    assert not now(path)


async def test_a_newer_ledger_is_refused(opened: Opened, path: Path) -> None:
    """A downgrade does not read rows whose meaning it cannot know."""
    await stored(path)
    edited(path, "PRAGMA user_version = 99")

    with pytest.raises(Failure, match="version 99"):
        await opened(path).load()


@pytest.mark.parametrize(
    ("pragma", "words"), [("max_page_count = 1", "full"), ("query_only = 1", "readonly")], ids=["full", "read-only"]
)
async def test_a_disk_that_takes_nothing_stops_mutation(opened: Opened, path: Path, pragma: str, words: str) -> None:
    """A full and a read-only disk fail the commit with a sentence, and what was there is still readable."""
    await stored(path, PutFact("kept", 1))
    journal = opened(path)
    await journal.load()
    journal._db.execute(f"PRAGMA {pragma}")

    with pytest.raises(Failure, match=words) as caught:
        await journal.commit((PutFact("new", "x" * 100_000),))

    assert (Code.STATE, {"kept": 1}) == (caught.value.code, (await journal.load()).facts)


async def test_check_finds_a_read_only_disk_before_anything_begins(opened: Opened, path: Path) -> None:
    """The probe writes for real, so that a mutation is not started which could not be remembered."""
    journal = opened(path)
    await journal.check()
    journal._db.execute("PRAGMA query_only = 1")

    with pytest.raises(Failure, match="readonly"):
        await journal.check()


async def test_check_finds_that_the_file_was_removed(opened: Opened, path: Path) -> None:
    """Commits into an unlinked file would be lost with the process."""
    journal = opened(path)
    await journal.load()
    removed(path)

    with pytest.raises(Failure, match="removed while in use"):
        await journal.check()


async def test_check_finds_a_nearly_full_disk(opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation stops while there is still room to finish what is open."""
    journal = opened(path)
    monkeypatch.setattr(module, "RESERVE", 1 << 62)

    with pytest.raises(Failure, match="MiB are free"):
        await journal.check()


async def test_a_state_directory_that_is_missing_is_a_sentence(opened: Opened, tmp_path: Path) -> None:
    """No directory, no ledger, no traceback."""
    with pytest.raises(Failure, match="No such file") as caught:
        await opened(tmp_path / "none" / "ledger.db").load()

    assert Code.STATE == caught.value.code


async def test_history_is_newest_first_and_narrowed_by_key(opened: Opened) -> None:
    """A key, a kind of a cluster or a cluster selects; a name that only begins alike does not."""
    journal = opened(":memory:")
    for number, key in enumerate(("home/machine/u1", "home/machine/u10", "home/addon/cni", "homelab/addon/x")):
        journal.record(event(number, key))

    found = {key: [e.at for e in await journal.history(key=key)] for key in ("", "home", "home/machine/u1")}

    assert {"": [3, 2, 1, 0], "home": [2, 1, 0], "home/machine/u1": [0]} == found


async def test_history_keeps_the_newest_events_only(opened: Opened) -> None:
    """Retention is bounded, so that an endless retry cannot fill the disk."""
    journal = opened(":memory:")
    for number in range(RETAINED_EVENTS + 500):
        journal.record(event(number))

    kept = await journal.history(limit=RETAINED_EVENTS * 2)

    assert (RETAINED_EVENTS, RETAINED_EVENTS + 499) == (len(kept), kept[0].at)


async def test_events_are_written_on_close(opened: Opened, path: Path) -> None:
    """History that was queued when the daemon stopped is there after the next start."""
    journal = opened(path, threaded=True)
    await journal.load()
    journal.record(event(1))
    await journal.close()

    again = opened(path)
    history = await again.history()

    assert [event(1)] == history


async def test_an_event_that_cannot_be_written_is_kept_and_stops_nothing(opened: Opened, path: Path) -> None:
    """On a read-only disk recording goes on in memory until the disk is back."""
    journal = opened(path)
    await journal.load()
    journal._db.execute("PRAGMA query_only = 1")
    for number in range(module.BATCH):
        journal.record(event(number))
    journal._db.execute("PRAGMA query_only = 0")

    history = await journal.history(limit=1000)

    assert module.BATCH == len(history)


def test_a_second_daemon_is_told_who_has_the_directory(tmp_path: Path) -> None:
    """The lock refuses at once, names the process, and is free again after its release."""
    first, second = StateLock(tmp_path), StateLock(tmp_path)
    first.acquire()

    with pytest.raises(Failure, match=r"process \d+") as caught:
        second.acquire()
    first.release()
    second.acquire()
    second.release()

    assert Code.STATE == caught.value.code


async def test_reading_beside_a_daemon_changes_nothing(opened: Opened, path: Path) -> None:
    """`cpcd plan` and `cpcd doctor` see what the daemon committed and never make a ledger."""
    journal = opened(path)
    await journal.commit((PutFact("a", 1),))

    with pytest.raises(Failure, match="unable to open"):
        module.read_ledger(path.with_name("none.db"))

    assert ({"a": 1}, b"") == (module.read_ledger(path).facts, now(path.with_name("none.db")))


@pytest.mark.parametrize("name", ["s#1", "s?mode=rwc", "s%41"])
async def test_a_copy_is_of_the_ledger_that_is_named(opened: Opened, tmp_path: Path, name: str) -> None:
    """What means something in an address is a letter like another in a path; nothing is made beside it."""
    (tmp_path / name).mkdir()
    path, copy = tmp_path / name / "ledger.db", tmp_path / name / "copy.db"
    await opened(path).commit((PutFact("a", 1),))

    module.copy_ledger(path, copy)

    assert {"a": 1} == module.read_ledger(copy).facts
    assert [name] == [each.name for each in tmp_path.iterdir()]


async def test_an_empty_commit_proves_that_the_disk_takes_writes(opened: Opened, path: Path) -> None:
    """A frozen daemon asks in this way whether it may go on."""
    journal = opened(path)
    await journal.load()
    journal._db.execute("PRAGMA query_only = 1")

    with pytest.raises(Failure, match="readonly"):
        await journal.commit(())


async def test_a_ledger_of_before_history_had_codes_gets_them(path: Path, opened: Callable[..., SqliteJournal]) -> None:
    """Its machines and its history stay; what is told from then on has code and name."""
    older = module._tables()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(f"PRAGMA application_id = {module.APPLICATION}; PRAGMA user_version = 1; {older}")
        old = event(1)
        values = (old.at, old.key, old.run, old.severity, old.reason, old.message)
        db.execute("INSERT INTO events (at, key, run, severity, reason, message) VALUES (?, ?, ?, ?, ?, ?)", values)
        db.commit()
    journal = opened(path)
    await journal.load()
    journal.record(replace(event(2), code="CPCD-100", name="home-cp-1"))
    await journal.commit(())
    await journal.close()

    assert [("CPCD-100", "home-cp-1"), ("", "")] == [(e.code, e.name) for e in await opened(path).history()]
