"""What an addon applies and prunes, in virtual time: once, with consent where data go along, and each for itself."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cpcd.lab.faults.mechanisms import Fault, Refuse
from cpcd.lab.kube import ApiError
from cpcd.lab.kube.store import Store
from cpcd.model.errors import Code
from cpcd.model.ledger import DropFact, PutFact
from cpcd.plan.fold import fold
from cpcd.plan.guards import FORESEEN
from cpcd.plan.resolve import resolve
from cpcd.ports.kube import GVK
from cpcd.reconcilers import RECONCILERS
from tests.sim.gate import Fate
from tests.sim.house import House, spec
from tests.sim.test_commands import commands
from tests.sim.test_stories import Tale, tell

BASE = """
apiVersion: v1
kind: Namespace
metadata: {name: hello}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hello, namespace: hello}
data: {greeting: hello}
---
"""
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s, namespace: hello}
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: hello}
spec: {ports: [{port: 80}]}
---
"""
ROUTES = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: routes.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Route, plural: routes}
  versions: [{name: v1beta1, served: true, storage: true}, {name: v1, served: true, storage: false}]
---
"""
ROUTE = """
apiVersion: example.org/%s
kind: Route
metadata: {name: web, namespace: hello}
spec: {host: web}
---
"""
ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: role, namespace: hello}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
"""
WIDGETS = ROUTES.replace("Namespaced", "Cluster").replace("Route", "Widget").replace("routes", "widgets")
WIDGET = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w, namespace: %s}\nspec: {host: web}\n---\n"
PVC, PARENT = GVK("v1", "PersistentVolumeClaim"), GVK("v1", "ConfigMap")
SMALL = spec(masters=1, workers=1)
TWO = SMALL.replace("hello.yaml}]}]", "hello.yaml}]}, {name: other, mode: full, manifests: [{file: other.yaml}]}]")


def put(house: House, *manifests: str, text: str = "") -> None:
    """Commit other manifests for the addon."""
    house.file.referred = {"hello.yaml": "".join((BASE, *manifests)).encode()}
    house.file.commit(text or house.file.text)


def play(directory: Path, tale: Tale) -> House:
    """Play a tale in a small house."""
    return tell(directory, tale, text=SMALL)


async def settled(house: House) -> None:
    """Let an edit come in and be carried out."""
    await asyncio.sleep(5)
    await house.converged(limit=1500)


def store(house: House) -> Store:
    """Return the cluster's objects."""
    return house.world.clusters[0].store


def names(house: House, gvk: GVK) -> list[str]:
    """Return the names of a kind's objects in the addon's namespace."""
    return [one["metadata"]["name"] for one in store(house).list(gvk, namespace="hello")[0]]


def words(house: House, since: int = 0) -> list[str]:
    """Return what the addon's steps said."""
    mine = [done for done in house.passes[since:] if str(done.key) == "demo/addon/hello"]
    return [said for done in mine for _, said in done.steps]


def last(house: House) -> Any:
    """Return the addon's last pass."""
    return next(done for done in reversed(house.passes) if str(done.key) == "demo/addon/hello")


async def approve(house: House, request: str) -> None:
    """Consent as `cpcd approve` does, which refuses an id that nothing waits for."""
    await commands(house).approve(request)


def approvals(house: House) -> list[str]:
    """Return the consents that nothing has spent yet."""
    assert house.daemon is not None
    return [name for name in house.daemon.state.view.facts if name.startswith("approval/")]


def asked(house: House) -> str:
    """Return the id that the addon's last pass asks to be approved."""
    assert "AwaitingApproval" == last(house).reason
    return str(last(house).sentence.split("`")[1].removeprefix("cpcd approve "))


def test_consent_to_one_prune_is_none_to_the_next(tmp_path: Path) -> None:
    """Each object that takes data along is asked for by its own name, and its consent is spent by its end."""
    ids: list[str] = []
    left: list[list[str]] = []

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        put(house, CLAIM % "a", CLAIM % "b", CLAIM % "c")
        await settled(house)
        put(house, CLAIM % "b", CLAIM % "c")
        await asyncio.sleep(60)
        ids.append(asked(house))
        await approve(house, ids[0])
        await settled(house)
        left.append(names(house, PVC))
        assert [] == approvals(house)
        put(house, CLAIM % "c")
        await asyncio.sleep(3600)
        ids.append(asked(house))
        left.append(names(house, PVC))

    play(tmp_path, tale)

    assert [f"demo/prune/hello/PersistentVolumeClaim/hello/{name}" for name in "ab"] == ids
    assert [["b", "c"], ["b", "c"]] == left


