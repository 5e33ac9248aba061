"""What Proxmox answers, as Failures: one context manager around every call.

The meaning of its texts is in `model/texts.py`, since the same ones come as a task's exit.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from proxmoxer.core import ResourceException

from cpcd.adapters.answers import reason, words
from cpcd.adapters.proxmox.path import NotTheApiError
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.texts import judged

__all__ = ["About", "AnswerError", "mapped"]


class AnswerError(Failure):
    """An error that answers the question asked: no such VM here, no such task, VMID taken."""


@dataclass(frozen=True, slots=True)
class About:
    """What a call was for: a clause such as `clone of template 9000 to 301`, and where."""

    site: str
    what: str
    node: str = ""
    vmid: int = 0

    @property
    def target(self) -> str:
        """The object's scope: `pve:home/vm:301`, `pve:home/node:pve1` or `pve:home`."""
        inner = f"/vm:{self.vmid}" if self.vmid else f"/node:{self.node}" if self.node else ""
        return f"pve:{self.site}{inner}"


SELDOM: Final = 300.0  # seconds: parameters that were refused are refused again (T14), until an input changes
_ANSWER: Final = re.compile(r"Configuration file '[^']*' does not exist|no such task|VM \d+ already exists$")


@contextmanager
def mapped(about: About) -> Iterator[None]:
    """Turn everything that a call can raise into a Failure about `about`; Failures pass."""
    try:
        yield
    except ResourceException as error:
        raise _refused(about, error) from error
    except NotTheApiError as error:
        raise Failure(
            Code.NETWORK, f"{about.what} failed: the answer is not the Proxmox API's JSON ({error})",
            target=about.target, hint="Check the URL, and for a reverse proxy in between.",
        ) from error  # fmt: skip
    except ssl.SSLCertVerificationError as error:
        raise Failure(
            Code.AUTH, f"{about.what} failed: {certificate_trouble(error)}", target=f"pve:{about.site}",
            hint="Compare with `pvenode cert info`; correct caFile or fingerprint, or renew the certificate.",
        ) from error  # fmt: skip
    except (OSError, TimeoutError) as error:
        why = str(error) or reason(error)
        raise Unreachable(f"pve:{about.site}", f"{about.what} failed: no answer from Proxmox: {why}") from error


def certificate_trouble(error: ssl.SSLCertVerificationError) -> str:
    """Return the sentence for a certificate that is not trusted (T16)."""
    why = getattr(error, "verify_message", "") or str(error.args[-1] if error.args else error)
    return f"Proxmox's certificate is not trusted: {why}"


def _refused(about: About, error: ResourceException) -> Failure:
    status: int = error.status_code
    text = words(error.content)
    fields = words("; ".join(f"{k}: {' '.join(str(v).split())}" for k, v in _fields(error).items()))
    match status:
        case 401:
            return Failure(
                Code.AUTH,
                f"{about.what} failed: Proxmox refused the token: {text}",
                target=f"pve:{about.site}",
            )
        # pveproxy's own, for the way behind it: a write may have arrived all the same.
        case 595 | 596 | 597 | 598 | 599:
            return _inner_hop(about, f"{status} {text}")
        case _ if "RPCEnvironment init request failed" in text:  # recorded(1200): pmxcfs is down
            return Unreachable(f"pve:{about.site}", f"{about.what} failed: {text}")
        case 400:
            refused = _spoken(about, fields or text)
            # A text that `model/texts.py` knows to pass by itself keeps its own time.
            refused.retry = SELDOM if refused.retry is None else refused.retry
            return refused
        case _:
            return _spoken(about, fields or text)


def _fields(error: ResourceException) -> Mapping[str, Any]:
    return error.errors if isinstance(error.errors, Mapping) else {}


def _inner_hop(about: About, text: str) -> Failure:
    """Blame the right hop: pveproxy answered, the one behind it did not: of one node where the path names one, else of the endpoint."""
    if not about.node:
        return Unreachable(f"pve:{about.site}", f"{about.what} failed: {text}")
    return Failure(
        Code.NETWORK, f"{about.what} failed: node {about.node} does not answer ({text})",
        target=f"pve:{about.site}/node:{about.node}",
        hint=f"Check that {about.node} is up; its VMs are taken as unknown, not as gone.",
    )  # fmt: skip


def _spoken(about: About, text: str) -> Failure:
    code, said, hint, retry = judged(text)
    # By text, because the status is 500 for nearly everything that Proxmox says.
    kind = AnswerError if _ANSWER.search(text) else Failure
    return kind(code, f"{about.what} failed: {said}", target=about.target, hint=hint, retry=retry)
