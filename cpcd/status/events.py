"""Passes into history: an event is kept when an object has something new to say, or when it failed.

It must never write one line for each look at an object that waits, nor one for each object that needs a silent
endpoint; the journal keeps 10,000 events in all.
"""

from cpcd.model.keys import Key, Kind, Wall
from cpcd.model.ledger import Event
from cpcd.model.report import Endpoint, Outcome, Pass
from cpcd.status.words import camel, outage, told

__all__ = ["event_of", "outage_of", "reason_of", "steps_of"]


def steps_of(done: Pass, at: Wall, name: str) -> list[Event]:
    """Return one event for each step that the pass began, whatever the pass came to: what was done is never left out.

    The reason is the step's verb in CamelCase.
    """
    return [
        Event(at, str(done.key), done.run, "Normal", camel(verb), sentence, name=name) for verb, sentence in done.steps
    ]


def event_of(before: Pass | None, done: Pass, at: Wall, name: str) -> Event | None:
    """Return the event of a pass, None when it repeats what was told last of the object, which is called `name`.

    Severity is `Warning` for what failed or was refused, else `Normal`, as in Kubernetes.
    """
    if done.outcome is Outcome.ACTED:
        return None  # its steps speak for it
    reason = reason_of(done)
    repeated = before is not None and (before.sentence, reason_of(before)) == (done.sentence, reason)
    if repeated and done.outcome is not Outcome.FAILED:
        return None
    severity = "Warning" if done.outcome in {Outcome.FAILED, Outcome.REFUSED} else "Normal"
    code = str(done.failure.code) if done.failure else ""
    return Event(at, str(done.key), done.run, severity, reason, told(done, name, at), code, name)


def outage_of(before: Endpoint | None, now: Endpoint, cluster: str, run: str) -> Event | None:
    """Return the one event that a cluster has for an endpoint's silence or return, None when that is no news."""
    key = str(Key(cluster, Kind.CLUSTER, cluster))
    if now.failure is not None:
        # With another code it is news: a silence that has become a refused token.
        if before is not None and before.failure is not None and before.failure.code is now.failure.code:
            return None
        code = str(now.failure.code)
        return Event(now.since, key, run, "Warning", "EndpointDown", outage(now), code, cluster)
    if before is None or before.up:
        return None
    words = f"{now.name} answers again, after {now.since - before.since:.0f} s"
    return Event(now.since, key, run, "Normal", "EndpointUp", words, name=cluster)


def reason_of(done: Pass) -> str:
    """Return the reason that the pass gives, else its failure's, else its verb or outcome in CamelCase."""
    told = done.reason or (done.failure.reason if done.failure else done.outcome.value)
    return told if told[:1].isupper() else camel(told)
