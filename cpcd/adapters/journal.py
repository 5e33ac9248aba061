"""The ledger on disk: SQLite with one connection, so that what was promised before an effect survives power loss.

It must never replace, repair or read as empty a file that it cannot understand (`failures.md` D02, D04), and never
write twice at once: one thread owns the connection. The values that it stores are in `cpcd/model/ledger.py`.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from cpcd.adapters.answers import parse, words
from cpcd.adapters.ledger_rows import machine_of, op_of, op_row
from cpcd.model.errors import Bug, Code, Failure
from cpcd.model.keys import OpId, Uid, Wall
from cpcd.model.ledger import (
    Change,
    CloseOp,
    DropFact,
    DropMachine,
    Event,
    Ledger,
    OpenOp,
    PutFact,
    PutMachine,
    SetHandle,
)

__all__ = ["RETAINED_EVENTS", "SqliteJournal", "StateLock", "copy_ledger", "read_ledger"]

T = TypeVar("T")

SCHEMA: Final = 1  # of the tables and of each row; a higher one was written by a newer cpcd and is refused
APPLICATION: Final = 0x43504344  # "CPCD" in the file's header: another program's database is not ours to write
RETAINED_EVENTS: Final = 10_000
BATCH: Final = 32
RESERVE: Final = 16 * 1024 * 1024  # bytes; below this a mutation might not be able to say that it began (D03)

_TABLES: Final = """
CREATE TABLE machines (id TEXT PRIMARY KEY, version INTEGER NOT NULL, sum INTEGER NOT NULL, row TEXT NOT NULL);
CREATE TABLE ops (id TEXT PRIMARY KEY, version INTEGER NOT NULL, sum INTEGER NOT NULL, row TEXT NOT NULL);
CREATE TABLE facts (id TEXT PRIMARY KEY, version INTEGER NOT NULL, sum INTEGER NOT NULL, row TEXT NOT NULL);
CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, key TEXT NOT NULL, run TEXT NOT NULL,
                     severity TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL{added});
CREATE INDEX events_by_key ON events (key, seq);
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL);
INSERT INTO probe VALUES (1, 0);
"""

# What came to history later: an older ledger gets it when it is opened for writing.
_ADDED: Final = ("code TEXT NOT NULL DEFAULT ''", "name TEXT NOT NULL DEFAULT ''")
_ROWS: Final = ("machines", "ops", "facts")
_TALLY: Final = "CREATE TABLE IF NOT EXISTS tally (id INTEGER PRIMARY KEY CHECK (id = 1), rows TEXT NOT NULL)"
# Rows and checksums of each table: a page that a disk lost or misplaced can leave one that is sound, and empty.
_COUNTED: Final = " || ' ' || ".join(f"(SELECT count(*) || '/' || total(sum) FROM {table})" for table in _ROWS)  # noqa: S608 - our own three table names

_EVENT: Final = """
INSERT INTO events (at, key, run, severity, reason, message, code, name) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_HISTORY: Final = """
SELECT at, key, run, severity, reason, message, code, name FROM events
WHERE :key IN ('', key) OR substr(key, 1, length(:key) + 1) = :key || '/' ORDER BY seq DESC LIMIT :limit
"""


