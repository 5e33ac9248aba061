"""Pods: placed, replaced, evicted, collected."""

import pytest

from cpcd.lab.kube import ApiError
from cpcd.ports.kube import GVK

NODE = GVK("v1", "Node")
POD = GVK("v1", "Pod")


@pytest.fixture
def house(rack):
    """One control plane, two workers, a Deployment of two pods."""
    first = rack.first()
    rack.join(first, 302, "w1")
    rack.join(first, 303, "w2")
    rack.deploy(2)
    return rack


def _budget(rack, **spec):
    metadata = {"name": "web", "namespace": "default"}
    whole = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    rack.cluster.store.apply(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": whole}
    )


def _drain(rack, node):
    """Cordon a node and evict its pods of `web` as long as that takes."""
    rack.cluster.store.patch(NODE, node, {"spec": {"unschedulable": True}})
    while pods := rack.pods("app=web", node=node):
        for pod in pods:
            rack.cluster.store.evict("default", pod["metadata"]["name"], pod["metadata"]["uid"])
        rack.run(1)


def test_pods_are_spread_over_the_workers(house) -> None:
    """Not on the control plane, whose taint they do not tolerate."""
    assert {"w1", "w2"} == {pod["spec"]["nodeName"] for pod in house.pods("app=web")}


def test_a_budget_refuses_until_it_is_relaxed(house) -> None:
    """Recorded 443: 429 with the recorded words, and the pod stays."""
    _budget(house, minAvailable=2)
    house.run(1)
    pod = house.pods("app=web")[0]["metadata"]

    with pytest.raises(ApiError) as no:
        house.cluster.store.evict("default", pod["name"], pod["uid"])
    assert (429, "The disruption budget web needs 2 healthy pods and has 2 currently") == (
        no.value.code,
        no.value.causes[0]["message"],
    )

    _budget(house, minAvailable=1)
    house.cluster.store.evict("default", pod["name"], pod["uid"])
    other = house.pods("app=web")[1]["metadata"]
    with pytest.raises(ApiError, match="disruption budget"):
        house.cluster.store.evict("default", other["name"], other["uid"])


def test_a_drain_moves_the_pods_to_the_other_node(house) -> None:
    """With a budget of one at a time: evicted, replaced elsewhere, never below the budget."""
    _budget(house, maxUnavailable=1)
    house.run(1)

    _drain(house, "w1")
    house.until(lambda: house.running("app=web") == 2)

    assert {"w2"} == {pod["spec"]["nodeName"] for pod in house.pods("app=web")}
    status = house.cluster.store.get(GVK("policy/v1", "PodDisruptionBudget"), "web", "default")["status"]
    assert (2, 1) == (status["currentHealthy"], status["disruptionsAllowed"])


def test_daemon_pods_stay_on_a_cordoned_node(house) -> None:
    """They are made again at once, which is why a drain leaves them alone."""
    house.cluster.store.patch(NODE, "w1", {"spec": {"unschedulable": True}})
    pod = house.pods("k8s-app=kube-proxy", node="w1")[0]["metadata"]
    house.cluster.store.evict("kube-system", pod["name"], pod["uid"])
    house.run(10)

    again = house.pods("k8s-app=kube-proxy", node="w1")
    assert [pod["uid"]] != [each["metadata"]["uid"] for each in again]
    assert len(again) == 1


def test_static_pods_have_mirrors_owned_by_their_node(house) -> None:
    """A deleted mirror comes back."""
    name = "kube-apiserver-cp1"
    before = house.cluster.store.get(POD, name, "kube-system")
    house.cluster.store.delete(POD, name, namespace="kube-system")
    house.run(10)
    after = house.cluster.store.get(POD, name, "kube-system")

    assert before["metadata"]["ownerReferences"][0]["kind"] == "Node"
    assert before["metadata"]["uid"] != after["metadata"]["uid"]


def test_pods_of_a_lost_node_are_replaced_after_five_minutes(house) -> None:
    """They stay Terminating until their Node is deleted or comes back."""
    house.power(302, "stop")
    house.run(100)
    assert house.running("app=web") == 2
    house.until(lambda: {"w2"} == _alive(house), limit=400)
    assert len(house.pods("app=web", node="w1")) == 1

    house.cluster.store.delete(NODE, "w1")
    house.run(60)
    assert house.pods(node="w1") == []


def _alive(rack):
    pods = [pod for pod in rack.pods("app=web") if "deletionTimestamp" not in pod["metadata"]]
    return {pod["spec"].get("nodeName") for pod in pods}


def test_scaling_and_a_new_template_are_followed(house) -> None:
    """Status and observedGeneration say when it is done."""
    gvk = GVK("apps/v1", "Deployment")
    house.deploy(3)
    image = {"containers": [{"name": "web", "image": "nginx:2"}]}
    house.cluster.store.patch(gvk, "web", {"spec": {"template": {"spec": image}}}, namespace="default")
    house.until(lambda: {pod["spec"]["containers"][0]["image"] for pod in house.pods("app=web")} == {"nginx:2"})
    house.until(lambda: house.running("app=web") == 3)
    house.run(2)

    stored = house.cluster.store.get(gvk, "web", "default")
    assert (stored["metadata"]["generation"], 3, 3) == (
        stored["status"]["observedGeneration"],
        stored["status"]["updatedReplicas"],
        stored["status"]["availableReplicas"],
    )


def test_a_deleted_deployment_takes_its_pods_along(house) -> None:
    """Background collection by owner."""
    house.cluster.store.delete(GVK("apps/v1", "Deployment"), "web", namespace="default")
    house.run(10)

    assert house.pods("app=web") == []
    assert house.cluster.store.list(GVK("apps/v1", "ReplicaSet"), namespace="default")[0] == []


def test_a_deleted_namespace_takes_its_content_along(house) -> None:
    """It is Terminating first."""
    store, space = house.cluster.store, GVK("v1", "Namespace")
    store.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    store.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}})
    store.delete(space, "shop")
    assert "deletionTimestamp" in store.get(space, "shop")["metadata"]
    house.run(5)

    assert [] == store.list(space, fields="metadata.name=shop")[0]
    assert [] == store.list(GVK("v1", "ConfigMap"), namespace="shop")[0]
