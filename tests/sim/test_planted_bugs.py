"""Each invariant can fail: a bug is planted in the daemon, and the invariant that guards against it names itself.

One house is built; each bug is planted in a branch of it, on which only that invariant watches.
"""

import ast
import asyncio
import functools
import inspect
import itertools
import logging
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from cpcd.adapters.proxmox import ProxmoxApi, Slots
from cpcd.lab.faults import named
from cpcd.lab.inprocess import LabTransport
from cpcd.lab.simloop import SimLoop, simulate
from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Wall
from cpcd.model.ledger import Event, Ledger, Op, PutFact
from cpcd.model.plan import Condition, Plan, Status
from cpcd.plan import alloc, drain, effects, fields, group, guards, kubeadm, member, resolve, retire
from cpcd.plan.case import Case, acting
from cpcd.ports.kube import GVK
from cpcd.ports.proxmox import Request, Response
from cpcd.reconcilers import kubeconfig, machine
from cpcd.sources.reading import Reader
from cpcd.status import publish
from tests.sim import paths
from tests.sim.branches import Branches, Outcome
from tests.sim.gate import Call, Witness
from tests.sim.invariant import Invariant
from tests.sim.planted import BY_HAND, Bug
from tests.sim.play import Play, quieted, workshop
from tests.sim.stories import BUILT, PATHS, Edit, Story, text
from tests.sim.watch import INVARIANTS, Watch


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
    retire._vanish = lambda case, _vm: acting("Deleting", effects.Forget(key=case.key, row=case.row))


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

    plant.__doc__ = f"Without {' and '.join(one.__name__ for one in missing)} among the guards."
    return plant


def clones_at_will(play: Play) -> None:
    """Without permits among the guards; a linked clone takes longer than the next one needs to be asked for."""
    without(guards.permits)(play)
    pve = play.house.world.pve.cluster
    pve.durations = replace(pve.durations, linked=5)


def counts_no_clones(play: Play) -> None:
    """A clone takes no permit, and takes longer than the next one needs to be asked for."""
    effects.Clone.slots = lambda *_: {}  # type: ignore[method-assign]
    pve = play.house.world.pve.cluster
    pve.durations = replace(pve.durations, linked=5)


def marks_by_another_op(_: Play) -> None:
    """A clone's description names an operation that there is not."""
    mark = fields.mark
    fields.mark = lambda installation, row, _op: mark(installation, row, "0f0f0f0f0f0f")


def writes_at_once(_: Play) -> None:
    """Nobody waits for a slot of a node; each write takes some seconds, so that they meet there."""
    send = LabTransport.send

    async def slow(lab: LabTransport, request: Request) -> Response:
        await lab._sleep(0 if request.method == "GET" else 5)
        return await send(lab, request)

    LabTransport.send = slow  # type: ignore[method-assign]
    Slots.send = lambda self, request: self._inner.send(request)


def spends_quorum(play: Play) -> None:
    """The quorum's guard is missing, and the permits too; one control plane has lost its network."""
    without(guards.etcd_quorum, guards.permits)(play)
    vmid = next(vmid for vmid, vm in play.house.world.pve.vms.items() if vm.name == "demo-cp-3")
    play.house.world.guests[vmid].unplug()


def joins_beside_the_sick(play: Play) -> None:
    """A control plane joins whoever is unhealthy; one has lost its network."""
    member._all_healthy = lambda _: True
    vmid = next(vmid for vmid, vm in play.house.world.pve.vms.items() if vm.name == "demo-cp-3")
    play.house.world.guests[vmid].unplug()


def resets_a_listed_member(play: Play) -> None:
    """A half-made control plane is reset while etcd lists it, and no guard looks; a join has failed at the end."""
    without(guards.reset_safe)(play)
    play.house.faults.arm(replace(named("learner-not-in-sync"), call="submit join"))
    member._clean = lambda case, _: acting("Bootstrapping", effects.Reset(key=case.key, row=case.row))


def destroys_a_listed_member(_: Play) -> None:
    """A machine goes without leaving etcd."""
    retire._leave_etcd = lambda *_, **__: None