class SqliteJournal:
    """`ports.journal.Journal` on one SQLite file (WAL, synchronous=FULL), or in memory.

    `threaded` gives the connection a thread of its own and keeps the event loop free of fsync; without it the same
    SQL runs inline, for the simulation. A commit that was queued is carried out even when its caller is cancelled:
    an intent without its effect is harmless, the reverse is not.
    """

    def __init__(self, path: Path | Literal[":memory:"], *, threaded: bool) -> None:
        self.path = path
        self._writer = ThreadPoolExecutor(1, "journal") if threaded else None
        self._opened: sqlite3.Connection | None = None
        self._inode = 0
        self._closed = False
        self._pending: deque[Event] = deque(maxlen=RETAINED_EVENTS)

    async def load(self) -> Ledger:
        """Check the file (`PRAGMA quick_check`, checksum of each row) and return the whole ledger.

        Creates it when there is none. Raises Failure(StateUnusable) when it is corrupt, of a newer version or not
        readable; the file is left as it is, nothing else is written to it, and a mended one is opened by the next call.
        """
        return await self._run(self._load)

    async def check(self) -> None:
        """Prove that the next commit can be stored: space is left, the file is still there, a write is synced."""
        await self._run(self._check)

    async def commit(self, changes: tuple[Change, ...]) -> None:
        """Store all changes, and the events queued so far, in one synced transaction or not at all.

        Without any change it writes all the same: it raises when the next commit would, as `check` does.
        """
        await self._run(lambda: self._commit(changes))

    def record(self, event: Event) -> None:
        """Queue one event; it is written with the next commit, `flush`, or when a batch is full.

        Never raises: history that cannot be written must not stop what it tells of.
        """
        self._pending.append(event)
        if len(self._pending) % BATCH == 0:
            self._submit(self._flush_or_keep)

    async def flush(self) -> None:
        """Write the queued events."""
        await self._run(self._flush)

    async def history(self, *, key: str = "", limit: int = 100) -> Sequence[Event]:
        """Return the newest events first; `key` is a key or a leading part of one (`home`, `home/machine`)."""
        return await self._run(lambda: self._history(key, limit))

    async def close(self) -> None:
        """Write what is queued and close, even when that write fails; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._run(self._close)
        finally:
            if self._writer:
                self._writer.shutdown(wait=False)

    async def _run(self, job: Callable[[], T]) -> T:
        def mapped() -> T:
            with _failures(self.path):
                return job()

        if self._writer is None:
            return mapped()
        return await asyncio.shield(asyncio.wrap_future(self._writer.submit(mapped)))

    def _submit(self, job: Callable[[], None]) -> None:
        if self._writer:
            self._writer.submit(job)
        else:
            job()

    # Everything below runs on the one thread that owns the connection.

    @property
    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = _open(self.path)
            self._inode = self.path.stat().st_ino if isinstance(self.path, Path) else 0
        return self._opened

    def _load(self) -> Ledger:
        try:
            return _read(self._db, self.path)
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        """Close what is open, so that the next call opens, and judges, what lies there then."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _check(self) -> None:
        db = self._db
        if isinstance(self.path, Path):
            self._check_place(self.path)
        with self._transaction():
            # A write, for a file system that has become read-only has space all the same.
            db.execute("UPDATE probe SET count = count + 1")

    def _check_place(self, path: Path) -> None:
        free = shutil.disk_usage(path.parent).free
        if free < RESERVE:
            raise _unusable(path, f"only {free >> 20} MiB are free on its disk, {RESERVE >> 20} are needed")
        if not path.exists():
            raise _unusable(path, "the file was removed while in use")
        # SQLite would go on in the file that has no name any more, and the next start read the other one.
        if path.stat().st_ino != self._inode:
            self._let_go()
            raise _unusable(path, "the file was replaced while in use; the new one is looked at next")

    def _commit(self, changes: tuple[Change, ...]) -> None:
        if not changes:
            self._check()
        # As many as are queued now: the event loop goes on queueing while this thread writes.
        written = len(self._pending)
        with self._transaction() as db:
            for change in changes:
                _store(db, change)
            db.execute(f"REPLACE INTO tally VALUES (1, {_COUNTED})")  # noqa: S608 - our own three table names
            _store_events(db, list(self._pending)[:written])
        self._forget(written)

    def _flush(self) -> None:
        written = len(self._pending)
        if written:
            with self._transaction() as db:
                _store_events(db, list(self._pending))
            self._forget(written)

    def _flush_or_keep(self) -> None:
        try:
            with _failures(self.path):
                self._flush()
        except Failure:
            return  # the next commit meets the same disk and says so to somebody who can wait

    def _forget(self, count: int) -> None:
        for _ in range(min(count, len(self._pending))):
            self._pending.popleft()

    def _history(self, key: str, limit: int) -> list[Event]:
        self._flush_or_keep()
        rows = self._db.execute(_HISTORY, {"key": key, "limit": limit})
        return [Event(Wall(at), *rest) for at, *rest in rows]

    def _close(self) -> None:
        if self._opened is None:
            return
        try:
            self._flush()
        finally:
            self._let_go()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        # Takes the write lock at once; one that begins with a read may be refused the lock halfway.
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        finally:
            if db.in_transaction:  # a full disk has rolled back by itself, a bug or an I/O error has not
                db.execute("ROLLBACK")


