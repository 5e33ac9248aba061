"""The object store's verbs, without machines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcd.lab.kube import ApiError, Store
from cpcd.lab.kube.fields import decode, encode, merge, owned
from cpcd.lab.kube.seed import born
from cpcd.ports.kube import GVK

MAP = GVK("v1", "ConfigMap")
NODE = GVK("v1", "Node")


@pytest.fixture
def store() -> Store:
    """A store as a new API server has it."""
    made = Store(seed="s", stamp=lambda: "2026-11-23T00:00:00Z")
    born(made.objects)
    return made


def _map(name="a", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def test_apply_removes_what_is_applied_no_longer(store) -> None:
    """Own fields go, foreign ones stay; a repeat writes nothing."""
    store.apply(_map(x="1", y="2"))
    store.patch(MAP, "a", {"data": {"z": "3"}}, namespace="default", manager="kubectl")
    stored = store.apply(_map(x="1"))
    again = store.apply(_map(x="1"))

    assert {"x": "1", "z": "3"} == stored["data"]
    assert stored["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    assert {("cpcd", "Apply"), ("kubectl", "Update")} == {
        (entry["manager"], entry["operation"]) for entry in stored["metadata"]["managedFields"]
    }


def test_apply_removes_the_last_label_and_whole_items(store) -> None:
    """Emptied maps and list items that are merged by name disappear."""
    pod = {"metadata": {}, "spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}}
    whole = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"}}
    store.apply({**whole, "metadata": {**whole["metadata"], "labels": {"k": "v"}}, "spec": {"template": pod}})
    less = {"spec": {"containers": [{"name": "b", "image": "3"}]}}

    stored = store.apply({**whole, "spec": {"template": less}})

    assert "labels" not in stored["metadata"]
    assert [{"name": "b", "image": "3"}] == stored["spec"]["template"]["spec"]["containers"]


def test_a_field_of_another_manager_is_a_conflict_unless_forced(store) -> None:
    """The message names manager and field; force takes it away from the other."""
    store.apply(_map(x="1"))
    store.apply(_map(x="2"), manager="other", force=True)

    with pytest.raises(ApiError, match=r'conflict with "other" using v1: \.data\.x') as no:
        store.apply(_map(x="3"), force=False)
    stored = store.apply(_map(x="3"), force=True)

    assert no.value.code == 409
    assert stored["data"] == {"x": "3"}
    assert [entry["manager"] for entry in stored["metadata"]["managedFields"]] == ["cpcd"]


def test_a_field_that_two_apply_stays_when_one_lets_go(store) -> None:
    """Shared ownership."""
    store.apply(_map(x="1"))
    store.apply(_map(x="1"), manager="other", force=False)

    assert store.apply(_map())["data"] == {"x": "1"}


def test_an_empty_map_takes_nothing_from_others(store) -> None:
    """Neither when it is applied over foreign keys nor when it is applied no longer."""
    store.apply(_map())
    store.patch(MAP, "a", {"data": {"z": "3"}}, namespace="default", manager="kubectl")

    assert store.apply(_map(), force=False)["data"] == {"z": "3"}
    assert store.apply(_map(x="1"), force=False)["data"] == {"x": "1", "z": "3"}


def test_dry_run_stores_nothing(store) -> None:
    """It answers as if."""
    assert store.apply(_map(x="1"), dry_run=True)["data"] == {"x": "1"}

    with pytest.raises(ApiError, match='configmaps "a" not found'):
        store.get(MAP, "a", "default")


@pytest.mark.parametrize(
    ("key", "refusal"), [("resourceVersion", (409, "Conflict")), ("uid", (422, "Invalid"))], ids=["version", "uid"]
)
def test_a_patch_of_another_version_is_refused(store, key, refusal) -> None:
    """`failures.md` C14."""
    store.apply(_map(x="1"))

    with pytest.raises(ApiError) as no:
        store.patch(MAP, "a", {"metadata": {key: "1"}, "data": {"x": "2"}}, namespace="default")

    assert refusal == (no.value.code, no.value.reason)


def test_delete_checks_the_uid(store) -> None:
    """Another object of the same name is not deleted."""
    uid = store.apply(_map())["metadata"]["uid"]
    with pytest.raises(ApiError) as no:
        store.delete(MAP, "a", namespace="default", uid="other")
    store.delete(MAP, "a", namespace="default", uid=uid)

    assert no.value.code == 409
    assert [] == store.list(MAP, namespace="default")[0]
    assert uid != store.apply(_map())["metadata"]["uid"]


def test_finalizers_hold_an_object_until_they_are_gone(store) -> None:
    """Deleted first, dropped with the last finalizer."""
    held = _map()
    held["metadata"]["finalizers"] = ["x/y"]
    store.create(held)
    store.delete(MAP, "a", namespace="default")
    assert "deletionTimestamp" in store.get(MAP, "a", "default")["metadata"]

    store.patch(MAP, "a", {"metadata": {"finalizers": None}}, namespace="default")

    assert [] == store.list(MAP, namespace="default")[0]


def test_generation_counts_changes_of_the_spec_only(store) -> None:
    """Labels and status do not."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"}}
    gvk = GVK("v1", "Service")
    store.apply({**service, "spec": {"type": "ClusterIP"}})
    store.patch(gvk, "s", {"metadata": {"labels": {"a": "b"}}, "status": {"x": 1}}, namespace="default")
    same = store.get(gvk, "s", "default")["metadata"]["generation"]
    store.patch(gvk, "s", {"spec": {"type": "NodePort"}}, namespace="default")

    assert (1, 2) == (same, store.get(gvk, "s", "default")["metadata"]["generation"])


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", "abc"), ("env=prod", "a"), ("env!=prod", "bc"), ("env", "ab"), ("!env", "c"),
        ("env in (prod, test)", "ab"), ("env notin (prod)", "bc"), ("env=test,tier=1", "b"),
    ],
)  # fmt: skip
def test_label_selectors(store, selector, names) -> None:
    """All operators of the API."""
    for name, labels in {"a": {"env": "prod"}, "b": {"env": "test", "tier": "1"}, "c": {}}.items():
        made = _map(name)
        made["metadata"]["labels"] = labels
        store.create(made)

    found, _ = store.list(MAP, namespace="default", labels=selector)

    assert [*names] == [each["metadata"]["name"] for each in found]


