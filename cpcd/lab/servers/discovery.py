"""What a modelled API server says that it serves, and which object a path means.

Pure functions on the store's table of kinds. Clients that ask for aggregated discovery get the plain documents, which
the protocol allows. Next: `kube.py`, the verbs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cpcd.lab.kube.kinds import Resource

__all__ = ["Target", "document", "target"]

_SHORT: Final = {
    "nodes": "no", "pods": "po", "namespaces": "ns", "configmaps": "cm", "services": "svc", "serviceaccounts": "sa",
    "events": "ev", "persistentvolumes": "pv", "persistentvolumeclaims": "pvc", "deployments": "deploy",
    "daemonsets": "ds", "replicasets": "rs", "certificatesigningrequests": "csr", "poddisruptionbudgets": "pdb",
    "storageclasses": "sc", "customresourcedefinitions": "crd",
}  # fmt: skip
_VERBS: Final = ["delete", "get", "list", "patch", "watch"]
# subresource -> (kind, its group, its version, verbs)
_SUBRESOURCES: Final = {
    "pods": ("eviction", "Eviction", "policy", "v1", ["create"]),
    "certificatesigningrequests": ("approval", "CertificateSigningRequest", "", "", ["update"]),
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a resource path names: a collection (empty name), an object, or a subresource of it."""

    resource: Resource
    namespace: str
    name: str
    sub: str


def target(path: str, resources: Sequence[Resource]) -> Target | None:
    """Return what a path such as `/apis/apps/v1/namespaces/x/deployments/y` means, None where nothing is served.

    An object of a namespaced kind has no path without its namespace, and one of another kind none within one.
    """
    match path.strip("/").split("/"):
        case ["api", version, *rest] if rest:
            return _within(version, rest, resources)
        case ["apis", group, version, *rest] if rest:
            return _within(f"{group}/{version}", rest, resources)
    return None


def _within(api_version: str, rest: list[str], resources: Sequence[Resource]) -> Target | None:
    served = {row.plural: row for row in resources if row.api_version == api_version}
    match rest:
        case ["namespaces", namespace, plural, *more] if plural in served and len(more) <= 2:
            return Target(served[plural], namespace, *_padded(more)) if served[plural].namespaced else None
        case [plural, *more] if plural in served and len(more) <= 2:
            return None if more and served[plural].namespaced else Target(served[plural], "", *_padded(more))
    return None


def _padded(more: list[str]) -> tuple[str, str]:
    name, sub, *_ = [*more, "", ""]
    return name, sub


def document(path: str, resources: Sequence[Resource]) -> dict[str, Any] | None:
    """Return the discovery document of a path, None where it is no discovery path."""
    match path.strip("/").split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            names = dict.fromkeys(row.api_version.partition("/")[0] for row in resources if "/" in row.api_version)
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name, resources) for name in names]}
        case ["apis", group] if group:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, resources)}
        case ["api", version] | ["apis", _, version]:
            api_version = path.strip("/").partition("/")[2] if path.startswith("/apis") else version
            return _resource_list(api_version, resources)
    return None


def _group(name: str, resources: Sequence[Resource]) -> dict[str, Any]:
    """Describe a group; a definition's versions come with the preferred one first."""
    served = dict.fromkeys(row.api_version for row in resources if row.api_version.startswith(f"{name}/"))
    versions = [{"groupVersion": each, "version": each.partition("/")[2]} for each in served]
    return {"name": name, "versions": versions, "preferredVersion": versions[0] if versions else {}}


def _resource_list(api_version: str, resources: Sequence[Resource]) -> dict[str, Any] | None:
    rows = [row for row in resources if row.api_version == api_version]
    entries = [entry for row in rows for entry in _entries(row)]
    listed = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}
    return listed if rows else None


def _entries(row: Resource) -> list[dict[str, Any]]:
    own = {"name": row.plural, "singularName": row.kind.lower(), "namespaced": row.namespaced, "kind": row.kind}
    entries = [{**own, "verbs": _VERBS, **({"shortNames": [_SHORT[row.plural]]} if row.plural in _SHORT else {})}]
    if row.plural in _SUBRESOURCES:
        sub, kind, group, version, verbs = _SUBRESOURCES[row.plural]
        place = {"group": group, "version": version} if group else {}
        name = f"{row.plural}/{sub}"
        entries.append({**own, "name": name, "singularName": "", "kind": kind, "verbs": verbs, **place})
    return entries