def test_consent_ends_when_what_it_was_for_comes_back(tmp_path: Path) -> None:
    """Approved while the cluster is paused, put back before anything was done: the next time it is asked for again."""

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        assert house.daemon is not None
        put(house, CLAIM % "a")
        await settled(house)
        await house.daemon.state.commit((PutFact("paused/demo", 1.0),))
        put(house)
        await asyncio.sleep(30)
        await approve(house, "demo/prune/hello/PersistentVolumeClaim/hello/a")
        put(house, CLAIM % "a")
        await asyncio.sleep(30)
        await house.daemon.state.commit((DropFact("paused/demo"),))
        await settled(house)
        assert [] == approvals(house)
        put(house)
        await asyncio.sleep(600)
        asked(house)

    house = play(tmp_path, tale)

    assert ["a"] == names(house, PVC)


def test_another_version_of_an_object_is_the_same_object(tmp_path: Path) -> None:
    """An edit of apiVersion alone deletes nothing (KEP-3659: members go by group and kind)."""
    uids: list[str] = []
    since: list[int] = []

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        for version in ("v1beta1", "v1"):
            since.append(len(house.passes))
            put(house, ROUTES, ROUTE % version)
            await settled(house)
            uids.append(store(house).get(GVK("example.org/v1", "Route"), "web", "hello")["metadata"]["uid"])

    house = play(tmp_path, tale)

    assert uids[0] == uids[1]
    assert not any("prune" in said for said in words(house))
    assert ["remember that addon hello was applied"] == words(house, since[1])


@pytest.mark.parametrize(
    ("manifest", "gvk", "namespace"),
    [
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", PARENT, "default"),
        (
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x, namespace: hello}\n",
            GVK("rbac.authorization.k8s.io/v1", "ClusterRole"),
            "",
        ),
    ],
)
def test_objects_are_known_where_the_api_keeps_them(tmp_path: Path, manifest: str, gvk: GVK, namespace: str) -> None:
    """A forgotten namespace, and one too many: applied once, left alone, pruned when they leave the file."""
    said: list[list[str]] = []

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        for manifests in ((manifest,), ()):
            since = len(house.passes)
            put(house, *manifests)
            await settled(house)
            await asyncio.sleep(1800)
            said.append(words(house, since))
            spaces = store(house).get(PARENT, "cpcd-addon-hello", "kube-system")["metadata"]["annotations"]
            wanted = sorted({"hello", *([namespace] if manifests and namespace else [])})
            assert ",".join(wanted) == spaces["applyset.kubernetes.io/additional-namespaces"]

    house = play(tmp_path, tale)

    where = f"{gvk.kind} {namespace}/x" if namespace else f"{gvk.kind} x"
    parent, mark = "ConfigMap kube-system/cpcd-addon-hello", "remember that addon hello was applied"
    assert [
        [*(f"apply {one} of addon hello" for one in (parent, where)), mark],
        [f"prune {where} of addon hello", f"apply {parent} of addon hello", mark],
    ] == said
    with pytest.raises(ApiError, match="not found"):
        store(house).get(gvk, "x", namespace)


def test_a_prune_that_waits_is_not_forgotten_with_its_kind(tmp_path: Path) -> None:
    """The last object of its kind leaves the file, the daemon dies, consent comes an hour later: it is pruned then."""

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        put(house, CLAIM % "data")
        await settled(house)
        put(house)
        await asyncio.sleep(60)
        await house.crash()
        await house.start()
        await asyncio.sleep(3600)
        assert ["data"] == names(house, PVC)
        await approve(house, asked(house))
        await settled(house)

    house = play(tmp_path, tale)
    noted = store(house).get(PARENT, "cpcd-addon-hello", "kube-system")["metadata"]["annotations"]

    assert [] == names(house, PVC)
    assert "ConfigMap,Namespace" == noted["applyset.kubernetes.io/contains-group-kinds"]


