"""The view in force: decisions are visible at once, durable on return, and frozen when the journal cannot write."""

import asyncio
from typing import Any

import pytest

from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.loop.interest import Interest
from cpcd.loop.state import State
from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Instant, Key, Kind, OpId, Scope, Wall
from cpcd.model.ledger import Change, CloseOp, DropFact, Op, OpenOp, PutFact
from cpcd.model.seen import Seen
from cpcd.model.view import View
from tests.unit.loop.engine import EPOCH, Disk

LAMP = Key("lab", Kind.MACHINE, "a")
OTHER = Key("lab", Kind.MACHINE, "b")
SCOPE = Scope("vm", "lab", "a")


def state(loop: SimLoop) -> tuple[State, Disk, list[Any]]:
    """Return a state on a disk, and the keys that it woke."""
    clock = SimClock(loop, EPOCH)
    woken: list[Any] = []
    disk = Disk(clock, [])
    made = State(
        journal=disk, clock=clock, tokens=_tokens,
        affected=lambda _change, _view: (LAMP,), stale=_stale, lasting=lambda _scope, value: (value,) if value else (), mint=iter("abcdefgh").__next__,
        interest=Interest(woken.append),
    )  # fmt: skip
    return made, disk, woken


def _tokens(change: Change, _before: View) -> tuple[str, ...]:
    return (f"fact:{change.name}",) if isinstance(change, PutFact | DropFact) else ()


def _stale(change: Change, _before: View) -> tuple[Scope, ...]:
    """What was seen of the lamp is of another one once it is moved."""
    return (SCOPE,) if isinstance(change, PutFact) and change.name == "moved" else ()


def seen(value: Any, *, began: float = 0.0, complete: bool = True) -> dict[Scope, Seen[Any]]:
    """Return an observation of the lamp."""
    return {SCOPE: Seen(value, Instant(began), complete)}


def test_a_commit_is_in_the_view_before_the_journal_has_it() -> None:
    """Guards of other keys see it at once."""

    async def main(loop: SimLoop) -> tuple[Any, bool, Any]:
        made, disk, _ = state(loop)
        task = asyncio.ensure_future(made.commit((PutFact("x", 1),)))
        await asyncio.sleep(0)
        early = made.view.facts.get("x"), "x" in disk.holds.facts
        await task
        return (*early, disk.holds.facts.get("x"))

    assert (1, False, 1) == simulate(main, seed=0)


def test_nobody_is_woken_by_what_is_not_durable_yet() -> None:
    """The key and the token's waiters come when the journal has it."""

    async def main(loop: SimLoop) -> tuple[list[Any], list[Any]]:
        made, _, woken = state(loop)
        made.interest.set("waiter", ["fact:x"])  # type: ignore[arg-type] # any key will do
        task = asyncio.ensure_future(made.commit((PutFact("x", 1),)))
        await asyncio.sleep(0)
        early = list(woken)
        await task
        return early, woken

    assert ([], ["waiter", LAMP]) == simulate(main, seed=0)


def test_a_failed_commit_freezes_everything_after_it() -> None:
    """The next mutation is refused without asking the disk."""

    async def main(loop: SimLoop) -> tuple[list[str], dict[str, Any]]:
        made, disk, _ = state(loop)
        disk.broken = Failure(Code.STATE, "the disk is full", hint="make room")
        with pytest.raises(Failure, match="full"):
            await made.commit((PutFact("x", 1),))
        disk.broken = None
        with pytest.raises(Failure, match="full"):
            await made.commit((PutFact("y", 1),))
        with pytest.raises(Failure) as refused:
            made.refuse_when_frozen()
        return [refused.value.what, refused.value.hint], dict(disk.holds.facts)

    assert (["nothing is changed: the disk is full", "make room"], {}) == simulate(main, seed=0)


def test_a_failed_commit_wakes_nobody() -> None:
    """What did not happen is no news."""

    async def main(loop: SimLoop) -> list[Any]:
        made, disk, woken = state(loop)
        disk.broken = Failure(Code.STATE, "the disk is full")
        with pytest.raises(Failure):
            await made.commit((PutFact("x", 1),))
        return woken

    assert [] == simulate(main, seed=0)


