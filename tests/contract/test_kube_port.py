"""One suite for the Kubernetes port, run on each implementation: the lab's store in process, and the adapter over HTTPS.

Tests use the port alone, so that a real Kubernetes is one more site: `tests/real/kube_port.py`. More of it stands in
`test_kube_addons.py`, `test_kube_tokens.py` and `test_kube_wire.py`.
"""

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509

from cpcd.lab.kube.budgets import is_ready
from cpcd.lab.kube.kinds import BUILTIN, group
from cpcd.lab.kube.pki import request as signing_request
from cpcd.model.errors import Code, Failure, NotServed
from cpcd.plan import applyset
from cpcd.ports.kube import GVK, Object, Served
from cpcd.spec.presets import flannel
from tests.contract.kube_site import CONFIG, EVENT, NODE, SPACE, Site, config, event, eventually, failure, gone

DEPLOYMENT = GVK("apps/v1", "Deployment")
SECRET = GVK("v1", "Secret")
POD = GVK("v1", "Pod")
CORDONED = "node.kubernetes.io/unschedulable"
BUDGET = GVK("policy/v1", "PodDisruptionBudget")
WEB = {"app": "web"}
CSR = GVK("certificates.k8s.io/v1", "CertificateSigningRequest")


async def test_ready_and_of_a_version(site: Site) -> None:
    """The version is the server's gitVersion."""
    assert await site.kube.readyz()
    assert (await site.kube.version()).startswith("v1.")


async def test_applied_object_is_stored_once(site: Site) -> None:
    """Applying the same again is no write: the resourceVersion stays."""
    first = await site.kube.apply(config(a="1"))
    again = await site.kube.apply(config(a="1"))
    stored = await site.kube.get(CONFIG, "c", SPACE)

    assert stored is not None
    assert {"a": "1"} == stored["data"]
    assert 1 == len({each["metadata"]["resourceVersion"] for each in (first, again, stored)})
    assert 1 == len({each["metadata"]["uid"] for each in (first, again, stored)})


async def test_field_left_out_of_the_next_apply_is_removed(site: Site) -> None:
    """Server-side apply knows what was ours."""
    await site.kube.apply(config(a="1", b="2"))
    applied = await site.kube.apply(config(a="1"))

    assert {"a": "1"} == applied["data"]


async def test_key_left_out_of_string_data_stays(site: Site) -> None:
    """It is write-only: nobody owns what it became, and nobody's value is a conflict for it."""
    for key in ("a", "b"):
        await site.kube.apply({**secret("Opaque"), "stringData": {key: "1"}})
    await site.kube.patch(SECRET, "contract", {"data": {"b": "Mg=="}}, namespace=SPACE)
    stored = await site.kube.apply({**secret("Opaque"), "stringData": {"b": "1"}}, force=False)
    await site.kube.delete(SECRET, "contract", namespace=SPACE, uid=stored["metadata"]["uid"])

    assert {"a": "MQ==", "b": "MQ=="} == stored["data"]
    assert "stringData" not in stored


async def test_item_left_out_of_the_next_apply_is_removed(site: Site) -> None:
    """Items of a list are known by their names; the last one takes the list with it."""
    seen = []
    for names in (("a", "b"), ("b",), ()):
        await web(site, replicas=0, env=[{"name": name, "value": "1"} for name in names])
        stored = await site.kube.get(DEPLOYMENT, "web", SPACE)
        assert stored is not None
        seen.append(stored["spec"]["template"]["spec"]["containers"][0].get("env"))

    assert [[{"name": "a", "value": "1"}, {"name": "b", "value": "1"}], [{"name": "b", "value": "1"}], None] == seen


async def test_foreign_value_is_a_conflict_unless_forced(site: Site) -> None:
    """Who changed a field by a patch owns it from then on."""
    await site.kube.apply(config(a="1"))
    await site.kube.patch(CONFIG, "c", {"data": {"a": "theirs"}}, namespace=SPACE)
    error = await failure(site.kube.apply(config(a="1"), force=False))
    forced = await site.kube.apply(config(a="1"))

    assert error.code is Code.EXECUTION
    assert "409 Conflict" in error.what
    assert {"a": "1"} == forced["data"]


async def test_field_of_another_manager_outlives_our_apply(site: Site) -> None:
    """What we never applied is not ours to remove, and the object tells whose is what."""
    await site.kube.apply(config(a="1"))
    await site.kube.patch(CONFIG, "c", {"data": {"b": "2"}}, namespace=SPACE)
    applied = await site.kube.apply(config(a="3"))
    entries = applied["metadata"]["managedFields"]

    assert {"a": "3", "b": "2"} == applied["data"]
    assert {("cpcd", "Apply"): {"f:a": {}}, ("cpcd", "Update"): {"f:b": {}}} == {
        (entry["manager"], entry["operation"]): entry["fieldsV1"]["f:data"] for entry in entries
    }


