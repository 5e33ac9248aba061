"""The small controllers: namespaces, garbage, budgets' status, definitions.

Each keeps one promise that addons and drains rely on. Nothing here knows machines.
"""

from typing import Any

from cpcd.lab.kube.budgets import allowance
from cpcd.lab.kube.objects import Object
from cpcd.lab.kube.turn import Turn
from cpcd.lab.provenance import guess, source

__all__ = ["budgets", "collect", "definitions", "namespaces", "services"]


@source("namespace controller; serviceaccount controller")
def namespaces(turn: Turn) -> None:
    """Give each Namespace its default ServiceAccount, and empty and end those that are deleted."""
    for each in turn.objects.all("Namespace"):
        name = each["metadata"]["name"]
        if "deletionTimestamp" in each["metadata"]:
            _end(turn, each)
            continue
        turn.changed(each, status={"phase": "Active"})
        if turn.objects.find("ServiceAccount", "default", name) is None:
            metadata = {"name": "default", "namespace": name}
            turn.objects.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def _end(turn: Turn, space: Object) -> None:
    turn.changed(space, status={"phase": "Terminating"})
    inside = [o for o in turn.objects.everything() if o["metadata"].get("namespace") == space["metadata"]["name"]]
    # What has a finalizer stays until that is gone, and keeps the namespace with it.
    for obj in inside:
        turn.store.expel(obj)
    if not inside:
        turn.objects.drop(space)


@source("garbage collector")
def collect(turn: Turn) -> None:
    """Delete objects whose owners are all gone, whatever the way of the deletion was."""
    everything = turn.objects.everything()
    live = {obj["metadata"]["uid"] for obj in everything}
    for obj in everything:
        owners = obj["metadata"].get("ownerReferences")
        if owners and not any(owner["uid"] in live for owner in owners):
            turn.store.expel(obj)


@source("KEP-85: disruption controller")
def budgets(turn: Turn) -> None:
    """Publish what each PodDisruptionBudget leaves."""
    for each in turn.objects.all("PodDisruptionBudget"):
        seen = {"observedGeneration": each["metadata"]["generation"]}
        turn.changed(each, status={**allowance(each, turn.objects), **seen})


@source("apiextensions: establishing controller")
def definitions(turn: Turn) -> None:
    """Establish CustomResourceDefinitions."""
    for each in turn.objects.all("CustomResourceDefinition"):
        names: Any = each["spec"]["names"]
        said = [{"type": kind, "status": "True", "reason": "NoConflicts"} for kind in ("NamesAccepted", "Established")]
        turn.changed(each, status={"conditions": said, "acceptedNames": names})


@guess("addresses in order; the real allocator draws them")
def services(turn: Turn) -> None:
    """Give each Service an address of its own, but headless and external ones."""
    for each in turn.objects.all("Service"):
        if "clusterIP" not in each["spec"] and each["spec"].get("type") != "ExternalName":
            turn.memory.services += 1
            address = f"10.96.{turn.memory.services // 250}.{turn.memory.services % 250 + 1}"
            turn.changed(each, spec={"type": "ClusterIP", **each["spec"], "clusterIP": address})