@pytest.mark.parametrize("fate", [Fate.BEFORE, Fate.AFTER])
@pytest.mark.parametrize("call", ["delete Service web", "apply ConfigMap cpcd-addon-hello"])
def test_a_death_on_the_way_of_a_prune_leaves_nothing_behind(tmp_path: Path, call: str, fate: Fate) -> None:
    """Before or after the object goes, before or after the parent forgets it."""

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        put(house, SERVICE)
        await settled(house)
        house.gate.decide = lambda one: fate if one.writes and call == f"{one.verb} {one.target}" else Fate.NONE
        put(house)
        await house.until(house.gate.dead.is_set, limit=120, what="the death")
        house.gate.decide = lambda _: Fate.NONE
        await house.crash()
        await house.start()
        await settled(house)

    house = play(tmp_path, tale)
    noted = store(house).get(PARENT, "cpcd-addon-hello", "kube-system")["metadata"]["annotations"]

    assert [] == names(house, GVK("v1", "Service"))
    assert "ConfigMap,Namespace" == noted["applyset.kubernetes.io/contains-group-kinds"]


def test_an_edit_of_an_addon_is_carried_out_as_planned(tmp_path: Path) -> None:
    """Added, changed, pruned, and the parent at both ends: the steps applied are the steps printed."""
    printed: list[str] = []
    since: list[int] = []

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        assert house.daemon is not None
        put(house, SERVICE)
        await settled(house)
        await house.daemon.state.commit((PutFact("paused/demo", 1.0),))
        put(house, ROUTES, CLAIM % "data")
        await asyncio.sleep(30)
        foreseen = fold(house.daemon.state.view, reconcilers=RECONCILERS, guards=FORESEEN, resolve=resolve)
        printed.extend(step.sentence for step in foreseen)
        since.append(len(house.passes))
        await house.daemon.state.commit((DropFact("paused/demo"),))
        await settled(house)

    house = play(tmp_path, tale)

    assert 6 == len(printed)
    assert printed == words(house, since[0])


def test_a_whole_addon_goes_with_one_consent_and_comes_back_with_none_left(tmp_path: Path) -> None:
    """What is asked for names all of it; put back and taken out once more it is asked for again."""
    ids: list[str] = []

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        without = SMALL.replace("addons: [{name: hello, manifests: [{file: hello.yaml}]}]", "addons: []")
        for _ in range(2):
            put(house, CLAIM % "data", text=SMALL)
            await settled(house)
            house.file.commit(without)
            await asyncio.sleep(600)
            assert ["data"] == names(house, PVC)
            assert (
                "with ConfigMap hello/hello, Namespace hello, PersistentVolumeClaim hello/data" in last(house).sentence
            )
            ids.append(asked(house))
            await approve(house, ids[-1])
            await settled(house)
            assert [] == approvals(house)

    house = play(tmp_path, tale)

    assert 2 == len(set(ids))
    assert [] == names(house, PVC)
    with pytest.raises(ApiError, match="not found"):
        store(house).get(PARENT, "cpcd-addon-hello", "kube-system")


def test_what_is_being_deleted_is_waited_for_and_not_deleted_again(tmp_path: Path) -> None:
    """A finalizer holds it (on a real claim, that a pod uses it): the parent remembers it until it is gone."""
    since: list[int] = []

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        put(house, SERVICE)
        await settled(house)
        service = GVK("v1", "Service")
        store(house).patch(service, "web", {"metadata": {"finalizers": ["x/held"]}}, namespace="hello")
        since.append(len(house.passes))
        put(house)
        await asyncio.sleep(1800)
        assert "Terminating" == last(house).reason
        noted = store(house).get(PARENT, "cpcd-addon-hello", "kube-system")["metadata"]["annotations"]
        assert "ConfigMap,Namespace,Service" == noted["applyset.kubernetes.io/contains-group-kinds"]
        store(house).patch(service, "web", {"metadata": {"finalizers": None}}, namespace="hello")
        await settled(house)

    house = play(tmp_path, tale)

    assert 1 == words(house, since[0]).count("prune Service hello/web of addon hello")
    assert [] == names(house, GVK("v1", "Service"))


FIXED = """
apiVersion: v1
kind: ConfigMap
metadata: {name: fixed, namespace: hello}
immutable: true
data: {x: "%s"}
---
"""


