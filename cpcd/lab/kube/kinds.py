"""The kinds that the modelled API server serves; anything else is NotFound.

One table, for the store and for discovery over HTTP; `make test-kube` compares it with v1.35.4. Kinds of applied
CustomResourceDefinitions come on top (`Store.resources`). A kind whose objects run by themselves is served only where
something here lets them: there is no Job, CronJob or StatefulSet.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from cpcd.lab.provenance import source

__all__ = ["BUILTIN", "Resource", "from_definition", "group"]

_VERSION: Final = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


def group(api_version: str) -> str:
    """Return the API group of an apiVersion, empty for the core's."""
    return api_version.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Resource:
    """One served kind and its path: `/api/v1/nodes`, `/apis/apps/v1/namespaces/x/deployments`."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    @source("make test-kube, v1.35.4")
    def qualified(self) -> str:
        """Its plural as refusals say it: `nodes`, `deployments.apps`."""
        return ".".join(filter(None, (self.plural, group(self.api_version))))


_TABLE: Final = """
v1                               Node                              nodes                              cluster
v1                               Namespace                         namespaces                         cluster
v1                               Pod                               pods                               namespaced
v1                               ConfigMap                         configmaps                         namespaced
v1                               Secret                            secrets                            namespaced
v1                               Service                           services                           namespaced
v1                               ServiceAccount                    serviceaccounts                    namespaced
v1                               Event                             events                             namespaced
v1                               PersistentVolume                  persistentvolumes                  cluster
v1                               PersistentVolumeClaim             persistentvolumeclaims             namespaced
apps/v1                          Deployment                        deployments                        namespaced
apps/v1                          DaemonSet                         daemonsets                         namespaced
apps/v1                          ReplicaSet                        replicasets                        namespaced
policy/v1                        PodDisruptionBudget               poddisruptionbudgets               namespaced
certificates.k8s.io/v1           CertificateSigningRequest         certificatesigningrequests         cluster
coordination.k8s.io/v1           Lease                             leases                             namespaced
storage.k8s.io/v1                VolumeAttachment                  volumeattachments                  cluster
storage.k8s.io/v1                StorageClass                      storageclasses                     cluster
rbac.authorization.k8s.io/v1     Role                              roles                              namespaced
rbac.authorization.k8s.io/v1     RoleBinding                       rolebindings                       namespaced
rbac.authorization.k8s.io/v1     ClusterRole                       clusterroles                       cluster
rbac.authorization.k8s.io/v1     ClusterRoleBinding                clusterrolebindings                cluster
networking.k8s.io/v1             NetworkPolicy                     networkpolicies                    namespaced
scheduling.k8s.io/v1             PriorityClass                     priorityclasses                    cluster
v1                               LimitRange                        limitranges                        namespaced
v1                               ResourceQuota                     resourcequotas                     namespaced
v1                               Endpoints                         endpoints                          namespaced
discovery.k8s.io/v1              EndpointSlice                     endpointslices                     namespaced
networking.k8s.io/v1             Ingress                           ingresses                          namespaced
networking.k8s.io/v1             IngressClass                      ingressclasses                     cluster
storage.k8s.io/v1                CSIDriver                         csidrivers                         cluster
storage.k8s.io/v1                VolumeAttributesClass             volumeattributesclasses            cluster
node.k8s.io/v1                   RuntimeClass                      runtimeclasses                     cluster
autoscaling/v2                   HorizontalPodAutoscaler           horizontalpodautoscalers           namespaced
apiregistration.k8s.io/v1        APIService                        apiservices                        cluster
admissionregistration.k8s.io/v1  MutatingWebhookConfiguration      mutatingwebhookconfigurations      cluster
admissionregistration.k8s.io/v1  ValidatingWebhookConfiguration    validatingwebhookconfigurations    cluster
admissionregistration.k8s.io/v1  ValidatingAdmissionPolicy         validatingadmissionpolicies        cluster
admissionregistration.k8s.io/v1  ValidatingAdmissionPolicyBinding  validatingadmissionpolicybindings  cluster
flowcontrol.apiserver.k8s.io/v1  FlowSchema                        flowschemas                        cluster
flowcontrol.apiserver.k8s.io/v1  PriorityLevelConfiguration        prioritylevelconfigurations        cluster
apiextensions.k8s.io/v1          CustomResourceDefinition          customresourcedefinitions          cluster
"""


def _row(line: str) -> Resource:
    api_version, kind, plural, scope = line.split()
    return Resource(api_version, kind, plural, scope == "namespaced")


BUILTIN: Final = {row.kind: row for row in map(_row, _TABLE.strip().splitlines())}
"""Kind -> resource; kinds are unique in this table."""


@source("apiextensions: customresource_handler.go")
def from_definition(definition: dict[str, Any]) -> list[Resource]:
    """Return the kinds that a CustomResourceDefinition adds, one for each served version, the preferred one first.

    None until a controller has established it, a moment after it was applied.
    """
    said = definition.get("status", {}).get("conditions", ())
    if not any(one["type"] == "Established" and one["status"] == "True" for one in said):
        return []
    spec = definition["spec"]
    names, namespaced = spec["names"], spec.get("scope") == "Namespaced"
    served = [version["name"] for version in spec.get("versions", ()) if version.get("served", True)]
    ordered = sorted(served, key=_priority, reverse=True)
    return [Resource(f"{spec['group']}/{name}", names["kind"], names["plural"], namespaced) for name in ordered]


@source("apimachinery: version/helpers.go, CompareKubeAwareVersionStrings")
def _priority(version: str) -> tuple[int, int, int]:
    """Return what versions are ordered by: stable over beta over alpha, then the higher number."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (0, 0, 0)
    major, stage, minor = match.groups()
    return ({"alpha": 1, "beta": 2, None: 3}[stage], int(major), int(minor or 0))
