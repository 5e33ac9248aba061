"""The one sentence of everything that goes wrong: code, what happened to what, what is next and when, what you can do.

Log lines, events, `cpcd status` and STATUS= all have it from here; a table shows columns of it. It must never carry a
secret, which is the business of whoever makes a Failure.
"""

import time

from cpcd.model.keys import Key, Kind, Wall
from cpcd.model.report import Endpoint, Outcome, Pass
from cpcd.model.view import View

__all__ = ["called", "camel", "clock", "expected", "outage", "silence", "stalled", "told"]

# Waits that only a person ends. Not what ends by itself as a rule, such as a locked VM: `CpcdClusterNotReady` is for it.
_PERSON = frozenset(
    {"AwaitingApproval", "DrainStalled", "EndpointTaken", "LoginRefused", "MachineIdShared", "NameTaken"}
)


def called(view: View, key: Key) -> str:
    """Return an object's name as people call it: a machine's own name, not its uid."""
    row = view.row(key) if key.kind is Kind.MACHINE else None
    return row.name if row else key.name


def camel(verb: str) -> str:
    """Return a verb such as `delete-node` as the reason `DeleteNode`."""
    return "".join(word.capitalize() for word in verb.split("-"))


def told(done: Pass, name: str, at: Wall) -> str:
    """Return the sentence of a pass over the object that people call `name`, which ended at `at`.

    What went wrong or was refused is told whole, with the run id that finds its lines in the log; the rest is told by
    the sentence that the pass gives.
    """
    failure = done.failure
    if failure is None:
        return done.sentence
    what = f"{failure.code} {done.key.kind}/{name}: {_clause(done.sentence)}"
    run = "" if done.parked else f" (run {done.run})"  # the log has the endpoint's own line and run instead
    return f"{what}; {expected(done, at)}{run}. {failure.hint}"


def expected(done: Pass, at: Wall) -> str:
    """Return what cpcd does next after a failure or refusal, and when."""
    if done.parked:
        return f"goes on when {done.parked} answers"
    when = f" at {clock(at + done.next_in)}" if done.next_in is not None else ""
    if stalled(done):
        return f"looked at again{when}, and at once when an input changes"
    count = f", after {done.failures} failures in a row" if done.failures > 1 else ""
    return f"tried again{when}{count}"


def stalled(done: Pass) -> bool:
    """Whether only a person or the world can change what a pass found."""
    if done.outcome is Outcome.WAITING:
        return done.reason in _PERSON
    slow = done.failure is not None and done.failure.stalls
    return done.outcome is Outcome.REFUSED or (done.outcome is Outcome.FAILED and slow)


def silence(endpoint: Endpoint) -> str:
    """Return why an endpoint cannot be used, and since when, as a clause; "" when it can."""
    failure = endpoint.failure
    if failure is None:
        return ""
    return f"{failure.code} {endpoint.name}: {_clause(failure.what)}, since {clock(endpoint.since)}"


def outage(endpoint: Endpoint) -> str:
    """Return `silence` with what cpcd does next and what you can do; "" when there is none."""
    failure = endpoint.failure
    return f"{silence(endpoint)}; what needs it goes on when it answers. {failure.hint}" if failure else ""


def clock(at: float) -> str:
    """Return a wall time as a time of day, which is enough for what is at most some minutes away."""
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))


def _clause(words: str) -> str:
    """Return somebody's words as a clause: Proxmox's end in a stop or in `!`."""
    return words.rstrip(".! ")
