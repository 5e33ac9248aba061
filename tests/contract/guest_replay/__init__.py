"""Replay what real machines answered: against the code in `cpcd/guest` that reads it, and against the lab's model.

START HERE: `deserved.py` (what class a situation deserves, and why), then `reading.py` and `scenarios.py` (the two
uses). What is left out stands in `../guest_out_of_scope.toml`, with reasons. Run: `python -m tests.contract.guest_replay`.
"""

from tests.contract.guest_replay.replay import Report, Tried, replay
from tests.contract.guest_replay.transcript import Transcript, load

__all__ = ["Report", "Transcript", "Tried", "load", "replay"]
