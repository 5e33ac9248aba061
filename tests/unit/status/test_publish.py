"""One exit: board, metrics and history get the same pass."""

from cpcd.adapters.journal import SqliteJournal
from cpcd.model.report import Outcome
from cpcd.status import Board, Metrics, Publisher
from tests.unit.status.scene import NOW, W1, done, key

KEY = key(W1)


class Clock:
    """A clock that stands still."""

    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


async def test_a_pass_comes_out_everywhere_and_a_repetition_nowhere_twice() -> None:
    """Two equal looks leave one event, two counts and one report."""
    board, metrics, journal = Board(), Metrics(), SqliteJournal(":memory:", threaded=False)
    publish = Publisher(board=board, metrics=metrics, journal=journal, clock=Clock())
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
    publish = Publisher(board=board, metrics=Metrics(), journal=journal, clock=Clock())
    publish(done(KEY))
    publish(done(KEY, sentence="it is no more", reason="Gone"))
    events = await journal.history()
    await journal.close()

    assert ({}, ["Gone", "Settled"]) == (board.objects, [event.reason for event in events])
