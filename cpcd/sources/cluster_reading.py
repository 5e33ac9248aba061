"""What a cluster's API tells: nodes, pods, requests and addons as values, with the fields that decide."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from cpcd.model.errors import NotServed
from cpcd.model.keys import Scope
from cpcd.model.seen import AddonSeen, Api, Csr, Node, Pod
from cpcd.model.view import View
from cpcd.plan import applyset
from cpcd.ports.bundle import Ports, WrittenKubeconfig
from cpcd.ports.clock import Clock
from cpcd.ports.kube import GVK, Kube, Object
from cpcd.sources import decode

__all__ = ["ClusterReader"]

NODE, POD, NAMESPACE = GVK("v1", "Node"), GVK("v1", "Pod"), GVK("v1", "Namespace")
CSR = GVK("certificates.k8s.io/v1", "CertificateSigningRequest")
ATTACHMENT = GVK("storage.k8s.io/v1", "VolumeAttachment")
KUBELET_SERVING = "kubernetes.io/kubelet-serving"


class ClusterReader:
    """Reads the scopes of a cluster; `names_of` decodes a request's DNS names and addresses."""

    def __init__(
        self,
        ports: Ports,
        view: Callable[[], View],
        clock: Clock,
        names_of: Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]],
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
        return tuple(decode.csr(one, self._names_of(one["spec"]["request"])) for one in pending)

    async def _addon(self, kube: Kube, scope: Scope) -> AddonSeen:
        cluster = self._view().cluster(scope.owner)
        addon = next((a for a in cluster.addons if a.name == scope.name), None) if cluster else None
        wanted = applyset.objects(scope.name, addon.objects) if addon else ()
        states = await asyncio.gather(*(_state(kube, obj) for obj in wanted))
        surplus = await _surplus(kube, scope.name, {applyset.ref(obj) for obj in wanted}, gone=addon is None)
        refs = [applyset.ref(obj) for obj in wanted]
        return AddonSeen(
            missing=tuple(ref for ref, state in zip(refs, states, strict=True) if state == "missing"),
            drifted=tuple(ref for ref, state in zip(refs, states, strict=True) if state == "drifted"),
            surplus=surplus,
        )


async def _api(kube: Kube) -> Api:
    if not await kube.readyz():
        return Api(ready=False, version="")
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


async def _state(kube: Kube, obj: Object) -> str:
    """A server-side dry run tells what an apply would change, defaults and quantities included."""
    meta = obj["metadata"]
    live = await kube.get(GVK(obj["apiVersion"], obj["kind"]), meta["name"], meta.get("namespace", ""))
    if live is None:
        return "missing"
    after = await kube.apply(obj, dry_run=True)
    return "equal" if _meaning(live) == _meaning(after) else "drifted"


def _meaning(obj: Object) -> str:
    volatile = {"managedFields", "resourceVersion", "generation"}
    meta = {name: value for name, value in obj["metadata"].items() if name not in volatile}
    kept = {name: value for name, value in obj.items() if name not in {"metadata", "status"}}
    return json.dumps({**kept, "metadata": meta}, sort_keys=True)


async def _surplus(
    kube: Kube, addon: str, wanted: set[str], *, gone: bool
) -> tuple[tuple[str, str, str, str, str], ...]:
    """List members of the ApplySet that are not wanted; with the addon gone, its parent last of all."""
    parent = await kube.get(GVK("v1", "ConfigMap"), applyset.parent_name(addon), applyset.PARENT_NAMESPACE)
    if parent is None:
        return ()
    found = [
        decode.reference(one)
        for gvk in _known_kinds(parent)
        for one in await _labelled(kube, gvk, applyset.identifier(addon))
        if applyset.ref(one) not in wanted
    ]
    return (*found, *((decode.reference(parent),) if gone else ()))


async def _labelled(kube: Kube, gvk: GVK, identifier: str) -> list[Object]:
    try:
        listed, _ = await kube.list(gvk, labels=f"{applyset.PART_OF}={identifier}")
    except NotServed:
        return []  # the kind itself is gone, and with it its objects; whatever else fails is unknown, not absent
    return [{"apiVersion": gvk.api_version, "kind": gvk.kind, **one} for one in listed]


def _known_kinds(parent: Object) -> list[GVK]:
    text = parent["metadata"].get("annotations", {}).get(applyset.KINDS, "[]")
    return [GVK(version, kind) for version, kind in json.loads(text)]


def _decided(csr: Object) -> bool:
    return any(c["type"] in {"Approved", "Denied", "Failed"} for c in csr.get("status", {}).get("conditions", []))
