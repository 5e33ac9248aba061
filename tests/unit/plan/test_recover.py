"""A ledger made again from the marks: what is taken, what is refused, and when a cluster is recognised."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.desired import Consent, Risk
from cpcd.model.keys import Role
from cpcd.model.ledger import Machine
from cpcd.model.plan import Plan, Wait
from cpcd.model.seen import Api, Claim, Facts
from cpcd.model.view import View
from cpcd.plan import effects, fields, guards, scopes
from cpcd.plan.fleet import fleet
from cpcd.plan.recover import Identify, Recover
from cpcd.ports.bundle import WrittenKubeconfig
from tests.unit.plan.build import (
    CP,
    INSTALLATION,
    KEY,
    NAME,
    NOW,
    SITE,
    WORKERS,
    built,
    cluster,
    group,
    member_row,
    seen,
    unknown,
    view,
    vm,
)

WISHED = cluster(group(CP, 1), group(WORKERS, 1), change_policy=dict.fromkeys(Risk, Consent.AUTO))
ROWS = (member_row("u1"), member_row("u2", WORKERS, 2))


def claim(one: Machine, *, installation: str = INSTALLATION, **config: Any) -> Claim:
    """Return what a VM of a machine claims when no row knows it."""
    description = fields.mark(installation, one, "op-1")
    options = {**vm(one, WISHED).config, "description": description, **config}
    return Claim(installation, NAME, one.uid, one.node, one.vmid, options)


def decided(whole: View) -> Plan:
    """Return what the cluster's key decides."""
    wanted = whole.cluster(NAME)
    assert wanted is not None
    return fleet(KEY, whole, wanted)


def found(*claims: Claim, rows: tuple[Machine, ...] = (), **known: Any) -> View:
    """Return a view in which these claims were found."""
    return view(WISHED, rows=rows, known=known, bulk={scopes.claims(SITE): seen(claims)})


def test_a_row_is_read_back_from_its_description() -> None:
    """Everything that planning needs; that it is a member shows by itself."""
    one = replace(ROWS[1], created=NOW)

    assert fields.recalled(claim(one), SITE) == replace(one, joined=False)


@pytest.mark.parametrize(
    "text", ["", "role=worker", "role=king group=a index=1 address=a template=a/1 revision=a created=1"]
)
def test_a_description_that_tells_no_row_gives_none(text: str) -> None:
    """Cut by hand, or of another release."""
    line = fields.mark(INSTALLATION, ROWS[0], "op-1").split("\n")[0]

    assert fields.recalled(claim(ROWS[0], description=f"{line}\n{text}"), SITE) is None


@pytest.mark.parametrize("installation", [INSTALLATION, "the-one-before"])
def test_a_lost_ledger_is_taken_from_the_machines(installation: str) -> None:
    """All at once, under the name that they bear; of a new ledger's own name nothing exists yet."""
    claims = [claim(one, installation=installation) for one in ROWS]
    (action,) = decided(found(*claims)).steps
    assert isinstance(action, Recover)
    after = found().with_ledger(action.changes(found()))

    assert {one.uid: replace(one, joined=False) for one in ROWS} == {
        uid: replace(one, created=one.created) for uid, one in after.machines.items()
    }
    assert (installation, True) == (after.installation, f"recovered/{NAME}" in after.facts)


def test_a_ledger_that_is_older_than_its_machines_takes_what_it_lacks() -> None:
    """Beside rows of its own: what bears its own name can be nobody else's."""
    whole = found(claim(ROWS[1]), rows=(ROWS[0],))
    (action,) = decided(whole).steps

    assert isinstance(action, Recover)
    assert {ROWS[0].uid, ROWS[1].uid} == {*whole.with_ledger(action.changes(whole)).machines}


def test_taking_machines_always_asks() -> None:
    """Another cpcd may keep them, so that no policy consents beforehand."""
    whole = found(*(claim(one) for one in ROWS))
    (action,) = decided(whole).steps
    verdict = guards.consent(action, whole)
    agreed = replace(whole, ledger=found(**{f"approval/{NAME}/recover/{NAME}": NOW}).ledger)

    assert isinstance(verdict, Wait)
    assert f"`cpcd approve {NAME}/recover/{NAME}`" in verdict.sentence
    assert guards.consent(action, agreed) is None