async def test_field_that_two_managers_hold_stays_when_one_leaves_it_out(site: Site) -> None:
    """It goes with the last of them."""
    await site.kube.apply(config(a="1"))
    await site.kube.patch(CONFIG, "c", {"data": {"b": "2"}}, namespace=SPACE)
    shared = await site.kube.apply(config(a="1", b="2"), force=False)
    left = await site.kube.apply(config(a="1"))

    assert [{"a": "1", "b": "2"}] * 2 == [one["data"] for one in (shared, left)]


async def test_conflict_names_holder_and_fields(site: Site) -> None:
    """One in a sentence, more of them in a list."""
    await site.kube.apply(config(a="1", b="1"))
    said = []
    for key in ("a", "b"):
        await site.kube.patch(CONFIG, "c", {"data": {key: "2"}}, namespace=SPACE)
        said.append((await failure(site.kube.apply(config(a="1", b="1"), force=False))).what)

    assert 'Apply failed with 1 conflict: conflict with "cpcd" using v1: .data.a' in said[0]
    assert 'Apply failed with 2 conflicts: conflicts with "cpcd" using v1:\n- .data.a\n- .data.b' in said[1]


async def test_dry_run_tells_and_stores_nothing(site: Site) -> None:
    """The answer is what would be stored."""
    await site.kube.apply(config(a="1"))
    would = await site.kube.apply(config(a="2"), dry_run=True)
    stored = await site.kube.get(CONFIG, "c", SPACE)

    assert stored is not None
    assert ("2", "1") == (would["data"]["a"], stored["data"]["a"])


async def test_namespace_must_exist(site: Site) -> None:
    """An object never makes its namespace."""
    obj = config(a="1")
    obj["metadata"]["namespace"] = "nowhere"

    assert "404" in (await failure(site.kube.apply(obj))).what


async def test_absent_is_none(site: Site) -> None:
    """An object, its namespace or its kind may be missing."""
    kube = site.kube

    assert [None, None, None] == [
        await kube.get(CONFIG, "nope", SPACE), await kube.get(CONFIG, "c", "nowhere"),
        await kube.get(GVK("example.org/v1", "Thing"), "x", SPACE),
    ]  # fmt: skip


async def test_object_without_a_namespace_is_in_default(site: Site) -> None:
    """As with kubectl, for every verb that names one object."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "homeless"}, "data": {"a": "1"}}
    would = await site.kube.apply(obj, dry_run=True)
    stored = await site.kube.apply(obj)
    found = await site.kube.get(CONFIG, "homeless")
    patched = await site.kube.patch(CONFIG, "homeless", {"data": {"b": "2"}})
    await site.kube.delete(CONFIG, "homeless", uid=stored["metadata"]["uid"])

    assert found is not None
    assert ["default"] * 4 == [one["metadata"]["namespace"] for one in (would, stored, found, patched)]
    assert await site.kube.get(CONFIG, "homeless", "default") is None


async def test_object_of_a_kind_without_namespaces_has_none(site: Site) -> None:
    """Whatever its manifest says; nobody has to know the kind's scope to name it."""
    role = GVK("rbac.authorization.k8s.io/v1", "ClusterRole")
    metadata = {"name": "cpcd-contract", "namespace": SPACE}
    stored = await site.kube.apply(
        {"apiVersion": role.api_version, "kind": role.kind, "metadata": metadata, "rules": []}
    )
    found = await site.kube.get(role, "cpcd-contract", SPACE)
    await site.kube.delete(role, "cpcd-contract", namespace=SPACE, uid=stored["metadata"]["uid"])

    assert found is not None
    assert [False, False] == ["namespace" in one["metadata"] for one in (stored, found)]
    assert await site.kube.get(role, "cpcd-contract") is None


async def test_kinds_are_known_by_group_with_their_scope(site: Site) -> None:
    """A kind's version is the API's business; what no version of the API has is None."""
    asked = [("", "ConfigMap"), ("", "Node"), ("apps", "Deployment"), ("apps", "Thing"), ("example.org", "Thing")]

    assert [
        Served(CONFIG, namespaced=True), Served(GVK("v1", "Node"), namespaced=False),
        Served(GVK("apps/v1", "Deployment"), namespaced=True), None, None,
    ] == [await site.kube.served(group, kind) for group, kind in asked]  # fmt: skip


