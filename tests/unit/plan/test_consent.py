"""Consent is for one machine and one cause, is spent once, and lapses with what asked for it."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.desired import Cluster, Consent, MachineSpec, Risk, TemplateRef
from cpcd.model.ledger import Machine
from cpcd.model.plan import Action, Wait
from cpcd.model.seen import Vm
from cpcd.plan import effects, fields, guards, scopes
from cpcd.plan.case import machine_key
from cpcd.plan.consent import Lapse
from cpcd.plan.fleet import RetireMachine, fleet
from cpcd.reconcilers import machine
from tests.unit.plan import build
from tests.unit.plan.build import CP, KEY, NAME, NOW, WORKERS, built, cluster, group, node, of, put, seen, spec

ASKS = {**build.AUTO, Risk.REBOOT: Consent.APPROVE, Risk.REPLACE: Consent.APPROVE, Risk.DESTROY: Consent.APPROVE}
NEW = spec(template=TemplateRef("ubuntu", vmid=9001))
NEWER = spec(template=TemplateRef("ubuntu", vmid=9002))


def outdone(machine: MachineSpec) -> str:
    """Return why a machine goes that is not made so."""
    return f"it is outdated and replaced, by configuration {fields.revision(machine)[:8]}"


def wanted(workers: int = 3, **changes: Any) -> Cluster:
    """Return a cluster that consents to nothing by itself."""
    return cluster(group(CP, 1), group(WORKERS, workers, **changes), change_policy=ASKS)


REST = built(wanted())
LAST = of(REST, "u4")


def retire(row: Machine, why: str = "general is scaled to 2") -> RetireMachine:
    """Return a retirement as the cluster's key decides it."""
    return RetireMachine(key=KEY, row=row, why=why, kind=Risk.DESTROY)


def reboot(row: Machine, why: str = "memory changed, which needs a cold start") -> effects.Hold:
    """Return the announcement of a reboot."""
    return effects.Hold(key=machine_key(row), row=row, why=why)


def consented(*actions: Action) -> dict[str, float]:
    """Return the facts that `cpcd approve` makes."""
    return {f"approval/{action.request}": NOW for action in actions}


def lapses(now: Cluster, *given: Action, **changes: Any) -> tuple[str, ...]:
    """Return what the cluster's pass lets lapse, of what was consented to."""
    whole = put(built(wanted(), now=now), known=consented(*given), **changes)
    steps = fleet(KEY, whole, whole.desired.clusters[NAME]).steps
    return tuple(request for one in steps if isinstance(one, Lapse) for request in one.requests)


@pytest.mark.parametrize("action", [retire(LAST), reboot(LAST)])
def test_consent_to_a_machine_is_for_no_other_of_its_name(action: Action) -> None:
    """The next one with the lowest free name is asked for anew."""
    other = replace(LAST, uid="another")
    whole = put(REST, other, known=consented(action))
    again = replace(action, row=other)  # type: ignore[call-arg] # both have a row

    verdict = guards.consent(again, whole)

    assert guards.consent(action, whole) is None
    assert isinstance(verdict, Wait)
    assert "AwaitingApproval" == verdict.reason


@pytest.mark.parametrize(
    ("action", "other"),
    [(retire(LAST), retire(LAST, "it is outdated and replaced")), (reboot(LAST), reboot(LAST, "cores changed"))],
)
def test_consent_is_for_one_cause(action: Action, other: Action) -> None:
    """What is to be done to the same machine for another reason is asked for anew."""
    whole = put(REST, known=consented(action))

    verdict = guards.consent(other, whole)

    assert guards.consent(action, whole) is None
    assert isinstance(verdict, Wait)
    assert "AwaitingApproval" == verdict.reason


@pytest.mark.parametrize("workers", [3, 1, 4])
def test_consent_to_a_retirement_lapses_with_the_edit_that_asked_for_it(workers: int) -> None:
    """Taken back, or gone further: what would be destroyed then is another question."""
    given = retire(LAST)

    assert (given.request,) == lapses(wanted(workers), given)


