"""Each invariant can fail: a bug is planted in the daemon, and the invariant that guards against it names itself.

One house is built; each bug is planted in a branch of it, on which only that invariant watches.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import structlog

from cpcd.adapters.proxmox import Slots
from cpcd.lab.simloop import SimLoop, simulate
from cpcd.model.ledger import PutFact
from cpcd.plan import alloc, effects, fields, fleet, guards, kubeadm, retire
from cpcd.reconcilers import kubeconfig, machine
from cpcd.sources.reading import Reader
from tests.sim import paths
from tests.sim.branches import Branches, Outcome
from tests.sim.play import Play, quieted, workshop
from tests.sim.stories import BUILT, PATHS, Edit, Story, text
from tests.sim.watch import INVARIANTS, Watch


@dataclass(frozen=True, slots=True)
class Bug:
    """What is planted, and the edit that brings it out; `waits` for three resyncs over the settled house."""

    plant: Callable[[Play], Any]
    edit: str = text(workers=4)
    waits: bool = False


class Forgetful(set[Any]):
    """A set that forgets at once."""

    def __contains__(self, _key: object) -> bool:
        return False


def forgets_what_runs(play: Play) -> None:
    """The queue gives out a key that runs."""
    play.house.daemon.queue._running = Forgetful()  # type: ignore[union-attr]


def clones_twice(_: Play) -> None:
    """A clone that seems slow is sent again, under another VMID."""
    apply = machine.apply

    async def eager(action: Any, ports: Any, op: Any) -> Any:
        handle = await apply(action, ports, op)
        if isinstance(action, effects.Clone):
            await apply(replace(action, row=replace(action.row, vmid=action.row.vmid + 50)), ports, op)
        return handle

    machine.apply = eager


def forgets_too_early(_: Play) -> None:
    """A row goes while its VM is still there."""
    retire._vanish = lambda case, _vm: retire._step(effects.Forget(key=case.key, row=case.row))


def trusts_the_vmid(play: Play) -> None:
    """Marks are not compared; meanwhile somebody has put a VM of their own where one of ours was."""
    fields.ours = lambda *_: True
    vmid = next(vmid for vmid, vm in play.house.world.pve.vms.items() if vm.name == "demo-general-2")
    node = play.house.world.pve.vms[vmid].node
    play.house.world.pve.delete_vm(vmid)
    play.house.plant(vmid, node, "theirs", running=True)


def without(*missing: Any) -> Callable[[Play], None]:
    """Guards are missing."""

    def plant(play: Play) -> None:
        runner = play.house.daemon.dispatcher._runner  # type: ignore[union-attr]
        runner._guards = tuple(one for one in guards.GUARDS if one not in missing)

    return plant


def writes_at_once(_: Play) -> None:
    """Nobody waits for a slot of a node."""
    Slots.send = lambda self, request: self._inner.send(request)


def spends_quorum(play: Play) -> None:
    """The quorum's guard is missing, and the permits too; one control plane has lost its network."""
    without(guards.etcd_quorum, guards.permits)(play)
    vmid = next(vmid for vmid, vm in play.house.world.pve.vms.items() if vm.name == "demo-cp-3")
    play.house.world.guests[vmid].unplug()


def decides_on_old_news(_: Play) -> None:
    """A VM that was seen once is not read again."""
    read = Reader.__call__

    async def lazy(reader: Reader, scope: Any) -> Any:
        known = reader._view().bulk.get(scope) if scope.kind == "vm" else None
        return known if known is not None and known.value.exists else await read(reader, scope)

    Reader.__call__ = lazy  # type: ignore[method-assign]


def announces_nothing(_: Play) -> None:
    """A start is taken for something that can be repeated."""
    effects.Start.once = False


async def paused(play: Play) -> None:
    """The pause's guard is missing."""
    without(guards.paused)(play)
    await play.house.daemon.state.commit((PutFact("paused/demo", 1.0),))  # type: ignore[union-attr]


def logs_what_it_joins_with(_: Play) -> None:
    """The join's configuration is logged."""
    config = kubeadm.join_config

    def chatty(cluster: Any, row: Any, secrets: Any) -> str:
        made = config(cluster, row, secrets)
        structlog.get_logger().debug("joining", config=made)
        return made

    kubeadm.join_config = chatty