def test_a_thaw_takes_the_journals_truth() -> None:
    """What was shown but never stored is gone; what is stored is there."""

    async def main(loop: SimLoop) -> tuple[dict[str, Any], Failure | None]:
        made, disk, _ = state(loop)
        await made.commit((PutFact("kept", 1),))
        disk.broken = Failure(Code.STATE, "the disk is full")
        with pytest.raises(Failure):
            await made.commit((PutFact("lost", 1), DropFact("kept")))
        disk.broken = None
        await made.thaw()
        return dict(made.view.facts), made.frozen

    assert ({"kept": 1}, None) == simulate(main, seed=0)


def test_a_thaw_that_fails_stays_frozen() -> None:
    """Ours is not put in the place of what could not be read."""

    async def main(loop: SimLoop) -> tuple[Any, bool]:
        made, disk, _ = state(loop)
        disk.broken = Failure(Code.STATE, "the disk is full")
        with pytest.raises(Failure):
            await made.commit((PutFact("x", 1),))
        with pytest.raises(Failure):
            await made.thaw()
        return made.view.facts.get("x"), made.frozen is None

    assert (1, False) == simulate(main, seed=0)


def test_concurrent_commits_all_reach_the_disk_and_the_view() -> None:
    """Neither overwrites the other."""

    async def main(loop: SimLoop) -> tuple[dict[str, Any], dict[str, Any]]:
        made, disk, _ = state(loop)
        await asyncio.gather(*(made.commit((PutFact(f"f{n}", n),)) for n in range(5)))
        return dict(made.view.facts), dict(disk.holds.facts)

    view, disk = simulate(main, seed=3)

    assert {f"f{n}": n for n in range(5)} == view == disk


def test_an_observation_wakes_when_its_meaning_changed_and_only_then() -> None:
    """A later reading of the same is no news; unknown is."""

    async def main(loop: SimLoop) -> list[int]:
        made, _, woken = state(loop)
        made.interest.set(LAMP, [str(SCOPE)])
        counts = []
        lost = seen(None, complete=False, began=5)
        for news in (seen(1), seen(1, began=5), seen(2, began=5), lost, seen(2, began=6), seen(2, began=6)):
            made.observe(news)
            counts.append(len(woken))
        return counts

    assert [1, 1, 2, 3, 4, 4] == simulate(main, seed=0)


def test_a_slow_reading_does_not_undo_a_later_one() -> None:
    """Two passes read the same API or the same members: who began first and ended last knows less."""

    async def main(loop: SimLoop) -> tuple[Any, int]:
        made, _, woken = state(loop)
        made.interest.set(LAMP, [str(SCOPE)])
        for news in (seen("later", began=7), seen("earlier", began=6), seen(None, complete=False, began=5)):
            made.observe(news)
        return made.view.known(SCOPE), len(woken)

    assert ("later", 1) == simulate(main, seed=0)


def test_ones_own_reads_and_commits_wake_only_the_others() -> None:
    """They are decided on in the pass that makes them."""

    async def main(loop: SimLoop) -> list[Any]:
        made, _, woken = state(loop)
        for key in (LAMP, OTHER):
            made.interest.set(key, [str(SCOPE), "fact:x"])
        made.observe(seen(1), by=LAMP)
        await made.commit((PutFact("x", 1),), by=LAMP)
        return woken

    assert [OTHER, OTHER] == simulate(main, seed=0)


def test_a_view_never_changes() -> None:
    """Who holds one decides on one moment."""

    async def main(loop: SimLoop) -> tuple[Any, Any]:
        made, _, _ = state(loop)
        old = made.view
        await made.commit((PutFact("x", 1),))
        made.observe(seen(1))
        return old.facts.get("x"), old.known(SCOPE)

    assert (None, None) == simulate(main, seed=0)


def test_every_view_has_the_time_and_an_id_of_its_own() -> None:
    """Two rows are never minted from one id."""

    async def main(loop: SimLoop) -> tuple[Any, Any]:
        made, _, _ = state(loop)
        loop.advance(5)
        return made.view.wall - EPOCH, (made.view.fresh, made.view.fresh)

    assert (5.0, (("b",), ("c",))) == simulate(main, seed=0)


def test_a_wait_keeps_its_beginning_until_another_reason_comes() -> None:
    """Time-outs count from the first sight of one and the same reason."""

    async def main(loop: SimLoop) -> dict[str, float]:
        made, _, _ = state(loop)
        made.mark(LAMP, "Booting")
        loop.advance(5)
        made.mark(LAMP, "Booting")
        first = dict(made.view.since)
        made.stamp(LAMP, "drain")
        made.mark(LAMP, "Draining")
        return {**first, **made.view.since}

    wanted = {f"{LAMP}/Booting": EPOCH, f"{LAMP}/drain": EPOCH + 5, f"{LAMP}/Draining": EPOCH + 5}
    assert wanted == simulate(main, seed=0)