async def test_kinds_of_the_lab_are_the_api_s(site: Site) -> None:
    """Each is served in the same version, and in namespaces or not."""
    wanted = [Served(GVK(row.api_version, row.kind), namespaced=row.namespaced) for row in BUILTIN.values()]

    assert wanted == [await site.kube.served(group(row.api_version), row.kind) for row in BUILTIN.values()]


GROUP = "contract.cpcd.dev"
OLD, NEW = GVK(f"{GROUP}/v1beta1", "Thing"), GVK(f"{GROUP}/v1", "Thing")
DEFINITION = GVK("apiextensions.k8s.io/v1", "CustomResourceDefinition")


@pytest.fixture
async def things(site: Site) -> AsyncIterator[Site]:
    """Return a site whose API serves Things in two versions, the older one declared first."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": "v1beta1", "served": True, "storage": True, "schema": schema},
        {"name": "v1", "served": True, "storage": False, "schema": schema},
    ]
    names = {"kind": "Thing", "listKind": "ThingList", "plural": "things", "singular": "thing"}
    defined = await site.kube.apply({
        "apiVersion": DEFINITION.api_version, "kind": DEFINITION.kind, "metadata": {"name": f"things.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": versions},
    })  # fmt: skip
    await until(site, served=True)
    yield site
    await site.kube.delete(DEFINITION, f"things.{GROUP}", uid=defined["metadata"]["uid"])
    await until(site, served=False)


async def until(site: Site, *, served: bool) -> None:
    """Wait until Things can be listed, or are no kind any more."""
    for _ in range(100):
        if await listable(site) is served:
            return
        await site.wait(1)
    raise AssertionError


async def listable(site: Site) -> bool | None:
    """Tell whether Things can be listed; None while their group is known and not served, or their storage is made."""
    try:
        await site.kube.list(NEW)
    except NotServed:
        return False
    except Failure:
        return None
    return await site.kube.served(GROUP, "Thing") is not None


def thing(version: GVK, **spec: str) -> Object:
    """Return a Thing."""
    metadata = {"name": "t", "namespace": SPACE, "labels": {"a": "b"}}
    return {"apiVersion": version.api_version, "kind": "Thing", "metadata": metadata, "spec": spec}


async def test_object_is_one_in_all_versions_of_its_kind(things: Site) -> None:
    """Applied in another version it is the same object, and each version shows it under its own name."""
    kube = things.kube
    old = await kube.apply(thing(OLD, x="1"))
    would = await kube.apply(thing(NEW, x="1"), dry_run=True)
    new = await kube.apply(thing(NEW, x="2"))
    seen = [await kube.get(version, "t", SPACE) for version in (OLD, NEW)]
    listed = [(await kube.list(version, labels="a=b"))[0][0] for version in (OLD, NEW)]

    assert Served(NEW, namespaced=True) == await kube.served(GROUP, "Thing")
    assert {old["metadata"]["uid"]} == {one["metadata"]["uid"] for one in (would, new, *seen, *listed) if one}
    assert [OLD.api_version, NEW.api_version] * 2 == [one["apiVersion"] for one in (*seen, *listed) if one]
    assert {"x": "2"} == new["spec"]


async def test_objects_go_with_the_definition_of_their_kind(things: Site) -> None:
    """What is not served has no objects; defined again it has none either."""
    await things.kube.apply(thing(NEW))
    defined = await things.kube.get(DEFINITION, f"things.{GROUP}")
    assert defined is not None
    await things.kube.delete(DEFINITION, f"things.{GROUP}", uid=defined["metadata"]["uid"])
    await until(things, served=False)

    assert await things.kube.get(NEW, "t", SPACE) is None
    assert Code.EXECUTION is (await failure(things.kube.apply(thing(NEW)))).code


async def test_dry_run_meets_the_refusal_that_the_apply_would_meet(site: Site) -> None:
    """An immutable field, for one: the API's words are the same, and nothing is changed."""
    await site.kube.apply({**config(a="1"), "immutable": True})
    changed = {**config(a="2"), "immutable": True}
    refused = [await failure(site.kube.apply(changed, dry_run=dry)) for dry in (True, False)]
    stored = await site.kube.get(CONFIG, "c", SPACE)

    assert stored is not None
    assert [Code.EXECUTION] * 2 == [one.code for one in refused]
    assert all("422" in one.what and "immutable" in one.what for one in refused)
    assert {"a": "1"} == stored["data"]


