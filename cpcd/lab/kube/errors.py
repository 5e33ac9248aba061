"""Every refusal of the modelled API server, as its Status object says it.

The one exception of this package. It is never a lack of an answer: whether an API answers at all is `cluster.py`'s.
"""

from collections.abc import Sequence
from typing import Any

from cpcd.lab.provenance import recorded, source

__all__ = [
    "ApiError", "UnknownKindError", "conflict", "expired", "immortal", "invalid", "missing", "over_budget", "terminating",
    "two_budgets", "unknown_kind",
]  # fmt: skip


class ApiError(Exception):
    """A Status with `status` Failure: HTTP code, CamelCase reason, message, causes."""

    def __init__(self, code: int, reason: str, message: str, causes: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.causes = tuple(causes)

    @property
    def body(self) -> dict[str, Any]:
        """The response's body."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        details = {"details": {"causes": list(self.causes)}} if self.causes else {}
        return {**status, "message": self.message, "reason": self.reason, **details, "code": self.code}


class UnknownKindError(ApiError):
    """The 404 of a kind that is not served, which clients tell from that of an object by their discovery."""


@recorded(440)
def missing(plural: str, name: str) -> ApiError:
    """Make the 404 of an object that is not there."""
    return ApiError(404, "NotFound", f'{plural} "{name}" not found')


@source("apiserver: handlers/negotiation")
def unknown_kind(api_version: str, kind: str) -> UnknownKindError:
    """Make the 404 of a kind that is not served."""
    return UnknownKindError(404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"')


@source("C14")
def conflict(plural: str, name: str, why: str) -> ApiError:
    """Make the 409 of a failed precondition."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {plural} "{name}": {why}')


@source("apimachinery: api/errors, NewInvalid")
def invalid(kind: str, name: str, why: Sequence[str]) -> ApiError:
    """Make the 422 of an object that may not be so."""
    said = why[0] if len(why) == 1 else f"[{', '.join(why)}]"
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {said}')


@source("admission: namespace/lifecycle")
def terminating(plural: str, name: str, namespace: str) -> ApiError:
    """Make the 403 of new content in a namespace that is on its way out."""
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    cause = {"message": f"namespace {namespace} is being terminated", "field": "metadata.namespace"}
    text = f'{plural} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", text, [{"reason": "NamespaceTerminating", **cause}])


@source("admission: namespace/lifecycle", "make test-kube, v1.35.4")
def immortal(name: str) -> ApiError:
    """Make the 403 of a namespace that Kubernetes itself lives in."""
    return ApiError(403, "Forbidden", f'namespaces "{name}" is forbidden: this namespace may not be deleted')


@source("C02")
def expired(since: int, oldest: int) -> ApiError:
    """Make the 410 of a watch from a compacted revision."""
    return ApiError(410, "Expired", f"too old resource version: {since} ({oldest})")


@recorded(443)
def over_budget(name: str, desired: int, healthy: int) -> ApiError:
    """Make the 429 of an eviction that a disruption budget refuses."""
    needs = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
    text = "Cannot evict pod as it would violate the pod's disruption budget."
    return ApiError(429, "TooManyRequests", text, [{"reason": "DisruptionBudget", "message": needs}])


@source("registry/core/pod/storage/eviction.go")
def two_budgets() -> ApiError:
    """Make the answer to the eviction of a pod that two disruption budgets select."""
    text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    return ApiError(500, "", text)
