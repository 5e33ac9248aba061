"""The dozen ways in which the outside fails, as values: what becomes of a call, of a task, of a machine, of a disk.

Values only; what each does is in `injector.py`. Status and reason, and delay, have a form for a call and one for the
task or program that a call begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cpcd.model.errors import Code

__all__ = ["CLIENT", "Alter", "Answer", "ClockStep", "Delay", "DiskFull", "DropAfter", "DropBefore", "Edit", "Exit", "Fails", "Fault", "Hand", "Hang", "HoldLock", "KillWorker", "Lie", "Mechanism", "Partial", "Reboot", "Refuse", "Slow", "Stale"]  # fmt: skip

CLIENT: Final = 40.0  # seconds after which cpcd gives up on a Proxmox that has not answered (`failures.md` T01)


@dataclass(frozen=True, slots=True)
class DropBefore:
    """The connection breaks and nothing happens; with `timeout` it is silent for that long instead."""

    timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class DropAfter:
    """It happens, and the answer is lost: at once, or with `timeout` by silence for that long."""

    timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class Delay:
    """It happens so many seconds later, and is answered then; a watch is silent so long and ends."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Slow:
    """What the lab does takes `seconds` from now on: a duration of Proxmox or, with `machine`, of a machine."""

    what: str
    seconds: float
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Proxmox, or who stands before it, answers this; nothing happens, unless `effect`. `data` goes under `data`."""

    status: int
    reason: str
    data: Any = None
    errors: Mapping[str, str] = field(default_factory=dict)
    html: str = ""
    effect: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Refuse:
    """A machine or a Kubernetes API refuses a call with these words, as the adapter's Failure has them.

    On the way to Proxmox, and with Code.AUTH, it is the certificate that is refused, by the client.
    """

    code: Code
    words: str


@dataclass(frozen=True, slots=True)
class Exit:
    """The task that the call begins ends with this text and has done nothing; with `effect`, everything."""

    text: str
    effect: bool = False


@dataclass(frozen=True, slots=True)
class Fails:
    """The long verb that is submitted fails at a stage of its program, with the words of kubeadm, apt or etcd."""

    stage: str
    text: str


@dataclass(frozen=True, slots=True)
class Stale:
    """A read is answered with what it was answered when the fault first met it."""


@dataclass(frozen=True, slots=True)
class Partial:
    """A list comes without the entries whose JSON matches; a watch without such events."""

    without: str


@dataclass(frozen=True, slots=True)
class Alter:
    """A true answer in which these fields are others; None takes one away."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lie:
    """Success at once: the task ends with OK, and what was asked happens `later`, or never (None)."""

    later: float | None


@dataclass(frozen=True, slots=True)
class HoldLock:
    """Somebody at the node's shell holds a lock file for some seconds; `{vmid}` is that of the call."""

    path: str
    seconds: float


@dataclass(frozen=True, slots=True)
class KillWorker:
    """The worker of the call's task, or the machine's own program, is killed hard so many seconds later."""

    after: float


@dataclass(frozen=True, slots=True)
class Reboot:
    """The machine that is called reboots hard so many seconds later."""

    after: float


@dataclass(frozen=True, slots=True)
class Hang:
    """So many seconds later the machine that is called runs and answers nothing, until it is reset; `broken`, for good."""

    after: float
    broken: bool = False


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The machine's clock is off by so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DiskFull:
    """A storage has no byte left."""

    storage: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Somebody else changes options of the call's VM just before; None removes one."""

    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hand:
    """An intervention of `Hands`, of `Pve`, or of who lays the faults: `after` seconds from the call, 0 just before it.

    It gets the call's `vmid` and `node` if it takes them and has none of its own. `undo` comes with `clear`.
    """

    do: str
    given: Mapping[str, Any] = field(default_factory=dict)
    undo: str = ""
    undone: Mapping[str, Any] = field(default_factory=dict)
    after: float = 0.0


Mechanism = (
    DropBefore | DropAfter | Delay | Slow | Answer | Refuse | Exit | Fails | Stale | Partial | Alter | Lie | HoldLock | KillWorker
    | Reboot | Hang | ClockStep | DiskFull | Edit | Hand
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: row of `failures.md`, a name of its own, which calls it meets, and what it does to them.

    `call` is a pattern over `POST /nodes/pve1/qemu/9000/clone` (port `proxmox`), `demo-cp-1 submit join` (`guests`),
    `list Node` (`kube`) or `save cluster.yaml` (`files`). It strikes from the call after `skip` on, at most `times`
    times, for ever with None.
    """

    row: str
    name: str
    port: str
    call: str
    does: Mechanism
    skip: int = 0
    times: int | None = 1