def role_binding(role: str) -> Object:
    """Return a binding of a role."""
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    metadata = {"name": "contract", "namespace": SPACE}
    return {
        "apiVersion": f"{reference['apiGroup']}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": reference,
    }


def storage_class(policy: str) -> Object:
    """Return a class of storage."""
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "contract"}}
    return {**kind, "provisioner": "contract.cpcd.dev/none", "reclaimPolicy": policy}


def secret(kind: str) -> Object:
    """Return a Secret of a type."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "contract", "namespace": SPACE}, "type": kind}


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (role_binding("a"), role_binding("b"), "cannot change roleRef"),
        (storage_class("Delete"), storage_class("Retain"), "updates to reclaimPolicy are forbidden"),
        (secret("contract.cpcd.dev/a"), secret("contract.cpcd.dev/b"), "type: Invalid value"),
    ],
    ids=["role of a binding", "policy of a storage class", "type of a secret"],
)
async def test_what_cannot_change_is_refused(site: Site, old: Object, new: Object, field: str) -> None:
    """An addon's next release meets it in the plan, not half way through."""
    stored = await site.kube.apply(old)
    refused = [await failure(site.kube.apply(new, dry_run=dry)) for dry in (True, False)]
    gvk = GVK(old["apiVersion"], old["kind"])
    await site.kube.delete(gvk, "contract", namespace=SPACE, uid=stored["metadata"]["uid"])

    assert all("422" in one.what and field in one.what for one in refused)


async def test_selector_of_a_deployment_cannot_change(site: Site) -> None:
    """The refusal names the kind with its group, the object and the field."""
    await web(site, replicas=0)
    error = await failure(web(site, replicas=0, labels={"app": "other"}))

    assert 'Deployment.apps "web" is invalid: spec.selector: Invalid value' in error.what


async def test_list_selects_by_namespace_labels_and_fields(site: Site) -> None:
    """Items are whole objects with kind and version; the list has a revision to watch from."""
    for name, tier in (("a", "front"), ("b", "back"), ("c", "front")):
        await site.kube.apply(config(name, {"tier": tier}, x="1"))

    async def names(**selectors: str) -> list[str]:
        items, _ = await site.kube.list(CONFIG, namespace=SPACE, **selectors)
        return sorted(item["metadata"]["name"] for item in items if item["metadata"]["name"] != "kube-root-ca.crt")

    items, revision = await site.kube.list(CONFIG, namespace=SPACE)
    everywhere, _ = await site.kube.list(CONFIG)

    assert {("v1", "ConfigMap")} == {(item["apiVersion"], item["kind"]) for item in items}
    assert int(revision) > 0
    assert len(everywhere) >= len(items)
    assert [["a", "b", "c"], ["a", "c"], ["b"], ["b"]] == [
        await names(), await names(labels="tier=front"), await names(labels="tier notin (front)"),
        await names(fields="metadata.name=b"),
    ]  # fmt: skip


async def test_applied_addon_is_found_and_settled(site: Site) -> None:
    """A dry run of what was just applied changes nothing, the API's defaults included; its label finds its objects."""
    kube, wanted = site.kube, applyset.objects("flannel", flannel("10.244.0.0/16", "10.0.0.4", 6443), ())
    for obj in wanted:
        await kube.apply(obj)
    would = [meaning(await kube.apply(obj, dry_run=True)) for obj in wanted]
    live = [await kube.get(*placed(obj)) for obj in wanted]
    label = f"{applyset.PART_OF}={applyset.identifier('flannel')}"
    kinds = {placed(obj)[0] for obj in wanted}
    found = {
        applyset.ref({**one, "apiVersion": k.api_version})
        for k in kinds
        for one in (await kube.list(k, labels=label))[0]
    }
    for obj in filter(None, reversed(live)):
        gvk, name, namespace = placed(obj)
        await kube.delete(gvk, name, namespace=namespace, uid=obj["metadata"]["uid"])

    assert [meaning(obj) for obj in live if obj] == would
    assert {applyset.ref(obj) for obj in wanted[1:]} == found


def placed(obj: Mapping[str, Any]) -> tuple[GVK, str, str]:
    """Return where an object is."""
    return GVK(obj["apiVersion"], obj["kind"]), obj["metadata"]["name"], obj["metadata"].get("namespace", "")