def remembers_every_pass(play: Play) -> None:
    """Each wait is remembered for ever."""
    state, mark, numbers = play.house.daemon.state, play.house.daemon.state.mark, itertools.count()  # type: ignore[union-attr]

    def leaky(key: Any, reason: str) -> None:
        mark(key, reason)
        state._since[f"{key}/{next(numbers)}"] = 0.0

    state.mark = leaky  # type: ignore[method-assign]


def writes_what_is_there(_: Play) -> None:
    """Every other look at a kubeconfig finds something about it."""
    why, looks = kubeconfig._why, itertools.count()
    kubeconfig._why = lambda *about, **more: why(*about, **more) or ("it looks old" if next(looks) % 4 == 3 else "")


BUGS = {
    "one-pass-a-key": Bug(forgets_what_runs),
    "one-vm-a-machine": Bug(clones_twice),
    "nothing-forgotten": Bug(forgets_too_early, text(workers=1)),
    "nothing-foreign": Bug(trusts_the_vmid, text(workers=1)),
    "quorum-kept": Bug(spends_quorum, text(control=4096)),
    "fresh-evidence": Bug(decides_on_old_news, text(workers=1)),
    "op-first": Bug(announces_nothing),
    "limits": Bug(without(guards.permits), text(workers=6)),
    "a-worker-is-left": Bug(writes_at_once, text(workers=24)),
    "paused-is-still": Bug(paused),
    "no-secrets": Bug(logs_what_it_joins_with),
    "bounded": Bug(remembers_every_pass, BUILT, waits=True),
    "converged-is-quiet": Bug(writes_what_is_there, BUILT, waits=True),
}


async def played(play: Play, name: str, bug: Bug, branches: Branches) -> Outcome:
    """Let a planted bug come out, for 20 minutes at most, or for three resyncs."""
    house = play.house
    house.gate.witnesses.clear()
    play.watch = Watch(house, [kind for kind in INVARIANTS if kind.name == name])
    play.watch.alarm = lambda words: branches.finish(Outcome(words=words))
    house.daemon._listeners = (play.watch._passed,)  # type: ignore[union-attr]
    planting = bug.plant(play)
    if planting is not None:
        await planting
    house.file.commit(bug.edit)
    try:
        if bug.waits:
            await play.rest(hours=True)
        await house.until(lambda: False, limit=1200, what="the bug comes out")
    except AssertionError as error:
        return Outcome(words=str(error))
    return Outcome()


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Outcome]]:
    """Return what each bug came to."""
    branches = Branches(2)
    with workshop() as directory, quieted():

        async def main(loop: SimLoop) -> Outcome:
            play = Play(loop, Story("planted", BUILT, (Edit(BUILT),), lambda _: True), directory / "base", kinds=())
            await play.given()
            for name, bug in BUGS.items():
                if branches.part(name, loop):
                    play.house.move(directory / name)
                    return await played(play, name, bug, branches)
            return Outcome()

        outcome = simulate(main, seed=1)
        if branches.child:
            branches.finish(outcome)
        yield dict(branches.join())


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_named(told: dict[str, Outcome], name: str) -> None:
    """The invariant that a bug breaks says so, by its name."""
    words = told[name].words

    assert words.partition(":")[0] == name, words


def test_every_invariant_has_its_bug() -> None:
    """No invariant is there that was never seen to fail."""
    names = {kind.name for kind in INVARIANTS}

    assert names == set(BUGS)


def test_a_way_that_leads_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the oldest machine goes first, what is left depends on how many there were before."""
    monkeypatch.setattr(fleet, "_turn", lambda _group, row: (row.created, row.index, ""))

    words = paths.astray(paths.walk(PATHS[0][:2]))

    assert words.startswith(f"{paths.NAME}: 2-4-3 ends with")


def test_an_index_that_is_never_used_again_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariant is about what is desired: VMIDs may differ, and no way is astray for that."""
    vmid, used = alloc.vmid, itertools.count(30_000)
    monkeypatch.setattr(alloc, "vmid", lambda view, cluster: next(used) if vmid(view, cluster) else None)

    assert not paths.astray(paths.walk(PATHS[0][:2]))
