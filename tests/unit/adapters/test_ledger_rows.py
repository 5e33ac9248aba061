"""Rows of another shape, and rows that are missing: a ledger that is not as it was stored is not read."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from cpcd.adapters.journal import SqliteJournal, read_ledger
from cpcd.model.errors import Bug, Code, Failure
from cpcd.model.keys import Key, Kind, OpId, Role, Scope, Uid, Wall
from cpcd.model.ledger import Event, Machine, Op, OpenOp, PutFact, PutMachine

ROW = Machine(
    Uid("u1"), "home", Role.WORKER, "general", 1, "home-1", "pve", "pve1", 301, "10.0.0.1", 9000, "pve1", "rev", Wall(1.5)
)  # fmt: skip
OP = Op(OpId("op1"), Key("home", Kind.MACHINE, "u1"), "clone", Scope("vm", "pve", "301"), Wall(2.5), slots=("a",))


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A ledger of one machine, one operation and a fact, closed."""
    place = tmp_path / "ledger.db"
    journal = SqliteJournal(place, threaded=False)
    await journal.load()
    await journal.commit((PutMachine(ROW), OpenOp(OP), PutFact("a", 1)))
    await journal.close()
    return place


def altered(path: Path, *statements: str) -> str:
    """Return why a ledger is refused after these statements, "" when it is read."""
    with closing(sqlite3.connect(path)) as db:
        db.create_function("crc", 1, lambda row: zlib.crc32(row.encode()))
        for statement in statements:
            db.execute(statement)
        db.commit()
    try:
        read_ledger(path)
    except Failure as failure:
        return f"{failure.code} {failure.what}"
    return ""


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("machines", '"vmid": 301', '"vmid": "301"'), ("machines", '"vmid": 301', '"vmid": true'),
        ("machines", '"started": false', '"started": 0'), ("machines", '"created": 1.5', '"created": "now"'),
        ("machines", '"created": 1.5', '"created": NaN'), ("machines", '"role": "worker"', '"role": "king"'),
        ("machines", '"uid": "u1"', '"uid": "u2"'), ("machines", '"name": "home-1"', '"surname": "home-1"'),
        ("ops", '"slots": ["a"]', '"slots": "a"'), ("ops", '"slots": ["a"]', '"slots": [1]'),
        ("ops", '"handle": null', '"handle": 7'), ("ops", '"kind": "machine"', '"kind": "king"'),
        ("ops", '"owner": "pve"', '"owner": null'), ("ops", '"id": "op1"', '"id": "op2"'),
    ],
)  # fmt: skip
def test_a_row_of_another_shape_is_refused_though_its_checksum_is_right(
    path: Path, table: str, old: str, new: str
) -> None:
    """A checksum only says that somebody wrote it."""
    change, count = f"UPDATE {table} SET row = replace(row, '{old}', '{new}')", f"UPDATE {table} SET sum = crc(row)"  # noqa: S608 - the tables above

    why = altered(path, change, count)

    assert f"{Code.STATE} the ledger is corrupt" in why


@pytest.mark.parametrize("table", ["machines", "ops", "facts"])
def test_a_table_that_has_lost_its_rows_is_never_read_as_empty(path: Path, table: str) -> None:
    """As after a page that the disk put elsewhere: sound by itself, and not what was stored."""
    assert "it holds other rows than were stored" in altered(path, f"DELETE FROM {table}")  # noqa: S608 - the tables above


def test_tables_of_another_shape_are_never_read_as_empty(path: Path) -> None:
    """An empty table has no row whose checksum could be wrong."""
    assert "its tables are not those of a ledger" in altered(path, "DROP TABLE ops", "CREATE TABLE ops (id)")


async def test_a_ledger_of_before_rows_were_counted_is_read_and_counted_from_then_on(path: Path) -> None:
    """It is no damage to have been written by an older cpcd."""
    assert "" == altered(path, "DROP TABLE tally")
    journal = SqliteJournal(path, threaded=False)
    await journal.load()
    await journal.commit((PutFact("b", 2),))
    await journal.close()

    assert "it holds other rows than were stored" in altered(path, "DELETE FROM machines")


def test_a_row_that_lacks_what_came_later_has_its_default(path: Path) -> None:
    """`strikes` was not always there."""
    changed = "UPDATE machines SET row = replace(row, ', \"strikes\": 0', '')"

    assert "" == altered(path, "DROP TABLE tally", changed, "UPDATE machines SET sum = crc(row)")
    assert {"u1": ROW} == read_ledger(path).machines


async def test_history_that_quotes_half_a_character_does_not_make_the_ledger_unusable(path: Path) -> None:
    """Proxmox's words are other people's words."""
    journal = SqliteJournal(path, threaded=False)
    await journal.load()
    journal.record(Event(Wall(1), "home/machine/u1", "r", "Warning", "Failed", "half \ud800 a character"))
    await journal.flush()

    assert ["half ? a character"] == [event.message for event in await journal.history()]
    await journal.close()


async def test_what_could_not_be_read_again_is_not_stored(path: Path) -> None:
    """Else the next start would meet a corrupt ledger."""
    journal = SqliteJournal(path, threaded=False)
    await journal.load()
    with pytest.raises(Bug, match="cannot be stored"):
        await journal.commit((PutFact("c", "half \ud800"),))
    await journal.close()