def decides_on_old_news(kind: str) -> Callable[[Play], None]:
    """What was seen once is not read again."""

    def plant(_: Play) -> None:
        read = Reader.__call__

        async def lazy(reader: Reader, scope: Any) -> Any:
            known = reader._view().bulk.get(scope) if scope.kind == kind else None
            seen = known is not None and known.value is not None and getattr(known.value, "exists", True)
            return known if seen else await read(reader, scope)

        Reader.__call__ = lazy  # type: ignore[method-assign]

    plant.__doc__ = f"What was seen once of {kind} is not read again."
    return plant


def evicts_from_every_node(_: Play) -> None:
    """A drain sweeps the whole cluster."""

    async def sweep(action: Any, ports: Any) -> None:
        kube = ports.kube(action.row.cluster)
        for pod in (await kube.list(GVK("v1", "Pod")))[0]:
            await kube.evict(pod["metadata"]["namespace"], pod["metadata"]["name"], pod["metadata"]["uid"])

    machine._sweep = sweep


def evicts_what_stays(_: Play) -> None:
    """A drain takes the pods of DaemonSets too."""
    drain._moves = lambda _: True


def retires_what_is_wanted(_: Play) -> None:
    """A machine retires itself, and nobody decided it; the guard against that is missing."""
    without(guards.protected)(_)
    plan = machine.plan

    def hasty(key: Any, view: Any, *seen: Any) -> Any:
        row = view.row(key)
        wanted = row is None or row.name != "demo-general-2"
        cluster = view.cluster(key.cluster)
        return plan(key, view, *seen) if wanted else retire.retire(Case(key, view, row, cluster, cluster.groups[1]))

    machine.plan = hasty


def looks_away_from_what_is_open(play: Play) -> None:
    """Open operations are not resolved before the next step is planned, and it is opened beside them."""
    runner = play.house.daemon.dispatcher._runner  # type: ignore[union-attr]

    async def nothing(*_: Any) -> None:
        return

    def beside(action: Any) -> Op:
        kept, runner._state = runner._state, SimpleNamespace(view=replace(runner._state.view, ledger=Ledger()))
        try:
            return opened(action)
        finally:
            runner._state = kept

    opened, runner._open, runner._close_ops = runner._open, beside, nothing


def leaves_half_a_clone(play: Play) -> None:
    """A clone that died is not quarantined: the worker of the first one is killed before it has copied a disk."""
    given = resolve._quarantine
    resolve._quarantine = lambda *about: replace(given(*about), changes=given(*about).changes[1:])

    pve = play.house.world.pve

    def kill() -> None:
        """Look ten times a second, as long as a clone is on its way: nobody may ask anything in the time that counts."""
        clones = [task for task in pve.cluster.tasks.tasks.values() if task.running and task.kind == "qmclone"]
        if any(vm.lock == "clone" and len(vm.config) == 1 for vm in pve.vms.values()):
            for task in clones:
                pve.kill_worker(task.upid)
        elif clones:
            pve.cluster.at(0.1, kill)

    class Killer(Witness):
        def called(self, call: Call, answer: Any) -> None:
            if call.verb == "clone":
                kill()

    play.house.gate.witnesses.append(Killer())


def leaves_what_no_config_names(play: Play) -> None:
    """A destroy frees only the disks that the configuration names; somebody's hand has left another one."""

    async def destroy(api: ProxmoxApi, node: str, vmid: int) -> str:
        return str(await api._vm(node, vmid).delete(purge=1))

    ProxmoxApi.destroy = destroy  # type: ignore[method-assign]
    vm = next(vm for vm in play.house.world.pve.vms.values() if vm.name == "demo-general-2")
    play.house.world.pve.add_volume(f"shared:{vm.vmid}/vm-{vm.vmid}-disk-7.raw", vm.node, size=1, form="raw")


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


def secret(play: Play) -> str:
    """Return what nobody may read: the token's own part."""
    return play.house.token.partition("=")[2]


def lets_a_library_log(play: Play) -> None:
    """A library tells what it was given."""
    logging.getLogger("aiohttp.client").warning("sent %s", secret(play))


async def keeps_a_fact(play: Play) -> None:
    """The token is a fact of the ledger."""
    await play.house.daemon.state.commit((PutFact("token/demo", secret(play)),))  # type: ignore[union-attr]


def keeps_what_was_before(play: Play) -> None:
    """An operation's evidence holds the token that it was gathered with."""
    effects.Clone.before = lambda *_: {"by": secret(play)}  # type: ignore[method-assign]


