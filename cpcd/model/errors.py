"""The one table of failures: code, severity, disposition, meaning and what to do.

    Failure                 something did not work; carries code, what, target, hint, retry
    ├── Unreachable         an endpoint gave no answer: its owner parks the keys
    ├── NotServed           a cluster's API has no such kind, and so none of its objects
    └── Bug                 an invariant of cpcd itself is broken

`cpcd explain`, the docs page and the metrics' label set are made from `TABLE`. Codes and severities are those of
CPC's plan (`parity.md` 2.1, 2.2). A message never carries a secret.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from typing import Final

__all__ = [
    "TABLE",
    "Bug",
    "Code",
    "Disposition",
    "Entry",
    "Failure",
    "NotServed",
    "RetryClass",
    "Severity",
    "Unreachable",
    "entry",
]


class Code(IntEnum):
    """Stable numbers; printed as `CPCD-100`."""

    NETWORK = 100
    AUTH = 101
    CONFIG = 102
    DEPENDENCY = 103
    TIMEOUT = 104
    VALIDATION = 105
    EXECUTION = 106
    INPUT = 107
    STATE = 108
    UNKNOWN = 199

    def __str__(self) -> str:
        return f"CPCD-{self.value}"


class Severity(IntEnum):
    """One ordered scale: CRITICAL > HIGH > MEDIUM > LOW > INFO."""

    INFO = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


class Disposition(Enum):
    """What the loop does after such a failure."""

    RETRY = "retried with backoff; Degraded after the class's number of failures in a row"
    SLOW = "Stalled: looked at again every 5 minutes and at once when an input changes"
    REFUSE = (
        "nothing is changed, the last good state stays in force until the input changes; an object is Stalled, looked at "
        "again every 5 minutes and at once when an input changes"
    )
    BUG = "retried with backoff; please report it with the run id"


class RetryClass(StrEnum):
    """Classes of operation with a backoff of their own in `policy.retry`."""

    DEFAULT = "default"
    NETWORK = "network"
    ANSIBLE = "ansible"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table."""

    code: Code
    reason: str
    severity: Severity
    disposition: Disposition
    meaning: str
    hint: str


TABLE: Final[tuple[Entry, ...]] = (
    Entry(
        Code.NETWORK,
        "NetworkError",
        Severity.MEDIUM,
        Disposition.RETRY,
        "An endpoint refused the connection, reset it, or did not answer in time.",
        "Check that the host is up and that nothing filters the port; no hand is needed once it answers.",
    ),
    Entry(
        Code.AUTH,
        "AuthFailed",
        Severity.HIGH,
        Disposition.SLOW,
        "Credentials are not there or were refused, a certificate is not the pinned one, or a privilege is missing.",
        "Check the token or key, its expiry and privileges (`cpcd doctor` names the missing ones).",
    ),
    Entry(
        Code.CONFIG,
        "InvalidSpec",
        Severity.HIGH,
        Disposition.REFUSE,
        "The spec has a mistake, contradicts the running cluster, or asks for what is not supported yet.",
        "Run `cpcd validate` and mend the file; until then nothing new is put in force.",
    ),
    Entry(
        Code.DEPENDENCY,
        "DependencyMissing",
        Severity.HIGH,
        Disposition.SLOW,
        "Something that cpcd needs is not there: a template, storage, bridge, pool, node or program.",
        "Provide what the message names; it is looked at again every 5 minutes.",
    ),
    Entry(
        Code.TIMEOUT,
        "DeadlineExceeded",
        Severity.HIGH,
        Disposition.RETRY,
        "An operation took longer than its limit; nothing is destroyed because of that.",
        "Look at the task or machine that the message names; raise `policy.timeouts` if this is normal for you.",
    ),
    Entry(
        Code.VALIDATION,
        "ValidationFailed",
        Severity.HIGH,
        Disposition.RETRY,
        "Something reported success, but what is observed contradicts it.",
        "Compare the object that the message names with `cpcd plan`; cpcd trusts what it observes.",
    ),
    Entry(
        Code.EXECUTION,
        "ExecutionFailed",
        Severity.MEDIUM,
        Disposition.RETRY,
        "A command, Proxmox task or Kubernetes request was carried out and failed.",
        "Read the quoted words of the other side; the run id finds the whole story in the journal.",
    ),
    Entry(
        Code.INPUT,
        "InvalidInput",
        Severity.LOW,
        Disposition.REFUSE,
        "A command was called with arguments that do not fit.",
        "See `cpcd COMMAND --help`.",
    ),
    Entry(
        Code.STATE,
        "StateUnusable",
        Severity.CRITICAL,
        Disposition.SLOW,
        "The ledger is corrupt, its disk is full or read-only, or another daemon holds it: nothing is changed. Or another "
        "file of the state directory, such as a kubeconfig, cannot be used: what needs it waits.",
        "Free or remount the disk, stop the other daemon, or restore what the message names; observation goes on.",
    ),
    Entry(
        Code.UNKNOWN,
        "InternalError",
        Severity.HIGH,
        Disposition.BUG,
        "cpcd met a situation that its code does not know.",
        "Please report it with the run id; the key is retried and the others go on.",
    ),
)

_BY_CODE: Final = {row.code: row for row in TABLE}


def entry(code: Code) -> Entry:
    """Return the table's row of a code."""
    return _BY_CODE[code]


class Failure(Exception):  # noqa: N818 - a failure is the domain's word; it is a value as often as it is raised
    """Something did not work.

    `what` is a plain clause without a final stop ("clone of template 9000 to 301 failed: VM is locked (backup)");
    `target` names the object; `retry` is seconds to wait when the other side said so.
    """

    def __init__(self, code: Code, what: str, *, target: str = "", hint: str = "", retry: float | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.target = target
        self.hint = hint or entry(code).hint
        self.retry = retry

    @property
    def reason(self) -> str:
        """CamelCase reason for conditions and metrics."""
        return entry(self.code).reason

    @property
    def stalls(self) -> bool:
        """Whether only a person or the world can change it, so that it is looked at again seldom."""
        return entry(self.code).disposition in {Disposition.SLOW, Disposition.REFUSE}

    @property
    def told(self) -> str:
        """The whole of it for people: code, what happened to what, and what they can do."""
        return f"{str(self).rstrip('.!')}. {self.hint}"

    def __str__(self) -> str:
        where = f"{self.target}: " if self.target else ""
        return f"{self.code} {where}{self.what}"


class Unreachable(Failure):
    """An endpoint gave no answer; `endpoint` names it (`pve:home`, `kube:home`, `guest:<uid>`)."""

    def __init__(self, endpoint: str, what: str, *, hint: str = "") -> None:
        super().__init__(Code.NETWORK, what, target=endpoint, hint=hint)
        self.endpoint = endpoint


class NotServed(Failure):
    """A cluster's API does not serve a kind, by a fresh discovery: there can be no object of it."""

    def __init__(self, endpoint: str, what: str) -> None:
        hint = "Correct apiVersion and kind, or apply the CustomResourceDefinition that brings the kind."
        super().__init__(Code.EXECUTION, what, target=endpoint, hint=hint)


class Bug(Failure):
    """An invariant of cpcd is broken; never caught to be ignored."""

    def __init__(self, what: str) -> None:
        super().__init__(Code.UNKNOWN, what)