def test_an_edit_that_the_api_refuses_is_said_and_holds_up_only_prunes(tmp_path: Path) -> None:
    """An immutable field: code and the API's words in the status, the addon degraded, what is beside it applied."""

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        put(house, FIXED % 1, SERVICE)
        await settled(house)
        put(house, FIXED % 2, CLAIM % "beside")
        await asyncio.sleep(1800)
        said = last(house)
        assert ("failed", 106) == (said.outcome, said.failure.code)
        assert "field is immutable" in said.sentence
        assert said.degraded
        assert ["beside"] == names(house, PVC)
        assert ["web"] == names(house, GVK("v1", "Service"))
        put(house, FIXED % 1, CLAIM % "beside")
        await settled(house)

    house = play(tmp_path, tale)

    assert [] == names(house, GVK("v1", "Service"))


@pytest.mark.parametrize(
    "why",
    [
        'admission webhook "x.example.org" does not support dry run',
        'failed calling webhook "x.example.org": connection refused',
    ],
)
def test_a_refused_dry_run_is_no_drift_in_itself(tmp_path: Path, why: str) -> None:
    """What has all that the file says is left alone; an edit is applied all the same, once."""
    since: list[int] = []

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        refused = Refuse(Code.EXECUTION, why)
        fault = Fault(row="C14", name="no-dry-run", port="kube", call="try ConfigMap hello", times=None, does=refused)
        house.faults.arm(fault)
        since.append(len(house.passes))
        await asyncio.sleep(1800)
        house.file.referred = {"hello.yaml": BASE.replace("greeting: hello", "greeting: bye").encode()}
        house.file.commit(SMALL)
        await settled(house)
        await asyncio.sleep(1800)

    house = play(tmp_path, tale)

    assert ["apply ConfigMap hello/hello of addon hello", "remember that addon hello was applied"] == words(
        house, since[0]
    )
    assert {"greeting": "bye"} == store(house).get(PARENT, "hello", "hello")["data"]
    assert house.faults.struck["no-dry-run"] > 2


def test_what_another_addon_takes_over_is_not_pruned(tmp_path: Path) -> None:
    """Moved from one addon to another, with destruction allowed: the namespace and what is in it stay."""
    text = SMALL.replace("Destroy: Approve", "Destroy: Auto")
    before: list[str] = []

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        before.append(store(house).get(GVK("v1", "Namespace"), "hello")["metadata"]["uid"])
        house.file.commit(text.replace("{name: hello, ", "{name: other, "))
        await settled(house)

    house = play(tmp_path, tale)

    assert before == [store(house).get(GVK("v1", "Namespace"), "hello")["metadata"]["uid"]]
    assert not any("prune Namespace" in said for said in words(house))


@pytest.mark.parametrize("mode", ["full", "oneTime"])
@pytest.mark.parametrize(
    ("moved", "where"),
    [
        (CLAIM % "data", (PVC, "data", "hello")),
        (CLAIM.replace(", namespace: hello", "") % "data", (PVC, "data", "default")),
        (ROLE, (GVK("rbac.authorization.k8s.io/v1", "ClusterRole"), "role", "")),
    ],
    ids=["written", "not-written", "stray"],
)
def test_what_moves_to_another_addon_is_known_by_its_place(
    tmp_path: Path, moved: str, where: tuple[GVK, str, str], mode: str
) -> None:
    """Whatever namespace is written: the API's place is what both addons mean, so nothing is pruned or asked for."""
    uids: list[str] = []
    since: list[int] = []

    def both(house: House, hello: str, other: str) -> None:
        kept = BASE.replace("name: hello, namespace", "name: kept, namespace").split("---")[1]
        house.file.referred = {"hello.yaml": (BASE + hello).encode(), "other.yaml": f"{kept}---\n{other}".encode()}
        house.file.commit(TWO.replace("mode: full", f"mode: {mode}"))

    def uid(house: House) -> str:
        gvk, name, namespace = where
        return str(store(house).get(gvk, name, namespace)["metadata"]["uid"])

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        both(house, moved, "")
        await settled(house)
        uids.append(uid(house))
        since.append(len(house.passes))
        both(house, "", moved)
        await settled(house)
        uids.append(uid(house))

    house = play(tmp_path, tale)

    assert 1 == len(set(uids))
    assert [] == [said for said in words(house, since[0]) if said.startswith(("prune", "apply ClusterRole"))]
    assert [] == [done.sentence for done in house.passes[since[0] :] if done.reason == "AwaitingApproval"]


