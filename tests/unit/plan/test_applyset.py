"""ApplySets: names, ids and labels of KEP-3659, so that what leaves the file is found again."""

import json
from typing import Any

from cpcd.plan import applyset


def obj(kind: str, name: str, namespace: str = "", version: str = "v1", **labels: str) -> dict[str, Any]:
    """Return a manifest."""
    meta: dict[str, Any] = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": {**meta, **({"labels": labels} if labels else {})}}


GIVEN = [
    obj("Deployment", "web", "hello", "apps/v1", app="web"),
    obj("ConfigMap", "b", "hello"),
    obj("Namespace", "hello"),
    obj("ConfigMap", "a", "hello"),
]


def test_the_parent_comes_first_namespaces_next_and_the_rest_in_file_order() -> None:
    """What others live in has to be there before them."""
    names = [one["metadata"]["name"] for one in applyset.objects("demo", GIVEN)]

    assert ["cpcd-addon-demo", "hello", "web", "b", "a"] == names


def test_every_member_carries_the_sets_label_beside_its_own() -> None:
    """And the given manifests stay as they were."""
    before = json.dumps(GIVEN)
    members = applyset.objects("demo", GIVEN)[1:]

    label = applyset.identifier("demo")
    assert {label} == {one["metadata"]["labels"][applyset.PART_OF] for one in members}
    assert "web" == members[1]["metadata"]["labels"]["app"]
    assert before == json.dumps(GIVEN)


def test_the_id_is_the_keps() -> None:
    """sha256 of `name.namespace.kind.group`, base64url, `applyset-…-v1`; computed here by hand for one name."""
    wanted = "applyset-" + _by_hand("cpcd-addon-demo.kube-system.ConfigMap.") + "-v1"

    assert wanted == applyset.identifier("demo")


def test_the_parent_names_every_kind_of_its_members() -> None:
    """Group kinds for other tools, versions too for our own pruning."""
    parent = applyset.objects("demo", GIVEN)[0]

    notes = parent["metadata"]["annotations"]
    assert "ConfigMap,Deployment.apps,Namespace" == notes["applyset.kubernetes.io/contains-group-kinds"]
    assert [["apps/v1", "Deployment"], ["v1", "ConfigMap"], ["v1", "Namespace"]] == json.loads(notes[applyset.KINDS])


def test_references_tell_objects_apart() -> None:
    """Also of one name in two namespaces, or of two versions."""
    refs = {applyset.ref(one) for one in [*GIVEN, obj("ConfigMap", "a", "other"), obj("ConfigMap", "a", "hello", "v2")]}

    assert (6, True) == (len(refs), "v1/Namespace//hello" in refs)


def _by_hand(text: str) -> str:
    import base64
    import hashlib

    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
