"""Templates: found by id or tags, missing or ambiguous ones are refused with what to do."""

from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.desired import Desired, TemplateRef
from cpcd.model.keys import Key, Kind
from cpcd.model.seen import Resource
from cpcd.plan import scopes
from cpcd.reconcilers import template
from tests.unit.plan.build import CP, SITE, WORKERS, cluster, group, said, seen, spec, unknown, view

TAGGED = TemplateRef("base", tags=("cpcd-debian", "prod"))
ONE = cluster(group(CP), group(WORKERS, machine=spec(template=TAGGED)))
KEY = Key(SITE, Kind.TEMPLATE, "base")


def copy(vmid: int, node: str) -> Resource:
    """Return a copy of the template."""
    return Resource(vmid, node, "base", "stopped", template=True, tags=TAGGED.tags, lock="")


def decided(found: Any, key: Key = KEY) -> Any:
    """Return what is decided about a template of which this was found."""
    whole = view(ONE, bulk={scopes.template(SITE, key.name): found})
    return template.plan(key, whole)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (unknown(), "ProxmoxUnknown"),
        (seen(()), "TemplateMissing"),
        (seen((copy(9000, "pve1"),)), "Ready"),
        (seen((copy(9000, "pve1"), copy(9001, "pve2"))), "Ready"),
        (seen((copy(9000, "pve1"), copy(9001, "pve1"))), "TemplateAmbiguous"),
    ],
)
def test_what_is_found_decides(found: Any, wanted: str) -> None:
    """Unknown is not missing; two on one node are ambiguous."""
    assert wanted == said(decided(found))


def test_a_missing_template_is_named_as_the_file_names_it() -> None:
    """By tags, or by VMID."""
    by_tags, by_id = decided(seen(())).refusal, decided(seen(()), Key(SITE, Kind.TEMPLATE, "ubuntu")).refusal

    assert ("no template with tags cpcd-debian, prod is on home", "no template with VMID 9000 is on home") == (
        by_tags.sentence, by_id.sentence,
    )  # fmt: skip


def test_an_ambiguous_template_lists_the_candidates() -> None:
    """So that one can be named by templateID."""
    refusal = decided(seen((copy(9000, "pve2"), copy(9001, "pve1"), copy(9002, "pve1")))).refusal

    assert "tags cpcd-debian, prod fit several templates on pve1: 9001, 9002" == refusal.sentence


@pytest.mark.parametrize(
    ("disks", "sentence"),
    [
        ({"virtio0": "a:1,size=8G"}, "template 9001 on pve2 has no disk scsi0; it has virtio0"),
        ({"scsi0": "a:1,size=32G"}, "scsi0 of template 9001 on pve2 has 32 GiB and cannot shrink to 20"),
    ],
)
def test_disks_that_cannot_be_what_is_wanted_are_refused(disks: dict[str, str], sentence: str) -> None:
    """Each copy's disks are compared with what every group wants of them; the sentence names both."""
    good = replace(copy(9000, "pve1"), disks=(("scsi0", "a:1,size=20G"),))
    bad = replace(copy(9001, "pve2"), disks=tuple(disks.items()))

    assert f"disks.bootVolume of lab/{WORKERS}: {sentence}" == decided(seen((good, bad))).refusal.sentence


def test_clusters_on_one_proxmox_share_their_templates_keys() -> None:
    """A template belongs to its Proxmox."""
    other = replace(ONE, name="other")
    both = replace(view(ONE), desired=Desired({"lab": ONE, "other": other}))

    assert (KEY, Key(SITE, Kind.TEMPLATE, "ubuntu")) == template.keys(both)


def test_a_template_nobody_refers_to_is_no_more() -> None:
    """Its key settles in silence."""
    assert "nothing" == said(decided(seen(()), Key(SITE, Kind.TEMPLATE, "old")))


def test_a_template_that_nobody_refers_to_is_no_object_any_more() -> None:
    """It is neither read nor watched, so that its key ends and status forgets it."""
    gone = Key(SITE, Kind.TEMPLATE, "the-one-before")

    assert template.reads(gone, view()) == ()
    assert template.watches(gone, view()) == ()
