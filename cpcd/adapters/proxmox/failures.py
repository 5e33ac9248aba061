"""What Proxmox says, as Failures: one table of texts for HTTP answers and task exits, one context manager.

The same text comes as status 500 from one call and as a task's exit from another (`failures.md`, "How to read it"),
so both go through `RULES`. Unknown text is an ExecutionFailed with Proxmox's words, never success.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from proxmoxer.core import ResourceException

from cpcd.adapters.proxmox.path import NotTheApiError
from cpcd.model.errors import Code, Failure, Unreachable

__all__ = ["RULES", "About", "AnswerError", "Rule", "mapped", "task_failure"]


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


@dataclass(frozen=True, slots=True)
class Rule:
    """A stable part of a text, and what it means; `said` is a format over the pattern's groups, empty = as is."""

    pattern: re.Pattern[str]
    code: Code
    said: str = ""
    hint: str = ""
    retry: float | None = None


# First match wins. The comments name recordings (`seq`) or rows of failures.md.
RULES: Final[tuple[Rule, ...]] = (
    # recorded(251): a 403 that is no matter of privileges
    Rule(re.compile(r"pool '(?P<pool>[^']*)' does not exist"), Code.DEPENDENCY, "pool {pool} does not exist"),
    # recorded(916), recorded(917), recorded(62): the missing privilege and where
    Rule(
        re.compile(r"Permission check failed \((?P<path>/[^,]*), (?P<privileges>[\w.|]+)\)?"), Code.AUTH,
        "the token lacks {privileges} on {path}",
        "Grant {privileges} on {path} to the token, and to its user if the token has privilege separation; Proxmox "
        "says the same of a VM that does not exist.",
    ),
    # T13: `args`, `lock`, raw hostpci, /access/password
    Rule(
        re.compile(r"[Oo]nly root (can|may)|user != root@pam|not available with API token"), Code.AUTH,
        hint="No API token can do this, not even one of root@pam; remove the option.",
    ),
    # recorded(52): create or clone without any right on the VMID or the pool
    Rule(
        re.compile(r"Permission check failed"), Code.AUTH,
        hint="Proxmox does not say which privilege is missing; a clone needs VM.Clone on the template, VM.Allocate on "
        "the pool, Datastore.AllocateSpace on the storage and SDN.Use on the bridge.",
    ),
    # recorded(1304), recorded(1318), recorded(1300): reads go on, so this is not Unreachable
    Rule(
        re.compile(r"no quorum|/etc/pve/.* - Permission denied|cluster not ready"), Code.NETWORK,
        "the Proxmox cluster has no quorum ({text})",
        "Bring Proxmox nodes back until `pvecm status` says Quorate: Yes; reads go on, changes wait.",
    ),
    # P01, P08, recorded(448), recorded(754): a lock is waited for, never broken
    Rule(re.compile(r"VM is locked \(|can't lock file|got lock timeout|got timeout"), Code.EXECUTION, retry=3),
    # P30, recorded(367): read again at once
    Rule(re.compile(r"checksum mismatch"), Code.EXECUTION, "the config was changed meanwhile ({text})", retry=0),
    Rule(
        re.compile(r"hostname lookup '(?P<node>[^']*)' failed|no such cluster node '(?P<name>[^']*)'"),
        Code.DEPENDENCY, "{text}", "Correct the node's name in the spec or join the node to the Proxmox cluster.",
    ),  # recorded(68), recorded(332)
    Rule(
        re.compile(r"storage '[^']*' (does not exist|is not available on node)|No such storage"), Code.DEPENDENCY
    ),  # recorded(88), recorded(101)
    Rule(
        re.compile(r"bridge '[^']*' does not exist"), Code.DEPENDENCY
    ),  # recorded in start-fail
    Rule(
        re.compile(r"unable to find configuration file for VM (?P<vmid>\d+)"), Code.DEPENDENCY,
        "template {vmid} is not there ({text})",
    ),  # recorded(337)
    Rule(re.compile(r"No space left on device|out of space|not enough free space"), Code.DEPENDENCY),  # P29
)  # fmt: skip

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
        why = str(error) or type(error).__name__
        raise Unreachable(f"pve:{about.site}", f"{about.what} failed: no answer from Proxmox: {why}") from error


def certificate_trouble(error: ssl.SSLCertVerificationError) -> str:
    """Return the sentence for a certificate that is not trusted (T16)."""
    why = getattr(error, "verify_message", "") or str(error.args[-1] if error.args else error)
    return f"Proxmox's certificate is not trusted: {why}"


def task_failure(site: str, what: str, exit_text: str, *, node: str = "", vmid: int = 0) -> Failure:
    """Return the Failure for a task's exit text (`exitstatus` or a list's `status`), by the table of HTTP answers.

    `unexpected status` is a worker that was killed without a word: nothing is known (P09).
    """
    return _spoken(About(site, what, node, vmid), exit_text)


def _refused(about: About, error: ResourceException) -> Failure:
    status: int = error.status_code
    text: str = error.content
    fields = "; ".join(f"{k}: {' '.join(str(v).split())}" for k, v in _fields(error).items())
    match status:
        case 401:
            return Failure(
                Code.AUTH,
                f"{about.what} failed: Proxmox refused the token: {error.content}",
                target=f"pve:{about.site}",
            )
        case 595 | 596 | 597 | 598 | 599:
            return _inner_hop(about, f"{status} {text}")
        case _ if "RPCEnvironment init request failed" in text:  # recorded(1200): pmxcfs is down
            return Unreachable(f"pve:{about.site}", f"{about.what} failed: {text}")
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
    for rule in RULES:
        if found := rule.pattern.search(text):
            words = {**found.groupdict(), "text": text}
            said = rule.said.format(**words) if rule.said else text
            hint = rule.hint.format(**words)
            return Failure(rule.code, f"{about.what} failed: {said}", target=about.target, hint=hint, retry=rule.retry)
    kind = AnswerError if _ANSWER.search(text) else Failure
    return kind(Code.EXECUTION, f"{about.what} failed: {text}", target=about.target)
