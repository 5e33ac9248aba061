"""Addons: applied in order, corrected when they drift, pruned when they leave the file."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.desired import Addon, Desired
from cpcd.model.keys import Key, Kind
from cpcd.model.seen import AddonSeen
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.reconcilers import addon
from tests.unit.plan.build import (
    CP,
    INSTANT,
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
    "v1/ConfigMap/kube-system/cpcd-addon-hello",
    "v1/Namespace//hello",
    "v1/ConfigMap/hello/a",
)
OLD = ("v1", "Secret", "hello", "old", "uid-1")
FULL = Addon("hello", "full", (CONFIG, NAMESPACE), "d1")
DONE = {f"applied/{NAME}/hello": "d1"}


def whole(wanted: Addon | None = FULL, found: AddonSeen | None = None, known: dict[str, Any] | None = None) -> View:
    """Return an initialised cluster with this addon in the file, and its objects as found."""
    wished = cluster(group(CP, 1), addons=(wanted,) if wanted else ())
    facts = {**identity(), **(known or {})}
    return view(wished, known=facts, bulk={SCOPE: seen(found) if found else unknown()})


def decided(given: View) -> Any:
    """Return what is decided for the addon."""
    return addon.plan(KEY, given, given.bulk, INSTANT)


AT_REST = AddonSeen((), (), ())


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (view(cluster(addons=(FULL,))), "ControlPlaneInitializing"),
        (whole(), "ApiUnavailable"),
        (whole(found=AddonSeen((CONFIG_REF,), (), ())), "apply"),
        (whole(found=AddonSeen((), (CONFIG_REF,), ()), known=DONE), "apply"),
        (whole(found=AddonSeen((), (), (OLD,)), known=DONE), "prune"),
        (whole(found=AT_REST), "mark-applied"),
        (whole(found=AT_REST, known={f"applied/{NAME}/hello": "d0"}), "mark-applied"),
        (whole(found=AT_REST, known=DONE), "Ready"),
        (whole(None, AddonSeen((), (), (OLD,)), DONE), "prune"),
        (whole(None, AT_REST, DONE), "forget-addon"),
        (replace(whole(found=AT_REST), desired=Desired()), "ControlPlaneInitializing"),
    ],
)
def test_what_an_addon_needs_next(given: View, wanted: str) -> None:
    """Wait, apply, prune, remember, rest."""
    assert wanted == said(decided(given))


def test_all_that_is_wrong_is_applied_in_order_and_then_pruned() -> None:
    """The set's parent first, namespaces before what lives in them, removals last."""
    found = AddonSeen((PARENT_REF, NAMESPACE_REF), (CONFIG_REF,), (OLD,))

    steps = decided(whole(found=found)).steps

    assert [PARENT_REF, NAMESPACE_REF, CONFIG_REF] == [one.ref for one in steps[:3]]
    assert [OLD] == [one.obj for one in steps[3:]]


def test_only_what_is_wrong_is_applied() -> None:
    """No drift, no write."""
    steps = decided(whole(found=AddonSeen((), (CONFIG_REF,), ()))).steps

    assert [CONFIG_REF] == [one.ref for one in steps]


def test_objects_are_labelled_as_members_of_their_set() -> None:
    """What is not labelled could not be pruned."""
    (step,) = decided(whole(found=AddonSeen((CONFIG_REF,), (), ()))).steps

    assert "applyset.kubernetes.io/part-of" in step.obj["metadata"]["labels"]


@pytest.mark.parametrize(
    ("known", "found", "wanted"),
    [
        ({}, AddonSeen((CONFIG_REF,), (), ()), "apply"),
        (DONE, AddonSeen((CONFIG_REF,), (), ()), "Ready"),
        ({f"applied/{NAME}/hello": "d0"}, AddonSeen((), (CONFIG_REF,), (OLD,)), "Ready"),
    ],
)
def test_an_addon_of_one_time_is_left_alone_afterwards(known: dict[str, Any], found: AddonSeen, wanted: str) -> None:
    """`mode: oneTime`: what people change afterwards is theirs."""
    assert wanted == said(decided(whole(replace(FULL, mode="oneTime"), found, known)))


def test_steps_fold_to_rest() -> None:
    """What each step is expected to leave is what the next plan starts from."""
    given, taken = whole(found=AddonSeen((PARENT_REF, CONFIG_REF), (NAMESPACE_REF,), (OLD,))), []
    while steps := decided(given).steps:
        given = steps[0].expect(given.with_ledger(steps[0].changes(given)))
        taken.append(steps[0].verb)

    assert ["apply", "apply", "apply", "prune", "mark-applied"] == taken


def test_an_addon_that_left_the_file_keeps_its_key_until_it_is_pruned() -> None:
    """What was applied is remembered by name."""
    rest = put(built(cluster(group(CP, 1), addons=(FULL,)), now=cluster(group(CP, 1))))

    assert (KEY,) == addon.keys(rest)


def test_an_addon_is_not_read_before_there_is_a_cluster() -> None:
    """Nothing would answer."""
    assert ((), (SCOPE, scopes.api(NAME))) == (
        addon.reads(KEY, view(cluster(addons=(FULL,)))), addon.reads(KEY, whole()),
    )  # fmt: skip
