"""Replay what a real Proxmox VE answered against the lab's.

START HERE: `player.py` (how a recording is played), `matching.py` (what equal means), `repair.py` (what holes in a
recording need). What is left out stands in `../out_of_scope.toml`. Run: `python -m tests.contract.replay FILE…`.
"""

from tests.contract.replaying.player import NEEDED, Report, replay
from tests.contract.replaying.recording import load, one_session

__all__ = ["NEEDED", "Report", "load", "one_session", "replay"]