def tells_it_in_an_event(play: Play) -> None:
    """History quotes the token."""
    event = Event(Wall(1.0), "demo/cluster/demo", "1", "Normal", "Told", secret(play))
    play.house.daemon.journal.record(event)  # type: ignore[union-attr]


def tells_it_in_a_condition(play: Play) -> None:
    """A condition quotes the token, its pass's sentence does not."""
    plan = machine.plan

    def telling(key: Any, view: Any) -> Plan:
        made = plan(key, view)
        return replace(made, conditions=(*made.conditions, Condition("Odd", Status.FALSE, "Odd", secret(play))))

    machine.plan = telling


def plans_with_it(play: Play) -> None:
    """A step's sentence quotes the token, and no pass has come to that step yet."""
    play.house.daemon.supervisor.end("dispatcher")  # type: ignore[union-attr]
    effects.AddMachine.sentence = property(lambda _: secret(play))  # type: ignore[assignment, method-assign]


def says_what_it_lacks(play: Play) -> None:
    """What this process lacks is told with the token that it was refused with."""
    play.house.daemon.impaired["pages"] = Failure(Code.AUTH, f"refused: {secret(play)}")  # type: ignore[union-attr]


def counts_by_token(play: Play) -> None:
    """A metric has the token for its label."""
    play.house.daemon.metrics._gauges["cpcd_build_info"].labels(secret(play), "3").set(1)  # type: ignore[union-attr]


def writes_it_past_the_port(play: Play) -> None:
    """A row comes into the ledger's file beside the port."""
    words = "INSERT INTO events (at, key, run, severity, reason, message) VALUES (1, '', '', '', '', ?)"
    play.house.disk.connection.execute(words, (secret(play),))  # type: ignore[union-attr]


def marks_with_it(play: Play) -> None:
    """The description of a VM holds the token."""
    mark = fields.mark
    fields.mark = lambda *about: f"{mark(*about)} {secret(play)}"


async def annotates_with_it(play: Play) -> None:
    """A Node's annotation holds the token."""
    kube = play.house.daemon.ports.kube("demo")  # type: ignore[union-attr]
    await kube.patch(GVK("v1", "Node"), "demo-cp-1", {"metadata": {"annotations": {"by": secret(play)}}})


def leaves_a_draft(play: Play) -> None:
    """What a run was given is left in a file that only its owner reads."""
    draft = play.house.directory / "draft.json"
    draft.touch(0o600)
    draft.write_text(secret(play))


def opens_the_kubeconfig(play: Play) -> None:
    """The kubeconfig can be read by everybody."""
    next((play.house.directory / "kubeconfigs").iterdir()).chmod(0o644)


def remembers_every_pass(play: Play) -> None:
    """Each wait is remembered for ever."""
    state, mark, numbers = play.house.daemon.state, play.house.daemon.state.mark, itertools.count()  # type: ignore[union-attr]

    def leaky(key: Any, *reasons: str) -> None:
        mark(key, *reasons)
        state._since[f"{key}/{next(numbers)}"] = 0.0

    state.mark = leaky  # type: ignore[method-assign]


def keeps_every_date(play: Play) -> None:
    """A date that was overtaken stays for ever, and there are many."""
    queue = play.house.daemon.queue  # type: ignore[union-attr]
    add = queue.add

    def hoarding(key: Any, *, front: bool = False) -> None:
        queue._heap += [(1e12, number, key) for number in range(100)]
        add(key, front=front)

    queue.add = hoarding  # type: ignore[method-assign]


def remembers_what_it_said(play: Play) -> None:
    """The run of each pass is kept, so that nobody tells it twice, under a name that no check has heard of."""
    board, note = play.house.daemon.board, play.house.daemon.board.note  # type: ignore[union-attr]
    board.heard = heard = set()  # type: ignore[attr-defined]
    board.note = lambda done, at: heard.add(done.run) or note(done, at)  # type: ignore[func-returns-value, method-assign]


def tells_of_every_look(play: Play) -> None:
    """Each pass over what is as wanted is an event in history."""
    told = publish.event_of
    publish.event_of = lambda before, *about: told(None, *about)  # type: ignore[assignment]


def remembers_who_is_gone(play: Play) -> None:
    """What was seen of a machine is kept when its row is gone."""
    play.house.daemon.state._stale = lambda *_: ()  # type: ignore[union-attr]