@pytest.mark.parametrize("first", ["hello", "other"])
@pytest.mark.parametrize(
    ("how", "said"),
    [("away", "503 Service Unavailable"), ("not-served", "the cluster does not serve this kind")],
    ids=["away", "not-served"],
)
def test_a_group_that_is_away_keeps_back_the_addon_that_names_it_alone(
    tmp_path: Path, how: str, said: str, first: str
) -> None:
    """The other one is applied and pruned as ever, but of nothing that the one that waits names."""
    hello, other = (f"{{name: {name}, mode: full, manifests: [{{file: {name}.yaml}}]}}" for name in ("hello", "other"))
    text = TWO.replace("{name: hello, manifests", "{name: hello, mode: full, manifests")
    text = text if first == "hello" else text.replace(f"{hello}, {other}", f"{other}, {hello}")
    assert f"addons: [{{name: {first}," in text
    moved = CLAIM.replace(", namespace: hello", "") % "data"
    uids: list[str] = []
    since: list[int] = []

    def both(house: House, hello: str, other: str) -> None:
        kept = BASE.replace("name: hello, namespace", "name: kept, namespace").split("---")[1]
        others = f"{kept}---\n{ROUTES if how == 'away' else ''}{ROUTE % 'v1'}{other}"
        house.file.referred = {"hello.yaml": (BASE + hello).encode(), "other.yaml": others.encode()}
        house.file.commit(text.replace("Destroy: Approve", "Destroy: Auto"))

    def noted(house: House, name: str) -> Any:
        return next(done for done in reversed(house.passes) if str(done.key) == f"demo/addon/{name}")

    def uid(house: House) -> str:
        return str(store(house).get(PVC, "data", "default")["metadata"]["uid"])

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        both(house, SERVICE + moved, "")
        await asyncio.sleep(600)
        uids.append(uid(house))
        if how == "away":
            refused = Refuse(Code.NETWORK, "looking for kind Route failed: 503 Service Unavailable")
            house.faults.arm(
                Fault(row="C09", name="away", port="kube", call="discover Route", times=None, does=refused)
            )
        since.append(len(house.passes))
        both(house, FIXED % 1, moved)
        await asyncio.sleep(1800)
        uids.append(uid(house))
        assert "addon hello is applied (3 objects)" == noted(house, "hello").sentence
        assert said in noted(house, "other").sentence

    house = play(tmp_path, tale)

    assert 1 == len(set(uids))
    assert ["prune Service hello/web of addon hello"] == [w for w in words(house, since[0]) if w.startswith("prune")]


def test_an_object_that_only_the_api_knows_to_be_one_is_not_fought_over(tmp_path: Path) -> None:
    """Its kind is in no namespace, and two addons write two: the first has it, the second says so until it is alone."""
    since: list[int] = []
    uids: list[str] = []

    def both(house: House, *hello: str) -> None:
        beside = BASE.replace("name: hello, namespace", "name: kept, namespace").split("---")[1]
        house.file.referred = {
            "hello.yaml": "".join((BASE, WIDGETS, *hello)).encode(),
            "other.yaml": f"{beside}---\n{WIDGET % 'elsewhere'}".encode(),
        }
        house.file.commit(TWO)

    def noted(house: House) -> str:
        return str(next(done for done in reversed(house.passes) if done.key.name == "other").sentence)

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        both(house, WIDGET % "hello")
        await asyncio.sleep(600)
        since.append(len(house.passes))
        await asyncio.sleep(1800)
        assert "is not applied: Widget w is in addon hello too" in noted(house)
        assert [] == [done.sentence for done in house.passes[since[0] :] if done.steps]
        uids.append(store(house).get(GVK("example.org/v1", "Widget"), "w")["metadata"]["uid"])
        both(house)
        await settled(house)

    house = play(tmp_path, tale)

    assert uids == [store(house).get(GVK("example.org/v1", "Widget"), "w")["metadata"]["uid"]]
    assert "addon other is applied (2 objects)" == noted(house)


def test_labels_that_are_copied_make_nobody_a_member(tmp_path: Path) -> None:
    """As EndpointSlices get their Service's: what has an owner is the owner's to delete."""
    copied = {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "copied", "namespace": "hello"},
    }  # fmt: skip

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        owner = store(house).get(PARENT, "hello", "hello")["metadata"]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "hello", "uid": owner["uid"]}
        metadata = {**copied["metadata"], "labels": owner["labels"], "ownerReferences": [reference]}
        store(house).create({**copied, "metadata": metadata}, manager="controller")
        await asyncio.sleep(1800)

    house = play(tmp_path, tale)

    assert "copied" in names(house, PARENT)
