"""Addons: applied in order, corrected when they drift, pruned when they leave the file."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.desired import Addon, Desired, Risk
from cpcd.model.errors import Code
from cpcd.model.keys import Key, Kind
from cpcd.model.ledger import DropFact, PutFact
from cpcd.model.seen import AddonSeen
from cpcd.model.view import View
from cpcd.plan import applyset, scopes
from cpcd.reconcilers import addon
from tests.unit.plan.build import (
    CP,
    NAME,
    built,
    cluster,
    group,
    identity,
    put,
    said,
    seen,
    unknown,
    view,
)

KEY = Key(NAME, Kind.ADDON, "hello")
SCOPE = scopes.addon(NAME, "hello")
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hello"}}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "hello"}}
PARENT_REF, NAMESPACE_REF, CONFIG_REF = (
    "ConfigMap/kube-system/cpcd-addon-hello",
    "Namespace//hello",
    "ConfigMap/hello/a",
)
OLD = ("v1", "Secret", "hello", "old", "uid-1")
CLAIM = ("v1", "PersistentVolumeClaim", "hello", "data", "uid-2")
SPACE = ("v1", "Namespace", "", "hello", "uid-3")
PARENT = ("v1", "ConfigMap", "kube-system", "cpcd-addon-hello", "uid-0")
FULL = Addon("hello", "full", (CONFIG, NAMESPACE), "d1")
APPLIED = f"applied/{NAME}/hello"
DONE = {APPLIED: "d1"}
REMOVED = {APPLIED: addon.REMOVED}


def whole(wanted: Addon | None = FULL, found: AddonSeen | None = None, known: dict[str, Any] | None = None) -> View:
    """Return an initialised cluster with this addon in the file, and its objects as found."""
    wished = cluster(group(CP, 1), addons=(wanted,) if wanted else ())
    facts = {**identity(), **(known or {})}
    return view(wished, known=facts, bulk={SCOPE: seen(found) if found else unknown()})


def decided(given: View) -> Any:
    """Return what is decided for the addon."""
    return addon.plan(KEY, given)


AT_REST = AddonSeen()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (view(cluster(addons=(FULL,))), "ControlPlaneInitializing"),
        (whole(), "ApiUnavailable"),
        (whole(found=AddonSeen((CONFIG_REF,), (), ())), "apply"),
        (whole(found=AddonSeen((), (CONFIG_REF,), ()), known=DONE), "apply"),
        (whole(found=AddonSeen((), (), (OLD,)), known=DONE), "prune"),
        (whole(found=AT_REST), "mark-applied"),
        (whole(found=AT_REST, known={APPLIED: "d0"}), "mark-applied"),
        (whole(found=AT_REST, known=DONE), "Ready"),
        (whole(found=AddonSeen(leaving=(OLD,)), known=DONE), "Terminating"),
        (whole(found=AT_REST, known=REMOVED), "mark-applied"),
        (whole(None, AddonSeen(surplus=(OLD,), parent=PARENT), DONE), "remove-addon"),
        (whole(None, AddonSeen(surplus=(OLD,), parent=PARENT), {APPLIED: ""}), "remove-addon"),
        (whole(None, AddonSeen(surplus=(OLD,), leaving=(SPACE,), parent=PARENT), REMOVED), "prune"),
        (whole(None, AddonSeen(leaving=(SPACE,), parent=PARENT), REMOVED), "Terminating"),
        (whole(None, AddonSeen(parent=PARENT), REMOVED), "prune"),
        (whole(None, AddonSeen(parent=PARENT), DONE), "prune"),
        (whole(None, AT_REST, REMOVED), "forget-addon"),
        (whole(None, AT_REST, DONE), "forget-addon"),
        (whole(None, AT_REST), "nothing"),
        (replace(whole(found=AT_REST, known=DONE), desired=Desired()), "nothing"),
    ],
)
def test_what_an_addon_needs_next(given: View, wanted: str) -> None:
    """Wait, apply, prune, remember, rest."""
    assert wanted == said(decided(given))


def test_the_parent_comes_first_then_all_else_that_is_wrong_and_prunes_come_last() -> None:
    """What the parent does not name could not be pruned, and nothing goes before all that is wanted is there."""
    wrong = AddonSeen((PARENT_REF, NAMESPACE_REF), (CONFIG_REF,), (OLD,))

    first = decided(whole(found=wrong)).steps
    second = decided(whole(found=replace(wrong, missing=(NAMESPACE_REF,)))).steps
    third = decided(whole(found=AddonSeen(surplus=(OLD,)))).steps

    assert [[PARENT_REF], [NAMESPACE_REF, CONFIG_REF]] == [refs(first), refs(second)]
    assert [OLD] == [one.obj for one in third]


@pytest.mark.parametrize(
    ("home", "said_so"), [("other", "Widget w is in addon other too"), ("hello", "Widget w is there twice")]
)
def test_what_stands_in_two_places_is_applied_and_pruned_by_nobody_after_the_first(home: str, said_so: str) -> None:
    """Two that apply one object would undo each other for ever, and each call itself ready."""
    found = AddonSeen((CONFIG_REF,), surplus=(OLD,), doubled=(("Widget w", home),))
    plan, begun = decided(whole(found=found)), decided(whole(found=replace(found, doubled=(*found.doubled,) * 3)))

    assert ((), Code.CONFIG, "ObjectDoubled") == (plan.steps, plan.refusal.code, plan.refusal.reason)
    assert f"addon hello is not applied: {said_so}" == plan.refusal.sentence
    assert " and 2 more " in begun.refusal.sentence


def refs(steps: Any) -> list[str]:
    """Return the references of what is applied."""
    return [applyset.ref(one.obj) for one in steps]


def test_what_others_live_in_is_pruned_last() -> None:
    """A namespace takes everything in it along, consented to or not."""
    steps = decided(whole(found=AddonSeen(surplus=(SPACE, OLD)))).steps

    assert [OLD, SPACE] == [one.obj for one in steps]


def test_the_parent_names_what_left_the_file_until_it_is_gone() -> None:
    """A prune that waits is found again by nothing else."""
    wrong = AddonSeen((PARENT_REF,), surplus=(CLAIM,), leaving=(OLD,))

    (step,) = decided(whole(found=wrong)).steps

    kinds = "ConfigMap,Namespace,PersistentVolumeClaim,Secret"
    assert kinds == step.obj["metadata"]["annotations"][applyset.KINDS]


def test_objects_are_applied_where_the_api_keeps_them() -> None:
    """The sentence says so too."""
    homeless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    found = AddonSeen(("ConfigMap/default/a",), placed=(("ConfigMap//a", "default"),))

    (step,) = decided(whole(replace(FULL, objects=(homeless,)), found)).steps

    assert "apply ConfigMap default/a of addon hello" == step.sentence


def test_only_what_is_wrong_is_applied() -> None:
    """No drift, no write."""
    steps = decided(whole(found=AddonSeen((), (CONFIG_REF,), ()))).steps

    assert [CONFIG_REF] == refs(steps)


def test_objects_are_labelled_as_members_of_their_set() -> None:
    """What is not labelled could not be pruned."""
    (step,) = decided(whole(found=AddonSeen((CONFIG_REF,), (), ()))).steps

    assert "applyset.kubernetes.io/part-of" in step.obj["metadata"]["labels"]


@pytest.mark.parametrize(
    ("known", "found", "wanted"),
    [
        ({}, AddonSeen((CONFIG_REF,), (), ()), "apply"),
        (DONE, AddonSeen((CONFIG_REF,), (), ()), "Ready"),
        ({APPLIED: "d0"}, AddonSeen((), (CONFIG_REF,), (OLD,)), "Ready"),
        ({APPLIED: ""}, AddonSeen((CONFIG_REF,)), "apply"),
        (REMOVED, AddonSeen((CONFIG_REF,)), "apply"),
    ],
)
def test_an_addon_of_one_time_is_left_alone_afterwards(known: dict[str, Any], found: AddonSeen, wanted: str) -> None:
    """`mode: oneTime`: what people change afterwards is theirs."""
    assert wanted == said(decided(whole(replace(FULL, mode="oneTime"), found, known)))


def folded(given: View) -> list[str]:
    """Return the sentences of all steps, each taken as succeeded; a wait that is not for consent ends it."""
    taken = []
    while steps := decided(given).steps:
        given = steps[0].expect(given.with_ledger(steps[0].changes(given)))
        taken.append(steps[0].sentence)
    return taken


def test_steps_fold_to_rest() -> None:
    """What each step is expected to leave is what the next plan starts from; the parent forgets what is pruned."""
    assert [
        "apply ConfigMap kube-system/cpcd-addon-hello of addon hello",
        "apply Namespace hello of addon hello",
        "apply ConfigMap hello/a of addon hello",
        "prune Secret hello/old of addon hello",
        "apply ConfigMap kube-system/cpcd-addon-hello of addon hello",
        "remember that addon hello was applied",
    ] == folded(whole(found=AddonSeen((PARENT_REF, CONFIG_REF), (NAMESPACE_REF,), (OLD,))))


def test_the_parent_is_not_written_again_where_nothing_of_it_changes() -> None:
    """A kind of which others are left in the same namespace."""
    other = ("v1", "ConfigMap", "hello", "b", "uid-4")

    assert ["prune ConfigMap hello/b of addon hello"] == folded(whole(found=AddonSeen(surplus=(other,)), known=DONE))


def test_an_addon_that_left_the_file_folds_to_nothing() -> None:
    """All of it in one decision, its parent last."""
    assert [
        "remove addon hello, which left the file, with Namespace hello, Secret hello/old",
        "prune Secret hello/old of addon hello",
        "prune Namespace hello of addon hello",
        "prune ConfigMap kube-system/cpcd-addon-hello of addon hello",
        "forget addon hello, which is pruned",
    ] == folded(whole(None, AddonSeen(surplus=(SPACE, OLD), parent=PARENT), DONE))


def test_consent_to_a_prune_is_for_that_object_alone_and_spent_by_it() -> None:
    """By kind, namespace and name; what takes neither data nor others with it needs none."""
    claim, secret = decided(whole(found=AddonSeen(surplus=(CLAIM, OLD)))).steps
    given = whole(known={f"approval/{claim.request}": 1.0, f"approval/{NAME}/prune/hello/Secret": 1.0})

    assert f"{NAME}/prune/hello/PersistentVolumeClaim/hello/data" == claim.request
    assert (DropFact(f"approval/{claim.request}"),) == claim.changes(given)
    assert (Risk.DESTROY, Risk.IN_PLACE) == (claim.risk, secret.risk)
    assert () == secret.changes(given)


def test_consent_to_a_removal_is_for_these_objects_alone_and_spent_by_the_decision() -> None:
    """One more object is another decision; the prunes after it need no consent."""
    (two,) = decided(whole(None, AddonSeen(surplus=(SPACE, CLAIM)), DONE)).steps
    (one,) = decided(whole(None, AddonSeen(surplus=(SPACE,)), DONE)).steps
    prunes = decided(whole(None, AddonSeen(surplus=(SPACE, CLAIM)), REMOVED)).steps
    given = whole(known={**DONE, f"approval/{two.request}": 1.0})

    assert one.request != two.request
    assert (PutFact(APPLIED, addon.REMOVED), DropFact(f"approval/{two.request}")) == two.changes(given)
    assert ([Risk.DESTROY], {Risk.IN_PLACE}) == ([two.risk], {prune.risk for prune in prunes})


def test_consent_that_nothing_spent_ends_when_the_addon_is_at_rest() -> None:
    """What came back into the file before it was pruned is asked for again when it leaves once more."""
    unspent = (f"approval/{NAME}/prune/hello/Namespace/hello", f"approval/{NAME}/remove-addon/hello/12345678")
    others = f"approval/{NAME}/prune/hello2/Namespace/hello"
    given = whole(found=AT_REST, known={**DONE, **dict.fromkeys((*unspent, others), 1.0)})

    (step,) = decided(given).steps

    assert {DropFact(name) for name in unspent} | {PutFact(APPLIED, "d1")} == set(step.changes(given))


@pytest.mark.parametrize(("known", "wanted"), [({}, ""), (REMOVED, ""), (DONE, None), ({APPLIED: ""}, None)])
def test_an_addon_is_remembered_from_its_first_object_on(known: dict[str, Any], wanted: str | None) -> None:
    """One that is never whole can be pruned too, and one that comes back is no longer removed."""
    given = whole(found=AddonSeen((PARENT_REF,)), known=known)

    (step,) = decided(given).steps

    assert (() if wanted is None else (PutFact(APPLIED, wanted),)) == step.changes(given)


def test_an_addon_that_left_the_file_keeps_its_key_until_it_is_pruned() -> None:
    """What was applied is remembered by name."""
    rest = put(built(cluster(group(CP, 1), addons=(FULL,)), now=cluster(group(CP, 1))))

    assert (KEY,) == addon.keys(rest)


def test_an_addon_is_not_read_before_there_is_a_cluster() -> None:
    """Nothing would answer."""
    assert ((), (SCOPE, scopes.api(NAME))) == (
        addon.reads(KEY, view(cluster(addons=(FULL,)))), addon.reads(KEY, whole()),
    )  # fmt: skip
