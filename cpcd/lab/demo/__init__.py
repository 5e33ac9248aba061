"""`cpcd demo`: the whole story with two real processes, checked statement by statement.

START HERE: `story.py` has the acts in order; `stage.py` starts and kills the processes and commits edits, `look.py`
asks daemon, lab and metrics what is true, `screen.py` shows it. Nothing here reaches into the daemon.
"""

from cpcd.lab.demo.main import main

__all__ = ["main"]
