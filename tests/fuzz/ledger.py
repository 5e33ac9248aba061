"""The ledger's file: flipped bytes, cut and foreign files, rows of another shape, a damaged log beside it.

What is read is what was stored or a Failure: never an empty ledger, never another one; a file that was refused lies
there as it was.
"""

import contextlib
import functools
import json
import random
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from cpcd.adapters.journal import SqliteJournal, read_ledger
from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Key, Kind, OpId, Role, Scope, Uid, Wall
from cpcd.model.ledger import Change, CloseOp, Ledger, Machine, Op, OpenOp, PutFact, PutMachine
from tests.fuzz import mutate
from tests.fuzz.seeds import now
from tests.fuzz.shapes import conforms, demand, judge

__all__ = ["Case", "check", "make", "stored"]

MEMORY: Final = Path("/dev/shm")
TABLES: Final = ("machines", "ops", "facts")


@dataclass(frozen=True, slots=True)
class Case:
    """A damage: of the file's bytes, of the log's, or a statement that changes rows; `told` describes it."""

    told: str
    file: bytes
    log: bytes | None
    reshaped: bool


def _machine(number: int) -> Machine:
    return Machine(
        Uid(f"u{number}"), "home", Role.CONTROL_PLANE if number < 3 else Role.WORKER, "general", number, f"home-{number}",
        "pve", "pve1", 300 + number, f"10.0.0.{number}", 9000, "pve1", "rev", Wall(1.5), started=True,
    )  # fmt: skip


def _changes() -> tuple[Change, ...]:
    key, vm = Key("home", Kind.MACHINE, "u1"), Scope("vm", "pve", "301")
    op = Op(OpId("op1"), key, "clone", vm, Wall(2.5), {"upids": ["UPID:1"]}, Role.WORKER, ("clone:pve1",), "UPID:2")
    facts = (
        PutFact("installation", "inst"),
        PutFact("vmid/pve/300", None),
        PutFact("spec/last-good", {"files": {"a": "x" * 9000}}),
    )
    return (
        *(PutMachine(_machine(number)) for number in range(12)),
        OpenOp(op),
        OpenOp(replace(op, id=OpId("op2"))),
        *facts,
    )


@functools.cache
def _place() -> Path:
    """A directory of this process in memory, where a file costs nothing; removed when the interpreter ends."""
    kept = tempfile.TemporaryDirectory(prefix="cpcd-fuzz-", dir=MEMORY if MEMORY.is_dir() else None)
    _KEPT.append(kept)
    return Path(kept.name)


_KEPT: Final[list[Any]] = []  # held until exit, so that the directory is


@functools.cache
def stored() -> tuple[bytes, bytes, tuple[Ledger, ...]]:
    """Return a closed ledger's bytes, the log of one that was killed after two more commits, and all its states."""
    path = _place() / "seed.db"
    journal = SqliteJournal(path, threaded=False)
    now(journal.load())
    now(journal.commit(_changes()))
    now(journal.close())
    closed, states = path.read_bytes(), [read_ledger(path)]
    journal = SqliteJournal(path, threaded=False)
    now(journal.load())
    for change in (PutFact("later", 1), CloseOp(OpId("op2"))):
        now(journal.commit((change,)))
        states.append(states[-1].after((change,)))
    log = Path(f"{path}-wal").read_bytes()
    now(journal.close())
    return closed, log, tuple(states)


def make(rng: random.Random) -> Case:
    """Return one damaged ledger."""
    file, log, _ = stored()
    match rng.randrange(10):
        case 0 | 1 | 2:
            return Case("bytes", mutate.bytes_of(rng, file), None, reshaped=False)
        case 3:
            return Case("page", _torn(rng, file), None, reshaped=False)
        case 4:
            return Case("log", file, mutate.bytes_of(rng, log), reshaped=False)
        case 5:
            return Case("both", _torn(rng, file), log, reshaped=False)
        case 6:
            return Case("foreign", rng.choice(_foreign()), None, reshaped=False)
        case _:
            return _reshaped(rng, file)


