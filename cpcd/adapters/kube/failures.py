"""What the Kubernetes API says, as Failures: one context manager for every verb.

Status texts are the API's own (`Status.message`). Only 404 and 429 are sometimes answers rather than failures, and
`api.py` says where. The table of codes: `model/errors.py`.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import aiohttp

from cpcd.adapters.answers import parse, reason, words
from cpcd.adapters.kube.aio.parts import ApiException, ResourceNotFoundError
from cpcd.model.errors import Code, Failure, NotServed, Unreachable

__all__ = ["details", "mapped", "message"]


@contextmanager
def mapped(endpoint: str, what: str) -> Iterator[None]:
    """Turn everything that a call can raise into a Failure about `what`; Failures pass."""
    try:
        yield
    except ApiException as error:
        raise _refused(endpoint, what, error) from error
    # The library's own, for a kind that is not served; not a 404 of an object.
    except ResourceNotFoundError as error:
        raise NotServed(endpoint, f"{what} failed: the cluster does not serve this kind") from error
    except aiohttp.ContentTypeError as error:
        raise _not_json(endpoint, what) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _unanswered(endpoint, what, error) from error
    except ValueError as error:  # after the others: a certificate error is a ValueError too
        raise _not_json(endpoint, what) from error


def message(error: ApiException) -> str:
    """Return `Status.message`, or what there is."""
    status = _status(error)
    return words(status.get("message") or error.reason or error.body or "no message").strip()


def details(error: ApiException) -> Mapping[str, Any]:
    """Return `Status.details`: empty when the answer does not come from a resource's handler."""
    found = _status(error).get("details")
    return found if isinstance(found, Mapping) else {}


def _status(error: ApiException) -> Mapping[str, Any]:
    try:
        body = parse(error.body if isinstance(error.body, bytes) else str(error.body or "").encode())
    except ValueError:  # a lone surrogate in the text is one too
        return {}
    return body if isinstance(body, Mapping) else {}


_PATIENCE: Final = 300.0  # seconds: what is stalled is looked at again every 5 minutes

# status -> code, the API's word, seconds to wait where the header says none
_STATUS: Final[Mapping[int, tuple[Code, str, float | None]]] = {
    401: (Code.AUTH, "Unauthorized", None),
    403: (Code.AUTH, "Forbidden (for some seconds after its start the API is still loading RBAC)", 5),
    409: (Code.EXECUTION, "Conflict", None),
    410: (Code.EXECUTION, "Expired", 0),
    429: (Code.EXECUTION, "Too Many Requests", None),
    503: (Code.NETWORK, "Service Unavailable", None),
    504: (Code.NETWORK, "Timeout", None),
}

# RBAC's own words; whatever else is Forbidden is a refusal of what was asked (seen at v1.35.4, make test-kube)
_UNAUTHORIZED: Final = re.compile(r'User ".*" cannot ')


def _refused(endpoint: str, what: str, error: ApiException) -> Failure:
    text = message(error)
    code, word, wait = _STATUS.get(error.status, (Code.EXECUTION, words(error.reason or "error"), None))
    if error.status == 403 and not _UNAUTHORIZED.search(text):  # admission's, which no credentials change
        code, word, wait = Code.EXECUTION, "Forbidden", None
    if "etcdserver" in text:  # `failures.md` C15: members come and go
        code = Code.NETWORK
    asked = _retry_after(error)
    said = words(f"{what} failed: {error.status} {word}: {text}")
    return Failure(code, said, target=endpoint, retry=wait if asked is None else asked)


def _not_json(endpoint: str, what: str) -> Failure:
    return Failure(Code.NETWORK, f"{what} failed: the answer is not the Kubernetes API's JSON", target=endpoint)


def _retry_after(error: ApiException) -> float | None:
    """Seconds that the server asks for (`failures.md` C09), as far as anybody would wait."""
    asked = (error.headers or {}).get("Retry-After", "")
    return min(float(asked), _PATIENCE) if asked.isdecimal() else None


def _unanswered(endpoint: str, what: str, error: BaseException) -> Failure:
    """TLS says who is wrong in a nested error, whose text decides between trust and reach."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(getattr(error, "certificate_error", error), "verify_message", "") or "verification failed"
        return Failure(
            Code.AUTH, f"{what} failed: the API's certificate is not trusted: {why}", target=endpoint,
            hint="Something else answers at this address, or the cluster's CA was replaced.",
        )  # fmt: skip
    # OpenSSL's word for what the other side objected to: here our certificate.
    if "alert" in str(error).lower():
        return Failure(
            Code.AUTH, f"{what} failed: the API refused the client certificate: {error}", target=endpoint,
            hint="The stored kubeconfig belongs to another cluster or has expired; it is fetched again from a machine.",
        )  # fmt: skip
    return Unreachable(endpoint, f"{what} failed: no answer from the Kubernetes API: {reason(error)}")