def copy_ledger(source: Path, target: Path) -> None:
    """Copy a ledger as it stands, also while a daemon writes it; an absent one is not made.

    Raises Failure(STATE) when it cannot be read.
    """
    if not source.exists():
        return
    with (
        _failures(source),
        contextlib.closing(_connect(f"{source.absolute().as_uri()}?mode=ro")) as own,
        contextlib.closing(sqlite3.connect(target)) as other,
    ):
        # Not as a file: the newest commits are in its write-ahead log still.
        own.backup(other)


class StateLock:
    """The flock that makes one daemon the only one on a state directory; the kernel drops it with the process."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lock"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock at once or raise Failure(StateUnusable) that names the process which has it."""
        with _failures(self.path):
            # Closed in children: a playbook that outlives the daemon would hold the lock of its successor.
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise Failure(
                Code.STATE,
                f"another cpcd (process {holder}) holds it",
                target=str(self.path.parent),
                hint="Stop that daemon, or give this one a state directory of its own.",
            ) from error
        self._fd = fd
        with contextlib.suppress(OSError):  # the pid is for people; the lock itself needs no space on a full disk
            os.truncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give it back; a second call does nothing. The file stays, since removing it would race with a taker."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def read_ledger(path: Path) -> Ledger:
    """Return the ledger beside a daemon or without one, writing nothing; raises as `SqliteJournal.load` does."""
    with _failures(path):
        db = _connect(f"{path.absolute().as_uri()}?mode=ro")
        try:
            _recognise(db, path)
            return _read(db, path)
        finally:
            db.close()


def _open(path: Path | str) -> sqlite3.Connection:
    """Open the file, which is made first and renamed into place whole: an empty one is always damage (D02).

    One that is there is read to its end first, through a connection that cannot write: damage is left as it is.
    """
    if isinstance(path, Path):
        if path.exists():
            read_ledger(path)
        else:
            _create(path)
    db = _connect(f"{path.absolute().as_uri()}?mode=rw" if isinstance(path, Path) else "file::memory:")
    try:
        if path == ":memory:":
            _lay_out(db)
        _recognise(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(_TALLY)  # ledgers of before it was kept have none
        _add_columns(db)
    except BaseException:
        db.close()
        raise
    return db


def _connect(uri: str) -> sqlite3.Connection:
    # Without an isolation level: the module would begin transactions of its own beside `_transaction`.
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0, check_same_thread=False)


def _create(path: Path) -> None:
    if Path(f"{path}-wal").exists():
        raise _corrupt(path, "the file is gone but its write-ahead log is there")
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    # Before SQLite makes it, which goes by the umask.
    new.touch(0o600)
    db = _connect(f"{new.absolute().as_uri()}?mode=rw")
    try:
        db.execute("PRAGMA synchronous = FULL")
        _lay_out(db)
    finally:
        db.close()
    new.rename(path)
    # The new name itself is durable only then (`failures.md` D02).
    _sync(path.parent)


def _lay_out(db: sqlite3.Connection) -> None:
    db.executescript(
        f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; {_tables(*_ADDED)} COMMIT;"
    )


def _tables(*added: str) -> str:
    return _TABLES.format(added="".join(f", {column}" for column in added))