@pytest.mark.parametrize(
    ("now", "given"),
    [
        (wanted(2), [retire(of(REST, uid)) for uid in ("u2", "u3", "u4")]),
        (wanted(3, machine=NEW), [retire(of(REST, uid), outdone(NEW)) for uid in ("u2", "u3")]),
        (cluster(group(CP, 1)), [retire(LAST, "the deployment general is no longer in the file")]),
    ],
)
def test_consent_stays_for_what_is_asked_for_later(now: Cluster, given: list[Action]) -> None:
    """One machine goes at a time; the others were consented to as well."""
    assert () == lapses(now, *given)


def test_consent_is_to_one_configuration_and_not_to_the_next() -> None:
    """Replaced by another template than the one that was consented to, a machine is asked for anew."""
    given = retire(of(REST, "u2"), outdone(NEW))

    assert (given.request,) == lapses(wanted(3, machine=NEWER), given)
    assert given.request != retire(of(REST, "u2"), outdone(NEWER)).request


def test_consent_to_replace_a_sick_machine_lapses_when_it_is_well() -> None:
    """Should it fall sick again, that is asked for anew."""
    ill = replace(LAST, strikes=1)
    given = retire(ill, "its node stays unhealthy, and no reset is left to try")
    bulk = {scopes.node(NAME, ill.name): seen(node(ill, ready="False", since=NOW - 9000))}
    known = {**consented(given), f"remedy/{ill.uid}": NOW - 9000}
    sick = put(REST, ill, known=known, bulk=bulk)
    well = put(REST, ill, known=known)

    during, after = (fleet(KEY, whole, whole.desired.clusters[NAME]).steps for whole in (sick, well))

    assert ["retire"] == [one.verb for one in during]
    assert [Lapse(key=KEY, requests=(given.request,))] == list(after)


def test_consent_to_recover_lapses_when_every_machine_is_known() -> None:
    """Nobody was to be taken in for a second time."""
    whole = put(REST, known={f"approval/{NAME}/recover/{NAME}": NOW})

    (step,) = fleet(KEY, whole, whole.desired.clusters[NAME]).steps

    assert Lapse(key=KEY, requests=(f"{NAME}/recover/{NAME}",)) == step


def test_consent_to_a_reboot_lapses_when_the_machine_is_as_wanted() -> None:
    """Not earlier: while there is something to do, or to wait for, it may be for what comes next."""
    given = reboot(LAST)
    rest = put(REST, known=consented(given, reboot(of(REST, "u3"))))
    waiting = put(rest, bulk={scopes.node(NAME, LAST.name): seen(node(LAST, ready="False", since=NOW))})

    (step,), none = (machine.plan(machine_key(LAST), whole).steps for whole in (rest, waiting))

    assert Lapse(key=machine_key(LAST), requests=(given.request,)) == step
    assert () == none


def test_consent_to_a_reboot_ends_with_its_machine() -> None:
    """Once its row is gone nobody would let it lapse, and it would be told to be approved for ever."""
    going = replace(LAST, retire="general is scaled to 2")
    given, other = reboot(going), reboot(of(REST, "u3"))
    whole = put(REST, going, known=consented(given, other), bulk={scopes.vm(going): seen(Vm(exists=False))})

    (step,) = machine.plan(machine_key(going), whole).steps
    (after,) = machine.plan(machine_key(going), whole.with_ledger(step.changes(whole))).steps

    assert Lapse(key=machine_key(going), requests=(given.request,)) == step
    assert not isinstance(after, Lapse)


def test_what_lapsed_is_gone_also_while_paused() -> None:
    """An edit that is taken back and made again during a pause asks again; others' consent is left."""
    given, other = retire(LAST), reboot(LAST)
    whole = put(built(wanted(), now=replace(wanted(), paused=True)), known=consented(given, other))
    step = Lapse(key=KEY, requests=(given.request,))

    after = whole.with_ledger(step.changes(whole))

    assert guards.paused(step, whole) is None
    assert guards.paused(other, whole) is not None
    assert (other.request,) == after.ledger.consents
