"""The queue against a naive model: never twice at once, one more pass for any number of adds, earliest date wins."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.loop.queue import Queue

KEYS = st.sampled_from("abcd")
SECONDS = st.sampled_from((0.0, 1.0, 2.0, 5.0, 5.0, 30.0))


@dataclass
class Model:
    """What the queue promises, written for clarity alone: a list, a set and a dictionary of dates."""

    dirty: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    due: dict[str, tuple[float, int]] = field(default_factory=dict)
    dated: int = 0

    def add(self, key: str, *, front: bool) -> None:
        self.due.pop(key, None)
        if front and key in self.dirty:
            self.dirty.remove(key)
        if key not in self.dirty:
            self.dirty.insert(0 if front else len(self.dirty), key)

    def add_at(self, key: str, at: float) -> None:
        if key not in self.dirty and (key not in self.due or at < self.due[key][0]):
            self.dated += 1
            self.due[key] = (at, self.dated)

    def take(self, now: float) -> str | None:
        for key, (at, _) in sorted(self.due.items(), key=lambda item: item[1]):
            if at <= now:
                self.add(key, front=False)
        free = next((key for key in self.dirty if key not in self.running), None)
        if free is not None:
            self.dirty.remove(free)
            self.running.add(free)
        return free


class QueueMachine(RuleBasedStateMachine):
    """Drives both with the same calls."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SimLoop(0)
        self.clock = SimClock(self.loop, 0.0)
        self.queue: Queue[str] = Queue(self.clock)
        self.model = Model()

    @rule(key=KEYS, front=st.booleans())
    def add(self, key: str, front: bool) -> None:
        self.queue.add(key, front=front)
        self.model.add(key, front=front)

    @rule(key=KEYS, seconds=SECONDS)
    def add_after(self, key: str, seconds: float) -> None:
        self.queue.add_after(key, seconds)
        self.model.add_at(key, self.clock.now() + seconds)

    @rule(seconds=SECONDS)
    def let_time_pass(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule()
    def take(self) -> None:
        assert self.model.take(self.clock.now()) == self.queue.take()

    @precondition(lambda self: self.model.running)
    @rule(choice=st.randoms(use_true_random=False))
    def finish(self, choice: object) -> None:
        key = choice.choice(sorted(self.model.running))  # type: ignore[attr-defined] # a random.Random
        self.queue.done(key)
        self.model.running.remove(key)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.model.due.pop(key, None)
        if key in self.model.dirty:
            self.model.dirty.remove(key)

    @invariant()
    def counts_agree(self) -> None:
        assert (len(self.model.dirty), len(self.model.due)) == (self.queue.depth(), self.queue.waiting())

    def teardown(self) -> None:
        self.loop.close()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


async def got(queue: Queue[str], patience: float = 1000) -> str:
    """Wait for the next key."""
    while (key := queue.take()) is None:
        await queue.news(patience)
    return key


def test_news_come_at_the_earliest_date() -> None:
    """No polling: time stands at the date when the key comes."""

    async def main(loop: SimLoop) -> list[tuple[str, float]]:
        queue: Queue[str] = Queue(SimClock(loop, 0))
        queue.add_after("late", 20)
        queue.add_after("early", 5)
        queue.add_after("late", 10)
        queue.add_after("late", 30)
        return [(await got(queue), loop.time()) for _ in range(2)]

    assert [("early", 5.0), ("late", 10.0)] == simulate(main, seed=0)


def test_a_key_added_while_nobody_is_due_comes_at_once() -> None:
    """News ends the nap."""

    async def main(loop: SimLoop) -> tuple[str, float]:
        queue: Queue[str] = Queue(SimClock(loop, 0))
        queue.add_after("late", 100)
        loop.call_later(3, queue.add, "now")
        return await got(queue), loop.time()

    assert ("now", 3.0) == simulate(main, seed=0)


def test_a_wait_for_news_has_an_end() -> None:
    """Whoever waits can say that it is alive; with patience left over it is the date that ends the wait."""

    async def main(loop: SimLoop) -> list[float]:
        queue: Queue[str] = Queue(SimClock(loop, 0))
        ends = []
        for patience in (5, 5, 100):
            queue.add_after("late", 30)
            await queue.news(patience)
            ends.append(loop.time())
        return ends

    assert [5.0, 10.0, 30.0] == simulate(main, seed=0)


def test_a_key_made_dirty_while_it_runs_comes_once_more_when_it_is_done() -> None:
    """However often it was added meanwhile."""

    async def main(loop: SimLoop) -> tuple[float, int]:
        queue: Queue[str] = Queue(SimClock(loop, 0))
        queue.add("a")
        queue.take()
        for _ in range(3):
            queue.add("a")
        loop.call_later(7, queue.done, "a")
        await got(queue)
        queue.done("a")
        return loop.time(), queue.depth()

    assert (7.0, 0) == simulate(main, seed=0)


def test_the_oldest_dirty_key_tells_how_long_the_queue_lags() -> None:
    """A key that was added again keeps its age."""

    async def main(loop: SimLoop) -> tuple[float, float]:
        queue: Queue[str] = Queue(SimClock(loop, 0))
        empty = queue.oldest()
        queue.add("a")
        loop.advance(4)
        queue.add("a")
        queue.add("b")
        return empty, queue.oldest()

    assert (0.0, 4.0) == simulate(main, seed=0)


def test_what_is_due_while_every_place_is_taken_makes_no_wait_empty() -> None:
    """Whoever may take nothing waits for the end of a pass, and not again and again for no time at all."""

    async def main(loop: SimLoop) -> float:
        clock = SimClock(loop, 0.0)
        queue: Queue[str] = Queue(clock)
        queue.add_after("late", 1.0)
        await clock.sleep(2.0)
        began = clock.now()
        await queue.news(5.0)
        return clock.now() - began

    assert 5.0 == simulate(main, seed=0)
