"""One suite for the Kubernetes port, run on each implementation: the lab's store in process, and the adapter over HTTPS.

Tests use the port alone, so that a real kube-apiserver is one more site; `runs_pods` says whether controllers and
kubelets are there as well.
"""

import asyncio
import base64
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from cpcd.adapters.kube import KubeApi
from cpcd.lab.guests import Durations
from cpcd.lab.inprocess import LabKube
from cpcd.lab.kube import MANIFESTS, NETWORKS, Cluster, File, Kubelet, Plan
from cpcd.lab.kube.pki import request as signing_request
from cpcd.lab.pve import Settings
from cpcd.lab.servers.clock import FastClock
from cpcd.lab.servers.listeners import Listeners
from cpcd.lab.world import World
from cpcd.model.errors import Code, Failure, NotServed
from cpcd.ports.kube import GVK, Kube, Object, Served

CONFIG = GVK("v1", "ConfigMap")
POD = GVK("v1", "Pod")
BUDGET = GVK("policy/v1", "PodDisruptionBudget")
WEB = {"app": "web"}
SPACE = "contract"
CSR = GVK("certificates.k8s.io/v1", "CertificateSigningRequest")
ADDRESS = "127.66.0.1"
RATE = 200.0


@dataclass
class Site:
    """A cluster to test on; `wait` lets its time pass, `forget` compacts its history (None: cannot)."""

    kube: Kube
    wait: Callable[[float], Awaitable[None]]
    runs_pods: bool = True
    forget: Callable[[], None] | None = None


def cluster_of(world: World, port: int) -> Cluster:
    """Return a cluster of one control plane, made and up long ago."""
    cluster = world.new_cluster(Plan("home", "127.66.0.9", port, "v1.34.2"))
    manifests = {f"{MANIFESTS}/{name}.yaml": File("", -900) for name in ("etcd", "kube-apiserver")}
    manifests[f"{NETWORKS}/10-flannel.conflist"] = File("", -900)
    kubelet = Kubelet("cp1", ADDRESS, manifests, port=port, version="1.34.2")
    kubelet.member = cluster.etcd.found(kubelet).id
    binding = {"name": "kubeadm:cluster-admins"}
    cluster.store.create({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": binding,
    })  # fmt: skip
    kubelet.start(-900, "boot")
    cluster.join(kubelet)
    return cluster


async def in_process(_: Path) -> AsyncIterator[Site]:
    """The store, called directly; time passes when somebody sleeps."""
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        world.events.settle()
        await asyncio.sleep(0)

    world = World(now=lambda: now, seed=1, settings=Settings(), durations=Durations())
    cluster = cluster_of(world, 6443)
    yield Site(LabKube(world, ADDRESS, 6443, sleep), sleep, forget=cluster.store.objects.compact)


async def over_https(private: Path) -> AsyncIterator[Site]:
    """The adapter over the lab's HTTPS server, 200 times as fast as real time."""
    clock = FastClock(RATE)
    world = World(now=clock.now, seed=1, settings=Settings(), durations=Durations())
    with socket.create_server((ADDRESS, 0)) as probe:
        port: int = probe.getsockname()[1]
    cluster = cluster_of(world, port)
    listeners = Listeners(world, clock, 2222, Counter())
    await listeners.follow()
    assert listeners.troubles == {}

    async def tick() -> None:
        while True:
            world.events.settle()
            await asyncio.sleep(0.005)

    ticker = asyncio.create_task(tick())
    text = cluster.admin_kubeconfig(f"https://{ADDRESS}:{port}")
    api = KubeApi(text, endpoint="kube:home", cache_dir=private, scale=10)
    yield Site(api, clock.sleep, forget=cluster.store.objects.compact)
    await api.close()
    ticker.cancel()
    await listeners.close()


@pytest.fixture(params=[in_process, over_https], ids=["in process", "https"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Return each site in turn, with a namespace for the test."""
    async for opened in request.param(tmp_path / "private"):
        await opened.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        yield opened


def config(name: str = "c", labels: dict[str, str] | None = None, **data: str) -> Object:
    """Return a ConfigMap."""
    metadata = {"name": name, "namespace": SPACE, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def failure(call: Awaitable[object]) -> Failure:
    """Return the Failure that a call ends in."""
    with pytest.raises(Failure) as caught:
        await call
    return caught.value


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


async def test_foreign_value_is_a_conflict_unless_forced(site: Site) -> None:
    """Who changed a field by a patch owns it from then on."""
    await site.kube.apply(config(a="1"))
    await site.kube.patch(CONFIG, "c", {"data": {"a": "theirs"}}, namespace=SPACE)
    error = await failure(site.kube.apply(config(a="1"), force=False))
    forced = await site.kube.apply(config(a="1"))

    assert error.code is Code.EXECUTION
    assert "409 Conflict" in error.what
    assert {"a": "1"} == forced["data"]


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
    """Wait until Things can be listed, or cannot any more."""
    for _ in range(100):
        known = await site.kube.served(GROUP, "Thing")
        try:
            await site.kube.list(NEW)
        except Failure:
            known = None
        if (known is not None) is served:
            return
        await site.wait(1)
    raise AssertionError


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


async def test_approve_adds_the_condition_once(site: Site) -> None:
    """The request is a kubelet's own; a second approval changes nothing."""
    text = base64.b64encode(signing_request("w1", "127.66.0.7").encode()).decode()
    spec = {
        "request": text,
        "signerName": "kubernetes.io/kubelet-serving",
        "usages": ["digital signature", "server auth"],
    }
    name = f"csr-{random.getrandbits(32):08x}"
    await site.kube.apply({"apiVersion": CSR.api_version, "kind": CSR.kind, "metadata": {"name": name}, "spec": spec})
    await site.kube.approve(name)
    await site.kube.approve(name)
    found = await site.kube.get(CSR, name)

    assert found is not None
    assert ["Approved"] == [condition["type"] for condition in found["status"]["conditions"]]


async def test_evicting_what_is_gone_succeeds(site: Site) -> None:
    """A drain must not stop at a pod that has left by itself."""
    assert await site.kube.evict(SPACE, "nope", "00000000-0000-0000-0000-000000000000")


async def test_eviction_honours_the_budget(site: Site) -> None:
    """While a budget allows none it is refused, without it accepted (`failures.md` K13)."""
    if not site.runs_pods:
        pytest.skip("needs running pods")
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
    if not site.runs_pods:
        pytest.skip("needs running pods")
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


async def web(site: Site) -> None:
    """Deploy one pod."""
    template = {"metadata": {"labels": WEB}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
    await site.kube.apply({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": SPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": WEB}, "template": template},
    })  # fmt: skip


def budget(name: str, **spec: int) -> Object:
    """Return a budget for that pod."""
    metadata = {"name": name, "namespace": SPACE}
    spec_of = {**spec, "selector": {"matchLabels": WEB}}
    return {"apiVersion": BUDGET.api_version, "kind": BUDGET.kind, "metadata": metadata, "spec": spec_of}


async def running(site: Site) -> Object:
    """Return the first pod that runs."""
    for _ in range(100):
        pods, _ = await site.kube.list(POD, namespace=SPACE)
        ready = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
        if ready:
            return ready[0]
        await site.wait(1)
    raise AssertionError


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
    if site.forget is None:
        pytest.skip("its history cannot be compacted from here")
    _, revision = await site.kube.list(CONFIG)
    await site.kube.apply(config(a="1"))
    site.forget()
    error = await failure(anext(aiter(site.kube.watch(CONFIG, since=revision))))

    assert "Expired" in error.what