def _torn(rng: random.Random, file: bytes) -> bytes:
    """Overwrite, swap or lose whole pieces, as a disk does."""
    size = rng.choice((512, 4096))
    pieces = [file[at : at + size] for at in range(0, len(file), size)]
    at, to = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    match rng.randrange(5):
        case 0:
            pieces[at] = bytes(size)
        case 1:
            pieces[at] = rng.randbytes(size)
        case 2:
            pieces[at] = pieces[to]
        case 3:
            pieces[at], pieces[to] = pieces[to], pieces[at]
        case _:
            del pieces[at:]
    return b"".join(pieces)


@functools.cache
def _foreign() -> tuple[bytes, ...]:
    def made(*statements: str) -> bytes:
        path = _place() / "foreign.db"
        with contextlib.closing(sqlite3.connect(path)) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()
        content = path.read_bytes()
        path.unlink()
        return content

    ours = ("PRAGMA application_id = 0x43504344", "PRAGMA user_version = 1")
    views = tuple(f"CREATE VIEW {name} AS SELECT 'a' id, 1 version, 0 sum, '' row" for name in TABLES)
    return (
        b"", b"\0" * 4096, b"SQLite format 3\0", b"not a database" * 400, made("CREATE TABLE t (a)"),
        made(ours[0], "CREATE TABLE t (a)"), made(*ours), made(*ours, *views), made(ours[0], "PRAGMA user_version = 9"),
        made(*ours, *(f"CREATE TABLE {name} (id)" for name in TABLES)),
        made(*ours, *(f"CREATE TABLE {name} (a, b, c, d, e)" for name in TABLES)),
    )  # fmt: skip


def _reshaped(rng: random.Random, file: bytes) -> Case:
    """Store a row of another shape, with a right checksum: as another program, or a cpcd of another day, would."""
    path = _place() / "reshaped.db"
    path.write_bytes(file)
    table = rng.choice(TABLES)
    with contextlib.closing(sqlite3.connect(path)) as db:
        name, _, _, text = rng.choice(db.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608 - our own tables
        value = mutate.tree(rng, json.loads(text))
        row: Any = mutate.encoded(rng, value)
        version, checksum = rng.choice((1, 1, 1, 1, 2, None, "one", -1)), zlib.crc32(row)
        with contextlib.suppress(UnicodeDecodeError):
            row = row.decode() if mutate.chance(rng, 0.95) else row
        new_name = name if mutate.chance(rng, 0.9) else rng.choice((None, 7, b"\xff", "", "other"))
        values = (new_name, version, checksum if mutate.chance(rng, 0.95) else None, row, name)
        with contextlib.suppress(sqlite3.Error, OverflowError):
            db.execute("PRAGMA ignore_check_constraints = 1")
            db.execute(f"UPDATE {table} SET id = ?, version = ?, sum = ?, row = ? WHERE id = ?", values)  # noqa: S608 - our own tables
        db.commit()
    content = path.read_bytes()
    path.unlink()
    return Case(f"row of {table}: {values!r}"[:400], content, None, reshaped=True)


def check(case: Case) -> None:
    """Read it both ways, beside a daemon and as one."""
    path = _place() / "ledger.db"
    for read in (read_ledger, _loaded):
        _clear(path)
        path.write_bytes(case.file)
        if case.log is not None:
            Path(f"{path}-wal").write_bytes(case.log)
        _judge(case, path, read)
    _clear(path)


def _judge(case: Case, path: Path, read: Callable[[Path], Ledger]) -> None:
    try:
        found = read(path)
    except Failure as failure:
        judge(failure)
        demand(failure.code is Code.STATE, "damage is reported as something else")
        demand(path.read_bytes() == case.file, "a refused ledger was changed")
        return
    demand(
        all(conforms(row, Machine) for row in found.machines.values()), "a row of another shape is taken as a machine"
    )
    demand(all(conforms(op, Op) for op in found.ops.values()), "a row of another shape is taken as an operation")
    demand(all(uid == row.uid for uid, row in found.machines.items()), "a row is another machine's")
    demand(all(name == op.id for name, op in found.ops.items()), "a row is another operation's")
    if not case.reshaped:
        states = stored()[2] if case.log is not None else stored()[2][:1]
        demand(any(asdict(found) == asdict(state) for state in states), "a damaged ledger is read as another one")


def _loaded(path: Path) -> Ledger:
    journal = SqliteJournal(path, threaded=False)
    try:
        return now(journal.load())
    finally:
        with contextlib.suppress(Failure):
            now(journal.close())


def _clear(path: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        shutil.rmtree(one) if one.is_dir() else one.unlink()
