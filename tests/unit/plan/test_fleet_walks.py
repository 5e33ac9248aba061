"""The fleet's decisions under all guards, while machines come up late and people consent to some of what is asked."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from cpcd.model.desired import Blast, Cluster, Consent, Risk, TemplateRef
from cpcd.model.keys import Role
from cpcd.model.ledger import DropMachine, Machine, PutMachine
from cpcd.model.plan import Action
from cpcd.model.view import View
from cpcd.plan import effects, guards, scopes
from cpcd.plan.fleet import AddMachine, RetireMachine, fleet
from cpcd.plan.group import Fleet, fleet_of
from tests.unit.plan import build
from tests.unit.plan.build import CP, KEY, NAME, NOW, WORKERS, built, cluster, group, health, members, node, put, seen

SEEDS: Final = range(120)
TURNS: Final = 200
REST: Final = 25  # turns without a step: longer than any machine takes to come up
TEMPLATES: Final = (build.spec(), build.spec(template=TemplateRef("ubuntu", vmid=9001)))
ASKED: Final = tuple(guard for guard in guards.GUARDS if guard is not guards.permits)  # nothing is open for longer


class Walk:
    """One fleet and one seed: an edit of everything at once, luck, and a person who now and then says yes."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)
        self.wrong: list[str] = []
        self._due: dict[str, int] = {}
        first = cluster(group(CP, self.luck.choice([1, 3])), group(WORKERS, self.luck.randint(1, 4)), group("b", 2))
        self.view = self._struck(built(first, now=self._edit()))

    def _edit(self) -> Cluster:
        pick = self.luck.choice
        surge, unavailable = pick([(1, 0), (2, 0), (0, 1), (1, 1), (2, 2)])
        wished = group(
            WORKERS, self.luck.randint(1, 4), machine=pick(TEMPLATES), max_surge=surge, max_unavailable=unavailable
        )
        policy = {**build.AUTO, Risk.DESTROY: pick([*Consent]), Risk.REPLACE: pick([*Consent, Consent.AUTO])}
        groups = (group(CP, pick([1, 3]), machine=pick(TEMPLATES)), wished, group("b", self.luck.randint(1, 3)))
        checks = health(max_in_flight=pick([0, 1, 1]), limit=pick([0.4, 1.0]), max_retry=9)
        return replace(cluster(*groups, change_policy=policy, health=checks), blast=Blast(1, pick([0, 99]), 100))

    def _struck(self, view: View) -> View:
        """Up to two machines are past what a reset could do, control planes with their etcd member or without."""
        rows = view.rows(NAME)
        sick = self.luck.sample(rows, self.luck.choice([0, 0, 1, 1, 2]))
        nodes = {one.name: node(one, ready="Unknown", since=NOW - 700) for one in sick}
        own = {scopes.node(NAME, name): seen(its) for name, its in nodes.items()}
        every = seen({**view.known(scopes.nodes(NAME)), **nodes})
        voters = [one for one in rows if one.role is Role.CONTROL_PLANE]
        silent = [one for one in sick if one in voters and self.luck.random() < 0.6]
        etcd = seen(members(*voters, sick=silent))
        struck = (replace(one, strikes=1) for one in sick)
        return put(view, *struck, bulk={**own, scopes.nodes(NAME): every, scopes.etcd(NAME): etcd})

    def play(self) -> None:
        """Go on until nothing has moved for long."""
        still = 0
        for turn in range(TURNS):
            self.view = replace(self.view, fresh=(f"t{turn}",))
            self._come_and_go(turn)
            moved = [self._step(action, turn) for action in fleet(KEY, self.view, self._cluster).steps]
            still = 0 if any(moved) or self._due else still + 1
            if still > REST:
                return
        self.wrong.append("does not come to rest")

    @property
    def _cluster(self) -> Cluster:
        return self.view.desired.clusters[NAME]

    def fleets(self) -> Iterator[Fleet]:
        """Yield the groups as they are."""
        return (fleet_of(self.view, self._cluster, one) for one in self._cluster.groups)

    def _come_and_go(self, turn: int) -> None:
        nodes = dict(self.view.known(scopes.nodes(NAME)))
        for uid in [uid for uid, at in self._due.items() if at <= turn]:
            del self._due[uid]
            row = self.view.machines.get(uid)
            if row is not None and row.wanted:
                self._put(replace(row, joined=True, started=True))
                nodes[row.name] = node(row)
        for row in [row for row in self.view.rows(NAME) if not row.wanted]:
            self.view = self.view.with_ledger((DropMachine(row.uid),))
            nodes.pop(row.name, None)
        before = self.view.known(scopes.etcd(NAME))
        voters = [row for row in self.view.rows(NAME) if row.role is Role.CONTROL_PLANE and row.joined]
        silent = [row for row in voters if (own := before.at(row.address)) is not None and not own.healthy]
        self.view = effects.see(self.view, scopes.nodes(NAME), nodes)
        self.view = put(self.view, bulk={scopes.etcd(NAME): seen(members(*voters, sick=silent))})

    def _put(self, row: Machine) -> None:
        self.view = self.view.with_ledger((PutMachine(row),))

    def _step(self, action: Action, turn: int) -> bool:
        refused = next((verdict for guard in ASKED if (verdict := guard(action, self.view))), None)
        if refused is not None:
            asked = refused.reason == "AwaitingApproval" and self.luck.random() < 0.2
            if asked:
                self.view = put(self.view, known={f"approval/{action.asks.request}": NOW})
            return asked
        before = self.view
        self.view = before.with_ledger(action.changes(before))
        match action:
            case AddMachine(row=row):
                self._due[row.uid] = turn + self.luck.randint(2, 12)
            case RetireMachine():
                self._judge(action, before)
        return True

    def _judge(self, action: RetireMachine, before: View) -> None:
        """Nothing is destroyed that nobody consented to, and what is replaced makes no group smaller."""
        mine = next(one for one in self._cluster.groups if one.name == action.row.group)
        was, now = (fleet_of(view, self._cluster, mine) for view in (before, self.view))
        consent = self._cluster.change_policy[action.risk]
        given = f"approval/{action.request}" in before.facts
        if action.risk is Risk.DESTROY and consent is not Consent.AUTO and not given:
            self.wrong.append(f"without consent: {action.sentence}")
        if action.risk is Risk.REPLACE and now.surplus < was.surplus:
            self.wrong.append(f"in the disguise of a replacement: {action.sentence}")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fleet_comes_to_rest_by_what_was_consented_to(seed: int) -> None:
    """And what is not as wanted then, somebody is told what it waits for; no mark stays of who is gone."""
    walk = Walk(seed)

    walk.play()

    marked: set[Any] = {name.removeprefix("surge/") for name in walk.view.facts if name.startswith("surge/")}
    plan = fleet(KEY, walk.view, walk.view.desired.clusters[NAME])
    unfinished = [
        one.group.name for one in walk.fleets()
        if one.old or len(one.rows) != one.group.replicas or any(map(one.hopeless, one.rows))
    ]  # fmt: skip
    assert [] == walk.wrong
    assert set() == marked - walk.view.machines.keys()
    assert not unfinished or plan.steps or plan.wait or plan.refusal