def remembers_in_its_module(_: Play) -> None:
    """A decision is remembered for ever beside the function that makes it."""
    proxy = functools.cache(lambda _view: None)
    alloc.seen_before = proxy  # type: ignore[attr-defined]
    plan = machine.plan
    machine.plan = lambda key, view: proxy(view.wall) or plan(key, view)


def writes_what_is_there(_: Play) -> None:
    """Every other look at a kubeconfig finds something about it."""
    why, looks = kubeconfig._why, itertools.count()
    kubeconfig._why = lambda *about, **more: why(*about, **more) or ("it looks old" if next(looks) % 2 else "")


ONE_AN_HOUR = "blastRadius: {maxDestroysPerHour: 1}"

BUGS = (
    Bug("one-pass-a-key", forgets_what_runs),
    Bug("one-pass-a-key", looks_away_from_what_is_open),
    Bug("one-vm-a-machine", clones_twice),
    Bug("nothing-forgotten", forgets_too_early, text(workers=1)),
    Bug("nothing-forgotten", leaves_half_a_clone),
    Bug("nothing-forgotten", leaves_what_no_config_names, text(workers=1)),
    Bug("nothing-foreign", trusts_the_vmid, text(workers=1)),
    Bug("quorum-kept", spends_quorum, text(control=4096)),
    Bug("quorum-kept", joins_beside_the_sick, BUILT.replace("replicas: 3", "replicas: 5")),
    Bug("quorum-kept", destroys_a_listed_member, BUILT.replace("replicas: 3", "replicas: 1")),
    Bug("fresh-evidence", decides_on_old_news("vm"), text(workers=1)),
    Bug("fresh-evidence", decides_on_old_news("node"), text(workers=1)),
    Bug("fresh-evidence", decides_on_old_news("etcd"), BUILT.replace("replicas: 3", "replicas: 1")),
    Bug("fresh-evidence", decides_on_old_news("addon"), BUILT.partition("  addons:")[0]),
    Bug("fresh-evidence", resets_a_listed_member, BUILT.replace("replicas: 3", "replicas: 5")),
    Bug("fresh-evidence", evicts_from_every_node, text(workers=1)),
    Bug("drained-only", evicts_what_stays, text(workers=1), says="belongs to its Node"),
    Bug("consent-given", without(guards.consent), text(workers=1, destroy="Approve")),
    Bug("consent-given", retires_what_is_wanted, BUILT),
    Bug("blast-radius", without(guards.blast_radius), text(workers=0).replace("spec:", f"spec:\n  {ONE_AN_HOUR}")),
    Bug("blast-radius", without(guards.blast_radius, guards.permits), text(workers=0)),
    Bug("op-first", announces_nothing),
    Bug("op-first", marks_by_another_op, says="its description names no open op"),
    Bug("limits", clones_at_will, text(workers=12), says="3 hold clone:"),
    Bug("limits", counts_no_clones, text(workers=12), says="3 clones run on"),
    Bug("a-worker-is-left", writes_at_once, text(workers=24)),
    Bug("paused-is-still", paused),
    Bug("paused-is-still", without(guards.paused), f"{text(workers=4)}  paused: true\n"),
    Bug("no-secrets", logs_what_it_joins_with, says="a log line"),
    Bug("no-secrets", lets_a_library_log, BUILT, says="a library's log line"),
    Bug("no-secrets", keeps_a_fact, BUILT, says="the ledger has"),
    Bug("no-secrets", keeps_what_was_before, says="the ledger has"),
    Bug("no-secrets", tells_it_in_an_event, BUILT, says="an event"),
    Bug("no-secrets", tells_it_in_a_condition, BUILT, says="a pass"),
    Bug("no-secrets", plans_with_it, says="the plan"),
    Bug("no-secrets", says_what_it_lacks, BUILT, says="status"),
    Bug("no-secrets", counts_by_token, BUILT, says="metrics"),
    Bug("no-secrets", writes_it_past_the_port, BUILT, says="the ledger's file"),
    Bug("no-secrets", marks_with_it, says="a VM's configuration"),
    Bug("no-secrets", annotates_with_it, BUILT, says="an object of Kubernetes"),
    Bug("no-secrets", leaves_a_draft, BUILT, says="a file of mode 600"),
    Bug("no-secrets", opens_the_kubeconfig, BUILT, says="a kubeconfig has mode 644"),
    Bug("bounded", remembers_every_pass, BUILT, rests=True),
    Bug("bounded", keeps_every_date, BUILT, rests=True),
    Bug("bounded", remembers_what_it_said, BUILT, rests=True),
    Bug("bounded", tells_of_every_look, BUILT, rests=True),
    Bug("bounded", remembers_in_its_module, BUILT, rests=True),
    Bug("bounded", remembers_who_is_gone, text(workers=1), says="observations are kept of what is gone"),
    Bug("converged-is-quiet", writes_what_is_there, BUILT, rests=True),
    *BY_HAND,
)