def _add_columns(db: sqlite3.Connection) -> None:
    known = {row[1] for row in db.execute("PRAGMA table_info(events)")}
    for column in _ADDED:
        if column.split()[0] not in known:
            db.execute(f"ALTER TABLE events ADD COLUMN {column}")


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _recognise(db: sqlite3.Connection, path: Path | str) -> None:
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if application != APPLICATION:
        raise _corrupt(path, "it is empty or not a ledger of cpcd")
    if version > SCHEMA:
        raise _newer(path, version)
    laid_out = {" ".join(row[0].split()) for row in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    known = [{" ".join(sql.split()) for sql in _tables(*added).split(";") if "CREATE" in sql} for added in (_ADDED, ())]
    if not any(laid_out >= tables for tables in known):
        raise _corrupt(path, "its tables are not those of a ledger")  # empty ones of another shape read as no machine


def _read(db: sqlite3.Connection, path: Path | str) -> Ledger:
    problems = [row[0] for row in db.execute("PRAGMA quick_check")]
    if problems != ["ok"]:
        raise _corrupt(path, problems[0])
    if [one for one, _ in db.execute("SELECT id, count FROM probe")] != [1]:
        raise _corrupt(path, "its probe is not its own")  # quick_check skips this on a read-only connection
    if _miscounted(db):
        raise _corrupt(path, "it holds other rows than were stored")
    machines = {Uid(name): machine_of(name, row) for name, row in _rows(db, path, "machines")}
    ops = {OpId(name): op_of(name, row) for name, row in _rows(db, path, "ops")}
    return Ledger(machines, ops, dict(_rows(db, path, "facts")))


def _miscounted(db: sqlite3.Connection) -> bool:
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'tally'").fetchone():
        return False
    return any(kept != now for kept, now in db.execute(f"SELECT rows, {_COUNTED} FROM tally"))  # noqa: S608 - our own tables


def _rows(db: sqlite3.Connection, path: Path | str, table: str) -> Iterator[tuple[str, Any]]:
    for name, version, checksum, row in db.execute(f"SELECT * FROM {table} ORDER BY rowid"):  # noqa: S608 - our own three table names
        if not (isinstance(name, str) and isinstance(version, int) and isinstance(row, str)):
            raise _corrupt(path, f"a row of {table} is of another shape")
        if version > SCHEMA:
            raise _newer(path, version)
        if checksum != zlib.crc32(row.encode()):
            raise _corrupt(path, f"checksum of {table}/{name} does not match")
        yield name, parse(row.encode())


def _store(db: sqlite3.Connection, change: Change) -> None:
    match change:
        case PutMachine(machine):
            _put(db, "machines", machine.uid, asdict(machine))
        case DropMachine(uid):
            db.execute("DELETE FROM machines WHERE id = ?", (uid,))
        case OpenOp(op):
            _put(db, "ops", op.id, op_row(op))
        case SetHandle(op_id, handle):
            found = db.execute("SELECT row FROM ops WHERE id = ?", (op_id,)).fetchone()
            if found is None:
                raise Bug(f"handle {handle} for operation {op_id}, which is not open")
            _put(db, "ops", op_id, op_row(replace(op_of(op_id, json.loads(found[0])), handle=handle)))
        case CloseOp(op_id):
            db.execute("DELETE FROM ops WHERE id = ?", (op_id,))
        case PutFact(name, value):
            _put(db, "facts", name, value)
        case DropFact(name):
            db.execute("DELETE FROM facts WHERE id = ?", (name,))


def _put(db: sqlite3.Connection, table: str, name: str, value: Any) -> None:
    try:
        row = json.dumps(value, allow_nan=False)
        parse(row.encode())  # what could not be read again is not stored
    except (TypeError, ValueError) as error:
        raise Bug(f"{table}/{name} cannot be stored as JSON: {error}") from error
    insert = f"INSERT INTO {table} VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "  # noqa: S608 - our own three table names
    update = "version = excluded.version, sum = excluded.sum, row = excluded.row"
    db.execute(insert + update, (name, SCHEMA, zlib.crc32(row.encode()), row))


def _store_events(db: sqlite3.Connection, events: list[Event]) -> None:
    if events:
        rows = [(e.at, e.key, e.run, e.severity, e.reason, _utf8(e.message), e.code, e.name) for e in events]
        db.executemany(_EVENT, rows)
        db.execute("DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?", (RETAINED_EVENTS,))


def _utf8(text: str) -> str:
    """History may quote anybody: half a character in it must not make the ledger unusable."""
    return text.encode("utf-8", "replace").decode()


@contextmanager
def _failures(path: Path | str) -> Iterator[None]:
    """Map what SQLite, the disk and the decoder say to Failure(StateUnusable)."""
    try:
        yield
    except sqlite3.OperationalError as error:  # full, read-only, I/O error, locked: the disk's or another's doing
        raise _unusable(path, str(error)) from error
    except (sqlite3.Error, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _corrupt(path, f"{type(error).__name__}: {error}") from error
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error


def _unusable(path: Path | str, why: str) -> Failure:
    return Failure(Code.STATE, f"the ledger cannot be written: {why}; nothing is changed", target=str(path))


def _corrupt(path: Path | str, why: str) -> Failure:
    return Failure(
        Code.STATE,
        f"the ledger is corrupt ({words(why)}); it is left as it is and nothing is changed",
        target=str(path),
        hint="Restore the file from a backup; it is taken up by itself. Without one move it away, with its -wal and "
        "-shm: cpcd then asks for consent to take its machines into a new ledger by their marks.",
    )


def _newer(path: Path | str, version: int) -> Failure:
    return Failure(
        Code.STATE,
        f"the ledger has version {version}, this cpcd knows {SCHEMA}",
        target=str(path),
        hint="Run the cpcd that wrote it, or a newer one.",
    )
