"""What a cluster's API tells: nodes, pods, requests and addons as values, with the fields that decide."""

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Scope
from cpcd.model.seen import AddonSeen, Api, Asked, Csr, Node, Pod, Reference
from cpcd.model.view import View
from cpcd.plan import applyset
from cpcd.ports.bundle import Ports, WrittenKubeconfig
from cpcd.ports.clock import Clock
from cpcd.ports.kube import GVK, Kube, Object, Served
from cpcd.sources import decode

__all__ = ["ClusterReader"]

NODE, POD, NAMESPACE = GVK("v1", "Node"), GVK("v1", "Pod"), GVK("v1", "Namespace")
PARENT = GVK("v1", "ConfigMap")
CSR = GVK("certificates.k8s.io/v1", "CertificateSigningRequest")
ATTACHMENT = GVK("storage.k8s.io/v1", "VolumeAttachment")
KUBELET_SERVING = "kubernetes.io/kubelet-serving"


class ClusterReader:
    """Reads the scopes of a cluster; `names_of` decodes what a certificate request asks for."""

    def __init__(
        self,
        ports: Ports,
        view: Callable[[], View],
        clock: Clock,
        names_of: Callable[[str], Asked],
    ) -> None:
        self._ports, self._view, self._clock, self._names_of = ports, view, clock, names_of

    async def read(self, scope: Scope) -> Any:
        """Return the value of a scope."""
        if scope.kind == "kubeconfig":
            return self._kubeconfig(scope)
        with decode.understood(f"what the API says of {scope.kind}"):
            return await self._ask(scope)

    async def _ask(self, scope: Scope) -> Any:
        kube = self._ports.kube(scope.owner)
        match scope.kind:
            case "api":
                return await _api(kube)
            case "nodes":
                nodes, _ = await kube.list(NODE)
                return {one.name: one for one in map(decode.node, nodes)}
            case "node":
                return await _node(kube, scope.name)
            case "pods":
                return await _pods(kube, scope.name)
            case "attachments":
                return await _attachments(kube, scope.name)
            case "csrs":
                return await self._csrs(kube)
            case "addon":
                return await self._addon(kube, scope)
            case other:
                raise AssertionError(f"nobody reads {other}")

    def _kubeconfig(self, scope: Scope) -> WrittenKubeconfig | None:
        return self._ports.kubeconfigs.describe(scope.owner)

    async def _csrs(self, kube: Kube) -> tuple[Csr, ...]:
        listed, _ = await kube.list(CSR)
        pending = [c for c in listed if c["spec"]["signerName"] == KUBELET_SERVING and not _decided(c)]
        return tuple(decode.csr(one, self._names_of) for one in pending)

    async def _addon(self, kube: Kube, scope: Scope) -> AddonSeen:
        cluster = self._view().cluster(scope.owner)
        addons = {addon.name: addon for addon in cluster.addons} if cluster else {}
        addon = addons.get(scope.name)
        given = addon.objects if addon else ()
        parent = await kube.get(PARENT, applyset.parent_name(scope.name), applyset.PARENT_NAMESPACE)
        # Its own kinds and its members', no other's: a group that is away keeps back the addons that name it alone.
        kinds, named = _kinds(parent), map(_group_and_kind, given)
        served = await _served(kube, dict.fromkeys((*named, *kinds)))
        # What another addon holds of these is known by the place where the API keeps it, too; no member is of another.
        where = _places([obj for one in addons.values() for obj in one.objects], served)
        placed = {name: applyset.placed(one.objects, where) for name, one in addons.items()}
        wanted, kept = placed.get(scope.name, []), set(map(applyset.ref, chain(*placed.values())))
        members = await _members(kube, scope.name, [(kind, served[group, kind]) for group, kind in kinds])
        others = [one for one in members if applyset.ref(one) not in kept]
        going, staying = _parted(others, gone=True), _parted(others, gone=False)
        states = await _states(kube, applyset.objects(scope.name, wanted, (*staying, *going)) if addon else ())
        own = set(map(applyset.ref, given))
        return AddonSeen(
            missing=states["missing"], drifted=states["drifted"], surplus=staying, leaving=going,
            placed=tuple(sorted((ref, space) for ref, space in where.items() if ref in own)),
            doubled=_doubled(scope.name, placed), parent=decode.reference(parent) if parent else None,
        )  # fmt: skip


async def _api(kube: Kube) -> Api:
    if not await kube.readyz():
        return Api(ready=False, version="")
    # The uid of this namespace is the cluster's identity: another cluster at the same address has another.
    system = await kube.get(NAMESPACE, "kube-system")
    return Api(ready=True, version=await kube.version(), uid=system["metadata"]["uid"] if system else "")


async def _node(kube: Kube, name: str) -> Node | None:
    found = await kube.get(NODE, name)
    return decode.node(found) if found else None


async def _pods(kube: Kube, node: str) -> tuple[Pod, ...]:
    pods, _ = await kube.list(POD, fields=f"spec.nodeName={node}")
    return tuple(decode.pod(one) for one in pods)


async def _attachments(kube: Kube, node: str) -> tuple[str, ...]:
    listed, _ = await kube.list(ATTACHMENT)
    return tuple(sorted(one["metadata"]["name"] for one in listed if one.get("spec", {}).get("nodeName") == node))


