"""Results of passes as people and machines see them: conditions, events, metrics, logs and one sentence.

`Publisher` is the one exit: every pass goes through it once. Nothing here decides anything, waits or opens a socket;
the pages and the control socket that show it are in `cpcd/adapters`.
"""

from cpcd.status.cluster import cluster_conditions, counters
from cpcd.status.events import event_of
from cpcd.status.logs import configure_logs, pass_context
from cpcd.status.metrics import METRICS, Metrics, Vitals
from cpcd.status.publish import Publisher
from cpcd.status.reasons import CONDITIONS, REASONS
from cpcd.status.report import Board, ObjectReport, SpecState, Standing
from cpcd.status.summary import document, joined, note_clusters, sentence, stamp
from cpcd.status.words import called, outage

__all__ = [
    "CONDITIONS",
    "METRICS",
    "REASONS",
    "Board",
    "Metrics",
    "ObjectReport",
    "Publisher",
    "SpecState",
    "Standing",
    "Vitals",
    "called",
    "cluster_conditions",
    "configure_logs",
    "counters",
    "document",
    "event_of",
    "joined",
    "note_clusters",
    "outage",
    "pass_context",
    "sentence",
    "stamp",
]
