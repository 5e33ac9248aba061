"""Every refusal of the modelled API server, as its Status object says it.

The one exception of this package. It is never a lack of an answer: whether an API answers at all is `cluster.py`'s.
"""

from collections.abc import Sequence
from typing import Any

from cpcd.lab.provenance import recorded, source

__all__ = ["ApiError", "conflict", "expired", "missing", "over_budget", "unknown_kind"]


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


@recorded(440)
def missing(plural: str, name: str) -> ApiError:
    """Make the 404 of an object that is not there."""
    return ApiError(404, "NotFound", f'{plural} "{name}" not found')


@source("apiserver: handlers/negotiation")
def unknown_kind(api_version: str, kind: str) -> ApiError:
    """Make the 404 of a kind that is not served."""
    return ApiError(404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"')


@source("C14")
def conflict(plural: str, name: str, why: str) -> ApiError:
    """Make the 409 of a failed precondition."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {plural} "{name}": {why}')


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