@pytest.mark.parametrize(
    "whole",
    [
        found(claim(ROWS[0], installation="theirs"), rows=(ROWS[1],)),
        found(claim(ROWS[0], installation="theirs"), claim(ROWS[1], installation="others")),
        found(claim(ROWS[0], description=f"cpcd/1 {INSTALLATION} {NAME} u1 op-1"), claim(ROWS[1])),
    ],
    ids=["a ledger with machines", "two installations", "no row in the mark"],
)
def test_machines_of_others_are_refused_by_name(whole: View) -> None:
    """Nothing is added beside them."""
    plan = decided(whole)

    assert plan.steps == ()
    assert plan.refusal is not None
    assert ROWS[0].name in plan.refusal.sentence


@pytest.mark.parametrize(
    ("claims", "rows"),
    [((replace(claim(ROWS[0]), cluster="other"),), ()), ((claim(ROWS[0]),), (ROWS[0],))],
    ids=["another cluster's", "known by now"],
)
def test_what_is_anothers_cluster_or_has_its_row_is_nothing_to_take(
    claims: tuple[Claim, ...], rows: tuple[Machine, ...]
) -> None:
    """The other cluster asks for its own; a list of claims may be from before the row was taken."""
    assert {"add-machine", "elect-init"} >= {step.verb for step in decided(found(*claims, rows=rows)).steps} != set()


def test_without_a_row_of_a_control_plane_nobody_says_that_there_never_was_one() -> None:
    """An election beside one that was not found would make a second cluster."""
    plan = decided(view(WISHED, rows=[replace(ROWS[1], joined=False)], known={f"recovered/{NAME}": NOW}))

    assert (plan.steps, plan.wait.reason if plan.wait else "") == ((), "Recovering")


def test_nothing_is_added_before_the_claims_are_known() -> None:
    """An empty ledger on a Proxmox that was not looked at is no empty Proxmox."""
    plan = decided(view(WISHED, bulk={scopes.claims(SITE): unknown()}))

    assert plan.steps == ()
    assert plan.wait is not None


def taken_up(*, readyz: int = 200, traces: bool = True, written: bool = True) -> View:
    """Return a cluster whose rows were taken into a new ledger."""
    rows = [replace(one, joined=False) for one in ROWS]
    inside = effects.fresh_facts(rows[0])
    control: Facts = replace(inside, admin_conf=traces, etcd_data=traces, readyz=readyz)
    kubeconfig = WrittenKubeconfig("https://10.0.0.5:6443", NAME, "sha256:aa", NOW + 9e6) if written else None
    rest = built(WISHED)
    bulk = {
        **rest.bulk,
        scopes.guest(rows[0]): seen(control),
        scopes.kubeconfig(NAME): seen(kubeconfig),
    }
    return view(WISHED, rows=rows, known={f"recovered/{NAME}": NOW}, bulk=bulk)


def test_a_cluster_is_recognised_by_a_control_plane_that_serves() -> None:
    """CA and kube-system become the identity again, and that control plane a member."""
    whole = taken_up()
    (action,) = decided(whole).steps
    assert isinstance(action, Identify)
    after = whole.with_ledger(action.changes(whole))

    assert {"ca_hash": "sha256:aa", "uid": "kube-system-uid"} == after.facts[f"identity/{NAME}"]
    assert [True, False] == [row.joined for row in after.rows(NAME)]
    assert [Role.CONTROL_PLANE, Role.WORKER] == [row.role for row in after.rows(NAME)]
    assert f"recovered/{NAME}" not in after.facts


def with_api(**changes: Any) -> View:
    """Return the cluster whose API answers otherwise."""
    api = replace(Api(ready=True, version="v1.34.2", uid="kube-system-uid"), **changes)
    return replace(taken_up(), bulk={**taken_up().bulk, scopes.api(NAME): seen(api)})


@pytest.mark.parametrize(
    "whole",
    [taken_up(readyz=0), taken_up(written=False), with_api(ready=False), with_api(uid="")],
    ids=["silent", "no kubeconfig", "not ready", "nameless"],
)
def test_until_then_nothing_is_added_or_elected(whole: View) -> None:
    """An election now could make a second cluster beside the first."""
    plan = decided(whole)

    assert plan.steps == ()
    assert plan.wait is not None
    assert plan.wait.reason == "Recovering"


def test_a_cluster_that_never_began_begins() -> None:
    """When every control plane can be asked and none bears a trace of kubeadm."""
    whole = taken_up(readyz=0, traces=False, written=False)
    (action,) = decided(whole).steps
    after = whole.with_ledger(action.changes(whole))

    assert f"identity/{NAME}" not in after.facts
    assert ["elect-init"] == [step.verb for step in decided(after).steps]