def test_field_selectors(store) -> None:
    """By name, and negated."""
    for name in "abc":
        store.create(_map(name))

    assert ["b"] == [o["metadata"]["name"] for o in store.list(MAP, fields="metadata.name=b")[0]]
    assert ["a", "c"] == [o["metadata"]["name"] for o in store.list(MAP, fields="metadata.name!=b")[0]]


def test_changes_since_a_list_are_complete_until_compaction(store) -> None:
    """`failures.md` C02: 410 Expired after that, and a new list helps."""
    _, since = store.list(MAP)
    store.create(_map(x="1"))
    store.patch(MAP, "a", {"data": {"x": "2"}}, namespace="default")
    store.delete(MAP, "a", namespace="default")
    seen = [change.type for change in store.changes(MAP, since)]
    store.objects.compact()
    with pytest.raises(ApiError) as no:
        store.changes(MAP, since)

    assert ["ADDED", "MODIFIED", "DELETED"] == seen
    assert (410, "Expired") == (no.value.code, no.value.reason)
    assert [] == store.changes(MAP, store.list(MAP)[1])


def test_unknown_kinds_and_namespaces_are_not_found(store) -> None:
    """Until a CustomResourceDefinition adds the kind."""
    gvk = GVK("x.dev/v1", "Thing")
    thing = {"apiVersion": "x.dev/v1", "kind": "Thing", "metadata": {"name": "t"}}
    for attempt in (lambda: store.apply(thing), lambda: store.list(gvk), lambda: store.apply(_elsewhere())):
        with pytest.raises(ApiError) as no:
            attempt()
        assert no.value.code == 404

    names = {"kind": "Thing", "plural": "things"}
    spec = {"group": "x.dev", "scope": "Cluster", "names": names, "versions": [{"name": "v1", "served": True}]}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    established = {"conditions": [{"type": "Established", "status": "True"}]}
    store.create({**definition, "metadata": {"name": "things.x.dev"}, "spec": spec, "status": established})
    store.apply(thing)

    assert ["t"] == [each["metadata"]["name"] for each in store.list(gvk)[0]]


def _elsewhere():
    made = _map()
    made["metadata"]["namespace"] = "nowhere"
    return made


def test_answers_are_copies(store) -> None:
    """Nobody changes the store by changing an answer."""
    store.apply(_map(x="1"))
    store.get(MAP, "a", "default")["data"]["x"] = "2"

    assert store.get(MAP, "a", "default")["data"]["x"] == "1"


_KEYS = st.sampled_from(["a", "b", "name"])
_JSON = st.recursive(
    st.integers(0, 2) | st.text("xy", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_KEYS, _JSON, max_size=3))
def test_field_paths_survive_their_encoding(spec) -> None:
    """What managedFields says is what was applied."""
    paths = owned({"apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}, "spec": spec})

    assert paths == decode(encode(paths))


@given(st.dictionaries(_KEYS, _JSON, max_size=3), st.dictionaries(_KEYS, _JSON, max_size=3))
def test_a_merge_is_idempotent(live, applied) -> None:
    """The second apply of the same object has nothing to do."""
    once = merge(live, applied)

    assert once == merge(once, applied)