def test_waits_of_one_pass_are_timed_each_by_itself() -> None:
    """What a guard waits for may change and end; what its step is for goes on."""

    async def main(loop: SimLoop) -> dict[str, float]:
        made, _, _ = state(loop)
        for reasons in (("Silent",), ("Queued", "Silent"), ("AwaitingApproval", "Silent"), ("Silent",)):
            made.mark(LAMP, *reasons)
            loop.advance(5)
        made.mark(LAMP, "Silent", "Queued")
        return {name: at - EPOCH for name, at in made.view.since.items()}

    assert {f"{LAMP}/Silent": 0.0, f"{LAMP}/Queued": 20.0} == simulate(main, seed=0)


def test_what_lasts_is_timed_from_its_first_sight() -> None:
    """As long as it is seen, and while nobody can see; when it has ended it begins anew, and nothing is kept of it."""

    async def main(loop: SimLoop) -> tuple[dict[str, float], ...]:
        made, _, _ = state(loop)
        found = []
        for value, complete in (
            ("ill", True),
            ("ill", True),
            (None, False),
            ("ill", True),
            (None, True),
            ("ill", True),
        ):
            made.observe(seen(value, began=loop.time(), complete=complete))
            found.append({name: at - EPOCH for name, at in made.view.since.items()})
            loop.advance(5)
        return tuple(found)

    first, later = {"ill": 0.0}, {"ill": 25.0}
    assert (first, first, first, first, {}, later) == simulate(main, seed=0)


def test_what_is_no_more_keeps_no_wait_and_its_neighbours_keep_theirs() -> None:
    """Whoever comes under its key again waits from the beginning; a longer name is another object."""
    longer = Key(LAMP.cluster, LAMP.kind, f"{LAMP.name}b")

    async def main(loop: SimLoop) -> list[dict[str, float]]:
        made, _, _ = state(loop)
        for key in (LAMP, OTHER, longer):
            made.mark(key, "Booting")
        made.stamp(LAMP, "drain")
        loop.advance(5)
        made.forget(LAMP)
        kept = {name: at - EPOCH for name, at in made.view.since.items()}
        made.mark(LAMP, "Booting")
        return [kept, {name: at - EPOCH for name, at in made.view.since.items()}]

    others = {f"{OTHER}/Booting": 0.0, f"{longer}/Booting": 0.0}
    assert [others, {**others, f"{LAMP}/Booting": 5.0}] == simulate(main, seed=0)


def test_what_a_change_makes_stale_is_unknown_at_once_and_timed_anew() -> None:
    """Nobody may decide on another's evidence, nor count its time: not even before the change is on the disk."""

    async def main(loop: SimLoop) -> tuple[Any, ...]:
        made, _, _ = state(loop)
        made.observe(seen("ill"))
        before = len(made.view.since)
        task = asyncio.ensure_future(made.commit((PutFact("moved", 1),)))
        await asyncio.sleep(0)
        early = made.view.known(SCOPE), len(made.view.since)
        await task
        loop.advance(5)
        made.observe(seen("ill"))
        return before, early, made.view.known(SCOPE), {name: at - EPOCH for name, at in made.view.since.items()}

    before, early, known, since = simulate(main, seed=0)

    assert (1, (None, 0), "ill") == (before, early, known)
    assert {"ill": pytest.approx(5.0, abs=0.1)} == since


def test_an_op_is_as_old_as_this_daemon_has_known_it() -> None:
    """Not as its wall time says; one that was set aside and is open again has all of its time again (D12)."""
    op = Op(OpId("op-1"), LAMP, "switch", SCOPE, Wall(EPOCH - 1_000_000))

    async def main(loop: SimLoop) -> list[float]:
        made, _, _ = state(loop)
        ages = [made.age(op)]
        loop.advance(30)
        ages.append(made.age(op))
        await made.commit((CloseOp(op.id),))
        await made.commit((OpenOp(op),))
        return [*ages, made.age(op)]

    assert [0.0, 30.0, 0.0] == simulate(main, seed=0)