def _parted(members: Iterable[Object], *, gone: bool) -> tuple[Reference, ...]:
    """Return those that are being deleted, or those that are not."""
    return tuple(decode.reference(one) for one in members if ("deletionTimestamp" in one["metadata"]) is gone)


async def _states(kube: Kube, objects: Sequence[Object]) -> dict[str, tuple[str, ...]]:
    """Return the references of those objects that are not as they should be, by what they are."""
    states = zip(
        map(applyset.ref, objects), await asyncio.gather(*(_state(kube, each) for each in objects)), strict=True
    )
    found = dict(states)
    return {kind: tuple(ref for ref in found if found[ref] == kind) for kind in ("missing", "drifted")}


async def _state(kube: Kube, obj: Object) -> str:
    """A server-side dry run tells what an apply would change, defaults and quantities included.

    One that is refused, as the apply would be or for its own sake (a webhook with side effects), tells nothing: then an
    object that has all that the file says counts as equal, and another as drifted, so that the apply meets the refusal.
    """
    meta = obj["metadata"]
    live = await kube.get(GVK(obj["apiVersion"], obj["kind"]), meta["name"], meta.get("namespace", ""))
    if live is None:
        return "missing"
    try:
        after = await kube.apply(obj, dry_run=True)
    except Failure as failure:
        # Nobody has refused it: of the object this tells nothing.
        if failure.code in {Code.NETWORK, Code.TIMEOUT}:
            raise
        return "equal" if _has(live, obj) else "drifted"
    return "equal" if _meaning(live) == _meaning(after) else "drifted"


def _has(live: Any, said: Any) -> bool:
    match said:
        case dict():
            return isinstance(live, dict) and all(_has(live.get(name), value) for name, value in said.items())
        case list():
            return isinstance(live, list) and len(live) == len(said) and all(map(_has, live, said))
        case _:
            return bool(live == said)


def _meaning(obj: Object) -> str:
    # They change with every write, also with one that says nothing new; the status is the controllers'.
    volatile = {"managedFields", "resourceVersion", "generation"}
    meta = {name: value for name, value in obj["metadata"].items() if name not in volatile}
    kept = {name: value for name, value in obj.items() if name not in {"metadata", "status"}}
    return json.dumps({**kept, "metadata": meta}, sort_keys=True)


async def _served(kube: Kube, kinds: Collection[tuple[str, str]]) -> dict[tuple[str, str], Served | None]:
    """Return how each kind is served, None where it is not; whatever else fails is unknown, not absent."""
    return dict(zip(kinds, await asyncio.gather(*(kube.served(*one) for one in kinds)), strict=True))


def _places(given: Iterable[Mapping[str, Any]], served: Mapping[tuple[str, str], Served | None]) -> dict[str, str]:
    """Name by reference the namespace of each object of these kinds that the API keeps elsewhere than the file says."""
    where = {}
    for obj in given:
        named, kind = obj["metadata"].get("namespace", ""), served.get(_group_and_kind(obj))
        right = (named or "default") if kind and kind.namespaced else ""
        if kind and right != named:
            where[applyset.ref(obj)] = right
    return where


def _doubled(addon: str, placed: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[tuple[str, str], ...]:
    """Name an addon's objects that one before it, or itself, has already, with that addon.

    The spec's own check cannot tell that the kind of a custom resource is in no namespace, whatever is written.
    """
    homes: dict[str, str] = {}
    found = []
    for name, objects in placed.items():
        for obj in objects:
            ref = applyset.ref(obj)
            if name == addon and ref in homes:
                found.append((f"{obj['kind']} {applyset.display(obj)}", homes[ref]))
            homes.setdefault(ref, name)
    return tuple(found)


def _group_and_kind(obj: Mapping[str, Any]) -> tuple[str, str]:
    return obj["apiVersion"].rpartition("/")[0], obj["kind"]


def _kinds(parent: Object | None) -> list[tuple[str, str]]:
    """Return the group and kind of all that its ApplySet's parent names."""
    named = parent["metadata"].get("annotations", {}).get(applyset.KINDS, "") if parent else ""
    return [(group, kind) for kind, _, group in (one.partition(".") for one in named.split(",") if one)]


async def _members(kube: Kube, addon: str, kinds: Iterable[tuple[str, Served | None]]) -> list[Object]:
    """List the members of an ApplySet; a kind that is gone has none any more.

    What has an owner is the owner's business: labels are copied to it, and an ApplySet's objects have none (KEP-3659).
    """
    identifier = applyset.identifier(addon)
    listed = await asyncio.gather(*(_labelled(kube, kind, served, identifier) for kind, served in kinds if served))
    return [one for found in listed for one in found if not one["metadata"].get("ownerReferences")]


async def _labelled(kube: Kube, kind: str, served: Served, identifier: str) -> list[Object]:
    listed, _ = await kube.list(served.gvk, labels=f"{applyset.PART_OF}={identifier}")
    return [{"apiVersion": served.gvk.api_version, "kind": kind, **one} for one in listed]


def _decided(csr: Object) -> bool:
    return any(c["type"] in {"Approved", "Denied", "Failed"} for c in csr.get("status", {}).get("conditions", []))
