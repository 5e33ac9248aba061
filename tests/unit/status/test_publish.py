"""One exit: board, metrics and history get the same pass."""

import asyncio

from cpcd.adapters.journal import SqliteJournal
from cpcd.model.errors import Unreachable
from cpcd.model.report import Outcome
from cpcd.status import Board, Metrics, Publisher
from tests.unit.status.scene import NOW, W1, W2, done, down, key, view

KEY = key(W1)


class Clock:
    """A clock that stands still."""

    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        raise AssertionError(seconds)


async def test_a_pass_comes_out_everywhere_and_a_repetition_nowhere_twice() -> None:
    """Two equal looks leave one event, two counts and one report."""
    board, metrics, journal = Board(), Metrics(), SqliteJournal(":memory:", threaded=False)
    publish = Publisher(board=board, metrics=metrics, journal=journal, clock=Clock(), view=view)
    for _ in range(2):
        publish(done(KEY, Outcome.WAITING, "booting", reason="Booting"))
    events = await journal.history()
    await journal.close()

    assert ["booting"] == [event.message for event in events]
    assert "booting" == board.objects[KEY].last.sentence
    assert b'cpcd_reconcile_total{kind="machine",result="waiting"} 2.0' in metrics.render()


async def test_an_object_that_is_no_more_leaves_the_board_but_not_the_history() -> None:
    """The loop's `Gone` is the last word about a key."""
    board, journal = Board(), SqliteJournal(":memory:", threaded=False)
    publish = Publisher(board=board, metrics=Metrics(), journal=journal, clock=Clock(), view=view)
    publish(done(KEY))
    publish(done(KEY, sentence="it is no more", reason="Gone"))
    events = await journal.history()
    await journal.close()

    assert ({}, ["Gone", "Settled"]) == (board.objects, [event.reason for event in events])


async def test_an_outage_is_told_once_whatever_needs_the_endpoint() -> None:
    """Two machines wait for Proxmox and two for the API: one event a silence, and none when they are as before."""
    board, journal, name = Board(), SqliteJournal(":memory:", threaded=False), "pve:home"
    publish = Publisher(board=board, metrics=Metrics(), journal=journal, clock=Clock(), view=view)
    silent = [down("pve:home")["pve:home"], down("kube:home")["kube:home"]]
    for machine in (W1, W2):
        publish(done(key(machine), sentence="as wanted"))
    for endpoint in silent:
        publish.endpoint(None, endpoint, ["home"], "r-2")
    for machine in (W1, W2):
        publish(done(key(machine), Outcome.FAILED, "no answer", failure=Unreachable(name, "no answer"), next_in=None))
        publish(done(key(machine), Outcome.WAITING, "its Node cannot be read", reason="NodeUnknown", next_in=10))
        publish(done(key(machine), sentence="as wanted"))
    events = await journal.history()
    await journal.close()

    assert ["EndpointDown", "EndpointDown", "Settled", "Settled"] == [event.reason for event in events]


async def test_what_is_gone_keeps_the_name_that_people_knew() -> None:
    """The row is dropped before the last pass; history does not fall back to a uid."""
    rows, journal = [view()], SqliteJournal(":memory:", threaded=False)
    publish = Publisher(board=Board(), metrics=Metrics(), journal=journal, clock=Clock(), view=lambda: rows[-1])
    publish(done(KEY))
    rows.append(view(W2))
    publish(done(KEY, sentence="it is no more", reason="Gone"))
    events = await journal.history()
    await journal.close()

    assert {W1.name} == {event.name for event in events}
