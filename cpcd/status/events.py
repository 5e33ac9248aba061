"""Passes into history: an event is kept when an object has something new to say, or when it failed.

It must never write one line for each look at an object that waits; the journal keeps 10,000 events in all.
"""

from cpcd.model.keys import Wall
from cpcd.model.ledger import Event
from cpcd.model.report import Outcome, Pass

__all__ = ["event_of", "reason_of", "steps_of"]


def steps_of(done: Pass, at: Wall) -> list[Event]:
    """Return one event for each step that the pass began, whatever the pass came to: what was done is never left out.

    The reason is the step's verb in CamelCase.
    """
    return [Event(at, str(done.key), done.run, "Normal", camel(verb), sentence) for verb, sentence in done.steps]


def event_of(before: Pass | None, done: Pass, at: Wall) -> Event | None:
    """Return the event of a pass, None when it repeats what the pass before it said.

    Severity is `Warning` for what failed or was refused, else `Normal`, as in Kubernetes.
    """
    if done.outcome is Outcome.ACTED:
        return None  # its steps speak for it
    reason = reason_of(done)
    repeated = before is not None and (before.sentence, reason_of(before)) == (done.sentence, reason)
    if repeated and done.outcome is not Outcome.FAILED:
        return None
    severity = "Warning" if done.outcome in {Outcome.FAILED, Outcome.REFUSED} else "Normal"
    return Event(at, str(done.key), done.run, severity, reason, done.sentence)


def reason_of(done: Pass) -> str:
    """Return the reason that the pass gives, else its failure's, else its verb or outcome in CamelCase."""
    told = done.reason or (done.failure.reason if done.failure else done.outcome.value)
    return told if told[:1].isupper() else camel(told)


def camel(verb: str) -> str:
    """Return a verb such as `delete-node` as the reason `DeleteNode`."""
    return "".join(word.capitalize() for word in verb.split("-"))