async def played(play: Play, bug: Bug, branches: Branches) -> Outcome:
    """Let a planted bug come out, for 20 minutes at most and at the end, or while everything is looked at thrice."""
    house = play.house
    house.gate.witnesses.clear()
    play.watch = Watch(house, [kind for kind in INVARIANTS if kind.name == bug.breaks])
    play.watch.alarm = lambda words: branches.finish(Outcome(words=words))
    house.daemon._listeners = (play.watch._passed,)  # type: ignore[union-attr]
    planting = bug.plant(play)
    if planting is not None:
        await planting
    house.file.commit(bug.edit)
    if bug.rests:
        await play.rest(hours=False)
    else:
        await asyncio.sleep(1200)
    play.watch.over()
    return Outcome()


@pytest.fixture(scope="module")
def told() -> Iterator[dict[int, Outcome]]:
    """Return what each bug came to."""
    branches = Branches(2)
    with workshop() as directory, quieted():

        async def main(loop: SimLoop) -> Outcome:
            # Nobody watches the past: each branch has a watch of its own, of what its bug breaks.
            play = Play(loop, Story("planted", BUILT, (Edit(BUILT),), lambda _: True), directory / "base", kinds=())
            await play.given()
            for number, bug in enumerate(BUGS):
                if branches.part(number, loop):
                    play.house.move(directory / str(number))
                    return await played(play, bug, branches)
            return Outcome()

        outcome = simulate(main, seed=1)
        if branches.child:
            branches.finish(outcome)
        yield dict(branches.join())


@pytest.mark.parametrize("number", range(len(BUGS)), ids=lambda number: f"{BUGS[number].breaks}: {BUGS[number].told}")
def test_a_planted_bug_is_named(told: dict[int, Outcome], number: int) -> None:
    """The invariant that a bug breaks says so, by its name."""
    words = told[number].words

    assert words.partition(":")[0] == BUGS[number].breaks, words
    assert BUGS[number].says in words


def _limbs(kind: type[Invariant]) -> Iterator[str]:
    """Yield a pattern for the words of each breach that an invariant's source has."""
    for call in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind)))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "breach":
            (words,) = call.args
            assert isinstance(words, ast.JoinedStr)
            parts = (re.escape(str(one.value)) if isinstance(one, ast.Constant) else ".*" for one in words.values)
            yield f"{kind.name}: {''.join(parts)} "


def test_every_limb_of_every_invariant_has_its_bug(told: dict[int, Outcome]) -> None:
    """No breach is there to be told that was never seen told."""
    limbs = [limb for kind in INVARIANTS for limb in _limbs(kind)]
    words = [outcome.words for outcome in told.values()]

    assert [limb for limb in limbs if not any(re.match(limb, said) for said in words)] == []
    assert {kind.name for kind in INVARIANTS} == {limb.partition(":")[0] for limb in limbs}


def test_a_way_that_leads_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the oldest machine goes first, what is left depends on how many there were before."""
    monkeypatch.setattr(group, "_turn", lambda _group, row: (row.created, row.index, ""))

    words = paths.astray(paths.walk(PATHS[0][:2]))

    assert words.startswith(f"{paths.NAME}: 2-4-3 ends with")


def test_an_index_that_is_never_used_again_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariant is about what is desired: VMIDs may differ, and no way is astray for that."""
    vmid, used = alloc.vmid, itertools.count(30_000)
    monkeypatch.setattr(alloc, "vmid", lambda view, cluster: next(used) if vmid(view, cluster) else None)

    assert not paths.astray(paths.walk(PATHS[0][:2]))