def meaning(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object without what passes while nobody changes it."""
    volatile = {"managedFields", "resourceVersion", "generation"}
    metadata = {key: value for key, value in obj["metadata"].items() if key not in volatile}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


async def test_what_is_left_out_of_listed_nodes_is_no_label(site: Site) -> None:
    """A list may leave out what is most of a Node; a label may have any of those names."""
    labels = {"images": "text", "capacity": "large"}
    await ready_node(site)
    await site.kube.patch(NODE, site.node, {"metadata": {"labels": labels}})
    nodes, _ = await site.kube.list(NODE)
    (node,) = (one for one in nodes if one["metadata"]["name"] == site.node)

    assert labels == {name: node["metadata"]["labels"][name] for name in labels}
    await site.kube.patch(NODE, site.node, {"metadata": {"labels": dict.fromkeys(labels)}})


async def test_list_of_an_unknown_kind_fails(site: Site) -> None:
    """An empty list would be a lie; it is told from every other failure, since nothing of such a kind can be there."""
    thing = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x", "namespace": SPACE}}
    refused = [await failure(call) for call in (site.kube.list(GVK("example.org/v1", "Thing")), site.kube.apply(thing))]

    assert [(NotServed, Code.EXECUTION)] * 2 == [(type(one), one.code) for one in refused]


async def test_deleting_what_has_no_kind_any_more_is_a_no_op(site: Site) -> None:
    """Its definition went, and it with it."""
    await site.kube.delete(GVK("example.org/v1", "Thing"), "x", namespace=SPACE, uid="u")


async def test_patch_merges_and_removes(site: Site) -> None:
    """A null removes a key, the rest stays."""
    await site.kube.apply(config(a="1", b="2"))
    patched = await site.kube.patch(CONFIG, "c", {"data": {"a": None, "d": "4"}}, namespace=SPACE)

    assert {"b": "2", "d": "4"} == patched["data"]


async def test_patch_with_a_stale_revision_is_refused(site: Site) -> None:
    """Nobody's write in between is lost (`failures.md` C14)."""
    stale = (await site.kube.apply(config(a="1")))["metadata"]["resourceVersion"]
    await site.kube.apply(config(a="2"))
    change = {"metadata": {"resourceVersion": stale}, "data": {"a": "3"}}
    error = await failure(site.kube.patch(CONFIG, "c", change, namespace=SPACE))
    stored = await site.kube.get(CONFIG, "c", SPACE)

    assert stored is not None
    assert "409 Conflict" in error.what
    assert "2" == stored["data"]["a"]


async def test_write_that_means_another_object_is_refused(site: Site) -> None:
    """By revision or uid, whether applied or patched."""
    other = "00000000-0000-0000-0000-000000000000"
    stale = (await site.kube.apply(config(a="1")))["metadata"]["resourceVersion"]
    await site.kube.apply(config(a="2"))

    def meant(name: str, **metadata: str) -> Object:
        return {**config(a="3"), "metadata": {"name": name, "namespace": SPACE, **metadata}}

    refused = [
        await failure(site.kube.apply(meant("c", resourceVersion=stale))),
        await failure(site.kube.apply(meant("c", uid=other))),
        await failure(site.kube.apply(meant("none", uid=other))),
        await failure(site.kube.patch(CONFIG, "c", {"metadata": {"uid": other}}, namespace=SPACE)),
    ]

    wanted = ("modified", "uid: Invalid value", "uid mismatch", "uid: Invalid value")
    assert [True] * 4 == [word in error.what for word, error in zip(wanted, refused, strict=True)]
    assert [409, 422, 409, 422] == [code for error in refused for code in (409, 422) if f" {code} " in f" {error.what}"]


async def test_patch_of_nothing_fails(site: Site) -> None:
    """A patch never creates."""
    assert "404" in (await failure(site.kube.patch(CONFIG, "nope", {"data": {}}, namespace=SPACE))).what


async def test_delete_takes_only_the_uid_that_was_seen(site: Site) -> None:
    """Another object of the same name stays; deleting twice is fine."""
    uid = (await site.kube.apply(config(a="1")))["metadata"]["uid"]
    await site.kube.delete(CONFIG, "c", namespace=SPACE, uid="00000000-0000-0000-0000-000000000000")
    kept = await site.kube.get(CONFIG, "c", SPACE)
    await site.kube.delete(CONFIG, "c", namespace=SPACE, uid=uid)
    await site.kube.delete(CONFIG, "c", namespace=SPACE, uid=uid)

    assert kept is not None
    assert await site.kube.get(CONFIG, "c", SPACE) is None


async def test_finalizer_holds_what_is_deleted(site: Site) -> None:
    """It is on its way out until the last finalizer goes."""
    held = config(a="1")
    held["metadata"]["finalizers"] = [f"{GROUP}/held"]
    uid = (await site.kube.apply(held))["metadata"]["uid"]
    await site.kube.delete(CONFIG, "c", namespace=SPACE, uid=uid)
    ending = await site.kube.get(CONFIG, "c", SPACE)
    await site.kube.patch(CONFIG, "c", {"metadata": {"finalizers": None}}, namespace=SPACE)

    assert ending is not None
    assert "deletionTimestamp" in ending["metadata"]
    assert await site.kube.get(CONFIG, "c", SPACE) is None


async def test_dependents_go_with_their_owner(site: Site) -> None:
    """An addon's objects that others own are collected, not pruned."""
    owner = await site.kube.apply(config("owner", a="1"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    dependent = config("dependent", a="1")
    dependent["metadata"]["ownerReferences"] = [reference]
    await site.kube.apply(dependent)
    await site.kube.delete(CONFIG, "owner", namespace=SPACE, uid=owner["metadata"]["uid"])

    assert await eventually(site, lambda: gone(site, CONFIG, "dependent", SPACE))


async def test_namespace_goes_with_its_content(site: Site) -> None:
    """It is terminating until it is empty."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{SPACE}-short"}}
    inside = config(a="1")
    inside["metadata"]["namespace"] = f"{SPACE}-short"
    uid = (await site.kube.apply(space))["metadata"]["uid"]
    await site.kube.apply(inside)
    await site.kube.delete(GVK("v1", "Namespace"), f"{SPACE}-short", uid=uid)

    assert await eventually(site, lambda: gone(site, GVK("v1", "Namespace"), f"{SPACE}-short"))
    assert await site.kube.get(CONFIG, "c", f"{SPACE}-short") is None


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_namespace_that_kubernetes_lives_in_stays(site: Site, name: str) -> None:
    """Whoever prunes it by mistake is refused."""
    space = await site.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    error = await failure(site.kube.delete(GVK("v1", "Namespace"), name, uid=space["metadata"]["uid"]))
    after = await site.kube.get(GVK("v1", "Namespace"), name)

    assert Code.EXECUTION is error.code
    assert "403 Forbidden: " in error.what
    assert "this namespace may not be deleted" in error.what
    assert after is not None
    assert "deletionTimestamp" not in after["metadata"]


async def ready_node(site: Site) -> Object:
    """Return the site's Node, once it is ready and the node controller has no taint on it any more."""

    async def ready() -> Object | None:
        node = await site.kube.get(NODE, site.node)
        return node if node and is_ready(node) and not node["spec"].get("taints") else None

    return await eventually(site, ready)


async def test_labels_of_a_node_change_one_by_one(site: Site) -> None:
    """The others' stay."""
    before = await ready_node(site)
    labelled, after = [
        await site.kube.patch(NODE, site.node, {"metadata": {"labels": {"contract.cpcd.dev/a": value}}})
        for value in ("1", None)
    ]

    theirs = before["metadata"].get("labels", {})
    assert [theirs | {"contract.cpcd.dev/a": "1"}, theirs] == [
        one["metadata"].get("labels", {}) for one in (labelled, after)
    ]


async def test_cordoned_node_is_tainted_for_as_long_as_it_is(site: Site) -> None:
    """The node controller adds its taint, with the time, and takes it away; ours stays."""
    mine = {"key": "contract.cpcd.dev/mine", "value": "x", "effect": "PreferNoSchedule"}

    async def taints(*, cordoned: bool) -> list[dict[str, str]] | None:
        node = await site.kube.get(NODE, site.node)
        assert node is not None
        found = node["spec"].get("taints", [])
        return found if cordoned is any(CORDONED == taint["key"] for taint in found) else None

    await ready_node(site)
    await site.kube.patch(NODE, site.node, {"spec": {"unschedulable": True, "taints": [mine]}})
    during = await eventually(site, lambda: taints(cordoned=True))
    await site.kube.patch(NODE, site.node, {"spec": {"unschedulable": None}})
    after = await eventually(site, lambda: taints(cordoned=False))
    await site.kube.patch(NODE, site.node, {"spec": {"taints": None}})

    assert mine in during
    assert [{"key": CORDONED, "effect": "NoSchedule"}] == [
        {key: taint[key] for key in ("key", "effect")} for taint in during if "timeAdded" in taint
    ]
    assert mine in after


async def test_approved_request_is_signed(site: Site) -> None:
    """The request is a kubelet's own; a second approval changes nothing."""
    asked = signing_request("w1", "127.66.0.7")
    text = base64.b64encode(asked.encode()).decode()
    spec = {
        "request": text,
        "signerName": "kubernetes.io/kubelet-serving",
        "usages": ["digital signature", "server auth"],
    }
    name = f"csr-{random.getrandbits(32):08x}"
    await site.kube.apply({"apiVersion": CSR.api_version, "kind": CSR.kind, "metadata": {"name": name}, "spec": spec})
    await site.kube.approve(name)
    await site.kube.approve(name)

    async def signed() -> Object | None:
        found = await site.kube.get(CSR, name)
        return found if found and "certificate" in found["status"] else None

    status = (await eventually(site, signed))["status"]
    assert ["Approved"] == [condition["type"] for condition in status["conditions"]]
    request = x509.load_pem_x509_csr(asked.encode())
    certificate = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
    assert (request.subject, request.public_key()) == (certificate.subject, certificate.public_key())
    assert [
        one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for one in (request, certificate)
    ] == [x509.SubjectAlternativeName([x509.DNSName("w1"), x509.IPAddress(ip_address("127.66.0.7"))])] * 2


async def test_status_of_a_deployment_leaves_out_what_is_none(site: Site) -> None:
    """A count that is missing is 0; whoever waits for one has to know."""
    counts = []
    for size in (1, 0):
        await web(site, replicas=size)
        counts.append(await eventually(site, lambda size=size: replicas(site, size)))

    assert [dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1), {}] == [
        {key: value for key, value in one.items() if key.endswith("Replicas") or key == "replicas"} for one in counts
    ]


async def replicas(site: Site, size: int) -> dict[str, Any] | None:
    """Return the Deployment's status once it has that many pods, without what 1.35 has in addition."""
    found = await site.kube.get(DEPLOYMENT, "web", SPACE)
    assert found is not None
    status: dict[str, Any] = found.get("status", {})
    reached = found["metadata"]["generation"] == status.get("observedGeneration") and status.get("replicas", 0) == size
    settled = reached and status.get("availableReplicas", 0) == size
    return {key: value for key, value in status.items() if key != "terminatingReplicas"} if settled else None


async def test_evicting_what_is_gone_succeeds(site: Site) -> None:
    """A drain must not stop at a pod that has left by itself."""
    assert await site.kube.evict(SPACE, "nope", "00000000-0000-0000-0000-000000000000")


async def test_eviction_honours_the_budget(site: Site) -> None:
    """While a budget allows none it is refused, without it accepted (`failures.md` K13)."""
    await web(site)
    pdb = await site.kube.apply(budget("web", minAvailable=1))
    pod = await running(site)
    refused = await site.kube.evict(SPACE, pod["metadata"]["name"], pod["metadata"]["uid"])
    await site.kube.delete(BUDGET, "web", namespace=SPACE, uid=pdb["metadata"]["uid"])
    replaced = await site.kube.evict(SPACE, pod["metadata"]["name"], "00000000-0000-0000-0000-000000000000")
    after = await site.kube.get(POD, pod["metadata"]["name"], SPACE)
    accepted = await site.kube.evict(SPACE, pod["metadata"]["name"], pod["metadata"]["uid"])

    assert (False, True, True) == (refused, replaced, accepted)
    assert after is not None
    assert "deletionTimestamp" not in after["metadata"]


async def test_eviction_of_a_pod_with_two_budgets_fails(site: Site) -> None:
    """It is a mistake that only a person can mend, not something to wait for."""
    await web(site)
    for name in ("one", "two"):
        await site.kube.apply(budget(name, minAvailable=0))
    pod = await running(site)
    error = await failure(site.kube.evict(SPACE, pod["metadata"]["name"], pod["metadata"]["uid"]))

    assert Code.EXECUTION is error.code
    assert "500" in error.what
    assert "more than one PodDisruptionBudget" in error.what


async def test_eviction_waits_where_the_namespace_is_going(site: Site) -> None:
    """New content is refused there, and an Eviction is new content; the pod goes with its namespace."""
    going = f"{SPACE}-going"
    space = await site.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": going}})
    held, late = config("held"), config("late")
    held["metadata"] |= {"namespace": going, "finalizers": [f"{GROUP}/held"]}
    late["metadata"]["namespace"] = going
    await site.kube.apply(held)
    await site.kube.delete(GVK("v1", "Namespace"), going, uid=space["metadata"]["uid"])
    evicted = await site.kube.evict(going, "web", "00000000-0000-0000-0000-000000000000")
    refused = await failure(site.kube.apply(late))
    await site.kube.patch(CONFIG, "held", {"metadata": {"finalizers": None}}, namespace=going)

    assert not evicted
    assert "403" in refused.what
    assert "because it is being terminated" in refused.what


async def web(site: Site, *, labels: dict[str, str] = WEB, replicas: int = 1, **container: Any) -> None:
    """Deploy one pod."""
    given = {key: value for key, value in container.items() if value}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web", **given}]}}
    await site.kube.apply({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": SPACE},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    })  # fmt: skip


def budget(name: str, **spec: int) -> Object:
    """Return a budget for that pod."""
    metadata = {"name": name, "namespace": SPACE}
    spec_of = {**spec, "selector": {"matchLabels": WEB}}
    return {"apiVersion": BUDGET.api_version, "kind": BUDGET.kind, "metadata": metadata, "spec": spec_of}


async def running(site: Site) -> Object:
    """Return the first pod that runs."""

    async def found() -> Object | None:
        pods, _ = await site.kube.list(POD, namespace=SPACE)
        return next((pod for pod in pods if pod.get("status", {}).get("phase") == "Running"), None)

    return await eventually(site, found)


async def test_watch_tells_every_change_in_order_and_ends(site: Site) -> None:
    """From a list's revision on nothing is missed; the server ends it after `timeout`."""
    _, revision = await site.kube.list(CONFIG)
    uid = (await site.kube.apply(config(a="1")))["metadata"]["uid"]
    await site.kube.apply(config(a="2"))
    await site.kube.delete(CONFIG, "c", namespace=SPACE, uid=uid)
    seen = [
        (kind, obj["data"]["a"])
        async for kind, obj in site.kube.watch(CONFIG, since=revision, timeout=10)
        if kind != "BOOKMARK" and obj["metadata"]["name"] == "c"
    ]

    assert [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")] == seen


async def test_watch_tells_what_happens_while_it_is_open(site: Site) -> None:
    """A change after the beginning arrives on its own."""
    _, revision = await site.kube.list(CONFIG)

    async def first() -> str:
        async with aclosing(site.kube.watch(CONFIG, since=revision, timeout=1e6)) as changes:
            async for kind, obj in changes:
                if kind != "BOOKMARK":
                    return str(obj["metadata"]["name"])
        raise AssertionError

    task = asyncio.create_task(first())
    await asyncio.sleep(0.02)
    await site.kube.apply(config("late", a="1"))

    assert "late" == await task


async def test_watch_from_a_forgotten_revision_is_expired(site: Site) -> None:
    """The watcher lists again (`failures.md` C02)."""
    _, revision = await site.kube.list(CONFIG)
    await site.kube.apply(config(a="1"))
    async with site.outage():
        pass
    error = await failure(anext(aiter(site.kube.watch(CONFIG, since=revision))))

    assert "Expired" in error.what


async def test_watch_from_a_compacted_revision_is_expired(site: Site) -> None:
    """Etcd forgets its history every 5 minutes; Events are the kind that no API server keeps in a cache."""
    _, revision = await site.kube.list(EVENT)
    for number in (1, 2):
        await site.kube.apply(event(number))
    await site.compact()
    error = await failure(anext(aiter(site.kube.watch(EVENT, since=revision))))

    assert "410 Expired" in error.what


async def test_api_that_is_gone_is_unreachable_and_comes_back_as_it_was(site: Site) -> None:
    """Refused is not absent: what was stored is there again afterwards."""
    stored = await site.kube.apply(config(a="1"))
    async with site.outage():
        errors = [await failure(call) for call in (site.kube.get(CONFIG, "c", SPACE), site.kube.readyz())]

    assert [Code.NETWORK] * 2 == [error.code for error in errors]
    assert stored == await site.kube.get(CONFIG, "c", SPACE)


async def test_watch_ends_with_the_api_server_that_it_was_at(site: Site) -> None:
    """Nobody waits for what cannot come."""
    _, revision = await site.kube.list(CONFIG)
    began, seen = asyncio.Event(), list[str]()

    async def watch() -> None:
        async for kind, obj in site.kube.watch(CONFIG, since=revision, timeout=1e6):
            if kind != "BOOKMARK":
                seen.append(obj["metadata"]["name"])
                began.set()

    watching = asyncio.create_task(watch())
    await site.kube.apply(config("before", a="1"))
    await began.wait()
    async with site.outage():
        [ended] = await asyncio.gather(watching, return_exceptions=True)
    await site.kube.apply(config("after", a="1"))

    assert ended is None or (isinstance(ended, Failure) and ended.code is Code.NETWORK)
    assert ["before"] == seen
