"""ApplySets: names, ids and labels of KEP-3659, so that what leaves the file is found again."""

import json
import re
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


def test_the_parent_names_kinds_and_namespaces_of_its_members() -> None:
    """By group, sorted; its own namespace and none are no additional ones."""
    given = [*GIVEN, obj("ConfigMap", "c", "kube-system"), obj("Role", "r", "other", "rbac.authorization.k8s.io/v1")]

    notes = applyset.objects("demo", given)[0]["metadata"]["annotations"]

    kinds = "ConfigMap,Deployment.apps,Namespace,Role.rbac.authorization.k8s.io"
    assert kinds == notes["applyset.kubernetes.io/contains-group-kinds"]
    assert "hello,other" == notes["applyset.kubernetes.io/additional-namespaces"]


def test_the_parent_says_who_keeps_it_and_in_which_version() -> None:
    """A ConfigMap beside kubeadm's, with `<toolname>/<semver>`."""
    (parent,) = applyset.objects("demo", [])
    notes = parent["metadata"]["annotations"]

    assert "ConfigMap/kube-system/cpcd-addon-demo" == applyset.ref(parent)
    assert "v1" == parent["apiVersion"]
    assert re.fullmatch(r"cpcd/\d+\.\d+\.\d+", notes["applyset.kubernetes.io/tooling"])
    assert "applyset.kubernetes.io/additional-namespaces" not in notes


def test_the_parent_keeps_what_is_not_gone_yet() -> None:
    """The kinds and namespaces of members that left the file, until they are pruned."""
    kept = [("v1", "Secret", "old", "s", "uid-1"), ("apps/v1", "Deployment", "hello", "d", "uid-2")]

    notes = applyset.objects("demo", GIVEN, kept)[0]["metadata"]["annotations"]

    assert "ConfigMap,Deployment.apps,Namespace,Secret" == notes["applyset.kubernetes.io/contains-group-kinds"]
    assert "hello,old" == notes["applyset.kubernetes.io/additional-namespaces"]


def test_references_tell_objects_apart_but_not_their_versions() -> None:
    """Also of one name in two namespaces or groups; the same object in another version is the same."""
    others = [
        obj("ConfigMap", "a", "other"),
        obj("ConfigMap", "a", "hello", "x/v1"),
        obj("ConfigMap", "a", "hello", "v2"),
    ]
    refs = {applyset.ref(one) for one in [*GIVEN, *others]}

    assert (6, True) == (len(refs), "Namespace//hello" in refs)


def test_objects_are_placed_where_the_api_keeps_them() -> None:
    """By the reference that the file gives; the others stay as they are."""
    given = [obj("ConfigMap", "a"), obj("ClusterRole", "r", "hello", "rbac.authorization.k8s.io/v1"), *GIVEN]
    where = {"ConfigMap//a": "default", "ClusterRole.rbac.authorization.k8s.io/hello/r": ""}

    spaces = [one["metadata"].get("namespace") for one in applyset.placed(given, where)]

    assert ["default", None, "hello", "hello", None, "hello"] == spaces


def test_a_digest_stands_for_exactly_these_objects() -> None:
    """In any order; another uid is another object."""
    one, two = ("v1", "Secret", "", "s", "uid-1"), ("v1", "Secret", "", "s", "uid-2")
    digests = {applyset.digest(these) for these in ([one, two], [two, one], [one], [two], [])}

    assert (4, {8}) == (len(digests), {len(one) for one in digests})


def _by_hand(text: str) -> str:
    import base64
    import hashlib

    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
